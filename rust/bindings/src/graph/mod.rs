//! Graphs for Python: arrays in, arrays out, the interpreter let go of meanwhile.

mod drain;
mod grow;

use std::sync::{Arc, Mutex, PoisonError};

use ferroflow_define::graph::{Bounds, Fault, Graph as Inner, Indices, Reach as Index, Scratch};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyMemoryView, PyTuple};

pub(crate) use self::drain::Drain;
pub(crate) use self::grow::Growing;
use crate::column::{Input, Numbers, Pair, view};
use crate::{Program, raise, raise_with};

type View<'py> = Bound<'py, PyMemoryView>;

/// The exception of `ferroflow.errors` for what is wrong.
fn fault(py: Python<'_>, fault: Fault) -> PyErr {
    let message = fault.to_string();
    match fault {
        Fault::Cycle(cycle) => raise_with(py, "CyclicGraph", (message, cycle)),
        _ => raise(py, "InvalidGraph", message),
    }
}

struct Build<'w> {
    nodes: usize,
    weights: Option<&'w [f64]>,
}

impl Pair<Result<(Inner, Option<Vec<f64>>), Fault>> for Build<'_> {
    fn with<I: Indices>(self, sources: &I, targets: &I) -> Result<(Inner, Option<Vec<f64>>), Fault> {
        let graph = Inner::new(self.nodes, sources, targets)?;
        let lengths = self.weights.map(|weights| graph.lengths(sources, targets, weights)).transpose()?;
        Ok((graph, lengths))
    }
}

/// A directed graph; see `ferroflow.Graph`.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Graph {
    inner: Arc<Inner>,
}

impl Graph {
    fn of(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Calls `find` without the interpreter.
    fn ask<T: Send>(
        &self,
        py: Python<'_>,
        find: impl FnOnce(&Inner) -> Result<T, Fault> + Send,
    ) -> PyResult<T> {
        py.detach(|| find(&self.inner)).map_err(|found| fault(py, found))
    }
}

#[pymethods]
impl Graph {
    /// A graph, and its edges' weights as `edges` has them, if each given edge has one.
    #[staticmethod]
    #[pyo3(signature = (nodes, sources, targets, weights=None))]
    fn build<'py>(
        py: Python<'py>,
        nodes: usize,
        sources: Input,
        targets: Input,
        weights: Option<Numbers>,
    ) -> PyResult<(Self, Option<View<'py>>)> {
        let build = Build { nodes, weights: weights.as_ref().map(|it| &it.0[..]) };
        let made = Input::both(py, &sources, &targets, build);
        let (inner, lengths) = made.map_err(|found| fault(py, found))?;
        Ok((Self::of(inner), lengths.map(|it| view(py, it)).transpose()?))
    }

    /// The graph of a program's block, and the ids of its nodes.
    #[staticmethod]
    fn of_block(program: &Program, block: usize) -> PyResult<(Self, Vec<String>)> {
        let code = program.compiled.blocks.get(block);
        let code = code.ok_or_else(|| PyIndexError::new_err(format!("there is no block {block}")))?;
        let names = code.nodes.iter().map(|node| node.id.to_string()).collect();
        Ok((Self::of(Inner::from(code.graph.clone())), names))
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }

    #[getter]
    fn edge_count(&self) -> usize {
        self.inner.edges()
    }

    fn edges<'py>(&self, py: Python<'py>) -> PyResult<(View<'py>, View<'py>)> {
        let (from, to): (Vec<u32>, Vec<u32>) = py.detach(|| self.inner.after().pairs().unzip());
        Ok((view(py, from)?, view(py, to)?))
    }

    fn order<'py>(&self, py: Python<'py>) -> PyResult<View<'py>> {
        view(py, self.ask(py, |graph| graph.order().map(<[u32]>::to_vec))?)
    }

    /// Each node's level; all nodes by level; where each level begins.
    fn levels<'py>(&self, py: Python<'py>) -> PyResult<(View<'py>, View<'py>, View<'py>)> {
        let found = self.ask(py, Inner::levels)?;
        Ok((view(py, found.of)?, view(py, found.nodes)?, view(py, found.starts)?))
    }

    fn sources<'py>(&self, py: Python<'py>) -> PyResult<View<'py>> {
        view(py, py.detach(|| self.inner.sources()))
    }

    fn sinks<'py>(&self, py: Python<'py>) -> PyResult<View<'py>> {
        view(py, py.detach(|| self.inner.sinks()))
    }

    fn successors<'py>(&self, py: Python<'py>, node: u32) -> PyResult<View<'py>> {
        view(py, self.ask(py, |graph| graph.check(node).map(|()| graph.successors(node).to_vec()))?)
    }

    fn predecessors<'py>(&self, py: Python<'py>, node: u32) -> PyResult<View<'py>> {
        view(py, self.ask(py, |graph| graph.check(node).map(|()| graph.predecessors(node).to_vec()))?)
    }

    fn descendants<'py>(&self, py: Python<'py>, node: u32) -> PyResult<View<'py>> {
        view(py, self.ask(py, |graph| graph.descendants(node))?)
    }

    fn ancestors<'py>(&self, py: Python<'py>, node: u32) -> PyResult<View<'py>> {
        view(py, self.ask(py, |graph| graph.ancestors(node))?)
    }

    fn ready<'py>(&self, py: Python<'py>, done: Input) -> PyResult<View<'py>> {
        let done = done.ids(self.inner.len()).map_err(|found| fault(py, found))?;
        view(py, self.ask(py, |graph| graph.ready(&done))?)
    }

    /// Weights of nodes, once they are known to be such.
    fn weights<'py>(&self, py: Python<'py>, weights: Numbers) -> PyResult<View<'py>> {
        self.ask(py, |graph| graph.check_weights(&weights.0))?;
        view(py, weights.0)
    }

    /// Earliest starts, latest starts, floats, a longest path, and its length.
    #[pyo3(signature = (weights, edge_weights=None))]
    fn critical<'py>(
        &self,
        py: Python<'py>,
        weights: Option<Numbers>,
        edge_weights: Option<Numbers>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let found = self.ask(py, |graph| {
            let weights = weights.map_or_else(|| vec![1.0; graph.len()], |it| it.0);
            graph.critical(&weights, edge_weights.as_ref().map(|it| &it.0[..]))
        })?;
        (
            view(py, found.earliest)?,
            view(py, found.latest)?,
            view(py, found.float)?,
            view(py, found.path)?,
            found.length,
        )
            .into_pyobject(py)
    }

    /// The graph without nodes, and the former ids of those that stay.
    fn without<'py>(&self, py: Python<'py>, nodes: Input) -> PyResult<(Self, View<'py>)> {
        let nodes = nodes.ids(self.inner.len()).map_err(|found| fault(py, found))?;
        let (inner, kept) = self.ask(py, |graph| graph.without(&nodes))?;
        Ok((Self::of(inner), view(py, kept)?))
    }

    /// The graph without edges that follow from others, and whether all those are gone.
    fn reduced(&self, py: Python<'_>) -> PyResult<(Self, bool)> {
        let (inner, all) = self.ask(py, Inner::reduced)?;
        Ok((Self::of(inner), all))
    }

    fn reach(&self, py: Python<'_>) -> PyResult<Reach> {
        let inner = py.detach(|| Index::new(self.inner.clone())).map_err(|found| fault(py, found))?;
        Ok(Reach { inner, scratch: Mutex::default() })
    }

    #[pyo3(signature = (ranks))]
    fn drain(&self, py: Python<'_>, ranks: Option<Numbers>) -> PyResult<Drain> {
        Drain::new(py, self.inner.clone(), ranks)
    }

    fn growing(&self, py: Python<'_>) -> PyResult<Growing> {
        Growing::new(py, &self.inner)
    }
}

/// Answers whether one node comes before another.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Reach {
    inner: Index,
    scratch: Mutex<Scratch>,
}

fn pair(bounds: Bounds) -> (u64, u64) {
    (bounds.low, bounds.high)
}

#[pymethods]
impl Reach {
    fn leads(&self, py: Python<'_>, source: u32, target: u32) -> PyResult<bool> {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.leads(source, target, &mut scratch).map_err(|found| fault(py, found))
    }

    fn many<'py>(
        &self,
        py: Python<'py>,
        sources: Input,
        targets: Input,
        threads: usize,
    ) -> PyResult<View<'py>> {
        let nodes = self.inner.graph().len();
        let found = py.detach(|| {
            let (from, to) = (sources.ids(nodes)?, targets.ids(nodes)?);
            self.inner.many(&from, &to, threads)
        });
        view(py, found.map_err(|found| fault(py, found))?)
    }

    #[getter]
    fn bytes(&self) -> usize {
        self.inner.bytes()
    }

    #[getter]
    fn exceptions(&self) -> Option<usize> {
        self.inner.exceptions()
    }

    fn pairs(&self, py: Python<'_>) -> (u64, u64) {
        pair(py.detach(|| self.inner.pairs()))
    }

    fn width<'py>(&self, py: Python<'py>) -> PyResult<((u64, u64), View<'py>)> {
        let found = py.detach(|| self.inner.width());
        Ok((pair(found.size), view(py, found.antichain)?))
    }
}
