//! What a run knows by which its steps are ranked: terms, plans, and ranks from outside are on record.

mod bench;

use bench::{Bench, activity, here, partial};
use ferroflow_define::{OnError, Options, Term};
use ferroflow_engine::schedule::{Facts, Policy, Schedule, Terms};
use ferroflow_engine::{Command, Refusal, Run, What};

fn two() -> Term {
    let long = Options { expected: Some(3_000_000), priority: Some(1), ..Options::default() };
    Term::Sequence(vec![activity("a", long), activity("b", Options::default())])
}

#[test]
fn facts_come_from_the_definition_and_the_run() {
    let bench = Bench::started(two());
    let facts = bench.run.facts(bench.step("a"));
    let deadline = bench.run.head().deadline;
    let known = Facts {
        priority: 1,
        expected: 3_000_000,
        predicted: true,
        upward: 63_000_000,
        deadline,
        ..Facts::default()
    };
    assert_eq!(facts, known);
    assert!(deadline.is_some());
    let facts = bench.run.facts(bench.step("b"));
    let rest = Facts { priority: 2, expected: 60_000_000, upward: 60_000_000, deadline, ..Facts::default() };
    assert_eq!(facts, rest);
}

/// What a run is given is the same for whoever takes it up, or replays it.
#[test]
fn terms_and_plans_are_on_record_and_come_before_the_start() {
    let mut bench = Bench::created(two(), OnError::FailFast);
    let terms = Terms { tenant: Some("t".into()), deadline: Some(77), limit: Some(2), ..Terms::default() };
    bench.handle(Command::Terms(terms.clone())).unwrap();
    bench.handle(Command::Plan { nodes: vec![(0, 0, 5.0, Some(3))] }).unwrap();
    bench.handle(Command::Start { node: here() }).unwrap();
    for late in [Command::Terms(Terms::default()), Command::Plan { nodes: vec![] }] {
        let length = bench.log.len();
        assert!(matches!(bench.handle(late), Err(Refusal::WrongState { .. })));
        assert_eq!(bench.log.len(), length);
    }
    for run in [&bench.run, &bench.recovered().run] {
        assert_eq!(run.head().terms, terms);
        let facts = run.facts(bench.step("a"));
        assert_eq!((facts.turn, facts.home, facts.deadline), (Some(5.0), Some(3), Some(77)));
        assert_eq!(run.facts(bench.step("b")).turn, None);
    }
}

/// Ranks are an event, which replay applies without anybody who ranks; they count until the step starts.
#[test]
fn ranks_from_outside_are_on_record_until_their_steps_start() {
    let mut bench = Bench::started(partial(&["a", "b", "c"], &[(0, 2)]));
    let (a, b, c) = (bench.step("a"), bench.step("b"), bench.step("c"));
    // One that is not ready, and one that is no number, are left out.
    bench.handle(Command::Rank { ranks: vec![(a, 2.5), (b, f64::NAN), (c, 1.0)] }).unwrap();
    assert_eq!(bench.log.last().unwrap().what, What::StepsRanked { ranks: vec![(a, 2.5)] });
    let length = bench.log.len();
    bench.handle(Command::Rank { ranks: vec![(c, 1.0)] }).unwrap();
    assert_eq!(bench.log.len(), length, "nothing to record");
    let mut replayed = Run::new(bench.run.id, bench.run.program.clone());
    bench.log.iter().for_each(|event| replayed.apply(event).unwrap());
    for run in [&bench.run, &replayed, &bench.recovered().run] {
        assert_eq!(run.facts(a).rank, Some(2.5));
        assert_eq!(run.facts(b).rank, None);
    }
    bench.lease("a");
    assert_eq!(bench.run.facts(a).rank, None, "another attempt is ranked anew");
}

/// The order in which a run's ready steps leave the queue.
fn order(run: &Run, policy: Policy) -> Vec<String> {
    let mut schedule = Schedule::new(Default::default(), 1);
    schedule.set_policy(policy, |_| None);
    let class = schedule.class(0, &Default::default()).unwrap();
    for &step in &run.out.offers {
        schedule.offer(0, step, run.facts(step), class, 0, 0);
    }
    std::iter::from_fn(|| schedule.take(0, 0, false, |_| true))
        .map(|(entry, _)| run.path(entry.step))
        .collect()
}

/// Req: P1.24
#[test]
fn the_same_steps_leave_in_the_order_of_the_policy() {
    let step = |id: &str, seconds: i64| {
        activity(id, Options { expected: Some(seconds * 1_000_000), ..Options::default() })
    };
    let terms = vec![step("a", 2), step("b", 9), step("c", 4), step("then", 20)];
    let bench = Bench::started(Term::Partial { terms, edges: vec![(0, 3)] });
    let upward = Policy::UpwardRank { ageing: 4 };
    assert_eq!(order(&bench.run, Policy::Fifo), ["a", "b", "c"]);
    assert_eq!(order(&bench.run, upward), ["a", "b", "c"], "a is short, and the way behind it long");
    assert_eq!(order(&bench.run, Policy::ShortestFirst { ageing: 4 }), ["a", "c", "b"]);
    assert_eq!(order(&bench.run, Policy::LongestFirst { ageing: 4 }), ["b", "c", "a"]);
}
