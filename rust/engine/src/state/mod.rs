//! What a run is at a moment: steps, frames, timers, signals. Values are never held here.
//!
//! A block that has begun is a *frame*: a range of step numbers, `width` copies of the
//! block's nodes. Only an `each` has more than one copy; a loop opens a frame an iteration.

mod apply;
mod follow;
pub mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ferroflow_define::algebra::compile::{Kind, Node, Program, TaskUse};
use rustc_hash::FxHashMap;

pub use self::apply::Illegal;
pub use self::table::{RunState, StepState};
use crate::event::{Failure, Process};
use crate::ids::{Micros, RunId, Step, Token};
use crate::schedule::Terms;

/// One run, changed only by `apply`.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: RunId,
    pub program: Arc<Program>,
    pub(crate) state: RunState,
    pub(crate) head: Head,
    pub(crate) sequence: u64,
    pub(crate) steps: Steps,
    pub(crate) frames: Vec<Frame>,
    /// The frames that a composite step has opened, in order.
    pub(crate) owned: FxHashMap<Step, Vec<u32>>,
    pub(crate) attempts: FxHashMap<Step, Attempt>,
    /// Failed attempts of steps that may be tried again.
    pub(crate) failures: FxHashMap<Step, u32>,
    /// Time that a superseded attempt had used of its timeout.
    pub(crate) spent: FxHashMap<Step, Micros>,
    /// How often in a row a step's process has died.
    pub(crate) deaths: FxHashMap<Step, u32>,
    /// Processes whose bodies no event has said to have ended.
    pub(crate) processes: BTreeMap<Token, Spawned>,
    pub(crate) timers: BTreeSet<(Micros, Step)>,
    pub(crate) due: FxHashMap<Step, Micros>,
    pub(crate) mailbox: BTreeMap<Arc<str>, VecDeque<u32>>,
    pub(crate) signals: u32,
    pub(crate) waiting: BTreeMap<Arc<str>, VecDeque<Step>>,
    /// Steps whose bindings the driver still has to evaluate.
    pub(crate) asking: BTreeSet<Step>,
    /// What the run has come to, once nothing is left to do; the event that says so follows.
    pub(crate) end: Option<End>,
    pub(crate) tolerated: Vec<Step>,
    /// Ranks that a policy outside the kernel has given to ready steps.
    pub(crate) ranks: FxHashMap<Step, f64>,
    /// What a plan says of nodes, by block and node: their ranks and places.
    pub(crate) plan: FxHashMap<(u32, u32), (f64, Option<u32>)>,
    /// What the run has locked, by the names of assets.
    pub(crate) locks: BTreeMap<Arc<str>, Lock>,
    pub(crate) work: VecDeque<follow::Work>,
    /// For the driver, which drains it.
    pub out: Out,
}

/// What the driver has to look at after an event was applied.
#[derive(Clone, Debug, Default)]
pub struct Out {
    /// Steps of tasks that became ready.
    pub offers: Vec<Step>,
    /// Steps whose bindings are to be evaluated: answer with `Command::Answer`.
    pub asks: Vec<Step>,
    /// Attempts that no longer count: their bodies should stop.
    pub stops: Vec<Stop>,
    /// Steps that were offered, and may not start any more.
    pub withdrawn: Vec<Step>,
    /// Locks that the run does not have any more.
    pub unlocked: Vec<Token>,
    /// Every change of a step's state, for whoever watches and has put a list here.
    pub moves: Option<Vec<(Step, StepState)>>,
}

/// An attempt that no longer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    pub step: Step,
    pub token: Token,
    /// Until when its body might have gone on, had nothing been heard of it.
    pub until: Option<Micros>,
}

/// A lease that a run holds across its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Alone, or with others that read.
    pub writes: bool,
    pub token: Token,
    /// The step whose body asked for it.
    pub step: Step,
    pub since: Micros,
    pub until: Option<Micros>,
}

/// What is known of a run as a whole.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub created: Micros,
    pub started: Option<Micros>,
    pub ended: Option<Micros>,
    pub deadline: Option<Micros>,
    pub timeout: Option<Micros>,
    pub step_timeout: Option<Micros>,
    /// Where the engine is that ran it last.
    pub node: Arc<str>,
    pub last: Micros,
    pub seed: u64,
    pub flags: u64,
    pub priority: u8,
    pub correlation: Option<Arc<str>>,
    pub digest: [u8; 32],
    pub degraded: bool,
    pub reason: Option<Arc<str>>,
    pub error: Option<(Option<Step>, Failure)>,
    pub paused: Option<Micros>,
    /// By which its steps are ranked, and held to.
    pub terms: Terms,
    pub recoveries: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    Completed,
    Failed(Step, Failure),
}

/// Columns over all steps: what is small and asked for often.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps {
    pub state: Vec<StepState>,
    pub flags: Vec<u8>,
    pub attempt: Vec<u16>,
    pub pending: Vec<u32>,
    pub frame: Vec<u32>,
    /// How many are in each state.
    pub count: [u64; StepState::ALL.len()],
}

/// An upstream step did not complete.
pub(crate) const MISSING: u8 = 1;
/// A body may have been running when the process died: start only once the start is durable.
pub(crate) const WARY: u8 = 2;

#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub block: u32,
    pub owner: Option<Step>,
    /// First step.
    pub base: Step,
    /// Copies of the block.
    pub width: u32,
    /// Which branch or iteration of the owner this is.
    pub index: u32,
    /// Steps that have not ended.
    pub left: u32,
    /// The same for each copy, where copies begin one after another.
    pub copies: Vec<u32>,
    /// The next copy to begin.
    pub next: u32,
    pub ended: bool,
    pub proceed: bool,
    pub error: Option<(Step, Failure)>,
    /// In a handler's frame: what it handles.
    pub handles: Option<(Step, Failure)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub token: Token,
    pub started: Micros,
    pub deadline: Option<Micros>,
    /// Its last sign of life that is on record.
    pub seen: Micros,
}

/// A process that runs the body of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spawned {
    pub step: Step,
    pub process: Process,
    /// How often the run had been taken up by then.
    pub recoveries: u32,
}

/// Where a step is: its block, its node in it, and which copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub frame: u32,
    pub block: u32,
    pub node: u32,
    pub copy: u32,
}

impl Run {
    pub fn new(id: RunId, program: Arc<Program>) -> Self {
        Self {
            id,
            program,
            state: RunState::Created,
            head: Head::default(),
            sequence: 0,
            steps: Steps::default(),
            frames: Vec::new(),
            owned: FxHashMap::default(),
            attempts: FxHashMap::default(),
            failures: FxHashMap::default(),
            spent: FxHashMap::default(),
            deaths: FxHashMap::default(),
            processes: BTreeMap::new(),
            timers: BTreeSet::new(),
            due: FxHashMap::default(),
            mailbox: BTreeMap::new(),
            signals: 0,
            waiting: BTreeMap::new(),
            asking: BTreeSet::new(),
            end: None,
            tolerated: Vec::new(),
            ranks: FxHashMap::default(),
            plan: FxHashMap::default(),
            locks: BTreeMap::new(),
            work: VecDeque::new(),
            out: Out::default(),
        }
    }

    pub fn state(&self) -> RunState {
        self.state
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The sequence number of the last event, counted from 1.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How many steps there are so far; steps are numbered from 0.
    pub fn len(&self) -> u32 {
        self.steps.state.len() as u32
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn step(&self, step: Step) -> Option<StepState> {
        self.steps.state.get(step as usize).copied()
    }

    /// How many steps are in a state.
    pub fn count(&self, state: StepState) -> u64 {
        self.steps.count[state as usize]
    }

    pub fn attempts_of(&self, step: Step) -> u16 {
        self.steps.attempt[step as usize]
    }

    pub fn attempt(&self, step: Step) -> Option<&Attempt> {
        self.attempts.get(&step)
    }

    /// Processes in which bodies of the run may still be alive, oldest attempts first: those of attempts
    /// that run, and of superseded ones whose end nobody has told. Who takes a run up ends them first;
    /// until the steps start again, they are still named here.
    pub fn processes(&self) -> impl Iterator<Item = (Step, Process)> + '_ {
        self.processes.values().map(|spawned| (spawned.step, spawned.process))
    }

    /// When a step's timer fires, if it has one.
    pub fn timer_of(&self, step: Step) -> Option<Micros> {
        self.due.get(&step).copied()
    }

    /// Steps that have an attempt in flight, in no order.
    pub fn in_flight(&self) -> impl Iterator<Item = Step> + '_ {
        self.attempts.keys().copied()
    }

    /// Failed steps that the definition tolerates.
    pub fn tolerated(&self) -> &[Step] {
        &self.tolerated
    }

    /// Steps whose bindings wait for the driver.
    pub fn asking(&self) -> impl Iterator<Item = Step> + '_ {
        self.asking.iter().copied()
    }

    /// Whether a task's step may be started now.
    pub fn startable(&self, step: Step) -> bool {
        self.state == RunState::Running && self.step(step) == Some(StepState::Ready)
    }

    /// Whether the step's start has to be durable before its body runs.
    pub fn is_wary(&self, step: Step) -> bool {
        self.steps.flags[step as usize] & WARY != 0
    }

    /// When something is due next, if ever.
    pub fn wake(&self) -> Option<Micros> {
        if self.state.is_terminal() {
            return None;
        }
        let timer = match self.state {
            RunState::Running => self.timers.first().map(|&(at, _)| at),
            _ => None,
        };
        let locks = self.locks.values().filter_map(|lock| lock.until);
        timer.into_iter().chain(self.head.deadline).chain(locks).min()
    }

    /// What the run has locked, by the names of assets.
    pub fn locks(&self) -> impl Iterator<Item = (&Arc<str>, &Lock)> {
        self.locks.iter()
    }

    pub fn lock(&self, name: &str) -> Option<&Lock> {
        self.locks.get(name)
    }

    /// Until when an attempt may go on of which nothing more is heard.
    pub fn until(&self, step: Step, attempt: &Attempt) -> Option<Micros> {
        let overdue = self.heartbeat(step).map(|period| attempt.seen.saturating_add(period));
        attempt.deadline.into_iter().chain(overdue).min()
    }

    pub fn place(&self, step: Step) -> Place {
        let frame = self.steps.frame[step as usize];
        let Frame { block, base, .. } = self.frames[frame as usize];
        let nodes = self.program.blocks[block as usize].nodes.len() as u32;
        Place { frame, block, node: (step - base) % nodes, copy: (step - base) / nodes }
    }

    pub fn node(&self, step: Step) -> &Node {
        let place = self.place(step);
        &self.program.blocks[place.block as usize].nodes[place.node as usize]
    }

    /// The use of a task that this step is, if it is one.
    pub fn task(&self, step: Step) -> Option<&TaskUse> {
        match &self.node(step).kind {
            Kind::Task(task) => Some(task),
            _ => None,
        }
    }

    /// What an attempt of a step may take. A step that says 0 has no limit, whatever others have.
    pub fn step_timeout(&self, step: Step) -> Option<Micros> {
        let own = self.task(step).and_then(|task| task.options.timeout);
        own.or(self.head.step_timeout).filter(|&limit| limit > 0)
    }

    /// For how long an attempt of a step may show no sign of life.
    pub fn heartbeat(&self, step: Step) -> Option<Micros> {
        self.task(step).and_then(|task| task.options.heartbeat).filter(|&period| period > 0)
    }

    /// The frame round a place and the place of the composite that opened it.
    pub fn parent(&self, frame: u32) -> Option<Place> {
        self.frames[frame as usize].owner.map(|owner| self.place(owner))
    }

    /// The step that opened a frame.
    pub fn owner(&self, frame: u32) -> Option<Step> {
        self.frames[frame as usize].owner
    }

    /// The step of a node in the same frame and copy.
    pub fn sibling(&self, frame: u32, copy: u32, node: u32) -> Step {
        let Frame { block, base, .. } = self.frames[frame as usize];
        base + copy * self.program.blocks[block as usize].nodes.len() as u32 + node
    }

    /// The steps that a step directly waits for, joins passed through, in order.
    pub fn upstream(&self, step: Step) -> Vec<Step> {
        let place = self.place(step);
        let code = &self.program.blocks[place.block as usize];
        let mut seen = vec![false; code.nodes.len()];
        let (mut found, mut stack) = (Vec::new(), vec![place.node]);
        while let Some(node) = stack.pop() {
            for before in 0..code.nodes.len() as u32 {
                if seen[before as usize] || code.graph.successors(before).binary_search(&node).is_err() {
                    continue;
                }
                seen[before as usize] = true;
                match code.nodes[before as usize].kind {
                    Kind::Join => stack.push(before),
                    _ => found.push(self.sibling(place.frame, place.copy, before)),
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// Frames opened by a composite, oldest first: (frame, branch or iteration, copies, ended).
    pub fn frames_of(&self, step: Step) -> impl Iterator<Item = (u32, u32, u32, bool)> + '_ {
        self.owned.get(&step).into_iter().flatten().map(|&frame| {
            let it = &self.frames[frame as usize];
            (frame, it.index, it.width, it.ended)
        })
    }

    /// The frame that a composite opened last, and how many it has opened.
    pub fn last_frame_of(&self, step: Step) -> Option<(u32, usize)> {
        let frames = self.owned.get(&step)?;
        Some((*frames.last()?, frames.len()))
    }

    /// The block and the branch or iteration number of a frame.
    pub fn frame(&self, frame: u32) -> (u32, u32) {
        let it = &self.frames[frame as usize];
        (it.block, it.index)
    }

    /// Whether a frame ended because a step in it failed.
    pub fn frame_failed(&self, frame: u32) -> bool {
        self.frames[frame as usize].error.is_some()
    }

    /// What a handler's frame handles.
    pub fn handles(&self, frame: u32) -> Option<&(Step, Failure)> {
        self.frames[frame as usize].handles.as_ref()
    }

    /// The step's path: ids from the outermost block inwards, `each[3]/train`, `loop[0]/try_it`.
    pub fn path(&self, step: Step) -> String {
        let mut parts = Vec::new();
        let mut at = Some(self.place(step));
        let mut suffix = String::new();
        while let Some(place) = at {
            let node = &self.program.blocks[place.block as usize].nodes[place.node as usize];
            parts.push(format!("{}{suffix}", node.id));
            let frame = &self.frames[place.frame as usize];
            at = frame.owner.map(|owner| self.place(owner));
            suffix = match at.map(|up| &self.program.blocks[up.block as usize].nodes[up.node as usize].kind) {
                Some(Kind::Each { .. }) => format!("[{}]", place.copy),
                Some(Kind::Loop { .. } | Kind::First { .. }) => format!("[{}]", frame.index),
                Some(Kind::Handler { handler, .. }) if *handler == frame.block => "/catch".to_owned(),
                _ => String::new(),
            };
        }
        parts.reverse();
        parts.join("/")
    }

    /// Offers every ready step and asks every open question again, as after a pause or a replay.
    pub fn offer_again(&mut self) {
        self.out.offers.clear();
        self.out.asks.clear();
        if self.state != RunState::Running {
            return;
        }
        self.out.asks.extend(self.asking.iter());
        for step in 0..self.len() {
            if self.steps.state[step as usize] == StepState::Ready && !self.asking.contains(&step) {
                self.out.offers.push(step);
            }
        }
    }
}
