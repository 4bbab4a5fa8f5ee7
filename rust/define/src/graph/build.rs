//! Graphs from arrays of sources and targets, in time linear in nodes and edges.
//!
//! Edges are sorted by counting: by target, then, walking the targets in order, by source. That leaves
//! every node's successors ascending and parallel edges next to each other. Either pass is left out where
//! the edges come sorted already.

use super::csr::running;
use super::{Csr, Fault, Graph};

/// As many nodes as there are ids, less one that stands for none.
pub(super) const NODES: usize = u32::MAX as usize - 1;
pub(super) const EDGES: usize = u32::MAX as usize - 1;

/// An array of node ids, whatever its kind of numbers. What it holds may change while it is read: the
/// graph is then a wrong one, or building it panics.
pub trait Indices {
    fn len(&self) -> usize;

    /// The number at a place; a negative one as a very large one.
    fn at(&self, place: usize) -> u64;

    /// The number as it stands there.
    fn shown(&self, place: usize) -> i128 {
        self.at(place).into()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Indices for [u32] {
    fn len(&self) -> usize {
        <[u32]>::len(self)
    }

    fn at(&self, place: usize) -> u64 {
        self[place].into()
    }
}

/// What one pass over the edges tells of them.
struct Survey {
    /// How many leave each node, and how many end in each; one place late.
    leaving: Vec<u32>,
    ending: Vec<u32>,
    ascending: bool,
    /// Whether they come sorted by source and target, each once.
    sorted: bool,
    /// Whether they come sorted by target.
    grouped: bool,
}

impl Graph {
    /// A graph of `nodes` nodes and an edge from each source to the target at the same place.
    ///
    /// # Errors
    /// Lengths that differ, ids that are not there, self-loops, too many nodes or edges.
    pub fn new<I: Indices + ?Sized>(nodes: usize, sources: &I, targets: &I) -> Result<Self, Fault> {
        let survey = survey(nodes, sources, targets)?;
        let ascending = survey.ascending;
        Ok(Self { after: successors(survey, sources, targets), ascending, ..Self::default() })
    }

    /// A graph of pairs, each from the first to the second.
    pub fn from_pairs(nodes: usize, pairs: &[(u32, u32)]) -> Result<Self, Fault> {
        let (sources, targets): (Vec<u32>, Vec<u32>) = pairs.iter().copied().unzip();
        Self::new(nodes, &sources[..], &targets[..])
    }
}

impl From<Csr> for Graph {
    /// # Panics
    /// If a node leads to itself.
    fn from(after: Csr) -> Self {
        assert!(after.pairs().all(|(from, to)| from != to), "a node leads to itself");
        let ascending = after.pairs().all(|(from, to)| from < to);
        Self { after, ascending, ..Self::default() }
    }
}

fn survey<I: Indices + ?Sized>(nodes: usize, sources: &I, targets: &I) -> Result<Survey, Fault> {
    if nodes > NODES {
        return Err(Fault::TooManyNodes { nodes });
    }
    let edges = sources.len();
    if edges > EDGES {
        return Err(Fault::TooManyEdges { edges });
    }
    if targets.len() != edges {
        return Err(Fault::Lengths { sources: edges, targets: targets.len() });
    }
    let (mut leaving, mut ending) = (vec![0u32; nodes + 1], vec![0u32; nodes + 1]);
    let (mut ascending, mut sorted, mut grouped) = (true, true, true);
    let mut last = None;
    for edge in 0..edges {
        let (from, to) = (sources.at(edge), targets.at(edge));
        if from >= nodes as u64 || to >= nodes as u64 {
            let node = if from >= nodes as u64 { sources.shown(edge) } else { targets.shown(edge) };
            return Err(Fault::OutOfRange { edge, node, nodes });
        }
        if from == to {
            return Err(Fault::SelfLoop { edge, node: from as u32 });
        }
        ascending &= from < to;
        sorted &= last.is_none_or(|it| it < (from, to));
        grouped &= last.is_none_or(|(_, it)| it <= to);
        last = Some((from, to));
        leaving[from as usize + 1] += 1;
        ending[to as usize + 1] += 1;
    }
    Ok(Survey { leaving, ending, ascending, sorted, grouped })
}

fn successors<I: Indices + ?Sized>(survey: Survey, sources: &I, targets: &I) -> Csr {
    let Survey { leaving: mut offsets, ending, sorted, grouped, .. } = survey;
    let edges = sources.len();
    running(&mut offsets);
    if sorted {
        return Csr { offsets, targets: (0..edges).map(|edge| targets.at(edge) as u32).collect() };
    }
    let mut out = Spread { place: offsets.clone(), offsets, targets: vec![0; edges], twice: false };
    if grouped {
        for edge in 0..edges {
            out.put(sources.at(edge) as u32, targets.at(edge) as u32);
        }
        return out.finished();
    }
    let mut place = ending;
    running(&mut place);
    let mut bucket = vec![0u32; edges];
    // `place` is one late, so that each run begins where the one before it ends: what is counted up
    // here ends as the bounds of the runs.
    let bounds = place.clone();
    for edge in 0..edges {
        let at = &mut place[targets.at(edge) as usize];
        bucket[*at as usize] = sources.at(edge) as u32;
        *at += 1;
    }
    for (to, bounds) in bounds.windows(2).enumerate() {
        for &from in &bucket[bounds[0] as usize..bounds[1] as usize] {
            out.put(from, to as u32);
        }
    }
    out.finished()
}

/// Successors being filled in, targets ascending.
struct Spread {
    offsets: Vec<u32>,
    place: Vec<u32>,
    targets: Vec<u32>,
    /// Whether an edge came twice, so that there are gaps.
    twice: bool,
}

impl Spread {
    fn put(&mut self, from: u32, to: u32) {
        let place = &mut self.place[from as usize];
        let at = *place as usize;
        if at > self.offsets[from as usize] as usize && self.targets[at - 1] == to {
            self.twice = true;
            return;
        }
        self.targets[at] = to;
        *place += 1;
    }

    fn finished(mut self) -> Csr {
        if self.twice {
            let mut filled = 0;
            for node in 0..self.offsets.len() - 1 {
                let run = self.offsets[node] as usize..self.place[node] as usize;
                self.offsets[node] = filled as u32;
                let len = run.len();
                self.targets.copy_within(run, filled);
                filled += len;
            }
            if let Some(end) = self.offsets.last_mut() {
                *end = filled as u32;
            }
            self.targets.truncate(filled);
            self.targets.shrink_to_fit();
        }
        Csr { offsets: self.offsets, targets: self.targets }
    }
}

impl Graph {
    /// Weights of distinct edges as they stand in `after()`, from one for each edge that the graph was made
    /// of. Of parallel edges the largest counts.
    ///
    /// # Errors
    /// Too few weights or too many; one that is negative, infinite or NaN; an edge that the graph has not.
    pub fn lengths<I: Indices + ?Sized>(
        &self,
        sources: &I,
        targets: &I,
        weights: &[f64],
    ) -> Result<Vec<f64>, Fault> {
        if weights.len() != sources.len() {
            return Err(Fault::EdgeWeights { given: weights.len(), edges: sources.len() });
        }
        let mut lengths = vec![0f64; self.edges()];
        for (edge, &weight) in weights.iter().enumerate() {
            let (from, to) = (sources.at(edge) as u32, targets.at(edge) as u32);
            if !super::critical::is_weight(weight) {
                return Err(Fault::EdgeWeight { edge, from, to, weight });
            }
            self.check(from)?;
            let at = self
                .successors(from)
                .binary_search(&to)
                .map_err(|_| Fault::NoNode { node: to, nodes: self.len() })?;
            let length = &mut lengths[self.after.slots(from).start + at];
            *length = weight.max(*length);
        }
        Ok(lengths)
    }
}

#[cfg(test)]
#[path = "tests/build.rs"]
mod tests;
