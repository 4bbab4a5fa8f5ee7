//! What is asked of the engine and what it answers: settings, requests, attempts, outcomes, errors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ferroflow_define::algebra::compile::Program;
use ferroflow_define::{Limits, Problem};
use ferroflow_engine::schedule::{Class, Policy, Terms};
use ferroflow_engine::{Failure, Micros, Refusal, RunId, RunState, Step, Token};
use ferroflow_journal::{Bytes, RunRow, StoreError};
use serde::Serialize;

use crate::children::{Base, CgroupError};

/// What a crash may undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Successors start only after a completion is on disk.
    Strict,
    /// Commits follow the work; a power failure may take the last ones.
    Relaxed,
    /// Nothing outlives the process.
    Memory,
}

impl Durability {
    /// What a long value is called in events: by its hash; where nothing outlives the process, by a number
    /// that no other has.
    pub(crate) fn name(self, bytes: &Bytes) -> [u8; 32] {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        if self != Durability::Memory {
            return bytes.hash();
        }
        let mut name = [0; 32];
        name[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        name
    }
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub durability: Durability,
    /// Thousandths for counts, bytes for `memory` and `disk`.
    pub capacity: BTreeMap<Arc<str>, u64>,
    /// Asynchronous bodies that are under way at a time.
    pub async_limit: usize,
    /// Bytes that one value may have.
    pub max_value: usize,
    /// Unfinished runs that are accepted at a time, and those of them that are under way.
    pub max_runs: Option<usize>,
    pub max_running: Option<usize>,
    /// Runs that wait and are started in one turn, and steps that a policy of the user's ranks at a time.
    pub max_batch: usize,
    /// How long steps that become ready gather before they are ranked.
    pub window: Micros,
    /// Steps that a run may have running that says nothing of it.
    pub run_limit: Option<u32>,
    /// How ready steps are ranked.
    pub policy: Policy,
    /// What a run may take that has no timeout of its own, and an attempt of a step that has none.
    pub run_timeout: Option<Micros>,
    pub step_timeout: Option<Micros>,
    /// Where this engine is, as runs record it.
    pub node: Arc<str>,
    /// Where commands have their control groups.
    pub cgroup: Base,
}

/// The right to run an attempt, and how to report on it.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    pub(crate) run: u32,
    pub step: Step,
    pub token: Token,
    pub(crate) class: Class,
    /// For how long the step had been ready, and since when its body runs.
    pub(crate) queued: Micros,
    pub begun: Instant,
    /// Whether the consumers of its result share it.
    pub(crate) share: bool,
}

/// An attempt to be run.
#[derive(Clone, Debug)]
pub struct Job {
    pub ticket: Ticket,
    pub run: RunId,
    pub task: Arc<str>,
    /// MessagePack: a list of the positional arguments, then a map of the others.
    /// A long one of those that are recorded has only its place here, the extension type 7 with its number
    /// in four bytes, in order.
    pub arguments: Vec<u8>,
    /// These, as they are recorded.
    pub parts: Vec<Bytes>,
    pub attempt: u16,
    /// What the body may use, if it runs in a process of its own.
    pub limits: Limits,
    /// How long that may take to end once it is told to.
    pub grace: Micros,
    /// The commit that must be durable before the body may run.
    pub(crate) gate: u64,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub state: RunState,
    pub degraded: bool,
    /// MessagePack with its parts, as a job has arguments; or why it can't be put together.
    pub result: Result<(Vec<u8>, Vec<Bytes>), String>,
    /// Path of the step that failed, if it was one, and why.
    pub error: Option<(String, Failure)>,
    pub reason: Option<String>,
}

impl Ended {
    /// Bytes of the result.
    pub(crate) fn size(&self) -> usize {
        self.result
            .as_ref()
            .map_or(0, |(bytes, parts)| bytes.len() + parts.iter().map(|it| it.len()).sum::<usize>())
    }
}

/// What became of a body.
#[derive(Debug)]
pub enum Outcome {
    /// MessagePack, as `Engine::prepare` returns it.
    Done(Bytes),
    Failed {
        error: Failure,
        retriable: bool,
    },
    /// It is under way; `Engine::finish` reports it.
    Later,
}

/// What to run.
pub struct Request {
    pub program: Arc<Program>,
    /// The definition object, and its BLAKE3 hash.
    pub object: Arc<[u8]>,
    pub digest: [u8; 32],
    /// For each task of the program: 0 for threads, 1 for the event loop.
    pub lanes: Vec<u8>,
    /// The id that the run is to have; a new one if `None`.
    pub id: Option<RunId>,
    /// MessagePack of an object.
    pub input: Bytes,
    pub priority: u8,
    pub timeout: Option<Micros>,
    pub correlation: Option<String>,
    /// By which its steps are ranked, and held to.
    pub terms: Terms,
    /// Paths of steps in the order of a plan, and which worker it has for them.
    pub plan: Vec<(String, Option<u32>)>,
    /// Whether it starts however many others are under way, as a body waits for it.
    pub at_once: bool,
    /// Why the run is to fail at once, if it is: something before it refused it.
    pub refused: Option<Failure>,
}

/// A run that had not ended when the database was last used.
pub struct Unfinished {
    pub row: RunRow,
    /// The tasks it needs, or why its definition can't be read.
    pub tasks: Result<Vec<Arc<str>>, EngineError>,
}

/// What an engine has done since it was opened, and does now.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    /// How many runs have come into each state.
    pub runs: BTreeMap<&'static str, u64>,
    /// Runs that have not ended.
    pub active: u64,
    /// Steps that wait to be taken by a worker, and bodies that run.
    pub ready: u64,
    pub running: u64,
    pub commits: u64,
    /// Results that came too late: their attempts had been superseded.
    pub refused: u64,
    /// Leases that were taken from superseded attempts whose bodies did not end in time.
    pub reclaimed: u64,
    /// How ready steps are ranked, and how many of them a policy of the user's has failed to rank.
    pub policy: &'static str,
    pub unranked: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error("there is no run {0}")]
    NoRun(RunId),
    #[error("run {0} has not ended, and this engine has not taken it up; let it go on with engine.resume()")]
    Idle(RunId),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Input(String),
    #[error("a run with the id {0} exists already; give another id, or ask for its handle")]
    Exists(RunId),
    #[error(
        "the engine has {0} unfinished runs and takes no more; wait for one to end, or open it with a \
         larger max_runs"
    )]
    Busy(usize),
    #[error(
        "workflow {name:?} {version} is registered already, and this is another one; register it under \
         another version"
    )]
    Registered { name: String, version: String },
    #[error("no workflow is registered as {0}; register it with engine.register(...)")]
    NoWorkflow(String),
    #[error("the definition does not fit this engine")]
    Problems(Vec<Problem>),
    #[error(
        "run {run} was let go of: {why}; what is on disk of it is as it was, so that the next engine takes it \
         up there. This should not happen: please report it"
    )]
    Broken { run: RunId, why: String },
    #[error(
        "processes of the group {pid}, in which an earlier engine ran a step of run {run}, can't be ended; end \
         them, then call engine.resume()"
    )]
    Alive { run: RunId, pid: u32 },
    #[error("the engine is closed")]
    Closed,
    #[error("the engine has stopped: {0}")]
    Halted(String),
}
