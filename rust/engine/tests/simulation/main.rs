//! The kernel is stopped after every single event of generated workflows, rebuilt from the
//! log, and resumed: it must end in the same states. The driver here is sequential and takes
//! its answers from hashes of step paths, so that an execution is a function of the workflow.

mod driver;
mod generated;

use std::collections::BTreeSet;
use std::sync::Arc;

use ferroflow_define::algebra::compile::Program;
use ferroflow_define::{Activity, Block, Definition, OnError, Options, Term};
use ferroflow_engine::{Command, Failure, Refusal, Run, RunId, RunState, Step, StepState, Used, What};
use proptest::prelude::*;

use self::driver::{Driver, check_ended, here, null};
use self::generated::{hash, program};

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

    /// A run ends in one way or another while bodies of it run. What they took is recorded when they end,
    /// in whatever order, and changes nothing else; another engine reads the same from the log.
    #[test]
    fn what_bodies_took_is_recorded_after_the_end_of_their_run(seed: u64, cut: prop::sample::Index, how in 0..3) {
        // Not every program has a step that runs: from the seed on, the first that does.
        let begun = |seed: u64| {
            let program = program(seed, true);
            let mut whole = Driver::begin(program.clone());
            whole.finish();
            let starts: Vec<usize> = (0..whole.log.len())
                .filter(|&at| matches!(whole.log[at].what, What::StepStarted { .. } | What::StepSpawned { .. }))
                .collect();
            (!starts.is_empty()).then_some((program, whole, starts))
        };
        let (program, whole, starts) = (0..).find_map(|more| begun(seed.wrapping_add(more))).unwrap();
        let log = whole.log[..=*cut.get(&starts)].to_vec();
        let mut run = Run::new(RunId([7; 16]), program.clone());
        log.iter().for_each(|event| run.apply(event).unwrap());
        let now = log.last().unwrap().at;
        let mut driver = Driver { run, log, now, token: 1_000_000 };
        // As many bodies as there may be, not only the one of this sequential driver.
        for step in 0..driver.run.len() {
            if driver.run.startable(step) && driver.run.task(step).is_some() {
                driver.token += 1;
                driver.handle(Command::Lease { step, token: driver.token });
            }
        }
        let mut bodies: Vec<(Step, u64)> = driver
            .run
            .in_flight()
            .map(|step| (step, driver.run.attempt(step).unwrap().token))
            .collect();
        bodies.sort_unstable_by_key(|&(step, token)| (hash(&driver.run.path(step)), token));
        prop_assert!(!bodies.is_empty());
        match how {
            0 => driver.handle(Command::Cancel { reason: "enough".into() }),
            1 => driver.handle(Command::FailRun { error: Failure::new("LOST", "as told") }),
            _ => {
                let (step, token) = bodies.remove(0);
                let error = Failure::new("BAD", "as told");
                driver.handle(Command::Fail { step, token, error, retriable: false, used: None });
                driver.finish();
            }
        }
        check_ended(&driver.run);
        let (expected, ended) = (driver.summary(), driver.run.head().ended);
        driver.now += 5;
        for (step, token) in bodies {
            driver.handle(Command::Used { step, token, used: Used { wall: 5, ..Used::default() } });
        }
        prop_assert_eq!(driver.summary(), expected);
        prop_assert_eq!((driver.run.head().ended, driver.run.wake()), (ended, None));
        prop_assert_eq!(driver.run.processes().count(), 0);
        let mut replayed = Run::new(RunId([7; 16]), program);
        driver.log.iter().for_each(|event| replayed.apply(event).unwrap());
        (replayed.out, driver.run.out) = Default::default();
        prop_assert_eq!(format!("{replayed:?}"), format!("{:?}", driver.run));
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
        assets: vec![],
        closed: false,
        body: Block { term: Box::new(term), result: None, locals: vec![] },
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
        access: None,
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
            body: Block { term: Box::new(term), result: None, locals: vec![] },
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
    assert_eq!(driver.run.out.stops.iter().map(|it| (it.step, it.token)).collect::<Vec<_>>(), [(0, 1)]);
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
