//! MSBC: "Multiple strict bounds constraints" for scheduling on heterogeneous systems, IEEE PACRIM 2005,
//! doi:10.1109/PACRIM.2005.1517309.

use crate::builder::{Builder, Ready, Spot};
use crate::instance::Instance;
use crate::ranks::{downward, mean_execs, turns};
use crate::schedule::Schedule;

/// By the sum of three bounds on when a task can be under way, greatest first; each task where it starts
/// first, on the fastest of several nodes. Of equal sums the first id goes first, or the longest way to the end:
/// both are tried, and the shorter schedule is kept.
pub(super) fn msbc(instance: &Instance, insertion: bool) -> Schedule {
    let count = instance.len();
    // When each task could end if no other were in its way, where that is, and when it starts there.
    let (mut ends, mut favourite, mut starts) = (vec![0.0f64; count], vec![0u32; count], vec![0.0f64; count]);
    for &task in instance.order() {
        let at = task as usize;
        let ready = |node: u32| {
            let data = instance.received(task).map(|(before, bytes)| {
                ends[before as usize] + instance.transfer(favourite[before as usize], node, bytes)
            });
            data.fold(0.0, f64::max)
        };
        let best = instance
            .where_fits(task)
            .map(|node| (ready(node) + instance.exec(task, node), node))
            .reduce(|best, it| if it.0 < best.0 { it } else { best });
        (ends[at], favourite[at]) = best.expect("a task fits some node");
        let data = instance.received(task).map(|(before, bytes)| {
            let from = favourite[before as usize];
            starts[before as usize]
                + instance.exec(before, from)
                + instance.transfer(from, favourite[at], bytes)
        });
        starts[at] = data.fold(0.0, f64::max);
    }
    let levels = downward(instance, &mean_execs(instance), |_| 0.0);
    let priority = |task: u32| {
        let at = task as usize;
        ends[at] + levels[at] + starts[at]
    };
    let total = |node: u32| (0..count as u32).map(|task| instance.exec(task, node)).sum::<f64>();
    let totals: Vec<f64> = (0..instance.nodes() as u32).map(total).collect();
    let mut fastest: Vec<u32> = (0..instance.nodes() as u32).collect();
    fastest.sort_by(|&a, &b| totals[a as usize].total_cmp(&totals[b as usize]));
    let once = |turns: Vec<u32>| {
        let ready = Ready::in_turn(instance, Some(&turns), priority);
        run(Builder::new(instance, insertion), ready, &fastest, priority)
    };
    super::shortest(turns(instance, 0, 0).into_iter().map(once))
}

fn run(
    mut builder: Builder<'_>,
    mut ready: Ready<'_>,
    fastest: &[u32],
    priority: impl Fn(u32) -> f64,
) -> Schedule {
    let instance = builder.instance;
    let mut arrivals = Vec::new();
    while let Some(task) = ready.pop() {
        builder.arrivals(task, &mut arrivals);
        let nodes = fastest.iter().copied().filter(|&node| instance.fits(task, node));
        let spots = nodes.map(|node| builder.spot(task, node, arrivals[node as usize], f64::INFINITY));
        let spot = spots.reduce(|best: Spot, it| if it.start < best.start { it } else { best });
        builder.place(task, spot.expect("a task fits some node"));
        ready.taken(task, &priority);
    }
    builder.finish()
}
