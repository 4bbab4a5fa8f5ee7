//! What a run **would do**: platforms, planners and their schedules, and the virtual-time driver over
//! the kernel. Pure: no I/O, clock or randomness; seeds come in. Threads only where the result does
//! not depend on them.
#![forbid(unsafe_code)]

pub mod simulate;
