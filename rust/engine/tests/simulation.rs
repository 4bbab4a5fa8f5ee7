//! The kernel is stopped after every single event of generated workflows, rebuilt from the
//! log, and resumed: it must end in the same states. The driver here is sequential and takes
//! its answers from hashes of step paths, so that an execution is a function of the workflow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ferroflow_define::algebra::compile::{Kind, Program};
use ferroflow_define::expr::Expr;
use ferroflow_define::{Activity, Backoff, Binding, Block, Definition, OnError, Options, Retry, Term};
use ferroflow_engine::decide::Answer;
use ferroflow_engine::event::WORKER_DIED;
use ferroflow_engine::ids::Value;
use ferroflow_engine::{
    Command, Event, Failure, Process, Refusal, Run, RunId, RunState, Step, StepState, Used, What,
};
use proptest::prelude::*;

/// A small generator of numbers (SplitMix64), so that a workflow is a function of a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % sides
    }
}

fn hash(text: &str) -> u64 {
    Dice(text.bytes().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))))
        .roll(1 << 32)
}

fn nil() -> Arc<[u8]> {
    [0xc0u8].as_slice().into()
}

struct Maker {
    dice: Dice,
    count: u32,
    failing: bool,
    /// Names of the workflows round the term that is being made.
    round: Vec<String>,
}

impl Maker {
    fn id(&mut self) -> String {
        self.count += 1;
        format!("s{}", self.count)
    }

    fn block(&mut self, depth: u32) -> Block {
        Block { term: Box::new(self.term(depth)), result: None }
    }

    fn terms(&mut self, depth: u32) -> Vec<Term> {
        (0..self.dice.roll(4)).map(|_| self.term(depth)).collect()
    }

    fn activity(&mut self) -> Term {
        let mut options = Options::default();
        match self.dice.roll(6) {
            0 => options.tolerated = true,
            1 | 2 => {
                options.retry = Some(Retry {
                    max_retries: self.dice.roll(5) as u32,
                    backoff: Backoff::Exponential,
                    delay: 1000,
                    factor_milli: 2000,
                    cap: None,
                    jitter_milli: 100,
                });
            }
            3 => options.run_on_upstream_failure = true,
            // So short that every beat is recorded although no time goes by in a body.
            4 => options.heartbeat = Some(3),
            _ => {}
        }
        let fails = if self.failing && self.dice.roll(4) == 0 { "flaky" } else { "task" };
        Term::Activity(Activity {
            id: self.id(),
            task: fails.to_owned(),
            args: vec![],
            kwargs: vec![],
            set: vec![],
            options: Arc::new(options),
        })
    }

    fn term(&mut self, depth: u32) -> Term {
        if depth == 0 {
            return self.activity();
        }
        let depth = depth - 1;
        let truth = || Expr::parse("true").unwrap();
        match self.dice.roll(15) {
            0 => Term::Sequence(self.terms(depth)),
            1 => Term::Parallel(self.terms(depth)),
            2 | 3 => {
                let terms = self.terms(depth);
                let mut edges = Vec::new();
                for to in 1..terms.len() as u32 {
                    for from in 0..to {
                        if self.dice.roll(2) == 0 {
                            edges.push((from, to));
                        }
                    }
                }
                Term::Partial { terms, edges }
            }
            4 => Term::Choice {
                id: self.id(),
                branches: (0..1 + self.dice.roll(2)).map(|_| (truth(), self.block(depth))).collect(),
                otherwise: (self.dice.roll(2) == 0).then(|| self.block(depth)),
            },
            5 => Term::Loop {
                id: self.id(),
                name: "state".into(),
                init: Binding::Const(nil()),
                condition: truth(),
                body: self.block(depth),
                max: Some(3),
            },
            6 | 7 => Term::Each {
                id: self.id(),
                name: "item".into(),
                items: Binding::Const(nil()),
                body: self.block(depth),
                limit: (self.dice.roll(2) == 0).then_some(1),
                on_error: if self.dice.roll(2) == 0 { OnError::Continue } else { OnError::FailFast },
            },
            8 => {
                let id = self.id();
                self.round.push(id.clone());
                let body = self.block(depth);
                self.round.pop();
                Term::Scope { workflow: id.clone(), id, inputs: vec![], body }
            }
            13 => {
                let workflow = self.round[self.dice.roll(self.round.len() as u64) as usize].clone();
                let max_depth = 1 + self.dice.roll(2) as u32;
                let again = Term::Recursion { id: self.id(), workflow, inputs: vec![], max_depth };
                let block = Block { term: Box::new(again), result: None };
                Term::Choice { id: self.id(), branches: vec![(truth(), block)], otherwise: None }
            }
            9 => Term::Timeout { id: self.id(), micros: 1500, body: self.block(depth) },
            10 => Term::Handler { id: self.id(), body: self.block(depth), handler: self.block(depth) },
            11 => Term::Sleep { id: self.id(), duration: Binding::Const(nil()) },
            12 => Term::Signal { id: self.id(), name: format!("n{}", self.dice.roll(2)) },
            _ => {
                let branches: Vec<Block> = (0..1 + self.dice.roll(3)).map(|_| self.block(depth)).collect();
                let count = 1 + self.dice.roll(branches.len() as u64) as u32;
                Term::First { id: self.id(), count, branches }
            }
        }
    }
}

fn program(seed: u64, failing: bool) -> Arc<Program> {
    let mut maker = Maker { dice: Dice(seed), count: 0, failing, round: vec!["generated".to_owned()] };
    let body = maker.block(3);
    let on_error = if maker.dice.roll(2) == 0 { OnError::Continue } else { OnError::FailFast };
    let definition = Definition {
        name: "generated".into(),
        version: "1".into(),
        description: String::new(),
        inputs: vec![],
        body,
        on_error,
        timeout: None,
    };
    Arc::new(Program::compile(&definition).expect("generated terms are right"))
}

fn here() -> Arc<str> {
    "here".into()
}

fn null() -> Value {
    Value::Inline(nil())
}

/// Runs the sequential driver until the run ends or it has made `limit` events.
struct Driver {
    run: Run,
    log: Vec<Event>,
    now: i64,
    token: u64,
}

impl Driver {
    fn begin(program: Arc<Program>) -> Self {
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
    fn recover(program: Arc<Program>, log: &[Event]) -> Self {
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

    fn handle(&mut self, command: Command) {
        self.run
            .handle(command.clone(), self.now, &mut self.log)
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    }

    /// Every choice depends on the state alone, never on how it was reached.
    fn finish(&mut self) {
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

    fn summary(&self) -> (RunState, bool, BTreeMap<String, StepState>) {
        let steps = (0..self.run.len()).map(|step| (self.run.path(step), self.run.step(step).unwrap()));
        (self.run.state(), self.run.head().degraded, steps.collect())
    }
}

/// What must hold of every run that has ended, whatever happened to it.
fn check_ended(run: &Run) {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
    ))]

    /// Req: P1.21, P5.95, P5.97, P6.91, P6.107, P8.86, P4.138, P4.173
    #[test]
    fn stopped_after_any_event_it_ends_the_same(seed: u64, failing: bool) {
        let program = program(seed, failing);
        let mut whole = Driver::begin(program.clone());
        whole.finish();
        check_ended(&whole.run);
        prop_assert_eq!(whole.run.processes().count(), 0);
        let expected = whole.summary();
        // Long logs are sampled; short ones are cut at every event.
        let stride = 1 + whole.log.len() / 150;
        for cut in (1..whole.log.len()).step_by(stride) {
            let mut again = Driver::recover(program.clone(), &whole.log[..cut]);
            again.finish();
            check_ended(&again.run);
            prop_assert_eq!(&again.summary(), &expected, "cut after event {} of {}", cut, whole.log.len());
        }
    }

    /// Req: P1.21, P5.107, P6.107
    #[test]
    fn replay_of_the_log_gives_the_state(seed: u64) {
        let program = program(seed, true);
        let mut whole = Driver::begin(program.clone());
        whole.finish();
        let mut replayed = Run::new(RunId([7; 16]), program);
        for event in &whole.log {
            replayed.apply(event).unwrap();
        }
        replayed.out = Default::default();
        whole.run.out = Default::default();
        prop_assert_eq!(format!("{replayed:?}"), format!("{:?}", whole.run));
    }

    /// Whatever events an attacker or a bug puts into a log, applying them ends in an error
    /// or a state, never a panic.
    #[test]
    fn shuffled_logs_are_refused_not_believed(seed: u64, swaps in proptest::collection::vec((any::<u16>(), any::<u16>()), 1..6)) {
        let program = program(seed, true);
        let mut whole = Driver::begin(program.clone());
        whole.finish();
        let mut log = whole.log.clone();
        for (a, b) in swaps {
            let (a, b) = (a as usize % log.len(), b as usize % log.len());
            log.swap(a, b);
        }
        let mut run = Run::new(RunId([7; 16]), program);
        for event in &log {
            if run.apply(event).is_err() {
                break;
            }
        }
    }
}

/// Compiles a term alone and starts a run of it.
fn driver(term: Term) -> Driver {
    let definition = Definition {
        name: "w".into(),
        version: "1".into(),
        description: String::new(),
        inputs: vec![],
        body: Block { term: Box::new(term), result: None },
        on_error: OnError::FailFast,
        timeout: Some(60_000_000),
    };
    Driver::begin(Arc::new(Program::compile(&definition).unwrap()))
}

fn activity(id: &str, options: Options) -> Term {
    Term::Activity(Activity {
        id: id.into(),
        task: "task".into(),
        args: vec![],
        kwargs: vec![],
        set: vec![],
        options: Arc::new(options),
    })
}

fn one_step(options: Options) -> Driver {
    driver(activity("a", options))
}

#[test]
fn a_workflow_nests_in_itself_as_deep_as_it_said_and_no_deeper() {
    let again = Term::Recursion { id: "again".into(), workflow: "w".into(), inputs: vec![], max_depth: 2 };
    let mut driver = driver(Term::Sequence(vec![activity("a", Options::default()), again]));
    driver.finish();
    assert_eq!(driver.run.state(), RunState::Failed);
    let (step, error) = driver.run.head().error.clone().unwrap();
    assert_eq!(driver.run.path(step.unwrap()), "again/again/again");
    assert_eq!(&*error.code, "RECURSION_BOUND");
    assert!(error.message.contains("max_depth=2"), "{}", error.message);
    let paths: BTreeSet<_> = driver.summary().2.into_keys().collect();
    let expected =
        ["a", "again", "again/a", "again/again", "again/again/a", "again/again/again"].map(str::to_owned);
    assert_eq!(paths, BTreeSet::from(expected));
}

/// Deep bodies count too, because results are put together by recursion over all blocks.
#[test]
fn nesting_is_bounded_whatever_a_recursion_says() {
    let mut term =
        Term::Recursion { id: "again".into(), workflow: "w".into(), inputs: vec![], max_depth: 200 };
    for _ in 0..99 {
        term = Term::Timeout {
            id: "t".into(),
            micros: 1_000_000_000,
            body: Block { term: Box::new(term), result: None },
        };
    }
    let mut driver = driver(term);
    driver.finish();
    let (step, error) = driver.run.head().error.clone().unwrap();
    assert_eq!(&*error.code, "RECURSION_BOUND");
    assert_eq!(driver.run.path(step.unwrap()).split('/').count(), 1100);
}

/// Req: P4.135, P5.97, P5.110, P8.54
#[test]
fn results_of_superseded_attempts_are_refused() {
    let mut driver = one_step(Options::default());
    driver.handle(Command::Lease { step: 0, token: 1 });
    driver.handle(Command::Recover { node: here() });
    driver.handle(Command::Lease { step: 0, token: 2 });
    let events = driver.log.len();
    let late = Command::Complete { step: 0, token: 1, value: null(), set: vec![], used: None };
    assert_eq!(
        driver.run.handle(late, driver.now, &mut driver.log),
        Err(Refusal::Stale { step: 0, token: 1 })
    );
    assert_eq!(driver.log.len(), events);
    driver.handle(Command::Complete { step: 0, token: 2, value: null(), set: vec![], used: None });
    assert_eq!(driver.run.state(), RunState::Completed);
}

/// Req: P1.27, P8.8, P8.53
#[test]
fn an_attempt_out_of_time_is_stopped_and_fails_the_run() {
    let mut driver = one_step(Options { timeout: Some(5_000), ..Options::default() });
    driver.handle(Command::Lease { step: 0, token: 1 });
    assert_eq!(driver.run.wake(), Some(driver.now + 5_000));
    driver.now += 5_000;
    driver.handle(Command::Tick);
    assert_eq!(driver.run.step(0), Some(StepState::TimedOut));
    assert_eq!(driver.run.out.stops, [(0, 1)]);
    assert_eq!(driver.run.state(), RunState::Failed);
}

/// Req: P8.94, P9.121
#[test]
fn only_the_time_that_remains_counts_after_recovery() {
    let mut driver = one_step(Options { timeout: Some(5_000), ..Options::default() });
    driver.handle(Command::Lease { step: 0, token: 1 });
    driver.now += 2_000;
    driver.handle(Command::Progress { step: 0, token: 1, percent: 40.0, message: "".into() });
    driver.now += 1_000_000;
    driver.handle(Command::Recover { node: here() });
    driver.handle(Command::Lease { step: 0, token: 2 });
    assert_eq!(driver.run.wake(), Some(driver.now + 3_000), "2 ms of 5 ms were used");
    driver.now = 60_001_000;
    driver.handle(Command::Tick);
    assert_eq!(driver.run.state(), RunState::TimedOut, "the run's own minute is over");
}

/// Req: P6.133, P7.17, P7.18
#[test]
fn a_run_that_has_ended_refuses_commands() {
    let mut driver = one_step(Options::default());
    driver.handle(Command::Cancel { reason: "enough".into() });
    assert_eq!(driver.run.head().reason.as_deref(), Some("enough"));
    assert_eq!(driver.run.step(0), Some(StepState::Cancelled));
    let refusal = driver.run.handle(Command::Cancel { reason: "again".into() }, 9_999, &mut driver.log);
    assert_eq!(refusal.unwrap_err().to_string(), "the run is cancelled: it can't be cancelled");
}

/// Req: P8.109, P5.99
#[test]
fn a_paused_run_stays_paused_over_a_recovery_and_then_goes_on() {
    let mut driver = one_step(Options::default());
    driver.handle(Command::Pause { reason: "lunch".into() });
    driver.handle(Command::Recover { node: here() });
    assert_eq!(driver.run.state(), RunState::Paused);
    assert!(driver.run.handle(Command::Lease { step: 0, token: 5 }, 9_999, &mut driver.log).is_err());
    driver.handle(Command::Resume);
    assert_eq!(driver.run.out.offers, [0]);
    driver.finish();
    assert_eq!(driver.run.state(), RunState::Completed);
    let paths: BTreeSet<_> = driver.summary().2.into_keys().collect();
    assert_eq!(paths.into_iter().collect::<Vec<_>>(), ["a"]);
}
