//! What the scenario answers where a real driver would look at values.

use ferroflow_define::algebra::compile::Kind;
use ferroflow_engine::decide::{Answer, MAX_STEPS};
use ferroflow_engine::ids::Value;
use ferroflow_engine::{Run, Step};

use super::law::{Of, dice};
use super::machines::whole;
use super::scenario::{Answers, Scenario};

/// The answer to what a step asks.
pub(super) fn answer(scenario: &Scenario, run: &Run, seed: u64, step: Step) -> Answer {
    let place = run.place(step);
    let node = (place.block, place.node);
    let subject = u64::from(step);
    let amount = |otherwise: f64| amount(scenario, seed, node, subject, otherwise);
    match &run.node(step).kind {
        Kind::Choice { branches, otherwise } => {
            let mut rng = dice(seed, Of::Answer, subject, 0);
            let branch = match &scenario.answers[place.block as usize][place.node as usize] {
                Answers::Branches(weights) => weighted(weights, rng.unit()),
                _ => rng.below(branches.len() + usize::from(otherwise.is_some())),
            };
            Answer::Chosen(Some(branch as u32).filter(|&it| (it as usize) < branches.len()))
        }
        Kind::Loop { .. } => {
            let done = run.frames_of(step).count();
            Answer::Looped { again: done < amount(1.0).round() as usize, state: nil() }
        }
        Kind::Each { .. } => {
            let count = amount(1.0).round() as u32;
            Answer::Expanded { count, items: nils(count) }
        }
        // An empty object.
        Kind::Scope { .. } => Answer::Entered(Value::Inline([0x80].into())),
        Kind::Sleep(_) => Answer::Slept(whole(amount(0.0) * 1e6)),
        _ => Answer::Computed(nil()),
    }
}

/// The amount that the scenario gives for a node, by block and node, or what holds otherwise.
pub(super) fn amount(
    scenario: &Scenario,
    seed: u64,
    (block, node): (u32, u32),
    subject: u64,
    otherwise: f64,
) -> f64 {
    match &scenario.answers[block as usize][node as usize] {
        Answers::Amount(law) => law.sample(&mut dice(seed, Of::Answer, subject, 0), 0),
        _ => otherwise,
    }
}

/// Which of the weights a number from 0 to 1 falls on.
fn weighted(weights: &[f64], unit: f64) -> usize {
    let mut left = unit * weights.iter().sum::<f64>();
    let found = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    // Rounding may leave a little.
    found.unwrap_or_else(|| weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0))
}

/// Null, as MessagePack.
pub(super) fn nil() -> Value {
    Value::Inline([0xc0].into())
}

/// A list of so many nulls; an empty one for more than a run may have steps, which the kernel refuses.
fn nils(count: u32) -> Value {
    let count = if count > MAX_STEPS { 0 } else { count };
    let mut bytes = Vec::with_capacity(count as usize + 5);
    bytes.push(0xdd);
    bytes.extend(count.to_be_bytes());
    bytes.resize(count as usize + 5, 0xc0);
    Value::Inline(bytes.into())
}
