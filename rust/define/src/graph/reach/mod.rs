//! Whether one node comes before another: an index that answers without looking at the graph, or nearly so.
//!
//! A graph that can be drawn in two orders, with few exceptions, is answered from its drawing; graphs that
//! are series-parallel, or nearly, are of that kind. Others have a label of 64 bytes a node, and a search
//! where labels do not tell.

mod drawing;
mod labels;
mod ranks;
mod search;

use std::hint::black_box;
use std::sync::Arc;

use rayon::prelude::*;

use self::drawing::Drawing;
use self::labels::Label;
pub use self::search::Scratch;
use super::{Fault, Graph};

/// Exceptions that a drawing may have a node: more would take more memory than labels do.
const EXCEPTIONS: usize = 12;

/// Queries that are looked at together, so that memory is waited for once.
const TOGETHER: usize = 16;

/// Queries that one thread takes at a time, at least.
const PORTION: usize = 16 * 1024;

/// Turns that each thread has: more, and searches begin further apart; fewer, and one ends late.
const TURNS: usize = 4;

/// Answers whether one node leads to another.
#[derive(Debug)]
pub struct Reach {
    graph: Arc<Graph>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Drawn(Drawing),
    Labelled(Vec<Label>),
}

impl Reach {
    /// # Errors
    /// A cycle.
    pub fn new(graph: Arc<Graph>) -> Result<Self, Fault> {
        let (first, second) = ranks::ranks(&graph)?;
        let kind = match Drawing::new(&graph, &first, &second, EXCEPTIONS * graph.len()) {
            Some(drawing) => Kind::Drawn(drawing),
            None => Kind::Labelled(labels::labels(&graph, &first, &second)?),
        };
        Ok(Self { graph, kind })
    }

    /// Bytes of the index, without the graph.
    pub fn bytes(&self) -> usize {
        match &self.kind {
            Kind::Drawn(drawing) => drawing.bytes(),
            Kind::Labelled(labels) => std::mem::size_of_val(&labels[..]),
        }
    }

    /// How many pairs the two orders have wrong, if they have so few that they are all there is.
    pub fn exceptions(&self) -> Option<usize> {
        match &self.kind {
            Kind::Drawn(drawing) => Some(drawing.exceptions()),
            Kind::Labelled(_) => None,
        }
    }

    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// The places of the nodes in the second order, by their places in the first.
    pub(super) fn seconds(&self) -> Vec<u32> {
        let mut seconds = vec![0; self.graph.len()];
        self.each_place(|first, second, _| seconds[first as usize] = second);
        seconds
    }

    /// Calls `each` with every node's places in both orders.
    pub(super) fn each_place(&self, mut each: impl FnMut(u32, u32, u32)) {
        for node in 0..self.graph.len() as u32 {
            let (first, second) = match &self.kind {
                Kind::Drawn(drawing) => drawing.place(node),
                Kind::Labelled(labels) => labels[node as usize].place(),
            };
            each(first, second, node);
        }
    }

    /// At least so many pairs are proven by supporting vertices.
    pub(super) fn proven(&self) -> u64 {
        match &self.kind {
            Kind::Drawn(_) => 0,
            Kind::Labelled(labels) => labels::proven(labels),
        }
    }

    /// Whether there is a way from one node to another. None leads to itself.
    ///
    /// # Errors
    /// A node that is not there.
    pub fn leads(&self, from: u32, to: u32, scratch: &mut Scratch) -> Result<bool, Fault> {
        self.graph.check(from)?;
        self.graph.check(to)?;
        Ok(self.way(from, to, scratch))
    }

    fn way(&self, from: u32, to: u32, scratch: &mut Scratch) -> bool {
        match &self.kind {
            Kind::Drawn(drawing) => drawing.leads(from, to),
            Kind::Labelled(labels) => labels[from as usize]
                .leads(&labels[to as usize])
                .unwrap_or_else(|| search::search(&self.graph, labels, from, to, scratch)),
        }
    }

    /// For each pair whether the first leads to the second, by as many threads.
    ///
    /// # Errors
    /// Lengths that differ, or a node that is not there.
    pub fn many(&self, from: &[u32], to: &[u32], threads: usize) -> Result<Vec<bool>, Fault> {
        if from.len() != to.len() {
            return Err(Fault::Lengths { sources: from.len(), targets: to.len() });
        }
        from.iter().chain(to).try_for_each(|&node| self.graph.check(node))?;
        let mut answers = vec![false; from.len()];
        // More threads than portions would have nothing to do.
        let threads = threads.min(from.len().div_ceil(PORTION));
        let size = (from.len() / (TURNS * threads.max(1))).max(PORTION);
        let work = from.par_chunks(size).zip(to.par_chunks(size)).zip(answers.par_chunks_mut(size));
        // A pool of its own that ends with the call: one that stays would not survive a fork.
        let pool = (threads > 1).then(|| rayon::ThreadPoolBuilder::new().num_threads(threads).build());
        match pool {
            Some(Ok(pool)) => pool.install(|| {
                work.for_each_init(Scratch::default, |scratch, ((from, to), answers)| {
                    self.answer(from, to, answers, scratch);
                });
            }),
            _ => self.answer(from, to, &mut answers, &mut Scratch::default()),
        }
        Ok(answers)
    }

    /// Answers what the index tells, and then searches for the rest in the order of their first nodes: searches
    /// that begin near each other look at the same part of the graph, which is in the cache by then.
    fn answer(&self, from: &[u32], to: &[u32], answers: &mut [bool], scratch: &mut Scratch) {
        let mut open = Vec::new();
        for (turn, (from, to)) in from.chunks(TOGETHER).zip(to.chunks(TOGETHER)).enumerate() {
            self.touch(from, to);
            for (pair, (&from, &to)) in (turn * TOGETHER..).zip(from.iter().zip(to)) {
                match &self.kind {
                    Kind::Drawn(drawing) => answers[pair] = drawing.leads(from, to),
                    Kind::Labelled(labels) => match labels[from as usize].leads(&labels[to as usize]) {
                        Some(told) => answers[pair] = told,
                        None => open.push((labels[from as usize].place().0, pair)),
                    },
                }
            }
        }
        let Kind::Labelled(labels) = &self.kind else { return };
        open.sort_unstable();
        for (_, pair) in open {
            answers[pair] = search::search(&self.graph, labels, from[pair], to[pair], scratch);
        }
    }

    fn touch(&self, from: &[u32], to: &[u32]) {
        let both = from.iter().chain(to);
        let seen = match &self.kind {
            Kind::Drawn(drawing) => both.fold(0, |sum, &node| sum ^ drawing.place(node).0),
            Kind::Labelled(labels) => both.fold(0, |sum, &node| sum ^ labels[node as usize].place().0),
        };
        black_box(seen);
    }
}

#[cfg(test)]
#[path = "../tests/reach.rs"]
mod tests;
