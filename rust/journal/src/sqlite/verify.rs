//! Whether a database is whole: every record of every run, and the hash over the runs' last links.

use ferroflow_engine::RunId;
use rusqlite::Row;
use serde::Serialize;

use super::{SqliteReader, sql};
use crate::codec;
use crate::store::{self, Reader, StoreError};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verified {
    pub commits: u64,
    pub runs: u64,
    pub records: u64,
    pub events: u64,
    pub broken: Vec<Broken>,
    /// False if records, or whole runs, are missing although those that are there are whole.
    pub complete: bool,
}

/// The first damaged record of a run; those before it are whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Broken {
    pub run: String,
    pub record: u64,
    pub why: String,
}

impl SqliteReader {
    /// Checks everything as of one commit; `each` hears of every run that was checked, and how many
    /// there are.
    pub fn verify(&mut self, mut each: impl FnMut(u64, u64)) -> Result<Verified, StoreError> {
        let path = self.path.clone();
        let failed = sql(&path);
        self.connection.execute_batch("BEGIN").map_err(&failed)?;
        let found = self.verify_now(&mut each);
        self.connection.execute_batch("ROLLBACK").map_err(&failed)?;
        found
    }

    fn verify_now(&mut self, each: &mut impl FnMut(u64, u64)) -> Result<Verified, StoreError> {
        let (commits, expected) = self.head()?;
        let mut found = Verified { commits, ..Verified::default() };
        let mut query = self
            .connection
            .prepare("SELECT id FROM runs UNION SELECT DISTINCT run FROM records ORDER BY 1")
            .map_err(sql(&self.path))?;
        let runs: Vec<RunId> = query
            .query_map([], |row: &Row<'_>| row.get(0).map(RunId))
            .and_then(Iterator::collect)
            .map_err(sql(&self.path))?;
        drop(query);
        let mut head = [0; 32];
        for &run in &runs {
            let (mut link, mut first, mut whole) = ([0; 32], 1, 0);
            for record in self.records(run)? {
                match codec::decode(&record, &link, first) {
                    Ok((events, next)) => {
                        first += events.len() as u64;
                        link = next;
                        whole += 1;
                    }
                    Err(damage) => {
                        found.broken.push(Broken {
                            run: run.to_string(),
                            record: whole,
                            why: damage.to_string(),
                        });
                        break;
                    }
                }
            }
            store::add(&mut head, run, &link);
            found.runs += 1;
            found.records += whole;
            found.events += first - 1;
            each(found.runs, runs.len() as u64);
        }
        found.complete = head == expected;
        Ok(found)
    }
}
