//! Graphs that grow while they run: new nodes, and edges that close no cycle.
//!
//! A topological order is kept up to date as Pearce and Kelly (2006) do it: an edge that goes against it
//! moves only the nodes between its ends that hang together with them.

use super::{Csr, Fault, Graph};

/// A graph to which nodes and edges are added, and from which nodes are taken.
#[derive(Clone, Debug, Default)]
pub struct Growing {
    after: Vec<Vec<u32>>,
    before: Vec<Vec<u32>>,
    /// The place of each node in the order, [`GONE`] for one that was removed; and the node at each place.
    place: Vec<u32>,
    order: Vec<u32>,
    edges: usize,
    seen: Vec<u32>,
    age: u32,
}

const GONE: u32 = u32::MAX;

impl Growing {
    /// # Errors
    /// A cycle.
    pub fn new(graph: &Graph) -> Result<Self, Fault> {
        let order = graph.order()?.to_vec();
        let mut place = vec![0; graph.len()];
        order.iter().enumerate().for_each(|(at, &node)| place[node as usize] = at as u32);
        let all = 0..graph.len() as u32;
        Ok(Self {
            after: all.clone().map(|node| graph.successors(node).to_vec()).collect(),
            before: all.map(|node| graph.predecessors(node).to_vec()).collect(),
            place,
            order,
            edges: graph.edges(),
            seen: vec![0; graph.len()],
            age: 0,
        })
    }

    /// How many ids there are, with those of removed nodes.
    pub fn len(&self) -> usize {
        self.place.len()
    }

    pub fn is_empty(&self) -> bool {
        self.place.is_empty()
    }

    pub fn edges(&self) -> usize {
        self.edges
    }

    /// The successors of a node, ascending.
    ///
    /// # Errors
    /// A node that is not there, or not any more.
    pub fn successors(&self, node: u32) -> Result<&[u32], Fault> {
        self.check(node)?;
        Ok(&self.after[node as usize])
    }

    /// The predecessors of a node, ascending.
    ///
    /// # Errors
    /// A node that is not there, or not any more.
    pub fn predecessors(&self, node: u32) -> Result<&[u32], Fault> {
        self.check(node)?;
        Ok(&self.before[node as usize])
    }

    /// The nodes that are there, in topological order.
    pub fn order(&self) -> impl Iterator<Item = u32> {
        self.order.iter().copied().filter(|&node| node != GONE)
    }

    /// Adds a node that comes after others, and says its id.
    ///
    /// # Errors
    /// A node that is not there, or too many nodes; nothing is added then.
    pub fn add_node(&mut self, after: &[u32]) -> Result<u32, Fault> {
        if self.len() >= super::build::NODES {
            return Err(Fault::TooManyNodes { nodes: self.len() + 1 });
        }
        after.iter().try_for_each(|&node| self.check(node))?;
        let node = self.len() as u32;
        let mut before = after.to_vec();
        before.sort_unstable();
        before.dedup();
        before.iter().for_each(|&it| self.after[it as usize].push(node));
        self.edges += before.len();
        self.after.push(Vec::new());
        self.before.push(before);
        self.place.push(self.order.len() as u32);
        self.order.push(node);
        self.seen.push(0);
        Ok(node)
    }

    /// Adds an edge; says whether it is new.
    ///
    /// # Errors
    /// A node that is not there, one and the same node, or a cycle that the edge would close, from the node
    /// that it leads to. Nothing changes then.
    pub fn add_edge(&mut self, from: u32, to: u32) -> Result<bool, Fault> {
        self.check(from)?;
        self.check(to)?;
        if from == to {
            return Err(Fault::SelfLoop { edge: 0, node: from });
        }
        let Err(at) = self.after[from as usize].binary_search(&to) else { return Ok(false) };
        if self.place[from as usize] > self.place[to as usize] {
            self.reorder(from, to)?;
        }
        self.after[from as usize].insert(at, to);
        let before = &mut self.before[to as usize];
        let place = before.binary_search(&from).unwrap_or_else(|place| place);
        before.insert(place, from);
        self.edges += 1;
        Ok(true)
    }

    /// Removes a node and the edges at it. Its id stays unused.
    ///
    /// # Errors
    /// A node that is not there, or not any more.
    pub fn remove(&mut self, node: u32) -> Result<(), Fault> {
        self.check(node)?;
        let (after, before) = (&mut self.after, &mut self.before);
        let (next, last) =
            (std::mem::take(&mut after[node as usize]), std::mem::take(&mut before[node as usize]));
        self.edges -= next.len() + last.len();
        next.iter().for_each(|&to| before[to as usize].retain(|&it| it != node));
        last.iter().for_each(|&from| after[from as usize].retain(|&it| it != node));
        self.order[self.place[node as usize] as usize] = GONE;
        self.place[node as usize] = GONE;
        Ok(())
    }

    /// The graph as it is now. Removed nodes are in it, with no edges.
    pub fn graph(&self) -> Graph {
        let mut offsets = vec![0];
        let mut targets = Vec::with_capacity(self.edges);
        for after in &self.after {
            targets.extend_from_slice(after);
            offsets.push(targets.len() as u32);
        }
        Graph::from(Csr { offsets, targets })
    }

    /// Whether there is a way from one node to another. None leads to itself.
    ///
    /// # Errors
    /// A node that is not there, or not any more.
    pub fn leads(&mut self, from: u32, to: u32) -> Result<bool, Fault> {
        self.check(from)?;
        self.check(to)?;
        Ok(from != to && self.ahead(from, to).is_err())
    }

    fn check(&self, node: u32) -> Result<(), Fault> {
        match self.place.get(node as usize) {
            Some(&GONE) => Err(Fault::Removed { node }),
            Some(_) => Ok(()),
            None => Err(Fault::NoNode { node, nodes: self.len() }),
        }
    }

    /// Moves what comes after `to` behind what comes before `from`.
    fn reorder(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        let mut ahead = self.ahead(to, from).map_err(Fault::Cycle)?;
        let mut behind = self.behind(from, self.place[to as usize]);
        let by_place = |node: &u32| self.place[*node as usize];
        ahead.sort_unstable_by_key(by_place);
        behind.sort_unstable_by_key(by_place);
        let moved: Vec<u32> = behind.into_iter().chain(ahead).collect();
        let mut places: Vec<u32> = moved.iter().map(|&node| self.place[node as usize]).collect();
        places.sort_unstable();
        for (node, place) in moved.into_iter().zip(places) {
            self.place[node as usize] = place;
            self.order[place as usize] = node;
        }
        Ok(())
    }

    /// The nodes that `start` leads to and that stand before `end`; or the way from one to the other.
    fn ahead(&mut self, start: u32, end: u32) -> Result<Vec<u32>, Vec<u32>> {
        let last = self.place[end as usize];
        self.grow_older();
        self.seen[start as usize] = self.age;
        let mut found = vec![start];
        let mut from = vec![0];
        let mut at = 0;
        while at < found.len() {
            for &next in &self.after[found[at] as usize] {
                if next == end {
                    let mut way = vec![end];
                    while at > 0 {
                        way.push(found[at]);
                        at = from[at];
                    }
                    way.push(start);
                    way.reverse();
                    return Err(way);
                }
                if self.place[next as usize] < last && self.seen[next as usize] != self.age {
                    self.seen[next as usize] = self.age;
                    found.push(next);
                    from.push(at);
                }
            }
            at += 1;
        }
        Ok(found)
    }

    /// The nodes that lead to `start` and stand behind a place.
    fn behind(&mut self, start: u32, place: u32) -> Vec<u32> {
        self.grow_older();
        self.seen[start as usize] = self.age;
        let mut found = vec![start];
        let mut at = 0;
        while at < found.len() {
            for &next in &self.before[found[at] as usize] {
                if self.place[next as usize] > place && self.seen[next as usize] != self.age {
                    self.seen[next as usize] = self.age;
                    found.push(next);
                }
            }
            at += 1;
        }
        found
    }

    fn grow_older(&mut self) {
        if self.age == u32::MAX {
            self.seen.fill(0);
            self.age = 0;
        }
        self.age += 1;
    }
}

#[cfg(test)]
#[path = "tests/grow.rs"]
mod tests;
