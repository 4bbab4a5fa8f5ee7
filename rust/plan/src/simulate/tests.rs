//! What is simulated is what the kernel decides; only time and machines are the simulation's.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferroflow_define::access::{Asset, Mode, Template};
use ferroflow_define::algebra::compile::Program;
use ferroflow_define::expr::Expr;
use ferroflow_define::{
    Access, Activity, Backoff, Binding, Block, Definition, OnError, Options, Resources, Retry, Term,
};
use ferroflow_engine::schedule::Policy;
use ferroflow_engine::{Micros, Run, RunState, StepState, What};
use proptest::prelude::*;

use super::*;
use crate::platform::{Network, Node, Platform};

const SECOND: Micros = 1_000_000;

fn activity(id: &str, options: &Arc<Options>) -> Term {
    Term::Activity(Activity {
        id: id.into(),
        task: "work".into(),
        args: vec![],
        kwargs: vec![],
        set: vec![],
        access: None,
        options: options.clone(),
    })
}

fn block(term: Term) -> Block {
    Block { term: Box::new(term), result: Some(nil()), locals: vec![] }
}

fn nil() -> Binding {
    Binding::Const([0xc0].into())
}

fn program(term: Term) -> Arc<Program> {
    let definition = Definition {
        name: "simulated".into(),
        version: "1".into(),
        description: String::new(),
        inputs: vec![],
        assets: vec![],
        closed: false,
        body: block(term),
        on_error: OnError::FailFast,
        timeout: None,
    };
    Arc::new(Program::compile(&definition).unwrap())
}

fn graph(steps: usize, edges: &[(u32, u32)], options: &Options) -> Arc<Program> {
    let options = Arc::new(options.clone());
    let terms = (0..steps).map(|n| activity(&format!("s{n}"), &options)).collect();
    program(Term::Partial { terms, edges: edges.to_vec() })
}

/// Trying again at once, so often.
fn again(max_retries: u32) -> Retry {
    Retry { max_retries, backoff: Backoff::Fixed, delay: 0, factor_milli: 1000, cap: None, jitter_milli: 0 }
}

fn machine(cores: u32, speed: f64) -> Node {
    Node { cores, memory: 1 << 30, price: 2.0, ..Node::new("", speed) }
}

/// Machines that are as good as next to each other.
fn machines(machines: impl IntoIterator<Item = Node>) -> Platform {
    linked(machines, 0.0, f64::INFINITY)
}

fn linked(machines: impl IntoIterator<Item = Node>, latency: f64, bandwidth: f64) -> Platform {
    let named = (0..).zip(machines).map(|(n, it): (u32, Node)| Node { name: format!("m{n}"), ..it });
    Platform::new(named.collect(), Network::Uniform { latency, bandwidth }).unwrap()
}

fn tried(scenario: &Scenario) -> Outcome {
    scenario.check().unwrap();
    simulate(scenario, 1)
}

#[test]
fn a_chain_takes_its_sum_and_independent_steps_share_the_machines() {
    let plain = Options::default();
    let chain = Scenario::new(graph(3, &[(0, 1), (1, 2)], &plain), machines([machine(4, 2.0)]));
    let outcome = tried(&chain);
    assert_eq!((outcome.state, outcome.makespan), (RunState::Completed, 3 * SECOND / 2));
    assert_eq!((outcome.completed, outcome.busy), (3, vec![3 * SECOND / 2]));
    assert!((outcome.cost - 1.5 / 3600.0 * 2.0).abs() < 1e-9, "{}", outcome.cost);
    let wide = Scenario::new(graph(10, &[], &plain), machines([machine(2, 1.0), machine(2, 1.0)]));
    assert_eq!(tried(&wide).makespan, 3 * SECOND);
}

#[test]
fn the_fastest_machine_with_room_is_taken() {
    let plain = Options::default();
    let mut scenario = Scenario::new(graph(3, &[], &plain), machines([machine(1, 1.0), machine(1, 4.0)]));
    let places: Vec<u32> = tried(&scenario).placed.iter().map(|it| it.machine).collect();
    // The second step starts beside the first one, and the third when that is done.
    assert_eq!(places, [1, 1, 0]);
    let quick = Node { speeds: BTreeMap::from([("work".into(), 8.0)]), ..machine(1, 1.0) };
    scenario.platform = machines([quick, machine(1, 4.0)]);
    assert_eq!(tried(&scenario).placed[0].machine, 0);
}

#[test]
fn the_events_are_those_of_a_run() {
    let mut scenario =
        Scenario::new(graph(4, &[(0, 2), (1, 2), (2, 3)], &Options::default()), machines([machine(2, 1.0)]));
    scenario.start = 1_700_000_000 * SECOND;
    let outcome = tried(&scenario);
    let mut again = Run::new(outcome.run.as_ref().unwrap().id, scenario.program.clone());
    for event in &outcome.events {
        again.apply(event).unwrap();
    }
    assert_eq!((again.state(), again.count(StepState::Completed)), (RunState::Completed, 4));
    assert_eq!(outcome.events.first().unwrap().at, scenario.start);
    assert_eq!(outcome.events.last().unwrap().at, scenario.start + 3 * SECOND);
    let used = outcome.events.iter().filter_map(|event| match &event.what {
        What::StepCompleted { used, .. } => used.as_ref(),
        _ => None,
    });
    assert!(used.clone().count() == 4 && used.clone().all(|used| used.wall == SECOND));
    scenario.keep = false;
    let bare = tried(&scenario);
    assert!(bare.events.is_empty() && bare.placed.is_empty() && bare.makespan == outcome.makespan);
}

#[test]
fn failing_attempts_are_retried_as_the_steps_policy_says() {
    let retry = Retry { delay: SECOND, ..again(50) };
    let tough = Options { retry: Some(retry), ..Options::default() };
    let mut scenario = Scenario::new(graph(40, &[], &tough), machines([machine(40, 1.0)]));
    scenario.faults.failure = 0.5;
    let outcome = tried(&scenario);
    assert_eq!(outcome.state, RunState::Completed);
    assert!(outcome.attempts > 60 && outcome.makespan > 2 * SECOND, "{outcome:?}");
    scenario.program = graph(40, &[], &Options::default());
    let fragile = tried(&scenario);
    assert_eq!(fragile.state, RunState::Failed);
    assert!(fragile.makespan < SECOND);
}

#[test]
fn slow_attempts_run_into_their_timeouts() {
    let hasty = Options { timeout: Some(2 * SECOND), ..Options::default() };
    let mut scenario = Scenario::new(graph(2, &[(0, 1)], &hasty), machines([machine(1, 1.0)]));
    scenario.faults.straggler = (1.0, 5.0);
    let outcome = tried(&scenario);
    assert_eq!((outcome.state, outcome.makespan), (RunState::Failed, 2 * SECOND));
    assert_eq!(outcome.busy, [2 * SECOND]);
}

#[test]
fn a_lost_machine_takes_its_attempts_with_it() {
    let retry = again(2);
    let tough = Options { retry: Some(retry), ..Options::default() };
    let mut scenario = Scenario::new(graph(2, &[], &tough), machines([machine(1, 2.0), machine(1, 1.0)]));
    scenario.durations[0] = vec![Law::Constant(10.0); 2];
    scenario.faults.losses = vec![Loss { machine: 0, at: SECOND, until: Some(2 * SECOND) }];
    let outcome = tried(&scenario);
    // Step 0 is tried again when its machine is back, after 2 s, and then takes 5 s; step 1 takes 10 s.
    assert_eq!((outcome.state, outcome.makespan, outcome.attempts), (RunState::Completed, 10 * SECOND, 3));
    let first: Vec<_> =
        outcome.placed.iter().filter(|it| it.step == 0).map(|it| (it.start, it.end, it.machine)).collect();
    assert_eq!(first, [(0, SECOND, 0), (2 * SECOND, 7 * SECOND, 0)]);
    scenario.faults.losses =
        vec![Loss { machine: 0, at: SECOND, until: None }, Loss { machine: 1, at: SECOND, until: None }];
    let stuck = tried(&scenario);
    assert_eq!((stuck.state, stuck.makespan), (RunState::Running, SECOND));
    assert!(stuck.stuck.unwrap().contains("no node left"));
}

#[test]
fn machines_come_and_go() {
    let retry = again(1000);
    let tough = Options { retry: Some(retry), ..Options::default() };
    let mut scenario = Scenario::new(graph(200, &[], &tough), machines([machine(2, 1.0), machine(2, 1.0)]));
    scenario.faults.outages = Some((Law::Exponential { mean: 20.0 }, Law::Constant(3.0)));
    let outcome = tried(&scenario);
    assert_eq!(outcome.state, RunState::Completed, "{:?}", outcome.stuck);
    assert!(outcome.makespan > 50 * SECOND && outcome.attempts > 200);
}

#[test]
fn data_is_fetched_from_other_machines() {
    let tough = Options { retry: Some(again(1)), ..Options::default() };
    let mut scenario =
        Scenario::new(graph(2, &[(0, 1)], &tough), machines([machine(1, 1.0), machine(1, 2.0)]));
    scenario.transfers = vec![(0, 1, 1e6)];
    scenario.platform = linked([machine(1, 1.0), machine(1, 2.0)], 0.25, 1e6);
    scenario.faults.delay = Law::Constant(0.25);
    let near = tried(&scenario);
    assert!(near.placed.iter().all(|it| it.machine == 1) && near.makespan == SECOND);
    // Once the machine with the data is gone, another one fetches it: half a second, and one for the bytes.
    scenario.faults.losses = vec![Loss { machine: 1, at: 3 * SECOND / 4, until: None }];
    assert_eq!(tried(&scenario).makespan, 3 * SECOND / 4 + 3 * SECOND / 2 + SECOND);
}

#[test]
fn questions_about_values_are_answered_by_the_scenario() {
    let plain = Arc::new(Options::default());
    let condition = || Expr::parse("true").unwrap();
    let each = Term::Each {
        id: "each".into(),
        name: "it".into(),
        items: nil(),
        body: block(activity("item", &plain)),
        limit: None,
        on_error: OnError::FailFast,
    };
    let looped = Term::Loop {
        id: "loop".into(),
        name: "state".into(),
        init: nil(),
        condition: condition(),
        body: block(activity("round", &plain)),
        max: Some(100),
    };
    let choice = Term::Choice {
        id: "choice".into(),
        branches: vec![(condition(), block(activity("left", &plain)))],
        otherwise: Some(block(activity("right", &plain))),
    };
    let sleep = Term::Sleep { id: "sleep".into(), duration: nil() };
    let signal = Term::Signal { id: "signal".into(), name: "go".into() };
    let program = program(Term::Sequence(vec![each, looped, choice, sleep, signal]));
    let mut scenario = Scenario::new(program, machines([machine(3, 1.0)]));
    let at = |id: &str, scenario: &Scenario| {
        scenario.program.blocks[0].nodes.iter().position(|node| &*node.id == id).unwrap()
    };
    // One item, one round, one branch; nobody sleeps, and the signal is there.
    assert_eq!(tried(&scenario).makespan, 3 * SECOND);
    for (id, answer) in [
        ("each", Answers::Amount(Law::Constant(6.0))),
        ("loop", Answers::Amount(Law::Constant(4.0))),
        ("choice", Answers::Branches([0.0, 1.0].into())),
        ("sleep", Answers::Amount(Law::Constant(10.0))),
        ("signal", Answers::Amount(Law::Constant(30.0))),
    ] {
        let node = at(id, &scenario);
        scenario.answers[0][node] = answer;
    }
    let outcome = tried(&scenario);
    assert_eq!((outcome.state, outcome.makespan), (RunState::Completed, 30 * SECOND));
    assert_eq!(outcome.completed, 6 + 4 + 1);
    let run = outcome.run.unwrap();
    assert!((0..run.len()).any(|step| run.path(step).ends_with("right")));
    let slept = outcome.events.iter().find(|event| matches!(event.what, What::TimerFired { .. })).unwrap();
    assert_eq!(slept.at, (2 + 4 + 1 + 10) * SECOND);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let good = Scenario::new(graph(2, &[(0, 1)], &Options::default()), machines([machine(1, 1.0)]));
    let refused = |change: &dyn Fn(&mut Scenario)| {
        let mut scenario = good.clone();
        change(&mut scenario);
        scenario.check().unwrap_err().to_string()
    };
    assert!(refused(&|it| it.faults.delay = Law::Constant(-1.0)).contains("the delay"));
    assert!(refused(&|it| it.durations[0][1] = Law::Constant(f64::NAN)).contains("\"s1\""));
    let answer = |answer: Answers| refused(&move |it: &mut Scenario| it.answers[0][0] = answer.clone());
    assert!(answer(Answers::Amount(Law::Constant(1.0))).contains("takes an amount"));
    assert!(answer(Answers::Branches([1.0].into())).contains("only a choice"));
    assert!(refused(&|it| it.faults.failure = 1.5).contains("from 0 to 1"));
    assert!(refused(&|it| it.faults.straggler = (0.1, 0.5)).contains("1 or more"));
    assert!(refused(&|it| it.transfers = vec![(0, 7, 1.0)]).contains("no such step"));
    assert!(refused(&|it| it.faults.losses = vec![Loss { machine: 9, at: 0, until: None }]).contains('9'));
    let resources = Resources { amounts: BTreeMap::from([("gpu".to_owned(), 1000)]) };
    let greedy = graph(1, &[], &Options { resources, ..Options::default() });
    assert!(refused(&move |it| it.program = greedy.clone()).contains("gpu 1000"));
}

#[test]
fn branches_have_weights_and_too_many_items_are_refused_by_the_kernel() {
    let plain = Arc::new(Options::default());
    let choice = Term::Choice {
        id: "choice".into(),
        branches: vec![(Expr::parse("true").unwrap(), block(activity("left", &plain)))],
        otherwise: None,
    };
    let mut scenario = Scenario::new(program(choice), machines([machine(1, 1.0)]));
    for weights in [vec![], vec![0.0], vec![1.0, 1.0, 1.0], vec![-1.0]] {
        scenario.answers[0][0] = Answers::Branches(weights.into());
        assert!(scenario.check().is_err());
    }
    scenario.answers[0][0] = Answers::Branches([0.0, 1.0].into());
    assert_eq!((tried(&scenario).makespan, tried(&scenario).completed), (0, 0));
    let each = Term::Each {
        id: "each".into(),
        name: "it".into(),
        items: nil(),
        body: block(activity("item", &plain)),
        limit: None,
        on_error: OnError::FailFast,
    };
    let mut scenario = Scenario::new(program(each), machines([machine(1, 1.0)]));
    scenario.answers[0][0] = Answers::Amount(Law::Constant(1e12));
    assert_eq!(tried(&scenario).state, RunState::Failed);
}

#[test]
fn ready_steps_are_ranked_by_what_is_expected_of_them() {
    // Two short chains of one step, and a long one behind the last.
    let program = graph(4, &[(2, 3)], &Options::default());
    let mut scenario = Scenario::new(program, machines([machine(2, 1.0)]));
    scenario.durations[0] = [2.0, 2.0, 2.0, 6.0].map(Law::Constant).into();
    assert_eq!(tried(&scenario).makespan, 10 * SECOND);
    scenario.rank_by(Policy::UpwardRank { ageing: 0 });
    assert_eq!(tried(&scenario).makespan, 8 * SECOND);
}

#[test]
fn seeds_are_simulated_side_by_side_and_in_order() {
    let mut scenario = Scenario::new(graph(20, &[], &Options::default()), machines([machine(2, 1.0)]));
    scenario.keep = false;
    scenario.durations[0] = vec![Law::Exponential { mean: 5.0 }; 20];
    let seeds: Vec<u64> = (0..50).collect();
    let all = simulate_all(&scenario, &seeds, &|| false);
    for (&seed, outcome) in seeds.iter().zip(&all) {
        let outcome = outcome.as_ref().unwrap();
        assert_eq!((outcome.seed, outcome.makespan), (seed, simulate(&scenario, seed).makespan));
    }
    assert!(simulate_all(&scenario, &seeds, &|| true).iter().all(Option::is_none));
}

fn graphs() -> impl Strategy<Value = (usize, Vec<(u32, u32)>)> {
    (1usize..25).prop_flat_map(|steps| {
        let edges = prop::collection::vec((0..steps as u32, 0..steps as u32), 0..40);
        let sorted = edges.prop_map(|edges| {
            edges.into_iter().filter(|(a, b)| a != b).map(|(a, b)| (a.min(b), a.max(b))).collect()
        });
        (Just(steps), sorted)
    })
}

proptest! {
    /// No machine ever has more to do than it has room for, and nothing starts before what it waits for.
    #[test]
    fn machines_are_never_overcommitted_and_order_holds(
        (steps, edges) in graphs(), seed: u64, wide in prop::collection::vec(1u32..4, 1..4),
        needs in prop::collection::vec(1u32..3, 25), failure in 0.0..0.4, outages: bool,
    ) {
        let retry = again(10_000);
        let most = *wide.iter().max().unwrap();
        let terms = needs[..steps].iter().enumerate().map(|(n, &cores)| {
            let resources = Resources { amounts: BTreeMap::from([("cpu".to_owned(), u64::from(cores.min(most)) * 1000)]) };
            activity(&format!("s{n}"), &Arc::new(Options { retry: Some(retry.clone()), resources, ..Options::default() }))
        }).collect();
        let program = program(Term::Partial { terms, edges: edges.clone() });
        let mut scenario = Scenario::new(program, linked(wide.iter().map(|&cores| machine(cores, 1.0)), 0.0, 1e6));
        scenario.durations[0] = (0..steps).map(|_| Law::LogNormal { mean: 3.0, deviation: 3.0 }).collect();
        scenario.faults.failure = failure;
        scenario.transfers = edges.iter().map(|&(from, to)| (from, to, 1e6)).collect();
        scenario.faults.delay = Law::Exponential { mean: 0.1 };
        if outages {
            scenario.faults.outages = Some((Law::Exponential { mean: 50.0 }, Law::Exponential { mean: 5.0 }));
        }
        scenario.check().unwrap();
        let outcome = simulate(&scenario, seed);
        // A process that dies three times in a row fails its step for good.
        prop_assume!(outcome.state != RunState::Failed);
        prop_assert_eq!(outcome.state, RunState::Completed, "{:?}", outcome.stuck);
        let needed = |step: u32| needs[step as usize].min(most) * 1000;
        for at in &outcome.placed {
            let together = outcome.placed.iter().filter(|it| {
                it.machine == at.machine && it.start <= at.start && at.start < it.end
            });
            let sum: u32 = together.map(|it| needed(it.step)).sum();
            prop_assert!(sum <= wide[at.machine as usize] * 1000);
        }
        let last = |step: u32| outcome.placed.iter().filter(|it| it.step == step).map(|it| it.end).max().unwrap();
        let first = |step: u32| outcome.placed.iter().filter(|it| it.step == step).map(|it| it.start).min().unwrap();
        for (from, to) in edges {
            prop_assert!(last(from) <= first(to));
        }
        let same = simulate(&scenario, seed);
        prop_assert_eq!(same.events, outcome.events);
    }
}

/// Req: P1.8
#[test]
fn steps_that_access_one_asset_wait_for_each_other_as_where_bodies_run() {
    let access = |text: &str| {
        let mode = if text == "lake/days" { Mode::Reads } else { Mode::Writes };
        Access { mode, asset: Asset::Named(Arc::new(Template::parse(text).unwrap())) }
    };
    let step = |id: &str, name: &str| {
        let Term::Activity(plain) = activity(id, &Arc::default()) else { unreachable!("it is one") };
        Term::Activity(Activity { access: Some([access(name)].into()), ..plain })
    };
    let took = |names: &[&str]| {
        let terms = (0..).zip(names).map(|(n, name): (u32, _)| step(&format!("s{n}"), name)).collect();
        let term = Term::Partial { terms, edges: vec![] };
        let outcome = tried(&Scenario::new(program(term), machines([machine(8, 1.0)])));
        assert_eq!(outcome.state, RunState::Completed);
        outcome.makespan / SECOND
    };
    assert_eq!(took(&["lake", "lake", "lake/raw"]), 3);
    assert_eq!(took(&["lake/raw", "lake/clean", "other"]), 1);
    assert_eq!(took(&["lake/days", "lake/days", "lake/days"]), 1);
    // What came later waits behind the one that waits.
    assert_eq!(took(&["lake/days", "lake", "lake/days", "lake/days"]), 3);
}
