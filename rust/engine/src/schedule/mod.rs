//! Which ready step starts next: priority classes, first come first served within one, and
//! no misfit ever holds up a step that fits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ferroflow_define::Resources;
use rustc_hash::FxHashMap;

use crate::ids::{Micros, Step};

/// When so many steps have arrived after one that does not fit, what it demands is kept for it: those
/// that came later, and are no more urgent, get nothing of that, or a stream of small steps would hold
/// it up for ever.
const PATIENCE: u64 = 64;

/// A ready step of a run, by the driver's number for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub run: u32,
    pub step: Step,
    /// The commit that must be durable before the body may run.
    pub gate: u64,
    /// When it became ready.
    pub since: Micros,
    order: u64,
}

/// What is known of a ready step by which it may be ranked: a priority class alone will do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Facts {
    /// From 0, critical, to 4, background.
    pub priority: u8,
}

impl From<u8> for Facts {
    fn from(priority: u8) -> Self {
        Self { priority }
    }
}

/// A kind of demand: steps of one class fit or misfit together.
pub type Class = u32;

/// Capacity and the queue of ready steps over all runs.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    capacity: BTreeMap<Arc<str>, u64>,
    free: BTreeMap<Arc<str>, u64>,
    classes: Vec<Demand>,
    known: FxHashMap<(u8, Resources), Class>,
    /// Per lane: (priority, class) → entries in order of arrival.
    lanes: Vec<BTreeMap<(u8, Class), VecDeque<Entry>>>,
    order: u64,
}

#[derive(Clone, Debug)]
struct Demand {
    lane: u8,
    amounts: Vec<(Arc<str>, u64)>,
}

/// A demand that this engine can never satisfy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("needs {amount} of {name:?}, but the engine has {capacity} (counts in thousandths, sizes in bytes)")]
pub struct Unsatisfiable {
    pub name: Arc<str>,
    pub amount: u64,
    pub capacity: u64,
}

impl Schedule {
    pub fn new(capacity: BTreeMap<Arc<str>, u64>, lanes: usize) -> Self {
        Self { free: capacity.clone(), capacity, lanes: vec![BTreeMap::new(); lanes], ..Self::default() }
    }

    /// The class of a demand in a lane, or what can never be granted.
    pub fn class(&mut self, lane: u8, demand: &Resources) -> Result<Class, Unsatisfiable> {
        if let Some(&class) = self.known.get(&(lane, demand.clone())) {
            return Ok(class);
        }
        let mut amounts = Vec::new();
        for (name, &amount) in demand.amounts.iter().filter(|&(_, &amount)| amount > 0) {
            match self.capacity.get_key_value(name.as_str()) {
                Some((name, &capacity)) if amount <= capacity => amounts.push((name.clone(), amount)),
                found => {
                    let capacity = found.map_or(0, |(_, &capacity)| capacity);
                    return Err(Unsatisfiable { name: name.as_str().into(), amount, capacity });
                }
            }
        }
        self.classes.push(Demand { lane, amounts });
        let class = self.classes.len() as Class - 1;
        self.known.insert((lane, demand.clone()), class);
        Ok(class)
    }

    pub fn offer(
        &mut self,
        run: u32,
        step: Step,
        facts: impl Into<Facts>,
        class: Class,
        gate: u64,
        since: Micros,
    ) {
        let Facts { priority, .. } = facts.into();
        let lane = self.classes[class as usize].lane;
        self.order += 1;
        let entry = Entry { run, step, gate, since, order: self.order };
        self.lanes[lane as usize].entry((priority, class)).or_default().push_back(entry);
    }

    /// Takes the next step of a lane that fits and grants its demand.
    ///
    /// `live` says whether an entry still counts; entries that don't are dropped on the way.
    /// A step whose gate is not durable is taken only if `gated`.
    pub fn take(
        &mut self,
        lane: u8,
        durable: u64,
        gated: bool,
        mut live: impl FnMut(&Entry) -> bool,
    ) -> Option<(Entry, Class)> {
        let kept = self.kept(&mut live);
        let queues = &mut self.lanes[lane as usize];
        let mut best: Option<((u8, Class), u64)> = None;
        let mut empty = Vec::new();
        for (&(priority, class), queue) in queues.iter_mut() {
            if best.is_some_and(|((first, _), _)| first < priority) {
                break;
            }
            if !fits(&self.free, &self.classes[class as usize].amounts) {
                continue;
            }
            while queue.front().is_some_and(|entry| !live(entry)) {
                queue.pop_front();
            }
            match queue.front() {
                None => empty.push((priority, class)),
                Some(entry)
                    if (gated || entry.gate <= durable)
                        && !kept.is_some_and(|it| it.bars(priority, entry, &self.classes, class))
                        && best.is_none_or(|(_, order)| entry.order < order) =>
                {
                    best = Some(((priority, class), entry.order));
                }
                Some(_) => {}
            }
        }
        for key in empty {
            queues.remove(&key);
        }
        let (key, _) = best?;
        let entry = queues.get_mut(&key)?.pop_front()?;
        for (name, amount) in &self.classes[key.1 as usize].amounts {
            *self.free.get_mut(name).expect("a class names known resources") -= amount;
        }
        Some((entry, key.1))
    }

    /// The longest waiting step, of all lanes, for which what it demands is kept.
    fn kept(&mut self, live: &mut impl FnMut(&Entry) -> bool) -> Option<Kept> {
        let mut found: Option<Kept> = None;
        for (&(priority, class), queue) in self.lanes.iter_mut().flatten() {
            if fits(&self.free, &self.classes[class as usize].amounts) {
                continue;
            }
            while queue.front().is_some_and(|entry| !live(entry)) {
                queue.pop_front();
            }
            if let Some(&Entry { order, .. }) = queue.front()
                && self.order - order >= PATIENCE
                && found.is_none_or(|it| (priority, order) < (it.priority, it.order))
            {
                found = Some(Kept { priority, order, class });
            }
        }
        found
    }

    /// Gives back what a step of a run held.
    pub fn release(&mut self, _run: u32, class: Class) {
        for (name, amount) in &self.classes[class as usize].amounts {
            let free = self.free.get_mut(name).expect("a class names known resources");
            *free += amount;
            debug_assert!(*free <= self.capacity[name], "released more than was granted");
        }
    }

    /// A resource of which less is free than a class demands.
    pub fn lacking(&self, class: Class) -> Option<&str> {
        let short = |it: &&(Arc<str>, u64)| self.free.get(&it.0).is_none_or(|free| *free < it.1);
        self.classes[class as usize].amounts.iter().find(short).map(|(name, _)| &**name)
    }

    /// What is free of a resource.
    pub fn free(&self, name: &str) -> Option<u64> {
        self.free.get(name).copied()
    }

    /// How many entries wait in a lane, those that no longer count included.
    pub fn waiting(&self, lane: u8) -> usize {
        self.lanes[lane as usize].values().map(VecDeque::len).sum()
    }
}

/// A step that does not fit and has waited for long.
#[derive(Clone, Copy)]
struct Kept {
    priority: u8,
    order: u64,
    class: Class,
}

impl Kept {
    /// Whether a step of a class would take what is kept for this one.
    fn bars(&self, priority: u8, entry: &Entry, classes: &[Demand], class: Class) -> bool {
        let own = &classes[self.class as usize].amounts;
        priority >= self.priority
            && entry.order > self.order
            && classes[class as usize]
                .amounts
                .iter()
                .any(|(name, _)| own.iter().any(|(kept, _)| kept == name))
    }
}

fn fits(free: &BTreeMap<Arc<str>, u64>, demand: &[(Arc<str>, u64)]) -> bool {
    demand.iter().all(|(name, amount)| free.get(name).is_some_and(|free| free >= amount))
}

#[cfg(test)]
mod tests {
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

    /// Req: P6.129, P7.10
    #[test]
    fn priority_first_then_arrival() {
        let mut schedule = two_cpus();
        let class = schedule.class(0, &Resources::default()).unwrap();
        for (step, priority) in [(0, 2), (1, 0), (2, 4), (3, 0)] {
            schedule.offer(0, step, priority, class, 0, 0);
        }
        let order: Vec<_> =
            std::iter::from_fn(|| schedule.take(0, 0, false, |_| true).map(|(entry, _)| entry.step))
                .collect();
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
}
