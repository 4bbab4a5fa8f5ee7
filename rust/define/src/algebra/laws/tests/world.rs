//! A semantics of states: steps that do something to two numbers, run in every order that a side of a law allows.
//! What is proven of them has to be so, and a counter-example has to be a trace of one side alone. Nothing here
//! uses what the laws are decided by.

use std::collections::{BTreeSet, HashSet};

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::super::trace::EVENTS;
use super::super::{Event, Form, LAWS, Verdict};
use super::verify_when;

/// What a step does: it looks when it starts, and does it when it ends. Assets are 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    /// Sets an asset to a number, or to what it is given.
    Put(usize, i64),
    /// Does so, and yields what was there.
    Swap(usize, i64),
    /// Sets one asset to what the other was.
    Carry(usize),
    /// Empties an asset when it starts, and fills it when it ends; what is not empty by then is spoilt.
    Rebuild(usize, i64),
    /// Sets an asset to one more than it was.
    Bump(usize),
    Add(usize, i64),
    Max(usize, i64),
    Read(usize),
    /// Yields one number or another.
    Guess,
    Pure(i64),
}

use Op::{Add, Bump, Carry, Guess, Max, Pure, Put, Read, Rebuild, Swap};

const EMPTY: i64 = -1;
const SPOILT: i64 = -7;

impl Op {
    fn reads(self) -> Option<usize> {
        match self {
            Read(x) | Bump(x) | Swap(x, _) => Some(x),
            Carry(x) => Some(1 - x),
            _ => None,
        }
    }

    fn writes(self) -> Option<usize> {
        match self {
            Put(x, _) | Swap(x, _) | Carry(x) | Bump(x) | Rebuild(x, _) | Add(x, _) | Max(x, _) => Some(x),
            Read(_) | Guess | Pure(_) => None,
        }
    }

    fn idempotent(self) -> bool {
        !matches!(self, Bump(_) | Add(..))
    }

    /// Whether two of them leave the same in any order and at the same time.
    fn commutes(self, other: Op) -> bool {
        let apart = |a: Op, b: Op| a.reads().is_none() || a.reads() != b.writes();
        let together = match (self, other) {
            (Add(..), Add(..)) | (Max(..), Max(..)) => true,
            _ => self.writes().is_none() || self.writes() != other.writes(),
        };
        apart(self, other) && apart(other, self) && together
    }

    fn name(self) -> String {
        format!("{self:?}").replace([' ', '(', ')'], "")
    }
}

/// A step of a letter: what it does, what it promises of that, and which earlier step it reads.
#[derive(Clone, Debug)]
struct Step {
    op: Op,
    /// Declares its accesses; says that it is idempotent, pure, and what it commutes with.
    says: [bool; 4],
    reads: Option<usize>,
}

impl Step {
    fn json(&self, number: usize, all: &[Step]) -> Json {
        let mut step = json!({"task": self.op.name(), "id": format!("s{number}")});
        let mut options = json!({});
        let name = |x: usize| ["x", "y/z"][x];
        if self.says[0] {
            step["reads"] = self
                .op
                .reads()
                .filter(|&x| self.op.writes() != Some(x))
                .map_or(json!([]), |x| json!([name(x)]));
            match self.op {
                Add(x, _) => step["reduces"] = json!({name(x): "add"}),
                Max(x, _) => step["reduces"] = json!({name(x): "max"}),
                Put(x, _) | Swap(x, _) | Carry(x) | Bump(x) | Rebuild(x, _) => {
                    step["writes"] = json!(["x", "y"][x])
                }
                _ => {}
            }
        }
        if self.says[1] && self.op.idempotent() {
            options["idempotent"] = json!(true);
        }
        if self.says[2] && matches!(self.op, Pure(_)) {
            options["pure"] = json!(true);
        }
        if self.says[3] {
            let all = all.iter().filter(|it| self.op.commutes(it.op)).map(|it| it.op.name());
            options["commutes_with"] = json!(all.collect::<BTreeSet<_>>());
        }
        step["options"] = options;
        step["args"] = self.reads.map_or(json!([]), |at| json!([{"$": format!("steps.s{at}")}]));
        step
    }

    /// Whether the promises of two steps say that they commute.
    fn promised(&self, other: &Step) -> bool {
        let nothing = |it: &Step| matches!(it.op, Pure(_)) && (it.says[2] || it.says[0]);
        let accesses = |it: &Step| it.says[0] || nothing(it);
        let named = (self.says[3] || other.says[3]) && self.op.commutes(other.op);
        named
            || nothing(self)
            || nothing(other)
            || (accesses(self) && accesses(other) && self.op.commutes(other.op))
    }

    fn may_repeat(&self) -> bool {
        (self.says[1] && self.op.idempotent())
            || (matches!(self.op, Pure(_)) && self.says[2])
            || (self.says[0] && self.op.writes().is_none())
    }
}

/// The steps of a letter by number, and whether they come one after another.
type Word = (Vec<usize>, bool);

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..2usize, 1..3i64).prop_map(|(x, k)| Put(x, k)),
        (0..2usize, 1..3i64).prop_map(|(x, k)| Swap(x, k)),
        (0..2usize).prop_map(Carry),
        (0..2usize, 1..3i64).prop_map(|(x, k)| Rebuild(x, k)),
        (0..2usize).prop_map(Bump),
        (0..2usize, 1..3i64).prop_map(|(x, k)| Add(x, k)),
        (0..2usize, 1..3i64).prop_map(|(x, k)| Max(x, k)),
        (0..2usize).prop_map(Read),
        Just(Guess),
        (1..3i64).prop_map(Pure),
    ]
}

/// A law, its letters, and all their steps.
fn cases() -> impl Strategy<Value = (usize, Vec<Word>, Vec<Step>)> {
    let says = prop_oneof![3 => Just([true; 4]), 2 => any::<[bool; 4]>()];
    let step = (ops(), says, proptest::option::weighted(0.3, 1..3usize));
    let letters = proptest::collection::vec((0..3usize, any::<bool>()), 4);
    // Those that always hold are more than enough as they are.
    let free = LAWS.iter().filter(|law| law.needs.is_empty()).count();
    let laws = prop_oneof![1 => 0..free, 5 => free..LAWS.len()];
    (laws, letters, proptest::collection::vec(step, 8)).prop_map(|(law, sizes, steps)| {
        let steps: Vec<Step> = steps
            .into_iter()
            .enumerate()
            .map(|(at, (op, says, reads))| Step {
                op,
                says,
                reads: reads.and_then(|back| at.checked_sub(back)),
            })
            .collect();
        let mut next = 0;
        let mut letter = |(size, chain): (usize, bool)| {
            // Most letters are single steps, so that laws hold often enough.
            let size = if LAWS[law].letters == 1 { size + 1 } else { [1, 1, 2][size] };
            next += size;
            ((next - size..next).collect(), chain)
        };
        (law, sizes.into_iter().map(&mut letter).collect(), steps)
    })
}

/// An occurrence of a step: its number and its copy of the letter.
#[derive(Clone, Debug)]
struct Node {
    step: usize,
    copy: usize,
    /// Nodes that come before it.
    before: BTreeSet<usize>,
}

/// Lays out a side, once its condition is decided. The number `steps.len()` stands for the condition.
fn side(form: &Form, letters: &[Word], steps: &[Step], holds: bool) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut copies = 0;
    lay(form, letters, steps, holds, &mut nodes, &mut copies);
    // What is read comes before: in the same copy, or else what is there already.
    for _ in 0..nodes.len() {
        for at in 0..nodes.len() {
            let above: BTreeSet<usize> =
                nodes[at].before.iter().flat_map(|&it| nodes[it].before.clone()).collect();
            nodes[at].before.extend(above);
            if let Some(from) = source(&nodes, steps, at) {
                nodes[at].before.insert(from);
            }
        }
    }
    nodes
}

fn source(nodes: &[Node], steps: &[Step], at: usize) -> Option<usize> {
    let read = steps.get(nodes[at].step)?.reads?;
    let all = || (0..nodes.len()).filter(|&it| nodes[it].step == read);
    let own = all().find(|&it| nodes[it].copy == nodes[at].copy);
    own.or_else(|| all().rfind(|it| nodes[at].before.contains(it))).or_else(|| all().next())
}

fn lay(
    form: &Form,
    letters: &[Word],
    steps: &[Step],
    holds: bool,
    nodes: &mut Vec<Node>,
    copies: &mut usize,
) -> Vec<usize> {
    match form {
        Form::Letter(letter) => {
            let (word, chain) = &letters[usize::from(*letter)];
            *copies += 1;
            let first = nodes.len();
            for (at, &step) in word.iter().enumerate() {
                let before = if *chain { (first..first + at).collect() } else { BTreeSet::new() };
                nodes.push(Node { step, copy: *copies, before });
            }
            (first..nodes.len()).collect()
        }
        Form::Sequence(parts) => {
            let mut all: Vec<usize> = Vec::new();
            for part in *parts {
                let next = lay(part, letters, steps, holds, nodes, copies);
                next.iter().for_each(|&it| nodes[it].before.extend(&all));
                all.extend(next);
            }
            all
        }
        Form::Parallel(parts) => {
            parts.iter().flat_map(|it| lay(it, letters, steps, holds, nodes, copies)).collect()
        }
        Form::Choice(parts) => {
            let decision = nodes.len();
            nodes.push(Node { step: steps.len(), copy: 0, before: BTreeSet::new() });
            // Both branches are laid out, so that what they read outside is known; one of them is taken.
            let first = lay(&parts[0], letters, steps, holds, nodes, copies);
            let second = lay(&parts[1], letters, steps, holds, nodes, copies);
            let within: BTreeSet<usize> = first.iter().chain(&second).map(|&it| nodes[it].step).collect();
            let outside: BTreeSet<usize> =
                within.iter().filter_map(|&it| steps[it].reads).filter(|it| !within.contains(it)).collect();
            let waits = (0..decision).filter(|&it| outside.contains(&nodes[it].step)).collect::<Vec<_>>();
            nodes[decision].before.extend(waits);
            let mut taken = if holds { first } else { second };
            taken.iter().for_each(|&it| {
                nodes[it].before.insert(decision);
            });
            let gone: Vec<usize> = (decision + 1..nodes.len()).filter(|it| !taken.contains(it)).collect();
            for &it in gone.iter().rev() {
                nodes.remove(it);
                let moved = |at: usize| if at > it { at - 1 } else { at };
                nodes
                    .iter_mut()
                    .for_each(|node| node.before = node.before.iter().map(|&at| moved(at)).collect());
                taken.iter_mut().for_each(|at| *at = moved(*at));
            }
            taken.push(decision);
            taken
        }
    }
}

/// A run so far: of each node whether it has started (1) or ended (2), what it saw, and what it yields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Run {
    state: Vec<u8>,
    saw: Vec<i64>,
    yields: Vec<i64>,
    assets: [i64; 2],
}

/// All that the assets may be in the end.
fn ends(nodes: &[Node], steps: &[Step], assets: [i64; 2]) -> BTreeSet<[i64; 2]> {
    let count = nodes.len();
    let mut stack = vec![Run { state: vec![0; count], saw: vec![0; count], yields: vec![0; count], assets }];
    let (mut found, mut seen) = (BTreeSet::new(), HashSet::new());
    while let Some(run) = stack.pop() {
        if !seen.insert(run.clone()) {
            continue;
        }
        if run.state.iter().all(|&it| it == 2) {
            found.insert(run.assets);
        }
        for at in 0..count {
            let mut next = run.clone();
            next.state[at] += 1;
            let Some(step) = steps.get(nodes[at].step) else {
                if run.state[at] == 0 && nodes[at].before.iter().all(|&it| run.state[it] == 2) {
                    next.state[at] = 2;
                    stack.push(next);
                }
                continue;
            };
            match run.state[at] {
                0 if nodes[at].before.iter().all(|&it| run.state[it] == 2) => {
                    next.saw[at] = step.op.reads().map_or(0, |x| run.assets[x]);
                    if let Rebuild(x, _) = step.op {
                        next.assets[x] = EMPTY;
                    }
                }
                1 => {
                    let given = source(nodes, steps, at).map(|it| run.yields[it]);
                    let saw = run.saw[at];
                    next.yields[at] = saw;
                    match step.op {
                        Put(x, k) => next.assets[x] = given.unwrap_or(k),
                        Swap(x, k) => next.assets[x] = given.unwrap_or(k),
                        Carry(x) => next.assets[x] = saw,
                        Bump(x) => next.assets[x] = saw + 1,
                        Rebuild(x, k) => {
                            next.assets[x] = if run.assets[x] == EMPTY { given.unwrap_or(k) } else { SPOILT };
                        }
                        Add(x, k) => next.assets[x] += k,
                        Max(x, k) => next.assets[x] = next.assets[x].max(given.unwrap_or(k)),
                        Read(_) => {}
                        Guess => {
                            next.yields[at] = 1;
                            stack.push(next.clone());
                            next.yields[at] = 2;
                        }
                        Pure(k) => next.yields[at] = given.unwrap_or(0) + k,
                    }
                }
                _ => continue,
            }
            stack.push(next);
        }
    }
    found
}

/// A trace by numbers of steps: whether each starts (or ends) there; the condition only starts.
type Events = Vec<(usize, bool)>;

fn is_trace(nodes: &[Node], condition: usize, word: &[(usize, bool)]) -> bool {
    fn go(nodes: &[Node], condition: usize, word: &[(usize, bool)], state: &mut Vec<u8>) -> bool {
        let Some(&(step, start)) = word.first() else { return state.iter().all(|&it| it == 2) };
        for at in (0..nodes.len()).filter(|&at| nodes[at].step == step) {
            let before = state[at];
            let free = nodes[at].before.iter().all(|&it| state[it] == 2);
            state[at] = match (start, before) {
                (true, 0) if free => 1 + u8::from(step == condition),
                (false, 1) => 2,
                _ => continue,
            };
            if go(nodes, condition, &word[1..], state) {
                return true;
            }
            state[at] = before;
        }
        false
    }
    go(nodes, condition, word, &mut vec![0; nodes.len()])
}

/// All that a trace is by the promises: neighbours exchanged, and repetitions left out or put in.
fn equals(word: &Events, steps: &[Step], longest: usize) -> HashSet<Events> {
    let commute = |a: usize, b: usize| match (steps.get(a), steps.get(b)) {
        (Some(a), Some(b)) => a.promised(b),
        // The condition reads an input.
        _ => true,
    };
    let mut found = HashSet::new();
    let mut stack = vec![word.clone()];
    while let Some(word) = stack.pop() {
        if !found.insert(word.clone()) {
            continue;
        }
        for at in 0..word.len().saturating_sub(1) {
            let ((a, starts), (b, ends)) = (word[at], word[at + 1]);
            if commute(a, b) && (a != b || (starts, ends) != (true, false)) {
                let mut next = word.clone();
                next.swap(at, at + 1);
                stack.push(next);
            }
            if a == b && starts && !ends && steps.get(a).is_some_and(Step::may_repeat) {
                if word[at + 2..].starts_with(&[(a, true), (a, false)]) {
                    stack.push([&word[..at], &word[at + 2..]].concat());
                }
                if word.len() + 2 <= longest {
                    stack.push([&word[..at], &[(a, true), (a, false)], &word[at..]].concat());
                }
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1000)
    ))]

    /// Req: P1.4
    #[test]
    fn what_is_proven_is_so_and_a_counter_example_is_a_trace_of_one_side((law, letters, steps) in cases()) {
        let law = &LAWS[law];
        let letters = &letters[..law.letters.into()];
        let term = |(word, chain): &Word| {
            let steps: Vec<Json> = word.iter().map(|&at| steps[at].json(at, &steps)).collect();
            json!({if *chain { "sequence" } else { "parallel" }: steps})
        };
        let terms: Vec<Json> = letters.iter().map(term).collect();
        // What is read from outside the terms is there already, and nothing is known of it.
        let used: BTreeSet<usize> = letters.iter().flat_map(|(word, _)| word.clone()).collect();
        prop_assume!(used.iter().all(|&at| steps[at].reads.is_none_or(|it| used.contains(&it))));
        let Ok(proof) = verify_when(law.name, &terms, "input.c") else { return Ok(()) };
        let sides = |holds| [law.left, law.right].map(|form| side(&form, letters, &steps, holds));
        if proof.verdict.holds() {
            prop_assert!(proof.counter_example.is_none());
            for holds in [true, false] {
                let [left, right] = sides(holds);
                for start in [[0, 0], [5, 3]] {
                    prop_assert_eq!(ends(&left, &steps, start), ends(&right, &steps, start), "{:?}", proof);
                }
            }
            return Ok(());
        }
        prop_assert!([Verdict::False, Verdict::Unpromised].contains(&proof.verdict));
        let Some(trace) = &proof.counter_example else {
            let longest = sides(true).iter().map(|side| 2 * side.len()).max();
            prop_assert!(longest > Some(EVENTS), "{:?}", proof);
            return Ok(());
        };
        let number = |id: &str| id[1..].parse::<usize>().unwrap();
        let mut holds = true;
        let word: Events = trace.events.iter().map(|event| match event {
            Event::Start(id) => (number(id), true),
            Event::End(id) => (number(id), false),
            Event::Decide(it) => {
                holds = *it;
                (steps.len(), true)
            }
        }).collect();
        let [left, right] = sides(holds);
        let (own, other) = if trace.left { (&left, &right) } else { (&right, &left) };
        prop_assert!(is_trace(own, steps.len(), &word), "{:?}", proof);
        prop_assert!(!is_trace(other, steps.len(), &word), "{:?}", proof);
        // Nor is anything that the promises make of it.
        let valueless = used.iter().all(|&at| steps[at].reads.is_none());
        let bare = |word: &Events| word.iter().copied().filter(|it| it.0 < steps.len()).collect::<Events>();
        if valueless && word.len() <= 8 {
            let longest = 2 * other.iter().filter(|it| it.step < steps.len()).count();
            let longest = longest.max(word.len());
            let other: Vec<Node> = other.clone();
            for word in equals(&bare(&word), &steps, longest) {
                // The condition may be looked at whenever the other side does.
                let with = (0..=word.len()).map(|at| [&word[..at], &[(steps.len(), true)], &word[at..]].concat());
                let all = with.chain([word.clone()]);
                for word in all {
                    prop_assert!(!is_trace(&other, steps.len(), &word), "{:?} as {:?}", proof, word);
                }
            }
        }
    }
}
