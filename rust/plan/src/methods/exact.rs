//! Branch and bound over all orders and places: the best there is, for tiny graphs. After A. H. Land, A. G.
//! Doig, "An automatic method of solving discrete programming problems", Econometrica 28(3), 1960.

use super::heft::heft;
use crate::Error;
use crate::bounds::{Loads, Tables, bounds};
use crate::builder::{Builder, Spot};
use crate::instance::Instance;
use crate::ranks::least_execs;
use crate::schedule::Schedule;

const TASKS: usize = 10;
const NODES: usize = 8;

/// Whether a graph is tiny enough.
pub(crate) fn is_tiny(instance: &Instance) -> bool {
    instance.len() <= TASKS && instance.nodes() <= NODES
}

struct Search<'a> {
    instance: &'a Instance,
    tails: Vec<f64>,
    loads: Loads,
    least: f64,
    best: Schedule,
    makespan: f64,
}

/// A schedule with the least makespan.
pub(super) fn exact(instance: &Instance) -> Result<Schedule, Error> {
    if !is_tiny(instance) {
        let (tasks, nodes) = (instance.len(), instance.nodes());
        return Err(Error::TooLarge { tasks, nodes, most: TASKS, most_nodes: NODES });
    }
    let best = heft(instance, true);
    let makespan = best.makespan();
    let tails = Tables::new(instance).tails;
    let loads = Loads::new(instance, &least_execs(instance));
    let mut search = Search { instance, tails, loads, least: bounds(instance).best(), best, makespan };
    search.go(&Builder::new(instance, true), &instance.indegrees(), (0.0, false, 0));
    Ok(search.best)
}

impl Search<'_> {
    /// Tries all that can be placed next. Tasks are placed in the order of their starts, those that take no time
    /// before the others, then of their ids, so that each schedule comes up once: `from` is that of the task
    /// before.
    fn go(&mut self, builder: &Builder<'_>, waits: &[u32], from: (f64, bool, u32)) {
        if self.makespan <= self.least {
            return;
        }
        let (instance, nodes) = (self.instance, self.instance.nodes());
        let all = 0..instance.len() as u32;
        // Whatever comes starts no earlier than the task before: all that is left has to be done from then on.
        let left = all.clone().map(|task| {
            let (at, node) = (task as usize, builder.nodes[task as usize]);
            if node == Schedule::NOWHERE {
                return self.loads.tasks[at];
            }
            let rest = (builder.finishes[at] - from.0).clamp(0.0, builder.finishes[at] - builder.starts[at]);
            rest * self.loads.cores[node as usize] * instance.demand(task)[0] as f64
        });
        if from.0 + left.sum::<f64>() >= self.makespan * (1.0 + 1e-12) {
            return;
        }
        let turn = |task: u32, spot: &Spot| (spot.start, spot.finish > spot.start, instance.place(task));
        let free = || all.clone().filter(|&task| waits[task as usize] == 0 && !builder.is_placed(task));
        let mut choices = Vec::new();
        for task in free() {
            // The least end that this task, and with it the whole, can still have.
            let mut least = f64::INFINITY;
            for node in instance.where_fits(task) {
                let spot = builder.on(task, node);
                let end = spot.finish + self.tails[task as usize * nodes + node as usize];
                least = least.min(end);
                if end < self.makespan && turn(task, &spot) >= from {
                    choices.push((end, task, spot));
                }
            }
            if least >= self.makespan {
                return;
            }
        }
        choices.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (end, task, spot) in choices {
            if end >= self.makespan {
                continue;
            }
            let mut next = builder.clone();
            next.place(task, spot);
            if next.nodes.iter().all(|&node| node != Schedule::NOWHERE) {
                self.makespan = next.makespan;
                self.best = next.finish();
                continue;
            }
            let mut waits = waits.to_vec();
            for &after in instance.successors(task) {
                waits[after as usize] -= 1;
            }
            self.go(&next, &waits, turn(task, &spot));
        }
    }
}
