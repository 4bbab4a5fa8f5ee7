//! Two topological orders that differ as much as they can.
//!
//! The first goes depth-first; the second takes, of the nodes that are free, the one that the first has
//! last (Veloso, Cerf, Meira and Zaki 2014, after Kornaropoulos 2012). A node comes before another in both
//! orders if it leads to it; in a series-parallel graph whose parts are numbered one after another, only then.

use super::super::{Fault, Graph};

/// The place of each node in the first order, and in the second.
pub(super) fn ranks(graph: &Graph) -> Result<(Vec<u32>, Vec<u32>), Fault> {
    graph.forward(|_| ())?;
    let first = depth_first(graph);
    let second = last_first(graph, &first);
    Ok((first, second))
}

/// Places in the order against which nodes are left, successors visited from the last.
fn depth_first(graph: &Graph) -> Vec<u32> {
    const NONE: u32 = u32::MAX;
    let after = graph.after();
    let mut rank = vec![NONE; graph.len()];
    // How many successors of a node on the way are still to be visited.
    let mut left: Vec<u32> = (0..graph.len() as u32).map(|node| after.slots(node).len() as u32).collect();
    let mut entered = vec![false; graph.len()];
    let mut way = Vec::new();
    let mut next = graph.len() as u32;
    for source in graph.sources().into_iter().rev() {
        entered[source as usize] = true;
        way.push(source);
        while let Some(&node) = way.last() {
            let left = &mut left[node as usize];
            if *left > 0 {
                *left -= 1;
                let to = after.successors(node)[*left as usize];
                if !entered[to as usize] {
                    entered[to as usize] = true;
                    way.push(to);
                }
            } else {
                next -= 1;
                rank[node as usize] = next;
                way.pop();
            }
        }
    }
    rank
}

/// Places in the order that takes of the free nodes the one with the largest rank.
fn last_first(graph: &Graph, rank: &[u32]) -> Vec<u32> {
    let mut node_at = vec![0u32; rank.len()];
    rank.iter().enumerate().for_each(|(node, &rank)| node_at[rank as usize] = node as u32);
    let mut waits = graph.after().indegrees();
    let mut free = Ranks::new(rank.len());
    (0..rank.len()).filter(|&node| waits[node] == 0).for_each(|node| free.put(rank[node]));
    let mut place = vec![0u32; rank.len()];
    let mut next = 0;
    while let Some(last) = free.take() {
        let node = node_at[last as usize];
        place[node as usize] = next;
        next += 1;
        for &to in graph.successors(node) {
            waits[to as usize] -= 1;
            if waits[to as usize] == 0 {
                free.put(rank[to as usize]);
            }
        }
    }
    place
}

/// A set of small numbers that gives up its largest: a tree of words, each bit for a word below.
struct Ranks(Vec<Vec<u64>>);

impl Ranks {
    fn new(len: usize) -> Self {
        let mut floors = vec![vec![0; len.div_ceil(64).max(1)]];
        while let Some(below) = floors.last().map(Vec::len).filter(|&it| it > 1) {
            floors.push(vec![0; below.div_ceil(64)]);
        }
        Self(floors)
    }

    fn put(&mut self, number: u32) {
        let mut at = number as usize;
        for floor in &mut self.0 {
            floor[at / 64] |= 1 << (at % 64);
            at /= 64;
        }
    }

    fn take(&mut self) -> Option<u32> {
        let mut at = 0;
        for floor in self.0.iter().rev() {
            let word = floor[at];
            if word == 0 {
                return None;
            }
            at = at * 64 + 63 - word.leading_zeros() as usize;
        }
        let taken = at as u32;
        for floor in &mut self.0 {
            floor[at / 64] &= !(1 << (at % 64));
            if floor[at / 64] != 0 {
                break;
            }
            at /= 64;
        }
        Some(taken)
    }
}
