//! The workflow algebra: terms, how they are read and written, normal form, compilation.

pub mod compile;
pub mod laws;
pub mod normal;
pub mod read;
mod reorder;
pub mod term;
pub mod write;
