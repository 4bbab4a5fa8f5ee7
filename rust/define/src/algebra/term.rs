//! The workflow-algebra expression, the only definition format.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::access::{Asset, Kind, Mode};
use crate::expr::Expr;

/// A workflow: name, version, inputs and a term.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    pub name: String,
    pub version: String,
    pub description: String,
    pub inputs: Vec<Input>,
    /// Assets of the world.
    pub assets: Vec<Declared>,
    /// Every name lies in one of them.
    pub closed: bool,
    pub body: Block,
    /// What a failed critical step does to the run.
    pub on_error: OnError,
    /// Microseconds a run may take; `None` for no limit.
    pub timeout: Option<i64>,
}

/// A named input of a workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub name: String,
    /// `any`, `null`, `bool`, `int`, `float`, `number`, `str`, `bytes`, `list`, `map`.
    pub kind: String,
    /// MessagePack of the default; `None` if the input is required.
    pub default: Option<Arc<[u8]>>,
}

/// What happens to the rest of a run (or of an `each`) when a critical step has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnError {
    /// The enclosing block fails and its other steps are cancelled.
    #[default]
    FailFast,
    /// Independent steps go on, dependents are skipped, then the block fails.
    Continue,
}

/// A term with what it yields.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    pub term: Box<Term>,
    /// `None`: the result of the only sink, or an object of the sinks by step id.
    pub result: Option<Binding>,
    /// Assets that come and go with the block.
    pub locals: Vec<Declared>,
}

/// A declared asset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declared {
    pub name: String,
    pub kind: Option<Kind>,
    /// Where its content is.
    pub path: Option<String>,
    /// The asset that contains it, although its name does not say so.
    pub within: Option<String>,
    /// It is meant for others than the workflow.
    pub output: bool,
    /// The BLAKE3 hash, in hexadecimal, that its content has.
    pub fingerprint: Option<String>,
}

/// A workflow nests no deeper inside itself, because results are put together by recursion.
pub const MAX_RECURSION: u32 = 200;

/// Every composite except sequence, parallel and partial owns blocks of its own: a step in
/// one of those can't be referred to from outside, only the composite's own result can.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    Activity(Activity),
    /// One after another; empty is the term that completes at once.
    Sequence(Vec<Term>),
    Parallel(Vec<Term>),
    /// Sub-terms under a partial order: explicit edges (indices, before → after); a binding
    /// that refers to a step in a sibling orders the two as well.
    Partial {
        terms: Vec<Term>,
        edges: Vec<(u32, u32)>,
    },
    /// The first branch whose condition holds; without one, `otherwise`.
    Choice {
        id: String,
        branches: Vec<(Expr, Block)>,
        otherwise: Option<Block>,
    },
    /// `state = init; while condition { state = body(state) }`; the result is the last state.
    Loop {
        id: String,
        /// The name under which body and condition see the state.
        name: String,
        init: Binding,
        condition: Expr,
        body: Block,
        /// The run fails if the condition still holds after `max` iterations;
        /// `None` only where the user said `unbounded`.
        max: Option<u32>,
    },
    /// The body once per item of a list known at run time; the result is the list of results.
    Each {
        id: String,
        /// The name under which the body sees its item; `{name}_index` is its position.
        name: String,
        items: Binding,
        body: Block,
        /// At most this many iterations at a time.
        limit: Option<u32>,
        on_error: OnError,
    },
    /// A sub-workflow, inlined: its steps belong to the same run under this id's path.
    Scope {
        id: String,
        workflow: String,
        inputs: Vec<(String, Binding)>,
        body: Block,
    },
    /// The nearest enclosing workflow of that name once more, inside itself.
    Recursion {
        id: String,
        workflow: String,
        inputs: Vec<(String, Binding)>,
        /// The run fails if calls would nest deeper; at most `MAX_RECURSION`.
        max_depth: u32,
    },
    /// The body must end within so many microseconds of its start.
    Timeout {
        id: String,
        micros: i64,
        body: Block,
    },
    /// If the body fails or times out, the handler runs and its result counts;
    /// it sees the error as `error` {code, message, step}.
    Handler {
        id: String,
        body: Block,
        handler: Block,
    },
    /// A durable pause. Yields {delayed_ms, completed_at}.
    Sleep {
        id: String,
        duration: Binding,
    },
    /// Waits for a named signal and yields its value.
    Signal {
        id: String,
        name: String,
    },
    /// Completes when `count` branches have, and cancels the others; yields the list of
    /// results in branch order, or the result itself if `count` is 1.
    First {
        id: String,
        count: u32,
        branches: Vec<Block>,
    },
}

impl Term {
    /// The id of the step that the term is; sequence, parallel and partial are none.
    pub fn id(&self) -> Option<&str> {
        match self {
            Term::Sequence(_) | Term::Parallel(_) | Term::Partial { .. } => None,
            Term::Activity(Activity { id, .. })
            | Term::Choice { id, .. }
            | Term::Loop { id, .. }
            | Term::Each { id, .. }
            | Term::Scope { id, .. }
            | Term::Recursion { id, .. }
            | Term::Timeout { id, .. }
            | Term::Handler { id, .. }
            | Term::Sleep { id, .. }
            | Term::Signal { id, .. }
            | Term::First { id, .. } => Some(id),
        }
    }
}

/// One occurrence of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Activity {
    pub id: String,
    pub task: String,
    pub args: Vec<Binding>,
    pub kwargs: Vec<(String, Binding)>,
    /// `SetVariable` post-actions: variable → expression over `result` (and all in scope).
    pub set: Vec<(String, Expr)>,
    /// What it does to assets; `None` if that is not said.
    pub access: Option<Arc<[Access]>>,
    /// Shared between activities of one task.
    pub options: Arc<Options>,
}

/// What a step does to an asset.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    pub mode: Mode,
    pub asset: Asset,
}

/// How long a body in a process of its own may take to end once it is told to, unless its step says.
pub const GRACE: i64 = 5_000_000;

/// How a step is run. Two options with equal fields are the same options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    pub retry: Option<Retry>,
    /// Microseconds an attempt may take.
    pub timeout: Option<i64>,
    /// Microseconds an attempt is expected to take.
    pub expected: Option<i64>,
    /// Microseconds without a sign of life after which an attempt counts as out of time.
    pub heartbeat: Option<i64>,
    pub limits: Limits,
    /// Microseconds between the signal to end and the one that ends a process; `None`: `GRACE`.
    pub grace: Option<i64>,
    /// 0 critical, 1 high, 2 normal, 3 low, 4 background; `None`: the run's.
    pub priority: Option<u8>,
    /// A failed step that is not critical is tolerated: its dependents are skipped.
    pub tolerated: bool,
    /// Run although an upstream step failed or was skipped: its result reads as null.
    pub run_on_upstream_failure: bool,
    pub resources: Resources,
    pub pure: bool,
    pub idempotent: bool,
    /// Names of tasks this one commutes with; its own name means with itself.
    pub commutes_with: Vec<String>,
    /// Immutable results may be handed on without decoding them again.
    pub share: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Retry {
    /// Tries = 1 + `max_retries`.
    pub max_retries: u32,
    pub backoff: Backoff,
    /// Microseconds.
    pub delay: i64,
    /// Thousandths, so that options stay hashable; 2000 doubles.
    pub factor_milli: u32,
    /// Microseconds; no delay is longer.
    pub cap: Option<i64>,
    /// Thousandths of the delay by which it varies at most, up or down.
    pub jitter_milli: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Backoff {
    Fixed,
    Linear,
    #[default]
    Exponential,
}

/// What a body in a process of its own may use; `None` for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Microseconds of processors' time.
    pub cpu: Option<i64>,
}

/// What a step holds while it runs. Integers inside: milli-units for counts, bytes for memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    /// Name → amount; `cpu` and custom names in thousandths, `memory` and `disk` in bytes.
    pub amounts: BTreeMap<String, u64>,
}

/// Where a parameter comes from. In JSON: a constant as it is, and `{"$": "expression"}`.
#[derive(Clone, Debug, PartialEq)]
pub enum Binding {
    /// MessagePack.
    Const(Arc<[u8]>),
    Expr(Expr),
    List(Vec<Binding>),
    Map(Vec<(String, Binding)>),
}
