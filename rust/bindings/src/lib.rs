//! The thin binding: converts, releases the GIL, maps errors. No decisions.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The extension module `ferroflow._core`.
#[pymodule(gil_used = false)]
mod _core {
    use super::*;

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

    /// The transition table as Markdown with Mermaid state diagrams.
    #[pyfunction]
    fn state_diagrams() -> String {
        ferroflow_engine::state::table::diagrams()
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        // So that a benchmark can refuse to time a debug build.
        module.add("build_profile", if cfg!(debug_assertions) { "debug" } else { "release" })
    }
}
