//! Why a run is where it is: a run that makes no progress says what it waits for.

use std::collections::HashMap;

use ferroflow_define::algebra::compile::Kind;
use ferroflow_engine::{Micros, Run, RunState, Step, StepState};
use serde::Serialize;

/// What one step does or waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Path of the step; empty for the run as a whole.
    pub step: String,
    /// `paused`, `running`, `queued`, `lease`, `signal`, `sleep` or `retry`.
    pub what: &'static str,
    /// The signal's name, what a queued step lacks, who has the asset that one waits for, the reason of a pause.
    pub detail: String,
    /// Until when, in microseconds since 1970, UTC.
    pub until: Option<Micros>,
}

/// At most so many reasons of each kind, and the steps they are about. What queued ones wait for is for
/// whoever knows the queue to say.
pub(crate) fn reasons(run: &Run, most: usize) -> Vec<(Option<Step>, Reason)> {
    let mut found = Vec::new();
    if run.state().is_terminal() {
        return found;
    }
    if run.state() == RunState::Paused {
        let detail = run.head().reason.as_deref().unwrap_or_default().to_owned();
        found.push((None, Reason { step: String::new(), what: "paused", detail, until: None }));
    }
    let mut counts: HashMap<&'static str, usize> = HashMap::new();
    for step in 0..run.len() {
        let task = run.task(step).is_some();
        let (what, detail) = match (run.step(step), &run.node(step).kind) {
            (Some(StepState::Running), _) if task => ("running", String::new()),
            (Some(StepState::Ready), _) if task => ("queued", String::new()),
            (Some(StepState::Waiting), Kind::Signal(name)) => ("signal", name.to_string()),
            (Some(StepState::Waiting), Kind::Sleep(_)) => ("sleep", String::new()),
            (Some(StepState::Waiting), _) => ("retry", String::new()),
            _ => continue,
        };
        let count = counts.entry(what).or_default();
        *count += 1;
        if *count <= most {
            let reason = Reason { step: run.path(step), what, detail, until: run.timer_of(step) };
            found.push((Some(step), reason));
        }
    }
    found
}
