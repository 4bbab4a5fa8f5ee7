//! A run as people look at it: its steps with their times, tries and errors, from the journal.

use std::sync::Arc;

use ferroflow_define::algebra::compile::{Code, Kind, Program};
use ferroflow_engine::event::{Event, Failure, Used, What};
use ferroflow_engine::{Micros, Refusal, Run, RunId, RunState, Step, StepState, Token};
use ferroflow_journal::{Bytes, Reader, store};
use serde::{Serialize, Serializer};

use crate::recover::{find, keep, load_program};
use crate::types::EngineError;
use crate::values::Values;

/// A run with all its steps; times are microseconds since 1970, UTC.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    pub id: String,
    pub workflow: String,
    pub version: String,
    pub state: String,
    pub degraded: bool,
    pub priority: u8,
    pub correlation: Option<String>,
    pub created: Micros,
    pub started: Option<Micros>,
    pub ended: Option<Micros>,
    /// Why it failed, and the path of the step that failed first.
    pub error: Option<RunError>,
    pub reason: Option<String>,
    pub recoveries: u32,
    /// A step's number is its place here.
    pub steps: Vec<StepView>,
    pub blocks: Vec<BlockView>,
    /// Only if values were asked for, like the results of the steps.
    pub input: Option<Packed>,
    pub result: Option<Packed>,
    pub variables: Option<Packed>,
}

#[derive(Clone, Debug, Serialize)]
pub struct RunError {
    pub code: Arc<str>,
    pub message: Arc<str>,
    pub details: Arc<str>,
    pub step: Option<String>,
}

/// A step of a run.
#[derive(Clone, Debug, Serialize)]
pub struct StepView {
    pub path: String,
    /// Where it is in `Inspection::blocks`.
    pub block: u32,
    pub node: u32,
    /// `task`, or the kind of composite.
    pub kind: &'static str,
    pub task: Option<String>,
    pub state: &'static str,
    pub attempts: u16,
    /// When it last became ready.
    pub scheduled: Option<Micros>,
    /// When a task's last attempt began, or a composite.
    pub started: Option<Micros>,
    /// When that ended.
    pub ended: Option<Micros>,
    /// Where the engine was that began a task's last attempt.
    pub ran_on: Option<Arc<str>>,
    pub error: Option<Failure>,
    /// What the last attempt told of itself, and when.
    pub percent: Option<f64>,
    pub message: Option<String>,
    pub updated: Option<Micros>,
    /// Of the last attempt that told it, also after it was superseded.
    pub used: Option<Used>,
    #[serde(skip)]
    used_by: Token,
    pub result: Option<Packed>,
}

/// What a picture shows of a block: the composite it belongs to as (block, node), nodes as
/// (id, kind, task), and edges.
pub type BlockView = (Option<(u32, u32)>, Vec<(String, &'static str, Option<String>)>, Vec<(u32, u32)>);

/// MessagePack as it is: bytes inside the message.
#[derive(Clone, Debug)]
pub struct Packed(Bytes);

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

/// Values above this are left out of what is shown.
const SHOWN: usize = 64 << 20;

/// The blocks of a program.
pub fn blocks(program: &Program) -> Vec<BlockView> {
    let block = |code: &Code| {
        let nodes = code.nodes.iter().map(|node| {
            let task = match &node.kind {
                Kind::Task(task) => Some(program.tasks[task.task as usize].to_string()),
                _ => None,
            };
            (node.id.to_string(), node.kind.name(), task)
        });
        let edges = (0..code.nodes.len() as u32)
            .flat_map(|from| code.graph.successors(from).iter().map(move |&to| (from, to)));
        (code.owner, nodes.collect(), edges.collect())
    };
    program.blocks.iter().map(block).collect()
}

/// Replays a run from its journal and describes it; with its values, if they are asked for.
pub fn inspect(reader: &mut dyn Reader, id: RunId, with_values: bool) -> Result<Inspection, EngineError> {
    let row = find(reader, id)?;
    let (events, _) = store::events(reader, id)?;
    let mut run = Run::new(id, load_program(reader, &row)?);
    let mut values = Values::new(SHOWN);
    let mut steps: Vec<StepView> = Vec::new();
    run.out.moves = Some(Vec::new());
    for event in &events {
        run.apply(event).map_err(Refusal::from)?;
        // Replaying fills these for a driver.
        run.out.offers.clear();
        run.out.asks.clear();
        run.out.stops.clear();
        run.out.withdrawn.clear();
        run.out.unlocked.clear();
        if with_values {
            keep(reader, id, &mut values, event)?;
        }
        steps.extend((steps.len() as u32..run.len()).map(|step| view(&run, step)));
        let mut moves = run.out.moves.take().unwrap_or_default();
        for (step, state) in moves.drain(..) {
            moved(&mut steps[step as usize], state, event.at);
        }
        run.out.moves = Some(moves);
        tell(&mut steps, event, &run.head().node);
    }
    for (number, step) in steps.iter_mut().enumerate() {
        let number = number as u32;
        step.attempts = run.attempts_of(number);
        if with_values && run.step(number) == Some(StepState::Completed) {
            step.result = values.of_step(&run, number).ok().map(Packed);
        }
    }
    let head = run.head();
    Ok(Inspection {
        id: id.to_string(),
        workflow: row.workflow,
        version: row.version,
        state: run.state().name().to_owned(),
        degraded: head.degraded,
        priority: head.priority,
        correlation: row.correlation,
        created: head.created,
        started: head.started,
        ended: head.ended,
        error: head.error.clone().map(|(step, Failure { code, message, details })| RunError {
            code,
            message,
            details,
            step: step.map(|step| run.path(step)),
        }),
        reason: head.reason.as_deref().map(str::to_owned),
        recoveries: head.recoveries,
        steps,
        blocks: blocks(&run.program),
        input: with_values.then(|| Packed(values.input())),
        result: (with_values && run.state() == RunState::Completed)
            .then(|| values.result(&run).ok().map(|out| Packed(out.whole())))
            .flatten(),
        variables: with_values.then(|| Packed(values.variables().into())),
    })
}

fn view(run: &Run, step: u32) -> StepView {
    let place = run.place(step);
    StepView {
        path: run.path(step),
        block: place.block,
        node: place.node,
        kind: run.node(step).kind.name(),
        task: run.task(step).map(|task| run.program.tasks[task.task as usize].to_string()),
        state: StepState::Pending.name(),
        attempts: 0,
        scheduled: None,
        started: None,
        ended: None,
        ran_on: None,
        error: None,
        percent: None,
        message: None,
        updated: None,
        used: None,
        used_by: 0,
        result: None,
    }
}

/// Times follow from the changes of a step's state. A task starts with each attempt, and waits
/// between two; a composite starts once, when what it depends on has ended.
fn moved(step: &mut StepView, state: StepState, at: Micros) {
    step.state = state.name();
    if state == StepState::Ready {
        step.scheduled = Some(at);
    }
    if state.is_terminal() {
        step.ended = Some(at);
    }
    if step.kind == "task" {
        match state {
            StepState::Running => (step.started, step.ended) = (Some(at), None),
            StepState::Waiting => step.ended = Some(at),
            // An attempt that was cut off has no end of its own.
            StepState::Ready => (step.started, step.ended, step.ran_on) = (None, None, None),
            _ => {}
        }
    } else if matches!(state, StepState::Ready | StepState::Running | StepState::Waiting)
        || state == StepState::Completed
    {
        step.scheduled.get_or_insert(at);
        step.started.get_or_insert(at);
    }
}

/// What an event says of its step besides its state.
fn tell(steps: &mut [StepView], event: &Event, node: &Arc<str>) {
    if let Some((step, token, used)) = used(&event.what) {
        let step = &mut steps[step as usize];
        // A superseded body may end after the attempts that came later.
        if token >= step.used_by {
            (step.used, step.used_by) = (Some(used), token);
        }
    }
    match &event.what {
        What::StepStarted { step, .. } => {
            let step = &mut steps[*step as usize];
            step.ran_on = Some(node.clone());
            (step.percent, step.message, step.updated) = (None, None, None);
        }
        What::StepRetrying { step, error, .. }
        | What::StepFailed { step, error, .. }
        | What::StepTimedOut { step, error, .. } => steps[*step as usize].error = Some(error.clone()),
        // A retry that went well leaves no error behind.
        What::StepCompleted { step, .. } => steps[*step as usize].error = None,
        What::StepProgress { step, percent, message, .. } => {
            let step = &mut steps[*step as usize];
            step.percent = Some(*percent);
            step.message = (!message.is_empty()).then(|| message.to_string());
            step.updated = Some(event.at);
        }
        What::StepBeat { step, .. } => steps[*step as usize].updated = Some(event.at),
        _ => {}
    }
}

/// What an event says of what an attempt used.
fn used(what: &What) -> Option<(Step, Token, Used)> {
    match what {
        What::StepCompleted { step, token, used, .. }
        | What::StepRetrying { step, token, used, .. }
        | What::StepFailed { step, token, used, .. }
        | What::StepTimedOut { step, token, used, .. } => used.map(|used| (*step, *token, used)),
        What::StepUsed { step, token, used } => Some((*step, *token, *used)),
        _ => None,
    }
}
