//! Draining a graph: which nodes may begin, while others are done.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::{Fault, Graph};

/// In place of the number of predecessors that a node still waits for.
const TAKEN: u32 = u32::MAX;
const DONE: u32 = u32::MAX - 1;

/// Hands out nodes whose predecessors are done: first in, first out, or the best ranked first.
#[derive(Debug)]
pub struct Drain {
    waits: Vec<u32>,
    ready: Ready,
    left: usize,
    taken: usize,
}

#[derive(Debug)]
enum Ready {
    Queue { nodes: Vec<u32>, from: usize },
    Ranked { ranks: Vec<f64>, heap: BinaryHeap<Ranked> },
}

/// Largest rank first, of equals the smaller id.
#[derive(Debug, PartialEq)]
struct Ranked(f64, Reverse<u32>);

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0).then_with(|| self.1.cmp(&other.1))
    }
}

impl Drain {
    /// Begins with the sources. With ranks, one for each node, the largest goes first, of equals the smaller
    /// id; else nodes go in the order in which they become ready.
    ///
    /// # Errors
    /// A cycle, too few ranks or too many, or one that is not a number.
    pub fn new(graph: &Graph, ranks: Option<Vec<f64>>) -> Result<Self, Fault> {
        if !graph.ascending {
            graph.order()?;
        }
        let waits = graph.after.indegrees();
        let free = (0..graph.len() as u32).filter(|&node| waits[node as usize] == 0);
        let ready = match ranks {
            None => Ready::Queue { nodes: free.collect(), from: 0 },
            Some(mut ranks) => {
                if ranks.len() != graph.len() {
                    return Err(Fault::NodeWeights { given: ranks.len(), nodes: graph.len() });
                }
                if let Some(node) = ranks.iter().position(|it| it.is_nan()) {
                    return Err(Fault::Rank { node: node as u32 });
                }
                // -0 and 0 are one rank.
                ranks.iter_mut().for_each(|rank| *rank += 0.0);
                let heap = free.map(|node| Ranked(ranks[node as usize], Reverse(node))).collect();
                Ready::Ranked { ranks, heap }
            }
        };
        Ok(Self { left: waits.len(), waits, ready, taken: 0 })
    }

    /// How many nodes are not done yet.
    pub fn left(&self) -> usize {
        self.left
    }

    /// How many were handed out and are not done.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// How many wait to be handed out.
    pub fn ready(&self) -> usize {
        match &self.ready {
            Ready::Queue { nodes, from } => nodes.len() - from,
            Ready::Ranked { heap, .. } => heap.len(),
        }
    }

    /// Hands out the next nodes, as many as there are up to `most`.
    pub fn take(&mut self, most: usize) -> Vec<u32> {
        let count = most.min(self.ready());
        let given = match &mut self.ready {
            Ready::Queue { nodes, from } if *from == 0 && count == nodes.len() => std::mem::take(nodes),
            Ready::Queue { nodes, from } => {
                let given = nodes[*from..*from + count].to_vec();
                *from += count;
                // What was handed out goes once it is the larger part.
                if *from * 2 > nodes.len() {
                    nodes.drain(..*from);
                    *from = 0;
                }
                given
            }
            Ready::Ranked { heap, .. } if count == heap.len() => {
                let mut all = std::mem::take(heap).into_vec();
                all.sort_unstable_by(|a, b| b.cmp(a));
                all.into_iter().map(|it| it.1.0).collect()
            }
            Ready::Ranked { heap, .. } => (0..count).map_while(|_| heap.pop()).map(|it| it.1.0).collect(),
        };
        given.iter().for_each(|&node| self.waits[node as usize] = TAKEN);
        self.taken += given.len();
        given
    }

    /// Notes that nodes are done: what waited for nothing else is ready then. `graph` is the one it was made
    /// of.
    ///
    /// # Errors
    /// A node that was not handed out, or is done already; those before it are done.
    pub fn done(&mut self, graph: &Graph, nodes: &[u32]) -> Result<(), Fault> {
        for &node in nodes {
            match self.waits.get_mut(node as usize) {
                Some(state) if *state == TAKEN => *state = DONE,
                Some(_) => return Err(Fault::NotTaken { node }),
                None => return Err(Fault::NoNode { node, nodes: graph.len() }),
            }
            self.left -= 1;
            self.taken -= 1;
            for &to in graph.successors(node) {
                let waits = &mut self.waits[to as usize];
                *waits -= 1;
                if *waits == 0 {
                    match &mut self.ready {
                        Ready::Queue { nodes, .. } => nodes.push(to),
                        Ready::Ranked { ranks, heap } => heap.push(Ranked(ranks[to as usize], Reverse(to))),
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests/drain.rs"]
mod tests;
