//! Attempts: which step a worker takes next, and what becomes of its body.

use std::time::Instant;

use ferroflow_define::GRACE;
use ferroflow_engine::event::{DEADLOCK, Used};
use ferroflow_engine::{Command, Failure, Micros};
use ferroflow_journal::Bytes;

use crate::core::{Calls, Core, now};
use crate::evaluate::bind_arguments;
use crate::out::Out;
use crate::taken::Taken;
use crate::types::{Job, Outcome, Ticket};
use crate::values::{self, View};
use crate::worker::Ran;

impl Core {
    /// Takes the next attempt of a lane, preferring steps that need not wait for a commit.
    pub(crate) fn next(&mut self, lane: u8, place: u32) -> Option<Job> {
        loop {
            if self.stopping || self.failed.is_some() {
                return None;
            }
            if self.lanes.is_full(lane) {
                return None;
            }
            let runs = &self.runs;
            let live = |entry: &ferroflow_engine::schedule::Entry| {
                runs[entry.run as usize].as_ref().is_some_and(|live| {
                    live.run.startable(entry.step) && live.leasing.may_start(&live.run, entry.step)
                })
            };
            let durable = self.durable;
            let (entry, class) = match self.schedule.take_at(lane, Some(place), durable, false, live) {
                Some(found) => found,
                None => self.schedule.take_at(lane, Some(place), durable, true, live)?,
            };
            let Some(token) = self.tokens.next() else {
                self.schedule.release(entry.run, class);
                self.failed = Some("no more fencing tokens: open the engine again".to_owned());
                return None;
            };
            let at = now();
            let ticket = Ticket {
                run: entry.run,
                step: entry.step,
                token,
                class,
                queued: at - entry.since,
                begun: Instant::now(),
                share: false,
            };
            let wary =
                self.runs[entry.run as usize].as_ref().is_some_and(|live| live.run.is_wary(entry.step));
            if self.handle_at(entry.run, Command::Lease { step: entry.step, token }, at).is_err() {
                self.schedule.release(entry.run, class);
                continue;
            }
            let has = self.started(entry.run, entry.step);
            let lease = has.as_ref().and_then(|has| has.as_ref().ok()).copied();
            self.lanes.begin(token, lane, entry.run, entry.step, lease);
            let gate = if wary { self.batch } else { entry.gate };
            let live = self.runs[entry.run as usize].as_mut().expect("it was live above");
            live.bodies += 1;
            let live = &*live;
            let task = live.run.task(entry.step).expect("only tasks are offered");
            let ticket = Ticket { share: task.options.share, ..ticket };
            let view = View::of(&live.values, &live.run, entry.step);
            let mut arguments = Out::with_capacity(64);
            let bound = bind_arguments(&view, &task.args, &task.kwargs, &mut arguments);
            let (arguments, parts) = arguments.apart();
            let job = Job {
                ticket,
                run: live.run.id,
                task: live.run.program.tasks[task.task as usize].clone(),
                arguments,
                parts,
                attempt: live.run.attempts_of(entry.step),
                limits: task.options.limits,
                grace: task.options.grace.unwrap_or(GRACE),
                gate,
            };
            let failed = match (has, bound) {
                (Some(Err(error)), _) => {
                    // Who waited in a circle may try again, when the others have gone on.
                    let retriable = &*error.code == DEADLOCK;
                    Some(Outcome::Failed { error, retriable })
                }
                (_, Err(message)) => {
                    let error = Failure::new("EXPRESSION_FAILED", message);
                    Some(Outcome::Failed { error, retriable: false })
                }
                _ => None,
            };
            match failed {
                None => return Some(job),
                Some(outcome) => {
                    self.finish(&ticket, Ran { outcome, taken: None, ended: ticket.begun });
                }
            }
        }
    }

    /// Records the outcome of an attempt; of a superseded one only what it used.
    pub(crate) fn finish(&mut self, ticket: &Ticket, ran: Ran) {
        let Ran { outcome, taken, ended } = ran;
        if matches!(outcome, Outcome::Later) {
            return;
        }
        let Some((release, lease)) = self.lanes.end(ticket.token) else { return };
        let at = now();
        if let Some(lease) = lease {
            self.leases.release(lease, at);
        }
        self.schedule.release(ticket.run, ticket.class);
        self.news += 1;
        let Ticket { run: index, step, token, queued, begun, .. } = *ticket;
        let Taken { cpu, memory, read, written } = taken.unwrap_or_default();
        let wall = ended.saturating_duration_since(begun).as_micros() as Micros;
        let used = Used { wall, queued, cpu, memory, read, written };
        let mut counts = false;
        if let Some(Some(live)) = self.runs.get_mut(index as usize) {
            live.bodies -= 1;
            counts = live.run.attempt(step).is_some_and(|attempt| attempt.token == token);
        }
        self.refused += u64::from(!counts);
        let command = match outcome {
            Outcome::Done(bytes) if counts => self.completion(ticket, bytes, used),
            // What is given up for the engine's sake runs again.
            Outcome::Failed { error, retriable } if counts && !self.abandoned => {
                Command::Fail { step, token, error, retriable, used: Some(used) }
            }
            _ => Command::Used { step, token, used },
        };
        // None of these is refused by a run that can be carried on.
        let _ = self.handle_at(index, command, at);
        if release {
            // It became ready while its process was being ended.
            let _ = self.change(index, |live, _| {
                live.run.out.offers.extend(live.run.startable(step).then_some(step));
                Ok(())
            });
        }
    }

    fn completion(&mut self, ticket: &Ticket, bytes: Bytes, used: Used) -> Command {
        let Ticket { run: index, step, token, share, .. } = *ticket;
        let fail = |code: &str, message: String| Command::Fail {
            step,
            token,
            error: Failure::new(code, message),
            retriable: false,
            used: Some(used),
        };
        let inner = share.then(|| bytes.slice_of(values::inner(&bytes)));
        let result = inner.as_ref().unwrap_or(&bytes);
        if result.len() > self.settings.max_value {
            let message = format!(
                "the result has {} bytes and {} are allowed; store it in a file and return its path",
                result.len(),
                self.settings.max_value
            );
            return fail("RESULT_TOO_LARGE", message);
        }
        let mut found = Vec::new();
        if let Some(Some(live)) = self.runs.get_mut(index as usize)
            && let Some(task) = live.run.task(step)
        {
            for (name, bind) in &task.set {
                let mut out = Out::default();
                let view = View::of(&live.values, &live.run, step).with_result(result);
                if let Err(message) = view.write(bind, &mut out) {
                    return fail("EXPRESSION_FAILED", message);
                }
                found.push((name.clone(), out.whole()));
            }
        }
        let set = found.into_iter().map(|(name, out)| (name, self.value(index, out))).collect();
        Command::Complete { step, token, value: self.value(index, bytes), set, used: Some(used) }
    }

    /// Tells all bodies to stop, as the engine won't wait for them.
    pub(crate) fn abandon(&mut self) {
        self.abandoned = true;
        self.lanes.stop_all();
    }

    /// Who has something to do now and waits to be told; each is told once.
    pub(crate) fn calls(&mut self) -> Calls {
        let wanted = |lane: usize| self.lanes.wanted(lane as u8, || self.schedule.open_to(lane as u8));
        Calls {
            workers: std::array::from_fn(wanted),
            timer: self.timer_moved(),
            rank: !self.ranking.waiting.is_empty(),
            locks: std::mem::take(&mut self.answered),
        }
    }

    /// Whether something is due before the timer thread looks again, and nobody told it yet.
    fn timer_moved(&mut self) -> bool {
        if self.admission.more {
            return true;
        }
        let timers = self.timers.first().map(|&(at, _)| at).into_iter();
        let next = timers.chain(self.ranking.due).chain(self.schedule.due()).chain(self.leases.due()).min();
        let moved = next.is_some_and(|next| self.timer_set.is_none_or(|set| next < set));
        if moved {
            self.timer_set = next;
        }
        moved
    }
}
