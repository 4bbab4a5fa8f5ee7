//! DLS and GDL: G. C. Sih, E. A. Lee, "A compile-time scheduling heuristic for
//! interconnection-constrained heterogeneous processor architectures", IEEE TPDS 4(2), 1993,
//! doi:10.1109/71.207593.

use crate::builder::{Builder, Free};
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

fn run(
    instance: &Instance,
    insertion: bool,
    level: impl Fn(u32, u32, f64) -> f64,
    with_cost: bool,
) -> Schedule {
    let mut builder = Builder::new(instance, insertion);
    let mut free = Free::new(instance);
    // The arrivals of each free task, beside it.
    let mut arrivals: Vec<Vec<f64>> = Vec::new();
    let arrive = |builder: &Builder<'_>, task: u32| {
        let mut found = Vec::new();
        builder.arrivals(task, &mut found);
        found
    };
    for &task in &free.tasks {
        arrivals.push(arrive(&builder, task));
    }
    while !free.tasks.is_empty() {
        let mut best: Option<(f64, usize, u32)> = None;
        for (at, (&task, arrivals)) in free.tasks.iter().zip(&arrivals).enumerate() {
            let (mut first, mut second, mut preferred) = (f64::NEG_INFINITY, f64::NEG_INFINITY, u32::MAX);
            for node in instance.where_fits(task) {
                let start = builder.spot(task, node, arrivals[node as usize], f64::INFINITY).start;
                let found = level(task, node, start);
                if found > first {
                    (second, first, preferred) = (first, found, node);
                } else if found > second {
                    second = found;
                }
            }
            let cost = if with_cost && second.is_finite() { first - second } else { 0.0 };
            if best.is_none_or(|it| first + cost > it.0) {
                best = Some((first + cost, at, preferred));
            }
        }
        let (_, at, node) = best.expect("a task fits some node");
        let task = free.tasks[at];
        let spot = builder.spot(task, node, arrivals[at][node as usize], f64::INFINITY);
        builder.place(task, spot);
        arrivals.remove(at);
        let mut freed = free.take(instance, task);
        freed.sort_unstable();
        for &task in &freed {
            let at = free.tasks.partition_point(|&it| it < task);
            free.add(&[task]);
            arrivals.insert(at, arrive(&builder, task));
        }
    }
    builder.finish()
}
