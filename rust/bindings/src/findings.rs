//! Findings of the borrow check as plain objects.

use ferroflow_define::access::finding::{Finding, Level};
use pyo3::prelude::*;
use pyo3::types::PyDict;

pub(crate) fn object<'py>(py: Python<'py>, finding: &Finding) -> PyResult<Bound<'py, PyDict>> {
    let object = PyDict::new(py);
    object.set_item("code", finding.code)?;
    object.set_item("level", if finding.level == Level::Error { "error" } else { "warning" })?;
    object.set_item("message", &finding.message)?;
    object.set_item("asset", &finding.asset)?;
    let mut places = Vec::with_capacity(finding.places.len());
    for it in &finding.places {
        let place = PyDict::new(py);
        place.set_item("step", &it.step)?;
        place.set_item("task", &it.task)?;
        place.set_item("mode", it.mode)?;
        place.set_item("use", it.index.map_or(-1, i64::from))?;
        place.set_item("label", &it.label)?;
        places.push(place);
    }
    object.set_item("places", places)?;
    object.set_item("meeting", &finding.meeting)?;
    object.set_item("help", &finding.help)?;
    Ok(object)
}
