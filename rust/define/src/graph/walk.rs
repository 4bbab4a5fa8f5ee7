//! What comes before a node, and what after.

use super::{Csr, Fault, Graph};

impl Graph {
    /// All nodes that `node` leads to, over any number of edges, ascending; without itself, unless it is on a
    /// cycle.
    ///
    /// # Errors
    /// A node that is not there.
    pub fn descendants(&self, node: u32) -> Result<Vec<u32>, Fault> {
        self.check(node)?;
        Ok(reached(&self.after, node))
    }

    /// All nodes that lead to `node`, over any number of edges, ascending; without itself, unless it is on a
    /// cycle.
    ///
    /// # Errors
    /// A node that is not there.
    pub fn ancestors(&self, node: u32) -> Result<Vec<u32>, Fault> {
        self.check(node)?;
        Ok(reached(self.before(), node))
    }

    /// The nodes that are not done and whose predecessors all are, ascending.
    ///
    /// # Errors
    /// A node that is not there.
    pub fn ready(&self, done: &[u32]) -> Result<Vec<u32>, Fault> {
        let mut is_done = vec![false; self.len()];
        for &node in done {
            self.check(node)?;
            is_done[node as usize] = true;
        }
        let mut waits = is_done.clone();
        for from in (0..self.len() as u32).filter(|&from| !is_done[from as usize]) {
            self.successors(from).iter().for_each(|&to| waits[to as usize] = true);
        }
        Ok((0..self.len() as u32).filter(|&node| !waits[node as usize]).collect())
    }
}

fn reached(csr: &Csr, start: u32) -> Vec<u32> {
    let mut seen = vec![false; csr.len()];
    let mut found: Vec<u32> = Vec::new();
    let mut next = Some(start);
    let mut at = 0;
    while let Some(node) = next {
        for &to in csr.successors(node) {
            if !seen[to as usize] {
                seen[to as usize] = true;
                found.push(to);
            }
        }
        next = found.get(at).copied();
        at += 1;
    }
    if found.len() > csr.len() / 32 {
        return (0..csr.len() as u32).filter(|&node| seen[node as usize]).collect();
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
#[path = "tests/walk.rs"]
mod tests;
