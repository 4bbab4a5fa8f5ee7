//! The engine for Python: workers are Python threads that call `work` and stay in it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferroflow_engine::{Command, Failure, Refusal, RunId};
use ferroflow_journal::{MemoryStore, SqliteStore, Store, StoreError, Sync};
use ferroflow_live::{
    Durability, Ended, EngineError, Executor, Outcome, Request, Settings, Ticket, Unfinished,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::read::{self, Listing};
use crate::{Program, problems, raise};

/// An attempt to be run.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Job {
    ticket: Ticket,
    run: RunId,
    task: Arc<str>,
    arguments: Vec<u8>,
    attempt: u16,
}

#[pymethods]
impl Job {
    #[getter]
    fn run(&self) -> String {
        self.run.to_string()
    }

    #[getter]
    fn step(&self) -> u32 {
        self.ticket.step
    }

    #[getter]
    fn token(&self) -> u64 {
        self.ticket.token
    }

    #[getter]
    fn task(&self) -> &str {
        &self.task
    }

    /// MessagePack: a list of the positional arguments, then a map of the others.
    #[getter]
    fn arguments<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.arguments)
    }

    #[getter]
    fn attempt(&self) -> u16 {
        self.attempt
    }
}

/// What became of a body, as the Python side says it: bytes, (code, message, details,
/// retriable), or None for a body that is under way.
fn outcome(returned: PyResult<Bound<'_, PyAny>>) -> Outcome {
    let failed = |code: &str, message: String, details: String, retriable| {
        let error = Failure { code: code.into(), message: message.into(), details: details.into() };
        Outcome::Failed { error, retriable }
    };
    match returned {
        Ok(value) => {
            if let Ok(bytes) = value.cast::<PyBytes>() {
                return Outcome::Done(bytes.as_bytes().to_vec());
            }
            if value.is_none() {
                return Outcome::Later;
            }
            match value.extract::<(String, String, String, bool)>() {
                Ok((code, message, details, retriable)) => failed(&code, message, details, retriable),
                Err(error) => failed("INTERNAL", error.to_string(), String::new(), false),
            }
        }
        Err(error) => failed("INTERNAL", error.to_string(), String::new(), false),
    }
}

struct Worker<'py> {
    py: Python<'py>,
    execute: Bound<'py, PyAny>,
    cancel: Option<Bound<'py, PyAny>>,
}

impl Executor for Worker<'_> {
    fn run(&mut self, job: ferroflow_live::Job) -> Outcome {
        let ferroflow_live::Job { ticket, run, task, arguments, attempt, .. } = job;
        let job = Bound::new(self.py, Job { ticket, run, task, arguments, attempt });
        outcome(job.and_then(|job| self.execute.call1((job,))))
    }

    fn idle(&mut self, wait: &mut (dyn FnMut() + Send)) {
        self.py.detach(wait);
    }

    fn cancel(&mut self, tokens: &[u64]) {
        if let Some(cancel) = &self.cancel
            && let Err(error) = cancel.call1((tokens.to_vec(),))
        {
            error.write_unraisable(self.py, None);
        }
    }
}

pub(crate) fn error(py: Python<'_>, error: EngineError) -> PyErr {
    let name = match &error {
        EngineError::Problems(found) => return problems(py, found.clone()),
        EngineError::Store(failed) => return store_error(py, failed),
        EngineError::NoRun(_) => "RunNotFound",
        EngineError::Refused(Refusal::WrongState { state, .. }) if state.is_terminal() => "RunEnded",
        EngineError::Refused(_) => "FerroflowError",
        EngineError::Input(_) => "InvalidInput",
        EngineError::Closed => "EngineClosed",
        EngineError::Halted(_) => "StorageError",
    };
    raise(py, name, error.to_string())
}

pub(crate) fn store_error(py: Python<'_>, error: &StoreError) -> PyErr {
    let name = match error {
        StoreError::Foreign { .. } => "ForeignDatabase",
        StoreError::Newer { .. } => "NewerDatabase",
        StoreError::InUse { .. } => "DatabaseInUse",
        StoreError::MissingTail { .. } => "MissingTail",
        StoreError::Damaged { .. } | StoreError::Corrupt { .. } => "CorruptDatabase",
        StoreError::Fenced { .. } | StoreError::Absent { .. } | StoreError::Io { .. } => "StorageError",
    };
    raise(py, name, error.to_string())
}

pub(crate) fn run_id(text: &str) -> PyResult<RunId> {
    let digits: String = text.chars().filter(|it| *it != '-').collect();
    if digits.len() == 32
        && let Ok(number) = u128::from_str_radix(&digits, 16)
    {
        return Ok(RunId(number.to_be_bytes()));
    }
    Err(PyValueError::new_err(format!("{text:?} is not the id of a run")))
}

/// (state, degraded, result, (step, code, message, details) or None, reason)
type EndedTuple<'py> =
    (&'static str, bool, Bound<'py, PyBytes>, Option<(String, String, String, String)>, Option<String>);

fn ended_tuple<'py>(py: Python<'py>, ended: &Ended) -> EndedTuple<'py> {
    let error = ended.error.as_ref().map(|(step, error)| {
        (step.clone(), error.code.to_string(), error.message.to_string(), error.details.to_string())
    });
    (ended.state.name(), ended.degraded, PyBytes::new(py, &ended.result), error, ended.reason.clone())
}

/// The live engine over one store.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Engine {
    live: ferroflow_live::Engine,
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (path, durability, capacity, async_limit, max_value))]
    fn new(
        py: Python<'_>,
        path: Option<PathBuf>,
        durability: &str,
        capacity: BTreeMap<String, u64>,
        async_limit: usize,
        max_value: usize,
    ) -> PyResult<Self> {
        let (durability, sync) = match durability {
            "strict" => (Durability::Strict, Sync::Full),
            "relaxed" => (Durability::Relaxed, Sync::Normal),
            "memory" => (Durability::Memory, Sync::Off),
            // For the test that has to see acknowledged work lost.
            "unsynced" => (Durability::Strict, Sync::Off),
            other => {
                let message =
                    format!("durability {other:?} is not known; use 'strict', 'relaxed' or 'memory'");
                return Err(PyValueError::new_err(message));
            }
        };
        let capacity = capacity.into_iter().map(|(name, amount)| (name.into(), amount)).collect();
        let settings = Settings { durability, capacity, async_limit, max_value };
        let opened = py.detach(|| {
            let store: Box<dyn Store> = match path {
                Some(path) => Box::new(SqliteStore::open(&path, sync)?),
                None => Box::<MemoryStore>::default(),
            };
            ferroflow_live::Engine::open(store, settings)
        });
        opened.map(|live| Self { live }).map_err(|failed| store_error(py, &failed))
    }

    #[pyo3(signature = (program, lanes, inputs, priority, timeout, correlation))]
    #[allow(clippy::too_many_arguments)]
    fn start(
        &self,
        py: Python<'_>,
        program: &Program,
        lanes: Vec<u8>,
        inputs: Vec<u8>,
        priority: u8,
        timeout: Option<i64>,
        correlation: Option<String>,
    ) -> PyResult<String> {
        let request = Request {
            program: program.compiled.clone(),
            object: program.object.clone(),
            digest: program.digest,
            lanes,
            input: inputs,
            priority,
            timeout,
            correlation,
        };
        py.detach(|| self.live.start(request)).map(|id| id.to_string()).map_err(|failed| error(py, failed))
    }

    /// Runs that had not ended when the database was last used: (id, workflow, tasks).
    fn unfinished(&self, py: Python<'_>) -> PyResult<Vec<(String, String, Vec<String>)>> {
        let found = py.detach(|| self.live.unfinished()).map_err(|failed| error(py, failed))?;
        Ok(found
            .into_iter()
            .map(|Unfinished { row, tasks }| {
                (row.id.to_string(), row.workflow, tasks.iter().map(|it| it.to_string()).collect())
            })
            .collect())
    }

    /// Takes up again those of the given runs that had not ended.
    fn recover(&self, py: Python<'_>, runs: Vec<String>, lanes: HashMap<String, u8>) -> PyResult<()> {
        let ids = runs.iter().map(|id| run_id(id)).collect::<PyResult<Vec<_>>>()?;
        let recovered = py.detach(|| {
            let lane = |name: &Arc<str>| lanes.get(&**name).copied().unwrap_or(0);
            for Unfinished { row, .. } in self.live.unfinished()? {
                if ids.contains(&row.id) {
                    self.live.recover(&row, |tasks| tasks.iter().map(lane).collect())?;
                }
            }
            Ok(())
        });
        recovered.map_err(|failed| error(py, failed))
    }

    /// `cancel`, `pause` or `resume` with a reason.
    fn command(&self, py: Python<'_>, run: &str, command: &str, reason: &str) -> PyResult<()> {
        let id = run_id(run)?;
        let reason = Arc::from(reason);
        let command = match command {
            "cancel" => Command::Cancel { reason },
            "pause" => Command::Pause { reason },
            "resume" => Command::Resume,
            other => return Err(PyValueError::new_err(format!("there is no command {other:?}"))),
        };
        py.detach(|| self.live.command(id, command)).map_err(|failed| error(py, failed))
    }

    fn signal(&self, py: Python<'_>, run: &str, name: &str, value: Vec<u8>) -> PyResult<()> {
        let id = run_id(run)?;
        py.detach(|| self.live.signal(id, name, value)).map_err(|failed| error(py, failed))
    }

    /// Waits for the end of a run; None if it did not come in time.
    #[pyo3(signature = (run, timeout))]
    fn wait<'py>(
        &self,
        py: Python<'py>,
        run: &str,
        timeout: Option<f64>,
    ) -> PyResult<Option<EndedTuple<'py>>> {
        let id = run_id(run)?;
        let until = timeout.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds.clamp(0.0, 1e9)));
        loop {
            // In slices, so that Ctrl-C is noticed.
            let slice = Duration::from_millis(200);
            let rest =
                until.map_or(slice, |until| until.saturating_duration_since(Instant::now()).min(slice));
            let found = py.detach(|| self.live.wait(id, Some(rest))).map_err(|failed| error(py, failed))?;
            if let Some(ended) = found {
                return Ok(Some(ended_tuple(py, &ended)));
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                return Ok(None);
            }
            py.check_signals()?;
        }
    }

    fn status(&self, py: Python<'_>, run: &str) -> PyResult<&'static str> {
        let id = run_id(run)?;
        py.detach(|| self.live.status(id)).map(|state| state.name()).map_err(|failed| error(py, failed))
    }

    /// Runs steps of a lane until the engine stops; `execute(job)` runs a body.
    #[pyo3(signature = (lane, execute, cancel=None))]
    fn work(&self, py: Python<'_>, lane: u8, execute: Bound<'_, PyAny>, cancel: Option<Bound<'_, PyAny>>) {
        self.live.work(lane, &mut Worker { py, execute, cancel });
    }

    /// Reports an asynchronous body: its result, or (code, message, details, retriable).
    fn finish(&self, py: Python<'_>, job: &Job, result: Bound<'_, PyAny>) {
        let outcome = outcome(Ok(result));
        py.detach(|| self.live.finish(&job.ticket, outcome));
    }

    /// False if the attempt no longer counts.
    fn progress(&self, py: Python<'_>, job: &Job, percent: f64, message: &str) -> bool {
        py.detach(|| self.live.progress(&job.ticket, percent, message))
    }

    fn is_stopped(&self, py: Python<'_>, job: &Job) -> bool {
        py.detach(|| self.live.is_stopped(&job.ticket))
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.live.stop());
    }

    fn join(&self, py: Python<'_>) {
        py.detach(|| self.live.join());
    }

    fn failure(&self) -> Option<String> {
        self.live.failure()
    }

    #[pyo3(signature = (workflow, states, correlation, since, until, before, limit))]
    #[allow(clippy::too_many_arguments)]
    fn runs<'py>(
        &self,
        py: Python<'py>,
        workflow: Option<String>,
        states: Vec<String>,
        correlation: Option<String>,
        since: Option<i64>,
        until: Option<i64>,
        before: Option<String>,
        limit: usize,
    ) -> PyResult<Listing<'py>> {
        let filter = read::filter(workflow, states, correlation, since, until, before, limit)?;
        let found = py.detach(|| self.live.with_reader(|reader| reader.runs(&filter)));
        read::listing(py, found.map_err(|failed| error(py, failed))?)
    }

    /// How far a run is: (steps that have ended, steps so far, up to `most` running ones).
    fn progress_of(&self, py: Python<'_>, run: &str, most: usize) -> PyResult<(u64, u64, Vec<String>)> {
        let id = run_id(run)?;
        py.detach(|| self.live.progress_of(id, most)).map_err(|failed| error(py, failed))
    }

    /// A run with its steps, as MessagePack.
    fn inspect<'py>(&self, py: Python<'py>, run: &str, values: bool) -> PyResult<Bound<'py, PyBytes>> {
        let id = run_id(run)?;
        read::inspection(
            py,
            py.detach(|| self.live.with_reader(|reader| ferroflow_live::inspect(reader, id, values))),
        )
    }

    /// The events of a run, as MessagePack.
    fn events<'py>(&self, py: Python<'py>, run: &str) -> PyResult<Bound<'py, PyBytes>> {
        let id = run_id(run)?;
        let found =
            py.detach(|| self.live.with_reader(|reader| ferroflow_journal::store::events(reader, id)));
        read::events(py, found.map_err(|failed| error(py, failed))?.0)
    }
}
