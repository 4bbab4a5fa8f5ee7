//! FLB: A. Rădulescu, A. J. C. van Gemund, "FLB: Fast Load Balancing for distributed-memory machines",
//! ICPP 1999, doi:10.1109/ICPP.1999.797442.
//!
//! The paper has nodes and links alike; messages are averaged where it asks which arrives last.

use crate::builder::{Builder, Ranked};
use crate::instance::Instance;
use crate::ranks::{MeanLink, turns};
use crate::schedule::Schedule;
use std::collections::BinaryHeap;

/// Which node the others are given to.
#[derive(Clone, Copy)]
enum Others {
    /// The one that is free first, as the paper has it.
    Free,
    /// The one where the task ends first: on nodes that are alike, the same.
    Ends,
    /// The one whose last one of them ended first, as `anrg-saga` has it.
    Turns,
}

/// How many orders are drawn.
const LOTS: usize = 6;

/// The free task that can start first: the first of those whose last message comes from a node that will
/// still be busy then, or the first of all others on a node of their own.
///
/// The paper gives the others to the node that is free first. Where nodes differ that is one reading of
/// several, and of tasks that could start at once it is the longest way to the end, the first id, or an order
/// drawn by lot that says which goes first. All are tried, and the shortest schedule is kept.
pub(super) fn flb(instance: &Instance, insertion: bool, seed: u64) -> Schedule {
    let orders = turns(instance, LOTS, seed);
    let ways =
        orders.iter().flat_map(|turn| [Others::Free, Others::Ends, Others::Turns].map(|which| (turn, which)));
    super::shortest(ways.map(|(turn, which)| once(instance, insertion, turn, which)))
}

fn once(instance: &Instance, insertion: bool, turn: &[u32], which: Others) -> Schedule {
    let nodes = instance.nodes();
    let link = MeanLink::typical(instance);
    let mut builder = Builder::new(instance, insertion);
    let mut waits = instance.indegrees();
    // By node: tasks that it enables, by when their data are there, and by when their last message comes.
    let mut by_arrival: Vec<BinaryHeap<Ranked>> = vec![BinaryHeap::new(); nodes];
    let mut by_message: Vec<BinaryHeap<Ranked>> = vec![BinaryHeap::new(); nodes];
    let mut others: BinaryHeap<Ranked> = BinaryHeap::new();
    let mut enabled = vec![false; instance.len()];
    // Earlier is greater; of several at one time, the first of the order.
    let entry = |time: f64, task: u32| Ranked { key: -time, place: turn[task as usize], task };
    others.extend(instance.entries().map(|task| entry(0.0, task)));
    // When the last task of `others` ended on each node.
    let mut ended = vec![0.0f64; nodes];
    let mut left = instance.len();
    while left > 0 {
        let available: Vec<f64> = builder.lanes.iter().map(|lane| lane.available()).collect();
        for heap in by_arrival.iter_mut() {
            while heap.peek().is_some_and(|it| !enabled[it.task as usize]) {
                heap.pop();
            }
        }
        let there = by_arrival.iter().enumerate().filter_map(|(node, heap)| {
            heap.peek().map(|it| ((-it.key).max(available[node]), it.task, node as u32))
        });
        let there = there.reduce(|best, it| if it.0 < best.0 { it } else { best });
        let elsewhere = others.peek().map(|it| {
            let key = |node: u32| match which {
                Others::Free => (available[node as usize], instance.exec(it.task, node)),
                Others::Ends => (builder.on(it.task, node).finish, 0.0),
                Others::Turns => (ended[node as usize], instance.exec(it.task, node)),
            };
            let better = |best, it| if key(it) < key(best) { it } else { best };
            let node = instance.where_fits(it.task).reduce(better).expect("a task fits some node");
            (builder.on(it.task, node).start, it.task, node)
        });
        let (task, node) = match (there, elsewhere) {
            (Some(there), Some(elsewhere)) if elsewhere.0 < there.0 => (elsewhere.1, elsewhere.2),
            (Some(there), _) => (there.1, there.2),
            (None, Some(elsewhere)) => (elsewhere.1, elsewhere.2),
            (None, None) => break,
        };
        let spot = builder.on(task, node);
        builder.place(task, spot);
        if enabled[task as usize] {
            enabled[task as usize] = false;
        } else {
            others.pop();
            ended[node as usize] = builder.lanes[node as usize].available();
        }
        left -= 1;
        // What this node no longer keeps waiting may go anywhere.
        let busy = builder.lanes[node as usize].available();
        while let Some(&head) = by_message[node as usize].peek() {
            if enabled[head.task as usize] && -head.key >= busy {
                break;
            }
            by_message[node as usize].pop();
            if enabled[head.task as usize] {
                enabled[head.task as usize] = false;
                others.push(head);
            }
        }
        for &next in instance.successors(task) {
            waits[next as usize] -= 1;
            if waits[next as usize] > 0 {
                continue;
            }
            let messages = instance
                .received(next)
                .map(|(before, bytes)| (builder.finishes[before as usize] + link.seconds(bytes), before));
            let last = messages.reduce(|last, it| if it.0 > last.0 { it } else { last });
            let (message, from) = last.map_or((0.0, 0), |it| (it.0, builder.nodes[it.1 as usize]));
            if message < builder.lanes[from as usize].available() || !instance.fits(next, from) {
                others.push(entry(message, next));
            } else {
                enabled[next as usize] = true;
                by_arrival[from as usize].push(entry(builder.arrival(next, from), next));
                by_message[from as usize].push(entry(message, next));
            }
        }
    }
    builder.finish()
}
