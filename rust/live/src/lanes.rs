//! Lanes and the bodies on them: who runs what, who waits for work, and who is told to stop.

use std::sync::Arc;

use ferroflow_engine::lease::LeaseId;
use ferroflow_engine::{Step, Token};
use rustc_hash::{FxHashMap, FxHashSet};

/// How many lanes there are. Each has a queue of ready steps and its own workers.
pub const LANES: usize = 16;
/// Bodies that run in the threads that take them.
pub const THREADS: u8 = 0;
/// Asynchronous bodies, on one event loop.
pub const LOOP: u8 = 1;
/// Bodies in processes of their own; a thread waits for each. The lanes after this one belong to
/// executors of the user's.
pub const CHILDREN: u8 = 2;

/// Tells a body that it no longer counts. It is called under the lock, so it must not wait.
pub type Stopper = Arc<dyn Fn() + Send + Sync>;

/// A body that runs.
struct Flight {
    lane: u8,
    run: u32,
    step: Step,
    stopper: Option<Stopper>,
    /// Of what its step accesses.
    lease: Option<LeaseId>,
}

#[derive(Default)]
struct Lane {
    running: usize,
    /// Bodies that may run at a time, if their number is not that of the workers.
    limit: Option<usize>,
    /// Bodies that wait for runs: others run in their places.
    lent: usize,
    /// Workers that have come.
    workers: u32,
    /// Workers that wait for news.
    idle: usize,
    /// Attempts that were superseded, and that somebody has to tell.
    to_cancel: Vec<Token>,
}

#[derive(Default)]
pub(crate) struct Lanes {
    lanes: [Lane; LANES],
    flights: FxHashMap<Token, Flight>,
    /// Attempts that were superseded while their bodies run.
    stopped: FxHashSet<Token>,
    /// Steps that have a process, which may outlive the attempt for as long as it takes to end it.
    alive: FxHashMap<(u32, Step), Token>,
    /// Steps that are ready again, and must not start before that process has ended.
    held: FxHashSet<(u32, Step)>,
}

impl Lanes {
    /// Bounds the bodies that a lane runs at a time.
    pub(crate) fn limit(&mut self, lane: u8, most: usize) {
        self.lanes[lane as usize].limit = Some(most);
    }

    pub(crate) fn is_full(&self, lane: u8) -> bool {
        let lane = &self.lanes[lane as usize];
        lane.limit.is_some_and(|limit| lane.running >= limit.saturating_add(lane.lent))
    }

    pub(crate) fn lend(&mut self, lane: u8) {
        self.lanes[lane as usize].lent += 1;
    }

    pub(crate) fn take_back(&mut self, lane: u8) {
        let lent = &mut self.lanes[lane as usize].lent;
        *lent = lent.saturating_sub(1);
    }

    /// A worker of a lane comes; returns its number.
    pub(crate) fn join(&mut self, lane: u8) -> u32 {
        let workers = &mut self.lanes[lane as usize].workers;
        *workers += 1;
        *workers - 1
    }

    /// A worker of a lane waits for news, or has got it.
    pub(crate) fn idle(&mut self, lane: u8, waits: bool) {
        let idle = &mut self.lanes[lane as usize].idle;
        *idle = if waits { *idle + 1 } else { *idle - 1 };
    }

    /// How many workers of a lane to wake for the steps that wait there.
    pub(crate) fn wanted(&self, lane: u8, steps: impl FnOnce() -> usize) -> usize {
        let lane = &self.lanes[lane as usize];
        match lane.idle {
            0 => 0,
            idle if lane.to_cancel.is_empty() => steps().min(idle),
            idle => idle,
        }
    }

    /// The attempts of a lane that somebody has to tell; whoever calls this does.
    pub(crate) fn cancelled(&mut self, lane: u8) -> Vec<Token> {
        std::mem::take(&mut self.lanes[lane as usize].to_cancel)
    }

    pub(crate) fn running(&self) -> usize {
        self.flights.len()
    }

    pub(crate) fn begin(&mut self, token: Token, lane: u8, run: u32, step: Step, lease: Option<LeaseId>) {
        self.lanes[lane as usize].running += 1;
        self.flights.insert(token, Flight { lane, run, step, stopper: None, lease });
        if lane == CHILDREN {
            self.alive.insert((run, step), token);
        }
    }

    /// A body has ended; none if it was not known. True if the step was held back for it, and may start; and the
    /// lease of what it accessed.
    pub(crate) fn end(&mut self, token: Token) -> Option<(bool, Option<LeaseId>)> {
        let flight = self.flights.remove(&token)?;
        self.lanes[flight.lane as usize].running -= 1;
        self.stopped.remove(&token);
        let at = (flight.run, flight.step);
        let over = self.alive.get(&at) == Some(&token);
        if over {
            self.alive.remove(&at);
        }
        Some((over && self.held.remove(&at), flight.lease))
    }

    /// The lane of a body that runs, and the lease of what it accesses.
    pub(crate) fn lease(&self, token: Token) -> Option<(u8, Option<LeaseId>)> {
        self.flights.get(&token).map(|flight| (flight.lane, flight.lease))
    }

    /// Holds a step back if its last process may still live; false if it may start.
    pub(crate) fn hold(&mut self, run: u32, step: Step) -> bool {
        let alive = !self.alive.is_empty() && self.alive.contains_key(&(run, step));
        if alive {
            self.held.insert((run, step));
        }
        alive
    }

    /// Whether a step is held back.
    pub(crate) fn is_held(&self, run: u32, step: Step) -> bool {
        self.held.contains(&(run, step))
    }

    /// Tells a body that it no longer counts; false if there is none.
    pub(crate) fn stop(&mut self, token: Token) -> bool {
        let Some(flight) = self.flights.get(&token) else { return false };
        self.stopped.insert(token);
        match &flight.stopper {
            Some(stopper) => stopper(),
            // The threads ask for themselves.
            None if flight.lane == THREADS => {}
            None => self.lanes[flight.lane as usize].to_cancel.push(token),
        }
        true
    }

    /// Tells all bodies.
    pub(crate) fn stop_all(&mut self) {
        let tokens: Vec<Token> = self.flights.keys().copied().collect();
        for token in tokens {
            self.stop(token);
        }
    }

    pub(crate) fn is_stopped(&self, token: Token) -> bool {
        self.stopped.contains(&token)
    }

    /// What to call when the attempt no longer counts: at once, if that is so already.
    pub(crate) fn on_stop(&mut self, token: Token, stopper: Stopper) {
        if self.is_stopped(token) {
            stopper();
        } else if let Some(flight) = self.flights.get_mut(&token) {
            flight.stopper = Some(stopper);
        }
    }
}
