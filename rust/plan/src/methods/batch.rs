//! Min-min, max-min, duplex and sufferage: O. H. Ibarra, C. E. Kim, "Heuristic algorithms for scheduling
//! independent tasks on nonidentical processors", JACM 24(2), 1977, doi:10.1145/322003.322011; T. D. Braun
//! et al., "A comparison of eleven static heuristics …", JPDC 61(6), 2001, doi:10.1006/jpdc.2000.1714;
//! M. Maheswaran et al., JPDC 59(2), 1999, doi:10.1006/jpdc.1999.1581.
//!
//! The first three take the tasks in batches: all that are free, then all that these have freed.

use crate::builder::{Builder, Spot};
use crate::instance::Instance;
use crate::ranks::turns;
use crate::schedule::Schedule;

/// What a free task could get.
struct Offer {
    task: u32,
    arrivals: Vec<f64>,
    best: Spot,
    /// Where it would end next best, and when.
    second: Option<(u32, f64)>,
}

impl Offer {
    fn new(builder: &Builder<'_>, task: u32) -> Self {
        let mut arrivals = Vec::new();
        builder.arrivals(task, &mut arrivals);
        let best = Spot { node: 0, start: 0.0, finish: f64::INFINITY };
        let mut made = Self { task, arrivals, best, second: None };
        made.look(builder);
        made
    }

    fn look(&mut self, builder: &Builder<'_>) {
        self.best.finish = f64::INFINITY;
        self.second = None;
        for node in builder.instance.where_fits(self.task) {
            let spot = builder.spot(self.task, node, self.arrivals[node as usize], f64::INFINITY);
            if spot.finish < self.best.finish {
                if self.best.finish.is_finite() {
                    self.second = Some((self.best.node, self.best.finish));
                }
                self.best = spot;
            } else if self.second.is_none_or(|it| spot.finish < it.1) {
                self.second = Some((spot.node, spot.finish));
            }
        }
    }

    /// What it would lose if it did not get its best.
    fn sufferage(&self) -> f64 {
        self.second.map_or(0.0, |it| it.1 - self.best.finish)
    }
}

/// Again and again the offer with the greatest key. Of equal ones the first id goes first, or the longest way
/// to the end: both are tried, and the shorter schedule is kept.
fn run(instance: &Instance, insertion: bool, batches: bool, key: impl Fn(&Offer) -> f64) -> Schedule {
    super::shortest(turns(instance, 0, 0).iter().map(|turns| once(instance, insertion, batches, turns, &key)))
}

fn once(
    instance: &Instance,
    insertion: bool,
    batches: bool,
    turns: &[u32],
    key: impl Fn(&Offer) -> f64,
) -> Schedule {
    let mut builder = Builder::new(instance, insertion);
    let mut waits = instance.indegrees();
    let mut offers: Vec<Offer> = instance.entries().map(|task| Offer::new(&builder, task)).collect();
    offers.sort_by_key(|it| turns[it.task as usize]);
    let mut freed: Vec<u32> = Vec::new();
    while !offers.is_empty() {
        let mut chosen = (0, key(&offers[0]));
        for (at, offer) in offers.iter().enumerate().skip(1) {
            let key = key(offer);
            if key > chosen.1 {
                chosen = (at, key);
            }
        }
        let Offer { task, best, .. } = offers.remove(chosen.0);
        builder.place(task, best);
        for offer in &mut offers {
            if offer.best.node == best.node || offer.second.is_some_and(|it| it.0 == best.node) {
                offer.look(&builder);
            }
        }
        for &next in instance.successors(task) {
            waits[next as usize] -= 1;
            if waits[next as usize] == 0 {
                freed.push(next);
            }
        }
        if !batches || offers.is_empty() {
            freed.sort_unstable();
            for task in freed.drain(..) {
                let at = offers.partition_point(|it| turns[it.task as usize] < turns[task as usize]);
                offers.insert(at, Offer::new(&builder, task));
            }
        }
    }
    builder.finish()
}

/// Of a batch, the task that can end first.
pub(super) fn min_min(instance: &Instance, insertion: bool) -> Schedule {
    run(instance, insertion, true, |offer| -offer.best.finish)
}

/// Of a batch, the task that would at best end last.
pub(super) fn max_min(instance: &Instance, insertion: bool) -> Schedule {
    run(instance, insertion, true, |offer| offer.best.finish)
}

/// The better of min-min and max-min.
pub(super) fn duplex(instance: &Instance, insertion: bool) -> Schedule {
    super::shortest([min_min(instance, insertion), max_min(instance, insertion)])
}

/// The free task that would lose most if it did not get its best node.
pub(super) fn sufferage(instance: &Instance, insertion: bool) -> Schedule {
    run(instance, insertion, false, Offer::sufferage)
}
