//! The steps of a block, and how they are ordered.

use std::collections::{BTreeSet, HashMap};

use ferroflow_define::access::Asset;
use ferroflow_define::expr::Expr;
use ferroflow_define::{Binding, Block, Definition, Term};

use super::unfold::each;

/// A block with its steps and their order.
pub(crate) struct Shape<'t> {
    pub(crate) number: u32,
    pub(crate) steps: Vec<&'t Term>,
    pub(crate) ids: Vec<&'t str>,
    /// By step, all that come before it.
    pub(crate) before: Vec<u64>,
    /// The last steps, which a block yields by itself.
    pub(crate) last: Vec<&'t str>,
}

/// The shapes of all blocks of a definition.
#[derive(Default)]
pub(crate) struct Shapes<'t> {
    pub(crate) of: HashMap<*const Block, Shape<'t>>,
    /// Workflows that begin again, and what each does.
    pub(crate) again: BTreeSet<&'t str>,
    pub(crate) bodies: HashMap<&'t str, &'t Block>,
}

impl<'t> Shapes<'t> {
    pub(crate) fn new(definition: &'t Definition) -> Self {
        let mut shapes = Self::default();
        shapes.bodies.insert(&definition.name, &definition.body);
        shapes.add(&definition.body);
        shapes
    }

    /// Finds out the shape of a block and those in it.
    fn add(&mut self, block: &'t Block) {
        let number = self.of.len() as u32;
        let mut shape = Shape { number, steps: vec![], ids: vec![], before: vec![], last: vec![] };
        lay(&block.term, &mut shape);
        shape.ids = shape.steps.iter().map(|step| step.id().expect("a step")).collect();
        assert!(shape.steps.len() < 60, "definitions are small");
        for (at, step) in shape.steps.iter().enumerate() {
            inside(step, &mut |expr| {
                for reference in expr.references().iter().filter(|it| &*it.root == "steps") {
                    let read = shape.ids.iter().position(|&id| Some(id) == reference.member.as_deref());
                    shape.before[at] |= read.map_or(0, |read| 1 << read);
                }
            });
        }
        for middle in 0..shape.steps.len() {
            for at in 0..shape.steps.len() {
                if shape.before[at] >> middle & 1 == 1 {
                    shape.before[at] |= shape.before[middle];
                }
            }
        }
        let led = shape.before.iter().fold(0, |all, before| all | before);
        shape.last =
            shape.ids.iter().enumerate().filter(|(at, _)| led >> at & 1 == 0).map(|(_, &id)| id).collect();
        let steps = shape.steps.clone();
        self.of.insert(block, shape);
        for step in steps {
            if let Term::Scope { workflow, body, .. } = step {
                self.bodies.insert(workflow, body);
            }
            if let Term::Recursion { workflow, .. } = step {
                self.again.insert(workflow);
            }
            blocks(step).into_iter().for_each(|block| self.add(block));
        }
    }
}

/// Lays out a term: which of its steps come before which others, apart from what they read. The steps that it has.
fn lay<'t>(term: &'t Term, shape: &mut Shape<'t>) -> u64 {
    let order =
        |of: u64, before: u64, shape: &mut Shape<'t>| each(of.into(), |at| shape.before[at] |= before);
    match term {
        Term::Sequence(terms) => terms.iter().fold(0, |before, term| {
            let those = lay(term, shape);
            order(those, before, shape);
            before | those
        }),
        Term::Parallel(terms) => terms.iter().fold(0, |all, term| all | lay(term, shape)),
        Term::Partial { terms, edges } => {
            let those: Vec<u64> = terms.iter().map(|term| lay(term, shape)).collect();
            // An empty member carries the order through it.
            let mut ahead = vec![vec![false; terms.len()]; terms.len()];
            edges.iter().for_each(|&(from, to)| ahead[from as usize][to as usize] = true);
            for middle in 0..terms.len() {
                for from in 0..terms.len() {
                    for to in 0..terms.len() {
                        ahead[from][to] |= ahead[from][middle] && ahead[middle][to];
                    }
                }
            }
            for from in 0..terms.len() {
                (0..terms.len())
                    .filter(|&to| ahead[from][to])
                    .for_each(|to| order(those[to], those[from], shape));
            }
            those.iter().fold(0, |all, it| all | it)
        }
        step => {
            shape.steps.push(step);
            shape.before.push(0);
            1 << (shape.steps.len() - 1)
        }
    }
}

/// The blocks of a step.
pub(crate) fn blocks(step: &Term) -> Vec<&Block> {
    match step {
        Term::Choice { branches, otherwise, .. } => {
            branches.iter().map(|it| &it.1).chain(otherwise).collect()
        }
        Term::Loop { body, .. }
        | Term::Each { body, .. }
        | Term::Scope { body, .. }
        | Term::Timeout { body, .. } => {
            vec![body]
        }
        Term::Handler { body, handler, .. } => vec![body, handler],
        Term::First { branches, .. } => branches.iter().collect(),
        _ => vec![],
    }
}

pub(crate) fn bindings<'t>(binding: &'t Binding, call: &mut impl FnMut(&'t Expr)) {
    match binding {
        Binding::Const(_) => {}
        Binding::Expr(expr) => call(expr),
        Binding::List(items) => items.iter().for_each(|it| bindings(it, call)),
        Binding::Map(items) => items.iter().for_each(|it| bindings(&it.1, call)),
    }
}

/// All expressions in a step that see what is round it.
fn inside<'t>(term: &'t Term, call: &mut dyn FnMut(&'t Expr)) {
    let mut call = |expr: &'t Expr| call(expr);
    match term {
        Term::Activity(activity) => {
            activity
                .args
                .iter()
                .chain(activity.kwargs.iter().map(|it| &it.1))
                .for_each(|it| bindings(it, &mut call));
            activity.set.iter().for_each(|it| call(&it.1));
            for access in activity.access.iter().flat_map(|it| it.iter()) {
                match &access.asset {
                    Asset::Named(template) => template.holes().for_each(&mut call),
                    Asset::Value(expr) => call(expr),
                }
            }
        }
        Term::Choice { branches, .. } => branches.iter().for_each(|it| call(&it.0)),
        Term::Loop { init, condition, .. } => {
            bindings(init, &mut call);
            call(condition);
        }
        Term::Each { items, .. } => bindings(items, &mut call),
        Term::Scope { inputs, .. } => return inputs.iter().for_each(|it| bindings(&it.1, &mut call)),
        Term::Recursion { inputs, .. } => inputs.iter().for_each(|it| bindings(&it.1, &mut call)),
        Term::Sleep { duration, .. } => bindings(duration, &mut call),
        Term::Sequence(terms) | Term::Parallel(terms) | Term::Partial { terms, .. } => {
            terms.iter().for_each(|term| inside(term, &mut call));
        }
        Term::Timeout { .. } | Term::Handler { .. } | Term::Signal { .. } | Term::First { .. } => {}
    }
    for block in blocks(term) {
        inside(&block.term, &mut call);
        block.result.iter().for_each(|it| bindings(it, &mut call));
    }
}

/// Whether a block's result has to be computed by an instance of its own: it may fail.
pub(crate) fn is_computed(result: &Binding) -> bool {
    match result {
        Binding::Const(_) => false,
        Binding::Expr(expr) => {
            let steps = usize::from(expr.path().is_some_and(|path| &*path.root == "steps"));
            expr.path().is_none_or(|path| path.segments.len() > steps || &*path.root == "vars")
        }
        Binding::List(items) => items.iter().any(is_computed),
        Binding::Map(items) => items.iter().any(|it| is_computed(&it.1)),
    }
}
