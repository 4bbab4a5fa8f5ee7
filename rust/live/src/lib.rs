//! The live driver: carries out what the kernel decides, with real clocks, threads and disks.
//!
//! One lock guards all runs and the ready queue. Workers hold it once a step: they hand in the
//! outcome of one body and take the next. Whoever waits for a commit makes it, with all that has
//! gathered; a writing thread makes the others, and another one waits for timers.

mod admission;
mod attempts;
mod audit;
mod batch;
pub mod children;
mod core;
mod engine;
mod evaluate;
mod explain;
mod input;
mod inspect;
mod lanes;
mod leases;
mod leasing;
mod locks;
mod orphans;
mod out;
pub mod pool;
mod ranking;
mod recover;
mod reports;
mod taken;
mod threads;
mod types;
mod values;
mod worker;

pub use crate::audit::{Audited, Guarded, fingerprint};
pub use crate::batch::{Update, row};
pub use crate::engine::{Engine, new_run};
pub use crate::explain::Reason;
pub use crate::inspect::{BlockView, Inspection, StepView, blocks, inspect};
pub use crate::lanes::{CHILDREN, LANES, LOOP, Stopper, THREADS};
pub use crate::leases::{Behind, Held, Lease, Who, leases};
pub use crate::locks::Unlocked;
pub use crate::orphans::new_mark;
pub use crate::ranking::ReadySteps;
pub use crate::taken::{Taken, Whose};
pub use crate::types::{
    Durability, Ended, EngineError, Job, Outcome, Request, Settings, Stats, Ticket, Unfinished,
};
pub use crate::worker::{Executor, Ran};
pub use ferroflow_journal::{Bytes, LARGE, Private};
