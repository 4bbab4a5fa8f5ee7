//! Leases of assets at work: a step that becomes ready asks for what it accesses before it enters the queue, and
//! gives it back when its body has really ended, or can't be waited for any longer.

use ferroflow_define::access::name::Segment;
use ferroflow_define::value::{self, Item};
use ferroflow_engine::event::{BAD_ASSET, DEADLOCK};
use ferroflow_engine::lease::{Asked, Claims, Deadlock, Holder, LeaseId, Open, named_in};
use ferroflow_engine::state::Stop;
use ferroflow_engine::{Failure, Micros, Run, Step};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::core::{Core, now};
use crate::lanes::CHILDREN;
use crate::locks::Locks;
use crate::out::Out;
use crate::values::{Values, View, inner};

/// What a run has to do with leases.
#[derive(Default)]
pub(crate) struct Leasing {
    /// What its steps ask for.
    pub claims: Claims,
    /// Of ready steps that have not started.
    pub pending: FxHashMap<Step, Pending>,
    pub locks: Locks,
}

/// What has come of what a ready step asked for.
pub(crate) struct Pending {
    pub has: Has,
    /// As the queue is told.
    gate: u64,
    since: Micros,
}

pub(crate) enum Has {
    Waits(LeaseId),
    Granted(LeaseId),
    /// It will fail with this as soon as it starts.
    Refused(Box<Failure>),
}

/// A step that asks for what it accesses once all runs are taken up.
pub(crate) struct Later {
    run: u32,
    step: Step,
    gate: u64,
    since: Micros,
}

impl From<Asked> for Has {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Granted(id) => Has::Granted(id),
            Asked::Waits(id) => Has::Waits(id),
        }
    }
}

impl Leasing {
    /// Whether a ready step has all that it asks for.
    pub(crate) fn may_start(&self, run: &Run, step: Step) -> bool {
        match self.pending.get(&step) {
            Some(it) => !matches!(it.has, Has::Waits(_)),
            None => self.claims.of(run.place(step)).is_empty(),
        }
    }
}

impl Core {
    /// Asks for what a ready step accesses; false if it has to wait for that.
    pub(crate) fn claim(&mut self, index: u32, step: Step, gate: u64, since: Micros) -> bool {
        let Some(Some(live)) = self.runs.get_mut(index as usize) else { return false };
        if live.leasing.claims.is_empty() {
            return true;
        }
        let claims = live.leasing.claims.of(live.run.place(step));
        if claims.is_empty() {
            return true;
        }
        if let Some(pending) = live.leasing.pending.get(&step) {
            return !matches!(pending.has, Has::Waits(_));
        }
        if self.taking_up {
            self.later.push(Later { run: index, step, gate, since });
            return false;
        }
        let holder = Holder { run: index, step: Some(step), lock: false };
        let priority = live.run.priority_of(step);
        let has = if claims.open.is_empty() {
            self.leases.request(holder, claims.known, priority, since).into()
        } else {
            let mut wanted = claims.known.to_vec();
            let mut wrong = None;
            for &Open { nth, kind } in claims.open {
                match named(&live.run, &live.values, step, nth) {
                    Ok(name) => wanted.push((self.leases.asset(&name), kind)),
                    Err(message) => wrong = wrong.or(Some(message)),
                }
            }
            let has = match wrong {
                Some(message) => Has::Refused(Box::new(Failure::new(BAD_ASSET, message))),
                None => self.leases.request(holder, &wanted, priority, since).into(),
            };
            let own = wanted.split_off(claims.known.len());
            own.into_iter().for_each(|(asset, _)| self.leases.forget(asset));
            has
        };
        let waits = matches!(has, Has::Waits(_));
        live.leasing.pending.insert(step, Pending { has, gate, since });
        !waits
    }

    /// A step starts: what it asked for is its attempt's now, or the reason why it fails at once.
    pub(crate) fn started(&mut self, index: u32, step: Step) -> Option<Result<LeaseId, Failure>> {
        let live = self.runs.get_mut(index as usize)?.as_mut()?;
        if live.leasing.pending.is_empty() {
            return None;
        }
        match live.leasing.pending.remove(&step)?.has {
            Has::Granted(lease) => Some(Ok(lease)),
            Has::Refused(error) => Some(Err(*error)),
            Has::Waits(_) => None,
        }
    }

    /// An attempt no longer counts: what its body has is its own until it ends, or until it would have been given
    /// up. One in a process of its own is being ended.
    pub(crate) fn superseded(&mut self, stop: Stop) {
        self.news += u64::from(self.lanes.stop(stop.token));
        if let Some((lane, Some(lease))) = self.lanes.lease(stop.token)
            && lane != CHILDREN
        {
            self.leases.renew(lease, stop.until);
        }
        self.stop_calls(stop.token);
    }

    /// What a run's ready steps have, and wait for, is given back: it is paused, or has ended.
    pub(crate) fn let_leases_go(&mut self, index: u32) {
        let Some(Some(live)) = self.runs.get_mut(index as usize) else { return };
        let pending = std::mem::take(&mut live.leasing.pending);
        let at = if pending.is_empty() { 0 } else { now() };
        for it in pending.into_values() {
            self.give_back(it, at);
        }
    }

    /// The same for steps that can't start any more.
    pub(crate) fn withdrawn(&mut self, index: u32, steps: Vec<Step>) {
        for step in steps {
            let Some(Some(live)) = self.runs.get_mut(index as usize) else { return };
            if let Some(it) = live.leasing.pending.remove(&step) {
                self.give_back(it, now());
            }
        }
    }

    fn give_back(&mut self, pending: Pending, at: Micros) {
        if let Has::Waits(lease) | Has::Granted(lease) = pending.has {
            self.leases.release(lease, at);
        }
    }

    /// The run is over: nothing of it is left in the table but what its bodies have that still run.
    pub(crate) fn forget_leases(&mut self, leasing: Leasing) {
        for pending in leasing.pending.into_values() {
            self.give_back(pending, now());
        }
        for lease in leasing.locks.all() {
            self.leases.release(lease, now());
        }
        leasing.claims.forget(&mut self.leases);
        self.settle_leases();
    }

    /// Does what follows from leases that came free: steps enter the queue, and calls get their locks.
    pub(crate) fn settle_leases(&mut self) {
        if self.leases.due().is_some() {
            let at = now();
            self.reclaimed += self.leases.expire(at).len() as u64;
        }
        let out = &self.leases.out;
        if self.calls.is_empty() && out.granted.is_empty() && out.deadlocks.is_empty() {
            return;
        }
        let mut yielded = FxHashSet::default();
        loop {
            self.yield_to_calls(&mut yielded);
            if self.leases.out.granted.is_empty() && self.leases.out.deadlocks.is_empty() {
                return;
            }
            for (lease, holder) in std::mem::take(&mut self.leases.out.granted) {
                if holder.lock {
                    self.call_granted(lease, holder);
                } else {
                    self.decided(holder, Has::Granted(lease));
                }
            }
            for deadlock in std::mem::take(&mut self.leases.out.deadlocks) {
                let message = self.circle(&deadlock);
                if deadlock.holder.lock {
                    self.call_refused(deadlock.victim, message);
                } else {
                    self.decided(deadlock.holder, Has::Refused(Box::new(Failure::new(DEADLOCK, message))));
                }
            }
        }
    }

    /// What a step has that has not begun, it gives up for a body that asks for a lock: it may be that body's
    /// resources that the step waits for.
    fn yield_to_calls(&mut self, yielded: &mut FxHashSet<(u32, Step)>) {
        for call in self.waiting_calls() {
            for (lease, holder) in self.leases.blocking(call) {
                let live = self.runs.get_mut(holder.run as usize).and_then(Option::as_mut);
                let (Some(live), Some(step), false) = (live, holder.step, holder.lock) else { continue };
                let queued = live.leasing.pending.get(&step);
                let granted = queued.is_some_and(|it| matches!(it.has, Has::Granted(own) if own == lease));
                // Once is enough: what it gets again, the body does not wait for, or waits for in any case.
                if !granted || !yielded.insert((holder.run, step)) {
                    continue;
                }
                if let Some(Pending { gate, since, .. }) = live.leasing.pending.remove(&step) {
                    self.leases.release(lease, now());
                    // It has to wait behind that body now. If not, it is in the queue already.
                    self.claim(holder.run, step, gate, since);
                }
            }
        }
    }

    /// A step that waited for what it accesses may enter the queue.
    fn decided(&mut self, holder: Holder, has: Has) {
        let Some(step) = holder.step else { return };
        let Some(Some(live)) = self.runs.get_mut(holder.run as usize) else { return };
        let Some(pending) = live.leasing.pending.get_mut(&step) else { return };
        pending.has = has;
        let (gate, since) = (pending.gate, pending.since);
        self.offer(holder.run, step, gate, since);
    }

    /// While runs are taken up, steps ask for nothing: locks that the runs have come first.
    pub(crate) fn take_up(&mut self, begins: bool) {
        self.taking_up = begins;
        if begins {
            return;
        }
        for Later { run, step, gate, since } in std::mem::take(&mut self.later) {
            let startable = self.runs[run as usize].as_ref().is_some_and(|live| live.run.startable(step));
            if startable && self.claim(run, step, gate, since) {
                self.offer(run, step, gate, since);
            }
        }
        self.settle_leases();
    }

    /// What a circle of waits is, in words.
    fn circle(&self, deadlock: &Deadlock) -> String {
        let mut text = String::from("runs wait for each other's locks in a circle: ");
        for (at, link) in deadlock.cycle.iter().enumerate() {
            let comma = if at > 0 { "; " } else { "" };
            let (who, by) = (self.holder(link.holder), self.holder(link.by));
            let (asset, mode, held) = (&link.asset, link.mode.name(), link.held.name());
            text += &format!("{comma}{who} waits for {asset:?} ({mode}), which {by} has ({held})");
        }
        text + "; take locks in the same order everywhere"
    }

    /// Who has a lease, in words.
    pub(crate) fn holder(&self, holder: Holder) -> String {
        let Some(Some(live)) = self.runs.get(holder.run as usize) else {
            return "a run that has ended".to_owned();
        };
        let run = format!("run {} ({})", live.run.id, live.workflow);
        match holder.step {
            Some(step) if !holder.lock => format!("step {:?} of {run}", live.run.path(step)),
            _ => run,
        }
    }

    /// What a step that waits for leases waits for, in words; none if it does not.
    pub(crate) fn waits_for_leases(&self, index: u32, step: Step) -> Option<String> {
        let live = self.runs.get(index as usize)?.as_ref()?;
        let Has::Waits(lease) = live.leasing.pending.get(&step)?.has else { return None };
        Some(self.in_the_way(lease))
    }

    /// What is in the way of a request, in words.
    pub(crate) fn in_the_way(&self, lease: LeaseId) -> String {
        let mut texts = Vec::new();
        for it in self.leases.obstacles(lease, 3) {
            let seconds = (now() - it.since).max(0) as f64 / 1e6;
            let (who, verb) = (self.holder(it.holder), if it.waits { "comes first for" } else { "has" });
            texts.push(format!(
                "it waits for {:?} ({}): {who} {verb} {:?} ({}), for {seconds:.1} s now",
                it.asset,
                it.mode.name(),
                it.held,
                it.held_in.name()
            ));
        }
        texts.join("; ")
    }
}

/// The name that fills an access of a step, which is its nth.
pub(crate) fn named(run: &Run, values: &Values, step: Step, nth: u32) -> Result<Vec<Segment>, String> {
    let task = run.task(step).ok_or("only tasks access assets")?;
    let it = task.uses.as_ref().and_then(|uses| uses.get(nth as usize)).ok_or("there is no such access")?;
    let assets = &run.program.accesses.assets;
    let written = || {
        let id =
            |block: u32, node: u32| run.program.blocks[block as usize].nodes[node as usize].id.to_string();
        assets.written(it.asset, &id)
    };
    let view = View::of(values, run, step);
    let mut filled = Vec::with_capacity(it.holes.len());
    for bind in &it.holes {
        let mut out = Out::default();
        view.write(bind, &mut out).map_err(|why| format!("the name {:?} of an asset: {why}", written()))?;
        let bytes = out.whole();
        filled.push(match value::item(inner(&bytes), 0) {
            Ok((Item::Str(text), _)) => text.to_owned(),
            Ok((Item::Int(number), _)) => number.to_string(),
            Ok((other, _)) => {
                return Err(format!(
                    "the name {:?} of an asset is filled with {}, and takes texts and whole numbers",
                    written(),
                    other.kind()
                ));
            }
            Err(error) => return Err(error.to_string()),
        });
    }
    named_in(run, step, nth, &filled)
        .map_err(|why| format!("the name {:?} of an asset, filled with {filled:?}: {why}", written()))
}
