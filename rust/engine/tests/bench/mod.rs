//! A driver that hands the kernel one command at a time.
#![allow(dead_code)] // each file of tests needs its part of it

use std::sync::Arc;

use ferroflow_define::algebra::compile::Program;
use ferroflow_define::{Activity, Backoff, Block, Definition, OnError, Options, Retry, Term};
use ferroflow_engine::ids::Value;
use ferroflow_engine::{Command, Event, Failure, Refusal, Run, RunId, Step, StepState, What};

pub(crate) const MINUTE: i64 = 60_000_000;

pub(crate) fn null() -> Value {
    Value::Inline([0xc0u8].as_slice().into())
}

pub(crate) fn here() -> Arc<str> {
    "here".into()
}

pub(crate) fn activity(id: &str, options: Options) -> Term {
    Term::Activity(Activity {
        id: id.into(),
        task: "task".into(),
        args: vec![],
        kwargs: vec![],
        set: vec![],
        access: None,
        options: Arc::new(options),
    })
}

/// Steps of a task without options, and which of them wait for which.
pub(crate) fn partial(ids: &[&str], edges: &[(u32, u32)]) -> Term {
    let terms = ids.iter().map(|id| activity(id, Options::default())).collect();
    Term::Partial { terms, edges: edges.to_vec() }
}

pub(crate) fn retries(max_retries: u32) -> Options {
    let policy = Retry {
        max_retries,
        backoff: Backoff::Fixed,
        delay: 100,
        factor_milli: 1000,
        cap: None,
        jitter_milli: 0,
    };
    Options { retry: Some(policy), ..Options::default() }
}

pub(crate) struct Bench {
    pub(crate) run: Run,
    pub(crate) log: Vec<Event>,
    pub(crate) now: i64,
    pub(crate) token: u64,
}

impl Bench {
    pub(crate) fn created(term: Term, on_error: OnError) -> Self {
        let definition = Definition {
            name: "w".into(),
            version: "1".into(),
            description: String::new(),
            inputs: vec![],
            assets: vec![],
            closed: false,
            body: Block { term: Box::new(term), result: None, locals: vec![] },
            on_error,
            timeout: None,
        };
        let program = Arc::new(Program::compile(&definition).unwrap());
        let mut bench = Self { run: Run::new(RunId([7; 16]), program), log: vec![], now: 1_000, token: 0 };
        let created = What::RunCreated {
            workflow: "w".into(),
            version: "1".into(),
            digest: [0; 32],
            flags: 0,
            seed: 11,
            priority: 2,
            timeout: Some(MINUTE),
            correlation: None,
            input: null(),
            step_timeout: None,
        };
        bench.run.create(created, bench.now, &mut bench.log).unwrap();
        bench
    }

    pub(crate) fn started(term: Term) -> Self {
        let mut bench = Self::created(term, OnError::FailFast);
        bench.handle(Command::Start { node: here() }).unwrap();
        bench
    }

    pub(crate) fn handle(&mut self, command: Command) -> Result<(), Refusal> {
        self.run.handle(command, self.now, &mut self.log)
    }

    pub(crate) fn step(&self, path: &str) -> Step {
        (0..self.run.len()).find(|&step| self.run.path(step) == path).unwrap()
    }

    pub(crate) fn state(&self, path: &str) -> StepState {
        self.run.step(self.step(path)).unwrap()
    }

    /// What has become ready since this was asked last.
    pub(crate) fn offered(&mut self) -> Vec<String> {
        let offers = std::mem::take(&mut self.run.out.offers);
        offers.into_iter().map(|step| self.run.path(step)).collect()
    }

    pub(crate) fn lease(&mut self, path: &str) -> u64 {
        self.token += 1;
        let (step, token) = (self.step(path), self.token);
        self.handle(Command::Lease { step, token }).unwrap();
        token
    }

    pub(crate) fn complete(&mut self, path: &str) {
        let (step, token) = (self.step(path), self.run.attempt(self.step(path)).unwrap().token);
        self.handle(Command::Complete { step, token, value: null(), set: vec![], used: None }).unwrap();
    }

    pub(crate) fn fail(&mut self, path: &str) {
        let (step, token) = (self.step(path), self.run.attempt(self.step(path)).unwrap().token);
        let error = Failure::new("BAD", "as told");
        self.handle(Command::Fail { step, token, error, retriable: true, used: None }).unwrap();
    }

    pub(crate) fn count(&self, kind: impl Fn(&What) -> bool) -> usize {
        self.log.iter().filter(|event| kind(&event.what)).count()
    }

    /// Another engine takes the run up from its log.
    pub(crate) fn recovered(&self) -> Self {
        let mut run = Run::new(self.run.id, self.run.program.clone());
        for event in &self.log {
            run.apply(event).unwrap();
        }
        run.out = Default::default();
        let mut bench = Self { run, log: self.log.clone(), now: self.now + 1, token: self.token + 1000 };
        bench.handle(Command::Recover { node: "there".into() }).unwrap();
        bench
    }
}

/// The attempts that bodies are to be told of.
pub(crate) fn stopped(run: &Run) -> Vec<(Step, u64)> {
    run.out.stops.iter().map(|stop| (stop.step, stop.token)).collect()
}
