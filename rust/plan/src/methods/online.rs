//! MCT, MET and OLB: M. Maheswaran et al., "Dynamic mapping of a class of independent tasks onto
//! heterogeneous computing systems", JPDC 59(2), 1999, doi:10.1006/jpdc.1999.1581, and T. D. Braun et
//! al., "A comparison of eleven static heuristics …", JPDC 61(6), 2001, doi:10.1006/jpdc.2000.1714.
//!
//! Tasks are taken in topological order.

use crate::builder::{Builder, Spot};
use crate::instance::Instance;
use crate::schedule::Schedule;

/// Each task where it ends first.
pub(super) fn mct(instance: &Instance, insertion: bool) -> Schedule {
    let mut arrivals = Vec::new();
    run(instance, insertion, |builder, task| builder.earliest_finish(task, &mut arrivals))
}

/// Each task where it takes least, however long it waits there.
pub(super) fn met(instance: &Instance, insertion: bool) -> Schedule {
    run(instance, insertion, |builder, task| {
        let nodes = instance.where_fits(task);
        let node = nodes.min_by(|&a, &b| instance.exec(task, a).total_cmp(&instance.exec(task, b)));
        builder.on(task, node.expect("a task fits some node"))
    })
}

/// Each task on the node that is free first, however long it takes there.
pub(super) fn olb(instance: &Instance, insertion: bool) -> Schedule {
    run(instance, insertion, |builder, task| {
        let free = |node: u32| builder.lanes[node as usize].available();
        let node = instance.where_fits(task).min_by(|&a, &b| free(a).total_cmp(&free(b)));
        builder.on(task, node.expect("a task fits some node"))
    })
}

fn run(instance: &Instance, insertion: bool, mut choose: impl FnMut(&Builder<'_>, u32) -> Spot) -> Schedule {
    let mut builder = Builder::new(instance, insertion);
    for &task in instance.order() {
        let spot = choose(&builder, task);
        builder.place(task, spot);
    }
    builder.finish()
}
