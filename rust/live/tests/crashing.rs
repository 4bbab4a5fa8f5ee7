//! A store that crashes stops the engine: what it lost is never taken for written.

use std::ops::Range;

use ferroflow_define::Definition;
use ferroflow_define::algebra::compile::Program;
use ferroflow_journal::{Batch, Bytes, Inbox, MemoryStore, Reader, Store, StoreError};
use ferroflow_live::{Durability, Engine, EngineError, Settings};

struct Crashing {
    inner: MemoryStore,
    commits: u32,
}

impl Store for Crashing {
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.commits += 1;
        assert!(self.commits != 2, "the second commit crashes");
        self.inner.commit(batch)
    }

    fn reserve(&mut self) -> Result<Range<u64>, StoreError> {
        self.inner.reserve()
    }

    fn inbox(&mut self) -> Result<Vec<Inbox>, StoreError> {
        self.inner.inbox()
    }

    fn put_blob(&mut self, hash: &[u8; 32], bytes: &Bytes) -> Result<(), StoreError> {
        self.inner.put_blob(hash, bytes)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.inner.reader()
    }
}

#[test]
fn a_commit_that_crashes_stops_the_engine() {
    let settings = Settings {
        durability: Durability::Strict,
        capacity: Default::default(),
        async_limit: 1,
        max_value: 1 << 20,
        max_runs: None,
        max_running: None,
        max_batch: 100,
        window: 0,
        run_limit: None,
        policy: Default::default(),
        run_timeout: None,
        step_timeout: None,
        node: "here".into(),
        cgroup: ferroflow_live::children::Base::Nowhere,
    };
    let store = Crashing { inner: MemoryStore::default(), commits: 0 };
    let engine = Engine::open(Box::new(store), settings, None).unwrap();
    let register = |name: &str| {
        // {"name": name, "term": {"sleep": 1}}
        let mut object = b"\x82\xa4name".to_vec();
        rmp::encode::write_str(&mut object, name).unwrap();
        object.extend(b"\xa4term\x81\xa5sleep\x01");
        let definition = Definition::read(&object).unwrap();
        let program = Program::compile(&definition).unwrap();
        engine.register(&program, &object, *blake3::hash(&object).as_bytes(), definition.hash())
    };
    register("one").unwrap();
    for name in ["two", "three"] {
        assert!(matches!(register(name), Err(EngineError::Halted(message)) if message.contains("crashed")));
    }
    engine.stop();
    engine.join();
}
