//! The normal form of a definition and its content hash: equal for definitions that differ only
//! by sound laws and by the ids of their steps.
//!
//! Sequence, parallel and partial of a block dissolve into steps under a partial order, to which
//! data dependencies belong; the order is transitively reduced (up to `REDUCED` steps), and the
//! steps are numbered in an order that follows from their content. Steps get their numbers by
//! colours: hashes over all that comes before and after them, refined by their neighbours. Ties
//! that colours leave are almost always symmetries, where any choice gives the same form; the
//! first is marked and the colours are computed again. So equal hashes mean equal definitions,
//! and in contrived cases equal definitions may hash differently. The names that `as` binds count.
//!
//! In the normal form a block of several steps is one partial, whose members are steps in the order of
//! their numbers; its edges leave out what bindings say anyway.

mod content;
mod digest;
mod layout;
mod order;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use self::content::{Content, Outward, content};
use self::digest::{Colour, constant, finish, mix, put};
pub(super) use self::layout::Layout;
use self::order::ranks;
pub(super) use self::order::reduced;
use super::term::{Binding, Block, Definition, OnError, Term};
use crate::value::Segment;

impl Definition {
    /// The definition in normal form; what means nothing, its description, is left out.
    pub fn normal(&self) -> Self {
        self.standard().0
    }

    /// The content hash of the normal form.
    pub fn hash(&self) -> [u8; 32] {
        let (normal, body) = self.standard();
        let mut hasher = blake3::Hasher::new();
        put(&mut hasher, normal.name.as_bytes());
        put(&mut hasher, normal.version.as_bytes());
        put(&mut hasher, &[u8::from(normal.on_error == OnError::Continue)]);
        put(&mut hasher, &normal.timeout.unwrap_or(-1).to_le_bytes());
        for input in &normal.inputs {
            put(&mut hasher, input.name.as_bytes());
            put(&mut hasher, input.kind.as_bytes());
            put(&mut hasher, input.default.as_deref().unwrap_or_default());
        }
        if !normal.assets.is_empty() || normal.closed {
            put(&mut hasher, &[u8::from(normal.closed)]);
            let mut content = Content::new("assets");
            content.declared(&mut normal.assets.clone());
            put(&mut hasher, &finish(&content.hasher).to_le_bytes());
        }
        put(&mut hasher, &body.to_le_bytes());
        *hasher.finalize().as_bytes()
    }

    /// Whether two definitions mean the same by the sound laws.
    pub fn equivalent(&self, other: &Self) -> bool {
        self.hash() == other.hash()
    }

    /// The normal form, and the digest of its body.
    fn standard(&self) -> (Self, Colour) {
        let mut normal = Self { description: String::new(), ..self.clone() };
        for default in normal.inputs.iter_mut().filter_map(|input| input.default.as_mut()) {
            *default = constant(default).into();
        }
        normal.assets.sort_by(|a, b| a.name.cmp(&b.name));
        let digest = form(&mut normal.body).digest;
        (normal, digest)
    }
}

/// What a block in normal form comes to.
struct Form {
    digest: Colour,
    /// References to steps of enclosing blocks.
    outward: Vec<Outward>,
}

/// Brings a block into normal form. Recursion follows the nesting of blocks, which the reader bounds.
fn form(block: &mut Block) -> Form {
    let mut layout = Layout::default();
    layout.lay(std::mem::replace(&mut *block.term, Term::Sequence(Vec::new())));
    let (mut terms, mut order) = layout.steps();
    let name = |term: &Term| -> Arc<str> { term.id().unwrap_or_default().into() };
    let ids: HashMap<Arc<str>, u32> =
        terms.iter().enumerate().map(|(at, term)| (name(term), at as u32)).collect();
    let mut base = Vec::with_capacity(terms.len());
    // (from the step that is read, to the one that reads it, where)
    let mut refs: Vec<(u32, u32, Colour)> = Vec::new();
    let mut leaving: Vec<(u32, Outward)> = Vec::new();
    for (at, term) in terms.iter_mut().enumerate() {
        let content = content(term);
        base.push(finish(&content.hasher));
        for (id, place) in content.refs {
            match ids.get(&id) {
                Some(&from) => {
                    refs.push((from, at as u32, place));
                    order.push((from, at as u32));
                }
                None => leaving.push((at as u32, (id, place))),
            }
        }
    }
    order.sort_unstable();
    order.dedup();
    let mut ends = vec![true; terms.len()];
    order.iter().for_each(|&(from, _)| ends[from as usize] = false);
    let sinks: Vec<usize> = (0..terms.len()).filter(|&at| ends[at]).collect();
    let mut result = Content::new("result");
    if let Some(binding) = &mut block.result {
        result.binding(binding);
    }
    // What a block yields by itself need not be said.
    if match (&block.result, &sinks[..]) {
        (Some(Binding::Const(bytes)), []) => **bytes == [0xc0],
        (Some(Binding::Expr(expr)), [only]) => expr.path().is_some_and(|path| {
            *path.root == *"steps" && *path.segments == [Segment::Key(name(&terms[*only]))]
        }),
        _ => false,
    } {
        block.result = None;
        result = Content::new("result");
    }
    if block.result.is_none() {
        match sinks[..] {
            [] => {}
            [only] => result.refer(name(&terms[only])),
            // An object by ids, which therefore count.
            _ => sinks.iter().for_each(|&at| base[at] = mix(name(&terms[at]).as_bytes(), base[at], &[])),
        }
    }
    let mut marked = Vec::new();
    for (id, place) in &result.refs {
        if let Some(&at) = ids.get(id) {
            base[at as usize] = mix(b"yields", base[at as usize], &[*place]);
            marked.push((at, *place));
        }
    }
    let order = reduced(terms.len(), order);
    let ranks = ranks(&base, &order, &refs);
    let mut by_rank: Vec<usize> = (0..terms.len()).collect();
    by_rank.sort_unstable_by_key(|&at| ranks[at]);

    result.declared(&mut block.locals);
    let mut hasher = result.hasher;
    hasher.update(&(terms.len() as u64).to_le_bytes());
    by_rank.iter().for_each(|&at| {
        hasher.update(&base[at].to_le_bytes());
    });
    let mut edges: Vec<(u32, u32, Colour)> =
        order.iter().map(|&(a, b)| (a, b, 0)).chain(refs.iter().copied()).collect();
    edges.iter_mut().for_each(|it| *it = (ranks[it.0 as usize], ranks[it.1 as usize], it.2));
    edges.extend(marked.iter().map(|&(at, place)| (ranks[at as usize], u32::MAX, place)));
    edges.sort_unstable();
    for (from, to, label) in edges {
        hasher.update(&from.to_le_bytes());
        hasher.update(&to.to_le_bytes());
        hasher.update(&label.to_le_bytes());
    }
    let mut outward: Vec<Outward> = leaving
        .into_iter()
        .map(|(at, (id, place))| (id, mix(b"step", place, &[Colour::from(ranks[at as usize])])))
        .collect();
    let leaving = result.refs.into_iter().filter(|(id, _)| !ids.contains_key(id));
    outward.extend(leaving.map(|(id, place)| (id, mix(b"result", place, &[]))));
    outward.sort_unstable_by_key(|&(_, place)| place);

    let told: FxHashSet<(u32, u32)> = refs.iter().map(|&(from, to, _)| (from, to)).collect();
    let mut edges: Vec<(u32, u32)> = order
        .into_iter()
        .filter(|edge| !told.contains(edge))
        .map(|(from, to)| (ranks[from as usize], ranks[to as usize]))
        .collect();
    edges.sort_unstable();
    let mut numbered: Vec<(u32, Term)> = ranks.into_iter().zip(terms).collect();
    numbered.sort_unstable_by_key(|&(rank, _)| rank);
    let mut terms: Vec<Term> = numbered.into_iter().map(|(_, term)| term).collect();
    *block.term = match terms.len() {
        0 => Term::Sequence(terms),
        1 => terms.remove(0),
        _ => Term::Partial { terms, edges },
    };
    Form { digest: finish(&hasher), outward }
}
