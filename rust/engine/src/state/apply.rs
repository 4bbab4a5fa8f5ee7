//! The only way state changes. What follows from an event (joins, skips, cancelled siblings,
//! failing blocks) is worked off a queue: no recursion, no record.

use std::sync::Arc;

use ferroflow_define::OnError;
use ferroflow_define::algebra::compile::Kind;

use super::{Attempt, End, Frame, MISSING, Run, StepState, WARY};
use crate::event::{CANCELLED, Event, Failure, TIMEOUT, What};
use crate::ids::{Micros, Step, Token};

/// A consequence still to be drawn.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// All dependencies of the step have ended.
    Begin(Step),
    /// The step has reached a terminal state.
    Ended(Step),
    /// The step is to fail with this error, which the other step had first.
    Fail(Step, Step, Failure),
    FrameDone(u32),
}

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

    fn illegal(&self, message: impl Into<String>) -> Illegal {
        Illegal { sequence: self.sequence, message: message.into() }
    }

    fn effect(&mut self, what: &What, at: Micros) -> Result<(), Illegal> {
        if self.sequence == 1 && !matches!(what, What::RunCreated { .. }) {
            return Err(self.illegal("a run begins with its creation"));
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
            What::StepProgress { step, token, .. } => self.holds(*step, *token)?,
            What::StepCompleted { step, token, .. } => {
                self.holds(*step, *token)?;
                self.attempts.remove(step);
                self.complete(*step)?;
            }
            What::StepRetrying { step, token, due, .. } => {
                self.holds(*step, *token)?;
                self.attempts.remove(step);
                self.out.stops.push((*step, *token));
                *self.failures.entry(*step).or_default() += 1;
                self.set(*step, StepState::Waiting)?;
                self.timer(*step, *due);
            }
            What::StepFailed { step, token, error } => {
                // A step whose bindings could not be evaluated never had an attempt.
                if *token != 0 {
                    self.holds(*step, *token)?;
                }
                self.attempts.remove(step);
                self.asking.remove(step);
                // A body that gave up by itself.
                let state = if &*error.code == CANCELLED { StepState::Cancelled } else { StepState::Failed };
                self.fail(*step, *step, error, state)?;
            }
            What::StepTimedOut { step, token, error } => {
                self.holds(*step, *token)?;
                self.attempts.remove(step);
                self.out.stops.push((*step, *token));
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

    fn checked(&self, step: Step) -> Result<&Kind, Illegal> {
        if step >= self.len() {
            return Err(self.illegal(format!("there is no step {step}")));
        }
        Ok(&self.node(step).kind)
    }

    fn set(&mut self, step: Step, to: StepState) -> Result<(), Illegal> {
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
        if let Some(moves) = &mut self.out.moves {
            moves.push((step, to));
        }
        Ok(())
    }

    /// Checks that the token is that of the step's present attempt.
    fn holds(&self, step: Step, token: Token) -> Result<(), Illegal> {
        match self.attempts.get(&step) {
            Some(attempt) if attempt.token == token => Ok(()),
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

    fn ask(&mut self, step: Step) {
        self.asking.insert(step);
        self.out.asks.push(step);
    }

    fn timer(&mut self, step: Step, at: Micros) {
        self.untimed(step);
        self.timers.insert((at, step));
        self.due.insert(step, at);
    }

    fn untimed(&mut self, step: Step) {
        if let Some(at) = self.due.remove(&step) {
            self.timers.remove(&(at, step));
        }
    }

    fn started(&mut self, step: Step, attempt: u32, token: Token, at: Micros) -> Result<(), Illegal> {
        let Kind::Task(_) = self.checked(step)? else {
            return Err(self.illegal("only a task's step is started"));
        };
        let timeout = self.step_timeout(step);
        self.set(step, StepState::Running)?;
        self.steps.attempt[step as usize] = u16::try_from(attempt).unwrap_or(u16::MAX);
        self.steps.flags[step as usize] &= !WARY;
        let spent = self.spent.remove(&step).unwrap_or(0);
        let deadline = timeout.map(|timeout| at.saturating_add((timeout - spent).max(0)));
        self.attempts.insert(step, Attempt { token, started: at, deadline });
        if let Some(deadline) = deadline {
            self.timer(step, deadline);
        }
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

    /// Opens a frame inside a composite, under that composite's policy.
    fn inside(&mut self, step: Step, block: u32, width: u32, index: u32) -> Result<(), Illegal> {
        let outer = self.frames[self.steps.frame[step as usize] as usize].proceed;
        let (proceed, limit) = match self.node(step).kind {
            Kind::Each { on_error, limit, .. } => (outer || on_error == OnError::Continue, limit),
            _ => (outer, None),
        };
        self.open(block, Some(step), width, index, proceed, limit, None)
    }

    #[allow(clippy::too_many_arguments)]
    fn open(
        &mut self,
        block: u32,
        owner: Option<Step>,
        width: u32,
        index: u32,
        proceed: bool,
        limit: Option<u32>,
        handles: Option<(Step, Failure)>,
    ) -> Result<(), Illegal> {
        let program = Arc::clone(&self.program);
        let code = &program.blocks[block as usize];
        let nodes = code.nodes.len();
        let total = (width as u64) * nodes as u64;
        if total + self.len() as u64 > u64::from(super::super::decide::MAX_STEPS) {
            return Err(self.illegal("more steps than a run may have"));
        }
        let (number, base) = (self.frames.len() as u32, self.len());
        let steps = &mut self.steps;
        let grown = base as usize + total as usize;
        steps.state.resize(grown, StepState::Pending);
        steps.flags.resize(grown, 0);
        steps.attempt.resize(grown, 0);
        steps.frame.resize(grown, number);
        for _ in 0..width {
            steps.pending.extend_from_slice(&code.indegree);
        }
        steps.count[StepState::Pending as usize] += total;
        let begun = limit.map_or(width, |limit| limit.max(1).min(width));
        self.frames.push(Frame {
            block,
            owner,
            base,
            width,
            index,
            left: total as u32,
            copies: if begun < width { vec![nodes as u32; width as usize] } else { Vec::new() },
            next: begun,
            ended: false,
            proceed,
            error: None,
            handles,
        });
        if let Some(owner) = owner {
            self.owned.entry(owner).or_default().push(number);
        }
        if total == 0 {
            self.work.push_back(Work::FrameDone(number));
        }
        for copy in 0..begun {
            self.begin(number, copy);
        }
        Ok(())
    }

    fn begin(&mut self, frame: u32, copy: u32) {
        let program = Arc::clone(&self.program);
        let Frame { block, base, .. } = self.frames[frame as usize];
        let indegree = &program.blocks[block as usize].indegree;
        let first = base + copy * indegree.len() as u32;
        for (node, &degree) in indegree.iter().enumerate() {
            if degree == 0 {
                self.work.push_back(Work::Begin(first + node as u32));
            }
        }
    }

    fn follow(&mut self, work: Work, at: Micros) -> Result<(), Illegal> {
        match work {
            Work::Begin(step) => self.begun(step, at),
            Work::Ended(step) => {
                self.ended(step);
                Ok(())
            }
            Work::Fail(step, origin, error) => {
                if self.steps.state[step as usize].is_terminal() {
                    return Ok(());
                }
                self.untimed(step);
                self.fail(step, origin, &error, StepState::Failed)
            }
            Work::FrameDone(frame) => self.frame_done(frame),
        }
    }

    /// All dependencies of a step have ended: what it does now depends on its kind.
    fn begun(&mut self, step: Step, at: Micros) -> Result<(), Illegal> {
        if self.steps.state[step as usize] != StepState::Pending {
            return Ok(());
        }
        let program = Arc::clone(&self.program);
        let place = self.place(step);
        let kind = &program.blocks[place.block as usize].nodes[place.node as usize].kind;
        let missing = self.steps.flags[step as usize] & MISSING != 0;
        let runs_anyway = match kind {
            Kind::Task(task) => task.options.run_on_upstream_failure,
            Kind::Compute(_) => true,
            _ => false,
        };
        if missing && !runs_anyway {
            self.set(step, StepState::Skipped)?;
            self.work.push_back(Work::Ended(step));
            return Ok(());
        }
        match kind {
            Kind::Task(_) => {
                self.set(step, StepState::Ready)?;
                self.out.offers.push(step);
            }
            Kind::Join => self.complete(step)?,
            Kind::Compute(_)
            | Kind::Sleep(_)
            | Kind::Choice { .. }
            | Kind::Loop { .. }
            | Kind::Each { .. }
            | Kind::Scope { .. } => {
                self.set(step, StepState::Ready)?;
                self.ask(step);
            }
            Kind::Signal(name) => {
                self.set(step, StepState::Waiting)?;
                self.waiting.entry(name.clone()).or_default().push_back(step);
            }
            Kind::Timeout { micros, body } => {
                self.set(step, StepState::Running)?;
                // 0 is no limit, as everywhere.
                if *micros > 0 {
                    self.timer(step, at.saturating_add(*micros));
                }
                self.inside(step, *body, 1, 0)?;
            }
            Kind::Handler { body, .. } => {
                self.set(step, StepState::Running)?;
                self.inside(step, *body, 1, 0)?;
            }
            Kind::First { branches, .. } => {
                self.set(step, StepState::Running)?;
                for (index, &block) in branches.iter().enumerate() {
                    self.inside(step, block, 1, index as u32)?;
                }
            }
        }
        Ok(())
    }

    fn complete(&mut self, step: Step) -> Result<(), Illegal> {
        self.untimed(step);
        self.set(step, StepState::Completed)?;
        self.work.push_back(Work::Ended(step));
        Ok(())
    }

    fn ended(&mut self, step: Step) {
        let place = self.place(step);
        if self.frames[place.frame as usize].ended {
            return;
        }
        let program = Arc::clone(&self.program);
        let code = &program.blocks[place.block as usize];
        let first = step - place.node;
        let missing = self.steps.state[step as usize] != StepState::Completed;
        for &next in code.graph.successors(place.node) {
            let next = first + next;
            if missing {
                self.steps.flags[next as usize] |= MISSING;
            }
            self.steps.pending[next as usize] -= 1;
            if self.steps.pending[next as usize] == 0 {
                self.work.push_back(Work::Begin(next));
            }
        }
        let frame = &mut self.frames[place.frame as usize];
        frame.left -= 1;
        let mut begin = None;
        if let Some(left) = frame.copies.get_mut(place.copy as usize) {
            *left -= 1;
            if *left == 0 && frame.next < frame.width {
                begin = Some(frame.next);
                frame.next += 1;
            }
        }
        if frame.left == 0 {
            self.work.push_back(Work::FrameDone(place.frame));
        }
        if let Some(copy) = begin {
            self.begin(place.frame, copy);
        }
    }

    /// The step fails for good; the origin is the step that failed first.
    fn fail(&mut self, step: Step, origin: Step, error: &Failure, state: StepState) -> Result<(), Illegal> {
        self.untimed(step);
        self.set(step, state)?;
        let place = self.place(step);
        if self.task(step).is_some_and(|task| task.options.tolerated) {
            self.tolerated.push(step);
            self.work.push_back(Work::Ended(step));
            return Ok(());
        }
        let frame = &mut self.frames[place.frame as usize];
        if frame.error.is_none() {
            frame.error = Some((origin, error.clone()));
        }
        if frame.proceed {
            self.work.push_back(Work::Ended(step));
            return Ok(());
        }
        self.cancel(place.frame)?;
        self.block_failed(place.frame)
    }

    fn frame_done(&mut self, number: u32) -> Result<(), Illegal> {
        let frame = &mut self.frames[number as usize];
        if frame.ended {
            return Ok(());
        }
        frame.ended = true;
        if frame.error.is_some() {
            return self.block_failed(number);
        }
        let Some(owner) = frame.owner else {
            self.end = Some(End::Completed);
            return Ok(());
        };
        match self.node(owner).kind {
            Kind::Loop { .. } => self.ask(owner),
            Kind::First { count, .. } => {
                let frames = self.owned[&owner].clone();
                let done = |run: &Run, frame: u32| {
                    let frame = &run.frames[frame as usize];
                    frame.ended && frame.error.is_none()
                };
                if frames.iter().filter(|&&frame| done(self, frame)).count() == count as usize {
                    for frame in frames {
                        if !self.frames[frame as usize].ended {
                            self.cancel(frame)?;
                            // A cancelled branch does not count as one that completed.
                            let error = Failure::new(CANCELLED, "enough other branches completed");
                            self.frames[frame as usize].error.get_or_insert((owner, error));
                        }
                    }
                    self.complete(owner)?;
                }
            }
            _ => self.complete(owner)?,
        }
        Ok(())
    }

    /// A block has ended with an error: its owner handles it or fails too.
    fn block_failed(&mut self, number: u32) -> Result<(), Illegal> {
        let frame = &mut self.frames[number as usize];
        frame.ended = true;
        let (origin, error) = frame.error.clone().expect("a failed block has an error");
        let (index, proceed) = (frame.index, frame.proceed);
        let Some(owner) = frame.owner else {
            self.end = Some(End::Failed(origin, error));
            return Ok(());
        };
        match self.node(owner).kind {
            Kind::Handler { handler, .. } if index == 0 => {
                self.open(handler, Some(owner), 1, 1, proceed, None, Some((origin, error)))
            }
            Kind::First { count, ref branches } => {
                let alive = branches.len()
                    - self.owned[&owner]
                        .iter()
                        .filter(|&&frame| self.frames[frame as usize].error.is_some())
                        .count();
                if alive < count as usize {
                    for frame in self.owned[&owner].clone() {
                        self.cancel(frame)?;
                    }
                    self.work.push_back(Work::Fail(owner, origin, error));
                }
                Ok(())
            }
            _ => {
                self.work.push_back(Work::Fail(owner, origin, error));
                Ok(())
            }
        }
    }

    /// Cancels whatever has not ended in a frame and in the frames inside it.
    fn cancel(&mut self, frame: u32) -> Result<(), Illegal> {
        let mut stack = vec![frame];
        while let Some(number) = stack.pop() {
            let Frame { base, block, width, .. } = self.frames[number as usize];
            self.frames[number as usize].ended = true;
            let steps = width * self.program.blocks[block as usize].nodes.len() as u32;
            for step in base..base + steps {
                if self.steps.state[step as usize].is_terminal() {
                    continue;
                }
                if let Some(attempt) = self.attempts.remove(&step) {
                    self.out.stops.push((step, attempt.token));
                }
                if let Some(frames) = self.owned.get(&step) {
                    stack.extend(frames);
                }
                if let Kind::Signal(name) = &self.node(step).kind {
                    let name = name.clone();
                    if let Some(waiting) = self.waiting.get_mut(&name) {
                        waiting.retain(|&other| other != step);
                    }
                }
                self.untimed(step);
                self.asking.remove(&step);
                self.set(step, StepState::Cancelled)?;
            }
        }
        Ok(())
    }
}
