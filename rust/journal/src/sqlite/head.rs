//! `FILE.head`: which commit was the last, beside the database, so that a missing end is noticed.
//!
//! ```text
//! commits u64 | head 32 | how the writer was: 0 strict, 1 not synced, 2 closed
//! ```
//!
//! It is written without a sync and not needed: without it a missing end goes unnoticed, no more.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::{beside, io};
use crate::store::StoreError;

/// What the writer promised of the commits before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// All are synced: a database that lacks one is not whole.
    Strict,
    /// A power failure may have taken the last ones.
    Unsynced,
    /// The last writer closed the database.
    Closed,
}

pub(super) struct HeadFile(File);

/// What the file said when it was opened.
pub(super) struct Seen {
    pub commits: u64,
    pub writer: Writer,
}

impl HeadFile {
    pub(super) fn open(database: &Path) -> Result<(Self, Option<Seen>), StoreError> {
        let path = beside(database, ".head");
        let mut options = OpenOptions::new();
        let mut file =
            options.create(true).truncate(false).read(true).write(true).open(&path).map_err(io(&path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io(&path))?;
        // A file of another length was cut off while it was written.
        let seen = <[u8; 41]>::try_from(bytes).ok().map(|bytes| Seen {
            commits: u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")),
            writer: match bytes[40] {
                0 => Writer::Strict,
                2 => Writer::Closed,
                _ => Writer::Unsynced,
            },
        });
        Ok((Self(file), seen))
    }

    pub(super) fn write(&mut self, commits: u64, head: &[u8; 32], writer: Writer) {
        let mut bytes = [0u8; 41];
        bytes[..8].copy_from_slice(&commits.to_le_bytes());
        bytes[8..40].copy_from_slice(head);
        bytes[40] = writer as u8;
        let _ = self.0.seek(SeekFrom::Start(0)).and_then(|_| self.0.write_all(&bytes));
    }
}
