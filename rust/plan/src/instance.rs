//! What is to be planned: tasks, what they wait for and demand, and where they could run.

use crate::Error;
use crate::platform::{Network, Platform};
use crate::work::{Work, check_columns, edges};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Neighbours of each task in one direction, with the bytes that go along the edge.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    offsets: Vec<u32>,
    tasks: Vec<u32>,
    bytes: Vec<f64>,
}

impl Side {
    /// `edges` sorted by (from, to).
    fn new(count: usize, edges: &[(u32, u32, f64)]) -> Self {
        let mut offsets = vec![0u32; count + 1];
        for &(from, ..) in edges {
            offsets[from as usize + 1] += 1;
        }
        for at in 0..count {
            offsets[at + 1] += offsets[at];
        }
        Self {
            offsets,
            tasks: edges.iter().map(|it| it.1).collect(),
            bytes: edges.iter().map(|it| it.2).collect(),
        }
    }

    fn range(&self, task: u32) -> std::ops::Range<usize> {
        self.offsets[task as usize] as usize..self.offsets[task as usize + 1] as usize
    }

    pub(crate) fn of(&self, task: u32) -> &[u32] {
        &self.tasks[self.range(task)]
    }

    pub(crate) fn with_bytes(&self, task: u32) -> impl DoubleEndedIterator<Item = (u32, f64)> + '_ {
        let range = self.range(task);
        self.tasks[range.clone()].iter().copied().zip(self.bytes[range].iter().copied())
    }
}

#[derive(Clone, Debug)]
enum Exec {
    /// Cost over the speed of the kind on the node: a row of speeds a kind.
    Speed {
        speeds: Vec<f64>,
    },
    Matrix(Vec<f64>),
}

/// Tasks on a platform, checked, in the form that planners read.
#[derive(Clone, Debug)]
pub struct Instance {
    platform: Platform,
    costs: Vec<f64>,
    kinds: Vec<u32>,
    exec: Exec,
    pub(crate) before: Side,
    pub(crate) after: Side,
    /// A topological order: the smallest free id first.
    order: Vec<u32>,
    /// Where in that order each task stands.
    place: Vec<u32>,
    /// What is divided among tasks on a node: cores, memory, then devices by name.
    resources: Vec<String>,
    /// A row a task; empty if each task takes one core and nothing else.
    demands: Vec<u64>,
    /// A row a node.
    capacities: Vec<u64>,
    /// Nodes on which no two tasks fit at one time.
    single: Vec<bool>,
    /// Tasks and nodes that do not go together, a row a task; empty if all do.
    barred: Vec<bool>,
    inputs: BTreeMap<u32, Vec<(f64, Vec<u32>)>>,
}

impl Instance {
    /// # Errors
    /// If a number is not finite and at least zero, an edge names a task that is not there, tasks
    /// wait for each other, or a task fits no node.
    pub fn new(work: Work, platform: Platform) -> Result<Self, Error> {
        let count = work.costs.len();
        let nodes = platform.nodes().len();
        check_columns(&work, nodes)?;
        let edges = edges(&work)?;
        let after = Side::new(count, &edges);
        let mut back: Vec<(u32, u32, f64)> =
            edges.iter().map(|&(from, to, bytes)| (to, from, bytes)).collect();
        back.sort_unstable_by_key(|it| (it.0, it.1));
        let before = Side::new(count, &back);
        let order = order(count, &edges, &before, &after)?;
        let mut place = vec![0; count];
        for (at, &task) in order.iter().enumerate() {
            place[task as usize] = at as u32;
        }
        let exec = match work.matrix {
            Some(matrix) => Exec::Matrix(matrix),
            None => {
                let names: Vec<&str> = work.kind_names.iter().map(String::as_str).collect();
                let kinds = if names.is_empty() { vec![""] } else { names };
                let speed = |kind: &str| {
                    let nodes = platform.nodes().iter();
                    nodes.map(|it| it.speeds.get(kind).copied().unwrap_or(it.speed)).collect::<Vec<f64>>()
                };
                Exec::Speed { speeds: kinds.into_iter().flat_map(speed).collect() }
            }
        };
        let resources: Vec<String> =
            ["cores", "memory"].map(String::from).into_iter().chain(work.devices.keys().cloned()).collect();
        let mut demands = Vec::new();
        if !(work.cores.is_empty() && work.memory.is_empty() && work.devices.is_empty()) {
            demands.reserve(count * resources.len());
            for task in 0..count {
                demands.push(u64::from(work.cores.get(task).copied().unwrap_or(1)));
                demands.push(work.memory.get(task).copied().unwrap_or(0));
                demands.extend(work.devices.values().map(|column| column[task]));
            }
        }
        let capacities = platform.nodes().iter().flat_map(|node| {
            let devices = work.devices.keys().map(|name| node.devices.get(name).copied().unwrap_or(0));
            [u64::from(node.cores), node.memory].into_iter().chain(devices).collect::<Vec<_>>()
        });
        let capacities: Vec<u64> = capacities.collect();
        let single = platform.nodes().iter().map(|node| node.cores == 1).collect();
        let mut inputs: BTreeMap<u32, Vec<(f64, Vec<u32>)>> = BTreeMap::new();
        for input in work.inputs {
            inputs.entry(input.task).or_default().push((input.bytes, input.nodes));
        }
        let mut made = Self {
            platform,
            costs: work.costs,
            kinds: work.kinds,
            exec,
            before,
            after,
            order,
            place,
            resources,
            demands,
            capacities,
            single,
            barred: Vec::new(),
            inputs,
        };
        made.bar(&work.labels)?;
        Ok(made)
    }

    /// Finds out which tasks can't run where.
    fn bar(&mut self, labels: &BTreeMap<u32, BTreeMap<String, String>>) -> Result<(), Error> {
        let nodes = self.nodes();
        let width = self.resources.len();
        let mut barred =
            vec![false; if self.demands.is_empty() && labels.is_empty() { 0 } else { self.len() * nodes }];
        for (row, task) in barred.chunks_mut(nodes).zip(0u32..) {
            let wanted = labels.get(&task);
            for (node, barred) in row.iter_mut().enumerate() {
                let has = &self.capacities[node * width..(node + 1) * width];
                let lacks = self.demand(task).iter().zip(has).any(|(wanted, has)| wanted > has);
                let known = &self.platform.nodes()[node].labels;
                *barred = lacks
                    || wanted.is_some_and(|it| it.iter().any(|(key, value)| known.get(key) != Some(value)));
            }
            if row.iter().all(|&it| it) {
                let amounts =
                    self.demand(task).iter().zip(&self.resources).filter(|(amount, _)| **amount > 0);
                let mut words: Vec<String> =
                    amounts.map(|(amount, name)| format!("{name}={amount}")).collect();
                words.extend(wanted.into_iter().flatten().map(|(key, value)| format!("label {key}={value}")));
                return Err(Error::FitsNowhere { task, why: words.join(", ") });
            }
        }
        if barred.contains(&true) {
            self.barred = barred;
        }
        Ok(())
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.costs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.costs.is_empty()
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.platform.nodes().len()
    }

    /// How many dependencies there are, those between the same two tasks counted once.
    pub fn edges(&self) -> usize {
        self.after.tasks.len()
    }

    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// A topological order of the tasks: among free ones the smallest id first.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Where in `order` a task stands: what ties are broken by.
    pub fn place(&self, task: u32) -> u32 {
        self.place[task as usize]
    }

    /// What a task waits for, ascending.
    pub fn predecessors(&self, task: u32) -> &[u32] {
        self.before.of(task)
    }

    /// What waits for a task, ascending.
    pub fn successors(&self, task: u32) -> &[u32] {
        self.after.of(task)
    }

    /// Dependencies of a task with the bytes that it gets.
    pub fn received(&self, task: u32) -> impl DoubleEndedIterator<Item = (u32, f64)> + '_ {
        self.before.with_bytes(task)
    }

    /// What waits for a task with the bytes that it sends.
    pub fn sent(&self, task: u32) -> impl DoubleEndedIterator<Item = (u32, f64)> + '_ {
        self.after.with_bytes(task)
    }

    /// Whether a task may run on a node.
    pub fn fits(&self, task: u32, node: u32) -> bool {
        self.barred.is_empty() || !self.barred[task as usize * self.nodes() + node as usize]
    }

    /// Seconds that a task takes on a node; infinite where it may not run.
    pub fn exec(&self, task: u32, node: u32) -> f64 {
        if !self.fits(task, node) {
            return f64::INFINITY;
        }
        let (task, node, nodes) = (task as usize, node as usize, self.nodes());
        match &self.exec {
            Exec::Matrix(matrix) => matrix[task * nodes + node],
            Exec::Speed { speeds } => {
                let kind = self.kinds.get(task).map_or(0, |&it| it as usize);
                self.costs[task] / speeds[kind * nodes + node]
            }
        }
    }

    /// The nodes a task may run on.
    pub fn where_fits(&self, task: u32) -> impl Iterator<Item = u32> + '_ {
        (0..self.nodes() as u32).filter(move |&node| self.fits(task, node))
    }

    /// The mean of a task's times over the nodes it may run on.
    pub fn mean_exec(&self, task: u32) -> f64 {
        let times: Vec<f64> = self.where_fits(task).map(|node| self.exec(task, node)).collect();
        mean(&times)
    }

    /// Each task's cost over the mean speed of the nodes for its kind; none where times were given instead.
    pub(crate) fn typical_execs(&self) -> Option<Vec<f64>> {
        let Exec::Speed { speeds } = &self.exec else { return None };
        let means: Vec<f64> = speeds.chunks(self.nodes()).map(mean).collect();
        let kind = |task: usize| self.kinds.get(task).map_or(0, |&it| it as usize);
        Some(self.costs.iter().enumerate().map(|(task, cost)| cost / means[kind(task)]).collect())
    }

    /// The least of a task's times.
    pub fn least_exec(&self, task: u32) -> f64 {
        self.where_fits(task).map(|node| self.exec(task, node)).fold(f64::INFINITY, f64::min)
    }

    /// Seconds that bytes take from one node to another.
    pub fn transfer(&self, from: u32, to: u32, bytes: f64) -> f64 {
        self.platform.transfer(from, to, bytes)
    }

    /// (latency, seconds a byte) on average over pairs of different nodes.
    pub(crate) fn mean_link(&self) -> (f64, f64) {
        if self.nodes() == 1 {
            return (0.0, 0.0);
        }
        match self.platform.network() {
            Network::Uniform { latency, bandwidth } => (*latency, 1.0 / bandwidth),
            Network::Matrix { latency, bandwidth } => {
                let nodes = self.nodes();
                let pairs = (0..nodes * nodes).filter(|at| at / nodes != at % nodes);
                let (latencies, rates): (Vec<f64>, Vec<f64>) =
                    pairs.map(|at| (latency[at], 1.0 / bandwidth[at])).unzip();
                (mean(&latencies), mean(&rates))
            }
        }
    }

    /// (latency, seconds a byte) of a link of the mean bandwidth.
    pub(crate) fn typical_link(&self) -> (f64, f64) {
        let Network::Matrix { latency, bandwidth } = self.platform.network() else { return self.mean_link() };
        let nodes = self.nodes();
        let pairs = (0..nodes * nodes).filter(|at| at / nodes != at % nodes);
        let (latencies, bandwidths): (Vec<f64>, Vec<f64>) =
            pairs.map(|at| (latency[at], bandwidth[at])).unzip();
        if nodes == 1 { (0.0, 0.0) } else { (mean(&latencies), 1.0 / mean(&bandwidths)) }
    }

    /// Whether all links are alike.
    pub(crate) fn is_uniform(&self) -> bool {
        matches!(self.platform.network(), Network::Uniform { .. })
    }

    /// What is divided among the tasks on a node: cores, memory, then devices.
    pub fn resources(&self) -> &[String] {
        &self.resources
    }

    /// What a task takes of each resource.
    pub fn demand(&self, task: u32) -> &[u64] {
        const PLAIN: [u64; 2] = [1, 0];
        if self.demands.is_empty() {
            return &PLAIN;
        }
        let width = self.resources.len();
        &self.demands[task as usize * width..(task as usize + 1) * width]
    }

    /// What a node has of each resource.
    pub fn capacity(&self, node: u32) -> &[u64] {
        let width = self.resources.len();
        &self.capacities[node as usize * width..(node as usize + 1) * width]
    }

    /// Whether a node runs one task at a time.
    pub(crate) fn is_single(&self, node: u32) -> bool {
        self.single[node as usize]
    }

    pub(crate) fn all_single(&self) -> bool {
        self.single.iter().all(|&it| it)
    }

    pub(crate) fn has_inputs(&self) -> bool {
        !self.inputs.is_empty()
    }

    /// When what lies on nodes beforehand can be read on a node.
    pub fn inputs_at(&self, task: u32, node: u32) -> f64 {
        let Some(inputs) = self.inputs.get(&task) else { return 0.0 };
        let nearest = inputs.iter().map(|(bytes, nodes)| {
            nodes.iter().map(|&from| self.transfer(from, node, *bytes)).fold(f64::INFINITY, f64::min)
        });
        nearest.fold(0.0, f64::max)
    }

    /// Tasks that wait for nothing, ascending.
    pub fn entries(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len() as u32).filter(|&task| self.predecessors(task).is_empty())
    }

    /// How many tasks each task waits for.
    pub(crate) fn indegrees(&self) -> Vec<u32> {
        (0..self.len() as u32).map(|task| self.predecessors(task).len() as u32).collect()
    }
}

/// The mean, with the sum in eight strands as NumPy forms it, so that equal inputs rank alike there and here.
pub(crate) fn mean(values: &[f64]) -> f64 {
    fn sum(values: &[f64]) -> f64 {
        if values.len() < 8 {
            return values.iter().sum();
        }
        if values.len() > 128 {
            let half = values.len() / 2;
            let half = half - half % 8;
            return sum(&values[..half]) + sum(&values[half..]);
        }
        let mut strands = [0.0; 8];
        strands.copy_from_slice(&values[..8]);
        let rest = values.len() % 8;
        for chunk in values[8..values.len() - rest].chunks(8) {
            for (strand, value) in strands.iter_mut().zip(chunk) {
                *strand += value;
            }
        }
        let [a, b, c, d, e, f, g, h] = strands;
        let total = ((a + b) + (c + d)) + ((e + f) + (g + h));
        values[values.len() - rest..].iter().fold(total, |total, value| total + value)
    }
    if values.is_empty() { 0.0 } else { sum(values) / values.len() as f64 }
}

fn order(count: usize, edges: &[(u32, u32, f64)], before: &Side, after: &Side) -> Result<Vec<u32>, Error> {
    if edges.iter().all(|&(from, to, _)| from < to) {
        return Ok((0..count as u32).collect());
    }
    let mut waits: Vec<u32> = (0..count as u32).map(|task| before.of(task).len() as u32).collect();
    let mut free: BinaryHeap<Reverse<u32>> =
        (0..count as u32).filter(|&task| waits[task as usize] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(count);
    while let Some(Reverse(task)) = free.pop() {
        order.push(task);
        for &next in after.of(task) {
            waits[next as usize] -= 1;
            if waits[next as usize] == 0 {
                free.push(Reverse(next));
            }
        }
    }
    if order.len() == count {
        return Ok(order);
    }
    let mut pairs: Vec<(u32, u32)> = edges.iter().map(|it| (it.0, it.1)).collect();
    let cycle = ferroflow_define::graph::Csr::new(count, &mut pairs).order().err().unwrap_or_default();
    Err(Error::Cycle(cycle))
}
