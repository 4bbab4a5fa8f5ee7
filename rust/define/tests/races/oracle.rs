//! What the oracle says: which uses may be at the same time, and which come after a move.

use std::collections::{BTreeMap, BTreeSet};

use ferroflow_define::access::Mode;

use super::names;
use super::unfold::{COMPUTED, Instance, Place, Unfolded, Use, each};

/// Two places, the smaller one first.
pub(crate) fn pair(a: &Place, b: &Place) -> (Place, Place) {
    if a <= b { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) }
}

impl Unfolded {
    /// Whether two instances may be at the same time: some execution has both, and nothing orders them.
    fn beside(&self, one: usize, two: usize) -> bool {
        self.together[one] >> two & 1 == 1
            && self.instances[one].before >> two & 1 == 0
            && self.instances[two].before >> one & 1 == 0
    }

    /// Pairs of instances that some execution has both of, with uses that conflict.
    fn conflicts(&self) -> impl Iterator<Item = (usize, usize, &Use, &Use)> {
        let pairs = (0..self.instances.len()).flat_map(|two| (0..two).map(move |one| (one, two)));
        pairs.filter(|&(one, two)| self.together[one] >> two & 1 == 1).flat_map(|(one, two)| {
            let of = |at: usize| self.instances[at].uses.iter();
            of(one)
                .flat_map(move |a| of(two).map(move |b| (one, two, a, b)))
                .filter(|(_, _, a, b)| !compatible(&a.mode, &b.mode) && names::overlap(&a.name, &b.name))
        })
    }

    /// The pairs of places that may be open at the same time, and must not.
    pub(crate) fn races(&self) -> BTreeSet<(Place, Place)> {
        let beside = self.conflicts().filter(|it| self.beside(it.0, it.1));
        beside.map(|(_, _, a, b)| pair(&a.place, &b.place)).collect()
    }

    /// Those that an order between steps can do away with.
    pub(crate) fn races_that_can_be_ordered(&self) -> BTreeSet<(Place, Place)> {
        let beside = self.conflicts().filter(|it| self.beside(it.0, it.1));
        let ordered = beside.filter(|&(one, two, a, b)| {
            let (one, two) = (&self.instances[one].branches, &self.instances[two].branches);
            let branches = one.iter().any(|a| two.iter().any(|b| a.0 == b.0 && a.1 != b.1));
            !branches && a.place.step != COMPUTED && b.place.step != COMPUTED
        });
        ordered.map(|(_, _, a, b)| pair(&a.place, &b.place)).collect()
    }

    /// The keys of pairs of instances that conflict and are ordered, the first one first.
    pub(crate) fn ordered_conflicts(&self) -> BTreeSet<(u64, u64)> {
        let key = |at: usize| self.instances[at].key;
        let ordered = self.conflicts().filter_map(|(one, two, ..)| {
            if self.instances[two].before >> one & 1 == 1 {
                Some((key(one), key(two)))
            } else if self.instances[one].before >> two & 1 == 1 {
                Some((key(two), key(one)))
            } else {
                None
            }
        });
        ordered.collect()
    }

    /// The keys of all pairs of instances that are ordered.
    pub(crate) fn order(&self) -> BTreeSet<(u64, u64)> {
        let mut found = BTreeSet::new();
        for instance in &self.instances {
            each(instance.before, |before| {
                found.insert((self.instances[before].key, instance.key));
            });
        }
        found
    }

    /// By key, what each instance does.
    pub(crate) fn done(&self) -> BTreeMap<u64, Vec<String>> {
        let one = |it: &Use| format!("{:?} {:?}", it.mode, it.name);
        let all = |instance: &Instance| {
            let mut uses: Vec<String> = instance.uses.iter().map(one).collect();
            uses.sort();
            (instance.key, uses)
        };
        self.instances.iter().map(all).collect()
    }

    /// Moves, each with a use after it in some execution.
    pub(crate) fn moved(&self) -> BTreeSet<(Place, Place)> {
        let mut found = BTreeSet::new();
        let uses: Vec<(usize, &Use)> = self
            .instances
            .iter()
            .enumerate()
            .flat_map(|(at, it)| it.uses.iter().map(move |one| (at, one)))
            .collect();
        let takes: Vec<usize> = (0..uses.len()).filter(|&at| uses[at].1.mode == Mode::Takes).collect();
        if takes.is_empty() {
            return found;
        }
        // By use, of the moves those that it must not find, and those that it undoes.
        let mut meets = vec![0u64; uses.len()];
        let mut undoes = vec![0u64; uses.len()];
        for (at, (_, one)) in uses.iter().enumerate() {
            for (bit, &take) in takes.iter().enumerate() {
                let taken = &uses[take].1.name;
                let anew =
                    one.mode == Mode::Writes && !names::is_value(taken) && names::contains(&one.name, taken);
                undoes[at] |= u64::from(anew) << bit;
                meets[at] |= u64::from(!anew && names::overlap(&one.name, taken)) << bit;
            }
        }
        for &execution in &self.executions {
            let mut marks = 0u64;
            let mut at = 0;
            // Instances are numbered in one of their orders.
            while at < uses.len() {
                let instance = uses[at].0;
                let end = at + uses[at..].iter().take_while(|it| it.0 == instance).count();
                if execution >> instance & 1 == 1 {
                    for one in at..end {
                        let mut met = marks & meets[one];
                        while met != 0 {
                            let take = takes[met.trailing_zeros() as usize];
                            found.insert((uses[take].1.place.clone(), uses[one].1.place.clone()));
                            met &= met - 1;
                        }
                    }
                    (at..end).for_each(|one| marks &= !undoes[one]);
                    for (bit, _) in takes.iter().enumerate().filter(|(_, take)| (at..end).contains(take)) {
                        marks |= 1 << bit;
                    }
                }
                at = end;
            }
        }
        found
    }
}

/// Whether two uses of one thing may be at the same time.
fn compatible(a: &Mode, b: &Mode) -> bool {
    match (a, b) {
        (Mode::Reads, Mode::Reads) => true,
        (Mode::Reduces(a), Mode::Reduces(b)) => a == b,
        _ => false,
    }
}
