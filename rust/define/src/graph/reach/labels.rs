//! What is kept of each node where a drawing does not say it all: 64 bytes, one cache line.
//!
//! Two orders and two levels rule pairs out. In either order a stretch around a node is known that it leads
//! to, and one that leads to it, as intervals of spanning trees are (Agrawal, Borgida and Jagadish 1989): that
//! proves ways within parts that are nearly series-parallel. Of 128 supporting vertices each node knows which
//! lead to it and which it leads to (Hanauer, Schulz and Trummer 2022): one between two nodes proves that the
//! first leads to the second; one that leads to the first and not to the second rules it out.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use super::super::{Csr, Fault, Graph};

const WORDS: usize = 2;
const SUPPORTS: usize = 64 * WORDS;

type Bits = [u64; WORDS];

#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct Label {
    first: Span,
    second: Span,
    /// Edges on the longest way to the node, and on the longest way from it.
    height: u32,
    depth: u32,
    /// The supporting vertices that it leads to, and that lead to it; one counts as both for itself.
    onward: Bits,
    origin: Bits,
}

/// Where a node stands in an order, and a stretch around it: it leads to all that follow up to `end`, and all
/// from `begin` on lead to it.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    begin: u32,
    place: u32,
    end: u32,
}

impl Span {
    /// Whether the stretch of either of two places, of which this comes first, proves a way.
    fn proves(self, to: Self) -> bool {
        (to.place <= self.end) | (to.begin <= self.place)
    }
}

impl Label {
    /// Whether one node leads to another, if that can be told; `None` is for a search.
    pub(super) fn leads(&self, to: &Self) -> Option<bool> {
        if !self.may(to) {
            return Some(false);
        }
        let (mut between, mut against) = (0, 0);
        for word in 0..WORDS {
            between |= self.onward[word] & to.origin[word];
            against |= self.origin[word] & !to.origin[word] | to.onward[word] & !self.onward[word];
        }
        if (between != 0) | self.first.proves(to.first) | self.second.proves(to.second) {
            Some(true)
        } else if against != 0 {
            Some(false)
        } else {
            None
        }
    }

    /// Whether orders and levels allow that one node leads to another.
    fn may(&self, to: &Self) -> bool {
        (self.first.place < to.first.place)
            & (self.second.place < to.second.place)
            & (self.height < to.height)
            & (self.depth > to.depth)
    }

    pub(super) fn height(&self) -> u32 {
        self.height
    }

    /// The place in both orders.
    pub(super) fn place(&self) -> (u32, u32) {
        (self.first.place, self.second.place)
    }
}

pub(super) fn labels(graph: &Graph, first: &[u32], second: &[u32]) -> Result<Vec<Label>, Fault> {
    let heights = graph.heights()?;
    let (firsts, seconds) = (spans(graph, first)?, spans(graph, second)?);
    let mut labels: Vec<Label> = (0..graph.len())
        .map(|at| Label { first: firsts[at], second: seconds[at], height: heights[at], ..Label::default() })
        .collect();
    for (number, node) in supports(graph, first).into_iter().enumerate() {
        let label = &mut labels[node as usize];
        label.onward[number / 64] |= 1 << (number % 64);
        label.origin[number / 64] |= 1 << (number % 64);
    }
    graph.backward(|node| {
        let mut label = labels[node as usize];
        for &to in graph.successors(node) {
            let to = &labels[to as usize];
            label.depth = label.depth.max(to.depth + 1);
            (0..WORDS).for_each(|word| label.onward[word] |= to.onward[word]);
        }
        labels[node as usize] = label;
    })?;
    graph.forward(|node| {
        let origin = labels[node as usize].origin;
        for &to in graph.successors(node) {
            let to = &mut labels[to as usize].origin;
            (0..WORDS).for_each(|word| to[word] |= origin[word]);
        }
    })?;
    Ok(labels)
}

/// The stretches around all nodes in an order: those of neighbours, as far as they follow one another.
fn spans(graph: &Graph, places: &[u32]) -> Result<Vec<Span>, Fault> {
    let mut spans: Vec<Span> = places.iter().map(|&place| Span { begin: place, place, end: place }).collect();
    let mut near: Vec<Span> = Vec::new();
    graph.backward(|node| {
        near.clear();
        near.extend(graph.successors(node).iter().map(|&to| spans[to as usize]));
        near.sort_unstable_by_key(|it| it.place);
        let end = &mut spans[node as usize].end;
        for it in &near {
            if it.place > *end + 1 {
                break;
            }
            *end = it.end.max(*end);
        }
    })?;
    graph.forward(|node| {
        near.clear();
        near.extend(graph.predecessors(node).iter().map(|&from| spans[from as usize]));
        near.sort_unstable_by_key(|it| Reverse(it.place));
        let begin = &mut spans[node as usize].begin;
        for it in &near {
            if it.place + 1 < *begin {
                break;
            }
            *begin = it.begin.min(*begin);
        }
    })?;
    Ok(spans)
}

/// The supporting vertices: of each stretch of the first order the node where most ways cross.
fn supports(graph: &Graph, first: &[u32]) -> Vec<u32> {
    let nodes = graph.len();
    let stretches = SUPPORTS.min(nodes);
    let ways = |csr: &Csr, node: u32| csr.slots(node).len() as u64;
    let mut best: Vec<Option<(u64, u32)>> = vec![None; stretches];
    for node in 0..nodes as u32 {
        let stretch = (first[node as usize] as usize * stretches) / nodes;
        let crossing = ways(graph.after(), node) * ways(graph.before(), node);
        let best = &mut best[stretch];
        if best.is_none_or(|(most, _)| crossing > most) {
            *best = Some((crossing, node));
        }
    }
    best.into_iter().flatten().map(|(_, node)| node).collect()
}

/// Sets of supporting vertices that are compared, at most, to count what they prove.
const COMPARED: usize = 1 << 26;

/// How many pairs have one of the supporting vertices between them; of some of these, if they are too many.
pub(super) fn proven(labels: &[Label]) -> u64 {
    let mut mask = [u64::MAX; WORDS];
    loop {
        let (mut onward, mut origin) = (FxHashMap::default(), FxHashMap::default());
        for label in labels {
            let masked = |bits: &Bits| -> Bits { std::array::from_fn(|word| bits[word] & mask[word]) };
            *onward.entry(masked(&label.onward)).or_insert(0u64) += 1;
            *origin.entry(masked(&label.origin)).or_insert(0u64) += 1;
        }
        if onward.len() * origin.len() <= COMPARED {
            let itself: u64 = mask.iter().map(|word| u64::from(word.count_ones())).sum();
            let common = |a: &Bits, b: &Bits| a.iter().zip(b).any(|(a, b)| a & b != 0);
            let of = |(bits, count): (&Bits, &u64)| -> u64 {
                count * origin.iter().filter(|(it, _)| common(bits, it)).map(|(_, count)| count).sum::<u64>()
            };
            return onward.iter().map(of).sum::<u64>() - itself.min(labels.len() as u64);
        }
        // Every other one goes.
        mask = mask.map(thinned);
    }
}

/// A mask without every other of its bits.
fn thinned(mask: u64) -> u64 {
    let mut keep = false;
    let bits = (0..64).filter(|bit| mask >> bit & 1 == 1).filter(|_| {
        keep = !keep;
        keep
    });
    bits.fold(0, |mask, bit| mask | 1 << bit)
}
