//! What a run **does**: the pure kernel. Decisions are functions of state, command and the
//! instant handed in; state changes only by applying events. No clock, disk, thread or Python.
#![forbid(unsafe_code)]

pub mod decide;
pub mod event;
pub mod ids;
pub mod lease;
pub mod schedule;
pub mod state;

pub use decide::{Command, Refusal};
pub use event::{Event, Failure, Process, Used, What};
pub use ids::{Micros, RunId, Step, Token};
pub use state::{Run, RunState, StepState};
