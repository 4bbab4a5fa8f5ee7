//! BIL: H. Oh, S. Ha, "A static scheduling heuristic for heterogeneous processors", Euro-Par 1996,
//! doi:10.1007/BFb0024750.
//!
//! A task's level on a node is the shortest way from there to the end, messages included. Messages take
//! what the link between the nodes says, where the paper has one rate for all.

use crate::builder::{Builder, Free};
use crate::instance::Instance;
use crate::ranks::tables;
use crate::schedule::Schedule;

/// Of the free tasks the one whose worst way out is longest, on the node where its way out is shortest.
pub(super) fn bil(instance: &Instance, insertion: bool) -> Schedule {
    let nodes = instance.nodes();
    let exec = |task: u32, node: u32| instance.exec(task, node);
    let after = tables(
        instance,
        |from, to, bytes| instance.transfer(from, to, bytes),
        instance.is_uniform(),
        |next, node, known| known + exec(next, node),
    );
    let level = |task: u32, node: u32| exec(task, node) + after[task as usize * nodes + node as usize];
    let mut builder = Builder::new(instance, insertion);
    let mut free = Free::new(instance);
    while !free.tasks.is_empty() {
        let available: Vec<f64> = builder.lanes.iter().map(|lane| lane.available()).collect();
        // Imaginary makespans of a task, greatest first.
        let makespans = |task: u32| {
            let mut found: Vec<f64> =
                instance.where_fits(task).map(|node| available[node as usize] + level(task, node)).collect();
            found.sort_unstable_by(|a, b| b.total_cmp(a));
            found
        };
        let greatest = |task: u32| {
            let all = instance.where_fits(task).map(|node| available[node as usize] + level(task, node));
            all.fold(0.0, f64::max)
        };
        let keys: Vec<f64> = free.tasks.iter().map(|&task| greatest(task)).collect();
        let most = keys.iter().copied().fold(0.0, f64::max);
        let tied = free.tasks.iter().zip(&keys).filter(|it| *it.1 == most).map(|it| *it.0);
        let tied: Vec<u32> = tied.collect();
        let task = match tied[..] {
            [only] => only,
            // The second greatest decides, and so on.
            _ => {
                let mut rows: Vec<(Vec<f64>, u32)> =
                    tied.iter().map(|&task| (makespans(task), instance.place(task))).collect();
                rows.sort_by(|a, b| {
                    let differing = a.0.iter().zip(&b.0).map(|(a, b)| b.total_cmp(a)).find(|it| it.is_ne());
                    differing.unwrap_or(std::cmp::Ordering::Equal).then(a.1.cmp(&b.1))
                });
                instance.order()[rows[0].1 as usize]
            }
        };
        let here = |node: u32| available[node as usize] + level(task, node);
        let node = instance.where_fits(task).min_by(|&a, &b| here(a).total_cmp(&here(b)));
        let spot = builder.on(task, node.expect("a task fits some node"));
        builder.place(task, spot);
        let freed = free.take(instance, task);
        free.add(&freed);
    }
    builder.finish()
}
