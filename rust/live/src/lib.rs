//! The live driver: carries out what the kernel decides, with real clocks, threads and disks.
//!
//! One lock guards all runs and the ready queue. Workers hold it once a step: they hand in the
//! outcome of one body and take the next. Whoever waits for a commit makes it, with all that has
//! gathered; a writing thread makes the others, and another one waits for timers.

mod batch;
mod core;
mod engine;
mod evaluate;
mod explain;
mod input;
mod inspect;
mod recover;
mod threads;
mod types;
mod values;
mod worker;

pub use crate::batch::Update;
pub use crate::engine::Engine;
pub use crate::explain::Reason;
pub use crate::inspect::{BlockView, Inspection, StepView, blocks, inspect};
pub use crate::types::{
    Durability, Ended, EngineError, Job, Outcome, Packed, Request, Settings, Stats, Ticket, Unfinished,
};
pub use crate::worker::Executor;
