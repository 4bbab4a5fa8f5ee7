//! Values as bytes: MessagePack that is walked without being decoded.

use std::sync::Arc;

/// One stop on a path into a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    Key(Arc<str>),
    /// Negative counts from the end.
    Index(i64),
}
