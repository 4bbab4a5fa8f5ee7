//! A store that ends with the process.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferroflow_engine::RunId;

use crate::bytes::Bytes;
use crate::store::{Batch, Filter, Inbox, Reader, Registered, RunRow, Store, StoreError, TOKENS};

#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    records: HashMap<RunId, Vec<Vec<u8>>>,
    rows: BTreeMap<RunId, RunRow>,
    definitions: HashMap<[u8; 32], Vec<u8>>,
    registered: Vec<Registered>,
    blobs: HashMap<[u8; 32], Bytes>,
    tokens: u64,
}

impl MemoryStore {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Every change is a whole one, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut kept = self.kept();
        for append in &batch.appends {
            kept.records.entry(append.run).or_default().push(append.record.clone());
            if let Some(row) = &append.row {
                kept.rows.insert(append.run, row.clone());
            }
        }
        kept.definitions.extend(batch.definitions.iter().cloned());
        kept.registered.extend(batch.registered.iter().cloned());
        Ok(())
    }

    fn reserve(&mut self) -> Result<Range<u64>, StoreError> {
        let mut kept = self.kept();
        let first = kept.tokens + 1;
        kept.tokens += TOKENS;
        Ok(first..kept.tokens + 1)
    }

    fn inbox(&mut self) -> Result<Vec<Inbox>, StoreError> {
        Ok(Vec::new())
    }

    fn put_blob(&mut self, hash: &[u8; 32], bytes: &Bytes) -> Result<(), StoreError> {
        self.kept().blobs.entry(*hash).or_insert_with(|| bytes.clone());
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(self.clone()))
    }
}

impl Reader for MemoryStore {
    fn runs(&mut self, filter: &Filter) -> Result<Vec<RunRow>, StoreError> {
        let kept = self.kept();
        let rows = kept.rows.values().rev().filter(|row| filter.admits(row));
        let page = rows.filter(|row| filter.before.is_none_or(|id| row.id < id));
        Ok(page.take(filter.limit).cloned().collect())
    }

    fn count(&mut self, filter: &Filter) -> Result<u64, StoreError> {
        Ok(self.kept().rows.values().filter(|row| filter.admits(row)).count() as u64)
    }

    fn records(&mut self, run: RunId) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(self.kept().records.get(&run).cloned().unwrap_or_default())
    }

    fn definition(&mut self, digest: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.kept().definitions.get(digest).cloned())
    }

    fn blob(&mut self, hash: &[u8; 32]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.kept().blobs.get(hash).cloned())
    }

    fn registered(&mut self, name: Option<&str>) -> Result<Vec<Registered>, StoreError> {
        let kept = self.kept();
        let wanted = kept.registered.iter().rev().filter(|it| name.is_none_or(|name| it.name == name));
        let mut found: Vec<Registered> = wanted.cloned().collect();
        found.sort_by(|a, b| a.name.cmp(&b.name).then(b.registered.cmp(&a.registered)));
        Ok(found)
    }
}

impl Filter {
    fn admits(&self, row: &RunRow) -> bool {
        self.workflow.as_ref().is_none_or(|it| *it == row.workflow)
            && (self.states.is_empty() || self.states.contains(&row.state))
            && self.correlation.as_ref().is_none_or(|it| Some(it) == row.correlation.as_ref())
            && self.since.is_none_or(|at| row.created >= at)
            && self.until.is_none_or(|at| row.created < at)
    }
}
