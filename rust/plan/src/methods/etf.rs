//! ETF: J.-J. Hwang, Y.-C. Chow, F. D. Anger, C.-Y. Lee, "Scheduling precedence graphs in systems with
//! interprocessor communication times", SIAM J. Comput. 18(2), 1989, doi:10.1137/0218016.

use crate::builder::{Builder, Free, Spot};
use crate::instance::Instance;
use crate::ranks::{mean_execs, upward};
use crate::rng::Rng;
use crate::schedule::Schedule;

/// More schedules than this are not tried.
const TRIES: u32 = 20;

/// The pair of a free task and a node with the earliest start.
///
/// Which of several tasks that could start at once comes first, the paper leaves open: the longest way to
/// the end, the earliest end, and orders drawn by lot are tried, and the shortest schedule is kept. Of
/// several nodes it is the one that does the task fastest, of which the paper, with nodes alike, says
/// nothing.
pub(super) fn etf(instance: &Instance, insertion: bool, seed: u64) -> Schedule {
    let levels = upward(instance, &mean_execs(instance), |_| 0.0);
    let by_level = once(instance, insertion, |task, _| -levels[task as usize]);
    let by_end = once(instance, insertion, |_, spot| spot.finish);
    let mut rng = Rng::new(seed);
    let cost = instance.len() as f64 * instance.len() as f64 * instance.nodes() as f64;
    let drawn = (1..TRIES - 1).take_while(|&tries| cost * f64::from(tries) <= 5e7).map(|_| {
        let lots: Vec<f64> = (0..instance.len()).map(|_| rng.unit()).collect();
        once(instance, insertion, |task, _| lots[task as usize])
    });
    super::shortest([by_level, by_end].into_iter().chain(drawn))
}

fn once(instance: &Instance, insertion: bool, tie: impl Fn(u32, Spot) -> f64) -> Schedule {
    let mut builder = Builder::new(instance, insertion);
    let mut free = Free::new(instance);
    let mut offers: Vec<Spot> = Vec::new();
    let mut arrivals = Vec::new();
    for &task in &free.tasks {
        offers.push(offer(&builder, task, &mut arrivals));
    }
    while !free.tasks.is_empty() {
        let key = |at: usize| (offers[at].start, tie(free.tasks[at], offers[at]));
        let first = (1..free.tasks.len()).fold(0, |best, at| if key(at) < key(best) { at } else { best });
        let (task, spot) = (free.tasks[first], offers[first]);
        builder.place(task, spot);
        offers.remove(first);
        let freed = free.take(instance, task);
        // Only what would have gone to this node has to look again.
        for (old, &task) in offers.iter_mut().zip(&free.tasks).filter(|it| it.0.node == spot.node) {
            *old = offer(&builder, task, &mut arrivals);
        }
        for task in freed {
            let at = free.tasks.partition_point(|&it| it < task);
            free.add(&[task]);
            offers.insert(at, offer(&builder, task, &mut arrivals));
        }
    }
    builder.finish()
}

/// Where a task could start first.
fn offer(builder: &Builder<'_>, task: u32, arrivals: &mut Vec<f64>) -> Spot {
    builder.arrivals(task, arrivals);
    let spots = builder.instance.where_fits(task);
    let spots = spots.map(|node| builder.spot(task, node, arrivals[node as usize], f64::INFINITY));
    let better = |a: Spot, b: Spot| if (b.start, b.finish) < (a.start, a.finish) { b } else { a };
    spots.reduce(better).expect("a task fits some node")
}
