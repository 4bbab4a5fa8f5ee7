//! Runs that wait for each other's locks in a circle: found when a wait begins, and broken.
//!
//! Steps can't do that, as they wait without holding anything. A lock is taken to be held until its run has
//! ended, so whoever waits for it waits for all that its run waits for; and who waits for what a step has,
//! waits for the lock that the step's body is asking for.

use std::fmt;

use ferroflow_define::access::Mode;
use rustc_hash::FxHashSet;

use super::tree::NONE;
use super::{Holder, LeaseId, Request, Stage, Table};
use crate::ids::Micros;

/// A circle of runs that wait for each other, and whose request has been ended for it: the least urgent, and
/// of those the youngest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlock {
    pub victim: LeaseId,
    pub holder: Holder,
    /// Each waits for the next one, and the last for the first.
    pub cycle: Vec<Link>,
}

/// Somebody waits for an asset that somebody else has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub holder: Holder,
    pub asset: String,
    pub mode: Mode,
    /// Who has it, and in which mode.
    pub by: Holder,
    pub held: Mode,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({}), held ({})", self.asset, self.mode.name(), self.held.name())
    }
}

/// Who waits, by which of its accesses, for which request.
type Edge = (u32, usize, u32);

impl Table {
    /// Whether somebody may wait for a request: it comes from who has something already.
    pub(super) fn may_be_waited_for(&self, me: &Request) -> bool {
        (me.holder.lock && me.holder.step.is_some())
            || (!self.locks.is_empty() && self.locks.contains_key(&me.holder.run))
    }

    /// A wait has begun: breaks the circles that it closes. Those that others wait for don't wait behind them.
    pub(super) fn waits(&mut self, slot: u32, now: Micros) {
        if self.calls > 0 || !self.locks.is_empty() {
            self.look_again_at_locks(now);
            self.break_circles(slot, now);
        }
    }

    /// A run has got a lock: what waits for that, waits for what the run waits for.
    pub(super) fn locked(&mut self, run: u32, now: Micros) {
        if self.waiting.is_empty() {
            return;
        }
        self.look_again_at_locks(now);
        for id in self.waits_of(run).map(|(id, _)| id).collect::<Vec<_>>() {
            if self.is_waiting(id) {
                self.break_circles(id.slot, now);
            }
        }
    }

    fn waits_of(&self, run: u32) -> impl Iterator<Item = (LeaseId, &Request)> + '_ {
        let slots = self.waiting.range((run, 0)..=(run, NONE));
        slots.map(|&(_, slot)| (self.id(slot), &self.requests[slot as usize]))
    }

    fn look_again_at_locks(&mut self, now: Micros) {
        let behind = |it: &Request| it.on != NONE && self.requests[it.on as usize].stage == Stage::Waiting;
        let mut found: Vec<_> = match self.calls {
            0 => {
                let runs = self.locks.keys();
                runs.flat_map(|&run| self.waits_of(run)).filter(|(_, it)| behind(it)).collect()
            }
            _ => {
                let all =
                    self.waiting.iter().map(|&(_, slot)| (self.id(slot), &self.requests[slot as usize]));
                all.filter(|(_, it)| self.may_be_waited_for(it) && behind(it)).collect()
            }
        };
        found.sort_unstable_by_key(|(_, it)| it.key);
        let found: Vec<LeaseId> = found.into_iter().map(|(id, _)| id).collect();
        for id in found {
            if self.is_waiting(id) {
                self.look_again(id.slot, now);
            }
        }
    }

    fn break_circles(&mut self, slot: u32, now: Micros) {
        let id = self.id(slot);
        while self.is_waiting(id)
            && let Some(cycle) = self.circle(slot)
        {
            let of = |&&(waiter, ..): &&Edge| {
                let it = &self.requests[waiter as usize];
                (it.priority, it.key.sequence)
            };
            let &(victim, ..) = cycle.iter().max_by_key(of).expect("a circle is not empty");
            let victim = self.id(victim);
            let holder = self.requests[victim.slot as usize].holder;
            let cycle = cycle.iter().map(|&edge| self.link(edge)).collect();
            self.out.deadlocks.push(Deadlock { victim, holder, cycle });
            self.release(victim, now);
        }
    }

    fn link(&self, (waiter, access, by): Edge) -> Link {
        let (it, by) = (&self.requests[waiter as usize], &self.requests[by as usize]);
        let access = it.accesses[access];
        let mut held = access.kind;
        self.tree.meet(access.node, access.kind, &mut |node, here| {
            let found = by.accesses.iter().any(|other| other.node == node && other.kind == here.kind);
            held = here.kind;
            found
        });
        Link {
            holder: it.holder,
            asset: self.tree.name(access.node),
            mode: self.mode(access.kind),
            by: by.holder,
            held: self.mode(held),
        }
    }

    /// What a request waits for through what others hold, each with who of their side waits in turn.
    fn edges(&self, waiter: u32) -> Vec<(Edge, u32)> {
        let me = &self.requests[waiter as usize];
        let (mut found, mut seen) = (Vec::new(), FxHashSet::default());
        for (nth, access) in me.accesses.iter().enumerate() {
            self.tree.meet(access.node, access.kind, &mut |_, here| {
                for &(other, _) in &here.holds {
                    if self.related(me.holder, other) || !seen.insert(other) {
                        continue;
                    }
                    found.extend(self.in_turn(other).map(|next| ((waiter, nth, other), next)));
                }
                false
            });
        }
        found
    }

    /// Requests that have to be granted before what somebody holds is given back.
    fn in_turn(&self, held: u32) -> impl Iterator<Item = u32> + '_ {
        let by = self.requests[held as usize].holder;
        let waits = self.waits_of(by.run);
        waits
            .filter(move |(_, it)| by.lock || (it.holder.lock && it.holder.step == by.step))
            .map(|(id, _)| id.slot)
    }

    /// A circle that a waiting request is in, if there is one.
    fn circle(&self, from: u32) -> Option<Vec<Edge>> {
        let mut seen = FxHashSet::from_iter([from]);
        let mut path: Vec<Edge> = Vec::new();
        let mut stack = vec![self.edges(from).into_iter()];
        while let Some(edges) = stack.last_mut() {
            let Some((edge, next)) = edges.next() else {
                stack.pop();
                path.pop();
                continue;
            };
            if next == from {
                path.push(edge);
                return Some(path);
            }
            if seen.insert(next) {
                path.push(edge);
                stack.push(self.edges(next).into_iter());
            }
        }
        None
    }

    /// Who has what a request waits for, directly or through others that come before it.
    pub fn blocking(&self, id: LeaseId) -> Vec<(LeaseId, Holder)> {
        let mut found = Vec::new();
        if !self.is_waiting(id) {
            return found;
        }
        let mut seen = FxHashSet::from_iter([id.slot]);
        let mut stack = vec![id.slot];
        while let Some(slot) = stack.pop() {
            let me = &self.requests[slot as usize];
            for access in &me.accesses {
                self.tree.meet(access.node, access.kind, &mut |_, here| {
                    let held = here.holds.iter().map(|&(other, _)| other);
                    let held = held.filter(|&other| !self.related(me.holder, other) && seen.insert(other));
                    found.extend(held.map(|other| (self.id(other), self.requests[other as usize].holder)));
                    let ahead = here.waits.range(..(me.key, 0)).map(|&(_, other)| other);
                    stack.extend(ahead.filter(|&next| !self.related(me.holder, next) && seen.insert(next)));
                    false
                });
            }
        }
        found
    }

    /// Whether a request that waits does so, directly or through others, for something of this holder's.
    pub(super) fn waits_for(&self, waiter: u32, holder: Holder) -> bool {
        let mut seen = FxHashSet::from_iter([waiter]);
        let mut stack = vec![waiter];
        while let Some(slot) = stack.pop() {
            let me = &self.requests[slot as usize];
            for access in &me.accesses {
                let found = self.tree.meet(access.node, access.kind, &mut |_, here| {
                    for &(other, _) in &here.holds {
                        let by = self.requests[other as usize].holder;
                        if self.related(me.holder, other) {
                            continue;
                        }
                        if by.run == holder.run && (by.lock || (holder.lock && by.step == holder.step)) {
                            return true;
                        }
                        stack.extend(self.in_turn(other).filter(|&next| seen.insert(next)));
                    }
                    let ahead = here.waits.range(..(me.key, 0)).map(|&(_, other)| other);
                    stack.extend(ahead.filter(|&next| !self.related(me.holder, next) && seen.insert(next)));
                    false
                });
                if found {
                    return true;
                }
            }
        }
        false
    }
}
