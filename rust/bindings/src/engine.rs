//! The engine for Python: workers are Python threads that call `work` and stay in it.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ferroflow_engine::{Command, Refusal, RunId};
use ferroflow_journal::{MemoryStore, SqliteStore, Store, StoreError, Sync};
use ferroflow_live::children::Base;
use ferroflow_live::{Durability, Ended, EngineError, Request, Settings, Unfinished, Update};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::job::{Failed, Worker, failure};
use crate::policy::{self, Asked, Scheduling, Spelled};
use crate::read::{self, Listing};
use crate::values::{Bytes, taken, whole};
use crate::{Program, problems, raise};

pub(crate) fn error(py: Python<'_>, error: EngineError) -> PyErr {
    let name = match &error {
        EngineError::Problems(found) => return problems(py, found.clone()),
        EngineError::Store(failed) => return store_error(py, failed),
        EngineError::Cgroup(_) => return PyValueError::new_err(error.to_string()),
        EngineError::NoRun(_) => "RunNotFound",
        EngineError::Refused(Refusal::WrongState { state, .. }) if state.is_terminal() => "RunEnded",
        EngineError::Refused(_) | EngineError::Idle(_) => "FerroflowError",
        EngineError::Input(_) => "InvalidInput",
        EngineError::Exists(_) => "RunExists",
        EngineError::Busy(_) => "EngineBusy",
        EngineError::Registered { .. } => "DefinitionError",
        EngineError::NoWorkflow(_) => "WorkflowNotFound",
        EngineError::Broken { .. } | EngineError::Alive { .. } => "FerroflowError",
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
        StoreError::Damaged { .. } | StoreError::Corrupt { .. } | StoreError::Lacks { .. } => {
            "CorruptDatabase"
        }
        StoreError::Query { .. } => "QueryRefused",
        StoreError::Fenced { .. } | StoreError::Absent { .. } | StoreError::Io { .. } => "StorageError",
    };
    raise(py, name, error.to_string())
}

/// How long to wait; what is negative is over already, and what is very long is as good as for ever.
pub(crate) fn seconds(number: f64) -> PyResult<Duration> {
    if number.is_nan() {
        return Err(PyValueError::new_err("NaN seconds is no time to wait; give a number, or None for ever"));
    }
    Ok(Duration::from_secs_f64(number.clamp(0.0, 1e9)))
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

/// (state, degraded, result, its parts, (step, code, message, details) or None, reason)
type EndedTuple<'py> = (
    &'static str,
    bool,
    Bound<'py, PyBytes>,
    Vec<Bytes>,
    Option<(String, String, String, String)>,
    Option<String>,
);

fn ended_tuple<'py>(py: Python<'py>, ended: &Ended) -> PyResult<EndedTuple<'py>> {
    let (result, parts) = match &ended.result {
        Ok((bytes, parts)) => (PyBytes::new(py, bytes), parts.iter().cloned().map(Bytes::from).collect()),
        Err(why) => return Err(raise(py, "ValueTooLarge", format!("the result of the run: {why}"))),
    };
    let error = ended.error.as_ref().map(|(step, error)| {
        (step.clone(), error.code.to_string(), error.message.to_string(), error.details.to_string())
    });
    Ok((ended.state.name(), ended.degraded, result, parts, error, ended.reason.clone()))
}

/// Where control groups of commands are to be.
#[derive(FromPyObject)]
pub(crate) enum ControlGroup {
    Is(bool),
    At(PathBuf),
}

/// The live engine over one store.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Engine {
    pub live: Arc<ferroflow_live::Engine>,
    path: Option<PathBuf>,
    /// The descriptors of locks, for a child of a fork to close.
    #[pyo3(get)]
    locks: Vec<i32>,
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (path, durability, capacity, async_limit, max_value, max_runs, run_timeout, step_timeout, node, cgroup, scheduling))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        path: Option<PathBuf>,
        durability: &str,
        capacity: BTreeMap<String, u64>,
        async_limit: usize,
        max_value: usize,
        max_runs: Option<usize>,
        run_timeout: Option<i64>,
        step_timeout: Option<i64>,
        node: String,
        cgroup: Option<ControlGroup>,
        scheduling: Scheduling,
    ) -> PyResult<Self> {
        let (spelled, max_running, max_batch, run_limit, window) = scheduling;
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
        let settings = Settings {
            durability,
            capacity,
            async_limit,
            max_value,
            max_runs,
            max_running,
            max_batch,
            window,
            run_limit,
            policy: policy::policy(spelled)?,
            run_timeout,
            step_timeout,
            node: node.into(),
            cgroup: match cgroup {
                None => Base::Delegated,
                Some(ControlGroup::At(path)) => Base::At(path),
                Some(ControlGroup::Is(false)) => Base::Nowhere,
                Some(ControlGroup::Is(true)) => {
                    let message = "cgroup=True: give the path of a control group, None, or False";
                    return Err(PyValueError::new_err(message));
                }
            },
        };
        let opened = py.detach(|| {
            let (store, path, lock): (Box<dyn Store>, Option<PathBuf>, _) = match path {
                Some(path) => {
                    let store = SqliteStore::open(&path, sync)?;
                    let (path, lock) = (store.path().to_owned(), store.lock());
                    (Box::new(store), Some(path), Some(lock))
                }
                None => (Box::<MemoryStore>::default(), None, None),
            };
            let live = ferroflow_live::Engine::open(store, settings, path.as_deref())?;
            let group = live.cgroups().map(|it| it.lock().as_raw_fd());
            Ok(Self { live: Arc::new(live), path, locks: lock.into_iter().chain(group).collect() })
        });
        opened.map_err(|failed| error(py, failed))
    }

    #[pyo3(signature = (program, lanes, inputs, priority, timeout, correlation, terms, run, refused))]
    #[allow(clippy::too_many_arguments)]
    fn start(
        &self,
        py: Python<'_>,
        program: &Program,
        lanes: Vec<u8>,
        inputs: &Bound<'_, PyAny>,
        priority: u8,
        timeout: Option<i64>,
        correlation: Option<String>,
        terms: Asked,
        run: Option<String>,
        refused: Option<Failed>,
    ) -> PyResult<String> {
        let (terms, plan, at_once) = policy::terms(terms);
        let request = Request {
            id: run.as_deref().map(run_id).transpose()?,
            program: program.compiled.clone(),
            object: program.object.clone(),
            digest: program.digest,
            lanes,
            input: taken(inputs)?,
            priority,
            timeout,
            correlation,
            terms,
            plan,
            at_once,
            refused: refused.map(failure),
        };
        py.detach(|| self.live.start(request)).map(|id| id.to_string()).map_err(|failed| error(py, failed))
    }

    /// Makes a workflow one that can be started by name; says since when it is.
    fn register(&self, py: Python<'_>, program: &Program) -> PyResult<i64> {
        let registered = py.detach(|| {
            let hash = program.definition.hash();
            self.live.register(&program.compiled, &program.object, program.digest, hash)
        });
        registered.map(|it| it.registered).map_err(|failed| error(py, failed))
    }

    /// Registered workflows, the latest of each name first: (name, version, hash, since).
    fn registered(&self) -> Vec<(String, String, String, i64)> {
        let hex = |hash: [u8; 32]| blake3::Hash::from_bytes(hash).to_hex().to_string();
        self.live
            .registered()
            .into_iter()
            .map(|it| (it.name, it.version, hex(it.hash), it.registered))
            .collect()
    }

    /// The definition object of a registered workflow.
    #[pyo3(signature = (name, version))]
    fn definition<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        version: Option<&str>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let found = py.detach(|| self.live.definition(name, version));
        found.map(|object| PyBytes::new(py, &object)).map_err(|failed| error(py, failed))
    }

    /// Runs that had not ended when the database was last used: its row, and the tasks it needs or the
    /// error that stands in the way.
    fn unfinished<'py>(&self, py: Python<'py>) -> PyResult<Vec<(Bound<'py, PyDict>, Bound<'py, PyAny>)>> {
        let found = py.detach(|| self.live.unfinished()).map_err(|failed| error(py, failed))?;
        let (rows, tasks): (Vec<_>, Vec<_>) = found.into_iter().map(|it| (it.row, it.tasks)).unzip();
        let tasks = tasks.into_iter().map(|tasks| -> PyResult<Bound<'py, PyAny>> {
            match tasks {
                Ok(tasks) => Ok(PyList::new(py, tasks.iter().map(|it| &**it))?.into_any()),
                Err(failed) => Ok(error(py, failed).into_value(py).into_bound(py).into_any()),
            }
        });
        read::listing(py, rows)?.into_iter().zip(tasks).map(|(row, tasks)| Ok((row, tasks?))).collect()
    }

    /// Takes up again those of the given runs that had not ended; returns those that could not be.
    fn recover<'py>(
        &self,
        py: Python<'py>,
        runs: Vec<String>,
        lanes: HashMap<String, u8>,
        refused: HashMap<String, Failed>,
    ) -> PyResult<Vec<(String, Bound<'py, PyAny>)>> {
        let ids = runs.iter().map(|id| run_id(id)).collect::<PyResult<Vec<_>>>()?;
        let lane = |name: &Arc<str>| lanes.get(&**name).copied().unwrap_or(0);
        let recovered = || {
            let wanted = self.live.unfinished()?.into_iter().filter(|it| ids.contains(&it.row.id));
            let tried = wanted.map(|Unfinished { row, .. }| {
                let refused = refused.get(&row.id.to_string()).cloned().map(failure);
                let done = self.live.recover(&row, |tasks| tasks.iter().map(lane).collect(), refused);
                (row.id, done)
            });
            Ok(tried.filter_map(|(id, done)| Some((id.to_string(), done.err()?))).collect::<Vec<_>>())
        };
        let failed = py.detach(|| {
            self.live.taking_up(true);
            let failed = recovered();
            self.live.taking_up(false);
            failed
        });
        let failed = failed.map_err(|failed| error(py, failed))?;
        Ok(failed
            .into_iter()
            .map(|(id, failed)| (id, error(py, failed).into_value(py).into_bound(py).into_any()))
            .collect())
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

    fn signal(&self, py: Python<'_>, run: &str, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let (id, value) = (run_id(run)?, taken(value)?);
        whole(&value).map_err(|why| PyValueError::new_err(format!("the value of signal {name:?} {why}")))?;
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
        let until = timeout.map(seconds).transpose()?.map(|wait| Instant::now() + wait);
        loop {
            // In slices, so that Ctrl-C is noticed.
            let slice = Duration::from_millis(200);
            let rest =
                until.map_or(slice, |until| until.saturating_duration_since(Instant::now()).min(slice));
            let found = py.detach(|| self.live.wait(id, Some(rest))).map_err(|failed| error(py, failed))?;
            if let Some(ended) = found {
                return ended_tuple(py, &ended).map(Some);
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

    /// Runs steps of a lane until the engine stops; `execute(job, task, arguments)` runs a body. The
    /// arguments are MessagePack: a list of the positional ones, then a map of the others.
    #[pyo3(signature = (lane, execute, cancel=None))]
    fn work(&self, py: Python<'_>, lane: u8, execute: Bound<'_, PyAny>, cancel: Option<Bound<'_, PyAny>>) {
        let (live, names) = (self.live.clone(), HashMap::new());
        self.live.work(lane, &mut Worker { py, live, lane, execute, cancel, names, last: None });
    }

    /// Bounds the bodies that a lane runs at a time.
    fn limit(&self, lane: u8, most: usize) {
        self.live.limit(lane, most);
    }

    /// One worker leaves `work`, as one that waited is back.
    fn retire(&self, py: Python<'_>) {
        py.detach(|| self.live.retire());
    }

    /// An asynchronous body waits for a run, so that another may run in its place.
    fn lend(&self, py: Python<'_>) {
        py.detach(|| self.live.lend());
    }

    /// It goes on.
    fn take_back(&self, py: Python<'_>) {
        py.detach(|| self.live.take_back());
    }

    /// What the engine has done and does, as MessagePack.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        read::packed(py, &self.live.stats())
    }

    /// Why a run is where it is, as MessagePack.
    fn explain<'py>(&self, py: Python<'py>, run: &str, most: usize) -> PyResult<Bound<'py, PyBytes>> {
        let id = run_id(run)?;
        let found = py.detach(|| self.live.explain(id, most)).map_err(|failed| error(py, failed))?;
        read::packed(py, &found)
    }

    /// Who holds assets, and who waits for them, as MessagePack.
    fn leases<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        read::packed(py, &py.detach(|| self.live.leases()))
    }

    /// Ranks ready steps by another policy from now on.
    fn set_policy(&self, py: Python<'_>, spelled: Spelled) -> PyResult<()> {
        let policy = policy::policy(spelled)?;
        py.detach(|| self.live.set_policy(policy));
        Ok(())
    }

    /// Steps for a policy of the user's to rank, as MessagePack; None if there were none in so many seconds.
    fn rankable<'py>(
        &self,
        py: Python<'py>,
        most: usize,
        seconds: f64,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let wait = self::seconds(seconds)?;
        let found = py.detach(|| self.live.rankable(most, wait));
        found.map(|steps| read::packed(py, &steps)).transpose()
    }

    /// Whether a policy of the user's is still wanted.
    fn ranks_outside(&self) -> bool {
        self.live.ranks_outside()
    }

    /// Takes a batch back whose policy was replaced before it saw it.
    fn unasked(&self, py: Python<'_>, batch: u64) {
        py.detach(|| self.live.unasked(batch));
    }

    /// Ranks of a batch; None if the policy failed.
    #[pyo3(signature = (batch, ranks))]
    fn ranked(&self, py: Python<'_>, batch: u64, ranks: Option<Vec<f64>>) {
        py.detach(|| self.live.ranked(batch, ranks));
    }

    /// What happens from now on.
    fn listen(&self) -> Listener {
        Listener { updates: Mutex::new(self.live.listen()) }
    }

    /// The runs that end from now on.
    fn ends(&self) -> Ends {
        Ends { runs: Mutex::new(self.live.ends()) }
    }

    /// Tells bodies that still run after `stop` to give up.
    fn abandon(&self, py: Python<'_>) {
        py.detach(|| self.live.abandon());
    }

    /// Runs one query, which can only read: (columns, rows) as MessagePack.
    fn query<'py>(
        &self,
        py: Python<'py>,
        text: &str,
        parameters: Vec<u8>,
        seconds: f64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let Some(path) = &self.path else {
            return Err(raise(py, "QueryRefused", "this engine keeps its log in memory".to_owned()));
        };
        read::query(py, path, text, &parameters, seconds)
    }

    /// How many runs have not ended.
    fn remaining(&self) -> usize {
        self.live.remaining()
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

/// Hears what happens, as it is committed.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Listener {
    updates: Mutex<Receiver<Update>>,
}

#[pymethods]
impl Listener {
    /// The next update as MessagePack, (run, workflow, first sequence number, state before,
    /// events, states that these lead to); None if there was none in so many seconds. Raises EngineClosed once there will be no more.
    fn next<'py>(&self, py: Python<'py>, seconds: f64) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let wait = self::seconds(seconds)?;
        let found =
            py.detach(|| self.updates.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(wait));
        match found {
            Ok(Update { run, workflow, first, before, events }) => {
                let states: Vec<_> =
                    events.iter().map(|event| event.what.leads_to().map(|state| state.name())).collect();
                let update = (run.to_string(), workflow, first, before.name(), events, states);
                read::packed(py, &update).map(Some)
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                Err(raise(py, "EngineClosed", "the engine was closed".to_owned()))
            }
        }
    }
}

/// Hears of runs that have ended.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Ends {
    runs: Mutex<Receiver<RunId>>,
}

#[pymethods]
impl Ends {
    /// Waits for the next run that ends; None once the engine is closed.
    fn next(&self, py: Python<'_>) -> Option<String> {
        let found = py.detach(|| self.runs.lock().unwrap_or_else(PoisonError::into_inner).recv());
        found.ok().map(|run| run.to_string())
    }
}
