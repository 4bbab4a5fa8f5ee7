//! What steps do to assets, with every name put where it belongs in the tree of assets.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::program::{Accesses, Bind, Code, Kind, Read, Source, Use, YIELDS};
use crate::access::assets::{Assets, Bit, Hole, READS, Root, Symbol, VALUES, WORLD};
use crate::access::name::{self, Segment};
use crate::access::{Asset, Part, Piece};
use crate::algebra::term::{Access, Declared, Definition};
use crate::value::{self, Item, Segment as Selected};

/// The accesses of a step as they are declared, with what their holes mean there.
pub(super) struct Draft {
    pub block: u32,
    pub node: u32,
    pub access: Arc<[Access]>,
    /// Of each access, from left to right.
    pub holes: Vec<Vec<Bind>>,
}

/// Puts the accesses of all steps into the program.
pub(super) fn place(
    definition: &Definition,
    blocks: &mut [Code],
    locals: Vec<(u32, &[Declared])>,
    drafts: Vec<Draft>,
) -> Accesses {
    let mut placer = Placer::new(definition, blocks, locals);
    let mut found = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let mut uses = Vec::with_capacity(draft.access.len());
        for (index, (access, holes)) in draft.access.iter().zip(draft.holes).enumerate() {
            let mode = placer.assets.mode(&access.mode);
            let (asset, holes) = match &access.asset {
                Asset::Named(template) => {
                    let (asset, holes) = placer.named(draft.block, &template.parts, holes);
                    (Some(asset), holes)
                }
                Asset::Value(_) => {
                    (holes.first().and_then(|bind| placer.value(draft.block, bind)), Vec::new())
                }
            };
            uses.extend(asset.map(|asset| Use { asset, mode, index: index as u32, holes: holes.into() }));
        }
        found.push((draft.block, draft.node, uses));
    }
    let moved = found.iter().flat_map(|(_, _, uses)| uses);
    let moved = moved.filter(|it| it.mode != READS).map(|it| it.asset).collect::<Vec<_>>();
    let reads =
        if moved.iter().any(|&asset| placer.assets.is_value(asset)) { placer.all_reads() } else { vec![] };
    let assets = placer.assets;
    for (block, node, uses) in found {
        if let Kind::Task(task) = &mut blocks[block as usize].nodes[node as usize].kind {
            task.uses = Some(uses.into());
        }
    }
    Accesses { assets, reads }
}

struct Placer<'b> {
    assets: Assets,
    blocks: &'b [Code],
    /// Blocks that begin again inside themselves: what their inputs are differs from one to the next.
    again: FxHashSet<u32>,
    /// Local assets by their blocks, longer names first.
    locals: FxHashMap<u32, Vec<(Vec<Segment>, u32)>>,
    /// Assets that lie within others: the name, and the whole name.
    within: Vec<(Vec<Segment>, Vec<Segment>)>,
    unknown: u32,
}

impl<'b> Placer<'b> {
    fn bare(blocks: &'b [Code]) -> Self {
        let nodes = blocks.iter().flat_map(|code| &code.nodes);
        let again = nodes.filter_map(|node| match node.kind {
            Kind::Scope { body, max_depth: Some(_), .. } => Some(body),
            _ => None,
        });
        Self {
            assets: Assets::default(),
            again: again.collect(),
            blocks,
            locals: FxHashMap::default(),
            within: Vec::new(),
            unknown: 0,
        }
    }

    fn new(definition: &Definition, blocks: &'b [Code], locals: Vec<(u32, &[Declared])>) -> Self {
        let mut placer = Self::bare(blocks);
        for (block, declared) in locals {
            let mut here: Vec<(Vec<Segment>, u32)> = Vec::new();
            for (at, it) in declared.iter().enumerate() {
                placer.assets.locals.insert((block, at as u32), it.name.as_str().into());
                here.extend(name::parse(&it.name).ok().map(|name| (name, at as u32)));
            }
            here.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
            placer.locals.insert(block, here);
        }
        placer.within = within(&definition.assets);
        placer
    }

    /// The block so many levels up.
    fn up(&self, mut block: u32, up: u16) -> u32 {
        for _ in 0..up {
            block = self.blocks[block as usize].owner.map_or(0, |(owner, _)| owner);
        }
        block
    }

    /// The asset that a template names, and what still fills its holes.
    fn named(&mut self, block: u32, parts: &[Part], holes: Vec<Bind>) -> (u32, Vec<Bind>) {
        let mut open = Vec::new();
        let mut holes = holes.into_iter();
        let mut symbols: Vec<Symbol> = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Part::Known(segment) => symbols.push(Symbol::Named(segment.clone())),
                Part::Open(pieces) => {
                    let bits = self.bits(block, pieces, &mut holes, &mut open);
                    match text(&bits) {
                        // What fills it is known: it may be several segments, or none that can be read.
                        Some(text) => match name::parse(&text.replace('[', "[[")) {
                            Ok(segments) => symbols.extend(segments.into_iter().map(Symbol::Named)),
                            Err(_) => symbols.push(Symbol::Named(Segment::Text(text.into()))),
                        },
                        None => symbols.push(Symbol::Open(bits.into())),
                    }
                }
                Part::Select(pieces) => {
                    let bits = self.bits(block, pieces, &mut holes, &mut open);
                    let known = text(&bits).and_then(|text| name::parse(&format!("x[{text}]")).ok()?.pop());
                    symbols.push(known.map_or_else(|| Symbol::Select(bits.into()), Symbol::Named));
                }
            }
        }
        let (mut at, mut skip) = (WORLD, 0);
        if let Some((home, local, len)) = self.local(block, &symbols) {
            at = self.assets.child(WORLD, Symbol::Local(home, local));
            skip = len;
        } else if let Some((len, whole)) =
            self.within.iter().find(|(name, _)| begins(&symbols, name)).map(|it| (it.0.len(), it.1.clone()))
        {
            at = whole.into_iter().fold(WORLD, |at, segment| self.assets.child(at, Symbol::Named(segment)));
            skip = len;
        }
        for symbol in symbols.drain(skip..) {
            at = self.assets.child(at, symbol);
        }
        (at, open)
    }

    /// The local asset that a name begins with: where it is declared, and how long its name is.
    fn local(&self, block: u32, symbols: &[Symbol]) -> Option<(u32, u32, usize)> {
        if self.locals.is_empty() {
            return None;
        }
        let mut at = block;
        loop {
            let found =
                self.locals.get(&at).and_then(|here| here.iter().find(|(name, _)| begins(symbols, name)));
            if let Some((name, local)) = found {
                return Some((at, *local, name.len()));
            }
            let (owner, node) = self.blocks[at as usize].owner?;
            // A sub-workflow sees its own only.
            if let Kind::Scope { .. } = self.blocks[owner as usize].nodes[node as usize].kind {
                return None;
            }
            at = owner;
        }
    }

    fn bits(
        &mut self,
        block: u32,
        pieces: &[Piece],
        holes: &mut impl Iterator<Item = Bind>,
        open: &mut Vec<Bind>,
    ) -> Vec<Bit> {
        let mut bits = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match piece {
                Piece::Text(text) => bits.push(Bit::Text(text.clone())),
                Piece::Hole(_) => {
                    let Some(bind) = holes.next() else { continue };
                    let bit = self.bit(block, &bind, &[]);
                    if let Bit::Hole(_) = bit {
                        open.push(bind);
                    }
                    bits.push(bit);
                }
            }
        }
        bits
    }

    /// What fills a hole: a part of what a binding means in a block.
    fn bit(&mut self, block: u32, bind: &Bind, rest: &[Selected]) -> Bit {
        match bind {
            Bind::Const(bytes) => {
                let found = value::follow("", bytes, rest).ok().and_then(scalar);
                found.map_or_else(|| self.unknown(), |text| Bit::Text(text.into()))
            }
            Bind::Path { source, segments, .. } => {
                let Some(root) = self.root(block, source) else { return self.unknown() };
                let segments: Vec<Selected> = segments.iter().chain(rest).cloned().collect();
                if let Root::Input(workflow) = root
                    && let Some((outer, bind, used)) = self.given(workflow, &segments)
                {
                    let bind = bind.clone();
                    return self.bit(outer, &bind, &segments[used..]);
                }
                Bit::Hole(Hole::Path(root, segments.into()))
            }
            Bind::Cel { expr, sources } => {
                let mut roots = Vec::with_capacity(sources.len());
                for (reference, source) in sources.iter() {
                    let Some(root) = self.root(block, source) else { return self.unknown() };
                    roots.push((reference.clone(), root));
                }
                if rest.is_empty() {
                    Bit::Hole(Hole::Cel(expr.source().into(), roots.into()))
                } else {
                    self.unknown()
                }
            }
            Bind::List(_) | Bind::Map(_) => self.unknown(),
        }
    }

    fn unknown(&mut self) -> Bit {
        self.unknown += 1;
        Bit::Hole(Hole::Unknown(self.unknown))
    }

    /// What a source means in a block; none of what may change meanwhile.
    fn root(&self, block: u32, source: &Source) -> Option<Root> {
        Some(match *source {
            Source::Step { up, node } => Root::Result(self.up(block, up), node),
            Source::Input { up } => Root::Input(self.up(block, up)),
            Source::Item { up } => Root::Item(self.up(block, up)),
            Source::Index { up } => Root::Index(self.up(block, up)),
            Source::State { up } => Root::State(self.up(block, up)),
            Source::Iteration { up } => Root::Iteration(self.up(block, up)),
            Source::Error { up } => Root::Error(self.up(block, up)),
            Source::Vars | Source::Result => return None,
        })
    }

    /// What a sub-workflow was given as an input: in which block, and how many segments that took.
    fn given(&self, workflow: u32, segments: &[Selected]) -> Option<(u32, &'b Bind, usize)> {
        if self.again.contains(&workflow) {
            return None;
        }
        let (owner, node) = self.blocks[workflow as usize].owner?;
        let Kind::Scope { inputs: Bind::Map(inputs), .. } =
            &self.blocks[owner as usize].nodes[node as usize].kind
        else {
            return None;
        };
        let Some(Selected::Key(name)) = segments.first() else { return None };
        let mut bind = &inputs.iter().find(|(it, _)| it == name)?.1;
        let mut used = 1;
        loop {
            bind = match (bind, segments.get(used)) {
                (Bind::Map(fields), Some(Selected::Key(key))) => &fields.iter().find(|(it, _)| it == key)?.1,
                (Bind::List(items), Some(Selected::Index(index))) => {
                    items.get(usize::try_from(*index).ok()?)?
                }
                (Bind::Map(_) | Bind::List(_), _) => return None,
                _ => return Some((owner, bind, used)),
            };
            used += 1;
        }
    }

    /// The asset that the value of a plain path is; none if it is a constant.
    fn value(&mut self, block: u32, bind: &Bind) -> Option<u32> {
        let Bind::Path { source, segments, .. } = bind else { return None };
        self.value_at(block, source, segments)
    }

    fn value_at(&mut self, block: u32, source: &Source, segments: &[Selected]) -> Option<u32> {
        let root = self.root(block, source)?;
        let mut at = match root {
            Root::Input(workflow) => {
                if let Some((outer, bind, used)) = self.given(workflow, segments) {
                    let Bind::Path { source, segments: first, .. } = bind else { return None };
                    let whole: Vec<Selected> = first.iter().chain(&segments[used..]).cloned().collect();
                    return self.value_at(outer, source, &whole);
                }
                self.assets.child(VALUES, Symbol::Value(root))
            }
            Root::Item(body) => match self.items(body) {
                Some(list) => self.assets.child(list, Symbol::Each(body)),
                None => self.assets.child(VALUES, Symbol::Value(root)),
            },
            Root::Index(_) | Root::Iteration(_) => return None,
            _ => self.assets.child(VALUES, Symbol::Value(root)),
        };
        for segment in segments {
            at = self.assets.child(at, Symbol::Member(segment.clone()));
        }
        Some(at)
    }

    /// The list that an `each` goes through, if it is a value.
    fn items(&mut self, body: u32) -> Option<u32> {
        let (owner, node) = self.blocks[body as usize].owner?;
        match &self.blocks[owner as usize].nodes[node as usize].kind {
            Kind::Each { items, .. } => self.value(owner, items),
            _ => None,
        }
    }

    /// What the bindings of all nodes read, and what blocks yield. Where no value is moved or changed, nobody needs
    /// to know.
    fn all_reads(&mut self) -> Vec<Read> {
        let mut all = Vec::new();
        for (block, code) in (0..).zip(self.blocks) {
            let mut found = Vec::new();
            for (node, it) in (0..).zip(&code.nodes) {
                match &it.kind {
                    Kind::Task(task) => {
                        let set = task.set.iter().chain(&task.kwargs).map(|(_, bind)| bind);
                        task.args.iter().chain(set).for_each(|bind| self.reads(block, bind, &mut found));
                    }
                    Kind::Compute(bind) | Kind::Sleep(bind) => self.reads(block, bind, &mut found),
                    Kind::Choice { branches, .. } => {
                        branches.iter().for_each(|(bind, _)| self.reads(block, bind, &mut found));
                    }
                    Kind::Loop { init, condition, body, .. } => {
                        self.reads(block, init, &mut found);
                        // The condition sees the state, as if it were in the body.
                        self.reads(*body, condition, &mut found);
                    }
                    Kind::Each { items, .. } => self.reads(block, items, &mut found),
                    Kind::Scope { inputs, .. } => self.reads(block, inputs, &mut found),
                    Kind::Join
                    | Kind::Signal(_)
                    | Kind::Timeout { .. }
                    | Kind::Handler { .. }
                    | Kind::First { .. } => {}
                }
                found.sort_unstable();
                found.dedup();
                all.extend(found.drain(..).map(|asset| Read { block, node, asset }));
            }
            self.reads(block, &code.result, &mut found);
            found.sort_unstable();
            found.dedup();
            all.extend(found.drain(..).map(|asset| Read { block, node: YIELDS, asset }));
        }
        all
    }

    /// All values that a binding reads.
    fn reads(&mut self, block: u32, bind: &Bind, found: &mut Vec<u32>) {
        match bind {
            Bind::Const(_) => {}
            Bind::Path { source, segments, .. } => found.extend(self.value_at(block, source, segments)),
            Bind::Cel { sources, .. } => {
                for (reference, source) in sources.iter() {
                    let member = match (source, &reference.member) {
                        (Source::Step { .. }, _) | (_, None) => None,
                        (_, Some(member)) => Some(Selected::Key(member.clone())),
                    };
                    found.extend(self.value_at(block, source, member.as_slice()));
                }
            }
            Bind::List(items) => items.iter().for_each(|it| self.reads(block, it, found)),
            Bind::Map(items) => items.iter().for_each(|(_, it)| self.reads(block, it, found)),
        }
    }
}

/// The assets that lie within others, with their whole names, longer names first. What goes round in a circle
/// lies within nothing.
fn within(declared: &[Declared]) -> Vec<(Vec<Segment>, Vec<Segment>)> {
    let parse = |text: &str| name::parse(text).ok();
    let inner: Vec<(Vec<Segment>, Vec<Segment>)> =
        declared.iter().filter_map(|it| Some((parse(&it.name)?, parse(it.within.as_ref()?)?))).collect();
    let whole = |name: &[Segment]| {
        let mut parts = vec![name];
        let next = |name: &[Segment]| {
            let found = inner.iter().filter(|(it, _)| name.starts_with(it));
            found.max_by_key(|(it, _)| it.len()).map(|(_, above)| &above[..])
        };
        while let Some(above) = next(parts[parts.len() - 1]) {
            if parts.len() > inner.len() {
                return None;
            }
            parts.push(above);
        }
        Some(parts.into_iter().rev().flatten().cloned().collect())
    };
    let mut found: Vec<(Vec<Segment>, Vec<Segment>)> =
        inner.iter().filter_map(|(name, _)| Some((name.clone(), whole(name)?))).collect();
    found.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    found
}

fn begins(symbols: &[Symbol], name: &[Segment]) -> bool {
    symbols.len() >= name.len()
        && symbols
            .iter()
            .zip(name)
            .all(|(symbol, segment)| matches!(symbol, Symbol::Named(it) if it == segment))
}

/// The text that bits come to, if there are no holes.
fn text(bits: &[Bit]) -> Option<String> {
    let piece = |bit: &Bit| match bit {
        Bit::Text(text) => Some(text.to_string()),
        Bit::Hole(_) => None,
    };
    bits.iter().map(piece).collect()
}

/// A text or whole number, as a name has it.
fn scalar(bytes: &[u8]) -> Option<String> {
    match value::item(bytes, 0).ok()?.0 {
        Item::Str(text) => Some(text.to_owned()),
        Item::Int(number) => Some(number.to_string()),
        _ => None,
    }
}
