//! What every planner should beat: all on one node, and all at random.

use crate::builder::Builder;
use crate::instance::Instance;
use crate::rng::Rng;
use crate::schedule::Schedule;

/// Every task on the node that would do them all fastest; what does not fit there goes where it ends first.
pub(super) fn fastest_node(instance: &Instance, insertion: bool) -> Schedule {
    let all = 0..instance.len() as u32;
    let total = |node: u32| {
        let fitting = all.clone().filter(|&task| instance.fits(task, node));
        let (count, seconds) =
            fitting.fold((0u32, 0.0), |it, task| (it.0 + 1, it.1 + instance.exec(task, node)));
        (std::cmp::Reverse(count), seconds)
    };
    let totals: Vec<_> = (0..instance.nodes() as u32).map(total).collect();
    let fastest = (0..instance.nodes() as u32).min_by(|&a, &b| {
        let (a, b) = (&totals[a as usize], &totals[b as usize]);
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    let fastest = fastest.unwrap_or(0);
    let mut builder = Builder::new(instance, insertion);
    let mut arrivals = Vec::new();
    for &task in instance.order() {
        let spot = if instance.fits(task, fastest) {
            builder.on(task, fastest)
        } else {
            builder.earliest_finish(task, &mut arrivals)
        };
        builder.place(task, spot);
    }
    builder.finish()
}

/// Each task, in topological order, on any node that it fits.
pub(super) fn random(instance: &Instance, insertion: bool, seed: u64) -> Schedule {
    let mut rng = Rng::new(seed);
    let mut builder = Builder::new(instance, insertion);
    for &task in instance.order() {
        let nodes: Vec<u32> = instance.where_fits(task).collect();
        let spot = builder.on(task, nodes[rng.below(nodes.len())]);
        builder.place(task, spot);
    }
    builder.finish()
}
