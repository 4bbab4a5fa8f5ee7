//! FCP: A. Rădulescu, A. J. C. van Gemund, "On the complexity of list scheduling algorithms for
//! distributed-memory systems", ICS 1999, doi:10.1145/305138.305162.
//!
//! The paper has nodes and links alike; speeds and bandwidths are averaged for priorities.

use crate::builder::{Builder, Ranked, Spot};
use crate::instance::Instance;
use crate::ranks::{MeanLink, mean_execs, turns, upward};
use crate::schedule::Schedule;
use std::collections::{BinaryHeap, VecDeque};

/// How many orders are drawn.
const LOTS: usize = 4;

/// By the longest way to the end among as many free tasks as there are nodes, others first come, first
/// served; each task on the node that is free first, or on that of the predecessor that ended last.
///
/// The paper leaves open in which order tasks come that are freed together, and, with nodes alike, which of
/// several idle nodes is taken. The order of ids, that of levels and some drawn by lot, the first node and the
/// fastest are tried, and the shortest schedule is kept.
pub(super) fn fcp(instance: &Instance, insertion: bool, seed: u64) -> Schedule {
    let link = MeanLink::typical(instance);
    let own = instance.typical_execs().unwrap_or_else(|| mean_execs(instance));
    let levels = upward(instance, &own, |bytes| link.seconds(bytes));
    let orders = turns(instance, LOTS, seed);
    let ways = orders.iter().flat_map(|turns| [(turns, false), (turns, true)]);
    super::shortest(ways.map(|(turns, fastest)| once(instance, insertion, &levels, turns, fastest)))
}

fn once(instance: &Instance, insertion: bool, levels: &[f64], turns: &[u32], fastest: bool) -> Schedule {
    let ranked = |task: u32| Ranked { key: levels[task as usize], place: instance.place(task), task };
    let mut builder = Builder::new(instance, insertion);
    let (mut heap, mut queue) = (BinaryHeap::new(), VecDeque::new());
    let mut waits = instance.indegrees();
    let mut free: Vec<u32> = instance.entries().collect();
    loop {
        free.sort_by_key(|&task| turns[task as usize]);
        for task in free.drain(..) {
            if heap.len() < instance.nodes() {
                heap.push(ranked(task));
            } else {
                queue.push_back(task);
            }
        }
        let Some(Ranked { task, .. }) = heap.pop() else { break };
        heap.extend(queue.pop_front().map(ranked));
        let spot = choose(&builder, task, fastest);
        builder.place(task, spot);
        for &next in instance.successors(task) {
            waits[next as usize] -= 1;
            if waits[next as usize] == 0 {
                free.push(next);
            }
        }
    }
    builder.finish()
}

fn choose(builder: &Builder<'_>, task: u32, fastest: bool) -> Spot {
    let instance = builder.instance;
    let time = |node: u32| if fastest { instance.exec(task, node) } else { 0.0 };
    let key = |node: u32| (builder.lanes[node as usize].available(), time(node));
    let idle = instance.where_fits(task).reduce(|best, it| if key(it) < key(best) { it } else { best });
    let idle = builder.on(task, idle.expect("a task fits some node"));
    let end = |before: u32| builder.finishes[before as usize];
    let before = instance.predecessors(task).iter().copied();
    let last = before.reduce(|last, it| if end(it) > end(last) { it } else { last });
    let there = last.map(|last| builder.nodes[last as usize]).filter(|&node| instance.fits(task, node));
    match there.map(|node| builder.on(task, node)) {
        Some(there) if there.start < idle.start => there,
        _ => idle,
    }
}
