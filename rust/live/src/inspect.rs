//! A run as people look at it: its steps with their times, tries and errors, from the journal.

use ferroflow_engine::event::{Event, What};
use ferroflow_engine::{Micros, RunId};
use ferroflow_journal::{Reader, RunRow, store};
use serde::Serialize;

use crate::recover::{find, rebuild};
use crate::types::EngineError;

/// A run with all its steps.
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
    pub error: Option<String>,
    pub reason: Option<String>,
    pub recoveries: u32,
    pub steps: Vec<StepView>,
    /// Variable → MessagePack.
    #[serde(skip)]
    pub variables: Vec<(String, Vec<u8>)>,
    #[serde(skip)]
    pub events: Vec<Event>,
}

/// A step; times are microseconds since 1970, UTC.
#[derive(Clone, Debug, Serialize)]
pub struct StepView {
    pub path: String,
    /// `task`, or the kind of composite.
    pub kind: &'static str,
    pub task: Option<String>,
    pub state: &'static str,
    pub attempts: u16,
    /// When the last attempt began.
    pub started: Option<Micros>,
    pub ended: Option<Micros>,
    pub error: Option<String>,
    pub percent: Option<f64>,
}

/// Rebuilds a run from its journal and describes it.
pub fn inspect(reader: &mut dyn Reader, id: RunId) -> Result<Inspection, EngineError> {
    let row: RunRow = find(reader, id)?;
    let (run, values, _) = rebuild(reader, &row)?;
    let (events, _) = store::events(reader, id)?;
    let mut steps: Vec<StepView> = (0..run.len())
        .map(|step| StepView {
            path: run.path(step),
            kind: run.node(step).kind.name(),
            task: run.task(step).map(|task| run.program.tasks[task.task as usize].to_string()),
            state: run.step(step).map_or("", |state| state.name()),
            attempts: run.attempts_of(step),
            started: None,
            ended: None,
            error: None,
            percent: None,
        })
        .collect();
    for event in &events {
        let at = event.at;
        match &event.what {
            What::StepStarted { step, .. } => {
                let view = &mut steps[*step as usize];
                (view.started, view.ended) = (Some(at), None);
            }
            What::Slept { step, .. }
            | What::Looped { step, again: true, .. }
            | What::Expanded { step, .. }
            | What::Entered { step, .. } => {
                steps[*step as usize].started.get_or_insert(at);
            }
            What::StepCompleted { step, .. }
            | What::TimerFired { step }
            | What::Looped { step, again: false, .. }
            | What::SignalTaken { step, .. }
            | What::Computed { step, .. } => steps[*step as usize].ended = Some(at),
            What::StepRetrying { step, error, .. }
            | What::StepFailed { step, error, .. }
            | What::StepTimedOut { step, error, .. } => {
                let view = &mut steps[*step as usize];
                view.ended = Some(at);
                view.error = Some(format!("{}: {}", error.code, error.message));
            }
            What::StepProgress { step, percent, .. } => steps[*step as usize].percent = Some(*percent),
            _ => {}
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
        error: row.error,
        reason: head.reason.as_deref().map(str::to_owned),
        recoveries: head.recoveries,
        steps,
        variables: values
            .variables()
            .iter()
            .map(|(name, bytes)| (name.to_string(), bytes.to_vec()))
            .collect(),
        events,
    })
}
