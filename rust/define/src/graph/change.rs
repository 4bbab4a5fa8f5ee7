//! Graphs made from others: nodes taken out.

use super::{Csr, Fault, Graph};

impl Graph {
    /// The graph without some nodes and the edges at them, and the former ids of those that stay. They keep
    /// their order, and are numbered anew.
    ///
    /// # Errors
    /// A node that is not there.
    pub fn without(&self, nodes: &[u32]) -> Result<(Self, Vec<u32>), Fault> {
        const GONE: u32 = u32::MAX;
        let mut id = vec![0u32; self.len()];
        for &node in nodes {
            self.check(node)?;
            id[node as usize] = GONE;
        }
        let kept: Vec<u32> = (0..self.len() as u32).filter(|&node| id[node as usize] != GONE).collect();
        kept.iter().enumerate().for_each(|(at, &node)| id[node as usize] = at as u32);
        let mut offsets = vec![0];
        let mut targets = Vec::new();
        for &node in &kept {
            targets.extend(self.successors(node).iter().map(|&to| id[to as usize]).filter(|&to| to != GONE));
            offsets.push(targets.len() as u32);
        }
        Ok((Self::from(Csr { offsets, targets }), kept))
    }
}

#[cfg(test)]
#[path = "tests/change.rs"]
mod tests;
