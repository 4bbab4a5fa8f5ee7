//! A compiled workflow: blocks of nodes in compressed sparse row form, with every name resolved.

use std::sync::Arc;

use crate::access::assets::{AssetId, Assets};
use crate::access::check::{Access, At};
use crate::access::name::Segment as Name;
use crate::algebra::term::{Declared, Input, OnError, Options};
use crate::expr::{Expr, Reference};
use crate::graph::Csr;
use crate::value::Segment;

/// A compiled workflow. Blocks are numbered so that a block's owner comes before it; 0 is the root.
#[derive(Clone, Debug)]
pub struct Program {
    pub name: String,
    pub version: String,
    pub inputs: Vec<Input>,
    pub on_error: OnError,
    pub timeout: Option<i64>,
    pub blocks: Vec<Code>,
    /// Names of the tasks used, sorted.
    pub tasks: Vec<Arc<str>>,
    pub accesses: Accesses,
}

/// What is known of assets beside what each step does to them.
#[derive(Clone, Debug, Default)]
pub struct Accesses {
    pub assets: Assets,
    /// The uses of all steps once more, by block, node and index, so that to look at all of them is quick.
    pub uses: Vec<Access>,
    /// Nodes that are neither tasks nor joins, by block.
    pub others: Vec<(u32, u32)>,
    /// What is read of values without being declared, by block and node; nothing if no value is moved or changed.
    pub reads: Vec<Read>,
    /// Assets of the world, with their whole names.
    pub declared: Vec<(Vec<Name>, Declared)>,
    /// What is wrong with names.
    pub faults: Vec<Fault>,
    /// Assets that are meant for others.
    pub outputs: Vec<AssetId>,
}

/// What is wrong with the name of an asset.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// It lies in none of the declared ones; one of those is called nearly so, maybe.
    Unknown { at: At, name: String, like: Option<String> },
    /// It is that of a local asset of a block that is not round the step: where that is declared.
    Outlives { at: At, name: String, block: u32 },
    /// It lies inside a file.
    InFile { at: At, name: String, file: String },
    /// A step has it twice, in ways that exclude each other: the second access.
    Twice { at: At, second: u32 },
    /// Assets lie within each other.
    Circle { names: Vec<String> },
}

/// A value that a node reads because it needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    pub block: u32,
    /// `YIELDS` where it is what the block yields.
    pub node: u32,
    pub asset: AssetId,
    /// It is read again after each turn of a loop.
    pub again: bool,
}

/// In place of a node: the end of the block.
pub const YIELDS: u32 = u32::MAX;

/// A compiled block.
#[derive(Clone, Debug)]
pub struct Code {
    pub nodes: Vec<Node>,
    pub graph: Csr,
    pub indegree: Vec<u32>,
    /// Microseconds that each node is expected to take, and the longest way from its beginning to the end
    /// of the run.
    pub expected: Vec<i64>,
    pub upward: Vec<i64>,
    /// What the block yields; always derivable from results of its steps alone.
    pub result: Bind,
    /// The composite that owns it: (block, node).
    pub owner: Option<(u32, u32)>,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub id: Arc<str>,
    pub kind: Kind,
}

/// What a node does. Block numbers index `Program::blocks`.
#[derive(Clone, Debug)]
pub enum Kind {
    Task(Box<TaskUse>),
    /// Evaluates a binding; made by the compiler for block results that need evaluation.
    Compute(Bind),
    /// Nothing: stands for many edges.
    Join,
    Sleep(Bind),
    Signal(Arc<str>),
    Choice {
        branches: Vec<(Bind, u32)>,
        otherwise: Option<u32>,
    },
    Loop {
        init: Bind,
        condition: Bind,
        body: u32,
        max: Option<u32>,
    },
    Each {
        items: Bind,
        body: u32,
        limit: Option<u32>,
        on_error: OnError,
    },
    Scope {
        inputs: Bind,
        /// A block of its own, or that of an enclosing workflow, which begins again.
        body: u32,
        /// How deep an enclosing workflow may nest in itself.
        max_depth: Option<u32>,
    },
    Timeout {
        micros: i64,
        body: u32,
    },
    Handler {
        body: u32,
        handler: u32,
    },
    First {
        count: u32,
        branches: Vec<u32>,
    },
}

impl Kind {
    /// What it is called in definitions and pictures.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Task(_) => "task",
            Kind::Compute(_) => "result",
            Kind::Join => "join",
            Kind::Sleep(_) => "sleep",
            Kind::Signal(_) => "signal",
            Kind::Choice { .. } => "choice",
            Kind::Loop { .. } => "loop",
            Kind::Each { .. } => "each",
            Kind::Scope { max_depth: None, .. } => "workflow",
            Kind::Scope { max_depth: Some(_), .. } => "recursion",
            Kind::Timeout { .. } => "timeout",
            Kind::Handler { .. } => "try",
            Kind::First { .. } => "first",
        }
    }
}

#[derive(Clone, Debug)]
pub struct TaskUse {
    /// Index into `Program::tasks`.
    pub task: u32,
    pub args: Vec<Bind>,
    pub kwargs: Vec<(Arc<str>, Bind)>,
    pub set: Vec<(Arc<str>, Bind)>,
    /// What it does to assets; `None` if that is not said.
    pub uses: Option<Box<[Use]>>,
    pub options: Arc<Options>,
}

/// What a step does to an asset.
#[derive(Clone, Debug)]
pub struct Use {
    pub asset: AssetId,
    /// See `access::assets`.
    pub mode: u32,
    /// Which of the declared accesses of the step it is.
    pub index: u32,
    /// What fills the holes of the asset's name, from left to right.
    pub holes: Box<[Bind]>,
}

/// A binding with its names resolved.
#[derive(Clone, Debug)]
pub enum Bind {
    Const(Arc<[u8]>),
    /// A plain path into a source.
    Path {
        source: Source,
        segments: Arc<[Segment]>,
        expr: Expr,
    },
    /// A CEL expression; `sources` says where each of its references comes from.
    Cel {
        expr: Expr,
        sources: Arc<[(Reference, Source)]>,
    },
    List(Vec<Bind>),
    Map(Vec<(Arc<str>, Bind)>),
}

/// Where a name leads. `up` counts the blocks to climb from the one that uses the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Step {
        up: u16,
        node: u32,
    },
    /// The object of the inputs of the workflow whose body is `up` blocks above.
    Input {
        up: u16,
    },
    Item {
        up: u16,
    },
    Index {
        up: u16,
    },
    State {
        up: u16,
    },
    Iteration {
        up: u16,
    },
    Error {
        up: u16,
    },
    /// The object of the run's variables.
    Vars,
    /// The result of the step itself, in `set`.
    Result,
}

impl Bind {
    /// Whether it can be put together from results alone, so that it can't fail.
    pub(super) fn derivable(&self) -> bool {
        match self {
            Bind::Const(_) => true,
            Bind::Path { source, segments, .. } => segments.is_empty() && *source != Source::Vars,
            Bind::Cel { .. } => false,
            Bind::List(items) => items.iter().all(Bind::derivable),
            Bind::Map(items) => items.iter().all(|(_, bind)| bind.derivable()),
        }
    }
}
