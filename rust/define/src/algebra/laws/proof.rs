//! What is found out about a law: proven, or refuted by a trace.

use super::schema::Law;

/// Whether a law holds for the terms that were given, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    pub law: &'static Law,
    pub verdict: Verdict,
    /// What the law needs, and how that stands. A law that always holds needs nothing.
    pub conditions: Vec<Condition>,
    /// What one side can do and the other can't. A law that is proven has none.
    pub counter_example: Option<Trace>,
}

/// Why a law counts as proven or refuted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Both sides have one normal form, or the law needs nothing.
    Always,
    /// All that the law needs is promised.
    Conditions,
    /// Not all that the law needs is promised, but all traces of both sides come to the same.
    Traces,
    /// Something that the law needs is shown to be false.
    False,
    /// Something that the law needs is promised by nobody, and nothing shows that it is false.
    Unpromised,
}

impl Verdict {
    pub fn holds(self) -> bool {
        matches!(self, Verdict::Always | Verdict::Conditions | Verdict::Traces)
    }

    pub fn name(self) -> &'static str {
        match self {
            Verdict::Always => "always",
            Verdict::Conditions => "conditions",
            Verdict::Traces => "traces",
            Verdict::False => "false",
            Verdict::Unpromised => "unpromised",
        }
    }
}

/// How something that a law needs stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Kept,
    /// Nobody promises it.
    Missing,
    /// It is shown to be false.
    Broken,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Kept => "kept",
            State::Missing => "missing",
            State::Broken => "broken",
        }
    }
}

/// Something that a law needs, and how it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub needs: String,
    pub state: State,
    /// Why, by the steps concerned; where it is kept, at most `POINTS`.
    pub points: Vec<Point>,
    /// How many more there are.
    pub more: usize,
}

/// So many points of a condition are told.
pub const POINTS: usize = 20;

/// How one or two steps stand to what a law needs of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub steps: Vec<String>,
    pub state: State,
    /// The promise that keeps or breaks it: `pure`, `idempotent`, `commutes_with`, `accesses`, `values`,
    /// `variables`, `kind`; empty where there is none.
    pub by: &'static str,
    pub says: String,
}

/// A trace that one side of a law has and the other has not.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Whether it is the left side's.
    pub left: bool,
    pub events: Vec<Event>,
    /// The steps that matter: without all others the trace is still no trace of the other side.
    pub matters: Vec<String>,
    /// Whether the other steps are in it, too. They are left out of long ones.
    pub whole: bool,
    /// Why the other side has no traces at all, if that is so.
    pub stuck: Option<String>,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Start(String),
    End(String),
    /// The law's condition is found to hold or not.
    Decide(bool),
}

/// How a letter is called.
pub(super) fn letter(number: u8) -> &'static str {
    ["a", "b", "c", "d"][usize::from(number)]
}
