//! The virtual-time driver: runs the kernel against durations instead of bodies, as fast as it decides.
//!
//! All that a workflow means (order, retries, timeouts, failure handling) is the kernel's; here only time
//! passes, machines are given out, and questions about values are answered as the scenario says. The
//! events are those that a real run would have: whatever reads a run reads a simulation.

mod answers;
mod driver;
mod law;
mod leasing;
mod machines;
mod scenario;

use rayon::prelude::*;

pub use self::driver::{Outcome, Placed, SIMULATED, simulate};
pub use self::law::{BadLaw, Law};
pub use self::scenario::{Answers, BadScenario, Faults, Loss, Scenario};

/// Simulates a scenario once for each seed, on all processors; outcomes are in the order of the seeds.
///
/// `stop` is asked now and then: once it says so, simulations that have not begun are left out (`None`).
pub fn simulate_all(
    scenario: &Scenario,
    seeds: &[u64],
    stop: &(impl Fn() -> bool + Sync),
) -> Vec<Option<Outcome>> {
    seeds.par_iter().map(|&seed| (!stop()).then(|| simulate(scenario, seed))).collect()
}

#[cfg(test)]
mod tests;
