//! Ready steps of one lane, band and class, in the order in which they start.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use rustc_hash::FxHashMap;

use crate::ids::{Micros, Step};

/// A ready step of a run, by the driver's number for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub run: u32,
    pub step: Step,
    /// The commit that must be durable before the body may run.
    pub gate: u64,
    /// When it became ready.
    pub since: Micros,
    pub(super) rank: i64,
    /// In which it arrived: no two are the same.
    pub(super) order: u64,
    /// What its share is charged for it.
    pub(super) cost: u32,
}

impl Entry {
    pub(super) fn key(&self) -> (i64, u64) {
        (self.rank, self.order)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// Entries by rank. Most come in order, and cost no more than in a list; the others are in a heap.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    sorted: VecDeque<Entry>,
    heap: BinaryHeap<Reverse<Entry>>,
}

impl Queue {
    pub(super) fn push(&mut self, entry: Entry) {
        if self.sorted.back().is_none_or(|last| *last < entry) {
            self.sorted.push_back(entry);
        } else if self.sorted.front().is_some_and(|first| entry < *first) {
            self.sorted.push_front(entry);
        } else {
            self.heap.push(Reverse(entry));
        }
    }

    pub(super) fn peek(&self) -> Option<&Entry> {
        match (self.sorted.front(), self.heap.peek()) {
            (Some(a), Some(Reverse(b))) => Some(a.min(b)),
            (a, b) => a.or(b.map(|Reverse(b)| b)),
        }
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        match (self.sorted.front(), self.heap.peek()) {
            (Some(a), Some(Reverse(b))) if b < a => self.heap.pop().map(|Reverse(entry)| entry),
            (Some(_), _) => self.sorted.pop_front(),
            (None, _) => self.heap.pop().map(|Reverse(entry)| entry),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sorted.len() + self.heap.len()
    }

    fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.sorted.iter().chain(self.heap.iter().map(|Reverse(entry)| entry))
    }
}

/// A group of entries that are held up together: those of a share, or of a run with a limit. 0 is none.
pub(super) type Group = u32;

/// The first entry of a group: what its share had, rank, order of arrival.
pub(super) type Head = (u64, i64, u64, Group);

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    Plain,
    Group(Group),
    /// Among those whose gates were not known to be durable.
    Fresh(usize),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Bucket {
    /// What is in no group.
    pub plain: Queue,
    pub groups: FxHashMap<Group, Queue>,
    /// First entries of the groups that are not held up.
    pub heads: BTreeSet<Head>,
    /// What comes once a commit is made: it must not stand in the way of what need not wait.
    pub fresh: Vec<(Entry, Group)>,
    /// The commit with which these were looked through.
    pub looked: u64,
    /// How many steps of the lane, and in all, had been taken when one of these was, or the first of them
    /// came.
    pub served: (u64, u64),
}

impl Bucket {
    pub(super) fn is_empty(&self) -> bool {
        self.plain.len() == 0 && self.groups.is_empty() && self.fresh.is_empty()
    }

    /// The first entry that need not wait for a commit, and what its share had.
    pub(super) fn first(&self) -> Option<(u64, &Entry, Spot)> {
        let plain = self.plain.peek().map(|entry| (0, entry, Spot::Plain));
        let Some(&(pass, rank, order, group)) = self.heads.first() else { return plain };
        match plain {
            Some((_, entry, _)) if (0, entry.rank, entry.order) < (pass, rank, order) => plain,
            _ => self.groups[&group].peek().map(|entry| (pass, entry, Spot::Group(group))),
        }
    }

    /// Takes an entry out, where a group has nothing left says so.
    pub(super) fn take(&mut self, pass: u64, spot: Spot) -> (Entry, Group, bool) {
        const THERE: &str = "it was found there";
        match spot {
            Spot::Plain => (self.plain.pop().expect(THERE), 0, false),
            Spot::Fresh(at) => {
                let (entry, group) = self.fresh.swap_remove(at);
                (entry, group, false)
            }
            Spot::Group(group) => {
                let queue = self.groups.get_mut(&group).expect(THERE);
                let entry = queue.pop().expect(THERE);
                self.heads.remove(&(pass, entry.rank, entry.order, group));
                match queue.peek() {
                    Some(next) => self.heads.insert((pass, next.rank, next.order, group)),
                    None => self.groups.remove(&group).is_some(),
                };
                let over = !self.groups.contains_key(&group);
                (entry, group, over)
            }
        }
    }

    /// Takes everything out.
    pub(super) fn drain(&mut self) -> Vec<Entry> {
        let mut all: Vec<Entry> = self.plain.iter().copied().collect();
        all.extend(self.groups.values().flat_map(Queue::iter));
        all.extend(self.fresh.iter().map(|(entry, _)| entry));
        *self = Self::default();
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn entries_leave_by_rank_and_then_as_they_came(ranks in proptest::collection::vec(0i64..9, 0..60)) {
            let mut queue = Queue::default();
            let mut rest: Vec<(i64, u64)> = Vec::new();
            for (order, &rank) in (0..).zip(&ranks) {
                queue.push(Entry { run: 0, step: 0, gate: 0, since: 0, rank, order, cost: 1 });
                rest.push((rank, order));
                // Every third time one leaves.
                if order % 3 == 2 {
                    rest.sort_unstable();
                    prop_assert_eq!(queue.pop().map(|entry| entry.key()), Some(rest.remove(0)));
                }
            }
            rest.sort_unstable();
            let left: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|entry| entry.key()).collect();
            prop_assert_eq!(left, rest);
        }
    }
}
