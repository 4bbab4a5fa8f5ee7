//! Runs in one SQLite file: write-ahead log, one writer, any number of readers.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ferroflow_engine::RunId;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params, params_from_iter};

use crate::store::{Batch, Filter, Inbox, Reader, RunRow, Store, StoreError, TOKENS};

/// `ffl1`: tells our files from anybody else's.
const APPLICATION: i64 = 0x6666_6c31;
const SCHEMA: i64 = 1;

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

pub struct SqliteStore {
    path: PathBuf,
    connection: Connection,
    epoch: i64,
    commits: u64,
    head: [u8; 32],
    /// None where a power failure may take commits: there a head newer than the log means nothing.
    head_file: Option<File>,
    inbox_version: i64,
    /// Held as long as the store lives; the system drops it with the process.
    _lock: File,
}

pub struct SqliteReader {
    path: PathBuf,
    connection: Connection,
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

/// Checks whose file it is before anything is changed in it.
fn check(path: &Path, connection: &Connection) -> Result<i64, StoreError> {
    let pragma = |name: &str| -> Result<i64, StoreError> {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).map_err(sql(path))
    };
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(sql(path))?;
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    if application != APPLICATION && (application != 0 || tables > 0) {
        let why = "it is an SQLite database of another program".to_owned();
        return Err(StoreError::Foreign { path: path.to_owned(), why });
    }
    if version > SCHEMA {
        return Err(StoreError::Newer { path: path.to_owned(), found: version, known: SCHEMA });
    }
    Ok(version)
}

impl SqliteStore {
    /// Opens or creates a database for the one engine that may write to it.
    pub fn open(path: &Path, sync: Sync) -> Result<Self, StoreError> {
        let lock_path = beside(path, ".lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(io(&lock_path)(error)),
        }
        let mut connection = Connection::open(path).map_err(sql(path))?;
        connection.busy_timeout(Duration::from_secs(30)).map_err(sql(path))?;
        let version = check(path, &connection)?;
        connection
            .execute_batch(match sync {
                Sync::Full => "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
                Sync::Normal => "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
                Sync::Off => "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
            })
            .map_err(sql(path))?;
        connection.set_prepared_statement_cache_capacity(32);
        let begun = connection.transaction().map_err(sql(path))?;
        if version < 1 {
            begun.execute_batch(include_str!("schema.sql")).map_err(sql(path))?;
            begun
                .execute_batch(&format!("PRAGMA application_id={APPLICATION}; PRAGMA user_version={SCHEMA};"))
                .map_err(sql(path))?;
        }
        let (epoch, commits, head) = begun
            .query_row("UPDATE journal SET epoch = epoch + 1 RETURNING epoch, commits, head", [], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?))
            })
            .map_err(sql(path))?;
        begun.commit().map_err(sql(path))?;
        let head_path = beside(path, ".head");
        let mut head_file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&head_path)
            .map_err(io(&head_path))?;
        let mut seen = Vec::new();
        head_file.read_to_end(&mut seen).map_err(io(&head_path))?;
        if let Some(bytes) = seen.get(..8) {
            let expected = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            if expected > commits {
                return Err(StoreError::MissingTail { path: path.to_owned(), found: commits, expected });
            }
        }
        let path = path.to_owned();
        let head_file = (sync == Sync::Full).then_some(head_file);
        Ok(Self { path, connection, epoch, commits, head, head_file, inbox_version: -1, _lock: lock })
    }

    fn blobs(&self) -> PathBuf {
        beside(&self.path, ".blobs")
    }
}

/// A blob's file: by its hash, in a folder of its first byte.
fn blob_file(folder: &Path, hash: &[u8; 32]) -> PathBuf {
    let name = blake3::Hash::from_bytes(*hash).to_hex();
    folder.join(&name[..2]).join(&name[2..])
}

impl Store for SqliteStore {
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.head);
        let failed = sql(&self.path);
        let begun = self.connection.transaction().map_err(&failed)?;
        {
            let mut insert =
                begun.prepare_cached("INSERT INTO records VALUES (?1, ?2, ?3)").map_err(&failed)?;
            for append in &batch.appends {
                hasher.update(&append.run.0);
                hasher.update(&append.link);
                insert.execute(params![append.run.0, append.first as i64, append.record]).map_err(&failed)?;
            }
            for row in batch.appends.iter().filter_map(|append| append.row.as_ref()) {
                begun
                    .prepare_cached(
                        "INSERT OR REPLACE INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                    )
                    .and_then(|mut put| {
                        put.execute(params![
                            row.id.0, row.workflow, row.version, row.state, row.degraded, row.priority,
                            row.correlation, row.digest, row.created, row.started, row.ended, row.error
                        ])
                    })
                    .map_err(&failed)?;
            }
            for (digest, object) in &batch.definitions {
                begun
                    .execute("INSERT OR IGNORE INTO definitions VALUES (?1, ?2)", params![digest, object])
                    .map_err(&failed)?;
            }
            for id in &batch.taken {
                begun.execute("DELETE FROM inbox WHERE id = ?1", [id]).map_err(&failed)?;
            }
            // Fencing: an engine whose lock was lost, as on some network disks, changes nothing.
            let head = *hasher.finalize().as_bytes();
            let ours = begun
                .prepare_cached("UPDATE journal SET commits = commits + 1, head = ?1 WHERE epoch = ?2")
                .and_then(|mut update| update.execute(params![head, self.epoch]))
                .map_err(&failed)?;
            if ours == 0 {
                return Err(StoreError::Fenced { path: self.path.clone() });
            }
            self.head = head;
        }
        begun.commit().map_err(&failed)?;
        self.commits += 1;
        let mut bytes = [0u8; 40];
        bytes[..8].copy_from_slice(&self.commits.to_le_bytes());
        bytes[8..].copy_from_slice(&self.head);
        // Not synced and not needed: without it a missing tail goes unnoticed, nothing else.
        if let Some(file) = &mut self.head_file {
            let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&bytes));
        }
        Ok(())
    }

    fn reserve(&mut self) -> Result<Range<u64>, StoreError> {
        let end: i64 = self
            .connection
            .query_row("UPDATE journal SET tokens = tokens + ?1 RETURNING tokens", [TOKENS as i64], |row| {
                row.get(0)
            })
            .map_err(sql(&self.path))?;
        let end = end as u64;
        Ok(end - TOKENS + 1..end + 1)
    }

    fn inbox(&mut self) -> Result<Vec<Inbox>, StoreError> {
        let failed = sql(&self.path);
        // Changes only when another connection has written, so that looking costs next to nothing.
        let version: i64 =
            self.connection.query_row("PRAGMA data_version", [], |row| row.get(0)).map_err(&failed)?;
        if version == self.inbox_version {
            return Ok(Vec::new());
        }
        let mut query = self
            .connection
            .prepare_cached("SELECT id, run, command, payload FROM inbox ORDER BY id")
            .map_err(&failed)?;
        let found = query
            .query_map([], |row| {
                Ok(Inbox {
                    id: row.get(0)?,
                    run: RunId(row.get(1)?),
                    command: row.get(2)?,
                    payload: row.get(3)?,
                })
            })
            .and_then(Iterator::collect)
            .map_err(&failed)?;
        self.inbox_version = version;
        Ok(found)
    }

    fn put_blob(&mut self, hash: &[u8; 32], bytes: &[u8]) -> Result<(), StoreError> {
        let file = blob_file(&self.blobs(), hash);
        let folder = file.parent().expect("in a folder");
        if !file.exists() {
            std::fs::create_dir_all(folder).map_err(io(&file))?;
            let draft = file.with_extension("new");
            let mut out = File::create(&draft).map_err(io(&draft))?;
            out.write_all(bytes).and_then(|()| out.sync_all()).map_err(io(&draft))?;
            std::fs::rename(&draft, &file).map_err(io(&file))?;
        }
        // The name has to be on disk too, also where an engine that died left it unsynced.
        for folder in [folder, &self.blobs(), self.path.parent().unwrap_or(Path::new("."))] {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            File::open(folder).and_then(|it| it.sync_all()).map_err(io(folder))?;
        }
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(SqliteReader::open(&self.path)?))
    }
}

impl SqliteReader {
    /// Opens a database to read it, whether an engine has it or not.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Absent { path: path.to_owned() });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(sql(path))?;
        connection.busy_timeout(Duration::from_secs(30)).map_err(sql(path))?;
        if check(path, &connection)? == 0 {
            let why = "it is empty".to_owned();
            return Err(StoreError::Foreign { path: path.to_owned(), why });
        }
        connection.execute_batch("PRAGMA query_only=ON").map_err(sql(path))?;
        Ok(Self { path: path.to_owned(), connection })
    }

    /// The number of commits and the hash over them.
    pub fn head(&self) -> Result<(u64, [u8; 32]), StoreError> {
        self.connection
            .query_row("SELECT commits, head FROM journal", [], |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get(1)?))
            })
            .map_err(sql(&self.path))
    }
}

impl Reader for SqliteReader {
    fn runs(&mut self, filter: &Filter) -> Result<Vec<RunRow>, StoreError> {
        let mut text = "SELECT * FROM runs WHERE 1".to_owned();
        let mut values: Vec<rusqlite::types::Value> = Vec::new();
        let mut also = |clause: &str, value: rusqlite::types::Value| {
            values.push(value);
            text.push_str(&format!(" AND {clause} ?{}", values.len()));
        };
        if let Some(workflow) = &filter.workflow {
            also("workflow =", workflow.clone().into());
        }
        if let Some(correlation) = &filter.correlation {
            also("correlation =", correlation.clone().into());
        }
        if let Some(since) = filter.since {
            also("created >=", since.into());
        }
        if let Some(until) = filter.until {
            also("created <", until.into());
        }
        if let Some(before) = filter.before {
            also("id <", before.0.to_vec().into());
        }
        if !filter.states.is_empty() {
            let marks: Vec<String> =
                (0..filter.states.len()).map(|at| format!("?{}", values.len() + at + 1)).collect();
            values.extend(filter.states.iter().map(|state| state.clone().into()));
            text.push_str(&format!(" AND state IN ({})", marks.join(", ")));
        }
        text.push_str(&format!(" ORDER BY id DESC LIMIT {}", filter.limit));
        let failed = sql(&self.path);
        let mut query = self.connection.prepare(&text).map_err(&failed)?;
        query.query_map(params_from_iter(values), run_row).and_then(Iterator::collect).map_err(&failed)
    }

    fn records(&mut self, run: RunId) -> Result<Vec<Vec<u8>>, StoreError> {
        let failed = sql(&self.path);
        let mut query = self
            .connection
            .prepare_cached("SELECT body FROM records WHERE run = ?1 ORDER BY first")
            .map_err(&failed)?;
        query.query_map([run.0], |row| row.get(0)).and_then(Iterator::collect).map_err(&failed)
    }

    fn definition(&mut self, digest: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        self.connection
            .query_row("SELECT object FROM definitions WHERE digest = ?1", [digest], |row| row.get(0))
            .optional()
            .map_err(sql(&self.path))
    }

    fn blob(&mut self, hash: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        let file = blob_file(&beside(&self.path, ".blobs"), hash);
        match std::fs::read(&file) {
            Ok(bytes) if blake3::hash(&bytes).as_bytes() == hash => Ok(Some(bytes)),
            Ok(_) => Err(StoreError::Corrupt {
                path: file,
                message: "its bytes are not those of its name".to_owned(),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io(&file)(error)),
        }
    }
}

fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        id: RunId(row.get(0)?),
        workflow: row.get(1)?,
        version: row.get(2)?,
        state: row.get(3)?,
        degraded: row.get(4)?,
        priority: row.get(5)?,
        correlation: row.get(6)?,
        digest: row.get(7)?,
        created: row.get(8)?,
        started: row.get(9)?,
        ended: row.get(10)?,
        error: row.get(11)?,
    })
}

/// Leaves a command for the engine that has the database open, or opens it next.
pub fn post(path: &Path, run: RunId, command: &str, payload: &[u8]) -> Result<(), StoreError> {
    let reader = SqliteReader::open(path)?;
    reader
        .connection
        .execute_batch("PRAGMA query_only=OFF; PRAGMA synchronous=FULL")
        .and_then(|()| {
            reader.connection.execute(
                "INSERT INTO inbox (run, command, payload) VALUES (?1, ?2, ?3)",
                params![run.0, command, payload],
            )
        })
        .map(drop)
        .map_err(sql(path))
}
