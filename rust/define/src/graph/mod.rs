//! Graphs of steps: built from index arrays, ordered, measured, searched, drained, grown.
//!
//! Nothing here calls itself, so that a chain of a million steps is a graph like any other, and every
//! answer is the same on every machine: where an order leaves a choice, the smaller id goes first.

mod build;
mod change;
mod closure;
mod critical;
mod csr;
mod drain;
mod fault;
mod grow;
mod order;
mod reach;
#[cfg(test)]
mod testing;
mod walk;
mod width;

use std::sync::OnceLock;

pub use self::build::Indices;
pub use self::closure::{Bounds, CLOSED};
pub use self::critical::{Critical, ROUNDING};
pub use self::csr::Csr;
pub use self::drain::Drain;
pub use self::fault::Fault;
pub use self::grow::Growing;
pub use self::order::Levels;
pub use self::reach::{Reach, Scratch};
pub use self::width::Width;

/// A directed graph of nodes 0, 1, …; without self-loops, parallel edges kept once.
#[derive(Debug, Default)]
pub struct Graph {
    after: Csr,
    /// Whether every edge leads to a larger id.
    ascending: bool,
    before: OnceLock<Csr>,
    sequence: OnceLock<Result<Vec<u32>, Vec<u32>>>,
}

impl Graph {
    pub fn len(&self) -> usize {
        self.after.len()
    }

    pub fn is_empty(&self) -> bool {
        self.after.is_empty()
    }

    /// How many distinct edges there are.
    pub fn edges(&self) -> usize {
        self.after.edges()
    }

    /// The edges by where they begin.
    pub fn after(&self) -> &Csr {
        &self.after
    }

    /// The edges by where they end; made when they are first asked for.
    pub fn before(&self) -> &Csr {
        self.before.get_or_init(|| self.after.turned())
    }

    /// The successors of `node`, ascending.
    pub fn successors(&self, node: u32) -> &[u32] {
        self.after.successors(node)
    }

    /// The predecessors of `node`, ascending.
    pub fn predecessors(&self, node: u32) -> &[u32] {
        self.before().successors(node)
    }

    /// The nodes that nothing leads to, ascending.
    pub fn sources(&self) -> Vec<u32> {
        let degrees = self.after.indegrees();
        (0..self.len() as u32).filter(|&node| degrees[node as usize] == 0).collect()
    }

    /// The nodes that lead nowhere, ascending.
    pub fn sinks(&self) -> Vec<u32> {
        (0..self.len() as u32).filter(|&node| self.after.slots(node).is_empty()).collect()
    }

    /// Says that there is no such node, if there is none.
    pub fn check(&self, node: u32) -> Result<(), Fault> {
        if (node as usize) < self.len() { Ok(()) } else { Err(Fault::NoNode { node, nodes: self.len() }) }
    }
}
