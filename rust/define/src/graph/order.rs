//! Topological order, the cycle that rules one out, and levels.

use super::{Fault, Graph};

/// Nodes by level: the number of edges on the longest way to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// The level of each node.
    pub of: Vec<u32>,
    /// All nodes by level, ascending within each.
    pub nodes: Vec<u32>,
    /// Where each level begins in `nodes`; one more at the end.
    pub starts: Vec<u32>,
}

impl Levels {
    /// How many levels there are: the number of nodes on the longest path.
    pub fn depth(&self) -> usize {
        self.starts.len() - 1
    }

    pub fn level(&self, level: usize) -> &[u32] {
        &self.nodes[self.starts[level] as usize..self.starts[level + 1] as usize]
    }
}

impl Graph {
    /// A topological order. Where every edge leads to a larger id, that of ids; else nodes follow as they
    /// become free, from the sources on, each node's successors by id.
    ///
    /// # Errors
    /// A cycle: the nodes in edge order from the smallest, which is not repeated.
    pub fn order(&self) -> Result<&[u32], Fault> {
        match self.sequence.get_or_init(|| self.sequence()) {
            Ok(order) => Ok(order),
            Err(cycle) => Err(Fault::Cycle(cycle.clone())),
        }
    }

    fn sequence(&self) -> Result<Vec<u32>, Vec<u32>> {
        if self.ascending { Ok((0..self.len() as u32).collect()) } else { self.after.order() }
    }

    /// Calls `each` with the nodes in topological order.
    pub(super) fn forward(&self, mut each: impl FnMut(u32)) -> Result<(), Fault> {
        if self.ascending {
            (0..self.len() as u32).for_each(each);
        } else {
            self.order()?.iter().for_each(|&node| each(node));
        }
        Ok(())
    }

    /// Calls `each` with the nodes against topological order.
    pub(super) fn backward(&self, mut each: impl FnMut(u32)) -> Result<(), Fault> {
        if self.ascending {
            (0..self.len() as u32).rev().for_each(each);
        } else {
            self.order()?.iter().rev().for_each(|&node| each(node));
        }
        Ok(())
    }

    /// The level of each node: the number of edges on the longest way to it.
    ///
    /// # Errors
    /// A cycle.
    pub fn heights(&self) -> Result<Vec<u32>, Fault> {
        let mut heights = vec![0u32; self.len()];
        self.forward(|node| {
            let next = heights[node as usize] + 1;
            for &to in self.successors(node) {
                let at = &mut heights[to as usize];
                *at = next.max(*at);
            }
        })?;
        Ok(heights)
    }

    /// All nodes by level.
    ///
    /// # Errors
    /// A cycle.
    pub fn levels(&self) -> Result<Levels, Fault> {
        let of = self.heights()?;
        let depth = of.iter().max().map_or(0, |&it| it as usize + 1);
        let mut starts = vec![0u32; depth + 1];
        for &level in &of {
            starts[level as usize + 1] += 1;
        }
        super::csr::running(&mut starts);
        let mut place = starts.clone();
        let mut nodes = vec![0; of.len()];
        for (node, &level) in of.iter().enumerate() {
            let at = &mut place[level as usize];
            nodes[*at as usize] = node as u32;
            *at += 1;
        }
        Ok(Levels { of, nodes, starts })
    }
}

#[cfg(test)]
#[path = "tests/order.rs"]
mod tests;
