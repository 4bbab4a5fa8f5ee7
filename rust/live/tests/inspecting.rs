//! What a view says of a run that has been told things from outside.

use std::sync::Arc;

use ferroflow_define::algebra::compile::Program;
use ferroflow_engine::{Command, Failure, RunState, Used};
use ferroflow_journal::MemoryStore;
use ferroflow_live::{Durability, Engine, Request, Settings, inspect};

fn engine() -> Engine {
    let settings = Settings {
        durability: Durability::Memory,
        capacity: Default::default(),
        async_limit: 1,
        max_value: 1000,
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
    Engine::open(Box::<MemoryStore>::default(), settings, None).unwrap()
}

fn request() -> Request {
    let object = b"\x82\xa4name\xa1w\xa4term\x81\xa6signal\xa2go".to_vec();
    Request {
        program: Arc::new(Program::read(&object).unwrap().1),
        digest: *blake3::hash(&object).as_bytes(),
        object: object.into(),
        lanes: vec![],
        id: None,
        input: vec![0x80].into(),
        priority: 2,
        timeout: None,
        correlation: None,
        terms: Default::default(),
        plan: Vec::new(),
        at_once: false,
        refused: None,
    }
}

#[test]
fn a_view_tells_what_the_last_attempt_used_that_told_it() {
    let engine = engine();
    let run = engine.start(request()).unwrap();
    let used = |wall| Used { wall, cpu: Some(3), ..Used::default() };
    let seen = || {
        let view = engine.with_reader(|reader| inspect(reader, run, false)).unwrap();
        view.steps[0].used
    };
    assert_eq!(seen(), None);
    // The body of an earlier attempt ends after that of a later one.
    for (token, wall, expected) in [(5, 10, 10), (9, 20, 20), (7, 30, 20)] {
        engine.command(run, Command::Used { step: 0, token, used: used(wall) }).unwrap();
        assert_eq!(seen(), Some(used(expected)));
    }
    engine.stop();
    engine.join();
}

#[test]
fn a_run_may_be_failed_from_outside() {
    let engine = engine();
    let run = engine.start(request()).unwrap();
    let error = Failure::new("LOST", "its file is gone");
    engine.command(run, Command::FailRun { error: error.clone() }).unwrap();
    let ended = engine.wait(run, None).unwrap().unwrap();
    assert_eq!((ended.state, ended.error), (RunState::Failed, Some((String::new(), error))));
    let view = engine.with_reader(|reader| inspect(reader, run, false)).unwrap();
    assert_eq!((&*view.state, view.steps[0].state), ("failed", "cancelled"));
    engine.stop();
    engine.join();
}
