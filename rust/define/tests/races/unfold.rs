//! All instances of steps that executions of a definition may have, how they are ordered, and which
//! of them there are together in some execution. Slow, and as plain as may be.
//!
//! Choices are free, loops have up to two turns, an `each` has up to two iterations or as many as are written
//! down, what may be stopped is stopped anywhere, a recursion is gone into twice. Only instances that use
//! something are kept: the order between them is whole without the others.

use std::collections::BTreeSet;

use ferroflow_define::access::{Asset, Mode};
use ferroflow_define::value;
use ferroflow_define::{Binding, Block, Definition, Term};

use super::names::{self, Binder, Frame, Name, mix, number};
use super::shape::{Shapes, bindings, is_computed};

/// A set of instances.
type Set = u128;

/// More than this is too slow to go through: the definition is not looked at.
const INSTANCES: usize = 100;
const EXECUTIONS: usize = 4000;
const MOVES: usize = 64;

/// How often a recursion is gone into.
const DEEP: u32 = 2;

/// Which access of which step it is, in the definition. Steps are counted in their block.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) block: u32,
    pub(crate) step: u32,
    pub(crate) access: Which,
}

/// In place of a step: what is computed for a block's result, and the end of a block.
pub(crate) const COMPUTED: u32 = u32::MAX - 1;
pub(crate) const YIELDED: u32 = u32::MAX;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Which {
    Declared(u32),
    /// A value that is read because it is needed, as it is written.
    Implied(String),
}

#[derive(Debug)]
pub(crate) struct Use {
    pub(crate) place: Place,
    pub(crate) mode: Mode,
    pub(crate) name: Name,
}

/// An instance of a step.
#[derive(Debug)]
pub(crate) struct Instance {
    /// The same for the same instance in another definition with these steps.
    pub(crate) key: u64,
    /// All instances that are over when it starts.
    pub(crate) before: Set,
    pub(crate) uses: Vec<Use>,
    /// The `first` that it is in, each with the branch.
    pub(crate) branches: Vec<(u64, usize)>,
}

/// A definition's instances.
pub(crate) struct Unfolded {
    pub(crate) instances: Vec<Instance>,
    /// All executions, and the beginnings of some.
    pub(crate) executions: Vec<Set>,
    /// By instance, those that there are with it in some execution.
    pub(crate) together: Vec<Set>,
}

struct Unfolding<'t> {
    shapes: Shapes<'t>,
    within: Vec<(Name, Name)>,
    instances: Vec<Instance>,
    branches: Vec<(u64, usize)>,
    deep: u32,
    full: bool,
}

/// The executions of a part.
type Runs = Vec<Set>;

/// All that may happen in a definition; none if that is too much.
pub(crate) fn unfold(definition: &Definition) -> Option<Unfolded> {
    let within = definition.assets.iter();
    let within =
        within.filter_map(|it| Some((names::plain(&it.name), names::plain(it.within.as_ref()?)))).collect();
    let mut unfolding = Unfolding {
        shapes: Shapes::new(definition),
        within,
        instances: vec![],
        branches: vec![],
        deep: 0,
        full: false,
    };
    let binder = Binder::Workflow(None);
    let mut executions = unfolding.block(&definition.body, None, binder, 1, 0);
    if unfolding.full {
        return None;
    }
    executions.sort_unstable();
    executions.dedup();
    let instances = unfolding.instances;
    let takes = instances.iter().flat_map(|it| &it.uses).filter(|it| it.mode == Mode::Takes).count();
    if takes > MOVES {
        return None;
    }
    let mut together = vec![0; instances.len()];
    for &all in &executions {
        each(all, |one| together[one] |= all);
    }
    Some(Unfolded { instances, executions, together })
}

pub(crate) fn each(set: Set, mut call: impl FnMut(usize)) {
    let mut left = set;
    while left != 0 {
        call(left.trailing_zeros() as usize);
        left &= left - 1;
    }
}

impl<'t> Unfolding<'t> {
    /// Adds an instance, if it uses anything.
    fn add(&mut self, key: u64, before: Set, uses: Vec<Use>) -> Set {
        if uses.is_empty() || self.full {
            return 0;
        }
        if self.instances.len() == INSTANCES {
            self.full = true;
            return 0;
        }
        self.instances.push(Instance { key, before, uses, branches: self.branches.clone() });
        1 << (self.instances.len() - 1)
    }

    /// One that reads values.
    fn reads(&mut self, key: u64, before: Set, (block, step): (u32, u32), mut names: Vec<Name>) -> Set {
        names.sort_by_key(|name| names::written(name));
        names.dedup();
        let one = |name: Name| Use {
            place: Place { block, step, access: Which::Implied(names::written(&name)) },
            mode: Mode::Reads,
            name,
        };
        let uses = names.into_iter().map(one).collect();
        self.add(key, before, uses)
    }

    /// An instance of a block, and the executions that it has by itself.
    fn block(
        &mut self,
        block: &'t Block,
        up: Option<&Frame<'_, 't>>,
        binder: Binder<'t>,
        instance: u64,
        before: Set,
    ) -> Runs {
        let shape = &self.shapes.of[&(block as *const Block)];
        let (number, steps, order) = (shape.number, shape.steps.clone(), shape.before.clone());
        let (ids, last) = (shape.ids.clone(), shape.last.clone());
        let frame = Frame { up, block, steps: &ids, instance, binder };
        let mut done: u64 = 0;
        let mut all: Vec<Set> = vec![0; steps.len()];
        let mut runs: Runs = vec![0];
        let begun = self.instances.len();
        while let Some(at) = (0..steps.len()).find(|&at| done >> at & 1 == 0 && order[at] & !done == 0) {
            let mut over = before;
            each(order[at].into(), |earlier| over |= all[earlier]);
            let first = self.instances.len();
            let mut those = self.step(steps[at], (number, at as u32), &frame, over);
            all[at] = span(first, self.instances.len());
            those = self.both(&runs, &those);
            runs = those;
            done |= 1 << at;
        }
        assert_eq!(done.count_ones() as usize, steps.len(), "no cycles");
        let ends = mix(instance, 3);
        let mut names = Vec::new();
        match &block.result {
            None => {
                let of = |id: &&str| {
                    vec![names::Seg::Value(names::Root(names::What::Step((*id).to_owned()), instance))]
                };
                names.extend(last.iter().map(of));
            }
            Some(result) if is_computed(result) => {
                let mut over = before;
                bindings(result, &mut |expr| {
                    for reference in expr.references().iter().filter(|it| &*it.root == "steps") {
                        let read = ids.iter().position(|&id| Some(id) == reference.member.as_deref());
                        let Some(read) = read else { continue };
                        each((order[read] | 1 << read).into(), |earlier| over |= all[earlier]);
                    }
                });
                let mut reads = Vec::new();
                frame.reads(result, &mut reads);
                let computed = self.reads(mix(instance, 4), over, (number, COMPUTED), reads);
                runs.iter_mut().for_each(|run| *run |= computed);
                names.push(vec![names::Seg::Value(names::Root(
                    names::What::Step("$result".to_owned()),
                    instance,
                ))]);
            }
            Some(result) => frame.reads(result, &mut names),
        }
        let over = before | span(begun, self.instances.len());
        let yielded = self.reads(ends, over, (number, YIELDED), names);
        runs.iter_mut().for_each(|run| *run |= yielded);
        runs
    }

    /// The executions of two parts that are both there.
    fn both(&mut self, one: &Runs, two: &Runs) -> Runs {
        if one.len() * two.len() > EXECUTIONS {
            self.full = true;
        }
        if self.full {
            return vec![0];
        }
        distinct(one.iter().flat_map(|a| two.iter().map(move |b| a | b)).collect())
    }

    /// What may have happened when something is stopped: all that came before anything that has.
    fn stopped(&mut self, runs: &Runs) -> Runs {
        let mut found = Vec::new();
        for &run in runs {
            let mut some: Runs = vec![0];
            each(run, |one| {
                let before = self.instances[one].before & run;
                let more: Runs =
                    some.iter().filter(|&it| before & !it == 0).map(|it| it | 1 << one).collect();
                if some.len() + more.len() < EXECUTIONS {
                    some.extend(more);
                } else {
                    self.full = true;
                }
            });
            found.extend(some);
            found = distinct(found);
            self.full |= found.len() > EXECUTIONS;
            if self.full {
                return vec![0];
            }
        }
        found
    }

    /// An instance of a step with all that is in it.
    fn step(&mut self, step: &'t Term, at: (u32, u32), frame: &Frame<'_, 't>, before: Set) -> Runs {
        if self.full {
            return vec![0];
        }
        let instance = mix(frame.instance, number(step.id().expect("a step")));
        let inner = |branch: u64| mix(instance, 100 + branch);
        let mut names = Vec::new();
        match step {
            Term::Activity(activity) => {
                let mut uses = Vec::new();
                for (index, access) in activity.access.iter().flat_map(|it| it.iter()).enumerate() {
                    let name = match &access.asset {
                        Asset::Named(template) => {
                            Some(frame.named(template, &self.within, mix(instance, 50 + index as u64)))
                        }
                        Asset::Value(expr) => frame.value(expr),
                    };
                    let place = Place { block: at.0, step: at.1, access: Which::Declared(index as u32) };
                    uses.extend(name.map(|name| Use { place, mode: access.mode.clone(), name }));
                }
                let given = activity.args.iter().chain(activity.kwargs.iter().map(|it| &it.1));
                given.for_each(|binding| frame.reads(binding, &mut names));
                activity.set.iter().for_each(|(_, expr)| frame.read(expr, &mut names));
                for name in names {
                    let access = Which::Implied(names::written(&name));
                    let place = Place { block: at.0, step: at.1, access };
                    if uses.iter().all(|it: &Use| it.place != place) {
                        uses.push(Use { place, mode: Mode::Reads, name });
                    }
                }
                vec![self.add(instance, before, uses)]
            }
            Term::Sleep { duration, .. } => {
                frame.reads(duration, &mut names);
                vec![self.reads(instance, before, at, names)]
            }
            Term::Signal { .. } => vec![0],
            Term::Choice { branches, otherwise, .. } => {
                branches.iter().for_each(|(condition, _)| frame.read(condition, &mut names));
                let begin = self.reads(instance, before, at, names);
                let mut runs = if otherwise.is_none() { vec![0] } else { vec![] };
                for (branch, block) in (0..).zip(branches.iter().map(|it| &it.1).chain(otherwise)) {
                    runs.extend(self.block(block, Some(frame), Binder::None, inner(branch), before | begin));
                }
                self.both(&vec![begin], &runs)
            }
            Term::Timeout { body, .. } => self.block(body, Some(frame), Binder::None, inner(0), before),
            Term::Handler { body, handler, .. } => {
                let first = self.instances.len();
                let tried = self.block(body, Some(frame), Binder::None, inner(0), before);
                let over = before | span(first, self.instances.len());
                let caught = self.block(handler, Some(frame), Binder::Error, inner(1), over);
                let stopped = self.stopped(&tried);
                let mut runs = self.both(&stopped, &caught);
                runs.extend(tried);
                runs
            }
            Term::Loop { name, init, condition, body, max, .. } => {
                frame.reads(init, &mut names);
                // The condition sees the state as the turn does that it is the condition of.
                let mut over = before;
                let mut runs: Runs = vec![0];
                let mut all: Runs = vec![];
                for turn in 0..=max.unwrap_or(2).min(2) {
                    let instance = inner(u64::from(turn));
                    let seen = Frame {
                        up: Some(frame),
                        block: body,
                        steps: &[],
                        instance,
                        binder: Binder::State(name),
                    };
                    seen.read(condition, &mut names);
                    let first = self.instances.len();
                    let asked = self.reads(mix(instance, 5), over, at, std::mem::take(&mut names));
                    runs = self.both(&runs, &vec![asked]);
                    all.extend(&runs);
                    if turn < max.unwrap_or(2).min(2) {
                        let turned =
                            self.block(body, Some(frame), Binder::State(name), instance, over | asked);
                        runs = self.both(&runs, &turned);
                    }
                    over |= span(first, self.instances.len());
                }
                all
            }
            Term::Each { name, items, body, limit, .. } => {
                frame.reads(items, &mut names);
                let begin = self.reads(instance, before, at, names);
                let known = match items {
                    Binding::Const(bytes) => value::elements(bytes).expect("well-formed").map(|it| it.len()),
                    Binding::List(items) => Some(items.len()),
                    _ => None,
                };
                let mut over = before | begin;
                let mut runs: Runs = vec![begin];
                let mut all: Runs = if known.is_none() { runs.clone() } else { vec![] };
                for turn in 0..known.unwrap_or(2) {
                    let first = self.instances.len();
                    let binder = Binder::Item(name, items);
                    let turned = self.block(body, Some(frame), binder, inner(turn as u64), over);
                    runs = self.both(&runs, &turned);
                    if known.is_none() {
                        all.extend(&runs);
                    }
                    if *limit == Some(1) {
                        over |= span(first, self.instances.len());
                    }
                }
                if known.is_some() { runs } else { all }
            }
            Term::Scope { workflow, inputs, body, .. } => {
                inputs.iter().for_each(|(_, it)| frame.reads(it, &mut names));
                let begin = self.reads(instance, before, at, names);
                let given = (!self.shapes.again.contains(&**workflow)).then_some(&inputs[..]);
                let binder = Binder::Workflow(given);
                let runs = self.block(body, Some(frame), binder, inner(0), before | begin);
                self.both(&vec![begin], &runs)
            }
            Term::Recursion { workflow, inputs, max_depth, .. } => {
                inputs.iter().for_each(|(_, it)| frame.reads(it, &mut names));
                let begin = self.reads(instance, before, at, names);
                if self.deep >= DEEP.min(*max_depth) {
                    return vec![begin];
                }
                self.deep += 1;
                let body = self.shapes.bodies[&**workflow];
                let binder = Binder::Workflow(None);
                let runs = self.block(body, Some(frame), binder, inner(0), before | begin);
                self.deep -= 1;
                self.both(&vec![begin], &runs)
            }
            Term::First { count, branches, .. } => {
                // Of executions of the branches so far: how many are whole.
                let mut runs: BTreeSet<(u32, Set)> = [(0, 0)].into();
                for (branch, block) in branches.iter().enumerate() {
                    self.branches.push((instance, branch));
                    let whole = self.block(block, Some(frame), Binder::None, inner(branch as u64), before);
                    self.branches.pop();
                    let stopped = self.stopped(&whole);
                    let more = whole.iter().map(|&run| (1, run)).chain(stopped.iter().map(|&run| (0, run)));
                    let more: Vec<(u32, Set)> = more.collect();
                    if more.len() * runs.len() > EXECUTIONS {
                        self.full = true;
                        return vec![0];
                    }
                    runs =
                        runs.iter().flat_map(|a| more.iter().map(move |b| (a.0 + b.0, a.1 | b.1))).collect();
                }
                distinct(runs.into_iter().filter(|it| it.0 >= *count).map(|it| it.1).collect())
            }
            Term::Sequence(_) | Term::Parallel(_) | Term::Partial { .. } => unreachable!("they are no steps"),
        }
    }
}

fn distinct(mut runs: Runs) -> Runs {
    runs.sort_unstable();
    runs.dedup();
    runs
}

/// The instances from one number up to another.
fn span(from: usize, to: usize) -> Set {
    ((1 << to) - 1) & !((1 << from) - 1)
}
