//! What the kernel keeps of attempts: signs of life, processes, what they took, how often they died.

mod bench;

use ferroflow_define::{Options, Term};
use ferroflow_engine::decide::DEATHS;
use ferroflow_engine::event::{CANCELLED, HEARTBEAT_TIMEOUT, QUARANTINED, TIMEOUT, WORKER_DIED};
use ferroflow_engine::{Command, Event, Failure, Process, Refusal, RunState, Step, StepState, Used, What};

use bench::{Bench, activity, null, retries, stopped};

fn process(pid: u32) -> Process {
    Process { pid, started: 1 << 40, boot: 17 }
}

impl Bench {
    /// Begins an attempt whose body runs in a process of that number.
    fn spawn(&mut self, path: &str, pid: u32) -> u64 {
        let (token, step) = (self.lease(path), self.step(path));
        self.handle(Command::Spawned { step, token, process: process(pid) }).unwrap();
        token
    }

    fn fail_with(&mut self, path: &str, code: &str) {
        let (step, token) = (self.step(path), self.run.attempt(self.step(path)).unwrap().token);
        let error = Failure::new(code, "signal 9");
        self.handle(Command::Fail { step, token, error, retriable: true, used: None }).unwrap();
    }

    fn processes(&self) -> Vec<(Step, u32)> {
        self.run.processes().map(|(step, process)| (step, process.pid)).collect()
    }

    /// Lets the pause before the next attempt go by.
    fn wait(&mut self) {
        self.now = self.run.wake().unwrap();
        self.handle(Command::Tick).unwrap();
    }
}

/// What an attempt took is on record with its outcome, or by itself when it comes later.
#[test]
fn what_an_attempt_took_is_recorded_however_it_ended() {
    let used = Used { wall: 5, queued: 1, cpu: Some(4), memory: Some(1 << 30), read: None, written: Some(9) };
    let mut bench = Bench::started(activity("a", Options { timeout: Some(5_000), ..retries(3) }));
    let (step, token) = (0, bench.lease("a"));
    let error = Failure::new("BAD", "as told");
    bench.handle(Command::Fail { step, token, error, retriable: true, used: Some(used) }).unwrap();
    assert!(
        matches!(bench.log.last().unwrap().what, What::StepRetrying { used: Some(it), .. } if it == used)
    );
    bench.wait();
    let late = bench.lease("a");
    bench.wait();
    assert!(matches!(bench.log.last().unwrap().what, What::StepRetrying { used: None, .. }));
    bench.handle(Command::Used { step, token: late, used }).unwrap();
    assert_eq!(bench.log.last().unwrap().what, What::StepUsed { step, token: late, used });
    assert_eq!(bench.state("a"), StepState::Waiting);
    let nobody = Command::Used { step: 9, token: late, used };
    assert_eq!(bench.handle(nobody), Err(Refusal::NoStep(9)));
    bench.wait();
    let token = bench.lease("a");
    let done = Command::Complete { step, token, value: null(), set: vec![], used: Some(used) };
    bench.handle(done).unwrap();
    let told = |what: &What| matches!(what, What::StepCompleted { used: Some(it), .. } if *it == used);
    assert_eq!(bench.count(told), 1);
}

#[test]
fn a_process_is_known_until_its_body_is_said_to_have_ended() {
    let mut bench = Bench::started(activity("a", retries(9)));
    bench.spawn("a", 100);
    assert_eq!(bench.processes(), [(0, 100)]);
    assert_eq!(bench.run.processes().next().unwrap().1, process(100));
    bench.fail_with("a", "BAD");
    assert_eq!(bench.processes(), []);
    bench.wait();
    bench.spawn("a", 101);
    bench.complete("a");
    assert_eq!((bench.processes(), bench.run.state()), (vec![], RunState::Completed));

    let mut bench = Bench::started(activity("a", Options::default()));
    bench.spawn("a", 100);
    let stale = Command::Spawned { step: 0, token: 99, process: process(1) };
    assert_eq!(bench.handle(stale), Err(Refusal::Stale { step: 0, token: 99 }));
    bench.fail_with("a", "BAD");
    assert_eq!(bench.processes(), []);
}

/// The body of an attempt out of time goes on for its grace, beside that of the next attempt.
#[test]
fn processes_of_superseded_attempts_are_known_beside_the_next_ones() {
    let mut bench = Bench::started(activity("a", Options { timeout: Some(5_000), ..retries(1) }));
    let first = bench.spawn("a", 100);
    bench.wait();
    assert_eq!((bench.state("a"), bench.processes()), (StepState::Waiting, vec![(0, 100)]));
    bench.wait();
    let second = bench.spawn("a", 101);
    assert_eq!(bench.processes(), [(0, 100), (0, 101)]);
    bench.handle(Command::Used { step: 0, token: first, used: Used::default() }).unwrap();
    assert_eq!(bench.processes(), [(0, 101)]);
    bench.wait();
    assert_eq!((bench.state("a"), bench.processes()), (StepState::TimedOut, vec![(0, 101)]));
    assert_eq!(bench.run.attempt(0), None);
    assert_eq!(bench.run.state(), RunState::Failed);
    bench.handle(Command::Used { step: 0, token: second, used: Used::default() }).unwrap();
    assert_eq!((bench.processes(), bench.run.state()), (vec![], RunState::Failed));

    let mut bench = Bench::started(Term::Parallel(vec![
        activity("a", Options::default()),
        activity("b", Options::default()),
    ]));
    bench.spawn("a", 100);
    bench.spawn("b", 101);
    bench.fail("a");
    assert_eq!((bench.state("b"), bench.processes()), (StepState::Cancelled, vec![(1, 101)]));
}

/// Whoever takes the run up finds the processes of the engine that died, before and after it has said so.
#[test]
fn processes_of_a_dead_engine_are_known_until_their_steps_start_again() {
    let mut bench = Bench::started(activity("a", Options { timeout: Some(5_000), ..retries(9) }));
    bench.spawn("a", 100);
    bench.wait();
    bench.wait();
    bench.spawn("a", 101);
    let mut again = bench.recovered();
    assert_eq!(again.processes(), [(0, 100), (0, 101)]);
    let mut third = again.recovered();
    assert_eq!(third.processes(), [(0, 100), (0, 101)], "the engine died again before the step started");
    third.spawn("a", 102);
    assert_eq!(third.processes(), [(0, 102)]);
    again.lease("a");
    assert_eq!(again.processes(), []);
}

#[test]
fn a_step_that_ends_its_process_every_time_is_not_tried_again() {
    let mut bench = Bench::started(activity("a", retries(100)));
    for _ in 1..DEATHS {
        bench.lease("a");
        bench.fail_with("a", WORKER_DIED);
        assert_eq!(bench.state("a"), StepState::Waiting);
        // Deaths are counted over recoveries.
        bench = bench.recovered();
        bench.wait();
    }
    bench.spawn("a", 100);
    bench.fail_with("a", WORKER_DIED);
    assert_eq!((bench.state("a"), bench.run.state()), (StepState::Failed, RunState::Failed));
    assert_eq!(bench.processes(), []);
    let (step, error) = bench.run.head().error.clone().unwrap();
    assert_eq!((step, &*error.code), (Some(0), QUARANTINED));
    for part in ["3 times in a row", "signal 9", "correct the task"] {
        assert!(error.message.contains(part), "{}", error.message);
    }
}

#[test]
fn only_deaths_in_a_row_count() {
    for other in ["BAD", TIMEOUT, HEARTBEAT_TIMEOUT, CANCELLED] {
        let mut bench = Bench::started(activity("a", retries(100)));
        for code in [WORKER_DIED, WORKER_DIED, other, WORKER_DIED, WORKER_DIED] {
            bench.lease("a");
            bench.fail_with("a", code);
            assert_eq!(bench.state("a"), StepState::Waiting, "{other}");
            bench.wait();
        }
        bench.lease("a");
        bench.fail_with("a", WORKER_DIED);
        assert_eq!(bench.state("a"), StepState::Failed);
    }
    // Without retries a death is a failure like others.
    let mut bench = Bench::started(activity("a", Options::default()));
    bench.lease("a");
    bench.fail_with("a", WORKER_DIED);
    assert_eq!(&*bench.run.head().error.clone().unwrap().1.code, WORKER_DIED);
}

/// A step whose attempts have to show a sign of life every 1,000 microseconds.
fn beating(options: Options) -> Bench {
    let mut bench = Bench::started(activity("a", Options { heartbeat: Some(1_000), ..options }));
    bench.lease("a");
    bench
}

fn beat(bench: &mut Bench) -> bool {
    let (token, events) = (bench.run.attempt(0).unwrap().token, bench.log.len());
    bench.handle(Command::Beat { step: 0, token }).unwrap();
    let made = bench.log.len() > events;
    assert_eq!(
        made,
        bench.log[events..] == [Event { at: bench.now, what: What::StepBeat { step: 0, token } }]
    );
    made
}

fn tick(bench: &mut Bench, by: i64) -> StepState {
    bench.now += by;
    bench.handle(Command::Tick).unwrap();
    bench.state("a")
}

#[test]
fn an_attempt_without_a_sign_of_life_is_out_of_time_and_tried_again() {
    let mut bench = beating(retries(1));
    let token = bench.run.attempt(0).unwrap().token;
    bench.handle(Command::Spawned { step: 0, token, process: process(100) }).unwrap();
    assert_eq!(bench.run.wake(), Some(bench.now + 1_000));
    assert_eq!(tick(&mut bench, 999), StepState::Running);
    assert_eq!(tick(&mut bench, 1), StepState::Waiting);
    assert_eq!(stopped(&bench.run), [(0, token)]);
    assert_eq!(bench.processes(), [(0, 100)], "it may have hung and live on");
    let What::StepRetrying { error, .. } = &bench.log.last().unwrap().what else { panic!() };
    let expected = Failure::new(HEARTBEAT_TIMEOUT, "the attempt showed no sign of life for 0.001 s");
    assert_eq!(*error, expected);
    let late = bench.handle(Command::Beat { step: 0, token });
    assert_eq!(late, Err(Refusal::Stale { step: 0, token }));
    bench.wait();
    bench.lease("a");
    assert_eq!(tick(&mut bench, 1_000), StepState::TimedOut);
    assert!(matches!(bench.log[bench.log.len() - 2].what, What::StepTimedOut { .. }));
    assert_eq!((bench.processes(), bench.run.state()), (vec![(0, 100)], RunState::Failed));
}

/// Beats and progress are both signs of life; no more than four beats a period are recorded.
#[test]
fn signs_of_life_put_the_time_off() {
    let mut bench = beating(Options::default());
    for _ in 0..20 {
        assert_eq!(tick(&mut bench, 600), StepState::Running);
        assert!(beat(&mut bench));
    }
    bench.now += 249;
    assert!(!beat(&mut bench), "too soon");
    bench.now += 1;
    assert!(beat(&mut bench));
    bench.now += 900;
    let token = bench.run.attempt(0).unwrap().token;
    bench.handle(Command::Progress { step: 0, token, percent: 5.0, message: "".into() }).unwrap();
    assert_eq!(bench.run.wake(), Some(bench.now + 1_000));
    assert!(!beat(&mut bench), "progress was a sign just now");
    let before = bench.count(|what| matches!(what, What::StepBeat { .. }));
    for _ in 0..1_000 {
        bench.now += 10;
        beat(&mut bench);
    }
    assert_eq!(bench.count(|what| matches!(what, What::StepBeat { .. })) - before, 40);
    assert_eq!(tick(&mut bench, 1_000), StepState::TimedOut);
}

#[test]
fn beats_of_steps_without_a_heartbeat_are_no_events() {
    for heartbeat in [None, Some(0)] {
        let mut bench = Bench::started(activity("a", Options { heartbeat, ..Options::default() }));
        bench.lease("a");
        bench.now += 2_000_000;
        assert!(!beat(&mut bench));
        assert_eq!((bench.run.timer_of(0), bench.state("a")), (None, StepState::Running));
    }
}

/// However lively it is, an attempt has no more than its time; what comes first counts.
#[test]
fn heartbeats_do_not_put_off_the_timeout() {
    let mut bench = beating(Options { timeout: Some(1_500), ..Options::default() });
    bench.now += 900;
    beat(&mut bench);
    assert_eq!(bench.run.wake(), Some(bench.now + 600));
    assert_eq!(tick(&mut bench, 600), StepState::TimedOut);
    assert_eq!(&*bench.run.head().error.clone().unwrap().1.code, TIMEOUT);

    let mut bench = beating(Options { timeout: Some(1_500), ..Options::default() });
    assert_eq!(tick(&mut bench, 5_000), StepState::TimedOut, "nobody looked for long");
    assert_eq!(&*bench.run.head().error.clone().unwrap().1.code, HEARTBEAT_TIMEOUT);
}

/// A new attempt has a whole period, like a timeout nothing fires while the run is paused, and signs of
/// life count all the same.
#[test]
fn heartbeats_over_recoveries_and_pauses() {
    let mut bench = beating(Options::default());
    bench.now += 900;
    beat(&mut bench);
    let mut again = bench.recovered();
    assert_eq!((again.state("a"), again.run.timer_of(0)), (StepState::Ready, None));
    again.now += 50_000;
    again.lease("a");
    assert_eq!(again.run.timer_of(0), Some(again.now + 1_000));

    bench.handle(Command::Pause { reason: "lunch".into() }).unwrap();
    assert_eq!(tick(&mut bench, 5_000), StepState::Running);
    assert!(beat(&mut bench));
    bench.now += 999;
    bench.handle(Command::Resume).unwrap();
    assert_eq!(tick(&mut bench, 0), StepState::Running);
    assert_eq!(tick(&mut bench, 1), StepState::TimedOut);
}
