//! What the letters of a law stand for: terms taken apart into steps, and what is in each of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::proof::letter;
use crate::access::{Asset, Template};
use crate::algebra::normal::Layout;
use crate::algebra::term::{Activity, Binding, Block, Definition, OnError, Term};
use crate::expr::{Expr, Reference};

/// A term by its steps and their order.
pub(super) struct Letter {
    pub steps: Vec<Step>,
    /// Pairs (before, after) of its own order; data orders besides.
    pub edges: Vec<(u32, u32)>,
}

/// A step of a term: a task, or a composite with all that is in it.
pub(super) struct Step {
    pub id: String,
    /// The step without its id, in normal form.
    pub hash: [u8; 32],
    pub atoms: Vec<Atom>,
    /// Steps that it reads, by id, in the order of its normal form.
    pub reads: Vec<Arc<str>>,
    pub variables: Variables,
    /// Whether it goes the same way each time it is given the same: nothing in it is cut off or tried.
    pub settled: bool,
}

/// Variables of the run that are read and set.
#[derive(Default)]
pub(super) struct Variables {
    reads: BTreeSet<Option<Arc<str>>>,
    sets: BTreeSet<Arc<str>>,
}

/// The least that can start and end by itself.
pub(super) struct Atom {
    /// The path of its step from the letter's block.
    pub path: String,
    pub kind: Kind,
    /// It may run more than once, for one item after another.
    pub again: bool,
    /// Something in its step reads what it yields.
    pub read: bool,
    /// What its bindings read.
    pub references: Vec<Reference>,
}

pub(super) enum Kind {
    /// With the assets that are the same for all who name them.
    Task(Box<Activity>),
    Sleep,
    Signal(String),
    /// A call of a workflow that is not in the term.
    Unknown(String),
}

impl Variables {
    pub(super) fn of(expr: &Expr) -> Self {
        let mut found = Self::default();
        found.read(expr.references());
        found
    }

    fn read<'r>(&mut self, references: impl IntoIterator<Item = &'r Reference>) {
        let found = references.into_iter().filter(|it| &*it.root == "vars");
        self.reads.extend(found.map(|it| it.member.clone()));
    }

    pub(super) fn set(&self) -> bool {
        !self.sets.is_empty()
    }

    /// A variable that these set and the others read or set.
    pub(super) fn disturb(&self, others: &Self) -> Option<&str> {
        let both = self.sets.iter().find(|name| others.sets.contains(*name));
        both.map(|name| &**name).or_else(|| self.feed(others))
    }

    /// A variable that these set and the others read.
    pub(super) fn feed(&self, others: &Self) -> Option<&str> {
        let any = others.reads.contains(&None);
        self.sets.iter().find(|name| any || others.reads.contains(&Some((*name).clone()))).map(|it| &**it)
    }
}

impl Atom {
    /// Whether it is in a composite, where names may mean something else.
    pub(super) fn inner(&self) -> bool {
        self.path.contains('/')
    }
}

impl Letter {
    /// Takes a term apart. The error is an expression that does not say which step it reads.
    pub(super) fn new(term: &Term) -> Result<Self, Expr> {
        let mut layout = Layout::default();
        layout.lay(term.clone());
        let (terms, edges) = layout.steps();
        let steps = terms.into_iter().map(Step::new).collect::<Result<_, _>>()?;
        Ok(Self { steps, edges })
    }

    pub(super) fn find(&self, id: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.id == id)
    }
}

impl Step {
    fn new(term: Term) -> Result<Self, Expr> {
        let id = term.id().unwrap_or_default().to_owned();
        let lone = lone(term);
        let (normal, hash) = (lone.normal(), lone.hash());
        let mut walk = Walk { settled: true, ..Walk::default() };
        walk.term(&normal.body.term, "", false);
        if let Some(expr) = walk.vague {
            return Err(expr);
        }
        for atom in &mut walk.atoms {
            // What is in a workflow that calls itself may run once more.
            (atom.again, atom.read) = (atom.again | walk.recursive, atom.read | walk.recursive);
            atom.read |= walk.inside.contains(atom.path.rsplit('/').next().unwrap_or_default());
        }
        let mut reads: Vec<Arc<str>> = Vec::new();
        for it in walk.references.iter().filter(|it| &*it.root == "steps") {
            reads.extend(it.member.clone().filter(|id| !reads.contains(id)));
        }
        let Walk { atoms, variables, settled, .. } = walk;
        Ok(Self { id, hash, atoms, reads, variables, settled })
    }
}

/// A workflow of nothing but a step.
fn lone(term: Term) -> Definition {
    let null = Binding::Const([0xc0u8].as_slice().into());
    Definition {
        name: String::new(),
        version: String::new(),
        description: String::new(),
        inputs: Vec::new(),
        assets: Vec::new(),
        closed: false,
        body: Block { term: Box::new(term), result: Some(null), locals: Vec::new() },
        on_error: OnError::FailFast,
        timeout: None,
    }
}

/// Whether two terms have one normal form.
pub(super) fn same(left: Term, right: Term) -> bool {
    lone(left).equivalent(&lone(right))
}

/// A walk through all that is in a step.
#[derive(Default)]
struct Walk {
    atoms: Vec<Atom>,
    /// What is read from outside the blocks that have been left.
    references: Vec<Reference>,
    variables: Variables,
    settled: bool,
    /// Ids of steps that are read inside.
    inside: BTreeSet<Arc<str>>,
    /// Names of assets that are local to the blocks round here.
    locals: Vec<Template>,
    /// Workflows round here.
    workflows: Vec<String>,
    recursive: bool,
    vague: Option<Expr>,
}

impl Walk {
    fn expr(&mut self, expr: &Expr) {
        if expr.references().iter().any(|it| &*it.root == "steps" && it.member.is_none()) {
            self.vague.get_or_insert(expr.clone());
        }
        self.variables.read(expr.references());
        self.references.extend_from_slice(expr.references());
    }

    fn binding(&mut self, binding: &Binding) {
        match binding {
            Binding::Const(_) => {}
            Binding::Expr(expr) => self.expr(expr),
            Binding::List(items) => items.iter().for_each(|it| self.binding(it)),
            Binding::Map(items) => items.iter().for_each(|(_, it)| self.binding(it)),
        }
    }

    fn block(&mut self, block: &Block, path: &str, again: bool) {
        let (locals, references) = (self.locals.len(), self.references.len());
        self.locals.extend(block.locals.iter().filter_map(|it| Template::parse(&it.name).ok()));
        // What is local is new each time, so that what goes through it is not looked at.
        self.settled &= block.locals.is_empty();
        self.term(&block.term, path, again);
        block.result.iter().for_each(|it| self.binding(it));
        self.locals.truncate(locals);
        let mut ids = BTreeSet::new();
        ids_of(&block.term, &mut ids);
        let (inside, outward): (Vec<_>, Vec<_>) =
            self.references.split_off(references).into_iter().partition(|it| {
                &*it.root == "steps" && it.member.as_ref().is_some_and(|id| ids.contains(&**id))
            });
        self.inside.extend(inside.into_iter().filter_map(|it| it.member));
        self.references.extend(outward);
    }

    fn term(&mut self, term: &Term, path: &str, again: bool) {
        let own = |id: &str| format!("{path}{id}");
        match term {
            Term::Sequence(terms) | Term::Parallel(terms) | Term::Partial { terms, .. } => {
                terms.iter().for_each(|it| self.term(it, path, again));
            }
            Term::Activity(activity) => self.activity(activity, own(&activity.id), again),
            Term::Sleep { id, duration } => {
                self.binding(duration);
                self.atom(own(id), Kind::Sleep, again);
            }
            Term::Signal { id, name } => self.atom(own(id), Kind::Signal(name.clone()), again),
            Term::Choice { id, branches, otherwise } => {
                for (at, (condition, block)) in branches.iter().enumerate() {
                    self.expr(condition);
                    self.block(block, &format!("{path}{id}/{at}/"), again);
                }
                if let Some(block) = otherwise {
                    self.block(block, &format!("{path}{id}/else/"), again);
                }
            }
            Term::Loop { id, init, condition, body, .. } => {
                self.binding(init);
                self.expr(condition);
                let first = self.atoms.len();
                self.block(body, &format!("{path}{id}/"), true);
                // What one iteration yields is what the next one gets.
                self.atoms[first..].iter_mut().for_each(|atom| atom.read = true);
            }
            Term::Each { id, items, body, .. } => {
                self.binding(items);
                self.block(body, &format!("{path}{id}/"), true);
            }
            Term::Scope { id, workflow, inputs, body } => {
                inputs.iter().for_each(|(_, it)| self.binding(it));
                self.workflows.push(workflow.clone());
                let inputs = std::mem::take(&mut self.references);
                self.block(body, &format!("{path}{id}/"), again);
                // It sees nothing of what is round it.
                self.references = inputs;
                self.workflows.pop();
            }
            Term::Recursion { id, workflow, inputs, .. } => {
                inputs.iter().for_each(|(_, it)| self.binding(it));
                self.recursive = true;
                if !self.workflows.contains(workflow) {
                    self.atom(own(id), Kind::Unknown(workflow.clone()), again);
                }
            }
            Term::Timeout { id, body, .. } => self.block(body, &format!("{path}{id}/"), again),
            Term::Handler { id, body, handler } => {
                self.settled = false;
                self.block(body, &format!("{path}{id}/"), again);
                self.block(handler, &format!("{path}{id}/catch/"), again);
            }
            Term::First { id, branches, .. } => {
                self.settled = false;
                for (at, block) in branches.iter().enumerate() {
                    self.block(block, &format!("{path}{id}/{at}/"), again);
                }
            }
        }
    }

    fn atom(&mut self, path: String, kind: Kind, again: bool) {
        self.atoms.push(Atom { path, kind, again, read: false, references: Vec::new() });
    }

    fn activity(&mut self, activity: &Activity, path: String, again: bool) {
        let before = self.references.len();
        activity.args.iter().for_each(|it| self.binding(it));
        activity.kwargs.iter().for_each(|(_, it)| self.binding(it));
        for (name, expr) in &activity.set {
            self.variables.sets.insert(name.as_str().into());
            self.expr(expr);
        }
        let mut activity = activity.clone();
        if let Some(access) = &activity.access {
            for it in access.iter() {
                match &it.asset {
                    Asset::Named(template) => template.holes().for_each(|hole| self.expr(hole)),
                    Asset::Value(expr) => self.expr(expr),
                }
            }
            let local = |it: &Asset| match it {
                Asset::Named(name) => self.locals.iter().any(|local| name.parts.starts_with(&local.parts)),
                Asset::Value(_) => false,
            };
            let shared = access.iter().filter(|it| !local(&it.asset)).cloned().collect();
            activity.access = Some(shared);
        }
        let references = self.references[before..].to_vec();
        let kind = Kind::Task(Box::new(activity));
        self.atoms.push(Atom { path, kind, again, read: false, references });
    }
}

fn ids_of(term: &Term, out: &mut BTreeSet<String>) {
    match term {
        Term::Sequence(terms) | Term::Parallel(terms) | Term::Partial { terms, .. } => {
            terms.iter().for_each(|it| ids_of(it, out));
        }
        _ => out.extend(term.id().map(str::to_owned)),
    }
}

/// Letters as a law has them, and what their steps are called and read.
pub(super) struct Letters {
    pub all: Vec<Letter>,
    /// By letter and step, a number that equal steps share: they do the same with the same.
    labels: Vec<Vec<u32>>,
    /// By letter and step, the steps that it reads.
    sources: Vec<Vec<Vec<(usize, usize)>>>,
}

impl Letters {
    pub(super) fn new(all: Vec<Letter>) -> Self {
        let mut letters = Self { all, labels: Vec::new(), sources: Vec::new() };
        let sources = |(at, it): (usize, &Letter)| {
            let of = |step: &Step| step.reads.iter().filter_map(|id| letters.resolve(at, id)).collect();
            it.steps.iter().map(of).collect()
        };
        letters.sources = letters.all.iter().enumerate().map(sources).collect();
        let mut numbers = HashMap::new();
        let mut known: HashMap<(usize, usize), u32> = HashMap::new();
        for at in 0..letters.all.len() {
            for step in 0..letters.all[at].steps.len() {
                letters.number((at, step), &mut known, &mut numbers, 0);
            }
        }
        let labels =
            |(at, it): (usize, &Letter)| (0..it.steps.len()).map(|step| known[&(at, step)]).collect();
        letters.labels = letters.all.iter().enumerate().map(labels).collect();
        letters
    }

    /// The step that an id means in a letter: one of its own, or one of the first other that has it.
    pub(super) fn resolve(&self, from: usize, id: &str) -> Option<(usize, usize)> {
        let all = std::iter::once(from).chain((0..self.all.len()).filter(|&at| at != from));
        all.filter_map(|at| Some((at, self.all.get(at)?.find(id)?))).next()
    }

    fn number(
        &self,
        at: (usize, usize),
        known: &mut HashMap<(usize, usize), u32>,
        numbers: &mut HashMap<Vec<u8>, u32>,
        depth: usize,
    ) -> u32 {
        if let Some(&label) = known.get(&at) {
            return label;
        }
        let step = &self.all[at.0].steps[at.1];
        let mut text = step.hash.to_vec();
        for id in &step.reads {
            match self.resolve(at.0, id) {
                // Steps that wait for each other are refused elsewhere.
                Some(source) if depth < 1_000 => {
                    text.extend(self.number(source, known, numbers, depth + 1).to_le_bytes());
                }
                _ => text.extend(id.bytes().chain([0])),
            }
        }
        let next = numbers.len() as u32;
        let label = *numbers.entry(text).or_insert(next);
        known.insert(at, label);
        label
    }

    /// All steps, by letter and place.
    pub(super) fn every(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..self.all.len()).flat_map(|at| self.of(at))
    }

    /// The steps of a letter.
    pub(super) fn of(&self, at: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        (0..self.all[at].steps.len()).map(move |step| (at, step))
    }

    pub(super) fn label(&self, (at, step): (usize, usize)) -> u32 {
        self.labels[at][step]
    }

    /// The steps that a step reads.
    pub(super) fn sources(&self, (at, step): (usize, usize)) -> &[(usize, usize)] {
        &self.sources[at][step]
    }

    /// Whether a step reads what another yields, or one that is equal to it.
    pub(super) fn reads(&self, reader: (usize, usize), source: (usize, usize)) -> bool {
        self.sources(reader).iter().any(|&it| self.label(it) == self.label(source))
    }

    pub(super) fn step(&self, (at, step): (usize, usize)) -> &Step {
        &self.all[at].steps[step]
    }

    /// How a step is called: by its id, and its letter where others have that id.
    pub(super) fn name(&self, (at, step): (usize, usize)) -> String {
        let id = &self.all[at].steps[step].id;
        let others = self.all.iter().filter(|it| it.find(id).is_some()).count();
        if others > 1 { format!("{}.{id}", letter(at as u8)) } else { id.clone() }
    }
}
