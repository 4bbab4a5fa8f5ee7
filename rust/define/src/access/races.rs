//! Which accesses of unordered nodes are incompatible.
//!
//! The accesses to one asset are looked at in a topological order. There they are runs of compatible ones, and
//! if all of each run come before all of the next, everything that conflicts is ordered, since order is
//! transitive. So the number of pairs to look at grows with the accesses. An asset and one that contains it are
//! compared by putting each access to the one between those to the other that come next before and after it.
//! Where a pair turns out to be unordered, all pairs of that asset are looked at.

use std::sync::Arc;

use super::assets::{AssetId, Assets, compatible};
use crate::graph::{Csr, Graph, Reach, Scratch};

/// An access of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    pub asset: AssetId,
    /// See `assets`.
    pub mode: u32,
    pub node: u32,
}

/// Pairs are looked up when there are so many, so that they take little memory.
const PAIRS: usize = 1 << 22;

/// Up to so many nodes the order is a word of bits a node.
const SMALL: usize = 64;

/// So many pairs of the accesses to an asset that has a race are looked at, at most.
const LISTED: usize = 1 << 22;

/// Whether nodes are ordered.
pub(super) enum Order {
    /// For each node those that it leads to.
    Small(Vec<u64>),
    Large(Box<Reach>),
}

impl Order {
    pub(super) fn new(graph: &Csr, order: &[u32]) -> Self {
        if graph.len() > SMALL {
            let reach = Reach::new(Arc::new(Graph::from(graph.clone())));
            // The caller's order shows that there is no cycle.
            return Self::Large(Box::new(reach.expect("an acyclic graph")));
        }
        let mut rows = vec![0u64; graph.len()];
        for &node in order.iter().rev() {
            for &next in graph.successors(node) {
                rows[node as usize] |= 1 << next | rows[next as usize];
            }
        }
        Self::Small(rows)
    }

    /// Whether each first one comes before its second.
    pub(super) fn many(&self, from: &[u32], to: &[u32], threads: usize) -> Vec<bool> {
        match self {
            Self::Small(rows) => {
                let pairs = from.iter().zip(to);
                pairs.map(|(&from, &to)| rows[from as usize] >> to & 1 == 1).collect()
            }
            Self::Large(reach) => reach.many(from, to, threads).expect("nodes of the graph"),
        }
    }

    fn one(&self, from: u32, to: u32, scratch: &mut Scratch) -> bool {
        match self {
            Self::Small(rows) => rows[from as usize] >> to & 1 == 1,
            Self::Large(reach) => reach.leads(from, to, scratch).expect("nodes of the graph"),
        }
    }
}

/// Which accesses conflict.
#[derive(Debug, Default)]
pub struct Races {
    /// By their places in what was given; the first of a pair is the one that was given first.
    pub pairs: Vec<(u32, u32)>,
    /// There are more.
    pub more: bool,
    /// Edges of the graph that no pair needed; not those that follow from others alone.
    pub spare: Vec<(u32, u32)>,
}

/// The races among accesses of nodes, of which at most `most` are listed. `order` is a topological order of the
/// graph's nodes.
///
/// Time grows with nodes, edges and accesses; with the depth of names; where selectors are side by side, with
/// their pairs; and where many read an asset while others write to what is inside it, with those pairs.
pub fn races(
    assets: &Assets,
    graph: &Csr,
    order: &[u32],
    touches: &[Touch],
    most: usize,
    threads: usize,
) -> Races {
    let mut search = Search::new(assets, graph, order, touches, Some(threads));
    search.all();
    let used = std::mem::take(&mut search.used);
    let mut found = search.list(most);
    if used.iter().map(|word| word.count_ones() as usize).sum::<usize>() < graph.edges() {
        let unused = graph.pairs().enumerate().filter(|(at, _)| used[at / 64] >> (at % 64) & 1 == 0);
        found.spare = unused.map(|(_, edge)| edge).collect();
    }
    found
}

/// Pairs of nodes which, if each first one came before its second, would leave no race: each incompatible pair
/// would be ordered as it is in `order`. Those that are ordered by the graph already are left out.
pub fn unordered(
    assets: &Assets,
    graph: &Csr,
    order: &[u32],
    touches: &[Touch],
    threads: usize,
) -> Vec<(u32, u32)> {
    let mut search = Search::new(assets, graph, order, touches, Some(threads));
    search.all();
    search.nodes()
}

/// The same, with those that are ordered by the graph.
pub fn needed(assets: &Assets, graph: &Csr, order: &[u32], touches: &[Touch]) -> Vec<(u32, u32)> {
    let mut search = Search::new(assets, graph, order, touches, None);
    search.all();
    search.nodes()
}

/// An access where it stands among those to its asset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    rank: u32,
    mode: u32,
    /// Its place in what was given.
    at: u32,
    node: u32,
}

/// Accesses by asset, and within by rank and mode.
struct Table {
    starts: Vec<u32>,
    slots: Vec<Slot>,
}

impl Table {
    fn new(assets: usize, touches: &[Touch], rank: &[u32]) -> Self {
        let mut starts = vec![0u32; assets + 1];
        for touch in touches {
            starts[touch.asset as usize + 1] += 1;
        }
        for at in 0..assets {
            starts[at + 1] += starts[at];
        }
        let mut next = starts.clone();
        let mut slots = vec![Slot::default(); touches.len()];
        for (at, touch) in (0..).zip(touches) {
            let place = &mut next[touch.asset as usize];
            let rank = rank[touch.node as usize];
            slots[*place as usize] = Slot { rank, mode: touch.mode, at, node: touch.node };
            *place += 1;
        }
        for asset in 0..assets {
            let of = &mut slots[starts[asset] as usize..starts[asset + 1] as usize];
            // Most often they come in order.
            if !of.is_sorted() {
                of.sort_unstable();
            }
        }
        Self { starts, slots }
    }

    fn of(&self, asset: AssetId) -> &[Slot] {
        let asset = asset as usize;
        &self.slots[self.starts[asset] as usize..self.starts[asset + 1] as usize]
    }
}

/// Two accesses of which the first has to come before the second, and their nodes.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    first: u32,
    second: u32,
    from: u32,
    to: u32,
}

struct Search<'s> {
    assets: &'s Assets,
    touches: &'s [Touch],
    table: Table,
    rank: Vec<u32>,
    order: Option<Order>,
    graph: &'s Csr,
    sequence: &'s [u32],
    /// With how many threads pairs are looked up; if they are not, all of them are kept.
    threads: Option<usize>,
    /// Pairs that have to be ordered, and have not been looked up.
    asked: Vec<Pair>,
    /// Pairs that are not ordered.
    failed: Vec<Pair>,
    /// A bit an edge: it is one of the pairs.
    used: Vec<u64>,
}

impl<'s> Search<'s> {
    fn new(
        assets: &'s Assets,
        graph: &'s Csr,
        sequence: &'s [u32],
        touches: &'s [Touch],
        threads: Option<usize>,
    ) -> Self {
        let mut rank = vec![0u32; graph.len()];
        sequence.iter().enumerate().for_each(|(at, &node)| rank[node as usize] = at as u32);
        Self {
            assets,
            touches,
            table: Table::new(assets.len(), touches, &rank),
            rank,
            order: None,
            graph,
            sequence,
            threads,
            asked: Vec::new(),
            failed: Vec::new(),
            used: vec![0; if threads.is_some() { graph.edges().div_ceil(64) } else { 0 }],
        }
    }
}

impl Search<'_> {
    fn all(&mut self) {
        for asset in 0..self.assets.len() as AssetId {
            if self.table.of(asset).is_empty() {
                continue;
            }
            self.own(asset);
            for other in related(self.assets, asset) {
                if !self.table.of(other).is_empty() {
                    self.between(other, asset);
                }
            }
        }
        self.look_up();
    }

    /// Looks up what was asked for once it is much.
    fn relieve(&mut self) {
        if self.asked.len() >= PAIRS {
            self.look_up();
        }
    }

    /// Asks for what has to be ordered among the accesses to one asset.
    fn own(&mut self, asset: AssetId) {
        let (begin, end) =
            (self.table.starts[asset as usize] as usize, self.table.starts[asset as usize + 1] as usize);
        let (mut before, mut at) = (begin..begin, begin);
        while at < end {
            let next = run(&self.table.slots[..end], at);
            for first in before.clone() {
                let one = self.table.slots[first];
                self.asked.extend(self.table.slots[at..next].iter().filter_map(|two| pair(&one, two)));
                self.relieve();
            }
            (before, at) = (at..next, next);
        }
    }

    /// Asks for what has to be ordered between the accesses to two assets that overlap.
    fn between(&mut self, outer: AssetId, inner: AssetId) {
        for place in 0..self.table.of(inner).len() {
            let slot = self.table.of(inner)[place];
            let of = self.table.of(outer);
            let conflicts = |at: usize| !compatible(slot.mode, of[at].mode);
            let begin = of.partition_point(|other| other.rank < slot.rank);
            let end = begin + of[begin..].partition_point(|other| other.rank <= slot.rank);
            let (mut before, mut after) = (0..0, 0..0);
            let mut at = begin;
            while at > 0 && before.is_empty() {
                let start = run_back(of, at);
                if conflicts(at - 1) {
                    before = start..at;
                }
                at = start;
            }
            let mut at = end;
            while at < of.len() && after.is_empty() {
                let stop = run(of, at);
                if conflicts(at) {
                    after = at..stop;
                }
                at = stop;
            }
            self.asked.extend(of[before].iter().filter_map(|first| pair(first, &slot)));
            self.asked.extend(of[after].iter().filter_map(|second| pair(&slot, second)));
            self.relieve();
        }
    }

    /// Looks up all pairs that were asked for.
    fn look_up(&mut self) {
        let Some(threads) = self.threads else {
            self.failed.append(&mut self.asked);
            return;
        };
        if self.asked.is_empty() {
            return;
        }
        // Most are edges, which are quickly found where their nodes come in order.
        let mut open = Vec::new();
        for pair in by_first(&mut self.asked, self.graph.len()) {
            match self.graph.successors(pair.from).binary_search(&pair.to) {
                Ok(at) => {
                    let slot = self.graph.slots(pair.from).start + at;
                    self.used[slot / 64] |= 1 << (slot % 64);
                }
                Err(_) => open.push(pair),
            }
        }
        if open.is_empty() {
            return;
        }
        let order = self.order.get_or_insert_with(|| Order::new(self.graph, self.sequence));
        let from: Vec<u32> = open.iter().map(|it| it.from).collect();
        let to: Vec<u32> = open.iter().map(|it| it.to).collect();
        let answers = order.many(&from, &to, threads);
        self.failed.extend(open.into_iter().zip(answers).filter(|it| !it.1).map(|it| it.0));
    }

    /// The nodes of the pairs that are not ordered, each pair once.
    fn nodes(self) -> Vec<(u32, u32)> {
        let mut pairs: Vec<(u32, u32)> = self.failed.iter().map(|it| (it.from, it.to)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }

    /// Lists the races of the assets that have some.
    fn list(mut self, most: usize) -> Races {
        let mut found = Races::default();
        let asset = |at: u32| self.touches[at as usize].asset;
        let mut racing: Vec<AssetId> =
            self.failed.iter().flat_map(|it| [asset(it.first), asset(it.second)]).collect();
        racing.sort_unstable();
        racing.dedup();
        let Some(order) = self.order.take().filter(|_| !racing.is_empty()) else { return found };
        let mut scratch = Scratch::default();
        let mut looked = 0;
        let mut compare = |a: u32, b: u32, found: &mut Races| {
            let (one, two) = (&self.touches[a as usize], &self.touches[b as usize]);
            if one.node == two.node || compatible(one.mode, two.mode) {
                return true;
            }
            looked += 1;
            let (from, to) = match self.rank[one.node as usize] < self.rank[two.node as usize] {
                true => (one.node, two.node),
                false => (two.node, one.node),
            };
            if !order.one(from, to, &mut scratch) {
                found.pairs.push((a.min(b), a.max(b)));
            }
            looked < LISTED
        };
        let is_racing = |asset: AssetId| racing.binary_search(&asset).is_ok();
        'all: for asset in 0..self.assets.len() as AssetId {
            let of = self.table.of(asset);
            if of.is_empty() {
                continue;
            }
            if is_racing(asset) {
                for (at, a) in of.iter().enumerate() {
                    for b in &of[at + 1..] {
                        if found.pairs.len() > most || !compare(a.at, b.at, &mut found) {
                            found.more = true;
                            break 'all;
                        }
                    }
                }
            }
            for other in related(self.assets, asset) {
                if !is_racing(asset) && !is_racing(other) {
                    continue;
                }
                for a in of {
                    for b in self.table.of(other) {
                        if found.pairs.len() > most || !compare(a.at, b.at, &mut found) {
                            found.more = true;
                            break 'all;
                        }
                    }
                }
            }
        }
        found.pairs.sort_unstable();
        found.pairs.dedup();
        found.more |= found.pairs.len() > most;
        found.pairs.truncate(most);
        found
    }
}

/// Two accesses as a pair, unless one node has both.
fn pair(first: &Slot, second: &Slot) -> Option<Pair> {
    let pair = Pair { first: first.at, second: second.at, from: first.node, to: second.node };
    (pair.from != pair.to).then_some(pair)
}

/// Takes pairs of accesses, ordered by the nodes of the first ones.
fn by_first(pairs: &mut Vec<Pair>, nodes: usize) -> Vec<Pair> {
    if pairs.len() < nodes / 8 {
        let mut sorted = std::mem::take(pairs);
        sorted.sort_unstable_by_key(|it| (it.from, it.to));
        return sorted;
    }
    let mut starts = vec![0u32; nodes + 1];
    pairs.iter().for_each(|it| starts[it.from as usize + 1] += 1);
    (0..nodes).for_each(|at| starts[at + 1] += starts[at]);
    let mut sorted = vec![Pair::default(); pairs.len()];
    for pair in pairs.drain(..) {
        let slot = &mut starts[pair.from as usize];
        sorted[*slot as usize] = pair;
        *slot += 1;
    }
    sorted
}

/// Where the run of compatible accesses ends that begins at a place.
fn run(of: &[Slot], at: usize) -> usize {
    let mode = of[at].mode;
    if !compatible(mode, mode) {
        return at + 1;
    }
    at + of[at..].iter().take_while(|it| it.mode == mode).count()
}

/// Where the run begins that ends before a place.
fn run_back(of: &[Slot], end: usize) -> usize {
    let mode = of[end - 1].mode;
    if !compatible(mode, mode) {
        return end - 1;
    }
    end - of[..end].iter().rev().take_while(|it| it.mode == mode).count()
}

/// The assets that an asset surely has something in common with: those that contain it, and selectors that meet it
/// or what contains it. Of two that are related so, one is named by the other.
pub(super) fn related(assets: &Assets, asset: AssetId) -> Vec<AssetId> {
    let mut found = Vec::new();
    for at in assets.upwards(asset) {
        if at != asset {
            found.push(at);
        }
        let Some(symbol) = assets.symbol(at) else { continue };
        let beside = assets.selectors(assets.parent(at));
        let meets = beside.iter().filter(|&&other| {
            // Of two selectors the later one names the other.
            let earlier = !symbol.is_selector() || other < at;
            other != at && earlier && assets.symbol(other).is_some_and(|it| it.overlaps(symbol))
        });
        found.extend(meets);
    }
    found
}
