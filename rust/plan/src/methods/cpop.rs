//! CPOP: H. Topcuoglu, S. Hariri, M.-Y. Wu, "Performance-effective and low-complexity task scheduling
//! for heterogeneous computing", IEEE TPDS 13(3), 2002, doi:10.1109/71.993206.

use crate::builder::{Builder, Ready};
use crate::instance::Instance;
use crate::ranks::{MeanLink, downward, mean_execs, upward};
use crate::schedule::Schedule;

/// Tasks of the critical path on the node that does them fastest, others where they end first.
pub(super) fn cpop(instance: &Instance, insertion: bool) -> Schedule {
    let link = MeanLink::between(instance);
    let own = mean_execs(instance);
    let up = upward(instance, &own, |bytes| link.seconds(bytes));
    let down = downward(instance, &own, |bytes| link.seconds(bytes));
    let ranks: Vec<f64> = up.iter().zip(&down).map(|(up, down)| up + down).collect();
    let longest = instance.entries().map(|task| ranks[task as usize]).fold(0.0, f64::max);
    let critical: Vec<bool> = ranks.iter().map(|rank| *rank >= longest * (1.0 - 1e-9)).collect();
    let path = || (0..instance.len() as u32).filter(|&task| critical[task as usize]);
    let total = |node: u32| path().map(|task| instance.exec(task, node)).sum::<f64>();
    let fastest = (0..instance.nodes() as u32).min_by(|&a, &b| total(a).total_cmp(&total(b))).unwrap_or(0);
    let mut builder = Builder::new(instance, insertion);
    let mut arrivals = Vec::new();
    let mut ready = Ready::new(instance, |task| ranks[task as usize]);
    while let Some(task) = ready.pop() {
        let spot = if critical[task as usize] && instance.fits(task, fastest) {
            builder.on(task, fastest)
        } else {
            builder.earliest_finish(task, &mut arrivals)
        };
        builder.place(task, spot);
        ready.taken(task, |next| ranks[next as usize]);
    }
    builder.finish()
}
