//! What commands come to, state by state: the driver here hands the kernel one at a time.

mod bench;

use std::sync::Arc;

use ferroflow_define::{Block, OnError, Options, Term};
use ferroflow_engine::{Command, Event, Failure, Refusal, Run, RunState, StepState, Used, What};

use bench::{Bench, MINUTE, activity, here, null, partial, retries, stopped};

/// Req: P4.126, P8.12, P8.14, P8.85
#[test]
fn a_step_is_ready_once_all_it_depends_on_has_completed() {
    let mut bench = Bench::started(partial(&["a", "b", "c", "d"], &[(0, 1), (0, 2), (1, 3), (2, 3)]));
    assert_eq!(bench.offered(), ["a"]);
    bench.lease("a");
    assert!(!bench.run.startable(bench.step("a")), "it is in flight");
    assert_eq!(bench.state("b"), StepState::Pending);
    bench.complete("a");
    assert_eq!(bench.state("a"), StepState::Completed);
    assert_eq!(bench.offered(), ["b", "c"]);
    bench.lease("b");
    bench.lease("c");
    bench.complete("b");
    assert!(bench.offered().is_empty(), "c has not ended");
    bench.complete("c");
    assert_eq!(bench.offered(), ["d"]);
}

/// Req: P4.127, P8.48, P5.110
#[test]
fn a_step_in_flight_is_not_started_again_and_ends_once() {
    let mut bench = Bench::started(partial(&["a", "b"], &[]));
    let token = bench.lease("a");
    let step = bench.step("a");
    for state in [StepState::Running, StepState::Completed] {
        let events = bench.log.len();
        assert_eq!(bench.handle(Command::Lease { step, token: 99 }), Err(Refusal::NotReady { step, state }));
        assert_eq!(bench.log.len(), events);
        if state == StepState::Running {
            bench.complete("a");
        }
    }
    let again = Command::Complete { step, token, value: null(), set: vec![], used: None };
    assert_eq!(bench.handle(again), Err(Refusal::Stale { step, token }));
}

/// Req: P4.134, P4.142
#[test]
fn a_run_completes_right_after_its_last_result_and_no_sooner() {
    let mut bench = Bench::started(partial(&["a", "b", "c"], &[(0, 1)]));
    for path in ["a", "c", "b"] {
        assert_eq!(bench.run.state(), RunState::Running);
        bench.lease(path);
        bench.complete(path);
    }
    assert_eq!(bench.run.state(), RunState::Completed);
    let last = bench.step("b");
    let [.., before, end] = &bench.log[..] else { unreachable!() };
    assert!(matches!(before.what, What::StepCompleted { step, .. } if step == last));
    assert!(matches!(end.what, What::RunCompleted { degraded: false }));
}

/// Req: P4.177, P7.92
#[test]
fn what_has_nothing_left_to_do_completes_even_after_a_crash() {
    let empty = Bench::started(Term::Sequence(vec![]));
    assert_eq!(empty.run.state(), RunState::Completed);

    let mut bench = Bench::started(partial(&["a"], &[]));
    bench.lease("a");
    bench.complete("a");
    assert!(matches!(bench.log.pop().unwrap().what, What::RunCompleted { .. }));
    let again = bench.recovered();
    assert_eq!(again.run.state(), RunState::Completed);
    assert_eq!(again.count(|what| matches!(what, What::StepStarted { .. })), 1);
}

/// Req: P5.105, P5.112, P6.106, P6.150, P7.16, P7.33, P7.67, P8.73, P8.95, P9.76
#[test]
fn each_state_takes_the_commands_that_make_sense_in_it() {
    let created = Bench::created(partial(&["a"], &[]), OnError::FailFast);
    let running = Bench::started(partial(&["a"], &[]));
    let change = |from: &Bench, command: Command| {
        let mut bench = Bench { run: from.run.clone(), log: from.log.clone(), ..*from };
        bench.handle(command).unwrap();
        bench
    };
    let end = |last: fn(&mut Bench)| {
        let mut bench = Bench { run: running.run.clone(), log: running.log.clone(), ..running };
        bench.lease("a");
        last(&mut bench);
        bench
    };
    let reason = Arc::from("because");
    let cases = [
        (created, vec!["start", "signal", "cancel", "fail", "recover"]),
        (
            change(&running, Command::Pause { reason }),
            vec!["signal", "resume", "cancel", "fail", "used", "recover"],
        ),
        (running.recovered(), vec!["lease", "signal", "pause", "cancel", "fail", "used", "recover"]),
        (end(|bench| bench.complete("a")), vec!["used"]),
        (end(|bench| bench.fail("a")), vec!["used"]),
        (change(&running, Command::Cancel { reason: "because".into() }), vec!["used"]),
        (
            end(|bench| {
                bench.now += MINUTE;
                bench.handle(Command::Tick).unwrap();
            }),
            vec!["used"],
        ),
    ];
    let states = cases.each_ref().map(|(bench, _)| bench.run.state());
    assert_eq!(
        states.map(RunState::name),
        ["created", "paused", "running", "completed", "failed", "cancelled", "timed_out"]
    );
    for (bench, allowed) in &cases {
        let commands = [
            ("start", Command::Start { node: here() }),
            ("lease", Command::Lease { step: 0, token: 99 }),
            ("signal", Command::Signal { name: "go".into(), value: null() }),
            ("pause", Command::Pause { reason: "lunch".into() }),
            ("resume", Command::Resume),
            ("cancel", Command::Cancel { reason: "enough".into() }),
            ("fail", Command::FailRun { error: Failure::new("LOST", "its file is gone") }),
            ("used", Command::Used { step: 0, token: 7, used: Used::default() }),
            ("recover", Command::Recover { node: here() }),
        ];
        for (name, command) in commands {
            let mut run = bench.run.clone();
            let mut events = Vec::new();
            let done = run.handle(command, bench.now, &mut events);
            assert_eq!(done.is_ok(), allowed.contains(&name), "{name} of a {} run: {done:?}", run.state());
            if let Err(refusal) = done {
                if matches!(refusal, Refusal::NoStep(_)) {
                    continue;
                }
                assert!(refusal.to_string().contains(bench.run.state().name()), "{refusal}");
                assert_eq!((run.state(), run.sequence()), (bench.run.state(), bench.run.sequence()));
                assert!(events.is_empty());
            } else if name == "cancel" {
                assert_eq!(run.state(), RunState::Cancelled);
                assert!((0..run.len()).all(|step| run.step(step) == Some(StepState::Cancelled)));
            } else if name == "fail" {
                assert_eq!(run.state(), RunState::Failed);
                assert_eq!(run.head().error, Some((None, Failure::new("LOST", "its file is gone"))));
                assert!((0..run.len()).all(|step| run.step(step) == Some(StepState::Cancelled)));
            } else if name == "used" {
                assert_eq!((run.state(), run.step(0)), (bench.run.state(), bench.run.step(0)));
                assert_eq!((events.len(), run.sequence()), (1, bench.run.sequence() + 1));
            }
        }
    }
}

/// Req: P5.105, P5.110, P6.91, P7.19, P8.54
#[test]
fn events_that_can_not_follow_are_refused() {
    let mut bench = Bench::started(partial(&["a", "b"], &[(0, 1)]));
    let token = bench.lease("a");
    let (a, b) = (bench.step("a"), bench.step("b"));
    let started = |step, attempt, token| What::StepStarted { step, attempt, token };
    let completed = |step, token| What::StepCompleted { step, token, value: null(), used: None };
    let refused = |run: &Run, what: What| {
        let said = format!("{what:?}");
        assert!(run.clone().apply(&Event { at: 2_000, what }).is_err(), "{said}");
    };
    for what in [
        bench.log[0].what.clone(),
        What::RunStarted { node: here() },
        What::RunResumed,
        What::RunCompleted { degraded: false },
        started(a, 2, 99),
        started(b, 1, 99),
        started(77, 1, 99),
        completed(a, 99),
        completed(b, token),
        What::TimerFired { step: a },
        What::SignalTaken { step: a, signal: 0 },
        What::Chosen { step: a, branch: None },
    ] {
        refused(&bench.run, what);
    }
    let mut paused = Bench { run: bench.run.clone(), log: vec![], ..bench };
    paused.complete("a");
    paused.handle(Command::Pause { reason: "lunch".into() }).unwrap();
    refused(&paused.run, started(b, 1, 99));
    // A gap, and a repetition.
    let mut gap = Run::new(bench.run.id, bench.run.program.clone());
    refused(&gap, bench.log[1].what.clone());
    gap.apply(&bench.log[0]).unwrap();
    refused(&gap, bench.log[2].what.clone());
    bench.complete("a");
    refused(&bench.run, completed(a, token));
    bench.lease("b");
    bench.complete("b");
    assert_eq!(bench.run.state(), RunState::Completed);
    for what in [
        What::RunCancelled { reason: "late".into() },
        What::RunFailed { step: None, error: Failure::new("LATE", "late") },
        What::RunCompleted { degraded: false },
        completed(b, 2),
        What::SignalReceived { name: "go".into(), value: null() },
        What::VariableSet { name: "x".into(), value: null() },
        What::StepUsed { step: 77, token: 2, used: Used::default() },
    ] {
        refused(&bench.run, what);
    }
}

/// Req: P1.27, P4.173, P5.95, P5.107, P6.95, P6.96, P6.97, P6.101, P8.53
#[test]
fn each_event_has_its_effect() {
    let begun = |options| {
        let mut bench = Bench::started(activity("a", options));
        assert_eq!((bench.run.head().created, bench.run.head().started), (1_000, Some(1_000)));
        assert_eq!((bench.run.state(), bench.state("a")), (RunState::Running, StepState::Ready));
        assert_eq!(bench.run.head().deadline, Some(1_000 + MINUTE));
        bench.now += 7;
        bench.lease("a");
        assert_eq!((bench.state("a"), bench.run.attempts_of(0)), (StepState::Running, 1));
        assert_eq!(bench.run.attempt(0).unwrap().started, 1_007);
        bench.now += 5_000;
        bench
    };
    let are = |bench: &Bench, run: RunState, step: StepState| {
        assert_eq!((bench.run.state(), bench.state("a")), (run, step));
        assert_eq!(bench.run.head().ended, run.is_terminal().then_some(bench.now));
        assert_eq!(bench.run.head().last, bench.now);
    };

    let mut bench = begun(Options::default());
    bench.complete("a");
    are(&bench, RunState::Completed, StepState::Completed);

    let mut bench = begun(Options::default());
    bench.fail("a");
    are(&bench, RunState::Failed, StepState::Failed);
    assert_eq!(bench.run.head().error, Some((Some(0), Failure::new("BAD", "as told"))));

    let mut bench = begun(Options::default());
    bench.handle(Command::Cancel { reason: "enough".into() }).unwrap();
    are(&bench, RunState::Cancelled, StepState::Cancelled);
    assert_eq!(bench.run.head().reason.as_deref(), Some("enough"));

    // The time of the run, and that of the attempt.
    let mut bench = begun(Options::default());
    bench.now = 1_000 + MINUTE;
    bench.handle(Command::Tick).unwrap();
    are(&bench, RunState::TimedOut, StepState::Cancelled);
    let error = Failure::new("TIMEOUT", "the run did not end within 60 s");
    assert_eq!(bench.run.head().error, Some((None, error)));

    let mut bench = begun(Options { timeout: Some(5_000), ..Options::default() });
    bench.handle(Command::Tick).unwrap();
    are(&bench, RunState::Failed, StepState::TimedOut);
    let error = Failure::new("TIMEOUT", "the attempt did not end within 0.005 s");
    assert_eq!(bench.run.head().error, Some((Some(0), error)));

    let mut bench = begun(retries(1));
    bench.fail("a");
    are(&bench, RunState::Running, StepState::Waiting);
    bench.now += 100;
    bench.handle(Command::Tick).unwrap();
    are(&bench, RunState::Running, StepState::Ready);

    let mut bench = begun(Options::default()).recovered();
    are(&bench, RunState::Running, StepState::Ready);
    assert_eq!((bench.offered(), bench.run.attempt(0)), (vec!["a".to_owned()], None));
    assert_eq!((bench.run.head().recoveries, &*bench.run.head().node), (1, "there"));
}

/// Req: P4.138, P6.99, P6.100, P6.102, P8.104
#[test]
fn tries_are_one_more_than_the_retries_and_counted_over_recoveries() {
    let mut bench = Bench::started(activity("a", retries(2)));
    for attempt in 1..=3 {
        bench.lease("a");
        assert_eq!(bench.run.attempts_of(0), attempt);
        bench.fail("a");
        if attempt < 3 {
            assert_eq!(bench.state("a"), StepState::Waiting);
            bench = bench.recovered();
            assert_eq!(bench.run.wake(), Some(bench.now - 1 + 100), "the retry waits for its time");
            bench.now += 100;
            bench.handle(Command::Tick).unwrap();
        }
    }
    assert_eq!((bench.run.state(), bench.state("a")), (RunState::Failed, StepState::Failed));
    let (_, error) = bench.run.head().error.clone().unwrap();
    assert_eq!(&*error.message, "as told (after 2 retries)");
}

/// A step fails while another is in flight. The rest of the run goes on as far as it may.
fn failing(tolerated: bool, run_anyway: bool, on_error: OnError) -> Bench {
    let bad = activity("bad", Options { tolerated, ..Options::default() });
    let next = activity("next", Options { run_on_upstream_failure: run_anyway, ..Options::default() });
    let [far, other, last] = ["far", "other", "last"].map(|id| activity(id, Options::default()));
    let edges = vec![(0, 1), (1, 2), (3, 4)];
    let mut bench =
        Bench::created(Term::Partial { terms: vec![bad, next, far, other, last], edges }, on_error);
    bench.handle(Command::Start { node: here() }).unwrap();
    bench.lease("bad");
    bench.lease("other");
    bench.offered();
    bench.fail("bad");
    bench
}

fn go_on(bench: &mut Bench) {
    for path in ["other", "last"] {
        assert_eq!(bench.run.state(), RunState::Running);
        if path == "last" {
            assert_eq!(bench.offered(), ["last"]);
            bench.lease(path);
        }
        bench.complete(path);
    }
}

fn run_failed(what: &What) -> bool {
    matches!(what, What::RunFailed { .. })
}

/// Req: P4.140, P7.74, P8.87, P8.100, P8.101
#[test]
fn where_nothing_is_said_a_failure_ends_the_run_and_stops_what_is_in_flight() {
    let bench = failing(false, false, OnError::FailFast);
    assert_eq!(bench.run.state(), RunState::Failed);
    assert_eq!(bench.run.head().error, Some((Some(bench.step("bad")), Failure::new("BAD", "as told"))));
    assert_eq!(stopped(&bench.run), [(bench.step("other"), 2)]);
    for path in ["next", "far", "other", "last"] {
        assert_eq!(bench.state(path), StepState::Cancelled, "{path}");
    }
    assert_eq!(bench.count(run_failed), 1);
}

/// Req: P4.140
#[test]
fn a_failed_block_stops_what_is_in_flight_in_it_before_it_is_handled() {
    let block = |term| Block { term: Box::new(term), result: None, locals: vec![] };
    let body = block(partial(&["bad", "other"], &[]));
    let handler = block(activity("handler", Options::default()));
    let mut bench = Bench::started(Term::Handler { id: "try".into(), body, handler });
    bench.lease("try/bad");
    bench.lease("try/other");
    bench.offered();
    bench.fail("try/bad");
    assert_eq!((bench.run.state(), bench.state("try/other")), (RunState::Running, StepState::Cancelled));
    assert_eq!(stopped(&bench.run), [(bench.step("try/other"), 2)]);
    assert_eq!(bench.offered(), ["try/catch/handler"]);
}

/// Req: P8.16, P8.87, P8.100, P8.102
#[test]
fn where_the_workflow_says_so_the_rest_goes_on_before_the_run_fails() {
    let mut bench = failing(false, false, OnError::Continue);
    assert_eq!([bench.state("next"), bench.state("far")], [StepState::Skipped; 2]);
    go_on(&mut bench);
    assert_eq!(bench.run.state(), RunState::Failed);
    assert_eq!(bench.run.head().error, Some((Some(bench.step("bad")), Failure::new("BAD", "as told"))));
    assert_eq!(bench.count(run_failed), 1);
}

/// Req: P4.141, P7.75, P8.16, P8.87, P8.100
#[test]
fn where_the_step_says_so_its_failure_is_tolerated_whatever_the_workflow_says() {
    for on_error in [OnError::FailFast, OnError::Continue] {
        let mut bench = failing(true, false, on_error);
        assert_eq!(bench.state("bad"), StepState::Failed);
        assert_eq!([bench.state("next"), bench.state("far")], [StepState::Skipped; 2]);
        go_on(&mut bench);
        assert_eq!((bench.run.state(), bench.run.head().degraded), (RunState::Completed, true));
        assert_eq!(bench.run.tolerated(), [bench.step("bad")]);
        assert_eq!(bench.count(run_failed), 0);
    }
}

/// Req: P4.141, P7.76
#[test]
fn a_step_may_run_although_what_it_depends_on_failed() {
    let mut bench = failing(true, true, OnError::FailFast);
    assert_eq!(bench.offered(), ["next"]);
    assert_eq!(bench.state("far"), StepState::Pending);
    bench.lease("next");
    bench.complete("next");
    assert_eq!(bench.offered(), ["far"]);
}

/// Req: P8.96
#[test]
fn nothing_is_due_or_in_flight_once_a_run_has_ended() {
    let timed = activity("timed", Options { timeout: Some(5_000), ..Options::default() });
    let mut bench = Bench::started(Term::Parallel(vec![timed, activity("waits", retries(1))]));
    let token = bench.lease("timed");
    bench.lease("waits");
    bench.fail("waits");
    assert!(bench.run.timer_of(bench.step("timed")).is_some());
    assert!(bench.run.timer_of(bench.step("waits")).is_some());
    bench.run.out.stops.clear();
    bench.handle(Command::Cancel { reason: "enough".into() }).unwrap();
    assert_eq!(stopped(&bench.run), [(bench.step("timed"), token)]);
    assert_eq!((bench.run.wake(), bench.run.in_flight().count()), (None, 0));
    assert!((0..bench.run.len()).all(|step| bench.run.timer_of(step).is_none()));
    let events = bench.log.len();
    bench.now += 10 * MINUTE;
    bench.handle(Command::Tick).unwrap();
    assert_eq!(bench.log.len(), events);
}
