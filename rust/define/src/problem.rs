//! One thing that is wrong with a definition: what, where, and what to do.

use std::fmt;

/// A problem found in a definition. All problems are collected, never only the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable slug, e.g. `unknown-reference`.
    pub code: &'static str,
    /// Where: a path into the definition, e.g. `term/partial[3]/with/x` or a step path.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl Problem {
    pub fn new(
        code: &'static str,
        place: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { code, place: place.into(), message: message.into(), help: help.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] at {}: {} ({})", self.code, self.place, self.message, self.help)
    }
}
