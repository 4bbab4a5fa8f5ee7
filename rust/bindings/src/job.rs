//! Attempts as Python sees them, and the workers that run their bodies.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ferroflow_engine::Failure;
use ferroflow_journal::store::INLINE;
use ferroflow_live::{Executor, Outcome, Ran, THREADS, Taken, Ticket, Unlocked, Whose};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::engine::{error, seconds};
use crate::values::{Bytes, taken, whole};
use crate::{raise, read};

/// An attempt that runs, and how its body reports on it.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Job {
    pub live: Arc<ferroflow_live::Engine>,
    /// Without its arguments: Python has these.
    pub job: ferroflow_live::Job,
    /// What a process has taken that has run the body.
    pub taken: OnceLock<Taken>,
}

#[pymethods]
impl Job {
    #[getter]
    fn run(&self) -> String {
        self.job.run.to_string()
    }

    #[getter]
    fn step(&self) -> u32 {
        self.job.ticket.step
    }

    #[getter]
    fn token(&self) -> u64 {
        self.job.ticket.token
    }

    #[getter]
    fn task(&self) -> &str {
        &self.job.task
    }

    #[getter]
    fn attempt(&self) -> u16 {
        self.job.attempt
    }

    /// The long values among the arguments, which have only their places there; None if there are none.
    #[getter]
    fn parts(&self) -> Option<Vec<Bytes>> {
        let parts = &self.job.parts;
        (!parts.is_empty()).then(|| parts.iter().cloned().map(Bytes::from).collect())
    }

    /// What surrounds the step, as MessagePack: its path and deadline, inputs, variables, results upstream.
    fn surroundings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let found = py.detach(|| self.live.surroundings(&self.job.ticket));
        found.map(|bytes| PyBytes::new(py, &bytes)).map_err(|failed| error(py, failed))
    }

    /// False if the attempt no longer counts.
    fn progress(&self, py: Python<'_>, percent: f64, message: &str) -> bool {
        py.detach(|| self.live.progress(&self.job.ticket, percent, message))
    }

    /// Shows that the body lives; false if the attempt no longer counts.
    fn beat(&self, py: Python<'_>) -> bool {
        py.detach(|| self.live.beat(&self.job.ticket))
    }

    /// Locks an asset for the run, and returns the fencing token of that.
    #[pyo3(signature = (name, writes, timeout, expires))]
    fn hold(
        &self,
        py: Python<'_>,
        name: &str,
        writes: bool,
        timeout: Option<f64>,
        expires: Option<i64>,
    ) -> PyResult<u64> {
        let timeout = timeout.map(seconds).transpose()?;
        py.detach(|| self.live.hold(&self.job.ticket, name, writes, timeout, expires))
            .map_err(|failed| unlocked(py, &failed))
    }

    /// What the body is held to, as MessagePack.
    fn audited<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        read::packed(py, &py.detach(|| self.live.audited(&self.job.ticket)))
    }

    /// Gives a lock of the run back.
    fn unlock(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        py.detach(|| self.live.unlock(&self.job.ticket, name)).map_err(|failed| unlocked(py, &failed))
    }

    fn is_stopped(&self, py: Python<'_>) -> bool {
        py.detach(|| self.live.is_stopped(&self.job.ticket))
    }

    /// Reports a body that went on after `execute` returned: its result, or (code, message, details,
    /// retriable).
    fn finish(&self, py: Python<'_>, result: Bound<'_, PyAny>) {
        let outcome = outcome(&self.live, &self.job.ticket, Ok(result));
        py.detach(|| self.live.finish(&self.job.ticket, outcome));
    }
}

/// Why there is no lock, as Python raises it.
fn unlocked(py: Python<'_>, failed: &Unlocked) -> PyErr {
    let name = match failed {
        Unlocked::BadName(message) => return PyValueError::new_err(message.clone()),
        Unlocked::Deadlock(_) => "Deadlock",
        Unlocked::TimedOut { .. } => "LeaseTimeout",
        Unlocked::Lost(_) => "LeaseLost",
        Unlocked::Stopped => "Cancelled",
    };
    raise(py, name, failed.to_string())
}

/// A failure as Python says it: (code, message, details, retriable).
pub(crate) type Failed = (String, String, String, bool);

pub(crate) fn failure((code, message, details, _): Failed) -> Failure {
    Failure { code: code.into(), message: message.into(), details: details.into() }
}

/// What became of a body, as the Python side says it: bytes, a failure, or None for a body that is under
/// way.
fn outcome(live: &ferroflow_live::Engine, ticket: &Ticket, returned: PyResult<Bound<'_, PyAny>>) -> Outcome {
    let failed = |code: &str, message: String, details: String, retriable| {
        let error = Failure { code: code.into(), message: message.into(), details: details.into() };
        Outcome::Failed { error, retriable }
    };
    match returned {
        Ok(value) => {
            if let Ok(bytes) = taken(&value) {
                // `msgspec.Raw` takes any bytes.
                return match whole(&bytes) {
                    Ok(()) if bytes.len() <= INLINE => Outcome::Done(live.prepare(ticket, bytes)),
                    Ok(()) => Outcome::Done(value.py().detach(|| live.prepare(ticket, bytes))),
                    Err(why) => {
                        failed("UNSERIALISABLE_RESULT", format!("the result {why}"), String::new(), false)
                    }
                };
            }
            if value.is_none() {
                return Outcome::Later;
            }
            match value.extract::<Failed>() {
                Ok((code, message, details, retriable)) => failed(&code, message, details, retriable),
                Err(error) => failed("INTERNAL", error.to_string(), String::new(), false),
            }
        }
        Err(error) => failed("INTERNAL", error.to_string(), String::new(), false),
    }
}

/// A body that begins so soon after the last one is measured from the end of that: to ask the system again
/// would take longer than what the thread may have used in between.
const NEAR: Duration = Duration::from_micros(10);

pub(crate) struct Worker<'py> {
    pub py: Python<'py>,
    pub live: Arc<ferroflow_live::Engine>,
    pub lane: u8,
    pub execute: Bound<'py, PyAny>,
    pub cancel: Option<Bound<'py, PyAny>>,
    /// Names of tasks as Python has them, so that none is made twice.
    pub names: HashMap<Arc<str>, Bound<'py, PyString>>,
    /// What this thread had used when its last body ended, unless it has waited since, and when that was asked.
    pub last: Option<(Instant, Taken)>,
}

impl Executor for Worker<'_> {
    fn run(&mut self, mut job: ferroflow_live::Job) -> Ran {
        let name = match self.names.get(&job.task) {
            Some(name) => name,
            None => self.names.entry(job.task.clone()).or_insert(PyString::new(self.py, &job.task)),
        };
        let arguments = PyBytes::new(self.py, &std::mem::take(&mut job.arguments));
        let (live, ticket) = (&self.live, job.ticket);
        let job = Bound::new(self.py, Job { live: live.clone(), job, taken: OnceLock::new() });
        let job = match job {
            Ok(job) => job,
            Err(error) => {
                let outcome = outcome(live, &ticket, Err(error));
                return Ran { outcome, taken: None, ended: Instant::now() };
            }
        };
        if self.lane != THREADS {
            let returned = self.execute.call1((&job, name, arguments));
            let ended = Instant::now();
            let outcome = outcome(live, &ticket, returned);
            return Ran { outcome, taken: job.get().taken.get().copied(), ended };
        }
        let before = match self.last {
            Some((at, taken)) if ticket.begun.saturating_duration_since(at) < NEAR => taken,
            _ => Taken::so_far(Whose::Thread),
        };
        let returned = self.execute.call1((job, name, arguments));
        // An interrupt that comes while the system is asked counts as the body's in both or in neither: no body
        // is to have used more than it took.
        let (asked, so_far, ended) = (Instant::now(), Taken::so_far(Whose::Thread), Instant::now());
        self.last = Some((asked, so_far));
        // The most memory that the whole process had says nothing of one thread.
        let taken = Taken { memory: None, ..so_far.since(before) };
        Ran { outcome: outcome(live, &ticket, returned), taken: Some(taken), ended }
    }

    fn idle(&mut self, wait: &mut (dyn FnMut() + Send)) {
        self.last = None;
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
