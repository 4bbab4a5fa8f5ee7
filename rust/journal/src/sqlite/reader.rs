//! Reading a database, whether an engine has it open or not, and leaving commands for its engine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ferroflow_engine::RunId;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params, params_from_iter};

use super::{Owned, beside, blob_file, io, real, schema, sql};
use crate::bytes::Bytes;
use crate::store::{Filter, Reader, Registered, RunRow, StoreError};

pub struct SqliteReader {
    pub(super) path: PathBuf,
    pub(super) connection: Owned<Connection>,
}

impl SqliteReader {
    /// Opens a database to read it, whether an engine has it or not.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Absent { path: path.to_owned() });
        }
        let path = &real(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(sql(path))?;
        connection.busy_timeout(Duration::from_secs(30)).map_err(sql(path))?;
        if schema::check(path, &connection)? == 0 {
            let why = "it is empty".to_owned();
            return Err(StoreError::Foreign { path: path.to_owned(), why });
        }
        connection.execute_batch("PRAGMA query_only=ON").map_err(sql(path))?;
        Ok(Self { path: path.to_owned(), connection: Owned::new(connection) })
    }

    /// Whether a command is still waiting for an engine.
    pub fn is_waiting(&self, command: i64) -> Result<bool, StoreError> {
        self.connection
            .query_row("SELECT count(*) FROM inbox WHERE id = ?1", [command], |row| row.get::<_, i64>(0))
            .map(|count| count > 0)
            .map_err(sql(&self.path))
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
        let (mut clauses, mut values) = clauses(filter);
        if let Some(before) = filter.before {
            values.push(before.0.to_vec().into());
            clauses.push_str(&format!(" AND id < ?{}", values.len()));
        }
        let text = format!("SELECT * FROM runs WHERE 1{clauses} ORDER BY id DESC LIMIT {}", filter.limit);
        let failed = sql(&self.path);
        let mut query = self.connection.prepare(&text).map_err(&failed)?;
        query.query_map(params_from_iter(values), run_row).and_then(Iterator::collect).map_err(&failed)
    }

    fn count(&mut self, filter: &Filter) -> Result<u64, StoreError> {
        let (clauses, values) = clauses(filter);
        self.connection
            .query_row(
                &format!("SELECT count(*) FROM runs WHERE 1{clauses}"),
                params_from_iter(values),
                |row| row.get::<_, i64>(0),
            )
            .map(|count| count as u64)
            .map_err(sql(&self.path))
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
        let found: Option<Vec<u8>> = self
            .connection
            .query_row("SELECT object FROM definitions WHERE digest = ?1", [digest], |row| row.get(0))
            .optional()
            .map_err(sql(&self.path))?;
        match found {
            Some(object) if blake3::hash(&object).as_bytes() != digest => Err(StoreError::Corrupt {
                path: self.path.clone(),
                message: format!("definition {} was changed", blake3::Hash::from_bytes(*digest).to_hex()),
            }),
            found => Ok(found),
        }
    }

    fn registered(&mut self, name: Option<&str>) -> Result<Vec<Registered>, StoreError> {
        let failed = sql(&self.path);
        let mut query = self
            .connection
            .prepare_cached(
                "SELECT name, version, hash, digest, registered FROM workflows \
                 WHERE ?1 IS NULL OR name = ?1 ORDER BY name, registered DESC, version DESC",
            )
            .map_err(&failed)?;
        query
            .query_map([name], |row| {
                Ok(Registered {
                    name: row.get(0)?,
                    version: row.get(1)?,
                    hash: row.get(2)?,
                    digest: row.get(3)?,
                    registered: row.get(4)?,
                })
            })
            .and_then(Iterator::collect)
            .map_err(&failed)
    }

    fn blob(&mut self, hash: &[u8; 32]) -> Result<Option<Bytes>, StoreError> {
        let file = blob_file(&beside(&self.path, ".blobs"), hash);
        match std::fs::read(&file).map(Bytes::from) {
            Ok(bytes) if bytes.hash() == *hash => Ok(Some(bytes)),
            Ok(_) => Err(StoreError::Corrupt {
                path: file,
                message: "its bytes are not those of its name".to_owned(),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io(&file)(error)),
        }
    }
}

/// What a filter asks for besides its page, as SQL.
fn clauses(filter: &Filter) -> (String, Vec<rusqlite::types::Value>) {
    let mut text = String::new();
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
    if !filter.states.is_empty() {
        let marks: Vec<String> =
            (0..filter.states.len()).map(|at| format!("?{}", values.len() + at + 1)).collect();
        values.extend(filter.states.iter().map(|state| state.clone().into()));
        text.push_str(&format!(" AND state IN ({})", marks.join(", ")));
        if !filter.states.iter().any(|state| state == "completed") {
            // Said in the words of the index, or it is not used.
            text.push_str(" AND state <> 'completed'");
        }
    }
    (text, values)
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

/// Leaves a command for the engine that has the database open, or opens it next; its number.
pub fn post(path: &Path, run: RunId, command: &str, payload: &[u8]) -> Result<i64, StoreError> {
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
        .map(|_| reader.connection.last_insert_rowid())
        .map_err(sql(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SqliteStore, Sync};

    #[test]
    fn runs_in_states_that_are_rare_are_found_by_their_index() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        let _store = SqliteStore::open(&path, Sync::Full).unwrap();
        let reader = SqliteReader::open(&path).unwrap();
        let plan = |states: &[&str]| -> String {
            let states = states.iter().map(|&state| state.to_owned()).collect();
            let (clauses, values) = clauses(&Filter { states, ..Filter::default() });
            reader
                .connection
                .query_row(
                    &format!("EXPLAIN QUERY PLAN SELECT * FROM runs WHERE 1{clauses}"),
                    params_from_iter(values),
                    |row| row.get(3),
                )
                .unwrap()
        };
        assert!(plan(&["running", "paused"]).contains("USING INDEX runs_by_state"));
        assert!(plan(&["failed"]).contains("USING INDEX runs_by_state"));
        assert!(!plan(&["completed", "failed"]).contains("runs_by_state"));
    }
}
