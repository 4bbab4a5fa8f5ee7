//! The queue: order, fit, patience, limits, shares.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn demand(name: &str, amount: u64) -> Resources {
    Resources { amounts: [(name.to_owned(), amount)].into() }
}

fn two_cpus() -> Schedule {
    Schedule::new([("cpu".into(), 2000)].into(), 1)
}

/// Req: P1.25
#[test]
fn a_misfit_at_the_head_does_not_block_and_capacity_is_never_exceeded() {
    let mut schedule = two_cpus();
    let one = schedule.class(0, &demand("cpu", 1000)).unwrap();
    let two = schedule.class(0, &demand("cpu", 2000)).unwrap();
    schedule.offer(0, 0, 2, one, 0, 0);
    schedule.offer(0, 1, 2, two, 0, 0);
    schedule.offer(0, 2, 2, one, 0, 0);
    let mut take = || schedule.take(0, 0, false, |_| true).map(|(entry, _)| entry.step);
    assert_eq!((take(), take(), take()), (Some(0), Some(2), None));
    assert_eq!(schedule.free("cpu"), Some(0));
    schedule.release(0, one);
    assert!(schedule.take(0, 0, false, |_| true).is_none(), "one cpu is still held");
    schedule.release(0, one);
    assert_eq!(schedule.take(0, 0, false, |_| true).unwrap().0.step, 1);
}

/// Req: P8.11
#[test]
fn steps_of_a_window_are_ranked_together_when_it_ends() {
    let mut schedule = two_cpus();
    schedule.set_policy(Policy::ShortestFirst { ageing: 0 }, |_| None);
    schedule.set_window(100);
    let class = schedule.class(0, &demand("cpu", 1000)).unwrap();
    let expected = |expected| Facts { expected, ..Facts::default() };
    let took = |schedule: &mut Schedule| {
        let taken = || schedule.take(0, 0, false, |_| true).map(|(entry, _)| entry.step);
        std::iter::from_fn(taken).collect::<Vec<_>>()
    };
    schedule.offer(0, 0, expected(30), class, 0, 1000);
    schedule.offer(0, 1, expected(20), class, 0, 1050);
    schedule.offer(0, 2, expected(10), class, 0, 1099);
    assert_eq!((schedule.due(), schedule.waiting(0), schedule.open_to(0)), (Some(1100), 3, 0));
    assert!(schedule.gathers(0, 1) && !schedule.gathers(1, 1));
    assert!(!schedule.tick(1099) && took(&mut schedule).is_empty());
    assert!(schedule.tick(1100));
    assert_eq!((schedule.due(), schedule.waiting(0), schedule.gathers(0, 1)), (None, 3, false));
    assert_eq!(took(&mut schedule), [2, 1]);
    // The next one opens a window of its own, whatever is left of the first.
    schedule.offer(0, 3, expected(1), class, 0, 1500);
    schedule.release(0, class);
    assert_eq!((took(&mut schedule), schedule.due()), (vec![0], Some(1600)));
    // What a run left behind is dropped where it would be taken.
    schedule.release(0, class);
    assert!(schedule.tick(2000));
    assert!(schedule.take(0, 0, false, |_| false).is_none());
    assert_eq!(schedule.waiting(0), 0);
}

/// Req: P6.129, P7.10
#[test]
fn priority_first_then_arrival() {
    let mut schedule = two_cpus();
    let class = schedule.class(0, &Resources::default()).unwrap();
    for (step, priority) in [(0, 2), (1, 0), (2, 4), (3, 0)] {
        schedule.offer(0, step, priority, class, 0, 0);
    }
    let order: Vec<_> =
        std::iter::from_fn(|| schedule.take(0, 0, false, |_| true).map(|(entry, _)| entry.step)).collect();
    assert_eq!(order, [1, 3, 0, 2]);
}

/// Req: P8.37
#[test]
fn a_stream_of_small_steps_does_not_hold_up_a_large_one_for_ever() {
    let mut schedule = Schedule::new([("cpu".into(), 2000), ("gpu".into(), 1000)].into(), 2);
    let small = schedule.class(0, &demand("cpu", 1000)).unwrap();
    let large = schedule.class(1, &demand("cpu", 2000)).unwrap();
    let other = schedule.class(0, &demand("gpu", 1000)).unwrap();
    schedule.offer(0, 0, 2, small, 0, 0);
    assert!(schedule.take(0, 0, false, |_| true).is_some());
    schedule.offer(1, 0, 2, large, 0, 0);
    // One small step always runs and another is always ready.
    let mut overtaken = 0;
    loop {
        schedule.offer(0, 0, 2, small, 0, 0);
        if schedule.take(0, 0, false, |_| true).is_none() {
            break;
        }
        schedule.release(0, small);
        overtaken += 1;
    }
    assert_eq!(overtaken, PATIENCE - 1);
    schedule.offer(2, 0, 2, other, 0, 0);
    assert_eq!(schedule.take(0, 0, false, |_| true).unwrap().0.run, 2, "what it doesn't need goes on");
    schedule.offer(3, 0, 0, small, 0, 0);
    assert_eq!(schedule.take(0, 0, false, |_| true).unwrap().0.run, 3, "what is more urgent goes first");
    schedule.release(0, small);
    schedule.release(0, small);
    assert_eq!(schedule.take(1, 0, false, |_| true).unwrap().0.run, 1);
}

/// A step that is cancelled while it waits leaves nothing kept.
#[test]
fn nothing_is_kept_for_what_no_longer_counts() {
    let mut schedule = two_cpus();
    let small = schedule.class(0, &demand("cpu", 1000)).unwrap();
    let large = schedule.class(0, &demand("cpu", 2000)).unwrap();
    schedule.offer(0, 0, 2, small, 0, 0);
    assert!(schedule.take(0, 0, false, |_| true).is_some());
    schedule.offer(1, 0, 2, large, 0, 0);
    (0..2 * PATIENCE).for_each(|step| schedule.offer(0, step as Step, 2, small, 0, 0));
    assert!(schedule.take(0, 0, false, |_| true).is_none());
    assert!(schedule.take(0, 0, false, |entry| entry.run != 1).is_some());
}

#[test]
fn what_can_never_fit_is_refused_at_once() {
    let mut schedule = two_cpus();
    assert_eq!(schedule.class(0, &demand("cpu", 3000)).unwrap_err().capacity, 2000);
    assert_eq!(schedule.class(0, &demand("gpu", 1)).unwrap_err().capacity, 0);
}

#[test]
fn a_gated_step_waits_for_its_commit_unless_asked_for() {
    let mut schedule = two_cpus();
    let class = schedule.class(0, &Resources::default()).unwrap();
    schedule.offer(0, 7, 2, class, 5, 0);
    assert!(schedule.take(0, 4, false, |_| true).is_none());
    assert_eq!(schedule.take(0, 4, true, |_| true).unwrap().0.gate, 5);
}

fn policies() -> Vec<Policy> {
    let weights = [("a".into(), 3000)].into();
    vec![
        Policy::Fifo,
        Policy::Priority { ageing: 60 },
        Policy::UpwardRank { ageing: 4 },
        Policy::UpwardRank { ageing: 0 },
        Policy::ShortestFirst { ageing: 0 },
        Policy::LongestFirst { ageing: 0 },
        Policy::FairShare { by: By::Tenant, weights },
        Policy::FairShare { by: By::Tag, weights: [("t1".into(), 2000)].into() },
        Policy::FairShare { by: By::Priority, weights: BTreeMap::new() },
        Policy::FairShare { by: By::Workflow, weights: BTreeMap::new() },
        Policy::RoundRobin,
        Policy::BestFit,
        Policy::Deadline,
        Policy::MinMemory,
        Policy::MinCpu,
        Policy::DataLocality { ageing: 0 },
        Policy::Plan,
        Policy::Given,
    ]
}

/// A step of which nothing makes it less urgent than any other.
fn best() -> Facts {
    Facts {
        expected: 1,
        upward: 1_000_000_000,
        predicted: true,
        deadline: Some(1),
        rank: Some(f64::NEG_INFINITY),
        turn: Some(f64::NEG_INFINITY),
        ..2.into()
    }
}

/// One whose turn comes last.
fn worst() -> Facts {
    Facts { expected: 500_000_000, upward: 2, rank: Some(1e300), turn: Some(1e300), ..2.into() }
}

/// What a random sequence of operations is made of.
#[derive(Clone, Debug)]
enum Op {
    Offer { run: u32, class: usize, facts: Facts, gate: u64 },
    Take { lane: u8, place: Option<u32>, gated: bool },
    Release(usize),
    Cancel(usize),
    Switch(usize),
    Commit,
    Leave(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let facts = (0u8..5, 0i64..5, 0i64..5, proptest::option::of(0i64..5), proptest::option::of(-2i64..3))
        .prop_map(|(priority, expected, upward, deadline, rank)| Facts {
            priority,
            expected: expected * 1_000_000,
            predicted: upward % 2 == 0,
            upward: upward * 1_000_000,
            deadline,
            rank: rank.map(|it| it as f64),
            turn: rank.map(|it| -it as f64),
            home: rank.and_then(|it| u32::try_from(it).ok()),
        });
    prop_oneof![
        8 => (0u32..6, 0usize..6, facts, 0u64..3)
            .prop_map(|(run, class, facts, ahead)| Op::Offer { run, class, facts, gate: ahead }),
        8 => (0u8..2, proptest::option::of(0u32..3), any::<bool>())
            .prop_map(|(lane, place, gated)| Op::Take { lane, place, gated }),
        5 => (0usize..50).prop_map(Op::Release),
        1 => (0usize..50).prop_map(Op::Cancel),
        1 => (0usize..18).prop_map(Op::Switch),
        2 => Just(Op::Commit),
        1 => (4u32..6).prop_map(Op::Leave),
    ]
}

/// A driver that keeps its own account of what is waiting and what is held.
struct Model {
    schedule: Schedule,
    classes: Vec<Class>,
    demands: Vec<(u8, Vec<(&'static str, u64)>)>,
    steps: Vec<(u32, Facts, Kind)>,
    running: Vec<(u32, Class)>,
    durable: u64,
    order: Vec<Step>,
    gone: BTreeSet<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Waiting(u64),
    Taken,
    Dead,
}

const LIMITS: [(u32, u32); 2] = [(1, 1), (5, 2)];
const ROOM: [(&str, u64); 3] = [("cpu", 4000), ("gpu", 1000), ("memory", 100)];

impl Model {
    fn new(policy: Policy) -> Self {
        let mut schedule = Schedule::new(ROOM.map(|(name, amount)| (name.into(), amount)).into(), 2);
        schedule.set_policy(policy, |_| None);
        for run in 0..6 {
            let limit = LIMITS.iter().find(|it| it.0 == run).map(|it| it.1);
            let tenant = ["a", "b"].get(run as usize % 3).map(|&it| it.into());
            let tags = vec![format!("t{}", run % 2).as_str().into()];
            schedule.enter(run, "w".into(), Terms { limit, tenant, tags, ..Terms::default() });
        }
        let demands = vec![
            (0, vec![]),
            (0, vec![("cpu", 1000)]),
            (0, vec![("cpu", 4000), ("memory", 10)]),
            (0, vec![("gpu", 1000), ("memory", 60)]),
            (1, vec![("cpu", 1000)]),
            (1, vec![("cpu", 3000), ("memory", 100)]),
        ];
        let of = |(lane, amounts): &(u8, Vec<(&str, u64)>)| {
            let amounts = amounts.iter().map(|&(name, amount)| (name.to_owned(), amount)).collect();
            schedule.class(*lane, &Resources { amounts }).unwrap()
        };
        let classes = demands.iter().map(of).collect();
        Self {
            schedule,
            classes,
            demands,
            steps: vec![],
            running: vec![],
            durable: 0,
            order: vec![],
            gone: BTreeSet::new(),
        }
    }

    fn take(&mut self, lane: u8, place: Option<u32>, gated: bool) -> bool {
        let steps = &self.steps;
        let live = |entry: &Entry| matches!(steps[entry.step as usize].2, Kind::Waiting(_));
        let Some((entry, class)) = self.schedule.take_at(lane, place, self.durable, gated, live) else {
            return false;
        };
        let Kind::Waiting(gate) = self.steps[entry.step as usize].2 else { panic!("it had been taken") };
        assert!(gated || gate <= self.durable, "a step started before the commit it waits for");
        assert_eq!(self.demands[self.classes.iter().position(|it| *it == class).unwrap()].0, lane);
        self.steps[entry.step as usize].2 = Kind::Taken;
        self.running.push((entry.run, class));
        self.order.push(entry.step);
        self.check();
        true
    }

    /// Nothing is committed beyond what there is, and no run runs more than it may.
    fn check(&self) {
        for (name, room) in ROOM {
            let held = self.running.iter().map(|(_, class)| {
                let at = self.classes.iter().position(|it| it == class).unwrap();
                self.demands[at].1.iter().find(|it| it.0 == name).map_or(0, |it| it.1)
            });
            let held: u64 = held.sum();
            assert!(held <= room, "{held} of {name}");
            assert_eq!(self.schedule.free(name), Some(room - held));
        }
        for (run, limit) in LIMITS {
            assert!(self.running.iter().filter(|it| it.0 == run).count() <= limit as usize);
        }
    }

    fn release(&mut self, at: usize) {
        if self.running.is_empty() {
            return;
        }
        let (run, class) = self.running.swap_remove(at % self.running.len());
        self.schedule.release(run, class);
        self.check();
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            // A run that has left offers nothing more.
            Op::Offer { run, .. } if self.gone.contains(&run) => {}
            Op::Offer { run, class, facts, gate } => {
                let gate = self.durable + gate;
                let step = self.steps.len() as Step;
                self.steps.push((run, facts, Kind::Waiting(gate)));
                self.schedule.offer(run, step, facts, self.classes[class], gate, i64::from(step));
            }
            Op::Take { lane, place, gated } => drop(self.take(lane, place, gated)),
            Op::Release(at) => self.release(at),
            Op::Cancel(at) if !self.steps.is_empty() => {
                let at = at % self.steps.len();
                if let Kind::Waiting(_) = self.steps[at].2 {
                    self.steps[at].2 = Kind::Dead;
                }
            }
            Op::Cancel(_) => {}
            Op::Switch(to) => {
                let steps = &self.steps;
                self.schedule.set_policy(policies()[to].clone(), |entry| {
                    let (_, facts, kind) = steps[entry.step as usize];
                    matches!(kind, Kind::Waiting(_)).then_some(facts)
                });
            }
            Op::Commit => self.durable += 1,
            Op::Leave(run) => {
                for (of, _, kind) in &mut self.steps {
                    if *of == run && matches!(kind, Kind::Waiting(_)) {
                        *kind = Kind::Dead;
                    }
                }
                self.gone.insert(run);
                self.schedule.leave(run);
            }
        }
    }

    /// Lets everything that waits run to its end.
    fn drain(&mut self) {
        while self.take(0, Some(1), true) || self.take(1, None, true) || !self.running.is_empty() {
            self.release(0);
        }
    }
}

proptest! {
    /// Whatever happens, in whatever order: no instant at which more is granted than there is, no run
    /// beyond its limit, no step twice, none forgotten, and the same again gives the same order.
    ///
    /// Req: P6.144, P7.35, P7.34, P8.13
    #[test]
    fn nothing_is_overcommitted_or_lost_whatever_happens(
        first in 0usize..18, ops in proptest::collection::vec(op(), 0..200)
    ) {
        let run = || {
            let mut model = Model::new(policies()[first].clone());
            ops.iter().for_each(|op| model.apply(op));
            model.drain();
            model
        };
        let model = run();
        prop_assert!(model.steps.iter().all(|it| !matches!(it.2, Kind::Waiting(_))), "a step was forgotten");
        let taken: BTreeSet<_> = model.order.iter().collect();
        prop_assert_eq!(taken.len(), model.order.len(), "a step was taken twice");
        for lane in 0..2 {
            prop_assert_eq!(model.schedule.waiting(lane), 0);
            prop_assert_eq!(model.schedule.open_to(lane), 0);
        }
        prop_assert_eq!(&model.order, &run().order, "ties are broken in the same way");
    }

    /// However many small steps come, each of them ranked before it, and whoever runs them: a large one
    /// waits for a bounded number of them.
    ///
    /// Req: P1.24, P8.37
    #[test]
    fn no_policy_lets_a_large_step_wait_for_ever(
        policy in 0usize..18, small in 1u64..4, other in proptest::bool::ANY, large in 2u64..=4, late in 1u32..200
    ) {
        let policy = policies()[policy].clone();
        let mut schedule = Schedule::new([("cpu".into(), 4000), ("memory".into(), 100)].into(), 2);
        let lane = u8::from(other);
        let amounts = [("cpu".to_owned(), 1000 * large), ("memory".to_owned(), 100)].into();
        let small = schedule.class(0, &demand("cpu", 1000 * small)).unwrap();
        let large = schedule.class(lane, &Resources { amounts }).unwrap();
        schedule.set_policy(policy, |_| None);
        let (mut now, mut running, mut overtaken) = (0, std::collections::VecDeque::new(), 0);
        let (mut started, mut offered) = (0, false);
        while overtaken < 400 {
            now += 1;
            if !offered && started >= late {
                offered = true;
                schedule.offer(1, 0, worst(), large, 0, now);
            }
            // There are always more small ones than there is room for.
            for _ in 0..2 {
                schedule.offer(0, started, best(), small, 0, now);
            }
            while let Some((entry, class)) = schedule.take(0, 0, false, |_| true) {
                started += 1;
                if entry.run == 1 {
                    return Ok(());
                }
                running.push_back(class);
                overtaken += u32::from(offered);
            }
            if schedule.take(1, 0, false, |_| true).is_some() {
                return Ok(());
            }
            // One ends at a time, so that there is never room for a large one by chance.
            if let Some(class) = running.pop_front() {
                schedule.release(0, class);
            }
        }
        prop_assert!(false, "{overtaken} small ones have overtaken it");
    }
}

/// What a share has had after many turns is in proportion to its weight, whatever its steps take.
///
/// Req: P6.140, P7.26
#[test]
fn shares_get_time_by_weight_and_save_nothing_up() {
    let weights = [("a".into(), 3000), ("b".into(), 1000)].into();
    let mut schedule = Schedule::new(BTreeMap::new(), 1);
    schedule.set_policy(Policy::FairShare { by: By::Tenant, weights }, |_| None);
    let class = schedule.class(0, &Resources::default()).unwrap();
    for (run, tenant) in [(0, "a"), (1, "b"), (2, "late")] {
        schedule.enter(run, "w".into(), Terms { tenant: Some(tenant.into()), ..Terms::default() });
    }
    // A step of b takes twice as long as one of a.
    let facts = |run: u32| Facts { expected: 1_000_000 * i64::from(run + 1), ..2.into() };
    for step in 0..400 {
        (0..2).for_each(|run| schedule.offer(run, step, facts(run), class, 0, 0));
    }
    let mut turn = || schedule.take(0, 0, false, |_| true).unwrap().0.run;
    let had: Vec<u32> = (0..70).map(|_| turn()).collect();
    assert_eq!(had.iter().filter(|run| **run == 0).count(), 60, "3 s of a for each 1 s of b");
    // Who comes late has no claim to the time before.
    for step in 0..100 {
        schedule.offer(2, step, Facts { expected: 1_000_000, ..2.into() }, class, 0, 0);
    }
    let had: Vec<u32> = (0..90).map(|_| schedule.take(0, 0, false, |_| true).unwrap().0.run).collect();
    let of = |run| had.iter().filter(|it| **it == run).count();
    assert_eq!((of(0), of(1), of(2)), (60, 10, 20));
}

/// A step that would be ranked last for ever because of what it demands gets its turn although it fits.
///
/// Req: P1.24
#[test]
fn every_kind_of_demand_gets_a_turn() {
    let mut schedule = Schedule::new([("memory".into(), 1000)].into(), 1);
    schedule.set_policy(Policy::MinMemory, |_| None);
    let small = schedule.class(0, &demand("memory", 1)).unwrap();
    let large = schedule.class(0, &demand("memory", 100)).unwrap();
    schedule.offer(1, 0, 2, large, 0, 0);
    let mut before = 0;
    loop {
        schedule.offer(0, before, 2, small, 0, 0);
        let (entry, class) = schedule.take(0, 0, false, |_| true).unwrap();
        schedule.release(entry.run, class);
        if entry.run == 1 {
            break;
        }
        before += 1;
    }
    assert_eq!(u64::from(before), 2 * PATIENCE);
}

/// What comes with a commit doesn't stand in the way of what need not wait, however it is ranked.
#[test]
fn a_better_rank_does_not_make_others_wait_for_a_commit() {
    let mut schedule = two_cpus();
    schedule.set_policy(Policy::UpwardRank { ageing: 0 }, |_| None);
    let class = schedule.class(0, &Resources::default()).unwrap();
    let upward = |upward| Facts { upward, ..2.into() };
    schedule.offer(0, 0, upward(9), class, 5, 0);
    schedule.offer(0, 1, upward(7), class, 4, 0);
    schedule.offer(0, 2, upward(8), class, 5, 0);
    let mut take = |durable, gated| schedule.take(0, durable, gated, |_| true).map(|(entry, _)| entry.step);
    assert_eq!(take(3, false), None);
    assert_eq!(take(4, false), Some(1));
    assert_eq!(take(4, false), None);
    assert_eq!(take(4, true), Some(0));
    assert_eq!(take(5, false), Some(2));
}
