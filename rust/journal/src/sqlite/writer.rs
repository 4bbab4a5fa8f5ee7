//! The one writer of a database.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ferroflow_engine::RunId;
use rusqlite::{Connection, params};

use super::head::{HeadFile, Writer};
use super::{Owned, SqliteReader, Sync, beside, blob_file, io, real, schema, sql};
use crate::bytes::Bytes;
use crate::store::{self, Batch, Inbox, Reader, Store, StoreError, TOKENS};

pub struct SqliteStore {
    path: PathBuf,
    connection: Owned<Connection>,
    epoch: i64,
    commits: u64,
    head: [u8; 32],
    head_file: HeadFile,
    writer: Writer,
    inbox_version: i64,
    /// Blobs whose files and names this writer has synced, and the folders of theirs.
    kept: HashSet<[u8; 32]>,
    folders: HashSet<u8>,
    /// Held as long as the store lives; the system drops it with the process.
    lock: Owned<File>,
}

impl SqliteStore {
    /// Opens or creates a database for the one engine that may write to it.
    pub fn open(path: &Path, sync: Sync) -> Result<Self, StoreError> {
        let path = &real(path)?;
        let lock = lock(path)?;
        let mut connection = Connection::open(path).map_err(sql(path))?;
        connection.busy_timeout(Duration::from_secs(30)).map_err(sql(path))?;
        let version = schema::check(path, &connection)?;
        connection
            .execute_batch(match sync {
                Sync::Full => "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
                Sync::Normal => "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
                Sync::Off => "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
            })
            .map_err(sql(path))?;
        connection.set_prepared_statement_cache_capacity(32);
        let begun = connection.transaction().map_err(sql(path))?;
        schema::migrate(path, &begun, version)?;
        let (epoch, commits, tokens, head) = begun
            .query_row(
                "UPDATE journal SET epoch = epoch + 1 RETURNING epoch, commits, tokens, head",
                [],
                |row| Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, row.get(3)?)),
            )
            .map_err(sql(path))?;
        let (Ok(commits), Ok(_)) = (u64::try_from(commits), u64::try_from(tokens)) else {
            let message = format!("it counts {commits} commits and {tokens} tokens");
            return Err(StoreError::Corrupt { path: path.to_owned(), message });
        };
        let (mut head_file, seen) = HeadFile::open(path)?;
        if let Some(seen) = &seen
            && seen.commits > commits
            && seen.writer != Writer::Unsynced
        {
            let (path, expected) = (path.to_owned(), seen.commits);
            return Err(StoreError::MissingTail { path, found: commits, expected });
        }
        begun.commit().map_err(sql(path))?;
        let closed = seen.is_some_and(|seen| seen.writer == Writer::Closed && seen.commits == commits);
        if !closed {
            collect(path, &connection)?;
        }
        let writer = if sync == Sync::Full { Writer::Strict } else { Writer::Unsynced };
        head_file.write(commits, &head, writer);
        let path = path.to_owned();
        let (connection, lock) = (Owned::new(connection), Owned::new(lock));
        Ok(Self {
            path,
            connection,
            epoch,
            commits,
            head,
            head_file,
            writer,
            inbox_version: -1,
            kept: HashSet::new(),
            folders: HashSet::new(),
            lock,
        })
    }

    /// The descriptor of the lock file. A child of a fork closes its copy, or the lock would outlive
    /// this process.
    pub fn lock(&self) -> RawFd {
        self.lock.as_raw_fd()
    }

    /// Where the database is, whatever the working directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn blobs(&self) -> PathBuf {
        beside(&self.path, ".blobs")
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // Whoever comes next need not look for what a crash left behind.
        if self.connection.is_ours() {
            self.head_file.write(self.commits, &self.head, Writer::Closed);
        }
    }
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let lock_path = beside(path, ".lock");
    let mut options = OpenOptions::new();
    let lock = options.create(true).truncate(false).write(true).open(&lock_path).map_err(io(&lock_path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(io(&lock_path)(error)),
    }
}

/// Removes the blobs that no record names: a crash came between them and their commit.
fn collect(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let folder = beside(path, ".blobs");
    if !folder.exists() {
        return Ok(());
    }
    let mut query = connection.prepare("SELECT hash FROM blobs").map_err(sql(path))?;
    let named: HashSet<PathBuf> = query
        .query_map([], |row| Ok(blob_file(&folder, &row.get(0)?)))
        .and_then(Iterator::collect)
        .map_err(sql(path))?;
    for inner in std::fs::read_dir(&folder).map_err(io(&folder))? {
        let inner = inner.map_err(io(&folder))?.path();
        // Only folders named like ours are looked into.
        let ours = inner.file_name().is_some_and(|name| name.len() == 2) && inner.is_dir();
        for file in
            ours.then(|| std::fs::read_dir(&inner)).transpose().map_err(io(&inner))?.into_iter().flatten()
        {
            let file = file.map_err(io(&inner))?.path();
            if !named.contains(&file) {
                std::fs::remove_file(&file).map_err(io(&file))?;
            }
        }
    }
    Ok(())
}

impl Store for SqliteStore {
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let failed = sql(&self.path);
        let mut head = self.head;
        let begun = self.connection.transaction().map_err(&failed)?;
        {
            let mut insert =
                begun.prepare_cached("INSERT INTO records VALUES (?1, ?2, ?3)").map_err(&failed)?;
            for append in &batch.appends {
                store::advance(&mut head, append);
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
            for it in &batch.registered {
                begun
                    .execute(
                        "INSERT INTO workflows VALUES (?1, ?2, ?3, ?4, ?5)",
                        params![it.name, it.version, it.hash, it.digest, it.registered],
                    )
                    .map_err(&failed)?;
            }
            for hash in &batch.blobs {
                begun
                    .prepare_cached("INSERT OR IGNORE INTO blobs VALUES (?1)")
                    .and_then(|mut put| put.execute([hash]))
                    .map_err(&failed)?;
            }
            for id in &batch.taken {
                begun.execute("DELETE FROM inbox WHERE id = ?1", [id]).map_err(&failed)?;
            }
            // Fencing: an engine whose lock was lost, as on some network disks, changes nothing.
            let ours = begun
                .prepare_cached("UPDATE journal SET commits = commits + 1, head = ?1 WHERE epoch = ?2")
                .and_then(|mut update| update.execute(params![head, self.epoch]))
                .map_err(&failed)?;
            if ours == 0 {
                return Err(StoreError::Fenced { path: self.path.clone() });
            }
        }
        begun.commit().map_err(&failed)?;
        self.head = head;
        self.commits += 1;
        self.head_file.write(self.commits, &self.head, self.writer);
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
        // Anybody may write there: what is no command of any run must not stand in the way of others.
        self.connection
            .prepare_cached(
                "DELETE FROM inbox WHERE typeof(run) <> 'blob' OR length(run) <> 16 \
                 OR typeof(command) <> 'text' OR typeof(payload) <> 'blob'",
            )
            .and_then(|mut delete| delete.execute([]))
            .map_err(&failed)?;
        let mut query = self
            .connection
            .prepare_cached(
                "SELECT inbox.id, run, CAST(command AS BLOB), payload, state FROM inbox \
                 LEFT JOIN runs ON runs.id = run \
                 ORDER BY inbox.id",
            )
            .map_err(&failed)?;
        let found: Vec<Inbox> = query
            .query_map([], |row| {
                Ok(Inbox {
                    id: row.get(0)?,
                    run: RunId(row.get(1)?),
                    command: String::from_utf8_lossy(row.get_ref(2)?.as_blob()?).into_owned(),
                    payload: row.get(3)?,
                    state: row.get(4)?,
                })
            })
            .and_then(Iterator::collect)
            .map_err(&failed)?;
        // A command for a run that is not taken up yet stays here, and is looked at again.
        self.inbox_version = if found.is_empty() { version } else { -1 };
        Ok(found)
    }

    fn put_blob(&mut self, hash: &[u8; 32], bytes: &Bytes) -> Result<(), StoreError> {
        if self.kept.contains(hash) {
            return Ok(());
        }
        let file = blob_file(&self.blobs(), hash);
        let folder = file.parent().expect("in a folder");
        if !file.exists() {
            std::fs::create_dir_all(folder).map_err(io(&file))?;
            let draft = file.with_extension("new");
            let mut out = File::create(&draft).map_err(io(&draft))?;
            out.write_all(bytes).and_then(|()| out.sync_all()).map_err(io(&draft))?;
            std::fs::rename(&draft, &file).map_err(io(&file))?;
        }
        // The names have to be on disk too, also where an engine that died left them unsynced.
        let sync = |folder: &Path| {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            File::open(folder).and_then(|it| it.sync_all()).map_err(io(folder))
        };
        sync(folder)?;
        if self.folders.insert(hash[0]) {
            sync(&self.blobs())?;
            sync(self.path.parent().unwrap_or(Path::new(".")))?;
        }
        self.kept.insert(*hash);
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(SqliteReader::open(&self.path)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use crate::store::Append;

    fn append(store: &mut SqliteStore, run: u8, blobs: Vec<[u8; 32]>) {
        let run = RunId([run; 16]);
        let event =
            ferroflow_engine::Event { at: 5, what: ferroflow_engine::What::RunPaused { reason: "".into() } };
        let (record, link) = codec::encode(&[0; 32], 1, &[event]);
        let append = Append { run, first: 1, record, previous: [0; 32], link, row: None };
        store.commit(&Batch { appends: vec![append], blobs, ..Batch::default() }).unwrap();
    }

    #[test]
    fn blobs_that_a_crash_left_without_a_record_are_collected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        let hash = |bytes: &[u8]| *blake3::hash(bytes).as_bytes();
        let there = |bytes: &[u8]| blob_file(&beside(&path, ".blobs"), &hash(bytes)).exists();
        let mut store = SqliteStore::open(&path, Sync::Full).unwrap();
        store.put_blob(&hash(b"named"), &b"named"[..].into()).unwrap();
        append(&mut store, 1, vec![hash(b"named")]);
        store.put_blob(&hash(b"orphan"), &b"orphan"[..].into()).unwrap();
        drop(store);
        // As if the process had been killed: nobody said that the database was closed.
        std::fs::remove_file(beside(&path, ".head")).unwrap();
        assert!(there(b"named") && there(b"orphan"));
        drop(SqliteStore::open(&path, Sync::Full).unwrap());
        assert!(there(b"named") && !there(b"orphan"));
    }

    #[test]
    fn counts_that_can_not_be_are_refused() {
        for column in ["commits", "tokens"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("runs.db");
            let store = SqliteStore::open(&path, Sync::Full).unwrap();
            store.connection.execute(&format!("UPDATE journal SET {column} = -1"), []).unwrap();
            drop(store);
            let refused = SqliteStore::open(&path, Sync::Full).err().unwrap();
            assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused}");
        }
    }

    #[test]
    fn what_is_no_command_is_thrown_out_of_the_inbox() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        let mut store = SqliteStore::open(&path, Sync::Full).unwrap();
        let other = Connection::open(&path).unwrap();
        other
            .execute_batch(
                "INSERT INTO inbox (run, command, payload) VALUES ('x', 'cancel', x''), (x'01', 'cancel', x''), \
                 (zeroblob(16), x'ff', x''), (zeroblob(16), 'cancel', 'text'), \
                 (zeroblob(16), CAST(x'ff' AS TEXT), x''), (zeroblob(16), 'pause', x'61')",
            )
            .unwrap();
        let commands: Vec<String> = store.inbox().unwrap().into_iter().map(|it| it.command).collect();
        assert_eq!(commands, ["\u{fffd}", "pause"]);
    }

    #[test]
    fn a_missing_end_is_refused_unless_nothing_else_was_promised() {
        for (sync, refused) in [(Sync::Full, true), (Sync::Normal, false)] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("runs.db");
            let mut store = SqliteStore::open(&path, sync).unwrap();
            append(&mut store, 1, vec![]);
            store.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
            let before = std::fs::read(&path).unwrap();
            append(&mut store, 2, vec![]);
            let head = std::fs::read(beside(&path, ".head")).unwrap();
            drop(store);
            std::fs::write(&path, before).unwrap();
            std::fs::write(beside(&path, ".head"), head).unwrap();
            let opened = SqliteStore::open(&path, sync);
            assert_eq!(matches!(opened, Err(StoreError::MissingTail { .. })), refused, "{sync:?}");
        }
    }

    #[test]
    fn records_that_are_missing_are_noticed_although_the_others_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        let mut store = SqliteStore::open(&path, Sync::Full).unwrap();
        (1..=3).for_each(|run| append(&mut store, run, vec![]));
        let mut reader = SqliteReader::open(&path).unwrap();
        let mut told = Vec::new();
        let found = reader.verify(|at, of| told.push((at, of))).unwrap();
        assert_eq!((found.runs, found.records, found.events, found.complete), (3, 3, 3, true));
        assert_eq!(told, [(1, 3), (2, 3), (3, 3)]);
        store.connection.execute("DELETE FROM records WHERE run = ?1", [[2u8; 16]]).unwrap();
        let found = reader.verify(|_, _| {}).unwrap();
        assert!(found.broken.is_empty() && !found.complete);
    }
}
