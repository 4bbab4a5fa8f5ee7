//! Which ready step starts next: what a policy ranks first among those that fit. No misfit ever holds up
//! a step that fits, and none waits for ever.

mod pick;
mod policy;
mod queue;
mod shares;
#[cfg(test)]
mod tests;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;

use ferroflow_define::Resources;
use rustc_hash::FxHashMap;

use self::pick::{Kept, admit, admit_durable, candidate, drop_dead, fits, leftover};
use self::policy::Demanded;
pub use self::policy::{By, Facts, PRIORITIES, Policy, margin};
pub use self::queue::Entry;
use self::queue::{Bucket, Group, Spot};
pub use self::shares::Terms;
use self::shares::{Shares, Where};
use self::window::Window;
use crate::ids::{Micros, Step};

/// When so many steps have arrived after one that does not fit, what it demands is kept for it: those
/// that came later, and are no more urgent, get nothing of that, or a stream of small steps would hold
/// it up for ever. Under policies that don't go by arrival it is kept when so many others have started.
const PATIENCE: u64 = 64;

/// So many kinds of demand a lane keeps when none of their steps waits.
const KEPT: usize = 8;

/// A kind of demand: steps of one class fit or misfit together.
pub type Class = u32;

/// Capacity and the queue of ready steps over all runs.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    capacity: BTreeMap<Arc<str>, u64>,
    free: BTreeMap<Arc<str>, u64>,
    classes: Vec<Demand>,
    known: FxHashMap<(u8, Resources), Class>,
    policy: Policy,
    lanes: Vec<Lane>,
    shares: Shares,
    window: Window,
    order: u64,
    /// The last commit that was said to be durable.
    durable: u64,
    /// Steps that were taken.
    taken: u64,
}

#[derive(Clone, Debug, Default)]
struct Lane {
    /// By band and class.
    buckets: BTreeMap<(u8, Class), Bucket>,
    /// Entries, those that no longer count included; and how many of them are held up by a limit.
    waiting: usize,
    held: usize,
    taken: u64,
    /// Who asked last found nothing: there is somebody to take what can be taken.
    idle: bool,
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

/// Why a ready step does not start, if that is not for want of a worker or for its rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// Less than it demands is free of a resource.
    Lacks(Arc<str>),
    /// Its run runs as many steps as it may.
    Limit(u32),
    /// What is free of a resource is kept for a step that has waited for long.
    Kept(Arc<str>),
}

/// An entry that may be taken: the least one is.
type Choice = ((u8, bool, bool, u64, u64, i64, u64), Class, Spot);

impl Schedule {
    pub fn new(capacity: BTreeMap<Arc<str>, u64>, lanes: usize) -> Self {
        Self { free: capacity.clone(), capacity, lanes: vec![Lane::default(); lanes], ..Self::default() }
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

    /// The lane of a class.
    pub fn lane(&self, class: Class) -> u8 {
        self.classes[class as usize].lane
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Ranks by another policy from now on, what waits already too. `facts` says what is known of a step,
    /// and nothing if it no longer counts.
    pub fn set_policy(&mut self, policy: Policy, mut facts: impl FnMut(&Entry) -> Option<Facts>) {
        let mut all = Vec::new();
        for lane in &mut self.lanes {
            for ((_, class), mut bucket) in std::mem::take(&mut lane.buckets) {
                all.extend(bucket.drain().into_iter().map(|entry| (entry, class)));
            }
            (lane.waiting, lane.held) = (0, 0);
        }
        self.shares.clear();
        self.policy = policy;
        all.sort_unstable_by_key(|(entry, _)| entry.order);
        for (entry, class) in all {
            if let Some(facts) = facts(&entry) {
                self.place(entry, class, &facts);
            }
        }
    }

    /// A run is there, on these terms. One without terms need not say so, but for shares of workflows.
    pub fn enter(&mut self, run: u32, workflow: Arc<str>, terms: Terms) {
        self.shares.enter(run, workflow, terms);
    }

    /// A run has gone.
    pub fn leave(&mut self, run: u32) {
        for group in self.shares.leave(run) {
            self.open(group);
        }
    }

    /// A step is ready. Of those that are equal by all a policy knows, the one offered first starts first.
    pub fn offer(
        &mut self,
        run: u32,
        step: Step,
        facts: impl Into<Facts>,
        class: Class,
        gate: u64,
        since: Micros,
    ) {
        self.order += 1;
        let entry = Entry { run, step, gate, since, rank: 0, order: self.order, cost: 0 };
        let facts = facts.into();
        if !self.gather(entry, class, &facts) {
            self.place(entry, class, &facts);
        }
    }

    /// Puts an entry where it belongs by what is known of it.
    fn place(&mut self, mut entry: Entry, class: Class, facts: &Facts) {
        let number = self.classes[class as usize].lane;
        let (band, rank) = self.policy.rank(facts, entry.since, &self.demanded(class));
        entry.rank = rank;
        let mut group = 0;
        if self.shares.matter(&self.policy) {
            group = self.shares.join(&self.policy, entry.run, facts);
            entry.cost = match self.policy {
                Policy::FairShare { .. } => u32::try_from(facts.expected / 1000).unwrap_or(u32::MAX),
                _ => 1,
            };
        }
        let lane = &mut self.lanes[number as usize];
        lane.waiting += 1;
        let bucket = lane.buckets.entry((band, class)).or_default();
        if bucket.is_empty() {
            bucket.served = (lane.taken, self.taken);
        }
        // By arrival, gates come in order, so that none stands in the way of another.
        if entry.gate > self.durable && self.policy != Policy::Fifo {
            bucket.fresh.push((entry, group));
        } else {
            lane.held += usize::from(admit(bucket, &mut self.shares, (number, band, class), entry, group));
        }
    }

    /// What a policy needs to know of a demand.
    fn demanded(&self, class: Class) -> Demanded {
        let of = |name| {
            let amounts = &self.classes[class as usize].amounts;
            amounts.iter().find(|(it, _)| &**it == name).map_or(0, |&(_, amount)| amount)
        };
        match self.policy {
            Policy::MinMemory => Demanded { memory: of("memory"), cpu: 0, load: 0.0 },
            Policy::MinCpu => Demanded { memory: 0, cpu: of("cpu"), load: 0.0 },
            Policy::Deadline => Demanded { memory: 0, cpu: 0, load: self.load() },
            _ => Demanded { memory: 0, cpu: 0, load: 0.0 },
        }
    }

    /// From 0 to 1: the part of the processors that is granted.
    fn load(&self) -> f64 {
        match (self.capacity.get("cpu"), self.free.get("cpu")) {
            (Some(&all), Some(&free)) if all > 0 => 1.0 - free as f64 / all as f64,
            _ => 0.0,
        }
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
        live: impl FnMut(&Entry) -> bool,
    ) -> Option<(Entry, Class)> {
        self.take_at(lane, None, durable, gated, live)
    }

    /// The same for a place, which under some policies has steps of its own.
    pub fn take_at(
        &mut self,
        lane: u8,
        place: Option<u32>,
        durable: u64,
        gated: bool,
        mut live: impl FnMut(&Entry) -> bool,
    ) -> Option<(Entry, Class)> {
        self.durable = self.durable.max(durable);
        if self.lanes[lane as usize].waiting == 0 {
            self.lanes[lane as usize].idle = true;
            return None;
        }
        let kept = self.kept(Some(lane), Some(&mut live));
        let durable = self.durable;
        let Self { lanes, shares, classes, free, capacity, policy, .. } = self;
        let (number, lane) = (lane, &mut lanes[lane as usize]);
        let patience = PATIENCE * lane.buckets.len() as u64;
        let mut best: Option<Choice> = None;
        let mut empty = false;
        for (&(band, class), bucket) in &mut lane.buckets {
            if best.is_some_and(|((first, ..), ..)| first < band) {
                break;
            }
            let amounts = &classes[class as usize].amounts;
            if !fits(free, amounts) {
                continue;
            }
            let at = (number, band, class);
            if bucket.looked < durable && !bucket.fresh.is_empty() {
                bucket.looked = durable;
                lane.held += admit_durable(bucket, shares, at, durable);
            }
            // Most often there is one queue, and nothing in it that waits for anything else.
            let found = if bucket.groups.is_empty() && bucket.fresh.is_empty() {
                while bucket.plain.peek().is_some_and(|entry| !live(entry)) {
                    bucket.plain.pop();
                    lane.waiting -= 1;
                }
                let first = bucket.plain.peek().filter(|entry| gated || entry.gate <= durable);
                first.map(|entry| (false, 0, entry, Spot::Plain))
            } else {
                let place = place.filter(|_| policy.places());
                lane.waiting -= drop_dead(bucket, shares, at, place, &mut live);
                candidate(bucket, shares, place, gated, durable, &mut live)
            };
            let Some((own, pass, entry, spot)) = found else {
                empty |= bucket.is_empty();
                continue;
            };
            if kept.is_some_and(|it| it.bars(policy, band, entry, free, classes, class)) {
                continue;
            }
            let late = policy.outranks() && lane.taken - bucket.served.0 >= patience;
            let left = if *policy == Policy::BestFit { leftover(free, capacity, amounts) } else { 0 };
            let score = (band, !late, !own, pass, left, entry.rank, entry.order);
            if best.is_none_or(|(least, ..)| score < least) {
                best = Some((score, class, spot));
            }
        }
        if empty && lane.buckets.len() > KEPT {
            lane.buckets.retain(|_, bucket| !bucket.is_empty());
        }
        lane.idle = best.is_none();
        let ((band, _, _, pass, ..), class, spot) = best?;
        Some((self.grant((number, band, class), pass, spot), class))
    }

    /// Takes an entry out and grants what it demands.
    fn grant(&mut self, at: Where, pass: u64, spot: Spot) -> Entry {
        let lane = &mut self.lanes[at.0 as usize];
        let bucket = lane.buckets.get_mut(&(at.1, at.2)).expect("a bucket that was found");
        let (entry, group, over) = bucket.take(pass, spot);
        lane.waiting -= 1;
        lane.taken += 1;
        self.taken += 1;
        bucket.served = (lane.taken, self.taken);
        for (name, amount) in &self.classes[at.2 as usize].amounts {
            *self.free.get_mut(name).expect("a class names known resources") -= amount;
        }
        if group != 0 {
            if over {
                self.shares.emptied(group, at);
            }
            if self.policy.shares() {
                let pass = self.shares.pass(group);
                for group in self.shares.charge(group, entry.cost) {
                    self.rekey(group, pass);
                }
            }
            self.shares.left(group);
            for group in self.shares.begin(entry.run) {
                self.hold(group);
            }
        } else {
            self.shares.begin(entry.run);
        }
        entry
    }

    /// A group comes where its share belongs now.
    fn rekey(&mut self, group: Group, before: u64) {
        let pass = self.shares.pass(group);
        for (lane, band, class) in self.shares.places(group) {
            let bucket = self.lanes[lane as usize].buckets.get_mut(&(band, class)).expect(QUEUED);
            let (rank, order) = bucket.groups[&group].peek().map(Entry::key).expect(QUEUED);
            if bucket.heads.remove(&(before, rank, order, group)) {
                bucket.heads.insert((pass, rank, order, group));
            }
        }
    }

    /// A group waits until its run may start more steps.
    fn hold(&mut self, group: Group) {
        let pass = self.shares.pass(group);
        for (lane, band, class) in self.shares.places(group) {
            let lane = &mut self.lanes[lane as usize];
            let bucket = lane.buckets.get_mut(&(band, class)).expect(QUEUED);
            let queue = &bucket.groups[&group];
            let (rank, order) = queue.peek().map(Entry::key).expect(QUEUED);
            lane.held += queue.len();
            bucket.heads.remove(&(pass, rank, order, group));
        }
    }

    /// It may start some.
    fn open(&mut self, group: Group) {
        let pass = self.shares.pass(group);
        for (lane, band, class) in self.shares.places(group) {
            let lane = &mut self.lanes[lane as usize];
            let bucket = lane.buckets.get_mut(&(band, class)).expect(QUEUED);
            let queue = &bucket.groups[&group];
            let (rank, order) = queue.peek().map(Entry::key).expect(QUEUED);
            lane.held -= queue.len();
            bucket.heads.insert((pass, rank, order, group));
        }
    }

    /// The longest waiting step, of all lanes, for which what it demands is kept: one that does not fit, or
    /// one of another lane that fits by now and is about to be taken there. With `live`, what no longer
    /// counts is dropped on the way.
    fn kept(&mut self, mine: Option<u8>, mut live: Option<&mut dyn FnMut(&Entry) -> bool>) -> Option<Kept> {
        let Self { lanes, shares, classes, free, policy, order: arrived, taken, .. } = self;
        let mut found: Option<Kept> = None;
        for (number, lane) in (0..).zip(lanes).filter(|(_, lane)| lane.waiting > 0) {
            for (&(band, class), bucket) in &mut lane.buckets {
                let fits = fits(free, &classes[class as usize].amounts);
                if fits && (!lane.idle || mine.is_none_or(|mine| mine == number)) {
                    continue;
                }
                if let Some(live) = &mut live {
                    lane.waiting -= drop_dead(bucket, shares, (number, band, class), None, live);
                }
                let Some((_, &entry, _)) = bucket.first() else { continue };
                let (since, patient) = match policy {
                    Policy::Fifo => (entry.order, *arrived - entry.order >= PATIENCE),
                    _ => (bucket.served.1, *taken - bucket.served.1 >= PATIENCE),
                };
                let kept = Kept { band, since, order: entry.order, rank: entry.rank, class, fits };
                if patient && found.is_none_or(|it| kept.before(&it)) {
                    found = Some(kept);
                }
            }
        }
        found
    }

    /// Gives back what a step of a run held.
    pub fn release(&mut self, run: u32, class: Class) {
        for (name, amount) in &self.classes[class as usize].amounts {
            let free = self.free.get_mut(name).expect("a class names known resources");
            *free += amount;
            debug_assert!(*free <= self.capacity[name], "released more than was granted");
        }
        for group in self.shares.end(run) {
            self.open(group);
        }
    }

    /// What a ready step of a run waits for, if it is more than its turn.
    pub fn hindrance(&mut self, run: u32, class: Class) -> Option<Hindrance> {
        if let Some(limit) = self.shares.full(run) {
            return Some(Hindrance::Limit(limit));
        }
        let short = |it: &&(Arc<str>, u64)| self.free.get(&it.0).is_none_or(|free| *free < it.1);
        if let Some((name, _)) = self.classes[class as usize].amounts.iter().find(short) {
            return Some(Hindrance::Lacks(name.clone()));
        }
        let kept = self.kept(None, None)?;
        kept.shared(&self.classes, class).map(|name| Hindrance::Kept(name.clone()))
    }

    /// What is free of a resource.
    pub fn free(&self, name: &str) -> Option<u64> {
        self.free.get(name).copied()
    }

    /// How many entries wait in a lane, those that no longer count included.
    pub fn waiting(&self, lane: u8) -> usize {
        self.lanes[lane as usize].waiting + self.gathering(lane)
    }

    /// How many of them no limit of their runs holds up.
    pub fn open_to(&self, lane: u8) -> usize {
        let lane = &self.lanes[lane as usize];
        lane.waiting - lane.held
    }
}

const QUEUED: &str = "a group has a queue where it says so";
