//! PEFT: H. Arabnejad, J. G. Barbosa, "List scheduling algorithm for heterogeneous systems by an
//! optimistic cost table", IEEE TPDS 25(3), 2014, doi:10.1109/TPDS.2013.57.

use crate::builder::{Builder, Ready, Spot};
use crate::instance::{Instance, mean};
use crate::ranks::{MeanLink, tables};
use crate::schedule::Schedule;

/// For each task and node, a row a task: the least that is still to come after the task has run there.
pub(crate) fn optimistic_costs(instance: &Instance) -> Vec<f64> {
    let link = MeanLink::between(instance);
    tables(
        instance,
        |_, _, bytes| link.seconds(bytes),
        true,
        |next, node, cost| cost + instance.exec(next, node),
    )
}

/// By mean optimistic cost, each task where its end and what is then still to come are least.
pub(super) fn peft(instance: &Instance, insertion: bool) -> Schedule {
    let nodes = instance.nodes();
    let costs = optimistic_costs(instance);
    let row = |task: u32| &costs[task as usize * nodes..(task as usize + 1) * nodes];
    let rank = |task: u32| mean(row(task));
    let mut builder = Builder::new(instance, insertion);
    let mut arrivals = Vec::new();
    let mut ready = Ready::new(instance, rank);
    while let Some(task) = ready.pop() {
        builder.arrivals(task, &mut arrivals);
        let mut best: Option<(f64, Spot)> = None;
        for node in instance.where_fits(task) {
            let rest = row(task)[node as usize];
            let limit = best.map_or(f64::INFINITY, |it| it.0 - rest);
            let spot = builder.spot(task, node, arrivals[node as usize], limit);
            if best.is_none_or(|it| spot.finish + rest < it.0) {
                best = Some((spot.finish + rest, spot));
            }
        }
        let (_, spot) = best.expect("a task fits some node");
        builder.place(task, spot);
        ready.taken(task, rank);
    }
    builder.finish()
}
