//! Declared assets: which of them a name begins with, and what is wrong with one that begins with none.

use rustc_hash::{FxHashMap, FxHashSet};

use super::program::{Code, Fault, Kind};
use crate::access::assets::Symbol;
use crate::access::check::At;
use crate::access::name::{MAX_SEGMENTS, Segment, Written};
use crate::access::{Kind as Sort, Template};
use crate::algebra::term::{Declared, Definition};

type Name = Vec<Segment>;

/// So many declared names are looked at for one that a wrong one may have been meant for.
const COMPARED: usize = 10_000;

/// All assets that are declared, by their names.
#[derive(Default)]
pub(super) struct Register {
    closed: bool,
    /// Assets of the world by their names and their whole names, and whether they are files.
    world: FxHashMap<Name, bool>,
    /// In a closed world all that their names begin with.
    beginnings: FxHashSet<Name>,
    names: Vec<Name>,
    /// Assets that lie within others: their whole names.
    within: FxHashMap<Name, Name>,
    /// Local assets by block and name.
    locals: FxHashMap<u32, FxHashMap<Name, u32>>,
    /// The blocks that have one of a name.
    homes: FxHashMap<Name, Vec<u32>>,
    files: FxHashSet<(u32, u32)>,
    pub(super) faults: Vec<Fault>,
}

impl Register {
    pub(super) fn new(definition: &Definition, locals: &[(u32, &[Declared])]) -> Self {
        let mut register = Self { closed: definition.closed, ..Self::default() };
        for (block, declared) in locals {
            for (at, it) in (0..).zip(*declared) {
                let Some(name) = known(&it.name) else { continue };
                if it.kind == Some(Sort::File) {
                    register.files.insert((*block, at));
                }
                register.homes.entry(name.clone()).or_default().push(*block);
                register.locals.entry(*block).or_default().insert(name, at);
            }
        }
        register.lay(&definition.assets);
        for it in &definition.assets {
            let Some(name) = known(&it.name) else { continue };
            let (whole, file) = (register.whole(&name), it.kind == Some(Sort::File));
            for name in [&name, &whole] {
                register.world.insert(name.clone(), file);
                if register.closed {
                    register.beginnings.extend((0..=name.len()).map(|len| name[..len].to_vec()));
                }
            }
            register.names.push(name);
        }
        register
    }

    /// Puts assets into those that they lie within. What goes round in a circle lies within nothing.
    fn lay(&mut self, declared: &[Declared]) {
        let inner: FxHashMap<Name, Name> =
            declared.iter().filter_map(|it| Some((known(&it.name)?, known(it.within.as_ref()?)?))).collect();
        for it in declared.iter().filter(|it| it.within.is_some()) {
            let Some(name) = known(&it.name) else { continue };
            let mut parts: Vec<&[Segment]> = vec![&name];
            while let Some((_, above)) = longest(&inner, parts[parts.len() - 1]) {
                parts.push(above);
                if parts.len() > MAX_SEGMENTS {
                    break;
                }
            }
            if parts.len() <= MAX_SEGMENTS {
                let whole = parts.into_iter().rev().flatten().cloned().collect();
                self.within.insert(name, whole);
            } else if self.faults.is_empty() {
                self.faults.extend(circle(&inner, &name));
            }
        }
    }

    /// A name with what it lies within.
    pub(super) fn whole(&self, name: &[Segment]) -> Name {
        match longest(&self.within, name) {
            Some((len, whole)) => whole.iter().chain(&name[len..]).cloned().collect(),
            None => name.to_vec(),
        }
    }

    pub(super) fn has_locals(&self) -> bool {
        !self.locals.is_empty()
    }

    /// The local asset that a name begins with: where it is declared, and how long its name is.
    pub(super) fn local(&self, blocks: &[Code], block: u32, name: &[Segment]) -> Option<(u32, u32, usize)> {
        if self.locals.is_empty() {
            return None;
        }
        let mut at = block;
        loop {
            if let Some((len, local)) = self.locals.get(&at).and_then(|here| longest(here, name)) {
                return Some((at, *local, len));
            }
            let (owner, node) = blocks[at as usize].owner?;
            // A sub-workflow sees its own only.
            if let Kind::Scope { .. } = blocks[owner as usize].nodes[node as usize].kind {
                return None;
            }
            at = owner;
        }
    }

    /// Notes what is wrong with a name that begins with a local asset.
    pub(super) fn look_at_local(&mut self, at: At, symbols: &[Symbol], local: (u32, u32, usize)) {
        if self.files.contains(&(local.0, local.1)) {
            self.in_file(at, symbols, local.2);
        }
    }

    /// Notes what is wrong with a name that begins with none. `name` is what of it is known.
    pub(super) fn look_at(&mut self, blocks: &[Code], at: At, symbols: &[Symbol], name: &[Segment]) {
        let mut declared = false;
        for len in 1..=name.len() {
            let Some(&file) = self.world.get(&name[..len]) else { continue };
            declared = true;
            if file {
                self.in_file(at, symbols, len);
            }
        }
        if declared {
            return;
        }
        // The name of a local asset that is not round the step, but in the same workflow.
        if let Some((_, homes)) = longest(&self.homes, name) {
            let here = workflow(blocks, at.block);
            if let Some(&block) = homes.iter().find(|&&block| workflow(blocks, block) == here) {
                self.faults.push(Fault::Outlives { at, name: shown(symbols), block });
                return;
            }
        }
        // A hole may stand for what is missing.
        let open = name.len() < symbols.len() && self.beginnings.contains(name);
        if self.closed && !open {
            let name = shown(symbols);
            let near = self.names.iter().take(COMPARED).map(|it| Written(it).to_string());
            let near = near.map(|it| (distance(&it, &name), it)).min();
            let like = near.filter(|(far, it)| *far <= it.len() / 3 + 1).map(|(_, it)| it);
            self.faults.push(Fault::Unknown { at, name, like });
        }
    }

    fn in_file(&mut self, at: At, symbols: &[Symbol], len: usize) {
        if symbols.get(len).is_some_and(|it| !it.is_selector()) {
            self.faults.push(Fault::InFile { at, name: shown(symbols), file: shown(&symbols[..len]) });
        }
    }
}

/// The name of a declared asset, in which braces are written as in every name of a definition.
pub(super) fn known(name: &str) -> Option<Name> {
    Template::parse(name).ok()?.known()
}

/// What symbols begin with that is known.
pub(super) fn beginning(symbols: &[Symbol]) -> Name {
    let named = |symbol: &Symbol| match symbol {
        Symbol::Named(segment) => Some(segment.clone()),
        _ => None,
    };
    symbols.iter().map_while(named).collect()
}

/// The longest of some names that a name begins with, and how long it is.
fn longest<'m, V>(names: &'m FxHashMap<Name, V>, name: &[Segment]) -> Option<(usize, &'m V)> {
    if names.is_empty() {
        return None;
    }
    (1..=name.len()).rev().find_map(|len| Some((len, names.get(&name[..len])?)))
}

/// The assets that lie within each other, if one goes on and on.
fn circle(inner: &FxHashMap<Name, Name>, name: &[Segment]) -> Option<Fault> {
    let mut seen: Vec<&[Segment]> = Vec::new();
    let mut places: FxHashMap<&[Segment], usize> = FxHashMap::default();
    let mut at = name;
    while let Some((len, above)) = longest(inner, at) {
        let own = &at[..len];
        if let Some(&begin) = places.get(own) {
            // From the first by its name, wherever it was found.
            let mut names: Vec<String> = seen[begin..].iter().map(|it| Written(it).to_string()).collect();
            let least = (0..names.len()).min_by_key(|&at| &names[at])?;
            names.rotate_left(least);
            return Some(Fault::Circle { names });
        }
        places.insert(own, seen.len());
        seen.push(own);
        at = above;
    }
    None
}

/// The body of the workflow that a block belongs to.
fn workflow(blocks: &[Code], mut block: u32) -> u32 {
    while let Some((owner, node)) = blocks[block as usize].owner {
        if let Kind::Scope { .. } = blocks[owner as usize].nodes[node as usize].kind {
            break;
        }
        block = owner;
    }
    block
}

/// A name as people write it.
fn shown(symbols: &[Symbol]) -> String {
    let mut text = String::new();
    for (at, symbol) in symbols.iter().enumerate() {
        let part = match symbol {
            Symbol::Named(segment) => Written(std::slice::from_ref(segment)).to_string(),
            Symbol::Select(_) => "[…]".to_owned(),
            _ => "{…}".to_owned(),
        };
        if at > 0 && !symbol.is_selector() {
            text.push('/');
        }
        text.push_str(&part);
    }
    text
}

/// How many letters have to be changed, added or left out (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}
