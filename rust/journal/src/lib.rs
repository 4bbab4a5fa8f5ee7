//! What a run **did**: records of events, checksummed and chained, and the stores that keep them.

mod bytes;
pub mod codec;
mod digest;
mod memory;
mod sqlite;
pub mod store;

pub use bytes::{Bytes, LARGE, Private};
pub use memory::MemoryStore;
pub use sqlite::{Broken, Rows, Sql, SqliteReader, SqliteStore, Sync, Verified, post};
pub use store::{Append, Batch, Filter, Inbox, Reader, Registered, RunRow, Store, StoreError};
