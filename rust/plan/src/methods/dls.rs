//! DLS and GDL: G. C. Sih, E. A. Lee, "A compile-time scheduling heuristic for
//! interconnection-constrained heterogeneous processor architectures", IEEE TPDS 4(2), 1993,
//! doi:10.1109/71.207593.

use crate::builder::Builder;
use crate::instance::Instance;
use crate::ranks::{median, upward};
use crate::schedule::Schedule;

struct Levels<'a> {
    instance: &'a Instance,
    /// Median seconds of each task.
    medians: Vec<f64>,
    /// The longest way from each task to the end, in medians, without messages.
    levels: Vec<f64>,
}

impl<'a> Levels<'a> {
    fn new(instance: &'a Instance) -> Self {
        let times = |task| instance.where_fits(task).map(move |node| instance.exec(task, node));
        let medians: Vec<f64> =
            (0..instance.len() as u32).map(|task| median(&mut times(task).collect::<Vec<_>>())).collect();
        Self { instance, levels: upward(instance, &medians, |_| 0.0), medians }
    }

    /// How much is still to come, less when the task could start, and corrected for the node's speed.
    fn level(&self, task: u32, node: u32, start: f64) -> f64 {
        let at = task as usize;
        self.levels[at] - start + (self.medians[at] - self.instance.exec(task, node))
    }

    /// How well the successor that gets most data would do: here, or sent to wherever it ends first.
    fn descendant(&self, task: u32, node: u32) -> f64 {
        let most = self.instance.sent(task).fold(None, |best: Option<(u32, f64)>, it| match best {
            Some(best) if best.1 >= it.1 => Some(best),
            _ => Some(it),
        });
        let Some((next, bytes)) = most else { return 0.0 };
        let ends = self.instance.where_fits(next);
        let ends =
            ends.map(|other| self.instance.transfer(node, other, bytes) + self.instance.exec(next, other));
        self.medians[next as usize] - ends.fold(f64::INFINITY, f64::min)
    }
}

/// The pair of a free task and a node with the greatest dynamic level.
pub(super) fn dls(instance: &Instance, insertion: bool) -> Schedule {
    let levels = Levels::new(instance);
    run(instance, insertion, |task, node, start| levels.level(task, node, start), false)
}

/// The free task with the greatest generalised dynamic level, on the node that it prefers: what follows
/// is considered too, and what it would cost not to get that node.
pub(super) fn gdl(instance: &Instance, insertion: bool) -> Schedule {
    let levels = Levels::new(instance);
    let nodes = instance.nodes();
    let rows = (0..instance.len() as u32).flat_map(|task| (0..nodes as u32).map(move |node| (task, node)));
    let descendants: Vec<f64> = rows.map(|(task, node)| levels.descendant(task, node)).collect();
    let level = |task: u32, node: u32, start: f64| {
        levels.level(task, node, start) + descendants[task as usize * nodes + node as usize]
    };
    run(instance, insertion, level, true)
}

/// A free task, and the nodes with the greatest levels for it.
struct Candidate {
    task: u32,
    arrivals: Vec<f64>,
    first: (f64, u32),
    second: (f64, u32),
}

impl Candidate {
    fn new(builder: &Builder<'_>, task: u32, level: &impl Fn(u32, u32, f64) -> f64) -> Self {
        let nowhere = (f64::NEG_INFINITY, Schedule::NOWHERE);
        let mut made = Self { task, arrivals: Vec::new(), first: nowhere, second: nowhere };
        builder.arrivals(task, &mut made.arrivals);
        made.look(builder, level);
        made
    }

    fn look(&mut self, builder: &Builder<'_>, level: &impl Fn(u32, u32, f64) -> f64) {
        let nowhere = (f64::NEG_INFINITY, Schedule::NOWHERE);
        (self.first, self.second) = (nowhere, nowhere);
        for node in builder.instance.where_fits(self.task) {
            let start = builder.spot(self.task, node, self.arrivals[node as usize], f64::INFINITY).start;
            let found = (level(self.task, node, start), node);
            if found.0 > self.first.0 {
                (self.second, self.first) = (self.first, found);
            } else if found.0 > self.second.0 {
                self.second = found;
            }
        }
    }
}

fn run(
    instance: &Instance,
    insertion: bool,
    level: impl Fn(u32, u32, f64) -> f64,
    with_cost: bool,
) -> Schedule {
    let mut builder = Builder::new(instance, insertion);
    let mut waits = instance.indegrees();
    let mut free: Vec<Candidate> =
        instance.entries().map(|task| Candidate::new(&builder, task, &level)).collect();
    while !free.is_empty() {
        let mut best = (f64::NEG_INFINITY, 0);
        for (at, it) in free.iter().enumerate() {
            let cost = if with_cost && it.second.0.is_finite() { it.first.0 - it.second.0 } else { 0.0 };
            if it.first.0 + cost > best.0 {
                best = (it.first.0 + cost, at);
            }
        }
        let Candidate { task, arrivals, first, .. } = free.remove(best.1);
        let spot = builder.spot(task, first.1, arrivals[first.1 as usize], f64::INFINITY);
        builder.place(task, spot);
        // Levels fall on this node and on no other.
        for it in free.iter_mut().filter(|it| it.first.1 == spot.node || it.second.1 == spot.node) {
            it.look(&builder, &level);
        }
        for &next in instance.successors(task) {
            waits[next as usize] -= 1;
            if waits[next as usize] == 0 {
                let at = free.partition_point(|it| it.task < next);
                free.insert(at, Candidate::new(&builder, next, &level));
            }
        }
    }
    builder.finish()
}
