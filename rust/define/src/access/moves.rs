//! Uses of what was moved before.
//!
//! For each asset that is taken somewhere, what happens to it is followed through the program as if it ran: a take
//! leaves a mark, a write of the whole takes all marks away, and any other use must not meet one. Branches are
//! gone through side by side, what may happen not at all or several times is assumed to do either.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::assets::{AssetId, READS, TAKES, WRITES};
use super::check::{Access, At, Found, IMPLIED, Whole, inside, most};
use super::races::related;
use crate::algebra::compile::{Kind, YIELDS};

/// A move that may have happened.
#[derive(Clone, Copy, PartialEq)]
struct Mark {
    access: Access,
    /// The outermost body that has ended since, if each of its turns has an asset of its own that is called so.
    left: Option<u32>,
    /// In how many recursions it was.
    deep: u32,
}

/// Moves that may have happened; a few stand for all.
type Marks = Vec<Mark>;

/// So many moves are kept apart at a point.
const KEPT: usize = 8;

/// How often a recursion is gone into.
const DEEP: u32 = 2;

/// What may be marked at the end of a block, and at some point in it.
struct Flow {
    out: Marks,
    ever: Marks,
}

fn add(marks: &mut Marks, more: &[Mark]) {
    for &mark in more {
        let alike = |it: &&Mark| (it.left, it.deep) == (mark.left, mark.deep);
        if !marks.contains(&mark) && marks.iter().filter(alike).count() < KEPT {
            marks.push(mark);
        }
    }
}

impl Whole<'_> {
    /// Finds the uses of what was moved. Assets that have a race are left out: what comes first there is not known.
    pub(super) fn moves(&self, found: &mut Found) {
        if self.program.accesses.uses.iter().all(|it| it.mode != TAKES) {
            return;
        }
        let all = self.accesses(0, self.program.blocks.len() as u32);
        let mut taken: Vec<AssetId> = all.iter().filter(|it| it.mode == TAKES).map(|it| it.asset).collect();
        taken.sort_unstable();
        taken.dedup();
        let mut by_asset: FxHashMap<AssetId, Vec<Access>> = FxHashMap::default();
        all.into_iter().for_each(|it| by_asset.entry(it.asset).or_default().push(it));
        // By each asset those that are inside it, or meet it.
        let mut met: FxHashMap<AssetId, Vec<AssetId>> = FxHashMap::default();
        for &asset in by_asset.keys() {
            for other in related(self.assets, asset) {
                met.entry(other).or_default().push(asset);
            }
        }
        let mut moved = Vec::new();
        for asset in taken {
            let mut family = related(self.assets, asset);
            family.extend(met.get(&asset).into_iter().flatten());
            family.push(asset);
            family.sort_unstable();
            let one = |access: &Access| family.binary_search(&access.asset).is_ok();
            if found.races.iter().any(|race| one(&race.first) && one(&race.second)) {
                continue;
            }
            let uses = family.iter().filter_map(|it| by_asset.get(it)).flatten();
            let mut walk = Walk::new(self, asset, uses.copied());
            walk.block(0, &[], 0);
            moved.append(&mut walk.found);
        }
        moved.sort_unstable_by_key(|(first, second)| (second.at, first.at));
        moved.dedup();
        found.moved = moved;
    }
}

/// The walk through a program for one asset.
struct Walk<'w, 'p> {
    whole: &'w Whole<'p>,
    asset: AssetId,
    /// By block and the place of the node in the block's order; a composite that has some inside is there, too.
    nodes: FxHashMap<u32, BTreeMap<u32, (u32, Vec<Access>)>>,
    yields: FxHashMap<u32, Vec<Access>>,
    found: Vec<(Access, Access)>,
}

impl<'w, 'p> Walk<'w, 'p> {
    fn new(whole: &'w Whole<'p>, asset: AssetId, uses: impl Iterator<Item = Access>) -> Self {
        let mut walk = Self {
            whole,
            asset,
            nodes: FxHashMap::default(),
            yields: FxHashMap::default(),
            found: Vec::new(),
        };
        let mut orders: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
        let blocks = &whole.program.blocks;
        let mut rank = move |block: u32, node: u32| {
            let order = orders.entry(block).or_insert_with(|| {
                let code = &blocks[block as usize];
                let mut ranks = vec![0; code.nodes.len()];
                let order = code.graph.order().expect("a program has no cycles");
                order.iter().enumerate().for_each(|(at, &node)| ranks[node as usize] = at as u32);
                ranks
            });
            order[node as usize]
        };
        for access in uses {
            let At { block, node, .. } = access.at;
            if node == YIELDS {
                walk.yields.entry(block).or_default().push(access);
            } else {
                let here = walk.nodes.entry(block).or_default();
                here.entry(rank(block, node)).or_insert((node, Vec::new())).1.push(access);
            }
            walk.reach(block, &mut rank);
        }
        // A recursion does what the block does that it begins again.
        let again = whole.program.accesses.others.iter().filter_map(|&(block, node)| {
            match blocks[block as usize].nodes[node as usize].kind {
                Kind::Scope { body, max_depth: Some(_), .. } => Some((block, node, body)),
                _ => None,
            }
        });
        let mut again: Vec<(u32, u32, u32)> = again.collect();
        let mut left = usize::MAX;
        while again.len() < left {
            left = again.len();
            again.retain(|&(block, node, body)| {
                let begins = walk.nodes.contains_key(&body) || walk.yields.contains_key(&body);
                if begins {
                    let here = walk.nodes.entry(block).or_default();
                    here.entry(rank(block, node)).or_insert((node, Vec::new()));
                    walk.reach(block, &mut rank);
                }
                !begins
            });
        }
        walk
    }

    /// Notes that there is something inside the composites round a block.
    fn reach(&mut self, mut block: u32, rank: &mut impl FnMut(u32, u32) -> u32) {
        while let Some((owner, node)) = self.whole.program.blocks[block as usize].owner {
            let here = self.nodes.entry(owner).or_default();
            here.entry(rank(owner, node)).or_insert((node, Vec::new()));
            block = owner;
        }
    }

    /// A use at a point where these moves may have happened.
    fn look(&mut self, access: Access, marks: &[Mark]) {
        let met = marks.iter().filter(|mark| !self.renews(&access, mark) && self.meets(&access, mark));
        let met: Vec<(Access, Access)> = met.map(|mark| (mark.access, access)).collect();
        self.found.extend(met);
    }

    /// Whether what an access is to is surely there no more.
    fn meets(&self, access: &Access, mark: &Mark) -> bool {
        mark.left.is_none_or(|body| self.whole.meet_apart(access.asset, self.asset, body))
    }

    /// Whether an access makes the whole asset anew. Who writes a value needs it, so that it has to be there.
    fn renews(&self, access: &Access, mark: &Mark) -> bool {
        let assets = self.whole.assets;
        access.mode == WRITES
            && assets.covers(access.asset, self.asset)
            && !assets.is_value(self.asset)
            && mark.left.is_none_or(|body| !self.whole.inner(access.asset, body))
    }

    fn block(&mut self, block: u32, marks: &[Mark], deep: u32) -> Flow {
        let mut now = marks.to_vec();
        let mut ever = now.clone();
        let nodes: Vec<(u32, Vec<Access>)> =
            self.nodes.get(&block).map(|nodes| nodes.values().cloned().collect()).unwrap_or_default();
        for (node, uses) in nodes {
            for &access in &uses {
                self.look(access, &now);
            }
            let kind = &self.whole.program.blocks[block as usize].nodes[node as usize].kind;
            if let Kind::Task(_) = kind {
                now.retain(|mark| !uses.iter().any(|it| self.renews(it, mark)));
                for &access in uses.iter().filter(|it| it.mode == TAKES && it.asset == self.asset) {
                    now.retain(|mark| mark.left.is_some());
                    add(&mut now, &[Mark { access, left: None, deep }]);
                }
            } else {
                self.composite(kind, &uses, &mut now, &mut ever, deep);
            }
            add(&mut ever, &now);
        }
        for access in self.yields.get(&block).cloned().unwrap_or_default() {
            self.look(access, &now);
        }
        Flow { out: now, ever }
    }

    fn composite(&mut self, kind: &Kind, uses: &[Access], now: &mut Marks, ever: &mut Marks, deep: u32) {
        match kind {
            Kind::Choice { branches, otherwise } => {
                let mut out = Marks::new();
                for block in branches.iter().map(|it| it.1).chain(*otherwise) {
                    let flow = self.block(block, now, deep);
                    add(&mut out, &flow.out);
                    add(ever, &flow.ever);
                }
                if otherwise.is_none() {
                    add(&mut out, now);
                }
                *now = out;
            }
            Kind::Scope { body, max_depth: None, .. } | Kind::Timeout { body, .. } => {
                let flow = self.block(*body, now, deep);
                add(ever, &flow.ever);
                *now = flow.out;
            }
            Kind::Handler { body, handler } => {
                let tried = self.block(*body, now, deep);
                let handled = self.block(*handler, &tried.ever, deep);
                add(ever, &tried.ever);
                add(ever, &handled.ever);
                *now = tried.out;
                add(now, &handled.out);
            }
            Kind::Loop { body, max, .. } => {
                let again = max.is_none_or(|max| max > 1);
                self.turns(*body, 0, if again { 2 } else { max.unwrap_or(2) }, uses, now, ever, deep);
            }
            Kind::Each { items, body, limit, .. } => {
                let known = most(items);
                let turns = known.map_or(2, |known| known.min(2)) as u32;
                // Side by side nothing of one iteration is before another.
                let turns = if *limit == Some(1) { turns } else { turns.min(1) };
                self.turns(*body, known.unwrap_or(0) as u32, turns, &[], now, ever, deep);
            }
            Kind::First { count, branches } => {
                let all = *count as usize == branches.len();
                let before = now.clone();
                for &block in branches {
                    let flow = self.block(block, if all { now } else { &before }, deep);
                    add(ever, &flow.ever);
                    match all {
                        true => *now = flow.out,
                        false => add(now, &flow.ever),
                    }
                }
            }
            Kind::Scope { body, max_depth: Some(most), .. } => {
                if deep < DEEP.min(*most) {
                    let before = now.clone();
                    let flow = self.block(*body, &self.left(*body, &before), deep + 1);
                    // What was moved before is still the own asset of who goes on.
                    let back = |marks: &[Mark]| {
                        let inside: Marks = marks.iter().copied().filter(|mark| mark.deep > deep).collect();
                        let mut back = self.left(*body, &inside);
                        let still =
                            |mark: &&Mark| self.left(*body, &[**mark]).iter().all(|it| marks.contains(it));
                        add(&mut back, &before.iter().filter(still).copied().collect::<Marks>());
                        back
                    };
                    add(ever, &back(&flow.ever));
                    *now = back(&flow.out);
                }
            }
            Kind::Task(_) | Kind::Compute(_) | Kind::Join | Kind::Sleep(_) | Kind::Signal(_) => {
                debug_assert!(inside(kind).is_empty());
            }
        }
    }

    /// A body that runs at least, and for this at most, so many times.
    #[allow(clippy::too_many_arguments)]
    fn turns(
        &mut self,
        body: u32,
        least: u32,
        most: u32,
        uses: &[Access],
        now: &mut Marks,
        ever: &mut Marks,
        deep: u32,
    ) {
        let again: Vec<Access> = uses.iter().filter(|it| self.is_read_again(it)).copied().collect();
        let mut out = if least == 0 { now.clone() } else { Marks::new() };
        for _ in 0..most {
            let flow = self.block(body, now, deep);
            let left = self.left(body, &flow.out);
            add(ever, &self.left(body, &flow.ever));
            again.iter().for_each(|&access| self.look(access, &left));
            add(&mut out, &left);
            add(now, &left);
        }
        *now = out;
    }

    /// The moves in a turn, once it has ended: the next one may have an asset of its own.
    fn left(&self, body: u32, marks: &[Mark]) -> Marks {
        let own = self.whole.inner(self.asset, body);
        // Outer blocks have smaller numbers.
        let left = |mark: &Mark| match own {
            true => Some(mark.left.map_or(body, |other| other.min(body))),
            false => mark.left,
        };
        let mut after = Marks::new();
        marks.iter().for_each(|mark| add(&mut after, &[Mark { left: left(mark), ..*mark }]));
        after
    }

    fn is_read_again(&self, access: &Access) -> bool {
        let reads = &self.whole.program.accesses.reads;
        access.mode == READS
            && access.at.index == IMPLIED
            && reads.iter().any(|it| {
                it.again
                    && it.asset == access.asset
                    && (it.block, it.node) == (access.at.block, access.at.node)
            })
    }
}
