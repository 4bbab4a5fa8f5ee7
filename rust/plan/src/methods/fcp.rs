//! FCP: A. Rădulescu, A. J. C. van Gemund, "On the complexity of list scheduling algorithms for
//! distributed-memory systems", ICS 1999, doi:10.1145/305138.305162.
//!
//! The paper has nodes and links alike; speeds and bandwidths are averaged for priorities.

use crate::builder::{Builder, Ranked, Spot};
use crate::instance::Instance;
use crate::ranks::{MeanLink, mean_execs, upward};
use crate::schedule::Schedule;
use std::collections::{BinaryHeap, VecDeque};

/// By the longest way to the end among as many free tasks as there are nodes, others first come, first
/// served; each task on the node that is free first, or on that of the predecessor that ended last.
pub(super) fn fcp(instance: &Instance, insertion: bool) -> Schedule {
    let link = MeanLink::between(instance);
    let levels = upward(instance, &mean_execs(instance), |bytes| link.seconds(bytes));
    let ranked = |task: u32| Ranked { key: levels[task as usize], place: instance.place(task), task };
    let mut builder = Builder::new(instance, insertion);
    let (mut heap, mut queue) = (BinaryHeap::new(), VecDeque::new());
    let mut waits = instance.indegrees();
    let mut free: Vec<u32> = instance.entries().collect();
    loop {
        for task in free.drain(..) {
            if heap.len() < instance.nodes() {
                heap.push(ranked(task));
            } else {
                queue.push_back(task);
            }
        }
        let Some(Ranked { task, .. }) = heap.pop() else { break };
        heap.extend(queue.pop_front().map(ranked));
        let spot = choose(&builder, task);
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

fn choose(builder: &Builder<'_>, task: u32) -> Spot {
    let instance = builder.instance;
    let available = |node: u32| builder.lanes[node as usize].available();
    let idle = instance.where_fits(task).min_by(|&a, &b| available(a).total_cmp(&available(b)));
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
