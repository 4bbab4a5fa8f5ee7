//! A definition with another order of its steps: more of it, so that nothing races, or less, where none is needed.

use rustc_hash::{FxHashMap, FxHashSet};

use super::compile::{Bind, Kind, Program, Source};
use super::normal::{Layout, reduced};
use super::term::{Binding, Block, Definition, Term};
use crate::access::order::{Relaxed, Serial, data, relax, serialise};
use crate::expr::Expr;

/// What a block's order becomes, by the places of its steps.
#[derive(Default)]
struct Change {
    edges: Vec<(u32, u32)>,
    /// Orders that bindings say anyway.
    told: FxHashSet<(u32, u32)>,
    /// Whether the order that it has stays.
    keep: bool,
    /// Steps that are `each`, and whose iterations come one after another.
    limited: Vec<u32>,
    result: Option<Binding>,
}

impl Program {
    /// The definition with the order added that leaves no race, and that order.
    pub fn serialised(&self, definition: &Definition, threads: usize) -> (Definition, Serial) {
        let serial = serialise(self, threads);
        let mut changes: FxHashMap<u32, Change> = FxHashMap::default();
        for (block, edges) in &serial.edges {
            let places = self.places(*block);
            let change = changes.entry(*block).or_default();
            change.keep = true;
            change.edges = edges.iter().map(|&(a, b)| (places[a as usize], places[b as usize])).collect();
        }
        for &(block, node) in &serial.limited {
            let change = changes.entry(block).or_default();
            change.keep = true;
            change.limited.push(self.places(block)[node as usize]);
        }
        (self.changed(definition, changes), serial)
    }

    /// The definition with no more order than is needed, and what was left out.
    pub fn relaxed(&self, definition: &Definition, threads: usize) -> (Definition, Vec<Relaxed>) {
        let relaxed = relax(self, threads);
        let data = data(self);
        let mut changes: FxHashMap<u32, Change> = FxHashMap::default();
        for it in &relaxed {
            let places = self.places(it.block);
            // What is computed for the result waits for what it reads, anyway.
            let real = |&(a, b): &(u32, u32)| places[a as usize] != NONE && places[b as usize] != NONE;
            let place = |&(a, b): &(u32, u32)| (places[a as usize], places[b as usize]);
            let told = data.get(&it.block).into_iter().flatten().filter(|edge| real(edge)).map(place);
            let edges = it.edges.iter().filter(|edge| real(edge)).map(place).collect();
            changes.insert(it.block, Change { edges, told: told.collect(), ..Change::default() });
        }
        (self.changed(definition, changes), relaxed)
    }

    /// The places of a block's nodes among its steps; joins and computed results have none.
    fn places(&self, block: u32) -> Vec<u32> {
        let mut next = 0;
        let nodes = self.blocks[block as usize].nodes.iter();
        let place = nodes.map(|node| match node.kind {
            Kind::Join | Kind::Compute(_) => NONE,
            _ => {
                next += 1;
                next - 1
            }
        });
        place.collect()
    }

    fn changed(&self, definition: &Definition, mut changes: FxHashMap<u32, Change>) -> Definition {
        let mut changed = definition.clone();
        for (&block, change) in &mut changes {
            change.result = self.yielded(block);
        }
        each_block(&mut changed.body, &mut 0, &mut |number, block| {
            if let Some(change) = changes.remove(&number) {
                apply(block, change);
            }
        });
        changed
    }

    /// What a block yields by itself, said in so many words: with another order it may have other sinks.
    fn yielded(&self, block: u32) -> Option<Binding> {
        let code = &self.blocks[block as usize];
        let step = |bind: &Bind| match bind {
            Bind::Path { source: Source::Step { up: 0, node }, segments, .. } if segments.is_empty() => {
                let id = &code.nodes[*node as usize].id;
                Expr::parse(&format!("steps[{id:?}]")).ok().map(Binding::Expr)
            }
            _ => None,
        };
        match &code.result {
            Bind::Const(bytes) => Some(Binding::Const(bytes.clone())),
            Bind::Map(items) => {
                let named = items.iter().map(|(id, bind)| Some((id.to_string(), step(bind)?)));
                named.collect::<Option<_>>().map(Binding::Map)
            }
            bind => step(bind),
        }
    }
}

const NONE: u32 = u32::MAX;

/// Calls with every block and its number in the program, inner blocks first.
fn each_block(block: &mut Block, next: &mut u32, call: &mut impl FnMut(u32, &mut Block)) {
    let number = *next;
    *next += 1;
    each_inside(&mut block.term, next, call);
    call(number, block);
}

/// The blocks in the steps of a term, in the order in which they are compiled.
fn each_inside(term: &mut Term, next: &mut u32, call: &mut impl FnMut(u32, &mut Block)) {
    match term {
        Term::Sequence(terms) | Term::Parallel(terms) | Term::Partial { terms, .. } => {
            terms.iter_mut().for_each(|term| each_inside(term, next, call));
        }
        Term::Choice { branches, otherwise, .. } => {
            let branches = branches.iter_mut().map(|it| &mut it.1);
            branches.chain(otherwise).for_each(|block| each_block(block, next, call));
        }
        Term::Loop { body, .. }
        | Term::Each { body, .. }
        | Term::Scope { body, .. }
        | Term::Timeout { body, .. } => {
            each_block(body, next, call);
        }
        Term::Handler { body, handler, .. } => {
            each_block(body, next, call);
            each_block(handler, next, call);
        }
        Term::First { branches, .. } => branches.iter_mut().for_each(|block| each_block(block, next, call)),
        Term::Activity(_) | Term::Recursion { .. } | Term::Sleep { .. } | Term::Signal { .. } => {}
    }
}

fn apply(block: &mut Block, change: Change) {
    let mut layout = Layout::default();
    layout.lay(std::mem::replace(&mut *block.term, Term::Sequence(Vec::new())));
    let (mut terms, mut edges) = layout.steps();
    for at in change.limited {
        if let Some(Term::Each { limit, .. }) = terms.get_mut(at as usize) {
            *limit = Some(1);
        }
    }
    if !change.keep {
        edges.clear();
    }
    edges.extend(change.edges);
    edges.sort_unstable();
    edges.dedup();
    let mut edges = reduced(terms.len(), edges);
    edges.retain(|edge| !change.told.contains(edge));
    if block.result.is_none() {
        block.result = change.result;
    }
    *block.term = match terms.len() {
        1 => terms.remove(0),
        _ => Term::Partial { terms, edges },
    };
}
