//! WBA: J. Blythe et al., "Task scheduling strategies for workflow-based applications in grids", CCGRID
//! 2005, doi:10.1109/CCGRID.2005.1558639.

use crate::builder::{Builder, Spot};
use crate::instance::Instance;
use crate::rng::Rng;
use crate::schedule::Schedule;

/// How much worse than the best a choice may be, as a part of what lies between the best and the worst.
const ALPHA: f64 = 0.5;

/// The best of several random schedules, each made batch by batch of pairs of a task and a node that let
/// the makespan grow little.
pub(super) fn wba(instance: &Instance, insertion: bool, seed: u64) -> Schedule {
    let cost = instance.len() as f64 * instance.len() as f64 * instance.nodes() as f64;
    let rounds = (2e8 / cost.max(1.0)).clamp(1.0, 20.0) as usize;
    let mut rng = Rng::new(seed);
    super::shortest((0..rounds).map(|_| once(instance, insertion, &mut rng)))
}

fn once(instance: &Instance, insertion: bool, rng: &mut Rng) -> Schedule {
    let mut builder = Builder::new(instance, insertion);
    let mut waits = instance.indegrees();
    let mut batch: Vec<u32> = instance.entries().collect();
    let mut pairs: Vec<(f64, u32, Spot)> = Vec::new();
    while !batch.is_empty() {
        let mut freed = Vec::new();
        let mut arrivals: Vec<Vec<f64>> = Vec::new();
        for &task in &batch {
            let mut found = Vec::new();
            builder.arrivals(task, &mut found);
            arrivals.push(found);
        }
        while !batch.is_empty() {
            pairs.clear();
            for (&task, arrivals) in batch.iter().zip(&arrivals) {
                for node in instance.where_fits(task) {
                    let spot = builder.spot(task, node, arrivals[node as usize], f64::INFINITY);
                    pairs.push(((spot.finish - builder.makespan).max(0.0), task, spot));
                }
            }
            let least = pairs.iter().map(|it| it.0).fold(f64::INFINITY, f64::min);
            let most = pairs.iter().map(|it| it.0).fold(0.0, f64::max);
            pairs.retain(|it| it.0 <= least + ALPHA * (most - least));
            let (_, task, spot) = pairs[rng.below(pairs.len())];
            builder.place(task, spot);
            let at = batch.iter().position(|&it| it == task).expect("a task of the batch");
            batch.remove(at);
            arrivals.remove(at);
            for &next in instance.successors(task) {
                waits[next as usize] -= 1;
                if waits[next as usize] == 0 {
                    freed.push(next);
                }
            }
        }
        freed.sort_unstable();
        batch = freed;
    }
    builder.finish()
}
