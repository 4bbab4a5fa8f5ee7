//! How ready steps are ranked: each policy makes a number of what is known of a step, once, when the step
//! becomes ready. The smaller number goes first.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{Micros, Step};
use crate::state::Run;

/// What is known of a ready step by which it may be ranked: a priority class alone will do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Facts {
    /// From 0, critical, to 4, background.
    pub priority: u8,
    /// How long the step is expected to take, and whether its definition says so.
    pub expected: Micros,
    pub predicted: bool,
    /// The longest way from its beginning to the end of its run, in expected time.
    pub upward: Micros,
    /// When its run should have ended.
    pub deadline: Option<Micros>,
    /// What a policy outside the kernel makes of it, and its turn in a plan.
    pub rank: Option<f64>,
    pub turn: Option<f64>,
    /// The place where it is planned, or where its data is.
    pub home: Option<u32>,
}

impl From<u8> for Facts {
    fn from(priority: u8) -> Self {
        Self { priority, ..Self::default() }
    }
}

impl Run {
    /// How urgent a task's step is.
    pub fn priority_of(&self, step: Step) -> u8 {
        self.task(step).and_then(|task| task.options.priority).unwrap_or(self.head.priority)
    }

    /// What is known of a task's step, as far as the run knows it.
    pub fn facts(&self, step: Step) -> Facts {
        let place = self.place(step);
        let code = &self.program.blocks[place.block as usize];
        let own = self.task(step).map(|task| &task.options);
        let planned = if self.plan.is_empty() { None } else { self.plan.get(&(place.block, place.node)) };
        let ranked = if self.ranks.is_empty() { None } else { self.ranks.get(&step).copied() };
        Facts {
            priority: own.and_then(|it| it.priority).unwrap_or(self.head.priority),
            expected: code.expected[place.node as usize],
            predicted: own.is_some_and(|it| it.expected.is_some()),
            upward: code.upward[place.node as usize],
            deadline: self.head.terms.deadline.or(self.head.deadline),
            rank: ranked,
            turn: planned.map(|it| it.0),
            home: planned.and_then(|it| it.1),
        }
    }
}

/// What a fair share is a share of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Tenant,
    /// The first of a run's tags that has a weight, or else its first.
    Tag,
    Workflow,
    /// The priority classes, each of which gets something.
    Priority,
}

/// How ready steps are ranked. Where nothing else is said, steps of a more urgent class go first, and among
/// equals the one that was ready first.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Policy {
    /// First in, first out.
    #[default]
    Fifo,
    /// First in, first out, too; waiting for so long is worth a class.
    Priority {
        ageing: Micros,
    },
    /// The longest way to the end of the run first (Topcuoglu, Hariri and Wu, 2002). Here and in the next
    /// two, a second of rank is worth so many of waiting; 0: waiting is worth nothing.
    UpwardRank {
        ageing: u32,
    },
    /// The shortest expected time first, or the longest.
    ShortestFirst {
        ageing: u32,
    },
    LongestFirst {
        ageing: u32,
    },
    /// Each share gets expected time in proportion to its weight, by name, in thousandths (Waldspurger and
    /// Weihl, 1995: stride scheduling).
    FairShare {
        by: By,
        weights: BTreeMap<Arc<str>, u32>,
    },
    /// One step of each run in turn.
    RoundRobin,
    /// The step that leaves least of the resource of which it takes the largest part.
    BestFit,
    /// The earliest deadline of a run first, or where the time that is left to do is predicted, the least
    /// slack; what has none comes last.
    Deadline,
    /// The smallest demand first.
    MinMemory,
    MinCpu,
    /// A place takes first what has its data there, else by upward rank.
    DataLocality {
        ageing: u32,
    },
    /// The order of a plan, each place its own part first; who has nothing to do takes what is another's.
    /// What is in no plan comes last, by upward rank.
    Plan,
    /// Ranks that come from outside, with the steps.
    Given,
}

/// Shares of the priority classes whose weights nobody has given, in thousandths.
const CLASSES: [u32; 5] = [16_000, 8_000, 4_000, 2_000, 1_000];
/// What the classes are called.
pub const PRIORITIES: [&str; 5] = ["critical", "high", "normal", "low", "background"];

/// Behind all deadlines.
const NEVER: i64 = i64::MAX / 2;

impl Policy {
    pub fn name(&self) -> &'static str {
        match self {
            Policy::Fifo => "fifo",
            Policy::Priority { .. } => "priority",
            Policy::UpwardRank { .. } => "upward_rank",
            Policy::ShortestFirst { .. } => "shortest_first",
            Policy::LongestFirst { .. } => "longest_first",
            Policy::FairShare { .. } => "fair_share",
            Policy::RoundRobin => "round_robin",
            Policy::BestFit => "best_fit",
            Policy::Deadline => "deadline",
            Policy::MinMemory => "min_memory",
            Policy::MinCpu => "min_cpu",
            Policy::DataLocality { .. } => "data_locality",
            Policy::Plan => "plan",
            Policy::Given => "custom",
        }
    }

    /// The band of a step, before which those of lower ones go, and its rank in it.
    pub(super) fn rank(&self, facts: &Facts, since: Micros, demand: &Demanded) -> (u8, i64) {
        let band = facts.priority;
        let aged = |ageing: u32, rank: i64| match ageing {
            0 => rank,
            _ => since.saturating_add(rank.saturating_mul(i64::from(ageing))),
        };
        match self {
            Policy::Fifo | Policy::BestFit => (band, 0),
            Policy::Priority { ageing } => (0, since.saturating_add(ageing.saturating_mul(band.into()))),
            Policy::UpwardRank { ageing } | Policy::DataLocality { ageing } => {
                (band, aged(*ageing, -facts.upward))
            }
            Policy::ShortestFirst { ageing } => (band, aged(*ageing, facts.expected)),
            Policy::LongestFirst { ageing } => (band, aged(*ageing, -facts.expected)),
            // Within its share, a more urgent step goes first.
            Policy::FairShare { by: By::Priority, .. } => (0, 0),
            Policy::FairShare { .. } | Policy::RoundRobin => (0, band.into()),
            Policy::Deadline => {
                let left = match facts.predicted {
                    true => (facts.upward as f64 * margin(demand.load)) as i64,
                    false => 0,
                };
                (band, facts.deadline.map_or(NEVER, |at| at.saturating_sub(left).min(NEVER - 1)))
            }
            Policy::MinMemory => (band, demand.memory as i64),
            Policy::MinCpu => (band, demand.cpu as i64),
            Policy::Plan => (0, facts.turn.map_or(i64::MAX - facts.upward.max(0) / 4, ordered)),
            Policy::Given => (0, facts.rank.map_or(0, ordered)),
        }
    }

    /// Whether a step may be ranked behind all that come after it, for ever: then every kind of demand gets
    /// its turn.
    pub(super) fn outranks(&self) -> bool {
        !matches!(
            self,
            Policy::Fifo | Policy::Priority { .. } | Policy::FairShare { .. } | Policy::RoundRobin
        )
    }

    /// Whether shares get their turns by what they had.
    pub(super) fn shares(&self) -> bool {
        matches!(self, Policy::FairShare { .. } | Policy::RoundRobin)
    }

    /// Whether a place takes its own steps first.
    pub(super) fn places(&self) -> bool {
        matches!(self, Policy::DataLocality { .. } | Policy::Plan)
    }

    pub(super) fn weight(&self, share: &str, class: Option<u8>, own: Option<u32>) -> u32 {
        let given = match self {
            Policy::FairShare { weights, .. } => weights.get(share).copied(),
            _ => None,
        };
        given.or(class.map(|it| CLASSES[usize::from(it.min(4))])).or(own).unwrap_or(1000).max(1)
    }
}

/// What ranks need to know of a demand, and of what is in use.
pub(super) struct Demanded {
    pub memory: u64,
    pub cpu: u64,
    /// From 0 to 1: processors in use.
    pub load: f64,
}

/// By how much predictions are stretched where the load makes them uncertain.
pub fn margin(load: f64) -> f64 {
    match load {
        load if load > 0.8 => 1.3,
        load if load > 0.5 => 1.2,
        _ => 1.1,
    }
}

/// An integer that is in the order of the numbers.
fn ordered(rank: f64) -> i64 {
    // Either zero is zero.
    let bits = (rank + 0.0).to_bits() as i64;
    // Above all of them there is room for what has no rank.
    (bits ^ (((bits >> 63) as u64) >> 1) as i64) / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDLE: Demanded = Demanded { memory: 0, cpu: 0, load: 0.0 };

    /// Req: P3.97
    #[test]
    fn the_margin_grows_with_the_load() {
        assert_eq!([0.0, 0.5, 0.51, 0.8, 0.81, 1.0].map(margin), [1.1, 1.1, 1.2, 1.2, 1.3, 1.3]);
        let facts = Facts { deadline: Some(1000), upward: 100, predicted: true, ..Facts::default() };
        let slack = |load| Policy::Deadline.rank(&facts, 0, &Demanded { load, ..IDLE }).1;
        assert_eq!([0.0, 0.6, 0.9].map(slack), [890, 880, 870]);
    }

    /// Req: P6.142, P7.28
    #[test]
    fn deadlines_come_first_and_what_has_none_last() {
        let rank = |facts: Facts| Policy::Deadline.rank(&facts, 0, &IDLE).1;
        let due = |deadline| Facts { deadline: Some(deadline), ..Facts::default() };
        let long = |deadline| Facts { upward: 500, predicted: true, ..due(deadline) };
        assert!(rank(due(10)) < rank(due(20)));
        assert!(rank(long(300)) < rank(due(20)), "the least slack, where work is predicted");
        assert!(rank(due(i64::MAX)) < rank(Facts::default()));
    }

    proptest! {
        #[test]
        fn ranks_from_outside_keep_their_order(a: f64, b: f64) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert!(a > b || ordered(a) <= ordered(b));
            prop_assert_eq!(ordered(0.0), ordered(-0.0));
        }
    }
}
