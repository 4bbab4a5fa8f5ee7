//! Simulations: scenarios from plain values, outcomes as columns, and journals of single runs.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use ferroflow_define::algebra::compile::{Kind, Program as Compiled};
use ferroflow_engine::RunState;
use ferroflow_journal::codec::{self, Link};
use ferroflow_journal::{Append, Batch, SqliteStore, Store, StoreError, Sync};
use ferroflow_plan::simulate::{
    Answers, BadScenario, Faults, Law, Loss, Outcome, Scenario, simulate, simulate_all,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::engine::store_error;
use crate::platform::{self, Parts};
use crate::policy::{self, Spelled};
use crate::{Program, raise, read};

/// Events that go into a record of a journal together.
const RECORD: usize = 10_000;

/// Simulations between two looks at whether Ctrl-C was pressed.
const TURN: usize = 16;

/// A law as (kind, parameters).
type LawParts = (String, Vec<f64>);

fn law((kind, parameters): LawParts) -> PyResult<Law> {
    Ok(match (&*kind, &*parameters) {
        ("constant", &[value]) => Law::Constant(value),
        ("uniform", &[least, most]) => Law::Uniform { least, most },
        ("normal", &[mean, deviation]) => Law::Normal { mean, deviation },
        ("lognormal", &[mean, deviation]) => Law::LogNormal { mean, deviation },
        ("exponential", &[mean]) => Law::Exponential { mean },
        ("weibull", &[scale, shape]) => Law::Weibull { scale, shape },
        ("observed", _) => Law::Observed(parameters.into()),
        ("trace", _) => Law::Trace(parameters.into()),
        _ => return Err(PyValueError::new_err(format!("{kind}{parameters:?} is no law"))),
    })
}

/// What goes wrong, as (failure, straggler, losses as (node, at, until), outages as (up, down), delay).
type FaultParts = (f64, (f64, f64), Vec<(u32, i64, Option<i64>)>, Option<(LawParts, LawParts)>, LawParts);

fn faults((failure, straggler, losses, outages, delay): FaultParts) -> PyResult<Faults> {
    let losses = losses.into_iter().map(|(machine, at, until)| Loss { machine, at, until });
    let outages = outages.map(|(up, down)| Ok::<_, PyErr>((law(up)?, law(down)?))).transpose()?;
    Ok(Faults { failure, straggler, losses: losses.collect(), outages, delay: law(delay)? })
}

/// The path of each node without indices, block by block: `each/train`.
fn paths(program: &Compiled) -> Vec<Vec<String>> {
    let mut paths: Vec<Vec<String>> = Vec::with_capacity(program.blocks.len());
    for code in &program.blocks {
        // An owner comes before what it owns.
        let prefix = code
            .owner
            .map_or(String::new(), |(block, node)| format!("{}/", paths[block as usize][node as usize]));
        paths.push(code.nodes.iter().map(|node| format!("{prefix}{}", node.id)).collect());
    }
    paths
}

/// A scenario, to be simulated as often as one likes.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Simulator {
    scenario: Scenario,
    object: Arc<[u8]>,
}

#[pymethods]
impl Simulator {
    /// Refuses what can't be simulated, and names that nothing in the workflow has.
    #[new]
    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (program, start, platform, default, durations, answers, weights, transfers, wrong, ranking))]
    fn new(
        py: Python<'_>,
        program: &Program,
        start: i64,
        platform: Parts<'_>,
        default: LawParts,
        durations: HashMap<String, LawParts>,
        answers: HashMap<String, LawParts>,
        weights: HashMap<String, Vec<f64>>,
        transfers: Vec<(u32, u32, f64)>,
        wrong: FaultParts,
        ranking: Spelled,
    ) -> PyResult<Self> {
        let platform = platform::read(platform)?.map_err(crate::plan::refused)?;
        let mut scenario = Scenario::new(program.compiled.clone(), platform);
        scenario.digest = program.digest;
        scenario.start = start;
        scenario.transfers = transfers;
        scenario.faults = faults(wrong)?;
        let default = law(default)?;
        let laws = |parts: HashMap<String, LawParts>| {
            parts
                .into_iter()
                .map(|(name, parts)| Ok((name, law(parts)?)))
                .collect::<PyResult<HashMap<_, _>>>()
        };
        let (durations, answers) = (laws(durations)?, laws(answers)?);
        let given = durations.keys().chain(answers.keys()).chain(weights.keys());
        let mut unknown: HashSet<&str> = given.map(String::as_str).collect();
        let paths = paths(&program.compiled);
        for (block, code) in program.compiled.blocks.iter().enumerate() {
            for (node, it) in code.nodes.iter().enumerate() {
                let path = &paths[block][node];
                let task = match &it.kind {
                    Kind::Task(task) => &*program.compiled.tasks[task.task as usize],
                    _ => "",
                };
                unknown.remove(path.as_str());
                unknown.remove(task);
                let found = durations.get(path).or_else(|| durations.get(task));
                scenario.durations[block][node] = found.unwrap_or(&default).clone();
                if let Some(amount) = answers.get(path) {
                    scenario.answers[block][node] = Answers::Amount(amount.clone());
                }
                if let Some(weights) = weights.get(path) {
                    scenario.answers[block][node] = Answers::Branches(weights.as_slice().into());
                }
            }
        }
        if let Some(name) = unknown.iter().min() {
            return Err(PyValueError::new_err(format!(
                "no task and no step of workflow {:?} is called {name:?}",
                program.compiled.name
            )));
        }
        let policy = policy::policy(ranking)?;
        let checked = py.detach(|| {
            scenario.check()?;
            scenario.rank_by(policy);
            Ok::<_, BadScenario>(())
        });
        checked.map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self { scenario, object: program.object.clone() })
    }

    /// For each seed: (state, makespan in microseconds, cost, busy microseconds of each node, steps
    /// completed, attempts, why it is stuck). On all processors, without the interpreter; `told` is called
    /// with how many are done.
    #[allow(clippy::type_complexity)]
    fn all(
        &self,
        py: Python<'_>,
        seeds: Vec<u64>,
        told: Option<Py<PyAny>>,
    ) -> PyResult<Vec<(&'static str, i64, f64, Vec<i64>, u64, u64, Option<String>)>> {
        let scenario = Scenario { keep: false, ..self.scenario.clone() };
        let mut found = Vec::with_capacity(seeds.len());
        for seeds in seeds.chunks(TURN) {
            let part = py.detach(|| simulate_all(&scenario, seeds, &|| false));
            found.extend(part.into_iter().flatten().map(|it| {
                (it.state.name(), it.makespan, it.cost, it.busy, it.completed, it.attempts, it.stuck)
            }));
            py.check_signals()?;
            if let Some(told) = &told {
                told.call1(py, (found.len(),))?;
            }
        }
        Ok(found)
    }

    /// One simulation, with all that happened.
    fn one(&self, py: Python<'_>, seed: u64) -> Simulated {
        let outcome = py.detach(|| simulate(&self.scenario, seed));
        Simulated { outcome, object: self.object.clone() }
    }
}

/// A simulated run.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Simulated {
    outcome: Outcome,
    object: Arc<[u8]>,
}

#[pymethods]
impl Simulated {
    #[getter]
    fn id(&self) -> String {
        self.outcome.run.as_ref().map_or(String::new(), |run| run.id.to_string())
    }

    #[getter]
    fn state(&self) -> &'static str {
        self.outcome.state.name()
    }

    #[getter]
    fn stuck(&self) -> Option<&str> {
        self.outcome.stuck.as_deref()
    }

    /// Attempts as (path of the step, attempt, node, start, end) in microseconds from the run's start,
    /// in the order in which they ended.
    fn placed(&self) -> Vec<(String, u16, u32, i64, i64)> {
        let Some(run) = &self.outcome.run else { return Vec::new() };
        let origin = run.head().started.unwrap_or(run.head().created);
        let placed = self.outcome.placed.iter();
        placed
            .map(|it| (run.path(it.step), it.attempt, it.machine, it.start - origin, it.end - origin))
            .collect()
    }

    /// The events, as MessagePack.
    fn events<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        read::events(py, self.outcome.events.clone())
    }

    /// Adds the run to a database, which is made if there is none.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let Some(run) = &self.outcome.run else { return Ok(()) };
        if !matches!(run.state(), RunState::Completed | RunState::Failed | RunState::TimedOut) {
            let why = self.outcome.stuck.as_deref().unwrap_or("it has not ended");
            let message =
                format!("an engine would go on with this run, for real, for it has not ended: {why}");
            return Err(raise(py, "FerroflowError", message));
        }
        let saved = py.detach(|| -> Result<bool, StoreError> {
            let mut store = SqliteStore::open(&path, Sync::Full)?;
            if !store.reader()?.records(run.id)?.is_empty() {
                return Ok(false);
            }
            let (mut previous, mut first) = (Link::default(), 1);
            let mut batch =
                Batch { definitions: vec![(run.head().digest, self.object.to_vec())], ..Batch::default() };
            for events in self.outcome.events.chunks(RECORD) {
                let (record, link) = codec::encode(&previous, first, events);
                batch.appends.push(Append { run: run.id, first, record, previous, link, row: None });
                (previous, first) = (link, first + events.len() as u64);
            }
            if let Some(last) = batch.appends.last_mut() {
                last.row = Some(ferroflow_live::row(run));
            }
            store.commit(&batch)?;
            Ok(true)
        });
        match saved {
            Ok(true) => Ok(()),
            Ok(false) => {
                let message = format!("{} has this simulated run already", path.display());
                Err(raise(py, "FerroflowError", message))
            }
            Err(failed) => Err(store_error(py, &failed)),
        }
    }
}
