//! What steps do to assets, with every name put where it belongs in the tree of assets.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::declared::{Register, beginning, known};
use super::program::{Accesses, Bind, Code, Fault, Kind, Read, Source, Use, YIELDS};
use crate::access::assets::{Assets, Bit, Hole, READS, Root, Symbol, TAKES, VALUES, WORLD};
use crate::access::check::{Access as Grasp, At};
use crate::access::name::{self, Segment};
use crate::access::{Asset, Part, Piece, Template};
use crate::algebra::term::{Access, Declared, Definition};
use crate::value::{self, Item, Segment as Selected};

/// The accesses of a step as they are declared, with what their holes mean there.
pub(super) struct Draft {
    pub block: u32,
    pub node: u32,
    pub access: Arc<[Access]>,
    /// Of each access, from left to right; none of those at the end that have none.
    pub holes: Vec<Vec<Bind>>,
}

/// Puts the accesses of all steps into the program.
pub(super) fn place(
    definition: &Definition,
    blocks: &mut [Code],
    locals: Vec<(u32, &[Declared])>,
    drafts: Vec<Draft>,
) -> Accesses {
    let mut placer = Placer::new(definition, blocks, &locals);
    let mut found = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let mut uses: Vec<Use> = Vec::with_capacity(draft.access.len());
        let mut holes = draft.holes.into_iter();
        for (index, access) in draft.access.iter().enumerate() {
            let holes = holes.next().unwrap_or_default();
            let mode = placer.assets.mode(&access.mode);
            let (asset, holes) = match &access.asset {
                Asset::Named(template) => {
                    let at = At { block: draft.block, node: draft.node, index: index as u32 };
                    let (asset, holes) = placer.template(at, template, holes);
                    (Some(asset), holes)
                }
                Asset::Value(_) => {
                    (holes.first().and_then(|bind| placer.value(draft.block, bind)), Vec::new())
                }
            };
            uses.extend(asset.map(|asset| Use { asset, mode, index: index as u32, holes: holes.into() }));
        }
        for (second, b) in uses.iter().enumerate() {
            for (first, a) in uses[..second].iter().enumerate() {
                if placer.contradict(a, b) {
                    let at = At { block: draft.block, node: draft.node, index: first as u32 };
                    placer.faults.push(Fault::Twice { at, second: second as u32 });
                }
            }
        }
        found.push((draft.block, draft.node, uses));
    }
    let moved = found.iter().flat_map(|(_, _, uses)| uses);
    let moved = moved.filter(|it| it.mode != READS).map(|it| it.asset).collect::<Vec<_>>();
    let reads =
        if moved.iter().any(|&asset| placer.assets.is_value(asset)) { placer.all_reads() } else { vec![] };
    // With their whole names.
    let named =
        definition.assets.iter().filter_map(|it| Some((placer.declared.whole(&known(&it.name)?), it)));
    let declared: Vec<(Vec<Segment>, Declared)> = named.map(|(name, it)| (name, it.clone())).collect();
    let mut outputs = Vec::new();
    for (name, _) in declared.iter().filter(|(_, it)| it.output) {
        let child = |asset, segment: &Segment| placer.assets.child(asset, Symbol::Named(segment.clone()));
        outputs.push(name.iter().fold(WORLD, child));
    }
    let mut faults = placer.declared.faults;
    faults.append(&mut placer.faults);
    let assets = placer.assets;
    found.sort_unstable_by_key(|it| (it.0, it.1));
    let mut all = Vec::with_capacity(found.iter().map(|it| it.2.len()).sum());
    for (block, node, uses) in &found {
        let uses = (0..).zip(uses).map(|(index, it)| {
            let at = At { block: *block, node: *node, index };
            Grasp { at, asset: it.asset, mode: it.mode }
        });
        all.extend(uses);
    }
    let mut others = Vec::new();
    for (block, code) in (0..).zip(&*blocks) {
        let other = |kind: &Kind| !matches!(kind, Kind::Task(_) | Kind::Join);
        let nodes = (0..).zip(&code.nodes).filter(|(_, it)| other(&it.kind));
        others.extend(nodes.map(|(node, _)| (block, node)));
    }
    for (block, node, uses) in found {
        if let Kind::Task(task) = &mut blocks[block as usize].nodes[node as usize].kind {
            task.uses = Some(uses.into());
        }
    }
    Accesses { assets, uses: all, others, reads, faults, outputs, declared }
}

struct Placer<'b> {
    assets: Assets,
    blocks: &'b [Code],
    /// Blocks that begin again inside themselves: what their inputs are differs from one to the next.
    again: FxHashSet<u32>,
    declared: Register,
    unknown: u32,
    faults: Vec<Fault>,
    /// Assets by the places of their templates in memory.
    templates: FxHashMap<usize, u32>,
}

impl<'b> Placer<'b> {
    fn new(definition: &Definition, blocks: &'b [Code], locals: &[(u32, &[Declared])]) -> Self {
        let nodes = blocks.iter().flat_map(|code| &code.nodes);
        let again = nodes.filter_map(|node| match node.kind {
            Kind::Scope { body, max_depth: Some(_), .. } => Some(body),
            _ => None,
        });
        let mut assets = Assets::default();
        for (block, declared) in locals {
            for (at, it) in (0..).zip(*declared) {
                assets.locals.insert((*block, at), it.name.as_str().into());
            }
        }
        Self {
            assets,
            again: again.collect(),
            blocks,
            declared: Register::new(definition, locals),
            unknown: 0,
            faults: Vec::new(),
            templates: FxHashMap::default(),
        }
    }

    /// The block so many levels up.
    fn up(&self, mut block: u32, up: u16) -> u32 {
        for _ in 0..up {
            block = self.blocks[block as usize].owner.map_or(0, |(owner, _)| owner);
        }
        block
    }

    /// The same, which is looked up where it is the same for all steps and nothing is wrong with it.
    fn template(&mut self, at: At, template: &Arc<Template>, holes: Vec<Bind>) -> (u32, Vec<Bind>) {
        if !holes.is_empty() || self.declared.has_locals() {
            return self.named(at, &template.parts, holes);
        }
        // Templates live as long as the definition does.
        let key = Arc::as_ptr(template) as usize;
        if let Some(&known) = self.templates.get(&key) {
            return (known, holes);
        }
        let faults = self.declared.faults.len();
        let (asset, holes) = self.named(at, &template.parts, holes);
        if self.declared.faults.len() == faults {
            self.templates.insert(key, asset);
        }
        (asset, holes)
    }

    /// The asset that a template names, and what still fills its holes.
    fn named(&mut self, at: At, parts: &[Part], holes: Vec<Bind>) -> (u32, Vec<Bind>) {
        let mut open = Vec::new();
        let mut holes = holes.into_iter();
        let mut symbols: Vec<Symbol> = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Part::Known(segment) => symbols.push(Symbol::Named(segment.clone())),
                Part::Open(pieces) => {
                    let bits = self.bits(at.block, pieces, &mut holes, &mut open);
                    match text(&bits) {
                        // What fills it is known: it may be several segments, or none that can be read.
                        Some(text) => match name::parse(&text.replace('[', "[[")) {
                            Ok(segments) => symbols.extend(segments.into_iter().map(Symbol::Named)),
                            Err(_) => symbols.push(Symbol::Named(Segment::Text(text.into()))),
                        },
                        None => symbols.extend(divided(bits)),
                    }
                }
                Part::Select(pieces) => {
                    let bits = joined(self.bits(at.block, pieces, &mut holes, &mut open));
                    let known = text(&bits).and_then(|text| name::parse(&format!("x[{text}]")).ok()?.pop());
                    symbols.push(known.map_or_else(|| Symbol::Select(bits.into()), Symbol::Named));
                }
            }
        }
        let name = beginning(&symbols);
        let mut asset = WORLD;
        let skip;
        if let Some(local) = self.declared.local(self.blocks, at.block, &name) {
            self.declared.look_at_local(at, &symbols, local);
            asset = self.assets.child(WORLD, Symbol::Local(local.0, local.1));
            skip = local.2;
        } else {
            self.declared.look_at(self.blocks, at, &symbols, &name);
            for segment in self.declared.whole(&name) {
                asset = self.assets.child(asset, Symbol::Named(segment));
            }
            skip = name.len();
        }
        for symbol in symbols.drain(skip..) {
            asset = self.assets.child(asset, symbol);
        }
        (asset, open)
    }

    /// Whether one step can't have both accesses.
    fn contradict(&self, a: &Use, b: &Use) -> bool {
        if a.mode == b.mode && a.mode != TAKES && a.asset == b.asset {
            return false;
        }
        let same = a.asset == b.asset;
        // To take a thing is to take all of it, but a step may read the whole and write a part.
        same || ((a.mode == TAKES || b.mode == TAKES) && self.assets.overlap(a.asset, b.asset))
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
                found.map_or_else(|| self.unknown(block), |text| Bit::Text(text.into()))
            }
            Bind::Path { source, segments, .. } => {
                let Some(root) = self.root(block, source) else { return self.unknown(block) };
                let segments: Vec<Selected> = segments.iter().chain(rest).cloned().collect();
                if let Root::Input(workflow) = root
                    && let Some((outer, bind, used)) = self.given(workflow, &segments)
                {
                    let bind = bind.clone();
                    let bit = self.bit(outer, &bind, &segments[used..]);
                    // What is not known of it is at least the same for the whole workflow.
                    if !matches!(bit, Bit::Hole(Hole::Unknown(..))) {
                        return bit;
                    }
                }
                Bit::Hole(Hole::Path(root, segments.into()))
            }
            Bind::Cel { expr, sources } => {
                let mut roots = Vec::with_capacity(sources.len());
                for (reference, source) in sources.iter() {
                    let Some(root) = self.root(block, source) else { return self.unknown(block) };
                    roots.push((reference.clone(), root));
                }
                if rest.is_empty() {
                    Bit::Hole(Hole::Cel(expr.source().into(), roots.into()))
                } else {
                    self.unknown(block)
                }
            }
            Bind::List(_) | Bind::Map(_) => self.unknown(block),
        }
    }

    fn unknown(&mut self, block: u32) -> Bit {
        self.unknown += 1;
        Bit::Hole(Hole::Unknown(block, self.unknown))
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
                        // The condition sees the state, as if it were in the body.
                        self.reads(*body, condition, &mut found);
                        found.sort_unstable();
                        found.dedup();
                        all.extend(found.drain(..).map(|asset| Read { block, node, asset, again: true }));
                        self.reads(block, init, &mut found);
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
                all.extend(found.drain(..).map(|asset| Read { block, node, asset, again: false }));
            }
            self.reads(block, &code.result, &mut found);
            found.sort_unstable();
            found.dedup();
            all.extend(found.drain(..).map(|asset| Read { block, node: YIELDS, asset, again: false }));
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

/// The same bits; what stands side by side is one text, as if it were written as one.
fn joined(bits: Vec<Bit>) -> Vec<Bit> {
    let mut all: Vec<Bit> = Vec::with_capacity(bits.len());
    for bit in bits {
        match (all.last_mut(), bit) {
            (Some(Bit::Text(before)), Bit::Text(text)) => *before = format!("{before}{text}").into(),
            (_, bit) => all.push(bit),
        }
    }
    all
}

/// Segments of texts and holes: a text that fills a hole may be several.
fn divided(bits: Vec<Bit>) -> Vec<Symbol> {
    let mut segments = vec![Vec::new()];
    for bit in joined(bits) {
        let Bit::Text(text) = &bit else {
            segments.last_mut().expect("one at least").push(bit);
            continue;
        };
        for (at, text) in text.split('/').enumerate() {
            if at > 0 {
                segments.push(Vec::new());
            }
            if !text.is_empty() {
                segments.last_mut().expect("one at least").push(Bit::Text(text.into()));
            }
        }
    }
    let symbol = |bits: Vec<Bit>| match text(&bits) {
        Some(text) => Symbol::Named(Segment::Text(text.into())),
        None => Symbol::Open(bits.into()),
    };
    segments.into_iter().map(symbol).collect()
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
