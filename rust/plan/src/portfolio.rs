//! `plan`: one method, or all of them and then a search, until the budget is used or a bound is reached.

use crate::Error;
use crate::bounds::{Bounds, bounds};
use crate::instance::Instance;
use crate::methods::{Method, Options};
use crate::schedule::Schedule;
use crate::search::Chain;
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// How long a plan may take. Seconds are no business of a pure function: whoever counts them sets `stop`.
#[derive(Clone, Copy, Debug)]
pub struct Budget<'a> {
    /// How many schedules may be laid out: one a method, and one a step of the search.
    pub evaluations: usize,
    pub stop: &'a AtomicBool,
}

/// A schedule and how good it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub schedule: Schedule,
    pub makespan: f64,
    pub bounds: Bounds,
    /// The method whose schedule this is, or was before the search improved it.
    pub method: Method,
    /// Whether the search found something shorter than any method.
    pub improved: bool,
    /// How many schedules were laid out. With as many, and the same seed, the same comes out.
    pub evaluations: usize,
}

impl Plan {
    /// How far above the bound the makespan is, as a part of the bound; 0 where both are 0.
    pub fn gap(&self) -> f64 {
        let least = self.bounds.best();
        if self.makespan <= least { 0.0 } else { self.makespan / least - 1.0 }
    }
}

/// How many searchers there are, whatever the number of threads.
const CHAINS: usize = 4;

/// Methods are tried in this order, so many at a time: the quick and good ones first.
const ORDER: &[&[Method]] = &[
    &[Method::Heft, Method::Cpop, Method::Peft, Method::FastestNode],
    &[Method::Mct, Method::Met, Method::Olb, Method::Fcp],
    &[Method::Flb, Method::Dps, Method::Msbc, Method::Hbmct],
    &[Method::Lookahead, Method::MaxMin, Method::MinMin, Method::Sufferage],
    &[Method::Bil, Method::Dls, Method::Gdl, Method::LeastLoaded],
    &[Method::Etf, Method::Wba],
];

/// Plans with one method, or with the portfolio if there is none.
///
/// # Errors
/// If the method is not for such an instance.
pub fn plan(
    instance: &Instance,
    method: Option<Method>,
    options: Options,
    budget: Budget<'_>,
) -> Result<Plan, Error> {
    let bounds = bounds(instance);
    if let Some(method) = method {
        let schedule = method.run(instance, options)?;
        let makespan = schedule.makespan();
        return Ok(Plan { schedule, makespan, bounds, method, improved: false, evaluations: 1 });
    }
    Ok(portfolio(instance, options, budget, bounds))
}

fn portfolio(instance: &Instance, options: Options, budget: Budget<'_>, bounds: Bounds) -> Plan {
    let least = bounds.best() * (1.0 + 1e-12);
    let mut found: Vec<(f64, Method, Schedule)> = Vec::new();
    let mut evaluations = 0;
    for group in ORDER {
        let enough = found.first().is_some_and(|it| it.0 <= least);
        if enough
            || evaluations > 0 && (budget.stop.load(Ordering::Relaxed) || evaluations >= budget.evaluations)
        {
            break;
        }
        let left = budget.evaluations.saturating_sub(evaluations).max(1);
        let methods: Vec<Method> =
            group.iter().copied().filter(|&method| is_worth_it(method, instance)).take(left).collect();
        evaluations += methods.len();
        let made: Vec<(f64, Method, Schedule)> = methods
            .into_par_iter()
            .map(|method| {
                let schedule = method.run(instance, options).expect("only the exact method refuses");
                (schedule.makespan(), method, schedule)
            })
            .collect();
        found.extend(made);
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    let (makespan, method, schedule) = found[0].clone();
    let mut plan = Plan { schedule, makespan, bounds, method, improved: false, evaluations };
    if instance.is_empty() {
        return plan;
    }
    let mut starts: Vec<&Schedule> = found.iter().map(|it| &it.2).collect();
    starts.dedup();
    let mut chains: Vec<Chain<'_>> = (0..CHAINS)
        .map(|number| {
            let start = starts[(number / 2).min(starts.len() - 1)];
            Chain::new(instance, start, options.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ number as u64)
        })
        .collect();
    // A round is short enough to stop soon after being told to.
    let round = (20_000 / instance.len()).clamp(1, 500);
    let mut rounds = 0;
    while plan.makespan > least
        && plan.evaluations < budget.evaluations
        && !budget.stop.load(Ordering::Relaxed)
    {
        let left = budget.evaluations - plan.evaluations;
        let each = round.min(left.div_ceil(CHAINS));
        let shares: Vec<usize> =
            (0..CHAINS).map(|number| each.min(left.saturating_sub(number * each))).collect();
        plan.evaluations += shares.iter().sum::<usize>();
        chains.par_iter_mut().zip(shares).for_each(|(chain, share)| {
            chain.run(share, least);
        });
        rounds += 1;
        let best = (1..CHAINS).fold(0, |best, at| {
            if chains[at].best.makespan < chains[best].best.makespan { at } else { best }
        });
        if chains[best].best.makespan < plan.makespan {
            plan.makespan = chains[best].best.makespan;
            plan.schedule = chains[best].best.schedule();
            plan.improved = true;
        }
        if rounds % 64 == 0 {
            // The one that is furthest behind goes on from the best.
            let worst = (1..CHAINS).fold(0, |worst, at| {
                if chains[at].best.makespan > chains[worst].best.makespan { at } else { worst }
            });
            if worst != best {
                let from = chains[best].best.clone();
                chains[worst].adopt(&from);
            }
        }
    }
    plan
}

/// Whether a method is quick enough, by how its cost grows.
fn is_worth_it(method: Method, instance: &Instance) -> bool {
    let (tasks, nodes, edges) = (instance.len() as f64, instance.nodes() as f64, instance.edges() as f64);
    let cost = match method {
        Method::MinMin | Method::MaxMin | Method::Sufferage | Method::Hbmct => tasks * tasks,
        Method::Dls | Method::Gdl => tasks * tasks,
        Method::Bil => tasks * tasks * nodes,
        // Several schedules each.
        Method::Wba | Method::Etf => 5.0 * tasks * tasks * nodes,
        Method::Lookahead => (tasks + edges) * nodes * nodes,
        _ => 0.0,
    };
    cost <= 2e8
}
