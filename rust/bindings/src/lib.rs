//! The thin binding: converts, releases the GIL, maps errors. No decisions.

mod column;
mod engine;
mod findings;
mod graph;
mod job;
mod laws;
mod plan;
mod platform;
mod policy;
mod processes;
mod read;
mod simulate;
mod values;

use ferroflow_define::access::finding::path;
use ferroflow_define::algebra::compile::Program as Compiled;
use ferroflow_define::expr::{Expr, Reference, Scope};
use ferroflow_define::{Definition, Problem, value};
use pyo3::call::PyCallArgs;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::path::PathBuf;
use std::sync::Arc;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// An exception of `ferroflow.errors`.
fn raise(py: Python<'_>, name: &str, message: String) -> PyErr {
    raise_with(py, name, (message,))
}

/// One that is told more than a message.
fn raise_with<'py>(py: Python<'py>, name: &str, args: impl PyCallArgs<'py>) -> PyErr {
    let made = py.import("ferroflow.errors").and_then(|module| module.getattr(name)?.call1(args));
    match made {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}

/// All problems of a definition, as (code, place, message, help).
fn problems(py: Python<'_>, problems: Vec<Problem>) -> PyErr {
    let tuples = problems.into_iter().map(|it| (it.code, it.place, it.message, it.help));
    match PyList::new(py, tuples) {
        Ok(list) => PyValueError::new_err((list.unbind(),)),
        Err(error) => error,
    }
}

/// A definition that was read, compiled and found right.
#[pyclass(frozen, module = "ferroflow._core")]
struct Program {
    object: Arc<[u8]>,
    digest: [u8; 32],
    definition: Definition,
    compiled: Arc<Compiled>,
}

#[pymethods]
impl Program {
    #[new]
    fn new(py: Python<'_>, definition: &[u8]) -> PyResult<Self> {
        let object: Arc<[u8]> = definition.into();
        let made = py.detach(|| Compiled::read(&object));
        let (definition, compiled) = made.map_err(|found| problems(py, found))?;
        let compiled = Arc::new(compiled);
        Ok(Self { digest: *blake3::hash(&object).as_bytes(), object, definition, compiled })
    }

    #[getter]
    fn name(&self) -> &str {
        &self.definition.name
    }

    #[getter]
    fn version(&self) -> &str {
        &self.definition.version
    }

    /// The names of the tasks used, sorted.
    #[getter]
    fn tasks(&self) -> Vec<&str> {
        self.compiled.tasks.iter().map(|name| &**name).collect()
    }

    /// The content hash of the normal form.
    #[getter]
    fn hash(&self, py: Python<'_>) -> String {
        blake3::Hash::from_bytes(py.detach(|| self.definition.hash())).to_hex().to_string()
    }

    /// What is wrong with what steps do to assets, or may be: at most so many races of a block.
    #[pyo3(signature = (most = ferroflow_define::access::finding::LISTED))]
    fn check<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let found =
            py.detach(|| ferroflow_define::access::finding::findings(&self.compiled, most, threads()));
        found.iter().map(|finding| findings::object(py, finding)).collect()
    }

    /// The definition with the order added that leaves no race; the orders, as pairs of paths; and the paths of
    /// those `each` whose iterations come one after another.
    fn serialise<'py>(&self, py: Python<'py>) -> (Bound<'py, PyBytes>, Vec<(String, String)>, Vec<String>) {
        let (object, orders, limited) = py.detach(|| {
            let (definition, serial) = self.compiled.serialised(&self.definition, threads());
            let path = |block, node| path(&self.compiled, block, node);
            let edges = serial.edges.iter().flat_map(|(block, edges)| edges.iter().map(|it| (*block, *it)));
            let orders = edges.map(|(block, (a, b))| (path(block, a), path(block, b))).collect();
            let limited = serial.limited.iter().map(|&(block, node)| path(block, node)).collect();
            (definition.write(), orders, limited)
        });
        (PyBytes::new(py, &object), orders, limited)
    }

    /// The definition with no more order than values, accesses and steps of which little is known need; and what
    /// was left out, as pairs of paths.
    fn relax<'py>(&self, py: Python<'py>) -> (Bound<'py, PyBytes>, Vec<(String, String)>) {
        let (object, dropped) = py.detach(|| {
            let (definition, relaxed) = self.compiled.relaxed(&self.definition, threads());
            let path = |block, node| path(&self.compiled, block, node);
            let pairs = relaxed.iter().flat_map(|it| it.dropped.iter().map(|pair| (it.block, *pair)));
            (definition.write(), pairs.map(|(block, (a, b))| (path(block, a), path(block, b))).collect())
        });
        (PyBytes::new(py, &object), dropped)
    }

    /// Microseconds that the longest way through it is expected to take.
    #[getter]
    fn expected(&self) -> i64 {
        self.compiled.blocks[0].upward.iter().copied().max().unwrap_or(0)
    }

    /// The definition object of the normal form.
    fn normal<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.definition.normal().write()))
    }

    /// The definition object in its standard form.
    fn write<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.definition.write())
    }

    /// Blocks as (owner block, owner node, nodes as (id, kind, task), edges): what a picture shows.
    fn blocks(&self) -> Vec<ferroflow_live::BlockView> {
        ferroflow_live::blocks(&self.compiled)
    }
}

/// Variables by name, for `evaluate`.
struct Variables(Vec<u8>);

impl Scope for Variables {
    fn get(&self, reference: &Reference) -> Result<Option<Arc<[u8]>>, String> {
        let field = |bytes: &[u8], name: &str| -> Result<Option<Vec<u8>>, String> {
            let entries = value::entries(bytes).map_err(|error| error.to_string())?.unwrap_or_default();
            Ok(entries.iter().find(|(key, _)| *key == name).map(|(_, bytes)| bytes.to_vec()))
        };
        let Some(root) = field(&self.0, &reference.root)? else { return Ok(None) };
        match &reference.member {
            None => Ok(Some(root.into())),
            Some(member) => Ok(field(&root, member)?.map(Into::into)),
        }
    }
}

/// The extension module `ferroflow._core`.
#[pymodule(gil_used = false)]
mod _core {
    use super::*;

    #[pymodule_export]
    use super::Program;
    #[pymodule_export]
    use super::column::Column;
    #[pymodule_export]
    use super::engine::{Ends, Engine, Listener};
    #[pymodule_export]
    use super::graph::{Drain, Graph, Growing, Reach};
    #[pymodule_export]
    use super::job::Job;
    #[pymodule_export]
    use super::laws::{laws, verify_law};
    #[pymodule_export]
    use super::plan::{PlanInstance, plan_by_load, plan_methods};
    #[pymodule_export]
    use super::processes::{Call, Finished, PoolWorker, Service, run_command};
    #[pymodule_export]
    use super::read::{Reader, post};
    #[pymodule_export]
    use super::simulate::{Simulated, Simulator};
    #[pymodule_export]
    use super::values::{Bytes, Private};

    /// Microseconds of a duration such as `1h30m`.
    #[pyfunction]
    fn parse_duration(text: &str) -> PyResult<i64> {
        ferroflow_define::units::parse_duration(text).map_err(PyValueError::new_err)
    }

    /// Bytes of a size such as `2GiB`.
    #[pyfunction]
    fn parse_size(text: &str) -> PyResult<u64> {
        ferroflow_define::units::parse_size(text).map_err(PyValueError::new_err)
    }

    /// Whether a name can stand alone in CEL, or follow a dot.
    #[pyfunction]
    fn is_plain(name: &str) -> bool {
        ferroflow_define::expr::plain(name)
    }

    /// The value of a CEL expression over variables, an object as MessagePack.
    #[pyfunction]
    fn evaluate<'py>(py: Python<'py>, expression: &str, variables: Vec<u8>) -> PyResult<Bound<'py, PyBytes>> {
        let found = Expr::parse(expression).and_then(|expr| expr.evaluate(&Variables(variables)));
        found.map(|bytes| PyBytes::new(py, &bytes)).map_err(PyValueError::new_err)
    }

    /// The states of runs, and of steps, in the order of the transition table.
    #[pyfunction]
    fn states() -> (Vec<&'static str>, Vec<&'static str>) {
        let runs = ferroflow_engine::RunState::ALL.iter().map(|state| state.name());
        let steps = ferroflow_engine::StepState::ALL.iter().map(|state| state.name());
        (runs.collect(), steps.collect())
    }

    /// The id of a run to be: the given one as runs are called, or a new one.
    #[pyfunction]
    #[pyo3(signature = (given))]
    fn new_run(given: Option<&str>) -> PyResult<String> {
        let id = given.map(super::engine::run_id).transpose()?;
        Ok(id.unwrap_or_else(ferroflow_live::new_run).to_string())
    }

    /// The BLAKE3 hash of what is in a file, or in a directory; None if there is nothing.
    #[pyfunction]
    fn fingerprint(py: Python<'_>, path: PathBuf) -> PyResult<Option<Bound<'_, PyBytes>>> {
        let found = py.detach(|| ferroflow_live::fingerprint(&path))?;
        Ok(found.map(|hash| PyBytes::new(py, &hash)))
    }

    /// The transition table as Markdown with Mermaid state diagrams.
    #[pyfunction]
    fn state_diagrams() -> String {
        ferroflow_engine::state::table::diagrams()
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("THREADS", ferroflow_live::THREADS)?;
        module.add("LOOP", ferroflow_live::LOOP)?;
        module.add("CHILDREN", ferroflow_live::CHILDREN)?;
        module.add("LANES", ferroflow_live::LANES)?;
        // So that a benchmark can refuse to time a debug build.
        module.add("build_profile", if cfg!(debug_assertions) { "debug" } else { "release" })
    }
}
