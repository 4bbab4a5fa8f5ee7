//! What follows a failed attempt: another one after a delay, or the step's end.

use ferroflow_define::{Backoff, Retry};

use crate::event::{Failure, QUARANTINED, Used, WORKER_DIED, What};
use crate::ids::{Micros, RunId, Step, Token};
use crate::state::Run;

/// A step that ends its process so many times in a row is not tried again, whatever its retry policy:
/// it would take other steps' processes with it for ever.
pub const DEATHS: u32 = 3;

impl Run {
    pub(super) fn attempt_failed(
        &self,
        step: Step,
        token: Token,
        error: Failure,
        retriable: bool,
        used: Option<Used>,
        now: Micros,
    ) -> What {
        if let Some(error) = self.quarantined(step, &error) {
            return What::StepFailed { step, token, error, used };
        }
        let failures = self.failures.get(&step).copied().unwrap_or(0);
        let policy = self.task(step).and_then(|task| task.options.retry.as_ref());
        match policy {
            Some(policy) if retriable && failures < policy.max_retries => {
                let delay = delay(policy, failures, self.head.seed, self.id, step);
                What::StepRetrying { step, token, error, due: now.saturating_add(delay), used }
            }
            _ => {
                let error = match policy {
                    Some(policy) if failures > 0 && failures >= policy.max_retries => Failure {
                        message: format!("{} (after {failures} retries)", error.message).into(),
                        ..error
                    },
                    _ => error,
                };
                match error.is_timeout() {
                    true => What::StepTimedOut { step, token, error, used },
                    false => What::StepFailed { step, token, error, used },
                }
            }
        }
    }

    /// What a step fails with for good whose process has died once too often.
    fn quarantined(&self, step: Step, error: &Failure) -> Option<Failure> {
        let deaths = self.deaths.get(&step).map_or(1, |deaths| deaths + 1);
        if &*error.code != WORKER_DIED || deaths < DEATHS {
            return None;
        }
        let message = format!(
            "it ended the process that ran it {deaths} times in a row, the last time so: {}; it is not tried \
             again. Find out what ends it (too little memory, a crash in native code, a signal), correct the \
             task, and start the run anew",
            error.message
        );
        Some(Failure { code: QUARANTINED.into(), message: message.into(), details: error.details.clone() })
    }
}

/// The pause before retry `n` (from 0): fixed `d`, linear `d·(n+1)`, exponential `d·factor^n`,
/// capped, then varied by the jitter, which derives from the run's seed, step and attempt.
pub(super) fn delay(policy: &Retry, n: u32, seed: u64, run: RunId, step: Step) -> Micros {
    let base = policy.delay as f64;
    let grown = match policy.backoff {
        Backoff::Fixed => base,
        Backoff::Linear => base * f64::from(n + 1),
        Backoff::Exponential => base * (f64::from(policy.factor_milli) / 1000.0).powf(f64::from(n)),
    };
    let capped = policy.cap.map_or(grown, |cap| grown.min(cap as f64));
    let mut mix = seed ^ u64::from_le_bytes(run.0[8..].try_into().expect("eight bytes"));
    for part in [u64::from(step), u64::from(n)] {
        mix = scramble(mix ^ part);
    }
    let unit = (mix >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0;
    let varied = capped * (1.0 + unit * f64::from(policy.jitter_milli) / 1000.0);
    // No run waits for longer than a thousand years.
    varied.clamp(0.0, 3.2e16) as Micros
}

/// One step of SplitMix64 (Steele, Lea and Flood, 2014).
fn scramble(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(backoff: Backoff, cap: Option<i64>, jitter_milli: u32) -> Retry {
        Retry { max_retries: 9, backoff, delay: 100, factor_milli: 2000, cap, jitter_milli }
    }

    /// Req: P4.136, P4.137, P8.103
    #[test]
    fn delays_follow_the_formulas() {
        let of =
            |policy: &Retry| (0..4).map(|n| delay(policy, n, 1, RunId::default(), 3)).collect::<Vec<_>>();
        assert_eq!(of(&policy(Backoff::Fixed, None, 0)), [100, 100, 100, 100]);
        assert_eq!(of(&policy(Backoff::Linear, None, 0)), [100, 200, 300, 400]);
        assert_eq!(of(&policy(Backoff::Exponential, None, 0)), [100, 200, 400, 800]);
        assert_eq!(of(&policy(Backoff::Exponential, Some(300), 0)), [100, 200, 300, 300]);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_share_and_depends_on_the_seed(seed: u64, n in 0u32..200) {
            let policy = policy(Backoff::Exponential, Some(1_000_000), 250);
            let exact = Retry { jitter_milli: 0, ..policy.clone() };
            let (varied, base) = (delay(&policy, n, seed, RunId::default(), 1), delay(&exact, n, seed, RunId::default(), 1));
            prop_assert!((varied - base).abs() as f64 <= base as f64 * 0.25 + 1.0);
            prop_assert_eq!(varied, delay(&policy, n, seed, RunId::default(), 1));
        }
    }
}
