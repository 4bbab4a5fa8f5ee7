//! Taking up runs again where their journals end.

use std::collections::HashMap;
use std::sync::Arc;

use ferroflow_define::Definition;
use ferroflow_define::algebra::compile::Program;
use ferroflow_engine::event::{Event, What};
use ferroflow_engine::ids::Value;
use ferroflow_engine::{Command, Failure, Refusal, Run, RunId, RunState};
use ferroflow_journal::codec::Link;
use ferroflow_journal::{Filter, Reader, RunRow, StoreError, store};

use crate::children::kill_group;
use crate::engine::{Engine, usable};
use crate::types::{EngineError, Unfinished};
use crate::values::Values;

impl Engine {
    /// Runs that had not ended when the database was last used, with the tasks they need.
    pub fn unfinished(&self) -> Result<Vec<Unfinished>, EngineError> {
        let states = ["created", "running", "paused"].map(str::to_owned).to_vec();
        let filter = Filter { states, limit: usize::MAX >> 1, ..Filter::default() };
        self.with_reader(|reader| {
            let mut found = Vec::new();
            let mut programs: HashMap<[u8; 32], Arc<Program>> = HashMap::new();
            for row in reader.runs(&filter)?.into_iter().rev() {
                if self.core().by_id.contains_key(&row.id) {
                    continue;
                }
                let program = match programs.get(&row.digest) {
                    Some(program) => Ok(program.clone()),
                    None => load_program(reader, &row),
                };
                let tasks = program.map(|program| {
                    programs.insert(row.digest, program.clone());
                    program.tasks.clone()
                });
                found.push(Unfinished { row, tasks });
            }
            Ok::<_, EngineError>(found)
        })
    }

    /// Between the first of runs that are taken up and the last, none of their steps gets what it accesses: locks
    /// that the others have come first.
    pub fn taking_up(&self, begins: bool) {
        let mut core = self.core();
        core.take_up(begins);
        self.tell(core);
    }

    /// Takes a run up again where its journal ends, or lets it fail, if something has refused it.
    ///
    /// What is left of processes that ran its bodies is ended before.
    pub fn recover(
        &self,
        row: &RunRow,
        lanes: impl Fn(&[Arc<str>]) -> Vec<u8>,
        refused: Option<Failure>,
    ) -> Result<(), EngineError> {
        let most = self.core().settings.max_value;
        let (run, values, link) = self.with_reader(|reader| rebuild(reader, row, most))?;
        if run.state().is_terminal() {
            return Ok(());
        }
        if let Some((_, alive)) = run.processes().find(|(_, process)| !kill_group(process)) {
            return Err(EngineError::Alive { run: run.id, pid: alive.pid });
        }
        let mut core = self.core();
        usable(&core)?;
        let state = run.state();
        let node = core.settings.node.clone();
        let lanes = lanes(&run.program.tasks);
        let index = core.admit(run, values, &lanes, Some(link)).map_err(EngineError::Problems)?;
        core.enlist(index);
        core.restore_locks(index);
        core.admission.count(RunState::Created, state);
        match state {
            RunState::Created => core.begin(index, refused.is_some())?,
            _ => core.handle(index, Command::Recover { node })?,
        }
        if let Some(error) = refused {
            core.handle(index, Command::FailRun { error })?;
        }
        self.shared.wake();
        Ok(())
    }
}

pub(crate) fn find(reader: &mut dyn Reader, run: RunId) -> Result<RunRow, EngineError> {
    // The run just before the next id, if there is a next one: the list is sorted by id.
    let next = u128::from_be_bytes(run.0).checked_add(1).map(|next| RunId(next.to_be_bytes()));
    let filter = Filter { before: next, limit: 1, ..Filter::default() };
    reader.runs(&filter)?.into_iter().find(|row| row.id == run).ok_or(EngineError::NoRun(run))
}

pub(crate) fn load_program(reader: &mut dyn Reader, row: &RunRow) -> Result<Arc<Program>, EngineError> {
    let object = reader.definition(&row.digest)?.ok_or_else(|| StoreError::Lacks {
        what: format!("the definition of workflow {:?}", row.workflow),
    })?;
    let definition = Definition::read(&object).map_err(EngineError::Problems)?;
    Program::compile(&definition).map(Arc::new).map_err(EngineError::Problems)
}

/// The run as its journal leaves it; `most` is what one value may have.
pub(crate) fn rebuild(
    reader: &mut dyn Reader,
    row: &RunRow,
    most: usize,
) -> Result<(Run, Values, Link), EngineError> {
    let program = load_program(reader, row)?;
    let (events, link) = store::events(reader, row.id)?;
    if events.is_empty() {
        return Err(missing(row).into());
    }
    let mut run = Run::new(row.id, program);
    let mut values = Values::new(most);
    for event in &events {
        run.apply(event).map_err(Refusal::from)?;
        keep(reader, row.id, &mut values, event)?;
    }
    run.out = Default::default();
    Ok((run, values, link))
}

/// The list of runs knows of records that are not there.
pub(crate) fn missing(row: &RunRow) -> StoreError {
    StoreError::Lacks { what: format!("a record of run {} ({})", row.id, row.state) }
}

/// Keeps the values that an event carries or names.
pub(crate) fn keep(
    reader: &mut dyn Reader,
    run: RunId,
    values: &mut Values,
    event: &Event,
) -> Result<(), EngineError> {
    if let Some(Value::Blob { hash, .. }) = value_in(&event.what) {
        let bytes =
            reader.blob(hash)?.ok_or_else(|| StoreError::Lacks { what: format!("a value of run {run}") })?;
        values.blob(*hash, bytes);
    }
    values.observe(&event.what, event.at);
    values.forget_blobs();
    Ok(())
}

fn value_in(what: &What) -> Option<&Value> {
    match what {
        What::RunCreated { input: value, .. }
        | What::StepCompleted { value, .. }
        | What::Looped { state: value, .. }
        | What::Expanded { items: value, .. }
        | What::Entered { inputs: value, .. }
        | What::Computed { value, .. }
        | What::SignalReceived { value, .. }
        | What::VariableSet { value, .. } => Some(value),
        _ => None,
    }
}
