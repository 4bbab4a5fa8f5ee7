//! Whose file a database is, and how an older one becomes a present one.

use std::path::Path;

use rusqlite::Connection;

use super::sql;
use crate::store::StoreError;

/// `ffl1`: tells our files from anybody else's.
const APPLICATION: i64 = 0x6666_6c31;

/// Each step makes the next schema of the one before; step 0 begins with an empty file.
const STEPS: &[&str] = &[include_str!("schema_1.sql")];

/// Checks whose file it is before anything is changed in it; returns its schema, 0 if it is empty.
pub(super) fn check(path: &Path, connection: &Connection) -> Result<usize, StoreError> {
    check_against(path, connection, STEPS.len())
}

fn check_against(path: &Path, connection: &Connection, known: usize) -> Result<usize, StoreError> {
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
    match usize::try_from(version) {
        Ok(version) if version <= known => Ok(version),
        _ => Err(StoreError::Newer { path: path.to_owned(), found: version, known: known as i64 }),
    }
}

/// Brings a database to the present schema, within the caller's transaction.
pub(super) fn migrate(path: &Path, connection: &Connection, version: usize) -> Result<(), StoreError> {
    migrate_by(path, connection, version, STEPS)
}

fn migrate_by(
    path: &Path,
    connection: &Connection,
    version: usize,
    steps: &[&str],
) -> Result<(), StoreError> {
    for step in &steps[version..] {
        connection.execute_batch(step).map_err(sql(path))?;
    }
    let (application, version) = (APPLICATION, steps.len());
    connection
        .execute_batch(&format!("PRAGMA application_id={application}; PRAGMA user_version={version};"))
        .map_err(sql(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_database_is_brought_forward_and_keeps_what_it_holds() {
        let (path, connection) = (Path::new("old.db"), Connection::open_in_memory().unwrap());
        let later = [STEPS[0], "ALTER TABLE runs ADD COLUMN owner TEXT NOT NULL DEFAULT 'nobody'"];
        migrate(path, &connection, 0).unwrap();
        connection
            .execute_batch("INSERT INTO runs VALUES (x'01','w','1','completed',0,2,NULL,x'02',5,5,6,NULL)")
            .unwrap();
        let version = check_against(path, &connection, later.len()).unwrap();
        migrate_by(path, &connection, version, &later).unwrap();
        let found: (String, String) = connection
            .query_row("SELECT workflow, owner FROM runs", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(found, ("w".into(), "nobody".into()));
        assert_eq!(check_against(path, &connection, later.len()).unwrap(), 2);
        let refused = check(path, &connection).unwrap_err();
        assert!(matches!(refused, StoreError::Newer { found: 2, known: 1, .. }), "{refused}");
    }
}
