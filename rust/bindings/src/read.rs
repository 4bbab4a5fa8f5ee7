//! Reading a database, from the engine's process or another, and leaving commands for its engine.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use ferroflow_define::value::{self, Item};
use ferroflow_engine::event::Event;
use ferroflow_journal::{Filter, Reader as _, Rows, RunRow, Sql, SqliteReader, StoreError};
use ferroflow_live::{EngineError, Inspection};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::engine::{error, run_id, store_error};
use crate::raise;

pub(crate) type Listing<'py> = Vec<Bound<'py, PyDict>>;

pub(crate) fn filter(
    workflow: Option<String>,
    states: Vec<String>,
    correlation: Option<String>,
    since: Option<i64>,
    until: Option<i64>,
    before: Option<String>,
    limit: usize,
) -> PyResult<Filter> {
    let before = before.as_deref().map(run_id).transpose()?;
    Ok(Filter { workflow, states, correlation, since, until, before, limit })
}

pub(crate) fn listing(py: Python<'_>, rows: Vec<RunRow>) -> PyResult<Listing<'_>> {
    rows.into_iter()
        .map(|row| {
            let dict = PyDict::new(py);
            dict.set_item("id", row.id.to_string())?;
            dict.set_item("workflow", row.workflow)?;
            dict.set_item("version", row.version)?;
            dict.set_item("state", row.state)?;
            dict.set_item("degraded", row.degraded)?;
            dict.set_item("priority", row.priority)?;
            dict.set_item("correlation", row.correlation)?;
            dict.set_item("created", row.created)?;
            dict.set_item("started", row.started)?;
            dict.set_item("ended", row.ended)?;
            dict.set_item("error", row.error)?;
            Ok(dict)
        })
        .collect()
}

pub(crate) fn packed<'py>(py: Python<'py>, value: &impl serde::Serialize) -> PyResult<Bound<'py, PyBytes>> {
    let bytes =
        rmp_serde::to_vec_named(value).map_err(|failed| raise(py, "FerroflowError", failed.to_string()))?;
    Ok(PyBytes::new(py, &bytes))
}

pub(crate) fn inspection(
    py: Python<'_>,
    found: Result<Inspection, EngineError>,
) -> PyResult<Bound<'_, PyBytes>> {
    packed(py, &found.map_err(|failed| error(py, failed))?)
}

pub(crate) fn events(py: Python<'_>, events: Vec<Event>) -> PyResult<Bound<'_, PyBytes>> {
    packed(py, &events)
}

/// A view of a database for reading, whether an engine has it open or not.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Reader {
    inner: Mutex<SqliteReader>,
}

impl Reader {
    fn with<T>(&self, read: impl FnOnce(&mut SqliteReader) -> T) -> T {
        read(&mut self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

#[pymethods]
impl Reader {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let opened = py.detach(|| SqliteReader::open(&path));
        opened.map(|inner| Self { inner: Mutex::new(inner) }).map_err(|failed| store_error(py, &failed))
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
        let filter = filter(workflow, states, correlation, since, until, before, limit)?;
        let found = py.detach(|| self.with(|reader| reader.runs(&filter)));
        listing(py, found.map_err(|failed| store_error(py, &failed))?)
    }

    /// Who holds assets, and who waits for them, as MessagePack.
    fn leases<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let found = py.detach(|| self.with(|reader| ferroflow_live::leases(reader)));
        packed(py, &found.map_err(|failed| error(py, failed))?)
    }

    /// How many runs there are that a filter admits.
    #[pyo3(signature = (workflow, states, correlation, since, until))]
    fn count(
        &self,
        py: Python<'_>,
        workflow: Option<String>,
        states: Vec<String>,
        correlation: Option<String>,
        since: Option<i64>,
        until: Option<i64>,
    ) -> PyResult<u64> {
        let filter = filter(workflow, states, correlation, since, until, None, 0)?;
        py.detach(|| self.with(|reader| reader.count(&filter))).map_err(|failed| store_error(py, &failed))
    }

    /// Whether a command that `post` left is still waiting for an engine.
    fn is_waiting(&self, py: Python<'_>, command: i64) -> PyResult<bool> {
        py.detach(|| self.with(|reader| reader.is_waiting(command)))
            .map_err(|failed| store_error(py, &failed))
    }

    fn inspect<'py>(&self, py: Python<'py>, run: &str, values: bool) -> PyResult<Bound<'py, PyBytes>> {
        let id = run_id(run)?;
        inspection(py, py.detach(|| self.with(|reader| ferroflow_live::inspect(reader, id, values))))
    }

    fn events<'py>(&self, py: Python<'py>, run: &str) -> PyResult<Bound<'py, PyBytes>> {
        let id = run_id(run)?;
        let found = py.detach(|| self.with(|reader| ferroflow_journal::store::events(reader, id)));
        events(py, found.map_err(|failed| store_error(py, &failed))?.0)
    }

    /// Checks every record of every run, as MessagePack; `each(checked, all)` hears how far it is.
    #[pyo3(signature = (each=None))]
    fn verify<'py>(&self, py: Python<'py>, each: Option<Py<PyAny>>) -> PyResult<Bound<'py, PyBytes>> {
        let checked = py.detach(|| {
            // Whoever wants the reader lets go of the interpreter first, so that attaching under
            // its lock can't wait for ever.
            self.with(|reader| {
                reader.verify(|at, of| {
                    if let Some(each) = &each {
                        Python::attach(|py| {
                            if let Err(error) = each.call1(py, (at, of)) {
                                error.write_unraisable(py, None);
                            }
                        });
                    }
                })
            })
        });
        packed(py, &checked.map_err(|failed| store_error(py, &failed))?)
    }

    /// The number of commits.
    fn commits(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| self.with(|reader| reader.head()))
            .map(|(commits, _)| commits)
            .map_err(|failed| store_error(py, &failed))
    }
}

/// Leaves a command for the engine that has the database open, or opens it next; its number.
#[pyfunction]
pub(crate) fn post(
    py: Python<'_>,
    path: PathBuf,
    run: &str,
    command: &str,
    payload: Vec<u8>,
) -> PyResult<i64> {
    let id = run_id(run)?;
    py.detach(|| ferroflow_journal::post(&path, id, command, &payload))
        .map_err(|failed| store_error(py, &failed))
}

/// A query over a database, which can only read: (columns, rows) as MessagePack.
pub(crate) fn query<'py>(
    py: Python<'py>,
    path: &Path,
    text: &str,
    parameters: &[u8],
    seconds: f64,
) -> PyResult<Bound<'py, PyBytes>> {
    let limit = Duration::from_secs_f64(seconds.clamp(0.0, 1e9));
    let found = py.detach(|| {
        let parameters = parameters_of(parameters)?;
        SqliteReader::open(path)?.query(text, parameters, limit)
    });
    let Rows { columns, rows } = found.map_err(|failed| store_error(py, &failed))?;
    let cell = |value: Sql| match value {
        Sql::Null => Cell::Null(()),
        Sql::Integer(number) => Cell::Integer(number),
        Sql::Real(number) => Cell::Real(number),
        Sql::Text(text) => Cell::Text(text),
        Sql::Blob(bytes) => Cell::Blob(serde_bytes::ByteBuf::from(bytes)),
    };
    let rows: Vec<Vec<Cell>> = rows.into_iter().map(|row| row.into_iter().map(cell).collect()).collect();
    packed(py, &(columns, rows))
}

#[derive(serde::Serialize)]
#[serde(untagged)]
enum Cell {
    Null(()),
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(serde_bytes::ByteBuf),
}

/// A list of plain values as SQLite takes them.
fn parameters_of(bytes: &[u8]) -> Result<Vec<Sql>, StoreError> {
    let refuse = |message: String| StoreError::Query { message };
    let items = value::elements(bytes).map_err(|error| refuse(error.to_string()))?.unwrap_or_default();
    let plain = |item: Item<'_>| match item {
        Item::Nil => Ok(Sql::Null),
        Item::Bool(truth) => Ok(Sql::Integer(i64::from(truth))),
        Item::Int(number) => Ok(Sql::Integer(number)),
        Item::Float(number) => Ok(Sql::Real(number)),
        Item::Str(text) => Ok(Sql::Text(text.to_owned())),
        Item::Bytes(bytes) => Ok(Sql::Blob(bytes.to_vec())),
        other => Err(refuse(format!("a parameter is {}; give numbers, texts, bytes or None", other.kind()))),
    };
    items
        .into_iter()
        .map(|item| plain(value::item(item, 0).map_err(|error| refuse(error.to_string()))?.0))
        .collect()
}
