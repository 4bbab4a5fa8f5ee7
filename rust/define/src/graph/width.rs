//! Width: the largest set of nodes of which none leads to another.
//!
//! It is as large as the fewest chains that cover all nodes are many (Dilworth 1950), which a largest matching
//! in the closure tells (Fulkerson 1956), found as Hopcroft and Karp (1973) do.

use super::closure::Closure;
use super::{Bounds, CLOSED, Graph, Reach};

const NONE: u32 = u32::MAX;

/// How many nodes may run at one time, and such nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Width {
    pub size: Bounds,
    /// A set of nodes of which none leads to another, ascending; as large as `size.low`.
    pub antichain: Vec<u32>,
}

impl Reach {
    /// The largest set of nodes of which none leads to another.
    ///
    /// Exact up to [`CLOSED`] nodes, and where the index is a drawing without exceptions. Else it is at least
    /// as large as the largest level, and the largest set that the two orders tell; and at most as large as
    /// some paths are many that cover all nodes.
    pub fn width(&self) -> Width {
        let graph = self.graph();
        if graph.len() <= CLOSED
            && let Ok((closure, _)) = graph.closed()
        {
            let antichain = Matching::new(graph.len(), &closure).largest();
            return Width { size: Bounds::exact(antichain.len() as u64), antichain };
        }
        let mut antichain = self.descending();
        let high = if self.exceptions() == Some(0) { antichain.len() } else { paths(graph) };
        if let Ok(levels) = graph.levels() {
            let largest = (0..levels.depth()).map(|level| levels.level(level)).max_by_key(|it| it.len());
            if let Some(largest) = largest.filter(|it| it.len() > antichain.len()) {
                antichain = largest.to_vec();
            }
        }
        Width { size: Bounds { low: antichain.len() as u64, high: high as u64 }, antichain }
    }

    /// The longest row of nodes that ascends in the first order and descends in the second.
    fn descending(&self) -> Vec<u32> {
        let mut by_first = vec![(0, 0); self.graph().len()];
        self.each_place(|first, second, node| by_first[first as usize] = (second, node));
        // The rows' ends: of each length the one that is farthest on in the second order (Schensted 1961).
        let mut ends: Vec<(u32, u32)> = Vec::new();
        let mut before = vec![NONE; by_first.len()];
        for &(second, node) in &by_first {
            let length = ends.partition_point(|&(end, _)| end > second);
            if let Some(&(_, last)) = length.checked_sub(1).and_then(|it| ends.get(it)) {
                before[node as usize] = last;
            }
            if length == ends.len() {
                ends.push((second, node));
            } else {
                ends[length] = (second, node);
            }
        }
        let mut row = Vec::with_capacity(ends.len());
        let mut next = ends.last().map_or(NONE, |&(_, node)| node);
        while next != NONE {
            row.push(next);
            next = before[next as usize];
        }
        row.sort_unstable();
        row
    }
}

/// How many paths cover all nodes, if each goes on to the first successor that no other has.
fn paths(graph: &Graph) -> usize {
    let mut covered = vec![false; graph.len()];
    let mut joined = 0;
    for node in 0..graph.len() as u32 {
        if let Some(&next) = graph.successors(node).iter().find(|&&to| !covered[to as usize]) {
            covered[next as usize] = true;
            joined += 1;
        }
    }
    graph.len() - joined
}

/// Nodes matched to nodes that they lead to, each at most once on either side.
struct Matching<'c> {
    closure: &'c Closure,
    /// The node that a node goes on to, and the one that it comes from.
    next: Vec<u32>,
    last: Vec<u32>,
    /// How many matched pairs a node is away from one that goes on to none.
    distance: Vec<u32>,
    /// The nodes that are reached at each distance, as bits.
    layers: Vec<Vec<u64>>,
    /// The nodes not reached.
    fresh: Vec<u64>,
}

impl<'c> Matching<'c> {
    fn new(nodes: usize, closure: &'c Closure) -> Self {
        let mut fresh = vec![u64::MAX; nodes.div_ceil(64)];
        if let Some(end) = fresh.last_mut()
            && !nodes.is_multiple_of(64)
        {
            *end = (1 << (nodes % 64)) - 1;
        }
        let none = vec![NONE; nodes];
        Self { closure, next: none.clone(), last: none.clone(), distance: none, layers: vec![], fresh }
    }

    /// Matches as many as can be; the nodes that then are in no chain's way make the antichain.
    fn largest(mut self) -> Vec<u32> {
        let all = self.fresh.clone();
        self.greedy();
        loop {
            self.fresh.copy_from_slice(&all);
            if !self.layer() {
                break;
            }
            for node in 0..self.next.len() as u32 {
                if self.next[node as usize] == NONE {
                    self.augment(node);
                }
            }
        }
        // By König: reached as a node that goes on, and not as one that is gone on to.
        let reached = |node: usize| self.distance[node] != NONE;
        let fresh = |node: usize| self.fresh[node / 64] >> (node % 64) & 1 == 1;
        (0..self.next.len()).filter(|&node| reached(node) && fresh(node)).map(|node| node as u32).collect()
    }

    fn greedy(&mut self) {
        for node in 0..self.next.len() {
            let row = self.closure.row(node as u32);
            let free = row.iter().zip(&self.fresh).map(|(row, fresh)| row & fresh);
            if let Some((word, bits)) = free.enumerate().find(|&(_, bits)| bits != 0) {
                let to = word * 64 + bits.trailing_zeros() as usize;
                self.fresh[word] &= !(1 << (to % 64));
                self.next[node] = to as u32;
                self.last[to] = node as u32;
            }
        }
    }

    /// Reaches out from all nodes that go on to none, until one is reached that nobody goes on to.
    fn layer(&mut self) -> bool {
        self.layers.clear();
        self.distance.fill(NONE);
        let free = (0..self.next.len() as u32).filter(|&node| self.next[node as usize] == NONE);
        let mut here: Vec<u32> = free.collect();
        let mut found = false;
        while !here.is_empty() && !found {
            let distance = self.layers.len() as u32;
            here.iter().for_each(|&node| self.distance[node as usize] = distance);
            let mut layer = vec![0; self.fresh.len()];
            let mut beyond = Vec::new();
            for &node in &here {
                for (word, &row) in self.closure.row(node).iter().enumerate() {
                    let mut bits = row & self.fresh[word];
                    self.fresh[word] &= !bits;
                    layer[word] |= bits;
                    while bits != 0 {
                        let last = self.last[word * 64 + bits.trailing_zeros() as usize];
                        bits &= bits - 1;
                        found |= last == NONE;
                        beyond.extend((last != NONE).then_some(last));
                    }
                }
            }
            self.layers.push(layer);
            here = beyond;
        }
        found
    }

    /// Finds a way from `start` through the layers to a node that nobody goes on to, and takes it.
    fn augment(&mut self, start: u32) {
        // Each node on the way, where in its row the search stands, and the node it tries.
        let mut way = vec![(start, 0usize, NONE)];
        while let Some((node, word, tried)) = way.last_mut() {
            let Some(layer) = self.layers.get_mut(self.distance[*node as usize] as usize) else {
                way.pop();
                continue;
            };
            let row = self.closure.row(*node);
            while *word < row.len() && row[*word] & layer[*word] == 0 {
                *word += 1;
            }
            if *word == row.len() {
                way.pop();
                continue;
            }
            let bit = (row[*word] & layer[*word]).trailing_zeros();
            layer[*word] &= !(1 << bit);
            *tried = *word as u32 * 64 + bit;
            match self.last[*tried as usize] {
                NONE => {
                    for (node, _, to) in way {
                        self.next[node as usize] = to;
                        self.last[to as usize] = node;
                    }
                    return;
                }
                last => way.push((last, 0, NONE)),
            }
        }
    }
}

#[cfg(test)]
#[path = "tests/width.rs"]
mod tests;
