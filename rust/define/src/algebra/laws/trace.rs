//! Traces of a side, which of them mean the same, and one that the other side has not.
//!
//! A trace is a sequence of starts and ends. Two mean the same if they differ only by the order of neighbours
//! that commute, and by repetitions of what may be repeated. Each has a form that all its equals share: repetitions
//! are left out, and of what may come next the least comes first. So two sides mean the same if the forms of their
//! traces are the same.

use std::collections::BTreeMap;

use super::side::{Side, What};

/// Traces of so many events are enumerated, and so many of them.
pub(super) const EVENTS: usize = 10;
const TRACES: usize = 200_000;

/// An event of an occurrence; a decision has only a start.
pub(super) type Event = (usize, Phase);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Start,
    End,
}

/// What is known of steps by their labels, which equal steps share.
pub(super) struct Relations<'r> {
    pub label: &'r dyn Fn(What) -> u32,
    pub dependent: &'r dyn Fn(u32, u32) -> bool,
    /// Whether a repetition right after it changes nothing.
    pub merges: &'r dyn Fn(u32) -> bool,
    /// Whether a repetition changes nothing wherever it is.
    pub once: &'r dyn Fn(u32) -> bool,
    /// Whether it matters when the condition is looked at.
    pub decides: bool,
}

/// The form that all traces share that mean the same.
type Form = Vec<(u32, Phase)>;
type Traces = BTreeMap<Form, (usize, Vec<Event>)>;

impl Relations<'_> {
    fn form(&self, side: &Side, trace: &[Event]) -> Form {
        let label = |node: usize| (self.label)(side.nodes[node].what);
        let mut events: Vec<(usize, u32, Phase)> =
            trace.iter().map(|&(node, phase)| (node, label(node), phase)).collect();
        events.retain(|&(node, ..)| self.decides || side.nodes[node].what != What::Decision);
        let ends = events.clone();
        events.retain(|&(node, label, _)| {
            let first = ends.iter().find(|it| it.1 == label && it.2 == Phase::End);
            !(self.once)(label) || first.is_none_or(|first| first.0 == node)
        });
        while let Some(again) = self.repetition(&events) {
            events.retain(|&(node, ..)| node != again);
        }
        let mut form = Vec::with_capacity(events.len());
        while !events.is_empty() {
            let free = |at: &usize| !events[..*at].iter().any(|&before| self.ordered(before, events[*at]));
            let next = (0..events.len()).filter(free).min_by_key(|&at| (events[at].1, events[at].2));
            let Some(next) = next else { break };
            let (_, label, phase) = events.remove(next);
            form.push((label, phase));
        }
        form
    }

    /// Whether two events stay in the order in which they are.
    fn ordered(&self, a: (usize, u32, Phase), b: (usize, u32, Phase)) -> bool {
        a.0 == b.0 || (self.dependent)(a.1, b.1)
    }

    /// An occurrence that only repeats another, with nothing between them that could tell.
    fn repetition(&self, events: &[(usize, u32, Phase)]) -> Option<usize> {
        let after = self.after(events);
        let position = |node: usize, phase| events.iter().position(|it| (it.0, it.2) == (node, phase));
        for (at, &(one, label, phase)) in events.iter().enumerate() {
            if phase != Phase::Start || !(self.merges)(label) {
                continue;
            }
            for &(other, ..) in events[at + 1..].iter().filter(|it| it.1 == label && it.0 != one) {
                let Some(end) = position(one, Phase::End) else { continue };
                let (Some(from), Some(to)) = (position(other, Phase::Start), position(other, Phase::End))
                else {
                    continue;
                };
                if (self.dependent)(label, label) && end > from {
                    continue;
                }
                let own = [at, end, from, to];
                let between = (0..events.len()).any(|it| {
                    !own.contains(&it)
                        && own.iter().any(|&x| after[x][it])
                        && own.iter().any(|&x| after[it][x])
                });
                if !between {
                    return Some(other);
                }
            }
        }
        None
    }

    /// By event, those that stay after it.
    fn after(&self, events: &[(usize, u32, Phase)]) -> Vec<Vec<bool>> {
        let count = events.len();
        let mut after = vec![vec![false; count]; count];
        for at in (0..count).rev() {
            for next in at + 1..count {
                if self.ordered(events[at], events[next]) {
                    let row = after[next].clone();
                    after[at].iter_mut().zip(row).for_each(|(it, more)| *it |= more);
                    after[at][next] = true;
                }
            }
        }
        after
    }

    /// The traces of some occurrences of a side by their forms, each with the one that overlaps least; `None` if
    /// there are too many.
    fn traces(&self, side: &Side, kept: &[usize]) -> Option<Traces> {
        let events: usize = kept.iter().map(|&it| last(side, it) as usize + 1).sum();
        if events > EVENTS {
            return None;
        }
        let mut found = BTreeMap::new();
        let mut count = 0;
        let mut stack: Vec<Vec<Event>> = vec![Vec::new()];
        while let Some(trace) = stack.pop() {
            if trace.len() == events {
                count += 1;
                let it = (overlaps(&trace), trace);
                let best = found.entry(self.form(side, &it.1)).or_insert_with(|| it.clone());
                if it.0 < best.0 {
                    *best = it;
                }
                if count > TRACES {
                    return None;
                }
                continue;
            }
            let over = |node: usize| trace.contains(&(node, last(side, node)));
            let begun = |node: usize| trace.contains(&(node, Phase::Start));
            let free = |node: usize| kept.iter().all(|&it| !side.before(it, node) || over(it));
            let starts = kept.iter().rev().filter(|&&node| !begun(node) && free(node));
            let ends = kept.iter().rev().filter(|&&node| begun(node) && !over(node));
            let next = starts.map(|&it| (it, Phase::Start)).chain(ends.map(|&it| (it, Phase::End)));
            stack.extend(next.map(|event| trace.iter().copied().chain([event]).collect::<Vec<_>>()));
        }
        Some(found)
    }
}

/// How often a step starts while others go on.
fn overlaps(trace: &[Event]) -> usize {
    let mut open = 0usize;
    let mut found = 0;
    for (_, phase) in trace {
        match phase {
            Phase::Start => (found, open) = (found + open, open + 1),
            Phase::End => open -= 1,
        }
    }
    found
}

fn last(side: &Side, node: usize) -> Phase {
    if side.nodes[node].what == What::Decision { Phase::Start } else { Phase::End }
}

/// What is found where two sides are compared by some of their steps.
pub(super) enum Difference {
    /// All traces of each are traces of the other.
    None,
    /// A trace that only one side has; whether it is the left one's.
    Trace(bool, Vec<Event>),
    TooMany,
}

/// Compares two sides by the occurrences of some steps.
pub(super) fn compare(
    sides: [&Side; 2],
    kept: &dyn Fn(What) -> bool,
    relations: &Relations<'_>,
) -> Difference {
    let of = |side: &Side| {
        let kept: Vec<usize> = (0..side.nodes.len()).filter(|&at| kept(side.nodes[at].what)).collect();
        relations.traces(side, &kept)
    };
    let (Some(left), Some(right)) = (of(sides[0]), of(sides[1])) else { return Difference::TooMany };
    let alone = |one: &Traces, other: &Traces| {
        let alone = one.iter().filter(|(form, _)| !other.contains_key(*form)).map(|(_, found)| found);
        alone.min().map(|(_, trace)| trace.clone())
    };
    match (alone(&left, &right), alone(&right, &left)) {
        (None, None) => Difference::None,
        // What is done twice tells more than what is done once.
        (Some(left), Some(right)) if left.len() < right.len() => Difference::Trace(false, right),
        (Some(left), _) => Difference::Trace(true, left),
        (None, Some(right)) => Difference::Trace(false, right),
    }
}

/// A trace of the whole side in which some events come in a given order, and the rest as soon as it can.
pub(super) fn whole(side: &Side, given: &[Event]) -> Vec<Event> {
    let count = side.nodes.len();
    let (mut trace, mut done): (Vec<Event>, Vec<Option<Phase>>) = (Vec::new(), vec![None; count]);
    let mut turn = 0;
    loop {
        let over = |node: usize| done[node] == Some(last(side, node));
        let event = |node: usize| match done[node] {
            _ if over(node) => None,
            Some(_) => Some((node, Phase::End)),
            None => (0..count).all(|it| !side.before(it, node) || over(it)).then_some((node, Phase::Start)),
        };
        let is_given = |node: usize| given.iter().any(|it| it.0 == node);
        let mut events = (0..count).filter_map(event);
        let Some(next) = events.find(|it| !is_given(it.0) || given.get(turn) == Some(it)) else {
            return trace;
        };
        turn += usize::from(is_given(next.0));
        done[next.0] = Some(next.1);
        trace.push(next);
    }
}
