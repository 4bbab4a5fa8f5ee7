//! The borrow check of a program: which steps may use an asset at the same time, or after it was moved, though
//! they must not.
//!
//! Blocks are checked one by one, with a composite standing for all that is inside it: what it does to assets is
//! summed up once. Steps of one block are compared by the block's order, branches of a `first` and iterations of
//! an `each` as unordered, those of choices and loops not at all.

use rustc_hash::{FxHashMap, FxHashSet};

use super::again::repeated;
use super::assets::{AssetId, Assets, READS, compatible};
use super::races::{Touch, races, related};
use crate::algebra::compile::{Bind, Kind, Program, YIELDS};
use crate::graph::Csr;
use crate::value;

/// Which access of which node: in `index` the place among the uses of a step, or `IMPLIED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct At {
    pub block: u32,
    pub node: u32,
    pub index: u32,
}

/// A value that is read because it is needed.
pub const IMPLIED: u32 = u32::MAX;

/// How two steps meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Meeting {
    /// Nothing orders these nodes of a block.
    Unordered { block: u32, first: u32, second: u32 },
    /// Iterations of an `each` run beside each other: by block and node.
    Iterations(u32, u32),
    /// Branches of a `first` do.
    Branches(u32, u32),
}

/// Two accesses that may be at the same time, and must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Race {
    pub first: Access,
    pub second: Access,
    pub meeting: Meeting,
}

/// An access of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Access {
    pub at: At,
    pub asset: AssetId,
    pub mode: u32,
}

/// What the check has found.
#[derive(Debug, Default)]
pub struct Found {
    pub races: Vec<Race>,
    /// Each with the move before it.
    pub moved: Vec<(Access, Access)>,
    /// More races were found than were asked for.
    pub more: bool,
    /// By block, edges that no access needed.
    pub spare: Vec<(u32, Vec<(u32, u32)>)>,
}

/// What a program comes to for the check.
pub(super) struct Whole<'p> {
    pub(super) program: &'p Program,
    pub(super) assets: &'p Assets,
    /// For each block the first one after those inside it.
    pub(super) ends: Vec<u32>,
    /// For each block whether it may run at all.
    pub(super) runs: Vec<bool>,
    /// What is done in each block: one access of each asset and mode.
    sums: Vec<Vec<Access>>,
    /// The same of each recursion, under names of its own, by block and node.
    repeated: FxHashMap<(u32, u32), Vec<Access>>,
}

impl<'p> Whole<'p> {
    pub(super) fn new(program: &'p Program, assets: &'p Assets) -> Self {
        let mut ends: Vec<u32> = (1..=program.blocks.len() as u32).collect();
        for block in (1..program.blocks.len()).rev() {
            if let Some((owner, _)) = program.blocks[block].owner {
                ends[owner as usize] = ends[owner as usize].max(ends[block]);
            }
        }
        let mut runs = vec![true; program.blocks.len()];
        for block in 1..program.blocks.len() {
            if let Some((owner, node)) = program.blocks[block].owner {
                let kind = &program.blocks[owner as usize].nodes[node as usize].kind;
                runs[block] = runs[owner as usize] && !never(kind);
            }
        }
        Self { program, assets, ends, runs, sums: Vec::new(), repeated: FxHashMap::default() }
    }

    /// Sums up what is done in each block.
    pub(super) fn sum(&mut self, repeated: FxHashMap<(u32, u32), Vec<Access>>) {
        self.repeated = repeated;
        self.sums = vec![Vec::new(); self.program.blocks.len()];
        for block in (1..self.program.blocks.len() as u32).rev() {
            self.sums[block as usize] = distinct(self.touches(block).1);
        }
    }

    /// What the nodes of a block do, composites with all that is inside them. There may be more accesses than
    /// touches: what the block yields is read when all of it has ended.
    pub(super) fn touches(&self, block: u32) -> (Vec<Touch>, Vec<Access>) {
        let mut from: Vec<Access> = self.declared(block, block + 1).to_vec();
        let mut touches: Vec<Touch> = Vec::with_capacity(from.len());
        touches.extend(from.iter().map(|it| Touch { asset: it.asset, mode: it.mode, node: it.at.node }));
        for &(_, node) in self.others(block) {
            let begin = from.len();
            match &self.program.blocks[block as usize].nodes[node as usize].kind {
                Kind::Scope { max_depth: Some(_), .. } => {
                    from.extend(self.repeated.get(&(block, node)).into_iter().flatten());
                }
                kind => {
                    // What each instance of the composite has for itself nobody else can name, but what
                    // contains that, they can.
                    inside(kind)
                        .into_iter()
                        .for_each(|inner| from.extend_from_slice(&self.sums[inner as usize]));
                }
            }
            touches.extend(from[begin..].iter().map(|it| Touch { asset: it.asset, mode: it.mode, node }));
        }
        let reads = &self.program.accesses.reads;
        let begin = reads.partition_point(|it| it.block < block);
        for it in reads[begin..].iter().take_while(|it| it.block == block) {
            let at = At { block, node: it.node, index: IMPLIED };
            from.push(Access { at, asset: it.asset, mode: READS });
            if it.node != YIELDS {
                touches.push(Touch { asset: it.asset, mode: READS, node: it.node });
            }
        }
        (touches, from)
    }

    /// Whether each instance of a block has an asset of its own that is called so.
    pub(super) fn inner(&self, asset: AssetId, block: u32) -> bool {
        let within = block..self.ends[block as usize];
        self.assets.home(asset).is_some_and(|home| within.contains(&home))
    }

    /// Whether two assets surely have something in common if they are meant in different instances of a block.
    pub(super) fn meet_apart(&self, a: AssetId, b: AssetId, block: u32) -> bool {
        let names = |asset: AssetId| {
            let mut names: Vec<AssetId> = self.assets.upwards(asset).collect();
            names.reverse();
            names
        };
        for (a, b) in names(a).into_iter().zip(names(b)) {
            let (Some(one), Some(two)) = (self.assets.symbol(a), self.assets.symbol(b)) else { return false };
            if a == b && !self.inner(a, block) {
                continue;
            }
            // What is selected meets all that is beside it, whatever that is called.
            let differ = one.is_selector() != two.is_selector();
            return differ || (!self.inner(a, block) && !self.inner(b, block) && one.overlaps(two));
        }
        true
    }

    /// What contains an asset, or is it, that is the same for all instances of a block.
    pub(super) fn outer(&self, asset: AssetId, block: u32) -> Option<AssetId> {
        self.assets.upwards(asset).find(|&at| !self.inner(at, block))
    }
}

/// The blocks inside a node that may run, except of a recursion.
pub(super) fn inside(kind: &Kind) -> Vec<u32> {
    match kind {
        Kind::Choice { branches, otherwise } => branches.iter().map(|it| it.1).chain(*otherwise).collect(),
        kind if never(kind) => vec![],
        Kind::Loop { body, .. }
        | Kind::Each { body, .. }
        | Kind::Scope { body, max_depth: None, .. }
        | Kind::Timeout { body, .. } => vec![*body],
        Kind::Handler { body, handler } => vec![*body, *handler],
        Kind::First { branches, .. } => branches.clone(),
        Kind::Scope { max_depth: Some(_), .. }
        | Kind::Task(_)
        | Kind::Compute(_)
        | Kind::Join
        | Kind::Sleep(_)
        | Kind::Signal(_) => vec![],
    }
}

/// Whether it has no turns.
fn never(kind: &Kind) -> bool {
    match kind {
        Kind::Loop { max, .. } => *max == Some(0),
        Kind::Each { items, .. } => most(items) == Some(0),
        _ => false,
    }
}

/// How many items there are, if that is known.
pub(super) fn most(items: &Bind) -> Option<usize> {
    match items {
        Bind::Const(bytes) => value::elements(bytes).ok()?.map(|items| items.len()),
        Bind::List(items) => Some(items.len()),
        _ => None,
    }
}

/// Checks a program. At most `most` races are listed of each block.
pub fn check(program: &Program, most: usize, threads: usize) -> Found {
    if program.accesses.assets.is_empty() {
        return Found::default();
    }
    with(program, |whole| whole.check(most, threads))
}

/// Does something with a program that is summed up.
pub(super) fn with<T>(program: &Program, act: impl FnOnce(&Whole<'_>) -> T) -> T {
    let again = |&(block, node): &(u32, u32)| {
        let kind = &program.blocks[block as usize].nodes[node as usize].kind;
        matches!(kind, Kind::Scope { max_depth: Some(_), .. })
    };
    if program.accesses.others.iter().any(again) {
        // What a recursion does is under names of its own.
        let mut assets = program.accesses.assets.clone();
        let repeated = repeated(program, &mut assets);
        let mut whole = Whole::new(program, &assets);
        whole.sum(repeated);
        return act(&whole);
    }
    let mut whole = Whole::new(program, &program.accesses.assets);
    whole.sum(FxHashMap::default());
    act(&whole)
}

/// One access of each asset and mode.
pub(super) fn distinct(mut accesses: Vec<Access>) -> Vec<Access> {
    accesses.sort_by_key(|it| (it.asset, it.mode, it.at));
    accesses.dedup_by_key(|it| (it.asset, it.mode));
    accesses
}

impl Whole<'_> {
    /// All accesses in a range of blocks.
    pub(super) fn accesses(&self, from: u32, to: u32) -> Vec<Access> {
        let mut found = self.declared(from, to).to_vec();
        found.retain(|it| self.runs[it.at.block as usize]);
        let reads = &self.program.accesses.reads;
        let begin = reads.partition_point(|it| it.block < from);
        let end = reads.partition_point(|it| it.block < to);
        let reads = reads[begin..end].iter().filter(|it| self.runs[it.block as usize]);
        found.extend(reads.map(|it| {
            let at = At { block: it.block, node: it.node, index: IMPLIED };
            Access { at, asset: it.asset, mode: READS }
        }));
        found
    }

    /// The declared accesses in a range of blocks.
    fn declared(&self, from: u32, to: u32) -> &[Access] {
        let uses = &self.program.accesses.uses;
        let begin = uses.partition_point(|it| it.at.block < from);
        &uses[begin..begin + uses[begin..].partition_point(|it| it.at.block < to)]
    }

    /// The nodes of a block that are neither tasks nor joins.
    fn others(&self, block: u32) -> &[(u32, u32)] {
        let others = &self.program.accesses.others;
        let begin = others.partition_point(|it| it.0 < block);
        &others[begin..begin + others[begin..].partition_point(|it| it.0 == block)]
    }

    pub(super) fn check(&self, most: usize, threads: usize) -> Found {
        let mut found = Found::default();
        for (block, code) in (0..).zip(&self.program.blocks) {
            if !self.runs[block as usize] {
                continue;
            }
            let (touches, from) = self.touches(block);
            self.nodes(block, &code.graph, &touches, &from, most, threads, &mut found);
            for &(_, node) in self.others(block) {
                self.composite(block, node, &code.nodes[node as usize].kind, most, threads, &mut found);
            }
        }
        self.moves(&mut found);
        found
    }

    /// Compares the nodes of a block.
    #[allow(clippy::too_many_arguments)]
    fn nodes(
        &self,
        block: u32,
        graph: &Csr,
        touches: &[Touch],
        from: &[Access],
        most: usize,
        threads: usize,
        found: &mut Found,
    ) {
        if touches.windows(2).all(|two| two[0].node == two[1].node) {
            if graph.edges() > 0 {
                found.spare.push((block, graph.pairs().collect()));
            }
            return;
        }
        let order = graph.order().expect("a program has no cycles");
        let listed = races(self.assets, graph, &order, touches, most, threads);
        found.more |= listed.more;
        let mut spare = listed.spare;
        // What stands for many orders at once is left alone.
        let nodes = &self.program.blocks[block as usize].nodes;
        let join = |node: u32| matches!(nodes[node as usize].kind, Kind::Join);
        spare.retain(|&(first, second)| !join(first) && !join(second));
        let spare = self.doubtful(spare, touches, graph.len());
        if !spare.is_empty() {
            found.spare.push((block, spare));
        }
        for (first, second) in listed.pairs {
            let (one, two) = (touches[first as usize].node, touches[second as usize].node);
            let meeting = Meeting::Unordered { block, first: one, second: two };
            found.races.push(Race { first: from[first as usize], second: from[second as usize], meeting });
        }
    }

    /// Of some edges those between nodes that do not conflict: others are needed, though they may follow from more.
    fn doubtful(&self, mut edges: Vec<(u32, u32)>, touches: &[Touch], nodes: usize) -> Vec<(u32, u32)> {
        if edges.is_empty() {
            return edges;
        }
        let mut starts = vec![0u32; nodes + 1];
        touches.iter().for_each(|it| starts[it.node as usize + 1] += 1);
        (0..nodes).for_each(|at| starts[at + 1] += starts[at]);
        let mut next = starts.clone();
        let mut sorted = vec![0u32; touches.len()];
        for (at, touch) in (0..).zip(touches) {
            let slot = &mut next[touch.node as usize];
            sorted[*slot as usize] = at;
            *slot += 1;
        }
        let of = |node: u32| &sorted[starts[node as usize] as usize..starts[node as usize + 1] as usize];
        edges.retain(|&(first, second)| {
            !of(first).iter().any(|&a| {
                let a = &touches[a as usize];
                let conflict =
                    |b: &Touch| !compatible(a.mode, b.mode) && self.assets.overlap(a.asset, b.asset);
                of(second).iter().any(|&b| conflict(&touches[b as usize]))
            })
        });
        edges
    }

    /// Compares what is inside one node.
    fn composite(
        &self,
        block: u32,
        node: u32,
        kind: &Kind,
        at_most: usize,
        threads: usize,
        found: &mut Found,
    ) {
        match kind {
            Kind::First { branches, .. } => {
                let mut touches = Vec::new();
                let mut from = Vec::new();
                for (branch, &inner) in (0..).zip(branches) {
                    for &access in &self.sums[inner as usize] {
                        touches.push(Touch { asset: access.asset, mode: access.mode, node: branch });
                        from.push(access);
                    }
                }
                let graph = Csr::new(branches.len(), &mut Vec::new());
                let order: Vec<u32> = (0..branches.len() as u32).collect();
                let listed = races(self.assets, &graph, &order, &touches, at_most, threads);
                found.more |= listed.more;
                for (first, second) in listed.pairs {
                    let meeting = Meeting::Branches(block, node);
                    found.races.push(Race {
                        first: from[first as usize],
                        second: from[second as usize],
                        meeting,
                    });
                }
            }
            Kind::Each { items, body, limit, .. }
                if *limit != Some(1) && most(items).is_none_or(|most| most > 1) =>
            {
                self.iterations(
                    *body,
                    &self.sums[*body as usize],
                    Meeting::Iterations(block, node),
                    at_most,
                    found,
                );
            }
            _ => {}
        }
    }

    /// Compares iterations of a body with each other: all with all, of which it is known that they meet.
    fn iterations(&self, body: u32, sum: &[Access], meeting: Meeting, most: usize, found: &mut Found) {
        let mut by_asset: FxHashMap<AssetId, Vec<usize>> = FxHashMap::default();
        for (at, access) in sum.iter().enumerate() {
            by_asset.entry(access.asset).or_default().push(at);
        }
        let mut pairs: FxHashSet<(usize, usize)> = FxHashSet::default();
        for (at, access) in sum.iter().enumerate() {
            // Of what differs only what contains it is known to be met, and what is selected from that.
            let Some(outer) = self.outer(access.asset, body) else { continue };
            let selected = match self.border(access.asset, body) {
                Some((outer, false)) => self.assets.selectors(outer),
                _ => &[],
            };
            for asset in
                std::iter::once(outer).chain(related(self.assets, outer)).chain(selected.iter().copied())
            {
                for &other in by_asset.get(&asset).into_iter().flatten() {
                    if !compatible(access.mode, sum[other].mode) {
                        pairs.insert((at.min(other), at.max(other)));
                    }
                }
            }
            if pairs.len() > most {
                found.more = true;
                break;
            }
        }
        let mut pairs: Vec<(usize, usize)> = pairs.into_iter().collect();
        pairs.sort_unstable();
        found.races.extend(pairs.into_iter().map(|(a, b)| Race { first: sum[a], second: sum[b], meeting }));
    }
}
