//! A commit happens as a whole or not at all.

use ferroflow_engine::RunId;
use ferroflow_journal::{Append, Batch, Filter, Registered, RunRow, SqliteStore, Store, Sync};

fn append(number: u8) -> Append {
    let row = RunRow {
        id: RunId([number; 16]),
        workflow: "w".to_owned(),
        version: "1".to_owned(),
        state: "completed".to_owned(),
        degraded: false,
        priority: 2,
        correlation: None,
        digest: [0; 32],
        created: 1,
        started: None,
        ended: None,
        error: None,
    };
    Append { run: row.id, first: 1, record: vec![number], previous: [0; 32], link: [1; 32], row: Some(row) }
}

/// Req: P7.71
#[test]
fn a_write_that_fails_leaves_neither_events_nor_state() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&folder.path().join("runs.db"), Sync::Full).unwrap();
    let registered = || {
        let (name, version) = ("w".to_owned(), "1".to_owned());
        vec![Registered { name, version, hash: [0; 32], digest: [0; 32], registered: 1 }]
    };
    let batch = |number, registered| Batch { appends: vec![append(number)], registered, ..Batch::default() };
    store.commit(&batch(1, registered())).unwrap();
    // The events and the state are written before the name that exists is found.
    assert!(store.commit(&batch(2, registered())).is_err());
    let mut reader = store.reader().unwrap();
    let runs = |reader: &mut dyn ferroflow_journal::Reader| {
        let rows = reader.runs(&Filter { limit: 10, ..Filter::default() }).unwrap();
        rows.iter().map(|row| row.id.0[0]).collect::<Vec<_>>()
    };
    assert_eq!(runs(&mut *reader), [1]);
    assert!(reader.records(RunId([2; 16])).unwrap().is_empty());
    store.commit(&batch(3, vec![])).unwrap();
    assert_eq!(runs(&mut *reader), [3, 1]);
    assert_eq!(reader.records(RunId([3; 16])).unwrap(), [vec![3]]);
}
