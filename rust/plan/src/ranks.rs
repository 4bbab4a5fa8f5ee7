//! What tasks are ranked by: lengths of the longest ways to them and from them.

use crate::instance::Instance;
use crate::rng::Rng;

/// Mean seconds of each task over the nodes it may run on.
pub(crate) fn mean_execs(instance: &Instance) -> Vec<f64> {
    (0..instance.len() as u32).map(|task| instance.mean_exec(task)).collect()
}

/// Least seconds of each task.
pub(crate) fn least_execs(instance: &Instance) -> Vec<f64> {
    (0..instance.len() as u32).map(|task| instance.least_exec(task)).collect()
}

/// The median of some numbers; of an even number of them, the middle of the middle two.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// How long a message takes on average.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeanLink {
    latency: f64,
    rate: f64,
}

impl MeanLink {
    /// Over pairs of different nodes, as Topcuoglu et al. have it.
    pub(crate) fn between(instance: &Instance) -> Self {
        let (latency, rate) = instance.mean_link();
        Self { latency, rate }
    }

    /// Over all pairs of nodes, a node and itself included: as likely as two tasks are to meet on a
    /// node if they are spread at random.
    pub(crate) fn anywhere(instance: &Instance) -> Self {
        let nodes = instance.nodes() as f64;
        let apart = (nodes - 1.0) / (nodes + 1.0);
        let (latency, rate) = instance.mean_link();
        Self { latency: latency * apart, rate: rate * apart }
    }

    /// On a link of the mean bandwidth.
    pub(crate) fn typical(instance: &Instance) -> Self {
        let (latency, rate) = instance.typical_link();
        Self { latency, rate }
    }

    pub(crate) fn seconds(self, bytes: f64) -> f64 {
        self.latency + bytes * self.rate
    }
}

/// The longest way from the start of each task to the end of all: its own time, then messages and
/// times of what follows.
pub(crate) fn upward(instance: &Instance, own: &[f64], message: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut ranks = vec![0.0; own.len()];
    for &task in instance.order().iter().rev() {
        let after = instance.sent(task).map(|(next, bytes)| message(bytes) + ranks[next as usize]);
        ranks[task as usize] = own[task as usize] + after.fold(0.0, f64::max);
    }
    ranks
}

/// The longest way from the beginning of all to the start of each task.
pub(crate) fn downward(instance: &Instance, own: &[f64], message: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut ranks = vec![0.0; own.len()];
    for &task in instance.order() {
        let before = instance.received(task);
        let ways = before.map(|(from, bytes)| ranks[from as usize] + own[from as usize] + message(bytes));
        ranks[task as usize] = ways.fold(0.0, f64::max);
    }
    ranks
}

/// Tasks by rank, greatest first, then in topological order.
pub(crate) fn by_rank(instance: &Instance, ranks: &[f64]) -> Vec<u32> {
    let mut order = instance.order().to_vec();
    order.sort_by(|&a, &b| ranks[b as usize].total_cmp(&ranks[a as usize]));
    order
}

/// For each task and node, a row a task: the least over the nodes of what `value` says plus the
/// message to there, for one task that follows, and the greatest of these over all that follow.
pub(crate) fn tables(
    instance: &Instance,
    message: impl Fn(u32, u32, f64) -> f64,
    uniform: bool,
    value: impl Fn(u32, u32, f64) -> f64,
) -> Vec<f64> {
    let nodes = instance.nodes();
    let mut table = vec![0.0f64; instance.len() * nodes];
    let mut row = vec![0.0f64; nodes];
    let mut there = vec![0.0f64; nodes];
    for &task in instance.order().iter().rev() {
        row.fill(0.0);
        for (next, bytes) in instance.sent(task) {
            let known = &table[next as usize * nodes..(next as usize + 1) * nodes];
            for ((there, &known), node) in there.iter_mut().zip(known).zip(0..) {
                *there = value(next, node, known);
            }
            if uniform && nodes > 1 {
                let sending = message(0, 1, bytes);
                let least = there.iter().copied().fold(f64::INFINITY, f64::min);
                for (longest, &there) in row.iter_mut().zip(&there) {
                    *longest = longest.max(there.min(least + sending));
                }
            } else {
                for (longest, node) in row.iter_mut().zip(0..) {
                    let ways = there.iter().zip(0..).map(|(there, other)| {
                        if other == node { *there } else { there + message(node, other, bytes) }
                    });
                    *longest = longest.max(ways.fold(f64::INFINITY, f64::min));
                }
            }
        }
        table[task as usize * nodes..(task as usize + 1) * nodes].copy_from_slice(&row);
    }
    table
}

/// Orders in which tasks may come that a method's rule does not tell apart: as they are numbered, by the
/// longest way to the end, and drawn by lot. Each says when a task's turn is.
pub(crate) fn turns(instance: &Instance, lots: usize, seed: u64) -> Vec<Vec<u32>> {
    let link = MeanLink::typical(instance);
    let levels = upward(instance, &mean_execs(instance), |bytes| link.seconds(bytes));
    let mut orders = vec![instance.order().to_vec(), by_rank(instance, &levels)];
    let mut rng = Rng::new(seed);
    for _ in 0..if instance.len() <= FEW { lots } else { 0 } {
        let mut order = instance.order().to_vec();
        for at in (1..order.len()).rev() {
            order.swap(at, rng.below(at + 1));
        }
        orders.push(order);
    }
    let turn = |order: Vec<u32>| {
        let mut turns = vec![0; order.len()];
        for (&task, at) in order.iter().zip(0..) {
            turns[task as usize] = at;
        }
        turns
    };
    orders.into_iter().map(turn).collect()
}

/// Of more tasks than this no orders are drawn.
const FEW: usize = 5000;
