//! CPOP: H. Topcuoglu, S. Hariri, M.-Y. Wu, "Performance-effective and low-complexity task scheduling
//! for heterogeneous computing", IEEE TPDS 13(3), 2002, doi:10.1109/71.993206.

use crate::builder::{Builder, Ready};
use crate::instance::Instance;
use crate::ranks::{MeanLink, downward, mean_execs, upward};
use crate::schedule::Schedule;

/// How close to the longest way a task's has to be, as a part of it, to count as critical.
const CLOSE: f64 = 1e-5;

/// Tasks of the critical path on the node that does them fastest, others where they end first.
///
/// Where nodes differ by speed alone, a second reading of the ranks is in the field, that of `anrg-saga`:
/// the way to a task counts the task's own cost over the mean speed, and messages are averaged over all
/// pairs of nodes, a node and itself included. Both are tried there, and the shorter schedule is kept.
pub(super) fn cpop(instance: &Instance, insertion: bool) -> Schedule {
    let own = mean_execs(instance);
    let link = MeanLink::between(instance);
    let down = downward(instance, &own, |bytes| link.seconds(bytes));
    let paper = once(instance, insertion, &up(instance, &own, link), &down);
    let Some(typical) = instance.typical_execs() else { return paper };
    let link = MeanLink::anywhere(instance);
    let down = arriving(instance, &typical, |bytes| link.seconds(bytes));
    super::shortest([paper, once(instance, insertion, &up(instance, &own, link), &down)])
}

fn up(instance: &Instance, own: &[f64], link: MeanLink) -> Vec<f64> {
    upward(instance, own, |bytes| link.seconds(bytes))
}

/// The longest way to the end of each task that waits for another, without the time of the first.
fn arriving(instance: &Instance, own: &[f64], message: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut ranks = vec![0.0; own.len()];
    for &task in instance.order() {
        let ways = instance.received(task).map(|(from, bytes)| ranks[from as usize] + message(bytes));
        ranks[task as usize] = ways.map(|way| way + own[task as usize]).fold(0.0, f64::max);
    }
    ranks
}

fn once(instance: &Instance, insertion: bool, up: &[f64], down: &[f64]) -> Schedule {
    let ranks: Vec<f64> = up.iter().zip(down).map(|(up, down)| up + down).collect();
    let longest = instance.entries().map(|task| ranks[task as usize]).fold(0.0, f64::max);
    let critical: Vec<bool> = ranks.iter().map(|rank| (*rank - longest).abs() <= longest * CLOSE).collect();
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
