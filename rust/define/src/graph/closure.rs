//! Closure and reduction: how many pairs there are of which one leads to the other, and which edges say so.

use super::{Csr, Fault, Graph, Reach};

/// Up to so many nodes what takes more than linear time is exact; above, there are bounds.
pub const CLOSED: usize = 20_000;

/// A number, or what it lies between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub low: u64,
    pub high: u64,
}

impl Bounds {
    pub(super) fn exact(number: u64) -> Self {
        Self { low: number, high: number }
    }

    pub fn is_exact(&self) -> bool {
        self.low == self.high
    }
}

/// For each node a row of bits: those that it leads to.
pub(super) struct Closure {
    words: usize,
    rows: Vec<u64>,
}

impl Closure {
    pub(super) fn row(&self, node: u32) -> &[u64] {
        &self.rows[node as usize * self.words..][..self.words]
    }
}

impl Graph {
    /// The closure, and the edges that it follows from.
    pub(super) fn closed(&self) -> Result<(Closure, Csr), Fault> {
        let nodes = self.len();
        let words = nodes.div_ceil(64);
        let mut place = vec![0u32; nodes];
        self.order()?.iter().enumerate().for_each(|(at, &node)| place[node as usize] = at as u32);
        let mut rows = vec![0u64; nodes * words];
        let mut row = vec![0u64; words];
        let mut kept = Vec::new();
        let mut next: Vec<u32> = Vec::new();
        self.backward(|node| {
            row.fill(0);
            next.clear();
            next.extend_from_slice(self.successors(node));
            next.sort_unstable_by_key(|&it| place[it as usize]);
            for &to in &next {
                let at = to as usize;
                if row[at / 64] >> (at % 64) & 1 == 0 {
                    kept.push((node, to));
                    row[at / 64] |= 1 << (at % 64);
                    let below = &rows[at * words..][..words];
                    row.iter_mut().zip(below).for_each(|(word, below)| *word |= below);
                }
            }
            rows[node as usize * words..][..words].copy_from_slice(&row);
        })?;
        Ok((Closure { words, rows }, Csr::new(nodes, &mut kept)))
    }

    /// The graph without the edges that follow from others, and whether all of those are gone.
    ///
    /// Up to [`CLOSED`] nodes all are. Above, an edge goes if there is a way of two edges in its place; those
    /// that follow from longer ways only stay.
    ///
    /// # Errors
    /// A cycle.
    pub fn reduced(&self) -> Result<(Self, bool), Fault> {
        if self.len() <= CLOSED {
            return Ok((Self::from(self.closed()?.1), true));
        }
        self.forward(|_| ())?;
        let mut by = vec![u32::MAX; self.len()];
        let mut offsets = vec![0];
        let mut targets = Vec::new();
        for node in 0..self.len() as u32 {
            for &to in self.successors(node) {
                self.successors(to).iter().for_each(|&far| by[far as usize] = node);
            }
            targets.extend(self.successors(node).iter().filter(|&&to| by[to as usize] != node));
            offsets.push(targets.len() as u32);
        }
        Ok((Self::from(Csr { offsets, targets }), false))
    }
}

impl Reach {
    /// How many pairs of nodes there are of which the first leads to the second.
    ///
    /// Exact up to [`CLOSED`] nodes, and where the index is a drawing. Else at least what supporting vertices
    /// prove, and at most what both orders allow.
    pub fn pairs(&self) -> Bounds {
        let graph = self.graph();
        let seeming = ascending_pairs(&self.seconds());
        if let Some(exceptions) = self.exceptions() {
            return Bounds::exact(seeming - exceptions as u64);
        }
        if graph.len() <= CLOSED
            && let Ok((closure, _)) = graph.closed()
        {
            return Bounds::exact(closure.rows.iter().map(|word| u64::from(word.count_ones())).sum());
        }
        Bounds { low: self.proven().max(graph.edges() as u64), high: seeming }
    }
}

/// How many pairs of a permutation ascend.
fn ascending_pairs(places: &[u32]) -> u64 {
    // Sums over ranges that end at each place, as Fenwick (1994) has them.
    let mut sums = vec![0u32; places.len() + 1];
    let mut pairs = 0u64;
    for &place in places {
        let mut at = place as usize;
        while at > 0 {
            pairs += u64::from(sums[at]);
            at &= at - 1;
        }
        let mut at = place as usize + 1;
        while at < sums.len() {
            sums[at] += 1;
            at += at & at.wrapping_neg();
        }
    }
    pairs
}

#[cfg(test)]
#[path = "tests/closure.rs"]
mod tests;
