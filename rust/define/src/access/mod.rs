//! What steps do to assets: names, modes, and which of them may be at the same time.

pub mod name;

use std::sync::Arc;

/// What an access does to its asset.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Shared with others that read.
    Reads,
    /// Alone.
    Writes,
    /// Alone, and nobody may use it afterwards.
    Takes,
    /// Shared with others that update it by the same operation, which commutes with itself.
    Reduces(Arc<str>),
}

impl Mode {
    /// Whether two steps may have the same asset in these modes at the same time.
    pub fn compatible(&self, other: &Self) -> bool {
        match (self, other) {
            (Mode::Reads, Mode::Reads) => true,
            (Mode::Reduces(a), Mode::Reduces(b)) => a == b,
            _ => false,
        }
    }

    /// As it is called where accesses are declared.
    pub fn name(&self) -> &'static str {
        match self {
            Mode::Reads => "reads",
            Mode::Writes => "writes",
            Mode::Takes => "takes",
            Mode::Reduces(_) => "reduces",
        }
    }
}
