//! Graphs that grow, for Python.

use std::sync::{Mutex, PoisonError};

use ferroflow_define::graph::{Fault, Graph as Plain, Growing as Inner};
use pyo3::prelude::*;

use super::{Graph, View, fault};
use crate::column::{Id, Input, view};

/// A graph to which nodes and edges are added while it runs.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Growing {
    inner: Mutex<Inner>,
}

impl Growing {
    pub(super) fn new(py: Python<'_>, graph: &Plain) -> PyResult<Self> {
        let made = py.detach(|| Inner::new(graph)).map_err(|found| fault(py, found))?;
        Ok(Self { inner: Mutex::new(made) })
    }

    fn ask<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Inner) -> Result<T, Fault> + Send,
    ) -> PyResult<T> {
        let found = py.detach(|| work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner)));
        found.map_err(|found| fault(py, found))
    }
}

#[pymethods]
impl Growing {
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.ask(py, |graph| Ok(graph.len()))
    }

    fn edge_count(&self, py: Python<'_>) -> PyResult<usize> {
        self.ask(py, |graph| Ok(graph.edges()))
    }

    fn add_node(&self, py: Python<'_>, after: Input) -> PyResult<u32> {
        self.ask(py, |graph| graph.add_node(&after.ids(graph.len())?))
    }

    fn add_edge(&self, py: Python<'_>, source: Id, target: Id) -> PyResult<bool> {
        self.ask(py, |graph| graph.add_edge(source.0, target.0))
    }

    fn remove(&self, py: Python<'_>, node: Id) -> PyResult<()> {
        self.ask(py, |graph| graph.remove(node.0))
    }

    fn leads(&self, py: Python<'_>, source: Id, target: Id) -> PyResult<bool> {
        self.ask(py, |graph| graph.leads(source.0, target.0))
    }

    fn order<'py>(&self, py: Python<'py>) -> PyResult<View<'py>> {
        view(py, self.ask(py, |graph| Ok(graph.order().collect::<Vec<u32>>()))?)
    }

    fn successors<'py>(&self, py: Python<'py>, node: Id) -> PyResult<View<'py>> {
        view(py, self.ask(py, |graph| graph.successors(node.0).map(<[u32]>::to_vec))?)
    }

    fn predecessors<'py>(&self, py: Python<'py>, node: Id) -> PyResult<View<'py>> {
        view(py, self.ask(py, |graph| graph.predecessors(node.0).map(<[u32]>::to_vec))?)
    }

    fn graph(&self, py: Python<'_>) -> PyResult<Graph> {
        Ok(Graph::of(self.ask(py, |graph| Ok(graph.graph()))?))
    }
}
