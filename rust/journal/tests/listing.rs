//! Every store lists and counts runs in the same way.

use ferroflow_engine::RunId;
use ferroflow_journal::{Append, Batch, Filter, MemoryStore, RunRow, SqliteStore, Store, Sync};

fn row(number: u8) -> RunRow {
    RunRow {
        id: RunId([number; 16]),
        workflow: if number.is_multiple_of(2) { "even" } else { "odd" }.to_owned(),
        version: "1".to_owned(),
        state: if number.is_multiple_of(3) { "failed" } else { "completed" }.to_owned(),
        degraded: false,
        priority: 2,
        correlation: (number == 7).then(|| "order".to_owned()),
        digest: [0; 32],
        created: i64::from(number) * 10,
        started: None,
        ended: None,
        error: None,
    }
}

fn fill(store: &mut dyn Store) {
    let appends = (1..=9)
        .map(|number| Append {
            run: RunId([number; 16]),
            first: 1,
            record: vec![number],
            previous: [0; 32],
            link: [0; 32],
            row: Some(row(number)),
        })
        .collect();
    store.commit(&Batch { appends, ..Batch::default() }).unwrap();
}

/// Req: P9.78
#[test]
fn runs_are_listed_in_pages_and_counted_by_the_same_filter() {
    let folder = tempfile::tempdir().unwrap();
    let stores: [Box<dyn Store>; 2] = [
        Box::<MemoryStore>::default(),
        Box::new(SqliteStore::open(&folder.path().join("runs.db"), Sync::Normal).unwrap()),
    ];
    for mut store in stores {
        fill(&mut *store);
        let mut reader = store.reader().unwrap();
        let mut ask = |filter: Filter| {
            let filter = Filter { limit: filter.limit.max(2), ..filter };
            let page = reader.runs(&filter).unwrap().iter().map(|row| row.id.0[0]).collect::<Vec<_>>();
            (page, reader.count(&filter).unwrap())
        };
        assert_eq!(ask(Filter::default()), (vec![9, 8], 9));
        // The page of a cursor is another one, the count is not.
        assert_eq!(ask(Filter { before: Some(RunId([3; 16])), ..Filter::default() }), (vec![2, 1], 9));
        let odd = Filter { workflow: Some("odd".to_owned()), ..Filter::default() };
        assert_eq!(ask(odd.clone()), (vec![9, 7], 5));
        assert_eq!(ask(Filter { states: vec!["failed".to_owned()], ..odd }), (vec![9, 3], 2));
        assert_eq!(ask(Filter { since: Some(30), until: Some(50), ..Filter::default() }), (vec![4, 3], 2));
        assert_eq!(ask(Filter { correlation: Some("order".to_owned()), ..Filter::default() }), (vec![7], 1));
    }
}
