//! Workers: threads that hand in one outcome and take the next step, in one turn of the lock.

use std::time::Instant;

use ferroflow_engine::Micros;
use parking_lot::MutexGuard;

use crate::core::Core;
use crate::engine::Engine;
use crate::lanes::{LOOP, THREADS};
use crate::taken::Taken;
use crate::types::{Job, Outcome, Ticket};

/// What became of a body.
pub struct Ran {
    pub outcome: Outcome,
    /// What it has taken, where that is known.
    pub taken: Option<Taken>,
    pub ended: Instant,
}

/// Runs bodies. The engine calls it without holding its lock.
pub trait Executor {
    fn run(&mut self, job: Job) -> Ran;
    /// Waits by calling `wait`; whatever the thread holds on to is let go meanwhile.
    fn idle(&mut self, wait: &mut (dyn FnMut() + Send));
    /// Attempts that were superseded while their asynchronous bodies run.
    fn cancel(&mut self, tokens: &[u64]);
}

impl Engine {
    /// One thread of the first lane leaves `work` as soon as it has no body to run.
    pub fn retire(&self) {
        let mut core = self.core();
        core.surplus += 1;
        core.news += 1;
        drop(core);
        self.shared.work[0].notify_all();
    }

    /// An asynchronous body waits for a run: it doesn't count while it does.
    pub fn lend(&self) {
        let mut core = self.core();
        core.lanes.lend(LOOP);
        core.news += 1;
        drop(core);
        self.shared.work[usize::from(LOOP)].notify_all();
    }

    /// It goes on.
    pub fn take_back(&self) {
        let mut core = self.core();
        core.lanes.take_back(LOOP);
    }

    /// Runs steps of a lane until the engine stops.
    pub fn work(&self, lane: u8, executor: &mut dyn Executor) {
        let mut done: Option<(Ticket, Ran)> = None;
        let place = self.core().lanes.join(lane);
        loop {
            let mut core = self.core();
            let news = core.news;
            if let Some((ticket, ran)) = done.take() {
                core.here = Some((lane, place));
                core.finish(&ticket, ran);
                core.here = None;
            }
            if lane == THREADS && core.surplus > 0 {
                core.surplus -= 1;
                drop(core);
                // What this one handed in, and was woken for, is for the others now.
                self.shared.wake();
                return;
            }
            let job = core.next(lane, place);
            let cancels = if lane == THREADS { Vec::new() } else { core.lanes.cancelled(lane) };
            let calls = (core.news > news || job.is_some()).then(|| core.calls());
            let gathered = core.gathered();
            let (seen, over) = (core.news, core.stopping || core.failed.is_some());
            let gated = job.as_ref().is_some_and(|job| job.gate > core.durable);
            // Who has to wait commits meanwhile; who goes on leaves it to the writing thread.
            let write = gathered && !gated && job.is_some() && std::mem::take(&mut core.writer_idle);
            drop(core);
            if write {
                self.shared.write.notify_one();
            }
            if let Some(calls) = calls {
                self.shared.call(&calls);
            }
            if !cancels.is_empty() {
                executor.cancel(&cancels);
            }
            let Some(mut job) = job else {
                if over {
                    return;
                }
                let shared = &self.shared;
                executor.idle(&mut || {
                    let mut core = shared.core.lock();
                    core.lanes.idle(lane, true);
                    let work = &shared.work[lane as usize];
                    let nothing = |core: &Core| core.news == seen && !core.stopping && core.failed.is_none();
                    // Who waits for the end of a run gets it at once; else more may gather.
                    if gathered && nothing(&core) && core.is_awaited() {
                        MutexGuard::unlocked(&mut core, || shared.commit());
                    } else if gathered && std::mem::take(&mut core.writer_idle) {
                        shared.write.notify_one();
                    }
                    while nothing(&core) {
                        work.wait(&mut core);
                    }
                    core.lanes.idle(lane, false);
                });
                continue;
            };
            if gated {
                let waits = Instant::now();
                let mut go = false;
                let shared = &self.shared;
                executor.idle(&mut || go = shared.until_durable(job.gate));
                if !go {
                    return;
                }
                job.ticket.begun = Instant::now();
                job.ticket.queued += (job.ticket.begun - waits).as_micros() as Micros;
            }
            let ticket = job.ticket;
            done = Some((ticket, executor.run(job)));
        }
    }
}
