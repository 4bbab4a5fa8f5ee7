//! The workflow algebra: terms, how they are read and written, normal form, compilation.

pub mod term;
