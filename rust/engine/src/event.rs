//! The facts a run consists of. What follows from them (joins, skips, cancelled siblings)
//! is derived by `apply` and never recorded.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{Micros, Step, Token, Value};
use crate::state::RunState;

/// A fact and when it happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub at: Micros,
    pub what: What,
}

/// The code of a failure for want of time: the step ends as timed out.
pub const TIMEOUT: &str = "TIMEOUT";
/// The code of a failure for want of a sign of life: the step ends as timed out, too.
pub const HEARTBEAT_TIMEOUT: &str = "HEARTBEAT_TIMEOUT";
/// The code of a body that gave up by itself: the step ends as cancelled.
pub const CANCELLED: &str = "CANCELLED";

/// The code of a body that ended with the process that ran it.
pub const WORKER_DIED: &str = "WORKER_DIED";
/// The code of a step that is not tried again because it ended its process every time.
pub const QUARANTINED: &str = "QUARANTINED";

/// The code of a step whose accesses can't be told: what fills their names makes no name.
pub const BAD_ASSET: &str = "BAD_ASSET";
/// The code of a step that waited for locks in a circle.
pub const DEADLOCK: &str = "DEADLOCK";

/// Why something failed, in words for people and a code for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// E.g. `EXECUTION_FAILED`, `TIMEOUT`, or what the task gave.
    pub code: Arc<str>,
    pub message: Arc<str>,
    /// A traceback or other text; may be empty.
    #[serde(default)]
    pub details: Arc<str>,
}

impl Failure {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into().into(), details: "".into() }
    }

    /// Whether the attempt ran out of time; its body may go on for a while.
    pub fn is_timeout(&self) -> bool {
        matches!(&*self.code, TIMEOUT | HEARTBEAT_TIMEOUT)
    }
}

/// What an attempt actually took, as far as it could be measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// From the start of the body to its end.
    pub wall: Micros,
    /// From when the step was ready to the start of the body.
    pub queued: Micros,
    /// Time of processors, of the body's child processes too.
    pub cpu: Option<Micros>,
    /// Bytes of memory at the peak.
    pub memory: Option<u64>,
    /// Bytes read and written.
    pub read: Option<u64>,
    pub written: Option<u64>,
}

/// A process that runs one body: its id alone may since be another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The leader of a process group of the same number.
    pub pid: u32,
    /// When it was started, as its system counts.
    pub started: u64,
    /// Which boot of its system that was.
    pub boot: u64,
}

/// A node that a plan has a place for: block, node, rank, and the number of that place.
pub type Planned = (u32, u32, f64, Option<u32>);

/// What happened. New kinds and new trailing fields (with a default) may be added; neither
/// kinds nor fields are ever renamed, reordered or given another meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum What {
    RunCreated {
        workflow: Arc<str>,
        version: Arc<str>,
        /// Names the definition in the store.
        digest: [u8; 32],
        /// Behaviour flags the run was created with; see `decide::FLAGS`.
        flags: u64,
        seed: u64,
        priority: u8,
        timeout: Option<Micros>,
        correlation: Option<Arc<str>>,
        input: Value,
        /// What an attempt may take whose step has no timeout of its own.
        step_timeout: Option<Micros>,
    },
    RunStarted {
        /// Where the engine is that runs it.
        node: Arc<str>,
    },
    RunPaused {
        reason: Arc<str>,
    },
    RunResumed,
    RunCancelled {
        reason: Arc<str>,
    },
    /// Every step has ended well, or its failure is tolerated (`degraded`).
    RunCompleted {
        degraded: bool,
    },
    RunFailed {
        step: Option<Step>,
        error: Failure,
    },
    RunTimedOut {
        error: Failure,
    },
    /// An engine took the run up again: attempts in flight are superseded.
    RunRecovered {
        node: Arc<str>,
    },
    StepStarted {
        step: Step,
        attempt: u32,
        token: Token,
    },
    StepProgress {
        step: Step,
        token: Token,
        percent: f64,
        message: Arc<str>,
    },
    StepCompleted {
        step: Step,
        token: Token,
        value: Value,
        #[serde(default)]
        used: Option<Used>,
    },
    /// An attempt failed and another will be made once `due` has come.
    StepRetrying {
        step: Step,
        token: Token,
        error: Failure,
        due: Micros,
        #[serde(default)]
        used: Option<Used>,
    },
    StepFailed {
        step: Step,
        token: Token,
        error: Failure,
        #[serde(default)]
        used: Option<Used>,
    },
    /// The last attempt ran out of time.
    StepTimedOut {
        step: Step,
        token: Token,
        error: Failure,
        #[serde(default)]
        used: Option<Used>,
    },
    /// A retry's delay or a sleep is over, or a timeout has come.
    TimerFired {
        step: Step,
    },
    Slept {
        step: Step,
        until: Micros,
    },
    Chosen {
        step: Step,
        branch: Option<u32>,
    },
    Looped {
        step: Step,
        again: bool,
        state: Value,
    },
    Expanded {
        step: Step,
        count: u32,
        items: Value,
    },
    Entered {
        step: Step,
        inputs: Value,
    },
    Computed {
        step: Step,
        value: Value,
    },
    SignalReceived {
        name: Arc<str>,
        value: Value,
    },
    /// The step takes signal number `signal` of the run, counted from 0.
    SignalTaken {
        step: Step,
        signal: u32,
    },
    VariableSet {
        name: Arc<str>,
        value: Value,
    },
    /// The body of an attempt that had been superseded has ended now. The only event that may follow a run's end.
    StepUsed {
        step: Step,
        token: Token,
        used: Used,
    },
    /// The body runs in a process of its own.
    StepSpawned {
        step: Step,
        token: Token,
        process: Process,
    },
    /// A sign of life.
    StepBeat {
        step: Step,
        token: Token,
    },
    /// By what the run's steps are ranked, and held to; see `schedule::Terms`.
    RunTerms {
        tenant: Option<Arc<str>>,
        tags: Vec<Arc<str>>,
        /// Thousandths.
        weight: Option<u32>,
        deadline: Option<Micros>,
        limit: Option<u32>,
    },
    /// A plan for the run.
    RunPlanned {
        nodes: Vec<Planned>,
    },
    /// A policy outside the kernel has ranked ready steps.
    StepsRanked {
        ranks: Vec<(Step, f64)>,
    },
    /// The run has a lock: a lease of an asset that it holds across its steps. One of the same name that it had
    /// is replaced.
    LockTaken {
        name: Arc<str>,
        /// Alone, or with others that read.
        writes: bool,
        /// The lease's fencing token.
        token: Token,
        /// The step whose body asked for it.
        step: Step,
        /// When it is reclaimed, if it has not been given back.
        until: Option<Micros>,
    },
    /// The run has it no more. A run that has ended has none, without a record.
    LockReleased {
        name: Arc<str>,
        token: Token,
        expired: bool,
    },
}

impl What {
    /// The state that the event brings a run into, if it changes that.
    pub fn leads_to(&self) -> Option<RunState> {
        Some(match self {
            What::RunCreated { .. } => RunState::Created,
            What::RunStarted { .. } | What::RunResumed => RunState::Running,
            What::RunPaused { .. } => RunState::Paused,
            What::RunCancelled { .. } => RunState::Cancelled,
            What::RunCompleted { .. } => RunState::Completed,
            What::RunFailed { .. } => RunState::Failed,
            What::RunTimedOut { .. } => RunState::TimedOut,
            _ => return None,
        })
    }
}
