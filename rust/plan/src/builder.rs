//! A schedule that is being made: tasks are placed one after the other, each where it can start.

use crate::instance::Instance;
use crate::lane::{Lane, Wish};
use crate::schedule::Schedule;

/// A place that was found for a task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spot {
    pub(crate) node: u32,
    pub(crate) start: f64,
    pub(crate) finish: f64,
}

/// When what is sent over links that are all alike has arrived.
pub(crate) struct Sent {
    /// The last of all, and the node that sends it: to any other node.
    pub(crate) last: f64,
    pub(crate) from: u32,
    /// The last of what others send: to that node.
    pub(crate) others: f64,
}

impl Default for Sent {
    fn default() -> Self {
        Self { last: 0.0, from: Schedule::NOWHERE, others: 0.0 }
    }
}

impl Sent {
    #[inline]
    pub(crate) fn arrive(&mut self, at: f64, from: u32) {
        if at > self.last {
            if from != self.from {
                self.others = self.last;
            }
            (self.last, self.from) = (at, from);
        } else if from != self.from {
            self.others = self.others.max(at);
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Builder<'a> {
    pub(crate) instance: &'a Instance,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) nodes: Vec<u32>,
    pub(crate) starts: Vec<f64>,
    pub(crate) finishes: Vec<f64>,
    /// When the last placed task ends.
    pub(crate) makespan: f64,
    insertion: bool,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(instance: &'a Instance, insertion: bool) -> Self {
        let lane = |node| Lane::new(instance.is_single(node), instance.capacity(node));
        let count = instance.len();
        Self {
            instance,
            lanes: (0..instance.nodes() as u32).map(lane).collect(),
            nodes: vec![Schedule::NOWHERE; count],
            starts: vec![0.0; count],
            finishes: vec![0.0; count],
            makespan: 0.0,
            insertion,
        }
    }

    pub(crate) fn is_placed(&self, task: u32) -> bool {
        self.nodes[task as usize] != Schedule::NOWHERE
    }

    /// When the data of a task are on a node, as far as what it waits for is placed.
    pub(crate) fn arrival(&self, task: u32, node: u32) -> f64 {
        let mut latest = self.instance.inputs_at(task, node);
        for (before, bytes) in self.instance.received(task).filter(|it| self.is_placed(it.0)) {
            let from = self.nodes[before as usize];
            latest = latest.max(self.finishes[before as usize] + self.instance.transfer(from, node, bytes));
        }
        latest
    }

    /// The same for all nodes at once, as far as what it waits for is placed.
    pub(crate) fn arrivals(&self, task: u32, found: &mut Vec<f64>) {
        let nodes = self.instance.nodes() as u32;
        found.clear();
        if !self.instance.is_uniform() || self.instance.has_inputs() {
            found.extend((0..nodes).map(|node| self.arrival(task, node)));
            return;
        }
        // All links are alike: what is sent arrives everywhere at once, except where it comes from.
        let mut sent = Sent::default();
        for (before, bytes) in self.instance.received(task).filter(|it| self.is_placed(it.0)) {
            let node = self.nodes[before as usize];
            let elsewhere = if node == 0 { 1 } else { 0 };
            sent.arrive(
                self.finishes[before as usize] + self.instance.transfer(node, elsewhere, bytes),
                node,
            );
        }
        found.resize(nodes as usize, sent.last);
        if sent.from != Schedule::NOWHERE {
            let own = self.instance.predecessors(task).iter();
            let own = own.filter(|&&it| self.nodes[it as usize] == sent.from);
            found[sent.from as usize] = own.map(|&it| self.finishes[it as usize]).fold(sent.others, f64::max);
        }
    }

    /// Where a task would run on a node, given when its data arrive. `limit` is a finish from which on
    /// the answer is of no interest.
    pub(crate) fn spot(&self, task: u32, node: u32, ready: f64, limit: f64) -> Spot {
        let exec = self.instance.exec(task, node);
        if exec == f64::INFINITY {
            return Spot { node, start: ready, finish: f64::INFINITY };
        }
        let demand = self.instance.demand(task);
        let wish = Wish { ready, exec, demand, insertion: self.insertion, limit };
        let start = self.lanes[node as usize].earliest(wish);
        Spot { node, start, finish: start + exec }
    }

    /// Where a task would end first; the smallest of several nodes.
    pub(crate) fn earliest_finish(&self, task: u32, arrivals: &mut Vec<f64>) -> Spot {
        self.arrivals(task, arrivals);
        let mut best = Spot { node: Schedule::NOWHERE, start: 0.0, finish: f64::INFINITY };
        for (&ready, node) in arrivals.iter().zip(0u32..) {
            // A node on which not even the work itself would be done in time needs no search.
            if ready < best.finish {
                let spot = self.spot(task, node, ready, best.finish);
                if spot.finish < best.finish {
                    best = spot;
                }
            }
        }
        best
    }

    /// Where a task would run on a node of the caller's choice.
    pub(crate) fn on(&self, task: u32, node: u32) -> Spot {
        self.spot(task, node, self.arrival(task, node), f64::INFINITY)
    }

    pub(crate) fn place(&mut self, task: u32, spot: Spot) {
        let Spot { node, start, finish } = spot;
        debug_assert!(finish.is_finite(), "task {task} does not fit node {node}");
        self.lanes[node as usize].place(start, finish, self.instance.demand(task));
        self.nodes[task as usize] = node;
        self.starts[task as usize] = start;
        self.finishes[task as usize] = finish;
        self.makespan = self.makespan.max(finish);
    }

    pub(crate) fn finish(self) -> Schedule {
        Schedule { nodes: self.nodes, starts: self.starts, finishes: self.finishes }
    }
}

/// Tasks all of whose predecessors were taken, in the order of the caller's keys: greatest first, then
/// the first in topological order.
pub(crate) struct Ready<'a> {
    instance: &'a Instance,
    turns: Option<&'a [u32]>,
    waits: Vec<u32>,
    heap: std::collections::BinaryHeap<Ranked>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ranked {
    pub(crate) key: f64,
    pub(crate) place: u32,
    pub(crate) task: u32,
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.total_cmp(&other.key).then(other.place.cmp(&self.place))
    }
}

impl<'a> Ready<'a> {
    pub(crate) fn new(instance: &'a Instance, key: impl FnMut(u32) -> f64) -> Self {
        Self::in_turn(instance, None, key)
    }

    /// The same, with equal keys in another order than the topological one.
    pub(crate) fn in_turn(
        instance: &'a Instance,
        turns: Option<&'a [u32]>,
        mut key: impl FnMut(u32) -> f64,
    ) -> Self {
        let heap = std::collections::BinaryHeap::new();
        let mut made = Self { instance, turns, waits: instance.indegrees(), heap };
        for task in instance.entries() {
            made.push(task, key(task));
        }
        made
    }

    fn push(&mut self, task: u32, key: f64) {
        let place = self.turns.map_or_else(|| self.instance.place(task), |turns| turns[task as usize]);
        self.heap.push(Ranked { key, place, task });
    }

    pub(crate) fn pop(&mut self) -> Option<u32> {
        self.heap.pop().map(|it| it.task)
    }

    /// Lets in what waited for a task alone.
    pub(crate) fn taken(&mut self, task: u32, mut key: impl FnMut(u32) -> f64) {
        let instance = self.instance;
        for &next in instance.successors(task) {
            self.waits[next as usize] -= 1;
            if self.waits[next as usize] == 0 {
                self.push(next, key(next));
            }
        }
    }
}

/// The tasks that are free, in the order of their ids, when only that matters.
pub(crate) struct Free {
    waits: Vec<u32>,
    pub(crate) tasks: Vec<u32>,
}

impl Free {
    pub(crate) fn new(instance: &Instance) -> Self {
        Self { waits: instance.indegrees(), tasks: instance.entries().collect() }
    }

    /// Takes a task out and returns what waited for it alone.
    pub(crate) fn take(&mut self, instance: &Instance, task: u32) -> Vec<u32> {
        if let Ok(at) = self.tasks.binary_search(&task) {
            self.tasks.remove(at);
        }
        let mut freed = Vec::new();
        for &next in instance.successors(task) {
            self.waits[next as usize] -= 1;
            if self.waits[next as usize] == 0 {
                freed.push(next);
            }
        }
        freed
    }

    /// Lets tasks in.
    pub(crate) fn add(&mut self, tasks: &[u32]) {
        for &task in tasks {
            let at = self.tasks.partition_point(|&it| it < task);
            self.tasks.insert(at, task);
        }
    }
}
