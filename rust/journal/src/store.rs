//! What a driver asks of a store, and what can go wrong with one.

use std::ops::Range;
use std::path::{Path, PathBuf};

use ferroflow_engine::event::Event;
use ferroflow_engine::{Micros, RunId};

use crate::bytes::Bytes;
use crate::codec::{self, Damage, Link};

/// Values longer than this are kept as blobs.
pub const INLINE: usize = 64 << 10;

/// Tokens that an engine reserves when it opens a store: more than it can use in its life.
pub const TOKENS: u64 = 1 << 36;

/// All that one commit adds; it is there as a whole or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    pub appends: Vec<Append>,
    /// Definition objects under their digest.
    pub definitions: Vec<([u8; 32], Vec<u8>)>,
    /// Workflows that can be started by name from now on.
    pub registered: Vec<Registered>,
    /// Blobs that the appended records name for the first time.
    pub blobs: Vec<[u8; 32]>,
    /// Commands of other processes that were carried out.
    pub taken: Vec<i64>,
}

/// What a commit adds to one run.
#[derive(Debug)]
pub struct Append {
    pub run: RunId,
    /// Sequence number of the first event.
    pub first: u64,
    pub record: Vec<u8>,
    /// The link of the run's record before, and of this one.
    pub previous: Link,
    pub link: Link,
    /// What the list of runs shows from now on, where that has changed.
    pub row: Option<RunRow>,
}

/// A run as the list of runs shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    pub id: RunId,
    pub workflow: String,
    pub version: String,
    pub state: String,
    pub degraded: bool,
    pub priority: u8,
    pub correlation: Option<String>,
    pub digest: [u8; 32],
    pub created: Micros,
    pub started: Option<Micros>,
    pub ended: Option<Micros>,
    pub error: Option<String>,
}

/// A workflow under its name and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    pub name: String,
    pub version: String,
    /// The content hash of its normal form.
    pub hash: [u8; 32],
    /// Names the definition object.
    pub digest: [u8; 32],
    pub registered: Micros,
}

/// Which runs to list: newest first, after those the caller has seen.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub workflow: Option<String>,
    pub states: Vec<String>,
    pub correlation: Option<String>,
    /// Created at or after, and before.
    pub since: Option<Micros>,
    pub until: Option<Micros>,
    /// Only runs older than this one: the cursor of a page.
    pub before: Option<RunId>,
    pub limit: usize,
}

/// A command that another process left for the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbox {
    pub id: i64,
    pub run: RunId,
    /// `cancel`, `pause`, `resume` or `signal:NAME`.
    pub command: String,
    /// A reason as text, or a signal's value as MessagePack.
    pub payload: Vec<u8>,
    /// The state of the run as the list of runs has it; `None` if it is not there.
    pub state: Option<String>,
}

/// Where runs are kept. One thread uses it.
pub trait Store: Send {
    /// Makes a batch durable, as far as the store promises.
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError>;
    /// Tokens that nobody was given before, not even by an engine that died.
    fn reserve(&mut self) -> Result<Range<u64>, StoreError>;
    /// Commands of other processes that were not carried out yet.
    fn inbox(&mut self) -> Result<Vec<Inbox>, StoreError>;
    /// Keeps a value under its BLAKE3 hash, durably before the commit that names it.
    fn put_blob(&mut self, hash: &[u8; 32], bytes: &Bytes) -> Result<(), StoreError>;
    /// A second, independent view for reading.
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError>;
}

/// What was committed.
pub trait Reader: Send {
    fn runs(&mut self, filter: &Filter) -> Result<Vec<RunRow>, StoreError>;
    /// How many runs a filter admits, whatever its page.
    fn count(&mut self, filter: &Filter) -> Result<u64, StoreError>;
    /// The records of a run, in order.
    fn records(&mut self, run: RunId) -> Result<Vec<Vec<u8>>, StoreError>;
    fn definition(&mut self, digest: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError>;
    fn blob(&mut self, hash: &[u8; 32]) -> Result<Option<Bytes>, StoreError>;
    /// Registered workflows, all or those of a name, the latest of each name first.
    fn registered(&mut self, name: Option<&str>) -> Result<Vec<Registered>, StoreError>;
}

/// Adds a run's last link to the hash over all of them. Adding it again takes it out.
pub(crate) fn add(head: &mut [u8; 32], run: RunId, link: &Link) {
    if *link == Link::default() {
        return;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&run.0);
    hasher.update(link);
    let hash = *hasher.finalize().as_bytes();
    head.iter_mut().zip(hash).for_each(|(byte, with)| *byte ^= with);
}

/// The hash over the runs' last links after a record was appended.
pub(crate) fn advance(head: &mut [u8; 32], append: &Append) {
    add(head, append.run, &append.previous);
    add(head, append.run, &append.link);
}

/// A run's events and the link of its last record, every record checked.
pub fn events(reader: &mut dyn Reader, run: RunId) -> Result<(Vec<Event>, Link), StoreError> {
    let mut all = Vec::new();
    let mut link = [0; 32];
    for (record, bytes) in reader.records(run)?.iter().enumerate() {
        let (events, next) = codec::decode(bytes, &link, all.len() as u64 + 1)
            .map_err(|damage| StoreError::Damaged { run, record, damage })?;
        all.extend(events);
        link = next;
    }
    Ok((all, link))
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path} is not a ferroflow database ({why}); give another file name")]
    Foreign { path: PathBuf, why: String },
    #[error(
        "{path} was written by a newer ferroflow (schema {found}, this one knows {known}); upgrade ferroflow"
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("{path} is in use by another engine; stop that one first, or read with `ferroflow list`")]
    InUse { path: PathBuf },
    #[error(
        "{path} ends at commit {found}, but commit {expected} was written: its end is missing; restore the \
         file together with its -wal file, or delete {path}.head to go on without what is lost"
    )]
    MissingTail { path: PathBuf, found: u64, expected: u64 },
    #[error("record {record} of run {run} is damaged: {damage}; `ferroflow verify-log` shows what is whole")]
    Damaged { run: RunId, record: usize, damage: Damage },
    #[error("another engine has taken over {path}: nothing more is written")]
    Fenced { path: PathBuf },
    #[error("{} is damaged: {message}", named(path))]
    Corrupt { path: PathBuf, message: String },
    #[error("the query was refused or failed: {message}; only one SELECT at a time is allowed")]
    Query { message: String },
    #[error("{what} is missing in the database; restore it from a copy, together with its .blobs folder")]
    Lacks { what: String },
    #[error("there is no database {path}")]
    Absent { path: PathBuf },
    #[error("{path}: {message}")]
    Io { path: PathBuf, message: String },
}

fn named(path: &Path) -> std::path::Display<'_> {
    if path.as_os_str().is_empty() { Path::new("the database").display() } else { path.display() }
}
