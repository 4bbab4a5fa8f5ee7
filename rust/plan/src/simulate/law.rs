//! How a quantity varies: durations, counts, delays. Samples depend on a seed and on what they are of,
//! never on the order in which they are drawn, so that two policies see the same durations.

use std::sync::Arc;

use rand_distr::{Distribution, Exp, LogNormal, Normal, Uniform, Weibull};

use crate::rng::Rng;

/// The law of a quantity that is never negative; samples below 0 count as 0.
#[derive(Clone, Debug, PartialEq)]
pub enum Law {
    Constant(f64),
    Uniform {
        least: f64,
        most: f64,
    },
    Normal {
        mean: f64,
        deviation: f64,
    },
    /// By mean and standard deviation of the quantity itself, not of its logarithm.
    LogNormal {
        mean: f64,
        deviation: f64,
    },
    Exponential {
        mean: f64,
    },
    Weibull {
        scale: f64,
        shape: f64,
    },
    /// One of what was seen, each as likely.
    Observed(Arc<[f64]>),
    /// What was seen of each: of copy number n (in an `each`) the value at n, from the beginning again
    /// after the last.
    Trace(Arc<[f64]>),
}

/// A law that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadLaw {
    #[error("{name} of a {law} law is {value}: it has to be a finite number, {least} or more")]
    Parameter { law: &'static str, name: &'static str, value: f64, least: f64 },
    #[error("a uniform law from {least} to {most} has no values: the first must not be above the second")]
    Empty { least: f64, most: f64 },
    #[error("nothing was observed: give at least one value")]
    Nothing,
}

impl Law {
    /// Refuses what has no samples: NaN, infinite and negative parameters, no observations.
    pub fn check(&self) -> Result<(), BadLaw> {
        let at_least = |law, name, value: f64, least: f64| match value.is_finite() && value >= least {
            true => Ok(()),
            false => Err(BadLaw::Parameter { law, name, value, least }),
        };
        match self {
            Law::Constant(value) => at_least("constant", "the value", *value, 0.0),
            &Law::Uniform { least, most } => {
                at_least("uniform", "the least", least, 0.0)?;
                at_least("uniform", "the most", most, 0.0)?;
                if least <= most { Ok(()) } else { Err(BadLaw::Empty { least, most }) }
            }
            Law::Normal { mean, deviation } => {
                at_least("normal", "the mean", *mean, 0.0)?;
                at_least("normal", "the deviation", *deviation, 0.0)
            }
            Law::LogNormal { mean, deviation } => {
                at_least("log-normal", "the mean", *mean, 0.0)?;
                at_least("log-normal", "the deviation", *deviation, 0.0)
            }
            Law::Exponential { mean } => at_least("exponential", "the mean", *mean, 0.0),
            Law::Weibull { scale, shape } => {
                at_least("Weibull", "the scale", *scale, 0.0)?;
                at_least("Weibull", "the shape", *shape, 0.01)
            }
            Law::Observed(values) | Law::Trace(values) => {
                if values.is_empty() {
                    return Err(BadLaw::Nothing);
                }
                values.iter().try_for_each(|value| at_least("observed", "a value", *value, 0.0))
            }
        }
    }

    /// What is expected of it.
    pub fn mean(&self) -> f64 {
        match self {
            Law::Constant(value) => *value,
            Law::Uniform { least, most } => f64::midpoint(*least, *most),
            // As good as the true one while few samples fall below 0.
            Law::Normal { mean, .. } | Law::LogNormal { mean, .. } | Law::Exponential { mean } => *mean,
            Law::Weibull { scale, shape } => scale * libm::tgamma(1.0 + 1.0 / shape),
            Law::Observed(values) | Law::Trace(values) => values.iter().sum::<f64>() / values.len() as f64,
        }
    }

    /// A sample of a law that makes sense.
    pub(crate) fn sample(&self, rng: &mut Rng, copy: u32) -> f64 {
        const SURE: &str = "the parameters were checked";
        let value = match self {
            Law::Constant(value) => *value,
            Law::Uniform { least, most } => {
                Uniform::new_inclusive(*least, *most).expect(SURE).sample(&mut rng.0)
            }
            Law::Normal { mean, deviation } => Normal::new(*mean, *deviation).expect(SURE).sample(&mut rng.0),
            &Law::LogNormal { mean, deviation } => {
                if mean == 0.0 {
                    return 0.0;
                }
                let variance = (1.0 + (deviation / mean).powi(2)).ln();
                let law = LogNormal::new(mean.ln() - variance / 2.0, variance.sqrt());
                law.expect(SURE).sample(&mut rng.0)
            }
            Law::Exponential { mean } => mean * Exp::new(1.0).expect(SURE).sample(&mut rng.0),
            Law::Weibull { scale, .. } if *scale == 0.0 => 0.0,
            Law::Weibull { scale, shape } => Weibull::new(*scale, *shape).expect(SURE).sample(&mut rng.0),
            Law::Observed(values) => values[rng.below(values.len())],
            Law::Trace(values) => values[copy as usize % values.len()],
        };
        value.max(0.0)
    }

    /// Whether samples differ.
    pub fn varies(&self) -> bool {
        !matches!(self, Law::Constant(_) | Law::Trace(_))
    }
}

/// What a sample is of; each kind has its own numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    Duration = 1,
    Failure,
    Straggler,
    Answer,
    Loss,
    Delay,
}

/// The random numbers of one thing.
pub(crate) fn dice(seed: u64, of: Of, subject: u64, attempt: u32) -> Rng {
    let mut mix = seed;
    for part in [of as u64, subject, u64::from(attempt)] {
        // One step of SplitMix64 (Steele, Lea and Flood, 2014).
        mix = (mix ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix = (mix ^ (mix >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mix = (mix ^ (mix >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mix ^= mix >> 31;
    }
    Rng::new(mix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn laws() -> Vec<Law> {
        vec![
            Law::Constant(3.0),
            Law::Uniform { least: 1.0, most: 5.0 },
            Law::Normal { mean: 3.0, deviation: 0.5 },
            Law::LogNormal { mean: 3.0, deviation: 2.0 },
            Law::Exponential { mean: 3.0 },
            Law::Weibull { scale: 3.0, shape: 1.5 },
            Law::Observed([1.0, 2.0, 6.0].into()),
            Law::Trace([1.0, 2.0, 6.0].into()),
        ]
    }

    #[test]
    fn samples_have_the_mean_of_their_law() {
        for law in laws() {
            law.check().unwrap();
            let total: f64 =
                (0..30_000).map(|n| law.sample(&mut dice(7, Of::Duration, n, 1), n as u32)).sum();
            let mean = total / 30_000.0;
            assert!((mean - law.mean()).abs() < 0.06, "{law:?}: {mean} instead of {}", law.mean());
        }
    }

    #[test]
    fn log_normal_samples_have_the_deviation_that_is_asked_for() {
        let law = Law::LogNormal { mean: 3.0, deviation: 2.0 };
        let samples: Vec<f64> =
            (0..100_000).map(|n| law.sample(&mut dice(7, Of::Duration, n, 1), 0)).collect();
        let mean = samples.iter().sum::<f64>() / samples.len() as f64;
        let square = samples.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / samples.len() as f64;
        assert!((square.sqrt() - 2.0).abs() < 0.1, "{}", square.sqrt());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for law in [
            Law::Constant(f64::NAN),
            Law::Constant(-1.0),
            Law::Uniform { least: 2.0, most: 1.0 },
            Law::Normal { mean: 1.0, deviation: f64::INFINITY },
            Law::LogNormal { mean: -1.0, deviation: 1.0 },
            Law::Exponential { mean: f64::NAN },
            Law::Weibull { scale: 1.0, shape: 0.0 },
            Law::Observed([].into()),
            Law::Trace([1.0, f64::NAN].into()),
        ] {
            assert!(law.check().is_err(), "{law:?}");
        }
    }

    proptest! {
        #[test]
        fn the_same_thing_has_the_same_sample(seed: u64, subject: u64, attempt in 0u32..5) {
            for law in laws() {
                let once = law.sample(&mut dice(seed, Of::Duration, subject, attempt), 1);
                prop_assert_eq!(once, law.sample(&mut dice(seed, Of::Duration, subject, attempt), 1));
                prop_assert!(once >= 0.0 && once.is_finite());
            }
        }
    }
}
