//! Leases against a model that looks at everything, and runs that take locks until all have ended.

use std::collections::BTreeMap;

use ferroflow_define::access::name::{overlap, parse};
use proptest::prelude::*;

use super::*;

fn step(run: u32, step: Step) -> Holder {
    Holder { run, step: Some(step), lock: false }
}

fn lock(run: u32, step: Step) -> Holder {
    Holder { run, step: Some(step), lock: true }
}

/// Accesses as tests write them: names after what is done to them.
fn numbered(table: &mut Table, accesses: &[(&str, Mode)]) -> Vec<(Asset, Kind)> {
    let name = |name: &str| parse(name).unwrap();
    accesses.iter().map(|(asset, mode)| (table.asset(&name(asset)), table.kind(mode))).collect()
}

fn ask(table: &mut Table, holder: Holder, accesses: &[(&str, Mode)], priority: u8, now: Micros) -> Asked {
    let numbers = numbered(table, accesses);
    let asked = table.request(holder, &numbers, priority, now);
    numbers.into_iter().for_each(|(asset, _)| table.forget(asset));
    asked
}

fn granted(asked: Asked) -> LeaseId {
    match asked {
        Asked::Granted(id) => id,
        Asked::Waits(_) => panic!("it waits"),
    }
}

fn waits(asked: Asked) -> LeaseId {
    match asked {
        Asked::Waits(id) => id,
        Asked::Granted(_) => panic!("it was granted"),
    }
}

fn drained(table: &mut Table) -> Vec<LeaseId> {
    std::mem::take(&mut table.out.granted).into_iter().map(|(id, _)| id).collect()
}

use Mode::{Reads, Takes, Writes};

#[test]
fn all_or_none_and_what_waits_is_granted_when_the_last_obstacle_has_gone() {
    let mut table = Table::new(10);
    let a = granted(ask(&mut table, step(0, 0), &[("lake/a", Reads)], 2, 1));
    let b = granted(ask(&mut table, step(1, 0), &[("lake/b", Writes)], 2, 2));
    let both = waits(ask(&mut table, step(2, 0), &[("lake", Takes), ("x", Reads)], 2, 3));
    assert_eq!(table.obstacles(both, 9).len(), 2);
    assert!(table.release(a, 4) && !table.release(a, 4));
    assert!(drained(&mut table).is_empty());
    assert!(table.release(b, 5) && !table.release(b, 5));
    assert_eq!(drained(&mut table), [both]);
    assert_eq!((table.token(both), table.view(both).unwrap().since), (Some(12), 5));
    assert!(table.release(both, 6));
    assert_eq!((table.assets(), table.leases().len()), (0, 0), "nothing of names that nobody uses is left");
}

#[test]
fn a_writer_waits_for_readers_before_it_and_readers_after_it_wait_for_the_writer() {
    let mut table = Table::default();
    let first = granted(ask(&mut table, step(0, 0), &[("t", Reads)], 2, 0));
    let writer = waits(ask(&mut table, step(1, 0), &[("t", Writes)], 2, 0));
    let second = waits(ask(&mut table, step(2, 0), &[("t[0:5]", Reads)], 2, 0));
    let third = waits(ask(&mut table, step(3, 0), &[("t/x/y", Reads)], 2, 0));
    let other = granted(ask(&mut table, step(4, 0), &[("u", Reads)], 2, 0));
    table.release(first, 1);
    assert_eq!(drained(&mut table), [writer]);
    table.release(writer, 2);
    assert_eq!(drained(&mut table), [second, third]);
    [second, third, other].into_iter().for_each(|id| assert!(table.release(id, 3)));
}

#[test]
fn what_is_more_urgent_goes_first_but_only_so_often() {
    let mut table = Table::default();
    let mut held = granted(ask(&mut table, step(0, 0), &[("t", Writes)], 0, 0));
    let idle = waits(ask(&mut table, step(1, 0), &[("t", Writes)], 1, 0));
    let mut past = 0;
    while table.is_waiting(idle) {
        let next = waits(ask(&mut table, step(2, past), &[("t", Writes)], 0, 0));
        table.release(held, 0);
        held = drained(&mut table)[0];
        assert!(held == next || held == idle);
        past += 1;
        assert!(u64::from(past) <= STRIDE + 1, "it starves");
    }
    assert!(u64::from(past) >= STRIDE - 1, "urgency is worth something");
}

/// Req: P1.7
#[test]
fn what_has_expired_is_reclaimed_and_who_comes_late_is_refused() {
    let mut table = Table::default();
    let name = parse("lake/orders").unwrap();
    let old = granted(ask(&mut table, step(0, 0), &[("lake", Writes)], 2, 0));
    let token = table.token(old).unwrap();
    assert!(table.renew(old, Some(100)));
    assert_eq!(table.check(&name, token, 99), Ok(()));
    assert!(matches!(table.check(&name, token, 100), Err(Fault::Expired { deadline: 100, .. })));
    assert!(table.renew(old, Some(200)));
    assert_eq!((table.due(), table.expire(199)), (Some(200), vec![]));
    let next = waits(ask(&mut table, step(1, 0), &[("lake/orders", Writes)], 2, 150));
    let reclaimed = table.expire(200);
    assert_eq!(reclaimed.iter().map(|it| (it.id, it.holder)).collect::<Vec<_>>(), [(old, step(0, 0))]);
    assert_eq!(drained(&mut table), [next]);
    assert!(!table.renew(old, None) && !table.release(old, 200) && table.due().is_none());
    let Err(Fault::Lost { by: Some(by), .. }) = table.check(&name, token, 200) else { panic!("it is lost") };
    assert_eq!((by.holder, by.held_in, by.since), (step(1, 0), Writes, 200));
    assert!(table.token(next) > Some(token));
    assert!(matches!(table.check(&name, 77, 200), Err(Fault::NotHeld { .. })));
    let other = parse("x").unwrap();
    assert!(matches!(table.check(&other, table.token(next).unwrap(), 200), Err(Fault::NotHeld { .. })));
    let wanted = numbered(&mut table, &[("lake", Reads)]);
    let Err(Fault::ResourceInUse(by)) = table.try_request(step(2, 0), &wanted, 2, 300) else {
        panic!("in use")
    };
    assert_eq!((&*by.held, by.held_in, by.holder), ("lake/orders", Writes, step(1, 0)));
}

#[test]
fn runs_that_wait_for_each_others_locks_lose_the_least_urgent_wait_and_of_those_the_last() {
    for (priorities, last) in [([2, 2, 2], 2), ([2, 3, 2], 1), ([3, 3, 0], 1)] {
        let mut table = Table::default();
        let names = ["a", "b", "c"];
        for run in 0..3 {
            let asked =
                ask(&mut table, lock(run, 0), &[(names[run as usize], Writes)], priorities[run as usize], 0);
            granted(asked);
        }
        for run in 0..3 {
            let next = names[(run as usize + 1) % 3];
            // What a step accesses and what a lock is of are the same here.
            let holder = if run == 1 { step(run, 1) } else { lock(run, 0) };
            assert!(table.out.deadlocks.is_empty());
            waits(ask(&mut table, holder, &[(next, Writes)], priorities[run as usize], 1));
        }
        let [deadlock] = &table.out.deadlocks[..] else { panic!("one deadlock") };
        assert_eq!((deadlock.holder.run, deadlock.cycle.len()), (last, 3));
        assert!(!table.is_waiting(deadlock.victim));
        for (at, link) in deadlock.cycle.iter().enumerate() {
            assert_eq!(link.by.run, deadlock.cycle[(at + 1) % 3].holder.run);
            assert_eq!((&*link.asset, &link.held), (names[link.by.run as usize], &Writes));
        }
    }
}

#[test]
fn a_run_is_not_held_up_by_its_own_locks_nor_waits_behind_those_that_wait_for_them() {
    let mut table = Table::default();
    granted(ask(&mut table, lock(0, 0), &[("t", Reads)], 2, 0));
    let writer = waits(ask(&mut table, step(1, 0), &[("t", Writes), ("u", Writes)], 2, 0));
    let own = granted(ask(&mut table, step(0, 1), &[("t", Writes)], 2, 0));
    granted(ask(&mut table, step(0, 2), &[("u", Reads)], 2, 0));
    waits(ask(&mut table, step(0, 3), &[("t/x", Writes)], 2, 0));
    waits(ask(&mut table, step(2, 0), &[("u", Reads)], 2, 0));
    table.release(own, 1);
    assert!(table.is_waiting(writer) && table.out.deadlocks.is_empty());
    assert_eq!(drained(&mut table).len(), 1);
}

#[test]
fn a_body_that_asks_for_a_lock_still_has_what_its_step_accesses() {
    let mut table = Table::default();
    granted(ask(&mut table, step(0, 0), &[("t", Writes)], 2, 0));
    granted(ask(&mut table, lock(1, 0), &[("u", Writes)], 2, 0));
    waits(ask(&mut table, step(1, 1), &[("t", Reads)], 2, 0));
    waits(ask(&mut table, lock(0, 0), &[("u", Writes)], 2, 0));
    assert_eq!(table.out.deadlocks.len(), 1);
    assert_eq!(table.out.deadlocks[0].holder, lock(0, 0));
}

#[test]
fn what_many_wait_for_costs_each_of_them_little() {
    let mut table = Table::default();
    let all = [("t", Writes)];
    let mut held = granted(ask(&mut table, step(0, 0), &all, 2, 0));
    // Looking at all that wait, for each of them, would be ten thousand million looks.
    (1..100_000).for_each(|number| _ = waits(ask(&mut table, step(0, number), &all, 2, 0)));
    for number in 1..100_000 {
        table.release(held, 0);
        held = drained(&mut table)[0];
        assert_eq!(table.view(held).unwrap().holder.step, Some(number));
    }
    let asked: Vec<Asked> = (0..100_000)
        .map(|part| ask(&mut table, step(1, part), &[(&format!("t[{part}/100000]"), Writes)], 2, 0))
        .collect();
    table.release(held, 0);
    assert_eq!(drained(&mut table).len(), asked.len());
}

/// What `Table` should do, looking at every pair.
#[derive(Default)]
struct Model {
    clock: u64,
    asked: Vec<Modelled>,
}

struct Modelled {
    id: LeaseId,
    accesses: Vec<(Vec<Segment>, Mode)>,
    key: (u64, usize),
    held: bool,
}

fn conflict(a: &[(Vec<Segment>, Mode)], b: &[(Vec<Segment>, Mode)]) -> bool {
    a.iter()
        .any(|(name, mode)| b.iter().any(|(other, second)| overlap(name, other) && !mode.compatible(second)))
}

impl Model {
    fn settle(&mut self) {
        let mut order: Vec<usize> = (0..self.asked.len()).filter(|&at| !self.asked[at].held).collect();
        order.sort_by_key(|&at| self.asked[at].key);
        for at in order {
            let me = &self.asked[at];
            let stops = |it: &Modelled| (it.held || it.key < me.key) && conflict(&it.accesses, &me.accesses);
            self.asked[at].held = !self.asked.iter().any(stops);
        }
    }

    fn request(&mut self, accesses: Vec<(Vec<Segment>, Mode)>, priority: u8, id: LeaseId, sequence: usize) {
        let key = (self.clock + u64::from(priority) * STRIDE, sequence);
        let contended = self.asked.iter().any(|it| !it.held && conflict(&it.accesses, &accesses));
        self.asked.push(Modelled { id, accesses, key, held: false });
        self.settle();
        self.clock += u64::from(contended || !self.asked.last().unwrap().held);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Request(Vec<(String, u8)>, u8),
    Release(prop::sample::Index),
}

fn named() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ab](/[ab]){0,2}",
        1 => "[ab](/[ab])?\\[[0-3]:[4-6]\\]",
        1 => "[ab](/[ab])?\\[[0-1]/[2-3]\\]",
    ]
}

fn mode(number: u8) -> Mode {
    match number {
        0 => Reads,
        1 => Writes,
        2 => Takes,
        3 => Mode::Reduces("sum".into()),
        _ => Mode::Reduces("max".into()),
    }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let accesses = prop::collection::vec((named(), prop_oneof![3 => Just(0u8), 2 => 1u8..5]), 0..4);
    let act = prop_oneof![
        3 => (accesses, 0u8..3).prop_map(|(accesses, priority)| Act::Request(accesses, priority)),
        2 => any::<prop::sample::Index>().prop_map(Act::Release),
    ];
    prop::collection::vec(act, 1..60)
}

/// The script of a run in `locked`: what its steps access, and what their bodies lock.
type Script = (u8, Vec<(Vec<(String, u8)>, Option<(String, u8)>)>);

fn scripts() -> impl Strategy<Value = Vec<Script>> {
    let access = || ("[ab](/[ab])?", 0u8..2);
    let step = (prop::collection::vec(access(), 0..2), prop::option::weighted(0.6, access()));
    prop::collection::vec((0u8..3, prop::collection::vec(step, 1..5)), 2..6)
}

struct Acting {
    at: usize,
    /// Its step's lease, and its call.
    step: Option<LeaseId>,
    call: Option<LeaseId>,
    locks: Vec<LeaseId>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Never two that disagree, none forgotten that may have it, no token twice, and nothing left behind.
    #[test]
    fn leases_are_as_the_model_has_them(acts in acts()) {
        let (mut table, mut model) = (Table::new(5), Model::default());
        let mut tokens: BTreeMap<LeaseId, Token> = BTreeMap::new();
        let mut newest = 4;
        for (sequence, act) in acts.into_iter().enumerate() {
            match act {
                Act::Request(accesses, priority) => {
                    let accesses: Vec<(String, Mode)> =
                        accesses.into_iter().map(|(name, number)| (name, mode(number))).collect();
                    let given: Vec<(&str, Mode)> =
                        accesses.iter().map(|(name, mode)| (name.as_str(), mode.clone())).collect();
                    let asked = ask(&mut table, step(0, sequence as u32), &given, priority, 0);
                    let id = match asked { Asked::Granted(id) | Asked::Waits(id) => id };
                    let parsed = accesses.iter().map(|(name, mode)| (parse(name).unwrap(), mode.clone()));
                    model.request(parsed.collect(), priority, id, sequence);
                    prop_assert_eq!(matches!(asked, Asked::Granted(_)), !table.is_waiting(id));
                    prop_assert!(table.out.granted.is_empty(), "a request grants nothing to others");
                }
                Act::Release(index) if !model.asked.is_empty() => {
                    let gone = model.asked.swap_remove(index.index(model.asked.len()));
                    model.settle();
                    prop_assert!(table.release(gone.id, 0));
                    prop_assert!(!table.release(gone.id, 0));
                }
                Act::Release(_) => {}
            }
            for it in &model.asked {
                prop_assert_eq!(table.is_waiting(it.id), !it.held);
                prop_assert_eq!(table.obstacles(it.id, 1).is_empty(), it.held);
            }
            // Newly granted ones are told exactly once, and their tokens are new.
            for id in drained(&mut table) {
                prop_assert!(!tokens.contains_key(&id) && table.token(id).is_some());
            }
            let mut fresh: Vec<(Token, LeaseId)> = model.asked.iter().filter(|it| it.held && !tokens.contains_key(&it.id))
                .map(|it| (table.token(it.id).unwrap(), it.id)).collect();
            fresh.sort_unstable();
            for (token, id) in fresh {
                prop_assert!(token > newest);
                newest = token;
                tokens.insert(id, token);
            }
        }
        for it in &model.asked {
            table.release(it.id, 0);
        }
        prop_assert_eq!((table.assets(), table.leases().len(), table.waiting.len()), (0, 0, 0));
    }

    /// Runs whose bodies take locks, in any order, all end: those that would wait in a circle give up.
    #[test]
    fn runs_with_locks_end(scripts in scripts(), mut dice in prop::collection::vec(any::<prop::sample::Index>(), 400)) {
        let mut table = Table::default();
        let mut acting: Vec<Acting> =
            scripts.iter().map(|_| Acting { at: 0, step: None, call: None, locks: vec![] }).collect();
        loop {
            for deadlock in std::mem::take(&mut table.out.deadlocks) {
                let cycle = &deadlock.cycle;
                for (at, link) in cycle.iter().enumerate() {
                    prop_assert_eq!(link.by.run, cycle[(at + 1) % cycle.len()].holder.run);
                }
                let worst = cycle.iter().map(|link| scripts[link.holder.run as usize].0).max();
                prop_assert_eq!(worst, Some(scripts[deadlock.holder.run as usize].0));
                // The run fails.
                let it = &mut acting[deadlock.holder.run as usize];
                it.at = usize::MAX;
                it.step.take().into_iter().chain(it.locks.drain(..)).for_each(|id| _ = table.release(id, 0));
                it.call = None;
            }
            let free = |it: &Acting| !it.step.or(it.call).is_some_and(|id| table.is_waiting(id))
                && !it.call.is_some_and(|id| table.is_waiting(id));
            let left = |run: usize| acting[run].at < scripts[run].1.len();
            let open: Vec<usize> = (0..acting.len()).filter(|&run| left(run) && free(&acting[run])).collect();
            if !table.out.deadlocks.is_empty() {
                continue;
            }
            if open.is_empty() {
                prop_assert!((0..acting.len()).all(|run| !left(run)), "stuck: {:?}", table.leases());
                break;
            }
            let run = open[dice.pop().map_or(0, |it| it.index(open.len()))];
            let (priority, steps) = &scripts[run];
            let it = &mut acting[run];
            let (accesses, call) = &steps[it.at];
            let number = it.at as u32;
            match (it.step, it.call) {
                (None, _) => {
                    let given: Vec<(&str, Mode)> =
                        accesses.iter().map(|(name, number)| (name.as_str(), mode(*number))).collect();
                    let asked = ask(&mut table, step(run as u32, number), &given, *priority, 0);
                    it.step = Some(match asked { Asked::Granted(id) | Asked::Waits(id) => id });
                }
                (Some(_), None) if call.is_some() => {
                    let (name, number_of_mode) = call.as_ref().unwrap();
                    let given = [(name.as_str(), mode(*number_of_mode))];
                    let asked = ask(&mut table, lock(run as u32, number), &given, *priority, 0);
                    it.call = Some(match asked { Asked::Granted(id) | Asked::Waits(id) => id });
                }
                (Some(id), _) => {
                    it.locks.extend(it.call.take());
                    it.step = None;
                    it.at += 1;
                    table.release(id, 0);
                    if it.at == steps.len() {
                        it.locks.drain(..).for_each(|id| _ = table.release(id, 0));
                    }
                }
            }
            let held: Vec<LeaseView> = table.leases().into_iter().filter(|it| !it.waits).collect();
            for (at, a) in held.iter().enumerate() {
                for b in &held[at + 1..] {
                    let parsed = |it: &LeaseView| -> Vec<(Vec<Segment>, Mode)> {
                        it.accesses.iter().map(|(name, mode)| (parse(name).unwrap(), mode.clone())).collect()
                    };
                    let own = a.holder.run == b.holder.run && (a.holder.lock || b.holder.lock);
                    prop_assert!(own || !conflict(&parsed(a), &parsed(b)));
                }
            }
        }
        prop_assert_eq!((table.assets(), table.leases().len(), table.calls), (0, 0, 0));
    }
}

/// The bar is a microsecond for a grant and a release of two accesses. Run with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn grant_and_release() {
    let mut table = Table::default();
    let numbers = numbered(&mut table, &[("lake/raw/orders", Reads), ("lake/clean/orders", Writes)]);
    let many = 5_000_000u32;
    let mut best = f64::MAX;
    for _ in 0..5 {
        let begun = std::time::Instant::now();
        for number in 0..many {
            let id = granted(table.request(step(0, number), std::hint::black_box(&numbers), 2, 0));
            assert!(table.release(id, 1));
        }
        best = best.min(begun.elapsed().as_nanos() as f64 / f64::from(many));
    }
    println!("a grant and a release of two accesses: {best:.0} ns");
    let mut best = f64::MAX;
    let names: Vec<String> = (0..1000).map(|number| format!("lake/day{number}/orders")).collect();
    for _ in 0..5 {
        let begun = std::time::Instant::now();
        for number in 0..200_000usize {
            let given = [("lake/raw", Reads), (names[number % 1000].as_str(), Writes)];
            let id = granted(ask(&mut table, step(0, 0), &given, 2, 0));
            assert!(table.release(id, 1));
        }
        best = best.min(begun.elapsed().as_nanos() as f64 / 200_000.0);
    }
    println!("the same with names that are read and numbered each time: {best:.0} ns");
}
