//! SQL over a database, for people and tests: it reads, and can do nothing else.

use std::time::{Duration, Instant};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::params_from_iter;
use rusqlite::types::{Value, ValueRef};

use super::{SqliteReader, sql};
use crate::store::StoreError;

/// A value that a query takes or gives.
pub type Sql = Value;

/// Columns by name, and rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Sql>>,
}

impl SqliteReader {
    /// Runs one query. Whatever would write, attach or configure is refused by SQLite itself, and a
    /// query that takes longer than the limit is stopped.
    pub fn query(&mut self, text: &str, parameters: Vec<Sql>, limit: Duration) -> Result<Rows, StoreError> {
        let failed = |error: rusqlite::Error| StoreError::Query { message: error.to_string() };
        let until = Instant::now() + limit;
        self.connection.authorizer(Some(only_reads)).map_err(sql(&self.path))?;
        self.connection
            .progress_handler(10_000, Some(move || Instant::now() > until))
            .map_err(sql(&self.path))?;
        let found = (|| {
            let mut query = self.connection.prepare(text).map_err(failed)?;
            let columns: Vec<String> = query.column_names().map(str::to_owned).collect();
            let mut rows = Vec::new();
            let mut found = query.query(params_from_iter(parameters)).map_err(failed)?;
            while let Some(row) = found.next().map_err(failed)? {
                let value = |at| row.get_ref(at).map(|it: ValueRef<'_>| Value::try_from(it));
                let values = (0..columns.len()).map(|at| {
                    value(at)
                        .map_err(failed)?
                        .map_err(|error| StoreError::Query { message: error.to_string() })
                });
                rows.push(values.collect::<Result<_, _>>()?);
            }
            Ok(Rows { columns, rows })
        })();
        self.connection.progress_handler(0, None::<fn() -> bool>).map_err(sql(&self.path))?;
        self.connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>).map_err(sql(&self.path))?;
        found
    }
}

fn only_reads(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => Authorization::Allow,
        // It could load native code.
        AuthAction::Function { function_name: "load_extension" } => Authorization::Deny,
        AuthAction::Function { .. } => Authorization::Allow,
        _ => Authorization::Deny,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SqliteStore, Sync};

    #[test]
    fn it_reads_and_does_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        let _store = SqliteStore::open(&path, Sync::Full).unwrap();
        let mut reader = SqliteReader::open(&path).unwrap();
        let second = Duration::from_secs(1);
        let found = reader.query("SELECT ?1 + 1 AS n, 'x' AS t", vec![Value::Integer(2)], second).unwrap();
        assert_eq!(found.columns, ["n", "t"]);
        assert_eq!(found.rows, [[Value::Integer(3), Value::Text("x".into())]]);
        let attached = format!("ATTACH '{}' AS other", folder.path().join("other.db").display());
        for bad in ["DELETE FROM runs", "PRAGMA query_only=OFF", &attached, "CREATE TABLE x (y)", "SELEC"] {
            assert!(matches!(reader.query(bad, vec![], second), Err(StoreError::Query { .. })), "{bad}");
        }
        assert!(!folder.path().join("other.db").exists());
        let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT sum(x) FROM n";
        let stopped = reader.query(endless, vec![], Duration::from_millis(20));
        assert!(stopped.unwrap_err().to_string().contains("interrupted"));
        assert_eq!(reader.query("SELECT count(*) FROM runs", vec![], second).unwrap().rows.len(), 1);
    }
}
