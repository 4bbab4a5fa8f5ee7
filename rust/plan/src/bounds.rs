//! What no schedule can be shorter than.
//!
//! `critical_path` and `area` are the classic bounds. `messages` is the longest way through the graph when
//! each task chooses the nodes of its predecessors to its own advantage, those that share its node doing
//! one after the other (after C. H. Papadimitriou, M. Yannakakis, "Towards an architecture-independent
//! analysis of parallel algorithms", SIAM J. Comput. 19(2), 1990, without duplication). `windows` is the
//! greatest load of a time window (after E. B. Fernández, B. Bussell, "Bounds on the number of processors
//! and time for multiprocessor optimal schedules", IEEE Trans. Comput. C-22(8), 1973, and A. Langevin, J.-M.
//! Cerny, "A lower bound on the makespan of preconstrained tasks", EJOR 1990): what starts late and leaves
//! much to come has to be done between.

use crate::instance::{Instance, Side};
use crate::ranks::{least_execs, upward};

/// Lower bounds on the makespan.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// The longest way with each task on its fastest node and no messages.
    pub critical_path: f64,
    /// All work over all capacity.
    pub area: f64,
    /// The longest way with messages.
    pub messages: f64,
    /// The load of the fullest window.
    pub windows: f64,
}

impl Bounds {
    pub fn best(&self) -> f64 {
        self.critical_path.max(self.area).max(self.messages).max(self.windows)
    }
}

/// More entries than this are not made in a table of ways.
const ENTRIES: usize = 1 << 24;

/// For each task and node, a row a task: the least that comes before the task can start there, and the
/// least that is still to come after it has ended there.
pub(crate) struct Tables {
    pub(crate) heads: Vec<f64>,
    pub(crate) tails: Vec<f64>,
}

impl Tables {
    pub(crate) fn new(instance: &Instance) -> Self {
        let backwards: Vec<u32> = instance.order().iter().rev().copied().collect();
        let heads = ways(instance, &instance.before, instance.order(), |from, to, bytes| {
            instance.transfer(from, to, bytes)
        });
        let tails =
            ways(instance, &instance.after, &backwards, |from, to, bytes| instance.transfer(to, from, bytes));
        let mut heads = heads;
        if instance.has_inputs() {
            // Inputs only put off starts, and what follows was computed without: still a bound.
            for task in 0..instance.len() as u32 {
                for node in 0..instance.nodes() as u32 {
                    let at = task as usize * instance.nodes() + node as usize;
                    heads[at] = heads[at].max(instance.inputs_at(task, node));
                }
            }
        }
        Self { heads, tails }
    }
}

/// The least that lies between the beginning and a task, in the direction of `side`.
fn ways(
    instance: &Instance,
    side: &Side,
    order: &[u32],
    transfer: impl Fn(u32, u32, f64) -> f64,
) -> Vec<f64> {
    let nodes = instance.nodes();
    let mut found = vec![0.0f64; instance.len() * nodes];
    // With the task's own time: its end, seen from the beginning.
    let mut ends = vec![0.0f64; instance.len() * nodes];
    // The node where each task ends first, that end, and the first end elsewhere.
    let mut firsts = vec![(0u32, 0.0f64, 0.0f64); instance.len()];
    // With links that differ, each pair of nodes has to be looked at.
    let pairwise = !instance.is_uniform() && instance.edges() * nodes * nodes <= 1 << 27;
    let mut near: Vec<(f64, f64, f64, f64)> = Vec::new();
    for &task in order {
        let row = task as usize * nodes;
        for node in 0..nodes as u32 {
            near.clear();
            for (other, bytes) in side.with_bytes(task) {
                let its = other as usize * nodes;
                let (first, end, second) = firsts[other as usize];
                let remote = if instance.is_uniform() {
                    let elsewhere = if node == 0 { 1 } else { 0 };
                    let sending = if nodes > 1 { transfer(elsewhere, node, bytes) } else { f64::INFINITY };
                    (if first == node { second } else { end }) + sending
                } else if pairwise {
                    let others = (0..nodes as u32).filter(|&it| it != node);
                    let ends = others.map(|it| ends[its + it as usize] + transfer(it, node, bytes));
                    ends.fold(f64::INFINITY, f64::min)
                } else if first == node {
                    second
                } else {
                    end
                };
                let local = ends[its + node as usize];
                let exec = instance.exec(other, node);
                let share = instance.demand(other)[0] as f64 / instance.capacity(node)[0] as f64;
                near.push((remote, local, found[its + node as usize], exec * share));
            }
            found[row + node as usize] = join(&mut near);
        }
        let mut first = (0, f64::INFINITY, f64::INFINITY);
        for node in 0..nodes {
            let end = found[row + node] + instance.exec(task, node as u32);
            ends[row + node] = end;
            if end < first.1 {
                first = (node as u32, end, first.1);
            } else {
                first.2 = first.2.min(end);
            }
        }
        firsts[task as usize] = first;
    }
    found
}

/// When a task could start on a node, given for each predecessor when its data arrive from elsewhere, when
/// it ends on the node itself, when it starts there, and how long it keeps the node busy.
///
/// Whichever share the node, the last of those that do not arrive from elsewhere, and those before it keep
/// the node busy one after the other.
fn join(near: &mut [(f64, f64, f64, f64)]) -> f64 {
    let each = near.iter().map(|it| it.0.min(it.1)).fold(0.0, f64::max);
    if near.len() < 2 {
        return each;
    }
    near.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut least, mut start, mut busy) = (f64::INFINITY, f64::INFINITY, 0.0);
    for at in 0..=near.len() {
        let serial = if at == 0 { 0.0 } else { start + busy };
        let remote = near.get(at).map_or(0.0, |it| it.0);
        least = least.min(remote.max(serial));
        if serial >= least || at == near.len() {
            break;
        }
        start = start.min(near[at].2);
        busy += near[at].3;
    }
    each.max(least)
}

/// The bounds of an instance.
pub fn bounds(instance: &Instance) -> Bounds {
    if instance.is_empty() {
        return Bounds::default();
    }
    let nodes = instance.nodes();
    let count = instance.len();
    let least = least_execs(instance);
    let up = upward(instance, &least, |_| 0.0);
    let critical_path = up.iter().copied().fold(0.0, f64::max);
    let Loads { tasks: loads, .. } = Loads::new(instance, &least);
    let area = loads.iter().sum::<f64>();
    let mut made = Bounds { critical_path, area, messages: 0.0, windows: 0.0 };
    if count * nodes > ENTRIES {
        return made;
    }
    let Tables { heads, tails } = Tables::new(instance);
    let mut early = vec![0.0f64; count];
    let mut late = vec![0.0f64; count];
    for task in 0..count {
        let row = task * nodes..(task + 1) * nodes;
        let times = (0..nodes as u32).map(|node| instance.exec(task as u32, node));
        let through =
            heads[row.clone()].iter().zip(&tails[row.clone()]).zip(times).map(|((a, b), exec)| a + exec + b);
        made.messages = made.messages.max(through.fold(f64::INFINITY, f64::min));
        let fitting = || row.clone().zip(0u32..).filter(|it| instance.fits(task as u32, it.1)).map(|it| it.0);
        early[task] = fitting().map(|at| heads[at]).fold(f64::INFINITY, f64::min);
        late[task] = fitting().map(|at| tails[at]).fold(f64::INFINITY, f64::min);
    }
    made.windows = windows(&early, &late, &loads);
    made
}

/// What each task takes of the whole capacity, in seconds, on whichever node that is least; and what a core
/// of each node is of the whole. Nodes are weighed by how fast they are; any weights would give a bound.
pub(crate) struct Loads {
    pub(crate) tasks: Vec<f64>,
    pub(crate) cores: Vec<f64>,
}

impl Loads {
    pub(crate) fn new(instance: &Instance, least: &[f64]) -> Self {
        let all = || 0..instance.len() as u32;
        let weigh = |node: u32| {
            let fitting = all().filter(|&task| instance.fits(task, node));
            let (least, own) = fitting
                .fold((0.0, 0.0), |it, task| (it.0 + least[task as usize], it.1 + instance.exec(task, node)));
            if own > 0.0 { least / own } else { 1.0 }
        };
        let nodes = 0..instance.nodes() as u32;
        let weights: Vec<f64> = nodes.clone().map(weigh).collect();
        let total: f64 = nodes.map(|node| weights[node as usize] * instance.capacity(node)[0] as f64).sum();
        let load = |task: u32| {
            let there =
                instance.where_fits(task).map(|node| weights[node as usize] * instance.exec(task, node));
            there.fold(f64::INFINITY, f64::min) * instance.demand(task)[0] as f64 / total
        };
        Self { tasks: all().map(load).collect(), cores: weights.iter().map(|it| it / total).collect() }
    }
}

/// The greatest sum of a time before which some tasks can't start, one that follows them all, and their load.
fn windows(early: &[f64], late: &[f64], loads: &[f64]) -> f64 {
    let count = early.len();
    let mut by_late: Vec<usize> = (0..count).collect();
    by_late.sort_by(|&a, &b| late[b].total_cmp(&late[a]));
    let mut starts: Vec<f64> = early.to_vec();
    starts.sort_unstable_by(f64::total_cmp);
    starts.dedup();
    // Quadratic, so that of very many starts only some are looked at.
    let step = (starts.len() * count / (1 << 24)).max(1);
    let mut greatest = 0.0f64;
    for &start in starts.iter().step_by(step) {
        let mut load = 0.0;
        for &task in by_late.iter().filter(|&&task| early[task] >= start) {
            load += loads[task];
            greatest = greatest.max(start + load + late[task]);
        }
    }
    greatest
}
