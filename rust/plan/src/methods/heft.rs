//! HEFT: H. Topcuoglu, S. Hariri, M.-Y. Wu, "Performance-effective and low-complexity task scheduling
//! for heterogeneous computing", IEEE TPDS 13(3), 2002, doi:10.1109/71.993206.
//!
//! Messages are averaged over all pairs of nodes, a node and itself included, as `anrg-saga` has it; the
//! paper's own example comes out at 80 either way.

use crate::builder::Builder;
use crate::instance::Instance;
use crate::ranks::{MeanLink, by_rank, mean_execs, upward};
use crate::schedule::Schedule;

/// The tasks by upward rank.
pub(crate) fn ranked(instance: &Instance) -> Vec<u32> {
    let link = MeanLink::anywhere(instance);
    by_rank(instance, &upward(instance, &mean_execs(instance), |bytes| link.seconds(bytes)))
}

/// By upward rank, each task where it ends first.
pub(super) fn heft(instance: &Instance, insertion: bool) -> Schedule {
    let mut builder = Builder::new(instance, insertion);
    let mut arrivals = Vec::new();
    for task in ranked(instance) {
        let spot = builder.earliest_finish(task, &mut arrivals);
        builder.place(task, spot);
    }
    builder.finish()
}
