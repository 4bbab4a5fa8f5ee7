//! The live driver: carries out what the kernel decides, with real clocks, threads and disks.
//!
//! One lock guards all runs and the ready queue. Workers hold it once a step: they hand in the
//! outcome of one body and take the next. One thread commits, so that completions which arrive
//! together share a commit; another waits for timers.

mod core;
mod engine;
mod inspect;
mod values;

pub use crate::core::{Durability, Ended, Job, Settings, Ticket};
pub use crate::engine::{Engine, EngineError, Executor, Outcome, Request, Unfinished};
pub use crate::inspect::{BlockView, Inspection, StepView, blocks, inspect};
