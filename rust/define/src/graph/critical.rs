//! The critical path: when each node can start, how late it may, and the longest path.
//!
//! As in the critical path method (Kelley and Walker 1959): a node starts when the last of its
//! predecessors has ended, and what that leaves over before it delays the end is its total float.

use super::{Fault, Graph};

/// A float below this share of the whole length is rounding, and counts as none.
pub const ROUNDING: f64 = 1e-9;

/// Times of each node, from the start of the whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Critical {
    /// When a node can start.
    pub earliest: Vec<f64>,
    /// When it must start, so that nothing ends later.
    pub latest: Vec<f64>,
    /// The difference: how long it may be put off. Exactly 0 where nothing may be.
    pub float: Vec<f64>,
    /// A longest path, of several the one of smallest ids from its start on.
    pub path: Vec<u32>,
    /// Its length: nodes and edges.
    pub length: f64,
}

impl Graph {
    /// The critical path by the weights of nodes and, if given, of edges, as they stand in `after()`.
    ///
    /// # Errors
    /// Too few weights or too many; one that is negative, infinite or NaN; a cycle; a sum that is infinite.
    pub fn critical(&self, weights: &[f64], edges: Option<&[f64]>) -> Result<Critical, Fault> {
        self.check_weights(weights)?;
        match edges {
            None => self.times(weights, |_| 0.0),
            Some(edges) => {
                self.check_lengths(edges)?;
                self.times(weights, |slot| edges[slot])
            }
        }
    }

    /// Says what is wrong with weights of nodes, if anything is.
    pub fn check_weights(&self, weights: &[f64]) -> Result<(), Fault> {
        if weights.len() != self.len() {
            return Err(Fault::NodeWeights { given: weights.len(), nodes: self.len() });
        }
        match weights.iter().position(|&it| !is_weight(it)) {
            Some(node) => Err(Fault::NodeWeight { node: node as u32, weight: weights[node] }),
            None => Ok(()),
        }
    }

    fn check_lengths(&self, edges: &[f64]) -> Result<(), Fault> {
        if edges.len() != self.edges() {
            return Err(Fault::EdgeWeights { given: edges.len(), edges: self.edges() });
        }
        let Some(edge) = edges.iter().position(|&it| !is_weight(it)) else { return Ok(()) };
        let (from, to) = self.after.pairs().nth(edge).expect("as many edges as weights");
        Err(Fault::EdgeWeight { edge, from, to, weight: edges[edge] })
    }

    fn times(&self, weights: &[f64], length_of: impl Fn(usize) -> f64) -> Result<Critical, Fault> {
        let mut earliest = vec![0f64; self.len()];
        self.forward(|node| {
            let end = earliest[node as usize] + weights[node as usize];
            for slot in self.after.slots(node) {
                let at = &mut earliest[self.after.targets[slot] as usize];
                *at = (end + length_of(slot)).max(*at);
            }
        })?;
        // How long the rest takes from a node's start on.
        let mut rest = vec![0f64; self.len()];
        let most = |rest: &[f64], node: u32| {
            let ways = self.after.slots(node);
            let ways = ways.map(|slot| length_of(slot) + rest[self.after.targets[slot] as usize]);
            ways.fold(0f64, f64::max)
        };
        self.backward(|node| rest[node as usize] = weights[node as usize] + most(&rest, node))?;
        let length = rest.iter().copied().fold(0f64, f64::max);
        if !length.is_finite() {
            let node = rest.iter().position(|it| !it.is_finite()).expect("their largest is not");
            return Err(Fault::Overflow { node: node as u32 });
        }
        let mut path = Vec::new();
        let mut next = rest.iter().position(|&it| it == length).map(|node| node as u32);
        while let Some(node) = next {
            path.push(node);
            let longest = most(&rest, node);
            let mut ways = self.after.slots(node);
            let way = ways.find(|&slot| length_of(slot) + rest[self.after.targets[slot] as usize] == longest);
            next = way.map(|slot| self.after.targets[slot]);
        }
        let mut latest = rest;
        let mut float = vec![0f64; self.len()];
        let rounding = length * ROUNDING;
        for ((latest, float), &earliest) in latest.iter_mut().zip(&mut float).zip(&earliest) {
            let start = length - *latest;
            if start - earliest > rounding {
                (*latest, *float) = (start, start - earliest);
            } else {
                *latest = earliest;
            }
        }
        Ok(Critical { earliest, latest, float, path, length })
    }
}

pub(super) fn is_weight(weight: f64) -> bool {
    weight.is_finite() && weight >= 0.0
}

#[cfg(test)]
#[path = "tests/critical.rs"]
mod tests;
