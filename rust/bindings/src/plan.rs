//! Plans: columns in, a schedule out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use ferroflow_plan as plan;
use plan::least_loaded::{self, Flow, LoadError, LoadNode, LoadTask};
use plan::{Budget, Instance, Method, Options};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;

use crate::column::{real, view, whole};
use crate::platform::{self, Parts};

/// How often Python is asked whether it was interrupted while a plan is made.
const LISTEN: Duration = Duration::from_millis(50);

/// What is wrong, of which kind, and the tasks of a cycle: `ferroflow.plan` makes a `PlanError` of it.
pub(crate) fn refused(error: plan::Error) -> PyErr {
    let (kind, cycle) = match &error {
        plan::Error::Cycle(tasks) => ("cyclic-dependency", tasks.clone()),
        plan::Error::FitsNowhere { .. } => ("insufficient-resources", Vec::new()),
        plan::Error::NoNodes => ("no-nodes", Vec::new()),
        _ => ("invalid", Vec::new()),
    };
    PyValueError::new_err((error.to_string(), kind, cycle))
}

/// Tasks on a platform, checked.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct PlanInstance {
    instance: Instance,
}

/// (nodes, starts, finishes), (makespan, evaluations, improved, method), (critical path, area, messages, windows)
type Planned<'py> = (
    (Bound<'py, PyMemoryView>, Bound<'py, PyMemoryView>, Bound<'py, PyMemoryView>),
    (f64, usize, bool, &'static str),
    (f64, f64, f64, f64),
);

#[pymethods]
impl PlanInstance {
    #[new]
    #[pyo3(signature = (platform, columns, kind_names, devices, labels, inputs))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        platform: Parts<'_>,
        columns: BTreeMap<String, Bound<'_, PyAny>>,
        kind_names: Vec<String>,
        devices: BTreeMap<String, Bound<'_, PyAny>>,
        labels: BTreeMap<u32, BTreeMap<String, String>>,
        inputs: Vec<(u32, f64, Vec<u32>)>,
    ) -> PyResult<Self> {
        let platform = platform::read(platform)?.map_err(refused)?;
        let column = |name: &str| columns.get(name);
        let reals = |name: &str| column(name).map_or(Ok(Vec::new()), |it| real(it, name));
        let ids = |name: &str| column(name).map_or(Ok(Vec::new()), |it| whole::<u32>(it, name));
        let work = plan::Work {
            costs: reals("costs")?,
            sources: ids("sources")?,
            targets: ids("targets")?,
            bytes: reals("bytes")?,
            kinds: ids("kinds")?,
            kind_names,
            cores: ids("cores")?,
            memory: column("memory").map_or(Ok(Vec::new()), |it| whole::<u64>(it, "memory"))?,
            devices: devices
                .iter()
                .map(|(name, column)| Ok((name.clone(), whole::<u64>(column, name)?)))
                .collect::<PyResult<_>>()?,
            labels,
            inputs: inputs
                .into_iter()
                .map(|(task, bytes, nodes)| plan::Input { task, bytes, nodes })
                .collect(),
            matrix: column("times").map(|it| real(it, "times")).transpose()?,
        };
        let instance = py.detach(|| Instance::new(work, platform)).map_err(refused)?;
        Ok(Self { instance })
    }

    /// How many tasks, dependencies and nodes there are.
    #[getter]
    fn size(&self) -> (usize, usize, usize) {
        (self.instance.len(), self.instance.edges(), self.instance.nodes())
    }

    /// Makes a plan, within so many evaluations and seconds.
    #[pyo3(signature = (method, insertion, seed, evaluations, seconds))]
    fn plan<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        insertion: Option<bool>,
        seed: u64,
        evaluations: Option<usize>,
        seconds: Option<f64>,
    ) -> PyResult<Planned<'py>> {
        let method = if method == "auto" { None } else { Some(Method::named(method).map_err(refused)?) };
        let options = Options { insertion, seed };
        let stop = AtomicBool::new(false);
        let budget = Budget { evaluations: evaluations.unwrap_or(usize::MAX), stop: &stop };
        let end = seconds.map(|it| Instant::now() + Duration::from_secs_f64(it.clamp(0.0, 1e9)));
        let made = std::thread::scope(|scope| {
            let (done, hears) = mpsc::channel();
            // Only so that the thread may let go of the interpreter while it listens.
            let hears = Mutex::new(hears);
            let listen = |wait| {
                hears.lock().map_or(Err(mpsc::RecvTimeoutError::Disconnected), |it| it.recv_timeout(wait))
            };
            let mut end = end;
            let (instance, budget) = (&self.instance, &budget);
            scope.spawn(move || {
                // Whoever asked still listens, or has been interrupted.
                done.send(plan::plan(instance, method, options, *budget)).ok()
            });
            loop {
                let wait =
                    end.map_or(LISTEN, |end| LISTEN.min(end.saturating_duration_since(Instant::now())));
                match py.detach(|| listen(wait)) {
                    Ok(made) => return made.map_err(refused),
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => {
                        return Err(pyo3::exceptions::PyRuntimeError::new_err("the planner panicked"));
                    }
                }
                if end.is_some_and(|end| Instant::now() >= end) {
                    stop.store(true, Ordering::Relaxed);
                    end = None;
                }
                if let Err(interrupt) = py.check_signals() {
                    stop.store(true, Ordering::Relaxed);

                    return Err(interrupt);
                }
            }
        })?;
        let plan::Schedule { nodes, starts, finishes } = made.schedule;
        Ok((
            (view(py, nodes)?, view(py, starts)?, view(py, finishes)?),
            (made.makespan, made.evaluations, made.improved, made.method.name()),
            (made.bounds.critical_path, made.bounds.area, made.bounds.messages, made.bounds.windows),
        ))
    }

    /// Everything that is wrong with a schedule, as (kind, what is said of it).
    fn check(
        &self,
        py: Python<'_>,
        nodes: &Bound<'_, PyAny>,
        starts: &Bound<'_, PyAny>,
        finishes: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<(&'static str, String)>> {
        let schedule = plan::Schedule {
            nodes: whole(nodes, "nodes")?,
            starts: real(starts, "starts")?,
            finishes: real(finishes, "finishes")?,
        };
        let count = self.instance.len();
        for (what, found) in [
            ("nodes", &schedule.nodes.len()),
            ("starts", &schedule.starts.len()),
            ("finishes", &schedule.finishes.len()),
        ] {
            if *found != count {
                return Err(PyValueError::new_err(format!("there are {found} {what} and {count} tasks")));
            }
        }
        let found = py.detach(|| schedule.check(&self.instance));
        Ok(found.iter().map(|it| (it.kind(), it.to_string())).collect())
    }

    /// The critical path, area, messages and windows bounds.
    fn bounds(&self, py: Python<'_>) -> (f64, f64, f64, f64) {
        let found = py.detach(|| plan::bounds(&self.instance));
        (found.critical_path, found.area, found.messages, found.windows)
    }

    /// A topological order of the tasks.
    fn order<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyMemoryView>> {
        view(py, self.instance.order().to_vec())
    }
}

/// The planners as (name, what it is called in the field).
#[pyfunction]
pub(crate) fn plan_methods() -> Vec<(&'static str, &'static str)> {
    Method::ALL.iter().map(|it| (it.name(), it.title())).collect()
}

/// (id, milliseconds, needs, network priority, location, only there, depends on, (source, output, MB))
type LoadTaskTuple =
    (String, u64, [f64; 3], u8, Option<String>, bool, Vec<u32>, Vec<(u32, String, Option<f64>)>);

/// (nodes, levels, priorities), (id, task, output, from, to, MB, priority), (critical, slack),
/// (barrier, critical, peak)
type LoadPlanned = (
    (Vec<u32>, Vec<u32>, Vec<u32>),
    Vec<(String, u32, String, u32, u32, f64, u8)>,
    (Vec<u32>, Vec<f64>),
    (u64, f64, [f64; 3]),
);

/// (id, location, capacity, load)
type LoadNodeTuple = (String, String, [f64; 3], [Option<f64>; 3]);

/// Places tasks by load.
#[pyfunction]
pub(crate) fn plan_by_load(
    py: Python<'_>,
    tasks: Vec<LoadTaskTuple>,
    nodes: Vec<LoadNodeTuple>,
    weights: [f64; 3],
    bandwidth: f64,
) -> PyResult<LoadPlanned> {
    let nodes: Vec<LoadNode> = nodes
        .into_iter()
        .map(|(id, location, capacity, load)| LoadNode { id, location, capacity, load })
        .collect();
    let tasks: Vec<LoadTask> = tasks
        .into_iter()
        .map(|(id, duration_ms, need, network_priority, location, only_there, depends_on, inputs)| {
            let inputs = inputs.into_iter().map(|(source, output, size_mb)| Flow { source, output, size_mb });
            let inputs = inputs.collect();
            LoadTask { id, duration_ms, need, network_priority, location, only_there, depends_on, inputs }
        })
        .collect();
    let made = py.detach(|| least_loaded::plan(&tasks, &nodes, &weights, bandwidth)).map_err(|error| {
        let kind = match &error {
            LoadError::NoNodes => "no-nodes",
            LoadError::Cyclic(_) => "cyclic-dependency",
            LoadError::Insufficient(_) => "insufficient-resources",
            LoadError::Unknown { .. } | LoadError::Weight { .. } => "invalid",
        };
        PyValueError::new_err((error.to_string(), kind, Vec::<u32>::new()))
    })?;
    let moved = made.movements.into_iter();
    Ok((
        (made.nodes, made.levels, made.priorities),
        moved.map(|it| (it.id, it.task, it.output, it.from, it.to, it.size_mb, it.priority)).collect(),
        (made.critical, made.slack_ms),
        (made.barrier_ms, made.critical_ms, made.peak),
    ))
}
