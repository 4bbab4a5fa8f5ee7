//! Draining a graph from Python.

use std::sync::{Arc, Mutex, PoisonError};

use ferroflow_define::graph::{Drain as Inner, Graph};
use pyo3::prelude::*;

use super::{View, fault};
use crate::column::{Input, Numbers, view};

/// Hands out the nodes whose predecessors are done.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Drain {
    graph: Arc<Graph>,
    inner: Mutex<Inner>,
}

impl Drain {
    pub(super) fn new(py: Python<'_>, graph: Arc<Graph>, ranks: Option<Numbers>) -> PyResult<Self> {
        let made = py.detach(|| Inner::new(&graph, ranks.map(|it| it.0)));
        Ok(Self { inner: Mutex::new(made.map_err(|found| fault(py, found))?), graph })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl Drain {
    /// How many nodes are not done, how many of them were taken, and how many are ready.
    fn counts(&self, py: Python<'_>) -> (usize, usize, usize) {
        py.detach(|| self.with(|inner| (inner.left(), inner.taken(), inner.ready())))
    }

    #[pyo3(signature = (most))]
    fn take<'py>(&self, py: Python<'py>, most: Option<usize>) -> PyResult<View<'py>> {
        view(py, py.detach(|| self.with(|inner| inner.take(most.unwrap_or(usize::MAX)))))
    }

    #[pyo3(signature = (nodes, most))]
    fn done<'py>(&self, py: Python<'py>, nodes: Input, most: Option<usize>) -> PyResult<View<'py>> {
        let found = py.detach(|| {
            let nodes = nodes.ids(self.graph.len())?;
            self.with(|inner| {
                inner.done(&self.graph, &nodes)?;
                Ok(inner.take(most.unwrap_or(usize::MAX)))
            })
        });
        view(py, found.map_err(|found| fault(py, found))?)
    }
}
