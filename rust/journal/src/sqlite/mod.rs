//! Runs in one SQLite file: write-ahead log, one writer, any number of readers.

mod head;
mod query;
mod reader;
mod schema;
mod verify;
mod writer;

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

pub use self::query::{Rows, Sql};
pub use self::reader::{SqliteReader, post};
pub use self::verify::{Broken, Verified};
pub use self::writer::SqliteStore;
use crate::store::StoreError;

/// Something that only the process that opened it closes. A child of a fork leaves its copy alone:
/// SQLite would take the parent's locks with it.
struct Owned<T> {
    /// Until it is dropped.
    it: Option<T>,
    process: u32,
}

impl<T> Owned<T> {
    fn new(it: T) -> Self {
        Self { it: Some(it), process: std::process::id() }
    }

    fn is_ours(&self) -> bool {
        self.process == std::process::id()
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.it.as_ref().expect("there until it is dropped")
    }
}

impl<T> DerefMut for Owned<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.it.as_mut().expect("there until it is dropped")
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.is_ours() {
            std::mem::forget(self.it.take());
        }
    }
}

/// How hard a commit is pressed to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// A commit outlives a power failure.
    Full,
    /// A commit outlives the process; a power failure may take the last ones, in order.
    Normal,
    /// For tests that have to see data lost.
    Off,
}

/// The one name of a database, whatever links lead to it: its lock and its blobs go by that. It stays
/// right when the working directory changes.
fn real(path: &Path) -> Result<PathBuf, StoreError> {
    let path = std::path::absolute(path).map_err(io(path))?;
    // What does not exist yet is no link.
    Ok(std::fs::canonicalize(&path).unwrap_or(path))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> StoreError + '_ {
    |error| StoreError::Io { path: path.to_owned(), message: error.to_string() }
}

fn sql(path: &Path) -> impl Fn(rusqlite::Error) -> StoreError + '_ {
    |error| {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => {
                StoreError::Foreign { path, why: "it is not an SQLite database".to_owned() }
            }
            Some(ErrorCode::DatabaseCorrupt) => StoreError::Corrupt { path, message: error.to_string() },
            Some(ErrorCode::DiskFull) => {
                let message =
                    "the disk is full; nothing that was reported done is lost; make room and resume";
                StoreError::Io { path, message: message.to_owned() }
            }
            _ => StoreError::Io { path, message: error.to_string() },
        }
    }
}

/// A blob's file: by its hash, in a folder of its first byte.
fn blob_file(folder: &Path, hash: &[u8; 32]) -> PathBuf {
    let name = blake3::Hash::from_bytes(*hash).to_hex();
    folder.join(&name[..2]).join(&name[2..])
}
