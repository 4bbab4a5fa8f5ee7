//! What is to be planned as it is given: columns, and what can be wrong with them.

use crate::Error;
use std::collections::BTreeMap;

/// Data that a task reads and that lie on some nodes already.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub task: u32,
    pub bytes: f64,
    /// The nodes that have a copy.
    pub nodes: Vec<u32>,
}

/// Tasks and dependencies, column by column. Columns after `bytes` may be empty: one kind of task,
/// one core each, no memory, no devices, any node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// Work of each task: seconds on a node of speed 1.
    pub costs: Vec<f64>,
    /// Dependencies: what comes first, what waits for it, and how much is sent.
    pub sources: Vec<u32>,
    pub targets: Vec<u32>,
    pub bytes: Vec<f64>,
    /// The kind of each task, as a place in `kind_names`.
    pub kinds: Vec<u32>,
    pub kind_names: Vec<String>,
    pub cores: Vec<u32>,
    pub memory: Vec<u64>,
    /// By name: how much of a device each task takes.
    pub devices: BTreeMap<String, Vec<u64>>,
    /// Labels that a task's node must have.
    pub labels: BTreeMap<u32, BTreeMap<String, String>>,
    pub inputs: Vec<Input>,
    /// Seconds of each task on each node, a row a task, in place of cost and speed.
    pub matrix: Option<Vec<f64>>,
}

pub(crate) fn check_columns(work: &Work, nodes: usize) -> Result<(), Error> {
    let count = work.costs.len();
    // Ids are u32, and offsets into edges too.
    let most = u32::MAX as usize - 1;
    for (what, found) in [("tasks", count), ("dependencies", work.sources.len())] {
        if found > most {
            return Err(Error::TooMany { what, found, most });
        }
    }
    let lengths = [
        ("column of targets", work.targets.len(), work.sources.len()),
        ("column of bytes", work.bytes.len(), work.sources.len()),
        ("column of kinds", work.kinds.len(), if work.kinds.is_empty() { 0 } else { count }),
        ("column of cores", work.cores.len(), if work.cores.is_empty() { 0 } else { count }),
        ("column of memory", work.memory.len(), if work.memory.is_empty() { 0 } else { count }),
    ];
    let devices = work.devices.values().map(|column| ("column of a device", column.len(), count));
    let matrix = work.matrix.iter().map(|it| ("matrix of times", it.len(), count * nodes));
    for (what, found, wanted) in lengths.into_iter().chain(devices).chain(matrix) {
        if found != wanted {
            return Err(Error::Length { what, found, wanted });
        }
    }
    let columns = [("the cost of task", &work.costs), ("the bytes of dependency", &work.bytes)];
    let matrix = work.matrix.iter().map(|it| ("entry of the matrix of times", it));
    for (what, column) in columns.into_iter().chain(matrix) {
        if let Some(at) = column.iter().position(|it| !(it.is_finite() && *it >= 0.0)) {
            return Err(Error::Number { what, at, value: column[at] });
        }
    }
    if let Some(at) = work.cores.iter().position(|&it| it == 0) {
        return Err(Error::Number { what: "the number of cores of task", at, value: 0.0 });
    }
    if let Some(at) = work.kinds.iter().position(|&it| it as usize >= work.kind_names.len()) {
        return Err(Error::Length {
            what: "list of kinds",
            found: work.kind_names.len(),
            wanted: work.kinds[at] as usize + 1,
        });
    }
    for (number, input) in work.inputs.iter().enumerate() {
        if !(input.bytes.is_finite() && input.bytes >= 0.0) {
            return Err(Error::Number { what: "the bytes of input", at: number, value: input.bytes });
        }
        if input.task as usize >= count {
            return Err(Error::Dangling { edge: number, task: input.task.into(), tasks: count });
        }
        if input.nodes.is_empty() {
            return Err(Error::Length { what: "list of an input's nodes", found: 0, wanted: 1 });
        }
        if let Some(&node) = input.nodes.iter().find(|&&node| node as usize >= nodes) {
            return Err(Error::UnknownNode { input: number, node: node.into(), nodes });
        }
    }
    if let Some(&task) = work.labels.keys().find(|&&task| task as usize >= count) {
        return Err(Error::Dangling { edge: 0, task: task.into(), tasks: count });
    }
    Ok(())
}

/// The edges sorted, those between the same tasks added up.
pub(crate) fn edges(work: &Work) -> Result<Vec<(u32, u32, f64)>, Error> {
    let count = work.costs.len();
    let mut edges = Vec::with_capacity(work.sources.len());
    for (edge, ((&from, &to), &bytes)) in work.sources.iter().zip(&work.targets).zip(&work.bytes).enumerate()
    {
        if let Some(&task) = [from, to].iter().find(|&&task| task as usize >= count) {
            return Err(Error::Dangling { edge, task: task.into(), tasks: count });
        }
        if from == to {
            return Err(Error::Cycle(vec![from]));
        }
        edges.push((from, to, bytes));
    }
    if !edges.is_sorted_by_key(|it| (it.0, it.1)) {
        edges.sort_by_key(|it| (it.0, it.1));
    }
    edges.dedup_by(|later, kept| {
        let same = (later.0, later.1) == (kept.0, kept.1);
        if same {
            kept.2 += later.2;
        }
        same
    });
    Ok(edges)
}
