//! HEFT with lookahead: L. F. Bittencourt, R. Sakellariou, E. R. M. Madeira, "DAG scheduling using a
//! lookahead variant of the Heterogeneous Earliest Finish Time algorithm", PDP 2010,
//! doi:10.1109/PDP.2010.56.

use super::heft::ranked;
use crate::builder::{Builder, Spot};
use crate::instance::Instance;
use crate::schedule::Schedule;

/// By upward rank, each task where the last of its successors could end first, if they came next.
pub(super) fn lookahead(instance: &Instance, insertion: bool) -> Schedule {
    let mut builder = Builder::new(instance, insertion);
    let (mut arrivals, mut later) = (Vec::new(), Vec::new());
    for task in ranked(instance) {
        builder.arrivals(task, &mut arrivals);
        let mut best: Option<(f64, f64, Spot)> = None;
        for node in instance.where_fits(task) {
            let spot = builder.spot(task, node, arrivals[node as usize], f64::INFINITY);
            let lane = builder.lanes[node as usize].clone();
            let makespan = builder.makespan;
            builder.place(task, spot);
            let ends = instance
                .successors(task)
                .iter()
                .map(|&next| builder.earliest_finish(next, &mut later).finish);
            let last = ends.fold(spot.finish, f64::max);
            builder.lanes[node as usize] = lane;
            builder.nodes[task as usize] = Schedule::NOWHERE;
            builder.makespan = makespan;
            if best.is_none_or(|it| (last, spot.finish) < (it.0, it.1)) {
                best = Some((last, spot.finish, spot));
            }
        }
        let (.., spot) = best.expect("a task fits some node");
        builder.place(task, spot);
    }
    builder.finish()
}
