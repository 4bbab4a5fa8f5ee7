//! What a run **would do**: platforms, planners and their schedules, and the virtual-time driver over
//! the kernel. Pure: no I/O, clock or randomness; seeds come in. Threads only where the result does
//! not depend on them.
#![forbid(unsafe_code)]

pub mod bounds;
mod builder;
mod error;
pub mod instance;
mod lane;
pub mod least_loaded;
pub mod methods;
pub mod platform;
mod portfolio;
mod ranks;
mod rng;
pub mod schedule;
mod search;
pub mod simulate;
pub mod work;

pub use bounds::{Bounds, bounds};
pub use error::Error;
pub use instance::Instance;
pub use methods::{Method, Options};
pub use platform::{Network, Node, Platform};
pub use portfolio::{Budget, Plan, plan};
pub use schedule::{Placement, Schedule, Violation};
pub use work::{Input, Work};
