//! What follows from an event: joins, skips, cancelled siblings, failing blocks. It is worked off a
//! queue, without recursion and without a record.

use std::sync::Arc;

use ferroflow_define::OnError;
use ferroflow_define::algebra::compile::Kind;

use super::apply::Illegal;
use super::{End, Frame, MISSING, Run, StepState, Stop};
use crate::event::{CANCELLED, Failure};
use crate::ids::{Micros, Step};

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

impl Run {
    /// Opens a frame inside a composite, under that composite's policy.
    pub(super) fn inside(&mut self, step: Step, block: u32, width: u32, index: u32) -> Result<(), Illegal> {
        let outer = self.frames[self.steps.frame[step as usize] as usize].proceed;
        let (proceed, limit) = match self.node(step).kind {
            Kind::Each { on_error, limit, .. } => (outer || on_error == OnError::Continue, limit),
            _ => (outer, None),
        };
        self.open(block, Some(step), width, index, proceed, limit, None)
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn open(
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

    pub(super) fn follow(&mut self, work: Work, at: Micros) -> Result<(), Illegal> {
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

    pub(super) fn complete(&mut self, step: Step) -> Result<(), Illegal> {
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
    pub(super) fn fail(
        &mut self,
        step: Step,
        origin: Step,
        error: &Failure,
        state: StepState,
    ) -> Result<(), Illegal> {
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
    pub(super) fn cancel(&mut self, frame: u32) -> Result<(), Illegal> {
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
                    let until = self.until(step, &attempt);
                    self.out.stops.push(Stop { step, token: attempt.token, until });
                } else if self.steps.state[step as usize] == StepState::Ready {
                    self.out.withdrawn.push(step);
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
