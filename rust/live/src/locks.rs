//! Locks: bodies ask for leases that their runs hold across steps, and wait for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ferroflow_define::access::Mode;
use ferroflow_define::access::name::{Written, parse};
use ferroflow_engine::lease::{Asked, Holder, LeaseId};
use ferroflow_engine::{Command, Micros, Refusal, Token};
use parking_lot::MutexGuard;
use rustc_hash::FxHashMap;

use crate::core::{Core, now};
use crate::engine::Engine;
use crate::lanes::LOOP;
use crate::leasing::Leasing;
use crate::types::Ticket;

/// The leases of a run's locks, by their tokens.
#[derive(Default)]
pub(crate) struct Locks(FxHashMap<Token, LeaseId>);

impl Locks {
    pub(crate) fn all(&self) -> impl Iterator<Item = LeaseId> + '_ {
        self.0.values().copied()
    }
}

/// A lock that a body asks for.
#[derive(Clone)]
struct Wanted {
    ticket: Ticket,
    /// As names are written.
    name: Arc<str>,
    writes: bool,
    expires: Option<Micros>,
}

/// A body that waits for a lock.
pub(crate) struct Call {
    wanted: Wanted,
    answer: Option<Result<Token, Unlocked>>,
}

/// Why a body has not got a lock, or has it no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unlocked {
    #[error("{0}")]
    BadName(String),
    #[error("{0}")]
    Deadlock(String),
    #[error("{name:?} could not be locked in time: {why}")]
    TimedOut { name: Arc<str>, why: String },
    #[error("the run has no lock of {0:?}: it was given back, or has expired")]
    Lost(Arc<str>),
    #[error("the attempt no longer counts")]
    Stopped,
}

impl Engine {
    /// Locks an asset for the run of a body, and waits for that as long as it says; returns the fencing token.
    pub fn hold(
        &self,
        ticket: &Ticket,
        name: &str,
        writes: bool,
        timeout: Option<Duration>,
        expires: Option<Micros>,
    ) -> Result<Token, Unlocked> {
        let segments = parse(name).map_err(Unlocked::BadName)?;
        let name: Arc<str> = Written(&segments).to_string().into();
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let wanted = Wanted { ticket: *ticket, name, writes, expires };
        let mut core = self.core();
        let Some(has) = core.locked(&wanted) else { return Err(Unlocked::Stopped) };
        if let Some(token) = has {
            // The run has it already: its time begins anew.
            let taken = core.record(&wanted, token);
            self.tell(core);
            return taken.map(|()| token);
        }
        let asset = core.leases.asset(&segments);
        let kind = core.leases.kind(if writes { &Mode::Writes } else { &Mode::Reads });
        let holder = Holder { run: ticket.run, step: Some(ticket.step), lock: true };
        let priority = core.urgency(ticket);
        let asked = core.leases.request(holder, &[(asset, kind)], priority, now());
        core.leases.forget(asset);
        let (Asked::Granted(lease) | Asked::Waits(lease)) = asked;
        core.calls.insert(lease, Call { wanted, answer: None });
        if let Asked::Granted(_) = asked {
            core.call_granted(lease, holder);
        }
        core.settle_leases();
        // An asynchronous body does not count while it waits: others run in its place.
        let lent = matches!(core.lanes.lease(ticket.token), Some((LOOP, _)));
        if lent {
            core.lanes.lend(LOOP);
            core.news += 1;
            self.shared.work[usize::from(LOOP)].notify_all();
        }
        let answer = self.wait_for_lock(&mut core, ticket, lease, until);
        if lent {
            core.lanes.take_back(LOOP);
        }
        self.tell(core);
        answer
    }

    fn wait_for_lock(
        &self,
        core: &mut MutexGuard<'_, Core>,
        ticket: &Ticket,
        lease: LeaseId,
        until: Option<Instant>,
    ) -> Result<Token, Unlocked> {
        loop {
            let stopped = core.failed.is_some() || core.closing || core.lanes.is_stopped(ticket.token);
            let call = core.calls.get_mut(&lease);
            if let Some(answer) = call.map_or(Some(Err(Unlocked::Stopped)), |call| call.answer.take()) {
                core.calls.remove(&lease);
                return answer;
            }
            let over = until.is_some_and(|until| until <= Instant::now());
            if over || stopped {
                let why = core.in_the_way(lease);
                let call = core.calls.remove(&lease);
                core.leases.release(lease, now());
                core.settle_leases();
                let name = call.map(|call| call.wanted.name).filter(|_| !stopped);
                return Err(name.map_or(Unlocked::Stopped, |name| Unlocked::TimedOut { name, why }));
            }
            // What came of the request may be news to others.
            let calls = core.calls();
            self.shared.call(&calls);
            match until {
                None => self.shared.locks.wait(core),
                Some(until) => drop(self.shared.locks.wait_until(core, until)),
            }
        }
    }

    /// Gives a lock of the run back.
    pub fn unlock(&self, ticket: &Ticket, name: &str) -> Result<(), Unlocked> {
        let name: Arc<str> = Written(&parse(name).map_err(Unlocked::BadName)?).to_string().into();
        let mut core = self.core();
        if !core.counts(ticket) {
            return Err(Unlocked::Stopped);
        }
        let given = core.handle(ticket.run, Command::Unlock { name: name.clone() });
        self.tell(core);
        given.map_err(|refusal| match refusal {
            Refusal::NotLocked(name) => Unlocked::Lost(name),
            _ => Unlocked::Stopped,
        })
    }
}

impl Core {
    /// Whether the attempt is its step's present one.
    fn counts(&self, ticket: &Ticket) -> bool {
        let live = self.runs.get(ticket.run as usize).and_then(Option::as_ref);
        live.and_then(|live| live.run.attempt(ticket.step)).is_some_and(|it| it.token == ticket.token)
    }

    /// The lock that serves, if the run has it; none at all if the attempt no longer counts.
    fn locked(&self, wanted: &Wanted) -> Option<Option<Token>> {
        if !self.counts(&wanted.ticket) {
            return None;
        }
        let live = self.runs.get(wanted.ticket.run as usize)?.as_ref()?;
        let lock = live.run.lock(&wanted.name).filter(|lock| lock.writes || !wanted.writes);
        Some(lock.map(|lock| lock.token))
    }

    fn urgency(&self, ticket: &Ticket) -> u8 {
        let live = self.runs.get(ticket.run as usize).and_then(Option::as_ref);
        live.map_or(0, |live| live.run.priority_of(ticket.step))
    }

    fn record(&mut self, wanted: &Wanted, token: Token) -> Result<(), Unlocked> {
        let Wanted { ticket, name, writes, expires } = wanted.clone();
        let until = expires.map(|expires| now().saturating_add(expires));
        let held = self.runs.get(ticket.run as usize).and_then(Option::as_ref);
        // It may do more than is asked for now.
        let writes = writes || held.and_then(|live| live.run.lock(&name)).is_some_and(|lock| lock.writes);
        let command = Command::Lock { step: ticket.step, name, writes, token, until };
        self.handle(ticket.run, command).map_err(|_| Unlocked::Stopped)
    }

    /// A call has its lease: it is on record with the run from now on.
    pub(crate) fn call_granted(&mut self, lease: LeaseId, holder: Holder) {
        let wanted = self.calls.get(&lease).map(|call| call.wanted.clone());
        let token = self.leases.token(lease);
        let (Some(wanted), Some(token)) = (wanted, token) else {
            self.leases.release(lease, now());
            return;
        };
        let counts = self.counts(&wanted.ticket);
        let taken = if counts { self.record(&wanted, token) } else { Err(Unlocked::Stopped) };
        match (&taken, self.runs.get_mut(holder.run as usize)) {
            (Ok(()), Some(Some(live))) => drop(live.leasing.locks.0.insert(token, lease)),
            _ => drop(self.leases.release(lease, now())),
        }
        self.answer_call(lease, taken.map(|()| token));
    }

    pub(crate) fn call_refused(&mut self, lease: LeaseId, message: String) {
        self.answer_call(lease, Err(Unlocked::Deadlock(message)));
    }

    fn answer_call(&mut self, lease: LeaseId, answer: Result<Token, Unlocked>) {
        if let Some(call) = self.calls.get_mut(&lease) {
            call.answer = Some(answer);
            self.answered = true;
        }
    }

    /// An attempt no longer counts: nothing that its body waits for is given to it.
    pub(crate) fn stop_calls(&mut self, token: Token) {
        if self.calls.is_empty() {
            return;
        }
        let own = |(lease, call): (&LeaseId, &Call)| (call.wanted.ticket.token == token).then_some(*lease);
        let leases: Vec<LeaseId> = self.calls.iter().filter_map(own).collect();
        for lease in leases {
            if self.leases.is_waiting(lease) {
                self.leases.release(lease, now());
                self.answer_call(lease, Err(Unlocked::Stopped));
            }
        }
    }

    /// What bodies wait for.
    pub(crate) fn waiting_calls(&self) -> Vec<LeaseId> {
        self.calls.keys().copied().filter(|&lease| self.leases.is_waiting(lease)).collect()
    }

    /// The run has these locks no more.
    pub(crate) fn unlocked(&mut self, index: u32, tokens: Vec<Token>) {
        for token in tokens {
            let Some(Some(live)) = self.runs.get_mut(index as usize) else { return };
            if let Some(lease) = live.leasing.locks.0.remove(&token) {
                self.leases.release(lease, now());
            }
        }
    }

    /// Gives a run that is taken up the locks that it has on record.
    pub(crate) fn restore_locks(&mut self, index: u32) {
        let Some(Some(live)) = self.runs.get_mut(index as usize) else { return };
        let Leasing { locks, .. } = &mut live.leasing;
        for (name, lock) in live.run.locks() {
            let Ok(segments) = parse(name) else { continue };
            let asset = self.leases.asset(&segments);
            let kind = self.leases.kind(if lock.writes { &Mode::Writes } else { &Mode::Reads });
            let holder = Holder { run: index, step: Some(lock.step), lock: true };
            // It expires by its run, which records that.
            let lease = self.leases.restore(holder, &[(asset, kind)], lock.token, None, lock.since);
            self.leases.forget(asset);
            locks.0.insert(lock.token, lease);
        }
    }
}
