//! Commands and what they come to: validates against the state and says which events follow.

mod retry;

use std::sync::Arc;

use ferroflow_define::MAX_RECURSION;
use ferroflow_define::algebra::compile::Kind;

pub use self::retry::DEATHS;
use crate::event::{Event, Failure, HEARTBEAT_TIMEOUT, Planned, Process, TIMEOUT, Used, What};
use crate::ids::{Micros, Step, Token, Value};
use crate::schedule::Terms;
use crate::state::{Attempt, End, Illegal, Run, RunState, StepState};

/// Behaviour flags recorded in new runs. Numbers are never reused.
pub const FLAGS: u64 = 0;

/// Blocks that may be open inside one another where a workflow calls itself: a result is put
/// together by recursion over them.
pub const MAX_NESTING: u32 = 1000;

/// Steps that a run may have: a dozen bytes each, so one and a half gigabytes at most.
pub const MAX_STEPS: u32 = 1 << 27;

/// What may be asked of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Start {
        node: Arc<str>,
    },
    /// Begin an attempt of a ready step, under a token never issued before.
    Lease {
        step: Step,
        token: Token,
    },
    Complete {
        step: Step,
        token: Token,
        value: Value,
        /// Outcomes of the step's `set` post-actions.
        set: Vec<(Arc<str>, Value)>,
        used: Option<Used>,
    },
    Fail {
        step: Step,
        token: Token,
        error: Failure,
        /// Whether the step's retry policy may try again.
        retriable: bool,
        used: Option<Used>,
    },
    /// What an attempt took that has been superseded, now that its body has ended: later than its run, maybe.
    Used {
        step: Step,
        token: Token,
        used: Used,
    },
    /// The body of the attempt shows a sign of life. Most of them make no event: of a step with a heartbeat
    /// about four a period do, of others none.
    Beat {
        step: Step,
        token: Token,
    },
    /// The body of the attempt runs in a process of its own.
    Spawned {
        step: Step,
        token: Token,
        process: Process,
    },
    Progress {
        step: Step,
        token: Token,
        percent: f64,
        message: Arc<str>,
    },
    /// What the driver found when it evaluated the bindings of a step that asked.
    Answer {
        step: Step,
        answer: Answer,
    },
    /// Let what is due happen.
    Tick,
    Signal {
        name: Arc<str>,
        value: Value,
    },
    Pause {
        reason: Arc<str>,
    },
    Resume,
    Cancel {
        reason: Arc<str>,
    },
    /// End the run as failed although no step of it is to blame.
    FailRun {
        error: Failure,
    },
    /// On which terms the run is to be; before it starts.
    Terms(Terms),
    /// A plan for the run; before it starts.
    Plan {
        nodes: Vec<Planned>,
    },
    /// What a policy outside the kernel makes of ready steps; those that are not ready any more are left out.
    Rank {
        ranks: Vec<(Step, f64)>,
    },
    /// The run has got the lease of an asset, which it holds across its steps.
    Lock {
        step: Step,
        name: Arc<str>,
        writes: bool,
        token: Token,
        until: Option<Micros>,
    },
    /// It gives one back.
    Unlock {
        name: Arc<str>,
    },
    /// An engine takes the run up again after the one before ended or died.
    Recover {
        node: Arc<str>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The branch whose condition holds; `None` for the else branch.
    Chosen(Option<u32>),
    Looped {
        again: bool,
        state: Value,
    },
    Expanded {
        count: u32,
        items: Value,
    },
    Entered(Value),
    Computed(Value),
    /// Sleep for so long.
    Slept(Micros),
    /// The bindings could not be evaluated.
    Failed(Failure),
}

/// Why a command was refused. The state is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the run is {state}: it can't {action}")]
    WrongState { state: RunState, action: &'static str },
    #[error("the attempt of step {step} with token {token} was superseded: its result is dropped")]
    Stale { step: Step, token: Token },
    #[error("step {step} is {state}, not ready")]
    NotReady { step: Step, state: StepState },
    #[error("there is no step {0}")]
    NoStep(Step),
    #[error("step {0} asked nothing of this kind")]
    NotAsked(Step),
    #[error("the run has no lock of {0:?}: it was given back, or has expired")]
    NotLocked(Arc<str>),
    #[error(transparent)]
    Illegal(#[from] Illegal),
}

impl Run {
    /// Decides a command and applies what follows, appending the events to `out`.
    ///
    /// A refusal leaves the state as it was and appends nothing.
    pub fn handle(&mut self, command: Command, now: Micros, out: &mut Vec<Event>) -> Result<(), Refusal> {
        // Time never runs backwards within a run, whatever the clock does.
        let now = now.max(self.head.last);
        if command == Command::Tick {
            while let Some(what) = self.due(now) {
                self.record(what, now, out)?;
            }
            return Ok(());
        }
        for what in self.decide(command, now)? {
            self.record(what, now, out)?;
            // What else the command comes to is of no use to a run that has ended with it.
            if self.state.is_terminal() {
                break;
            }
        }
        Ok(())
    }

    /// The first event of a run.
    pub fn create(&mut self, created: What, now: Micros, out: &mut Vec<Event>) -> Result<(), Refusal> {
        self.record(created, now, out)
    }

    fn record(&mut self, what: What, now: Micros, out: &mut Vec<Event>) -> Result<(), Refusal> {
        let mut next = Some(what);
        while let Some(what) = next {
            let event = Event { at: now, what };
            self.apply(&event)?;
            out.push(event);
            next = self.follows();
        }
        Ok(())
    }

    /// What happens by itself now: signals find their steps, a run without work ends.
    fn follows(&self) -> Option<What> {
        if self.state != RunState::Running {
            return None;
        }
        match &self.end {
            Some(End::Completed) => return Some(What::RunCompleted { degraded: !self.tolerated.is_empty() }),
            Some(End::Failed(step, error)) => {
                return Some(What::RunFailed { step: Some(*step), error: error.clone() });
            }
            None => {}
        }
        self.waiting.iter().find_map(|(name, steps)| {
            let step = *steps.front()?;
            let signal = *self.mailbox.get(name)?.front()?;
            Some(What::SignalTaken { step, signal })
        })
    }

    /// The next thing that is due.
    fn due(&self, now: Micros) -> Option<What> {
        if self.state.is_terminal() {
            return None;
        }
        if self.head.deadline.is_some_and(|deadline| deadline <= now) {
            let seconds = self.head.timeout.unwrap_or(0) as f64 / 1e6;
            let error = Failure::new(TIMEOUT, format!("the run did not end within {seconds} s"));
            return Some(What::RunTimedOut { error });
        }
        // Others may wait for it, though the run is paused.
        let expired = self.locks.iter().find(|(_, lock)| lock.until.is_some_and(|until| until <= now));
        if let Some((name, lock)) = expired {
            return Some(What::LockReleased { name: name.clone(), token: lock.token, expired: true });
        }
        if self.state != RunState::Running {
            return None;
        }
        let &(at, step) = self.timers.first()?;
        if at > now {
            return None;
        }
        let Some(attempt) = self.attempts.get(&step) else {
            return Some(What::TimerFired { step });
        };
        let seconds = |micros: Option<Micros>| micros.unwrap_or(0) as f64 / 1e6;
        let error = if attempt.deadline == Some(at) {
            let limit = seconds(self.step_timeout(step));
            Failure::new(TIMEOUT, format!("the attempt did not end within {limit} s"))
        } else {
            let period = seconds(self.heartbeat(step));
            Failure::new(HEARTBEAT_TIMEOUT, format!("the attempt showed no sign of life for {period} s"))
        };
        Some(self.attempt_failed(step, attempt.token, error, true, None, now))
    }

    fn decide(&self, command: Command, now: Micros) -> Result<Vec<What>, Refusal> {
        let wrong = |action| Refusal::WrongState { state: self.state, action };
        let running = |action| if self.state == RunState::Running { Ok(()) } else { Err(wrong(action)) };
        let live = |action| if self.state.is_terminal() { Err(wrong(action)) } else { Ok(()) };
        Ok(match command {
            Command::Tick => unreachable!("handled one at a time"),
            Command::Start { node } => match self.state {
                RunState::Created => vec![What::RunStarted { node }],
                _ => return Err(wrong("be started")),
            },
            Command::Lease { step, token } => {
                running("start a step")?;
                let state = self.step(step).ok_or(Refusal::NoStep(step))?;
                if state != StepState::Ready || self.task(step).is_none() {
                    return Err(Refusal::NotReady { step, state });
                }
                let attempt = u32::from(self.attempts_of(step)).saturating_add(1);
                vec![What::StepStarted { step, attempt, token }]
            }
            Command::Complete { step, token, value, set, used } => {
                self.current(step, token)?;
                // Variables first: whoever reads them after the step must find them set.
                set.into_iter()
                    .map(|(name, value)| What::VariableSet { name, value })
                    .chain([What::StepCompleted { step, token, value, used }])
                    .collect()
            }
            Command::Fail { step, token, error, retriable, used } => {
                self.current(step, token)?;
                vec![self.attempt_failed(step, token, error, retriable, used, now)]
            }
            // A body may go on for a while when its run has ended.
            Command::Used { step, token, used } => {
                self.step(step).ok_or(Refusal::NoStep(step))?;
                vec![What::StepUsed { step, token, used }]
            }
            Command::Spawned { step, token, process } => {
                self.current(step, token)?;
                vec![What::StepSpawned { step, token, process }]
            }
            Command::Progress { step, token, percent, message } => {
                self.current(step, token)?;
                let percent = if percent.is_nan() { 0.0 } else { percent.clamp(0.0, 100.0) };
                vec![What::StepProgress { step, token, percent, message }]
            }
            Command::Beat { step, token } => {
                let seen = self.current(step, token)?.seen;
                match self.heartbeat(step) {
                    Some(period) if now - seen >= period / 4 => vec![What::StepBeat { step, token }],
                    _ => vec![],
                }
            }
            Command::Answer { step, answer } => vec![self.answer(step, answer, now)?],
            Command::Signal { name, value } => {
                live("take a signal")?;
                vec![What::SignalReceived { name, value }]
            }
            Command::Pause { reason } => {
                running("be paused")?;
                vec![What::RunPaused { reason }]
            }
            Command::Resume => match self.state {
                RunState::Paused => vec![What::RunResumed],
                _ => return Err(wrong("be resumed")),
            },
            Command::Cancel { reason } => {
                live("be cancelled")?;
                vec![What::RunCancelled { reason }]
            }
            Command::FailRun { error } => {
                if !self.state.may_become(RunState::Failed) {
                    return Err(wrong("be failed"));
                }
                vec![What::RunFailed { step: None, error }]
            }
            Command::Terms(Terms { tenant, tags, weight, deadline, limit }) => match self.state {
                RunState::Created => vec![What::RunTerms { tenant, tags, weight, deadline, limit }],
                _ => return Err(wrong("be given other terms")),
            },
            Command::Plan { nodes } => match self.state {
                RunState::Created => vec![What::RunPlanned { nodes }],
                _ => return Err(wrong("be planned")),
            },
            Command::Rank { mut ranks } => {
                running("have steps ranked")?;
                ranks.retain(|&(step, rank)| self.startable(step) && !rank.is_nan());
                if ranks.is_empty() { vec![] } else { vec![What::StepsRanked { ranks }] }
            }
            Command::Lock { step, name, writes, token, until } => {
                live("take a lock")?;
                self.step(step).ok_or(Refusal::NoStep(step))?;
                vec![What::LockTaken { name, writes, token, step, until }]
            }
            Command::Unlock { name } => {
                let token = self.locks.get(&name).map(|lock| lock.token);
                let token = token.ok_or_else(|| Refusal::NotLocked(name.clone()))?;
                vec![What::LockReleased { name, token, expired: false }]
            }
            Command::Recover { node } => {
                live("be recovered")?;
                vec![What::RunRecovered { node }]
            }
        })
    }

    /// Refuses the results of superseded attempts.
    fn current(&self, step: Step, token: Token) -> Result<&Attempt, Refusal> {
        match self.attempts.get(&step) {
            Some(attempt) if attempt.token == token => Ok(attempt),
            _ => Err(Refusal::Stale { step, token }),
        }
    }

    fn answer(&self, step: Step, answer: Answer, now: Micros) -> Result<What, Refusal> {
        if !self.asking.contains(&step) || self.state != RunState::Running {
            return Err(Refusal::NotAsked(step));
        }
        Ok(match (answer, &self.node(step).kind) {
            (Answer::Failed(error), _) => What::StepFailed { step, token: 0, error, used: None },
            (Answer::Chosen(branch), Kind::Choice { .. }) => What::Chosen { step, branch },
            (Answer::Looped { again, state }, Kind::Loop { max, .. }) => {
                let iterations = self.owned.get(&step).map_or(0, Vec::len);
                match max {
                    Some(max) if again && iterations >= *max as usize => What::StepFailed {
                        step,
                        token: 0,
                        error: Failure::new(
                            "LOOP_BOUND",
                            format!("the condition still holds after {max} iterations; raise `max`"),
                        ),
                        used: None,
                    },
                    _ => What::Looped { step, again, state },
                }
            }
            (Answer::Expanded { count, items }, Kind::Each { body, .. }) => {
                if let Some(error) = self.crowded(*body, count) {
                    return Ok(What::StepFailed { step, token: 0, error, used: None });
                }
                What::Expanded { step, count, items }
            }
            (Answer::Entered(inputs), Kind::Scope { body, max_depth, .. }) => match max_depth {
                Some(max_depth) => self.again(step, *body, *max_depth, inputs),
                None => What::Entered { step, inputs },
            },
            (Answer::Computed(value), Kind::Compute(_)) => What::Computed { step, value },
            (Answer::Slept(micros), Kind::Sleep(_)) => {
                What::Slept { step, until: now.saturating_add(micros.max(0)) }
            }
            _ => return Err(Refusal::NotAsked(step)),
        })
    }

    /// Why so many copies of a block can't begin, if they would be too many.
    fn crowded(&self, block: u32, copies: u32) -> Option<Failure> {
        let nodes = self.program.blocks[block as usize].nodes.len() as u64;
        if u64::from(self.len()) + u64::from(copies) * nodes <= u64::from(MAX_STEPS) {
            return None;
        }
        let message = format!("{copies} times {nodes} more steps are more than a run may have");
        Some(Failure::new("TOO_MANY_STEPS", message))
    }

    /// Begins an enclosing workflow once more, unless it would nest too deep.
    fn again(&self, step: Step, body: u32, max_depth: u32, inputs: Value) -> What {
        let round = std::iter::successors(Some(self.place(step)), |place| self.parent(place.frame));
        let (mut whole, mut own) = (0, 0);
        for place in round {
            whole += 1;
            own += u32::from(place.block == body);
        }
        // The first of its blocks is the workflow itself, and not yet a call inside itself.
        let message = if own > max_depth {
            format!(
                "calls would nest deeper than max_depth={max_depth} in each other; end them earlier, or raise \
                 max_depth (up to {MAX_RECURSION})"
            )
        } else if whole > MAX_NESTING {
            format!("calls would nest deeper than {MAX_NESTING} blocks in each other; end them earlier")
        } else {
            return match self.crowded(body, 1) {
                Some(error) => What::StepFailed { step, token: 0, error, used: None },
                None => What::Entered { step, inputs },
            };
        };
        What::StepFailed { step, token: 0, error: Failure::new("RECURSION_BOUND", message), used: None }
    }
}
