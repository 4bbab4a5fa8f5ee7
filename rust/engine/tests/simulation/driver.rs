//! A sequential driver: what it does is a function of the workflow, and its answers are hashes of paths.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferroflow_define::algebra::compile::{Kind, Program};
use ferroflow_engine::decide::Answer;
use ferroflow_engine::event::WORKER_DIED;
use ferroflow_engine::ids::Value;
use ferroflow_engine::{Command, Event, Failure, Process, Run, RunId, RunState, Step, StepState, Used, What};

use super::generated::{hash, nil};

pub(crate) fn here() -> Arc<str> {
    "here".into()
}

pub(crate) fn null() -> Value {
    Value::Inline(nil())
}

/// Runs the sequential driver until the run ends or it has made `limit` events.
pub(crate) struct Driver {
    pub run: Run,
    pub log: Vec<Event>,
    pub now: i64,
    pub token: u64,
}

impl Driver {
    pub(crate) fn begin(program: Arc<Program>) -> Self {
        let timeout = program.timeout;
        let mut driver =
            Self { run: Run::new(RunId([7; 16]), program), log: Vec::new(), now: 1_000, token: 0 };
        let created = What::RunCreated {
            workflow: "generated".into(),
            version: "1".into(),
            digest: [0; 32],
            flags: 0,
            seed: 11,
            priority: 2,
            timeout,
            correlation: None,
            input: null(),
            step_timeout: None,
        };
        driver.run.create(created, driver.now, &mut driver.log).unwrap();
        for at in 0..40 {
            driver.handle(Command::Signal { name: format!("n{}", at % 2).into(), value: null() });
        }
        driver.handle(Command::Start { node: here() });
        driver
    }

    /// What another engine makes of the first `events` events.
    pub(crate) fn recover(program: Arc<Program>, log: &[Event]) -> Self {
        let mut run = Run::new(RunId([7; 16]), program);
        for event in log {
            run.apply(event).unwrap();
        }
        let now = log.last().map_or(1_000, |event| event.at);
        let mut driver = Self { run, log: log.to_vec(), now, token: 1_000_000 };
        if driver.run.state() == RunState::Created {
            // Not yet started: what had not been sent is sent again by whoever starts runs.
            let sent = log.iter().filter(|e| matches!(e.what, What::SignalReceived { .. })).count();
            for at in sent..40 {
                driver.handle(Command::Signal { name: format!("n{}", at % 2).into(), value: null() });
            }
            driver.handle(Command::Start { node: here() });
        } else if !driver.run.state().is_terminal() {
            let mut cut: Vec<_> = driver.run.in_flight().collect();
            cut.sort_unstable();
            let cut: Vec<_> =
                cut.into_iter().map(|step| (step, driver.run.attempt(step).unwrap().token)).collect();
            driver.handle(Command::Recover { node: here() });
            for (step, token) in cut {
                driver.handle(Command::Used { step, token, used: Used::default() });
            }
        }
        driver
    }

    pub(crate) fn handle(&mut self, command: Command) {
        self.run
            .handle(command.clone(), self.now, &mut self.log)
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    }

    /// Every choice depends on the state alone, never on how it was reached.
    pub(crate) fn finish(&mut self) {
        for _ in 0..100_000 {
            if self.run.state().is_terminal() {
                return;
            }
            let asking = self.run.asking().next();
            if let Some(step) = asking {
                let answer = self.answer(step);
                self.handle(Command::Answer { step, answer });
            } else if let Some(step) = (0..self.run.len()).find(|&step| self.run.startable(step)) {
                self.body(step);
            } else if let Some(at) = self.run.wake() {
                self.now = self.now.max(at);
                self.handle(Command::Tick);
            } else {
                // Signals that nobody sent: a person gives up.
                self.handle(Command::Cancel { reason: "nothing more can happen".into() });
            }
        }
        panic!("the run does not end");
    }

    fn answer(&self, step: Step) -> Answer {
        let path = self.run.path(step);
        let dice = hash(&path);
        match &self.run.node(step).kind {
            Kind::Choice { branches, .. } => {
                let pick = dice % (branches.len() as u64 + 1);
                Answer::Chosen((pick < branches.len() as u64).then_some(pick as u32))
            }
            Kind::Loop { .. } => {
                let done = self.run.frames_of(step).count() as u64;
                Answer::Looped { again: done < dice % 4, state: null() }
            }
            Kind::Each { .. } => Answer::Expanded { count: (dice % 4) as u32, items: null() },
            Kind::Scope { .. } => Answer::Entered(null()),
            Kind::Sleep(_) => Answer::Slept((dice % 3_000) as i64),
            _ => Answer::Computed(null()),
        }
    }

    fn body(&mut self, step: Step) {
        self.token += 1;
        let token = self.token;
        self.handle(Command::Lease { step, token });
        let task = self.run.task(step).expect("only tasks are started").task;
        let flaky = &*self.run.program.tasks[task as usize] == "flaky";
        let dice = hash(&self.run.path(step));
        if dice.is_multiple_of(3) {
            let process = Process { pid: token as u32, started: 1, boot: 1 };
            self.handle(Command::Spawned { step, token, process });
        }
        self.handle(Command::Beat { step, token });
        let used = dice.is_multiple_of(2).then(Used::default);
        // Fails for good, or until it has been tried again often enough.
        let tried = self
            .log
            .iter()
            .filter(|event| matches!(event.what, What::StepRetrying { step: other, .. } if other == step));
        if flaky && (tried.count() as u64) < 1 + dice % 4 {
            let code = if dice % 5 < 3 { WORKER_DIED } else { "FLAKY" };
            let error = Failure::new(code, "as told");
            self.handle(Command::Fail { step, token, error, retriable: true, used });
        } else {
            self.handle(Command::Complete { step, token, value: null(), set: vec![], used });
        }
    }

    pub(crate) fn summary(&self) -> (RunState, bool, BTreeMap<String, StepState>) {
        let steps = (0..self.run.len()).map(|step| (self.run.path(step), self.run.step(step).unwrap()));
        (self.run.state(), self.run.head().degraded, steps.collect())
    }
}

/// What must hold of every run that has ended, whatever happened to it.
pub(crate) fn check_ended(run: &Run) {
    assert!(run.state().is_terminal());
    let counted: u64 = StepState::ALL.iter().map(|&state| run.count(state)).sum();
    assert_eq!(counted, u64::from(run.len()));
    for step in 0..run.len() {
        let state = run.step(step).unwrap();
        assert!(state.is_terminal(), "{} is {state}", run.path(step));
        let place = run.place(step);
        let code = &run.program.blocks[place.block as usize];
        if state == StepState::Completed {
            for before in 0..code.nodes.len() as u32 {
                if code.graph.successors(before).contains(&place.node) {
                    let before = run.sibling(place.frame, place.copy, before);
                    assert!(run.step(before).unwrap().is_terminal());
                }
            }
        }
    }
    if run.state() == RunState::Completed {
        for step in 0..run.len() {
            let state = run.step(step).unwrap();
            // In a run that completed a step may have failed only if that is tolerated or handled.
            assert!(!matches!(state, StepState::Pending | StepState::Running | StepState::Waiting));
        }
    }
}
