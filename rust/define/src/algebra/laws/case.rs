//! A law with terms for its letters: its conditions, and the search for a counter-example.

use std::cell::RefCell;
use std::collections::HashMap;

use super::Sides;
use super::letter::{Atom, Letters, Step, Variables, same};
use super::promise::{commute, idempotent, repeating, repeats};
use super::proof::{Condition, Event, POINTS, Point, Proof, State, Trace, Verdict};
use super::schema::{Law, Need};
use super::side::{Side, What, sources};
use super::trace::{self, Difference, Phase, Relations, compare};
use crate::algebra::term::Block;
use crate::expr::Expr;

/// Traces with more events are told without the steps that do not matter.
const TOLD: usize = 60;

/// The label of the law's condition.
const DECISION: u32 = u32::MAX;

/// A step by letter and place.
type At = (usize, usize);

pub(super) struct Case<'c> {
    law: &'static Law,
    letters: Letters,
    when: &'c Expr,
    sides: Vec<Sides>,
    /// Why the left side, and the right one, can't run.
    stuck: [Option<String>; 2],
    blocks: &'c [Block],
    /// Steps that the condition reads.
    decided_by: Vec<At>,
    variables: Variables,
    /// A step of each label.
    steps: HashMap<u32, At>,
    dependent: RefCell<HashMap<(u32, u32), bool>>,
}

/// A condition, and the sets of steps that do not meet it; `true`: together with the law's condition.
struct Finding {
    condition: Condition,
    culprits: Vec<(Vec<At>, bool)>,
}

impl Finding {
    fn add(&mut self, points: Vec<Point>, steps: &[At], decision: bool) {
        if points.iter().any(|it| it.state != State::Kept) {
            self.culprits.push((steps.to_vec(), decision));
        }
        for point in points {
            let it = &mut self.condition;
            it.state = it.state.max(point.state);
            // What is wrong is told before what is well.
            let place = it.points.iter().position(|other| other.state < point.state);
            it.points.insert(place.unwrap_or(it.points.len()), point);
            if it.points.len() > POINTS {
                it.points.pop();
                it.more += 1;
            }
        }
    }
}

impl<'c> Case<'c> {
    pub(super) fn new(
        law: &'static Law,
        letters: Letters,
        when: &'c Expr,
        sides: Vec<Sides>,
        stuck: [Option<String>; 2],
        blocks: &'c [Block],
    ) -> Self {
        let steps = letters.every().map(|at| (letters.label(at), at)).collect();
        let (decided_by, variables) = (sources(when, &letters), Variables::of(when));
        let dependent = RefCell::default();
        Self { law, letters, when, sides, stuck, blocks, decided_by, variables, steps, dependent }
    }

    pub(super) fn proof(&self) -> Proof {
        let stuck = self.stuck.iter().any(Option::is_some);
        if !stuck && (self.law.needs.is_empty() || self.one_form()) {
            return self.told(Verdict::Always, Vec::new(), None);
        }
        let findings: Vec<Finding> = self.law.needs.iter().map(|need| self.finding(need)).collect();
        let state = findings.iter().map(|it| it.condition.state).max().unwrap_or(State::Kept);
        let (conditions, culprits): (Vec<_>, Vec<_>) =
            findings.into_iter().map(|it| (it.condition, it.culprits)).unzip();
        let verdict = match state {
            _ if stuck => Verdict::False,
            State::Kept => return self.told(Verdict::Conditions, conditions, None),
            State::Missing => Verdict::Unpromised,
            State::Broken => Verdict::False,
        };
        if stuck {
            let trace = self.only_side();
            return self.told(verdict, conditions, trace);
        }
        let labels = |(steps, decision): &(Vec<At>, bool)| {
            let labels = steps.iter().map(|&at| self.letters.label(at));
            labels.chain(decision.then_some(DECISION)).collect::<Vec<u32>>()
        };
        let parts = culprits.iter().flatten().map(labels);
        for part in parts {
            if let Ok(Some(trace)) = self.difference(Some(&part)) {
                return self.told(verdict, conditions, Some(trace));
            }
        }
        match self.difference(None) {
            Ok(None) => self.told(Verdict::Traces, conditions, None),
            Ok(trace) => self.told(verdict, conditions, trace),
            Err(()) => self.told(verdict, conditions, None),
        }
    }

    fn told(&self, verdict: Verdict, conditions: Vec<Condition>, counter_example: Option<Trace>) -> Proof {
        Proof { law: self.law, verdict, conditions, counter_example }
    }

    fn one_form(&self) -> bool {
        same(self.law.left.filled(self.blocks, self.when), self.law.right.filled(self.blocks, self.when))
    }

    // ---- conditions

    fn finding(&self, need: &Need) -> Finding {
        let condition = Condition { needs: need.to_string(), state: State::Kept, points: vec![], more: 0 };
        let mut found = Finding { condition, culprits: Vec::new() };
        match *need {
            Need::Idempotent(letter) => self.idempotent(&mut found, letter.into()),
            Need::Repeats(letter) => {
                for at in self.letters.of(letter.into()).filter(|&at| self.is_read(at, |by| by != at.0)) {
                    found.add(vec![repeating(self.letters.step(at), &self.named(at, at))], &[at], false);
                }
            }
            Need::Commute(a, b) => self.commuting(&mut found, a.into(), b.into()),
            Need::Unread(a, b) => {
                for reader in self.letters.of(b.into()) {
                    for &at in self.letters.sources(reader).iter().filter(|at| at.0 == usize::from(a)) {
                        let names = vec![self.letters.name(at), self.letters.name(reader)];
                        let says = format!("`{}` reads what `{}` yields", names[1], names[0]);
                        let point = Point { steps: names, state: State::Broken, by: "values", says };
                        found.add(vec![point], &[at, reader], true);
                    }
                }
            }
            Need::Undecided(letter) => {
                for at in self.letters.of(letter.into()) {
                    let point = self.decides(at);
                    found.add(point.into_iter().collect(), &[at], true);
                }
            }
        }
        found
    }

    fn idempotent(&self, found: &mut Finding, letter: usize) {
        for at in self.letters.of(letter) {
            found.add(idempotent(self.letters.step(at), &self.named(at, at)), &[at], false);
            if self.is_read(at, |by| by == letter) {
                found.add(vec![repeating(self.letters.step(at), &self.named(at, at))], &[at], false);
            }
            for other in self.letters.of(letter).filter(|other| other.1 > at.1) {
                found.add(self.commute(at, other), &[at, other], false);
            }
        }
    }

    fn commuting(&self, found: &mut Finding, a: usize, b: usize) {
        for one in self.letters.of(a) {
            for other in self.letters.of(b).filter(|other| a != b || other.1 >= one.1) {
                let points = match a != b && (self.ordered(one, other) || self.ordered(other, one)) {
                    true => {
                        let steps = vec![self.letters.name(one), self.letters.name(other)];
                        let says = format!("values order `{}` and `{}` on both sides", steps[0], steps[1]);
                        vec![Point { steps, state: State::Kept, by: "values", says }]
                    }
                    false => self.commute(one, other),
                };
                found.add(points, &[one, other], false);
            }
        }
    }

    fn commute(&self, a: At, b: At) -> Vec<Point> {
        commute(self.letters.step(a), self.letters.step(b), &self.named(a, b))
    }

    /// How steps, and what is in them, are called.
    fn named(&self, a: At, b: At) -> impl Fn(&Step, Option<&Atom>) -> String + '_ {
        move |step, atom| {
            let at = if std::ptr::eq(step, self.letters.step(a)) { a } else { b };
            let name = self.letters.name(at);
            // The path of what is in it begins with its id.
            let letter = name.strip_suffix(&step.id).unwrap_or_default();
            atom.map_or_else(|| name.clone(), |atom| format!("{letter}{}", atom.path))
        }
    }

    /// Whether one step comes before another wherever they occur.
    fn ordered(&self, a: At, b: At) -> bool {
        let mut sides = self.sides.iter().flat_map(|it| [&it.left, &it.right]);
        sides.all(|side| {
            side.as_ref()
                .is_ok_and(|side| side.occurrences(a).all(|a| side.occurrences(b).all(|b| side.before(a, b))))
        })
    }

    /// Whether a step of certain letters, or the condition, reads what a step yields.
    fn is_read(&self, at: At, by: impl Fn(usize) -> bool) -> bool {
        let mut readers = self.letters.every().filter(|&it| by(it.0));
        readers.any(|it| self.letters.sources(it).contains(&at))
            || (self.decided_by.contains(&at) && by(usize::MAX))
    }

    /// Why it matters whether the law's condition is looked at before or after a step.
    fn decides(&self, at: At) -> Option<Point> {
        let name = self.letters.name(at);
        let broken = |by, says| Some(Point { steps: vec![name.clone()], state: State::Broken, by, says });
        if self.decided_by.contains(&at) {
            return broken("values", format!("the condition reads what `{name}` yields"));
        }
        let variable = self.letters.step(at).variables.feed(&self.variables)?;
        broken("variables", format!("the condition reads the variable {variable:?}, which `{name}` sets"))
    }

    // ---- traces

    /// A trace that only one side has, of the steps with some labels, or of all; an error if there are too many.
    fn difference(&self, part: Option<&[u32]>) -> Result<Option<Trace>, ()> {
        let label = |what| match what {
            What::Step(letter, step) => self.letters.label((letter, step)),
            What::Decision => DECISION,
        };
        let kept = |what| part.is_none_or(|part| part.contains(&label(what)));
        let relations = Relations {
            label: &label,
            dependent: &|a, b| self.dependent(a, b),
            merges: &|label| self.repeatable(label, false),
            once: &|label| self.repeatable(label, true),
            decides: self.letters.every().any(|at| self.decides(at).is_some()),
        };
        for it in &self.sides {
            let (Ok(left), Ok(right)) = (&it.left, &it.right) else { continue };
            match compare([left, right], &kept, &relations) {
                Difference::None => {}
                Difference::TooMany => return Err(()),
                Difference::Trace(is_left, found) => {
                    let side = if is_left { left } else { right };
                    return Ok(Some(self.trace(side, is_left, it.holds, &found)));
                }
            }
        }
        Ok(None)
    }

    fn dependent(&self, a: u32, b: u32) -> bool {
        let key = (a.min(b), a.max(b));
        if let Some(&known) = self.dependent.borrow().get(&key) {
            return known;
        }
        let found = match (self.steps.get(&key.0), self.steps.get(&key.1)) {
            (Some(&a), Some(&b)) => {
                self.letters.reads(a, b)
                    || self.letters.reads(b, a)
                    || self.commute(a, b).iter().any(|it| it.state != State::Kept)
            }
            (Some(&at), None) => self.decides(at).is_some(),
            _ => true,
        };
        self.dependent.borrow_mut().insert(key, found);
        found
    }

    /// Whether a repetition of a step changes nothing; `anywhere`: not only where nothing has changed since.
    fn repeatable(&self, label: u32, anywhere: bool) -> bool {
        let Some(&at) = self.steps.get(&label) else { return false };
        let step = self.letters.step(at);
        let pure = repeats(step, false);
        let given =
            |source: &At| repeats(self.letters.step(*source), false) || !self.law.repeated(source.0 as u8);
        let same = self.letters.sources(at).iter().all(given);
        let idempotent = || idempotent(step, &self.named(at, at)).iter().all(|it| it.state == State::Kept);
        same && (pure || !anywhere && !self.is_read(at, |_| true) && idempotent())
    }

    fn trace(&self, side: &Side, left: bool, holds: bool, found: &[trace::Event]) -> Trace {
        let mut matters = Vec::new();
        for (node, _) in found {
            if let What::Step(letter, step) = side.nodes[*node].what {
                let name = self.letters.name((letter, step));
                if !matters.contains(&name) {
                    matters.push(name);
                }
            }
        }
        let whole = 2 * side.nodes.len() <= TOLD;
        let all = if whole { trace::whole(side, found) } else { found.to_vec() };
        Trace { left, events: self.events(side, holds, &all), matters, whole, stuck: None }
    }

    /// A trace of the side that can run.
    fn only_side(&self) -> Option<Trace> {
        let left = self.stuck[0].is_none();
        let it = self.sides.first()?;
        let side = if left { &it.left } else { &it.right }.as_ref().ok()?;
        let mut events = self.events(side, it.holds, &trace::whole(side, &[]));
        let whole = events.len() <= TOLD;
        events.truncate(TOLD);
        let stuck = self.stuck.iter().flatten().next().cloned();
        Some(Trace { left, events, matters: Vec::new(), whole, stuck })
    }

    fn events(&self, side: &Side, holds: bool, trace: &[trace::Event]) -> Vec<Event> {
        let event = |&(node, phase): &trace::Event| match (side.nodes[node].what, phase) {
            (What::Decision, _) => Event::Decide(holds),
            (What::Step(letter, step), Phase::Start) => Event::Start(self.letters.name((letter, step))),
            (What::Step(letter, step), Phase::End) => Event::End(self.letters.name((letter, step))),
        };
        trace.iter().map(event).collect()
    }
}
