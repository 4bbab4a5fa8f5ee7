//! Processes that run bodies: the pool and its programs, and commands.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ferroflow_live::Taken;
use ferroflow_live::children::{
    self as command, Channel, Children, Command, CommandError, Errors, Happened, Input, Limits, Output,
    SpawnError, Status, Stop, Stream,
};
use ferroflow_live::pool::{self, Ran};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::engine::Engine;
use crate::job::{Failed, Job};
use crate::raise;
use crate::values::{Bytes, taken, whole};

/// How long a program may take to end that runs for nobody, and is told to.
const GRACE: Duration = Duration::from_secs(5);

/// What the program of a process in the pool talks to the engine with.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Service(Arc<pool::Service>);

#[pymethods]
impl Service {
    /// Takes over the descriptor that the engine has given this process.
    #[new]
    fn new(descriptor: i32) -> PyResult<Self> {
        static TAKEN: OnceLock<()> = OnceLock::new();
        if descriptor != 3 || TAKEN.set(()).is_err() {
            return Err(PyValueError::new_err(
                "the engine is spoken to over descriptor 3, and by one service",
            ));
        }
        // SAFETY: the engine has opened descriptor 3 for this program alone, and it is taken once.
        let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let channel = Channel::from(owned);
        Ok(Self(Arc::new(pool::Service::new(channel))))
    }

    /// What the engine says first.
    fn hello<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| self.0.hello())?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Waits for the next body and its arguments; None once the engine is gone.
    fn receive<'py>(&self, py: Python<'py>) -> PyResult<Option<(Call, Bound<'py, PyBytes>)>> {
        let found = py.detach(|| self.0.receive())?;
        Ok(found.map(|(call, arguments)| (Call(call), PyBytes::new(py, &arguments))))
    }
}

/// An attempt that runs in this process: what `Job` is where the engine is.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Call(pool::Call);

#[pymethods]
impl Call {
    #[getter]
    fn run(&self) -> &str {
        &self.0.run
    }

    #[getter]
    fn step(&self) -> u32 {
        self.0.step
    }

    #[getter]
    fn token(&self) -> u64 {
        self.0.token
    }

    #[getter]
    fn task(&self) -> &str {
        &self.0.task
    }

    #[getter]
    fn attempt(&self) -> u16 {
        self.0.attempt
    }

    /// Where the function is imported from.
    #[getter]
    fn module(&self) -> &str {
        &self.0.module
    }

    /// Bytes of memory that the body may use; None for no limit.
    #[getter]
    fn memory_limit(&self) -> Option<u64> {
        self.0.memory
    }

    /// The long values among the arguments; None if there are none.
    #[getter]
    fn parts(&self) -> Option<Vec<Bytes>> {
        let parts = &self.0.parts;
        (!parts.is_empty()).then(|| parts.iter().cloned().map(Bytes::from).collect())
    }

    fn surroundings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        match py.detach(|| self.0.surroundings())? {
            Some(bytes) => Ok(PyBytes::new(py, &bytes)),
            None => Err(raise(py, "InvalidInput", "the attempt no longer counts".to_owned())),
        }
    }

    fn progress(&self, py: Python<'_>, percent: f64, message: &str) -> bool {
        py.detach(|| self.0.progress(percent, message))
    }

    fn beat(&self, py: Python<'_>) -> bool {
        py.detach(|| self.0.beat())
    }

    fn is_stopped(&self) -> bool {
        self.0.is_stopped()
    }

    /// The attempt no longer counts.
    fn stop(&self) {
        self.0.stop();
    }

    /// Reports the result, or (code, message, details, retriable).
    fn finish(&self, py: Python<'_>, result: Bound<'_, PyAny>) -> PyResult<()> {
        if let Ok(bytes) = taken(&result) {
            return match whole(&bytes) {
                Ok(()) => Ok(py.detach(|| self.0.done(&bytes))?),
                Err(why) => {
                    let message = format!("the result {why}");
                    Ok(py.detach(|| self.0.failed("UNSERIALISABLE_RESULT", &message, "", false))?)
                }
            };
        }
        let (code, message, details, retriable) = result.extract::<Failed>()?;
        Ok(py.detach(|| self.0.failed(&code, &message, &details, retriable))?)
    }
}

/// A process of the pool, as the thread sees it that waits for its bodies.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct PoolWorker {
    worker: Mutex<Option<pool::PoolWorker>>,
}

#[pymethods]
impl PoolWorker {
    /// Starts a process, and tells it `hello`.
    #[new]
    fn new(
        py: Python<'_>,
        engine: &Engine,
        args: Vec<OsString>,
        variables: Bound<'_, PyDict>,
        directory: Option<PathBuf>,
        hello: Vec<u8>,
    ) -> PyResult<Self> {
        let variables = pairs(&variables)?;
        let started = py.detach(|| {
            let children = engine.live.children().map_err(|error| SpawnError::Launcher { error })?;
            pool::PoolWorker::start(children, args, variables, directory, &hello)
        });
        started.map(|worker| Self { worker: Mutex::new(Some(worker)) }).map_err(|failed| refused(py, &failed))
    }

    /// Whether it can take another body.
    #[getter]
    fn alive(&self) -> bool {
        self.lock().as_ref().is_some_and(pool::PoolWorker::is_alive)
    }

    /// Runs a body: its result as MessagePack, or (code, message, details, retriable).
    fn run<'py>(
        &self,
        py: Python<'py>,
        job: &Job,
        module: &str,
        arguments: &[u8],
    ) -> PyResult<Bound<'py, PyAny>> {
        let (ran, taken) = py
            .detach(|| self.lock().as_mut().map(|worker| worker.run(&job.live, &job.job, module, arguments)))
            .ok_or_else(|| PyValueError::new_err("the process was closed"))?;
        if let Some(taken) = taken {
            let _ = job.taken.set(taken);
        }
        match ran {
            Ran::Done(bytes) => Ok(Bound::new(py, Bytes::from(bytes))?.into_any()),
            Ran::Failed { error, retriable } => {
                let failed: Failed =
                    (error.code.to_string(), error.message.to_string(), error.details.to_string(), retriable);
                Ok(failed.into_pyobject(py)?.into_any())
            }
        }
    }

    /// Ends it.
    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            if let Some(worker) = self.lock().take() {
                worker.close();
            }
        });
    }
}

impl PoolWorker {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<pool::PoolWorker>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command that has ended.
#[pyclass(frozen, get_all, module = "ferroflow._core")]
pub(crate) struct Finished {
    /// The exit status; 0 where a signal has ended it.
    status: i32,
    /// The signal that has ended it, or 0.
    signal: i32,
    stdout: Py<PyBytes>,
    stderr: Py<PyBytes>,
    /// The limit that it went over, as far as one can tell.
    exceeded: Option<&'static str>,
}

/// What a program reads.
#[derive(FromPyObject)]
pub(crate) enum Reads {
    Bytes(Vec<u8>),
    File(PathBuf),
}

/// The children of commands that run outside any engine.
static CHILDREN: OnceLock<Children> = OnceLock::new();

/// Runs a program to its end, for an attempt or for nobody.
#[pyfunction]
#[pyo3(signature = (args, variables, directory, stdin, stdout, stderr, most, most_stderr, ok, told, job))]
#[allow(clippy::too_many_arguments)]
pub(crate) fn run_command(
    py: Python<'_>,
    args: Vec<OsString>,
    variables: Bound<'_, PyDict>,
    directory: Option<PathBuf>,
    stdin: Option<Reads>,
    stdout: Option<PathBuf>,
    stderr: Option<PathBuf>,
    most: usize,
    most_stderr: usize,
    ok: BTreeSet<i32>,
    told: Option<Py<PyAny>>,
    job: Option<&Job>,
) -> PyResult<Finished> {
    let limits = job.map(|job| job.job.limits).unwrap_or_default();
    let file_or = |path: Option<PathBuf>, most| path.map_or(Output::Capture { most }, Output::File);
    let command = Command {
        env: pairs(&variables)?,
        cwd: directory,
        limits: Limits { data: limits.memory, cpu: limits.cpu.map(|cpu| (cpu as u64).div_ceil(1_000_000)) },
        stdin: match stdin {
            None => Input::Null,
            Some(Reads::Bytes(bytes)) => Input::Bytes(bytes),
            Some(Reads::File(path)) => Input::File(path),
        },
        stdout: file_or(stdout.clone(), most),
        stderr: match stderr {
            Some(path) if path.as_os_str() == "stdout" => Errors::Merge,
            other => Errors::Own(file_or(other, most_stderr)),
        },
        heartbeat: job.is_some(),
        grace: job.map_or(GRACE, |job| Duration::from_micros(job.job.grace as u64)),
        success: ok.clone(),
        // What the journal says to be done is on disk.
        sync: job.is_some(),
        ..Command::new(args)
    };
    let stop = Stop::new()?;
    if let Some(job) = job {
        let stopper = stop.clone();
        job.live.on_stop(&job.job.ticket, Arc::new(move || stopper.set()));
    }
    let ran = py.detach(|| {
        let percent = Cell::new(0.0);
        let mut happened = |what: Happened<'_>| match (what, job) {
            (Happened::Output(stream, bytes), _) => pass_on(told.as_ref(), stream, bytes),
            (_, None) => {}
            (Happened::Spawned(process), Some(job)) => job.live.spawned(&job.job.ticket, process),
            (Happened::Beat { percent: None, message }, Some(job)) if message.is_empty() => {
                job.live.beat(&job.job.ticket);
            }
            (Happened::Beat { percent: now, message }, Some(job)) => {
                percent.set(now.unwrap_or(percent.get()));
                job.live.progress(&job.job.ticket, percent.get(), &message);
            }
        };
        match job {
            Some(job) => {
                let children = job.live.children().map_err(CommandError::Io)?;
                command::run(children, command, &stop, &mut happened)
            }
            None => {
                let children = CHILDREN.get_or_init(|| Children::new(ferroflow_live::new_mark(), None));
                command::run(children, command, &stop, &mut happened)
            }
        }
    });
    let finished = match ran {
        Ok(finished) => finished,
        Err(error) => return Err(failed(py, &error)),
    };
    let usage = finished.usage;
    if let Some(job) = job {
        let _ = job.taken.set(Taken {
            cpu: Some(usage.cpu_micros as i64),
            memory: Some(usage.peak_bytes),
            read: Some(usage.read_bytes),
            written: Some(usage.written_bytes),
        });
    }
    if finished.stopped {
        return Err(raise(py, "Cancelled", "the attempt was cancelled, and its command ended".to_owned()));
    }
    let (status, signal) = match finished.status {
        Status::Code(code) => (code, 0),
        Status::Signal(signal) => (0, signal),
    };
    let well = signal == 0 && ok.contains(&status);
    let exceeded = if well { None } else { exceeded(&limits, signal, &finished) };
    Ok(Finished {
        status,
        signal,
        stdout: PyBytes::new(py, &finished.stdout).unbind(),
        stderr: PyBytes::new(py, &finished.stderr).unbind(),
        exceeded,
    })
}

/// Environment variables: many, for each command that starts.
fn pairs(variables: &Bound<'_, PyDict>) -> PyResult<Vec<(OsString, OsString)>> {
    let text = |value: Bound<'_, PyAny>| match value.cast::<PyString>().map(|it| it.to_str()) {
        // It is the same in every encoding that a system has for its texts.
        Ok(Ok(text)) if text.is_ascii() => Ok(OsString::from(text)),
        _ => value.extract(),
    };
    variables.iter().map(|(name, value)| Ok((text(name)?, text(value)?))).collect()
}

/// Hands what a program writes to whoever listens.
fn pass_on(told: Option<&Py<PyAny>>, stream: Stream, bytes: &[u8]) {
    let Some(told) = told else { return };
    Python::attach(|py| {
        let name = if stream == Stream::Stdout { "stdout" } else { "stderr" };
        if let Err(error) = told.call1(py, (name, PyBytes::new(py, bytes))) {
            error.write_unraisable(py, None);
        }
    });
}

/// What programs say, in one way or another, that got no memory.
const NO_MEMORY: [&str; 6] = [
    "memoryerror",
    "cannot allocate memory",
    "out of memory",
    "bad_alloc",
    "memory exhausted",
    "memory allocation of",
];

/// The limit that a program went over which did not end well, as far as one can tell: the system tells of
/// processor time, and of memory where the program has a control group; elsewhere a program only sees that
/// it gets no more, and ends as it likes.
fn exceeded(
    limits: &ferroflow_define::Limits,
    signal: i32,
    finished: &command::Finished,
) -> Option<&'static str> {
    if finished.out_of_memory == Some(true) {
        return Some("memory");
    }
    let used = finished.usage.cpu_micros as i64;
    if limits.cpu.is_some_and(|most| signal == libc::SIGXCPU || (signal == libc::SIGKILL && used >= most)) {
        return Some("processor time");
    }
    let most = limits.memory.filter(|_| finished.out_of_memory.is_none())?;
    let said = String::from_utf8_lossy(&finished.stderr).to_lowercase();
    let nearly = finished.usage.peak_bytes >= most / 10 * 9;
    (nearly || NO_MEMORY.iter().any(|it| said.contains(it))).then_some("memory")
}

/// A command of which nothing came, as the failure of its step.
fn failed(py: Python<'_>, error: &CommandError) -> PyErr {
    let (code, retriable) = match error {
        CommandError::Spawn(error) => refusal(error),
        CommandError::Gone(_) => ("LAUNCHER_DIED", true),
        CommandError::TooMuchOutput { .. } => ("OUTPUT_TOO_LARGE", false),
        CommandError::Input { .. } => ("NO_INPUT_FILE", false),
        CommandError::Output { .. } => ("NO_OUTPUT_FILE", false),
        CommandError::Io(_) => ("EXECUTION_FAILED", true),
        CommandError::Stopped => {
            return raise(py, "Cancelled", "the attempt was cancelled before its command began".to_owned());
        }
    };
    fail(py, code, error.to_string(), retriable)
}

/// A process that did not start, as a code, and whether another try may help.
fn refusal(error: &SpawnError) -> (&'static str, bool) {
    match error {
        SpawnError::NotInPath { .. } | SpawnError::NotFound { .. } => ("COMMAND_NOT_FOUND", false),
        SpawnError::NotExecutable { .. } | SpawnError::NoInterpreter { .. } | SpawnError::Format { .. } => {
            ("NOT_EXECUTABLE", false)
        }
        SpawnError::Empty | SpawnError::Nul { .. } | SpawnError::Variable { .. } => ("INVALID_INPUT", false),
        SpawnError::TooLong => ("ARGUMENTS_TOO_LONG", false),
        SpawnError::Directory { .. } => ("NO_DIRECTORY", false),
        SpawnError::Limit { .. } => ("LIMIT_REFUSED", false),
        SpawnError::Gone(_) => ("LAUNCHER_DIED", true),
        SpawnError::Cgroup { .. }
        | SpawnError::Other { .. }
        | SpawnError::Launcher { .. }
        | SpawnError::Forked => ("EXECUTION_FAILED", true),
    }
}

fn refused(py: Python<'_>, error: &SpawnError) -> PyErr {
    let (code, retriable) = refusal(error);
    fail(py, code, error.to_string(), retriable)
}

/// `ferroflow.Fail`, with whether another try may help.
fn fail(py: Python<'_>, code: &str, message: String, retriable: bool) -> PyErr {
    let made = || {
        let options = PyDict::new(py);
        options.set_item("retriable", retriable)?;
        py.import("ferroflow.errors")?.getattr("Fail")?.call((code, message), Some(&options))
    };
    match made() {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}
