//! The only way state changes: what each event does. What follows from it is drawn in `follow`.

use ferroflow_define::OnError;
use ferroflow_define::algebra::compile::Kind;

use super::{Attempt, End, Lock, Run, RunState, Spawned, StepState, Stop, WARY};
use crate::event::{CANCELLED, Event, Failure, TIMEOUT, WORKER_DIED, What};
use crate::ids::{Micros, Step, Token};
use crate::schedule::Terms;

/// An event that can't follow from the state: the log is not one that this kernel wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {sequence} is impossible here: {message}")]
pub struct Illegal {
    pub sequence: u64,
    pub message: String,
}

impl Run {
    /// Applies the next event. On an error the run must not be used further.
    pub fn apply(&mut self, event: &Event) -> Result<(), Illegal> {
        self.sequence += 1;
        self.effect(&event.what, event.at)?;
        self.head.last = event.at;
        while let Some(work) = self.work.pop_front() {
            self.follow(work, event.at)?;
        }
        Ok(())
    }

    pub(super) fn illegal(&self, message: impl Into<String>) -> Illegal {
        Illegal { sequence: self.sequence, message: message.into() }
    }

    fn effect(&mut self, what: &What, at: Micros) -> Result<(), Illegal> {
        if self.sequence == 1 && !matches!(what, What::RunCreated { .. }) {
            return Err(self.illegal("a run begins with its creation"));
        }
        if self.state.is_terminal() && !matches!(what, What::StepUsed { .. }) {
            return Err(self.illegal(format!("the run is {} already", self.state)));
        }
        match what {
            What::RunCreated {
                digest, flags, seed, priority, timeout, correlation, step_timeout, ..
            } => {
                if self.sequence != 1 {
                    return Err(self.illegal("the run exists already"));
                }
                self.head.created = at;
                self.head.digest = *digest;
                self.head.flags = *flags;
                self.head.seed = *seed;
                self.head.priority = *priority;
                self.head.timeout = *timeout;
                self.head.step_timeout = *step_timeout;
                self.head.correlation = correlation.clone();
            }
            What::RunStarted { node } => {
                self.turn(what)?;
                self.head.started = Some(at);
                self.head.node = node.clone();
                self.head.deadline = self.head.timeout.map(|timeout| at.saturating_add(timeout));
                let proceed = self.program.on_error == OnError::Continue;
                self.open(0, None, 1, 0, proceed, None, None)?;
            }
            What::RunPaused { reason } => {
                self.turn(what)?;
                self.head.reason = Some(reason.clone());
                self.head.paused = Some(at);
            }
            What::RunResumed => {
                self.turn(what)?;
                self.head.reason = None;
                self.head.paused = None;
                self.offer_again();
            }
            What::RunRecovered { node } => {
                self.head.node = node.clone();
                self.recovered()?;
            }
            What::RunCancelled { reason } => {
                self.head.reason = Some(reason.clone());
                self.finish(what, at)?;
            }
            What::RunCompleted { degraded } => {
                if self.end != Some(End::Completed) {
                    return Err(self.illegal("steps are left to do"));
                }
                self.head.degraded = *degraded;
                self.finish(what, at)?;
            }
            What::RunFailed { step, error } => {
                self.head.error = Some((*step, error.clone()));
                self.finish(what, at)?;
            }
            What::RunTimedOut { error } => {
                self.head.error = Some((None, error.clone()));
                self.finish(what, at)?;
            }
            What::StepStarted { step, attempt, token } => self.started(*step, *attempt, *token, at)?,
            What::StepProgress { step, token, .. } | What::StepBeat { step, token } => {
                self.seen(*step, *token, at)?;
            }
            What::StepCompleted { step, token, .. } => {
                self.holds(*step, *token)?;
                self.attempts.remove(step);
                self.processes.remove(token);
                self.complete(*step)?;
            }
            What::StepRetrying { step, token, error, due, .. } => {
                let until = self.until(*step, self.holds(*step, *token)?);
                self.attempts.remove(step);
                // A body that ran out of time may not have ended yet.
                if !error.is_timeout() {
                    self.processes.remove(token);
                }
                self.out.stops.push(Stop { step: *step, token: *token, until });
                *self.failures.entry(*step).or_default() += 1;
                match &*error.code {
                    WORKER_DIED => *self.deaths.entry(*step).or_default() += 1,
                    _ => drop(self.deaths.remove(step)),
                }
                self.set(*step, StepState::Waiting)?;
                self.timer(*step, *due);
            }
            What::StepFailed { step, token, error, .. } => {
                // A step whose bindings could not be evaluated never had an attempt.
                if *token != 0 {
                    self.holds(*step, *token)?;
                }
                self.attempts.remove(step);
                self.processes.remove(token);
                self.asking.remove(step);
                // A body that gave up by itself.
                let state = if &*error.code == CANCELLED { StepState::Cancelled } else { StepState::Failed };
                self.fail(*step, *step, error, state)?;
            }
            What::StepTimedOut { step, token, error, .. } => {
                let until = self.until(*step, self.holds(*step, *token)?);
                self.attempts.remove(step);
                self.out.stops.push(Stop { step: *step, token: *token, until });
                self.fail(*step, *step, error, StepState::TimedOut)?;
            }
            What::TimerFired { step } => self.fired(*step)?,
            What::Slept { step, until } => {
                self.answered(*step)?;
                self.set(*step, StepState::Waiting)?;
                self.timer(*step, *until);
            }
            What::Chosen { step, branch } => {
                self.answered(*step)?;
                let Kind::Choice { branches, otherwise } = self.node(*step).kind.clone() else {
                    return Err(self.illegal("not a choice"));
                };
                let block = match branch {
                    Some(at) => {
                        Some(branches.get(*at as usize).ok_or_else(|| self.illegal("no such branch"))?.1)
                    }
                    None => otherwise,
                };
                self.set(*step, StepState::Running)?;
                match block {
                    Some(block) => self.inside(*step, block, 1, branch.unwrap_or(u32::MAX))?,
                    None => self.complete(*step)?,
                }
            }
            What::Looped { step, again, .. } => {
                self.answered(*step)?;
                let Kind::Loop { body, .. } = self.node(*step).kind else {
                    return Err(self.illegal("not a loop"));
                };
                let iteration = self.owned.get(step).map_or(0, Vec::len) as u32;
                if self.steps.state[*step as usize] == StepState::Ready {
                    self.set(*step, StepState::Running)?;
                }
                if *again {
                    self.inside(*step, body, 1, iteration)?;
                } else {
                    self.complete(*step)?;
                }
            }
            What::Expanded { step, count, .. } => {
                self.answered(*step)?;
                let Kind::Each { body, .. } = self.node(*step).kind else {
                    return Err(self.illegal("not an each"));
                };
                self.set(*step, StepState::Running)?;
                self.inside(*step, body, *count, 0)?;
            }
            What::Entered { step, .. } => {
                self.answered(*step)?;
                let Kind::Scope { body, .. } = self.node(*step).kind else {
                    return Err(self.illegal("not a sub-workflow"));
                };
                self.set(*step, StepState::Running)?;
                self.inside(*step, body, 1, 0)?;
            }
            What::Computed { step, .. } => {
                self.answered(*step)?;
                self.complete(*step)?;
            }
            What::SignalReceived { name, .. } => {
                self.mailbox.entry(name.clone()).or_default().push_back(self.signals);
                self.signals += 1;
            }
            What::SignalTaken { step, signal } => {
                let Kind::Signal(name) = self.checked(*step)?.clone() else {
                    return Err(self.illegal("not a wait for a signal"));
                };
                let taken = self.mailbox.get_mut(&name).and_then(|mail| mail.pop_front());
                let waiter = self.waiting.get_mut(&name).and_then(|steps| steps.pop_front());
                if taken != Some(*signal) || waiter != Some(*step) {
                    return Err(self.illegal("signals are taken in order"));
                }
                self.complete(*step)?;
            }
            What::VariableSet { .. } => {}
            What::RunTerms { tenant, tags, weight, deadline, limit } => {
                self.unstarted()?;
                self.head.terms = Terms {
                    tenant: tenant.clone(),
                    tags: tags.clone(),
                    weight: *weight,
                    deadline: *deadline,
                    limit: *limit,
                };
            }
            What::RunPlanned { nodes } => {
                self.unstarted()?;
                let planned = nodes.iter().map(|&(block, node, rank, place)| ((block, node), (rank, place)));
                self.plan = planned.collect();
            }
            What::StepsRanked { ranks } => {
                for &(step, rank) in ranks {
                    self.checked(step)?;
                    self.ranks.insert(step, rank);
                }
            }
            What::StepUsed { step, token, .. } => {
                self.checked(*step)?;
                self.processes.remove(token);
            }
            What::StepSpawned { step, token, process } => {
                self.holds(*step, *token)?;
                let recoveries = self.head.recoveries;
                self.processes.insert(*token, Spawned { step: *step, process: *process, recoveries });
            }
            What::LockTaken { name, writes, token, step, until } => {
                self.checked(*step)?;
                let lock = Lock { writes: *writes, token: *token, step: *step, since: at, until: *until };
                let before = self.locks.insert(name.clone(), lock);
                self.out.unlocked.extend(before.map(|lock| lock.token).filter(|before| before != token));
            }
            What::LockReleased { name, token, .. } => {
                let held = self.locks.get(name).is_some_and(|lock| lock.token == *token);
                if !held {
                    return Err(self.illegal(format!("the run has no lock {token} of {name:?}")));
                }
                self.locks.remove(name);
                self.out.unlocked.push(*token);
            }
        }
        Ok(())
    }

    fn turn(&mut self, what: &What) -> Result<(), Illegal> {
        let to = what.leads_to().unwrap_or(self.state);
        if !self.state.may_become(to) {
            return Err(self.illegal(format!("a run can't go from {} to {to}", self.state)));
        }
        self.state = to;
        Ok(())
    }

    fn unstarted(&self) -> Result<(), Illegal> {
        match self.state {
            RunState::Created => Ok(()),
            state => Err(self.illegal(format!("the run is {state} already"))),
        }
    }

    fn checked(&self, step: Step) -> Result<&Kind, Illegal> {
        if step >= self.len() {
            return Err(self.illegal(format!("there is no step {step}")));
        }
        Ok(&self.node(step).kind)
    }

    pub(super) fn set(&mut self, step: Step, to: StepState) -> Result<(), Illegal> {
        let Some(&from) = self.steps.state.get(step as usize) else {
            return Err(self.illegal(format!("there is no step {step}")));
        };
        if !from.may_become(to) {
            let path = self.path(step);
            return Err(self.illegal(format!("step {path} can't go from {from} to {to}")));
        }
        self.steps.state[step as usize] = to;
        self.steps.count[from as usize] -= 1;
        self.steps.count[to as usize] += 1;
        if to.is_terminal() && !self.deaths.is_empty() {
            self.deaths.remove(&step);
        }
        if let Some(moves) = &mut self.out.moves {
            moves.push((step, to));
        }
        Ok(())
    }

    /// Checks that the token is that of the step's present attempt.
    fn holds(&self, step: Step, token: Token) -> Result<&Attempt, Illegal> {
        match self.attempts.get(&step) {
            Some(attempt) if attempt.token == token => Ok(attempt),
            _ => Err(self.illegal(format!("token {token} is not that of step {step}'s attempt"))),
        }
    }

    fn answered(&mut self, step: Step) -> Result<(), Illegal> {
        if self.asking.remove(&step) {
            Ok(())
        } else {
            Err(self.illegal(format!("step {step} asked nothing")))
        }
    }

    pub(super) fn ask(&mut self, step: Step) {
        self.asking.insert(step);
        self.out.asks.push(step);
    }

    pub(super) fn timer(&mut self, step: Step, at: Micros) {
        self.untimed(step);
        self.timers.insert((at, step));
        self.due.insert(step, at);
    }

    pub(super) fn untimed(&mut self, step: Step) {
        if let Some(at) = self.due.remove(&step) {
            self.timers.remove(&(at, step));
        }
    }

    fn started(&mut self, step: Step, attempt: u32, token: Token, at: Micros) -> Result<(), Illegal> {
        let Kind::Task(_) = self.checked(step)? else {
            return Err(self.illegal("only a task's step is started"));
        };
        if !self.startable(step) {
            return Err(self.illegal(format!("step {} is not one to start now", self.path(step))));
        }
        let timeout = self.step_timeout(step);
        self.set(step, StepState::Running)?;
        self.steps.attempt[step as usize] = u16::try_from(attempt).unwrap_or(u16::MAX);
        self.steps.flags[step as usize] &= !WARY;
        if !self.ranks.is_empty() {
            self.ranks.remove(&step);
        }
        // What earlier engines left of it was ended when the run was taken up.
        if !self.processes.is_empty() {
            let recoveries = self.head.recoveries;
            self.processes.retain(|_, other| other.step != step || other.recoveries == recoveries);
        }
        let spent = self.spent.remove(&step).unwrap_or(0);
        let deadline = timeout.map(|timeout| at.saturating_add((timeout - spent).max(0)));
        self.watch(step, Attempt { token, started: at, deadline, seen: at });
        Ok(())
    }

    /// Keeps an attempt, with a timer for the end of its time or the next sign of life, whichever comes first.
    fn watch(&mut self, step: Step, attempt: Attempt) {
        if let Some(at) = self.until(step, &attempt) {
            self.timer(step, at);
        }
        self.attempts.insert(step, attempt);
    }

    /// An attempt has shown a sign of life.
    fn seen(&mut self, step: Step, token: Token, at: Micros) -> Result<(), Illegal> {
        let attempt = Attempt { seen: at, ..*self.holds(step, token)? };
        self.watch(step, attempt);
        Ok(())
    }

    /// Attempts in flight are superseded; what was ready or running may have been cut off.
    fn recovered(&mut self) -> Result<(), Illegal> {
        self.head.recoveries += 1;
        let mut cut: Vec<(Step, Attempt)> = self.attempts.drain().collect();
        cut.sort_by_key(|&(step, _)| step);
        for (step, attempt) in cut {
            self.spent.insert(step, (self.head.last - attempt.started).max(0));
            self.untimed(step);
            self.set(step, StepState::Ready)?;
        }
        for step in 0..self.steps.state.len() {
            if self.steps.state[step] == StepState::Ready {
                self.steps.flags[step] |= WARY;
            }
        }
        self.out.stops.clear();
        self.offer_again();
        Ok(())
    }

    fn finish(&mut self, what: &What, at: Micros) -> Result<(), Illegal> {
        self.turn(what)?;
        self.head.ended = Some(at);
        self.end = None;
        if !self.frames.is_empty() {
            self.cancel(0)?;
        }
        let locks = std::mem::take(&mut self.locks);
        self.out.unlocked.extend(locks.into_values().map(|lock| lock.token));
        self.work.clear();
        self.timers.clear();
        self.due.clear();
        self.asking.clear();
        Ok(())
    }

    fn fired(&mut self, step: Step) -> Result<(), Illegal> {
        let kind = self.checked(step)?;
        let timeout = match kind {
            Kind::Timeout { micros, .. } => Some(*micros),
            _ => None,
        };
        let sleeping = matches!(kind, Kind::Sleep(_));
        if !self.due.contains_key(&step) {
            return Err(self.illegal(format!("step {step} has no timer")));
        }
        self.untimed(step);
        if let Some(micros) = timeout {
            let error = Failure::new(
                TIMEOUT,
                format!("{} did not end within {} s", self.path(step), micros as f64 / 1e6),
            );
            for frame in self.owned.get(&step).cloned().unwrap_or_default() {
                self.cancel(frame)?;
            }
            self.fail(step, step, &error, StepState::TimedOut)
        } else if sleeping {
            self.complete(step)
        } else {
            self.set(step, StepState::Ready)?;
            self.out.offers.push(step);
            Ok(())
        }
    }
}
