//! What a workflow **is**: terms, their normal form, the graph they compile to,
//! and the expressions that bind data. Pure: no I/O, threads, clock or randomness.
#![forbid(unsafe_code)]

pub mod access;
pub mod algebra;
pub mod expr;
pub mod graph;
pub mod problem;
pub mod units;
pub mod value;

pub use algebra::term::{
    Access, Activity, Backoff, Binding, Block, Definition, GRACE, Input, Limits, MAX_RECURSION, OnError,
    Options, Resources, Retry, Term,
};
pub use problem::Problem;
