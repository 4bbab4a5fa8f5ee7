//! What may be taken of a bucket, and for which steps that have waited for long something is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::policy::Policy;
use super::queue::{Bucket, Entry, Group, Spot};
use super::shares::{Shares, Where};
use super::{Class, Demand};

/// Puts an entry into the queue of its group; says whether that is held up.
pub(super) fn admit(bucket: &mut Bucket, shares: &mut Shares, at: Where, entry: Entry, group: Group) -> bool {
    if group == 0 {
        bucket.plain.push(entry);
        return false;
    }
    let queue = bucket.groups.entry(group).or_default();
    let before = queue.peek().map(Entry::key);
    queue.push(entry);
    if before.is_none() {
        shares.opened(group, at);
    }
    if !shares.is_open(group) {
        return true;
    }
    if before.is_none_or(|before| entry.key() < before) {
        let pass = shares.pass(group);
        if let Some((rank, order)) = before {
            bucket.heads.remove(&(pass, rank, order, group));
        }
        bucket.heads.insert((pass, entry.rank, entry.order, group));
    }
    false
}

/// Puts entries where they belong whose commits are made; says how many of them are held up.
pub(super) fn admit_durable(bucket: &mut Bucket, shares: &mut Shares, at: Where, durable: u64) -> usize {
    let (ready, rest) = std::mem::take(&mut bucket.fresh).into_iter().partition(|it| it.0.gate <= durable);
    bucket.fresh = rest;
    let admitted = Vec::into_iter(ready).map(|(entry, group)| admit(bucket, shares, at, entry, group));
    admitted.filter(|held| *held).count()
}

/// Drops entries that no longer count, until the first one does, and the first of a place; says how many.
pub(super) fn drop_dead(
    bucket: &mut Bucket,
    shares: &mut Shares,
    at: Where,
    place: Option<u32>,
    live: &mut (impl FnMut(&Entry) -> bool + ?Sized),
) -> usize {
    let mut dropped = 0;
    loop {
        let dead = |(_, entry, _): &(u64, &Entry, Spot)| !live(entry);
        let own = place.map_or(&[][..], |place| shares.at_home(place));
        let own = own
            .iter()
            .filter(|group| shares.is_open(**group))
            .filter_map(|&group| Some((0, bucket.groups.get(&group)?.peek()?, Spot::Group(group))));
        let Some((pass, _, spot)) = own.chain(bucket.first()).find(dead) else { break };
        let (_, group, over) = bucket.take(pass, spot);
        if over {
            shares.emptied(group, at);
        }
        shares.left(group);
        dropped += 1;
    }
    if bucket.plain.len() > 0 || !bucket.heads.is_empty() {
        return dropped;
    }
    // Nobody looks at what comes with a commit until that is made, or everything else is gone.
    let before = bucket.fresh.len();
    bucket.fresh.retain(|(entry, group)| {
        let counts = live(entry);
        if !counts {
            shares.left(*group);
        }
        counts
    });
    dropped + before - bucket.fresh.len()
}

/// The first entry of a bucket that may be taken: whether it is the place's own, what its share had, and
/// where it is.
pub(super) fn candidate<'b>(
    bucket: &'b Bucket,
    shares: &Shares,
    place: Option<u32>,
    gated: bool,
    durable: u64,
    live: &mut impl FnMut(&Entry) -> bool,
) -> Option<(bool, u64, &'b Entry, Spot)> {
    let own: &[Group] = place.map_or(&[], |place| shares.at_home(place));
    let head = |&group: &Group| Some((false, 0, bucket.groups.get(&group)?.peek()?, Spot::Group(group)));
    let mine = own.iter().filter(|group| shares.is_open(**group)).filter_map(head);
    let first = bucket.first().map(|(pass, entry, spot)| {
        let other = !matches!(spot, Spot::Group(group) if own.contains(&group));
        (other, pass, entry, spot)
    });
    let ready = mine.chain(first).filter(|(_, _, entry, _)| gated || entry.gate <= durable);
    let fresh = bucket.fresh.iter().enumerate().filter(|_| gated).filter_map(|(at, (entry, group))| {
        let other = !own.contains(group);
        let counts = shares.is_open(*group) && live(entry);
        counts.then(|| (other, shares.pass(*group), entry, Spot::Fresh(at)))
    });
    let least = ready.chain(fresh).min_by_key(|(other, pass, entry, _)| (*other, *pass, entry.key()));
    least.map(|(other, pass, entry, spot)| (!other, pass, entry, spot))
}

/// Millionths of a resource that are left when a demand is granted that takes more of it than of others.
pub(super) fn leftover(
    free: &BTreeMap<Arc<str>, u64>,
    capacity: &BTreeMap<Arc<str>, u64>,
    demand: &[(Arc<str>, u64)],
) -> u64 {
    let parts = demand.iter().map(|(name, amount)| {
        let millionths = |amount: u64| u128::from(amount) * 1_000_000 / u128::from(capacity[name].max(1));
        (millionths(*amount), millionths(free[name] - amount))
    });
    parts.max_by_key(|&(taken, left)| (taken, std::cmp::Reverse(left))).map_or(1_000_000, |it| it.1 as u64)
}

/// A step that does not fit and has waited for long.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub(super) band: u8,
    /// Since what arrival, or what start of a step, it has waited.
    pub(super) since: u64,
    pub(super) order: u64,
    pub(super) rank: i64,
    pub(super) class: Class,
    pub(super) fits: bool,
}

impl Kept {
    pub(super) fn before(&self, other: &Self) -> bool {
        (self.band, self.since, self.order) < (other.band, other.since, other.order)
    }

    /// Whether a step of a class would take what is kept for this one.
    pub(super) fn bars(
        &self,
        policy: &Policy,
        band: u8,
        entry: &Entry,
        free: &BTreeMap<Arc<str>, u64>,
        classes: &[Demand],
        class: Class,
    ) -> bool {
        let later = match policy {
            Policy::Fifo => entry.order > self.order,
            // What is more urgent, or has waited for longer, goes on.
            Policy::Priority { .. } => entry.key() > (self.rank, self.order),
            _ => true,
        };
        if band < self.band || !later || self.shared(classes, class).is_none() {
            return false;
        }
        // Where there is enough for both, both may have it.
        let taken = |name: &Arc<str>| {
            classes[class as usize].amounts.iter().find(|it| it.0 == *name).map_or(0, |it| it.1)
        };
        let both = |(name, amount): &(Arc<str>, u64)| free[name] >= taken(name) + amount;
        !self.fits || !classes[self.class as usize].amounts.iter().all(both)
    }

    /// A resource that a class demands, and this one too.
    pub(super) fn shared<'c>(&self, classes: &'c [Demand], class: Class) -> Option<&'c Arc<str>> {
        let own = &classes[self.class as usize].amounts;
        let amounts = &classes[class as usize].amounts;
        amounts.iter().map(|(name, _)| name).find(|name| own.iter().any(|(kept, _)| kept == *name))
    }
}

pub(super) fn fits(free: &BTreeMap<Arc<str>, u64>, demand: &[(Arc<str>, u64)]) -> bool {
    demand.iter().all(|(name, amount)| free.get(name).is_some_and(|free| free >= amount))
}
