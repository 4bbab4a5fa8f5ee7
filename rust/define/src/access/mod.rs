//! What steps do to assets: names, modes, and which of them may be at the same time.

mod again;
pub mod assets;
pub mod check;
pub mod finding;
mod lints;
mod moves;
pub mod name;
pub mod order;
pub mod races;
mod template;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::template::{Part, Piece, Template};
use crate::expr::Expr;

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

/// What an access is to.
#[derive(Clone, Debug, PartialEq)]
pub enum Asset {
    /// What is called so.
    Named(Arc<Template>),
    /// What a step yields, or a part of it: a plain path.
    Value(Expr),
}

/// What sort of thing an asset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing but selectors is inside it.
    File,
    Directory,
    Table,
    Model,
    Account,
}

impl Kind {
    pub const NAMES: [&str; 5] = ["file", "directory", "table", "model", "account"];
    pub const ALL: [Kind; 5] = [Kind::File, Kind::Directory, Kind::Table, Kind::Model, Kind::Account];

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}
