//! Platforms from plain values.

use std::collections::BTreeMap;

use ferroflow_plan::{Error, Network, Node, Platform};
use pyo3::prelude::*;

use crate::column::real;

/// (name, cores, speed, speeds, memory, devices, labels, location, price)
type NodeParts = (
    String,
    u32,
    f64,
    BTreeMap<String, f64>,
    Option<u64>,
    BTreeMap<String, u64>,
    BTreeMap<String, String>,
    Option<String>,
    f64,
);

/// (nodes, latency, bandwidth): the latter numbers, or columns with a row for each sending node.
pub(crate) type Parts<'py> = (Vec<NodeParts>, Bound<'py, PyAny>, Bound<'py, PyAny>);

pub(crate) fn read((nodes, latency, bandwidth): Parts<'_>) -> PyResult<Result<Platform, Error>> {
    let nodes =
        nodes.into_iter().map(|(name, cores, speed, speeds, memory, devices, labels, location, price)| {
            let memory = memory.unwrap_or(u64::MAX);
            Node { name, cores, speed, speeds, memory, devices, labels, location, price }
        });
    let network = match (latency.extract::<f64>(), bandwidth.extract::<f64>()) {
        (Ok(latency), Ok(bandwidth)) => Network::Uniform { latency, bandwidth },
        _ => {
            Network::Matrix { latency: real(&latency, "latency")?, bandwidth: real(&bandwidth, "bandwidth")? }
        }
    };
    Ok(Platform::new(nodes.collect(), network))
}
