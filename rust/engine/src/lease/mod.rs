//! Leases of assets: who may use what, and who waits for whom. A step gets all that it accesses at once, or
//! waits without any of it; so steps never wait for each other in a circle.
//!
//! Who waits goes first in, first out within a priority class, and nobody who came later, and is no more
//! urgent, gets anything that somebody before him waits for. To be a class more urgent is worth `STRIDE`
//! contended requests: no more of them than that go past one that came before them. A request hangs on one
//! other that it can't go on with, and is looked at again when that has ended.
//!
//! Locks are leases that a run holds across its steps. They hold up other runs alone, and where runs wait for
//! each other's locks in a circle, one of those that wait gives up.

mod claims;
mod deadlock;
#[cfg(test)]
mod tests;
mod tree;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

use ferroflow_define::access::Mode;
use ferroflow_define::access::name::Segment;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

pub use self::claims::{Claims, Open, Wanted, named_in};
pub use self::deadlock::{Deadlock, Link};
pub use self::tree::{Asset, Kind};
use self::tree::{Key, NONE, Spot, Tree};
pub use self::view::{Fault, LeaseView, Obstacle};
use crate::ids::{Micros, Step, Token};

/// A request goes past so many that are a class less urgent and came before it, and no more.
pub const STRIDE: u64 = 256;

/// A request, and the lease that comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId {
    slot: u32,
    /// Slots are used again.
    turn: u32,
}

/// Who has a lease or waits for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Holder {
    pub run: u32,
    /// The step; for a lock, the one whose body asks for it.
    pub step: Option<Step>,
    /// Whether it is a lock, which is the run's.
    pub lock: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Granted(LeaseId),
    Waits(LeaseId),
}

/// What came of other requests; for the driver, which drains it.
#[derive(Clone, Debug, Default)]
pub struct Out {
    /// They waited, and have what they asked for now.
    pub granted: Vec<(LeaseId, Holder)>,
    /// They waited, and have given up.
    pub deadlocks: Vec<Deadlock>,
}

#[derive(Clone, Copy, Debug)]
struct Access {
    node: u32,
    kind: Kind,
    /// Where the node has it, once it is held.
    spot: Spot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Free,
    Waiting,
    Held,
}

#[derive(Clone, Debug)]
struct Request {
    turn: u32,
    stage: Stage,
    holder: Holder,
    accesses: SmallVec<[Access; 2]>,
    key: Key,
    priority: u8,
    /// When it was asked for, and since it was granted, when that was.
    since: Micros,
    token: Token,
    deadline: Option<Micros>,
    /// What it hangs on while it waits, and its place among those that do.
    on: u32,
    place: u32,
    /// What hangs on it.
    hanging: Vec<u32>,
}

/// All leases, and all that wait for one.
#[derive(Clone, Debug)]
pub struct Table {
    tree: Tree,
    operations: FxHashMap<Arc<str>, u32>,
    named: Vec<Arc<str>>,
    requests: Vec<Request>,
    free: Vec<u32>,
    next: Token,
    /// Counts leases under which assets may change.
    changes: u64,
    /// Counts requests, and those of them that met others.
    sequence: u64,
    clock: u64,
    /// Requests that wait, by run.
    waiting: BTreeSet<(u32, u32)>,
    /// Of them, those for locks.
    calls: usize,
    /// Locks that runs hold.
    locks: FxHashMap<u32, SmallVec<[u32; 2]>>,
    deadlines: BTreeSet<(Micros, u32)>,
    pub out: Out,
}

impl Table {
    /// A table whose tokens begin with `first`.
    pub fn new(first: Token) -> Self {
        Self {
            tree: Tree::new(),
            operations: FxHashMap::default(),
            named: Vec::new(),
            requests: Vec::new(),
            free: Vec::new(),
            next: first,
            changes: 0,
            sequence: 0,
            clock: 0,
            waiting: BTreeSet::new(),
            calls: 0,
            locks: FxHashMap::default(),
            deadlines: BTreeSet::new(),
            out: Out::default(),
        }
    }

    /// The number of an asset; it is that asset's until `forget`, once for each time it was asked for.
    pub fn asset(&mut self, name: &[Segment]) -> Asset {
        Asset(self.tree.pin(name))
    }

    /// The same for what is called so inside another.
    pub fn inside(&mut self, within: Asset, segment: &Segment) -> Asset {
        Asset(self.tree.pin_inside(within.0, segment))
    }

    /// The number is not needed any more. Requests that were made with it keep it while they last.
    pub fn forget(&mut self, asset: Asset) {
        self.tree.unpin(asset.0);
    }

    pub fn kind(&mut self, mode: &Mode) -> Kind {
        match mode {
            Mode::Reads => Kind::READS,
            Mode::Writes => Kind::WRITES,
            Mode::Takes => Kind::TAKES,
            Mode::Reduces(operation) => {
                let next = Kind::FIRST_OPERATION + self.named.len() as u32;
                Kind(*self.operations.entry(operation.clone()).or_insert_with(|| {
                    self.named.push(operation.clone());
                    next
                }))
            }
        }
    }

    pub fn mode(&self, kind: Kind) -> Mode {
        match kind {
            Kind::READS => Mode::Reads,
            Kind::WRITES => Mode::Writes,
            Kind::TAKES => Mode::Takes,
            Kind(number) => Mode::Reduces(self.named[(number - Kind::FIRST_OPERATION) as usize].clone()),
        }
    }

    /// Asks for all of these, or waits for all of them. Of priorities 0 is the most urgent.
    pub fn request(
        &mut self,
        holder: Holder,
        accesses: &[(Asset, Kind)],
        priority: u8,
        now: Micros,
    ) -> Asked {
        let slot = self.enter(holder, accesses, priority, now);
        let obstacle = self.hindered(slot);
        if obstacle.is_some() || self.passes(slot) {
            self.clock += 1;
        }
        match obstacle {
            None => {
                self.grant(slot, now);
                Asked::Granted(self.id(slot))
            }
            Some(other) => {
                let id = self.id(slot);
                self.begin_to_wait(slot, other, now);
                Asked::Waits(id)
            }
        }
    }

    /// The same, but it does not wait: the error says for whom it would.
    pub fn try_request(
        &mut self,
        holder: Holder,
        accesses: &[(Asset, Kind)],
        priority: u8,
        now: Micros,
    ) -> Result<LeaseId, Fault> {
        let slot = self.enter(holder, accesses, priority, now);
        if self.hindered(slot).is_none() {
            self.clock += u64::from(self.passes(slot));
            self.grant(slot, now);
            return Ok(self.id(slot));
        }
        let fault = self.obstacles(self.id(slot), 1).pop().map(Fault::from);
        self.leave(slot);
        Err(fault.expect("something is in its way"))
    }

    /// Takes back a lease that was granted before, as a record says, whatever else is asked for.
    pub fn restore(
        &mut self,
        holder: Holder,
        accesses: &[(Asset, Kind)],
        token: Token,
        deadline: Option<Micros>,
        since: Micros,
    ) -> LeaseId {
        let slot = self.enter(holder, accesses, 0, since);
        let next = self.next.max(token + 1);
        self.next = token;
        self.grant(slot, since);
        self.next = next;
        let id = self.id(slot);
        self.renew(id, deadline);
        id
    }

    /// Ends a lease, or the wait for one. False if that has happened already.
    pub fn release(&mut self, id: LeaseId, now: Micros) -> bool {
        let Some(stage) = self.stage(id) else { return false };
        let slot = id.slot;
        match stage {
            Stage::Held => self.unhold(slot),
            _ => self.stop_waiting(slot),
        }
        let mut hanging = std::mem::take(&mut self.requests[slot as usize].hanging);
        self.leave(slot);
        if !hanging.is_empty() {
            self.wake(&hanging, now);
            hanging.clear();
            let it = &mut self.requests[slot as usize];
            if it.stage == Stage::Free {
                it.hanging = hanging;
            }
        }
        true
    }

    /// Gives a lease another deadline, or none. False if it is not held any more.
    pub fn renew(&mut self, id: LeaseId, deadline: Option<Micros>) -> bool {
        if self.stage(id) != Some(Stage::Held) {
            return false;
        }
        let it = &mut self.requests[id.slot as usize];
        if let Some(before) = std::mem::replace(&mut it.deadline, deadline) {
            self.deadlines.remove(&(before, id.slot));
        }
        self.deadlines.extend(deadline.map(|at| (at, id.slot)));
        true
    }

    /// When the next lease expires, if ever.
    pub fn due(&self) -> Option<Micros> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// Reclaims the leases whose deadlines have come.
    pub fn expire(&mut self, now: Micros) -> Vec<LeaseView> {
        let mut found = Vec::new();
        while let Some(&(at, slot)) = self.deadlines.first()
            && at <= now
        {
            let id = self.id(slot);
            found.extend(self.view(id));
            self.release(id, now);
        }
        found
    }

    /// The token of a lease, once it is granted.
    pub fn token(&self, id: LeaseId) -> Option<Token> {
        let held = self.stage(id) == Some(Stage::Held);
        held.then(|| self.requests[id.slot as usize].token)
    }

    pub fn is_waiting(&self, id: LeaseId) -> bool {
        self.stage(id) == Some(Stage::Waiting)
    }

    fn id(&self, slot: u32) -> LeaseId {
        LeaseId { slot, turn: self.requests[slot as usize].turn }
    }

    fn stage(&self, id: LeaseId) -> Option<Stage> {
        let it = self.requests.get(id.slot as usize)?;
        (it.turn == id.turn && it.stage != Stage::Free).then_some(it.stage)
    }

    /// Notes a request; nothing is held, and nothing waited for, yet.
    fn enter(&mut self, holder: Holder, accesses: &[(Asset, Kind)], priority: u8, now: Micros) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.requests.push(Request {
                turn: 0,
                stage: Stage::Free,
                holder,
                accesses: SmallVec::new(),
                key: Key::default(),
                priority: 0,
                since: 0,
                token: 0,
                deadline: None,
                on: NONE,
                place: 0,
                hanging: Vec::new(),
            });
            self.requests.len() as u32 - 1
        });
        self.sequence += 1;
        let it = &mut self.requests[slot as usize];
        it.stage = Stage::Waiting;
        it.holder = holder;
        it.priority = priority;
        // A body that asks for a lock has something already, and is better not kept waiting.
        let class = if holder.lock { 0 } else { priority };
        it.key = Key { turn: self.clock + u64::from(class) * STRIDE, sequence: self.sequence };
        it.since = now;
        it.accesses.extend(accesses.iter().map(|&(asset, kind)| Access {
            node: asset.0,
            kind,
            spot: Spot::default(),
        }));
        // Most are in order, and each is there once.
        if !it.accesses.is_sorted_by(|a, b| (a.node, a.kind) < (b.node, b.kind)) {
            it.accesses.sort_unstable_by_key(|access| (access.node, access.kind));
            it.accesses.dedup_by_key(|access| (access.node, access.kind));
        }
        slot
    }

    /// The slot is free for another request.
    fn leave(&mut self, slot: u32) {
        let it = &mut self.requests[slot as usize];
        it.stage = Stage::Free;
        it.turn = it.turn.wrapping_add(1);
        for access in it.accesses.drain(..) {
            self.tree.clear(access.node);
        }
        self.free.push(slot);
    }

    fn grant(&mut self, slot: u32, now: Micros) {
        let it = &mut self.requests[slot as usize];
        it.stage = Stage::Held;
        it.token = self.next;
        it.since = now;
        self.next += 1;
        self.changes += u64::from(it.accesses.iter().any(|access| access.kind != Kind::READS));
        for (nth, access) in it.accesses.iter_mut().enumerate() {
            access.spot = self.tree.hold(access.node, access.kind, slot, nth as u32);
        }
        if it.holder.lock {
            let run = it.holder.run;
            self.locks.entry(run).or_default().push(slot);
            self.locked(run, now);
        }
    }

    fn unhold(&mut self, slot: u32) {
        for nth in 0..self.requests[slot as usize].accesses.len() {
            let Access { node, kind, spot } = self.requests[slot as usize].accesses[nth];
            if let Some((other, moved)) = self.tree.unhold(node, kind, spot) {
                self.requests[other as usize].accesses[moved as usize].spot = spot;
            }
        }
        let it = &mut self.requests[slot as usize];
        if let Some(at) = it.deadline.take() {
            self.deadlines.remove(&(at, slot));
        }
        let Holder { run, lock, .. } = it.holder;
        if lock && let Some(locks) = self.locks.get_mut(&run) {
            locks.retain(|&mut other| other != slot);
            if locks.is_empty() {
                self.locks.remove(&run);
            }
        }
    }

    fn begin_to_wait(&mut self, slot: u32, other: u32, now: Micros) {
        let it = &self.requests[slot as usize];
        for access in &it.accesses {
            self.tree.wait(access.node, access.kind, it.key, slot);
        }
        self.waiting.insert((it.holder.run, slot));
        self.calls += usize::from(it.holder.lock);
        self.hang(slot, other);
        self.waits(slot, now);
    }

    fn stop_waiting(&mut self, slot: u32) {
        self.unhang(slot);
        let it = &self.requests[slot as usize];
        for access in &it.accesses {
            self.tree.unwait(access.node, access.kind, it.key, slot);
        }
        self.waiting.remove(&(it.holder.run, slot));
        self.calls -= usize::from(it.holder.lock);
    }

    fn hang(&mut self, slot: u32, other: u32) {
        let hanging = &mut self.requests[other as usize].hanging;
        hanging.push(slot);
        let place = hanging.len() as u32 - 1;
        let it = &mut self.requests[slot as usize];
        (it.on, it.place) = (other, place);
    }

    fn unhang(&mut self, slot: u32) {
        let it = &mut self.requests[slot as usize];
        let (other, place) = (std::mem::replace(&mut it.on, NONE), it.place);
        if other == NONE {
            return;
        }
        let hanging = &mut self.requests[other as usize].hanging;
        hanging.swap_remove(place as usize);
        if let Some(&moved) = hanging.get(place as usize) {
            self.requests[moved as usize].place = place;
        }
    }

    /// Looks again at those that hung on what has ended, in their order.
    fn wake(&mut self, hanging: &[u32], now: Micros) {
        let mut woken: SmallVec<[(Key, LeaseId); 8]> = SmallVec::with_capacity(hanging.len());
        for &slot in hanging {
            self.requests[slot as usize].on = NONE;
            woken.push((self.requests[slot as usize].key, self.id(slot)));
        }
        woken.sort_unstable_by_key(|&(key, _)| key);
        for (_, id) in woken {
            // What follows from a grant may have been its turn already.
            if self.is_waiting(id) && self.requests[id.slot as usize].on == NONE {
                self.look_again(id.slot, now);
            }
        }
    }

    /// Grants what waits, if nothing is in its way, or lets it hang on what is.
    fn look_again(&mut self, slot: u32, now: Micros) {
        match self.hindered(slot) {
            Some(other) if self.requests[slot as usize].on == other => {}
            Some(other) => {
                self.unhang(slot);
                self.hang(slot, other);
            }
            None => {
                self.stop_waiting(slot);
                self.out.granted.push((self.id(slot), self.requests[slot as usize].holder));
                self.grant(slot, now);
            }
        }
    }

    /// Whether two requests are of one run, and one of them a lock: they don't hold each other up.
    fn related(&self, a: Holder, other: u32) -> bool {
        let b = self.requests[other as usize].holder;
        a.run == b.run && (a.lock || b.lock)
    }

    /// One of those that a request can't go on with: of what waits for the same asset, the last before it.
    fn hindered(&self, slot: u32) -> Option<u32> {
        let me = &self.requests[slot as usize];
        let mine = self.may_be_waited_for(me);
        let mut found = None;
        me.accesses.iter().any(|access| {
            self.tree.meet(access.node, access.kind, &mut |_, here| {
                let mut ahead = here.waits.range(..(me.key, 0)).rev().map(|&(_, other)| other);
                let mut held = here.holds.iter().map(|&(other, _)| other);
                let passes = |&other: &u32| {
                    self.related(me.holder, other) || (mine && self.waits_for(other, me.holder))
                };
                found = ahead.find(|other| !passes(other));
                found =
                    found.or_else(|| held.find(|&other| other != slot && !self.related(me.holder, other)));
                found.is_some()
            })
        });
        found
    }

    /// Whether a request goes past others that wait.
    fn passes(&self, slot: u32) -> bool {
        let me = &self.requests[slot as usize];
        !self.waiting.is_empty()
            && me
                .accesses
                .iter()
                .any(|access| self.tree.meet(access.node, access.kind, &mut |_, here| !here.waits.is_empty()))
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new(1)
    }
}
