//! Adjacency in compressed sparse row form: built from edge lists, ordered, searched for cycles.

/// Successors of each node, ascending; parallel edges kept once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Csr {
    pub(super) offsets: Vec<u32>,
    pub(super) targets: Vec<u32>,
}

impl Csr {
    /// Builds the graph of `nodes` nodes from (before, after) pairs. Duplicate pairs count once.
    ///
    /// # Panics
    /// If an edge names a node that is not there: edges come from our own compiler.
    pub fn new(nodes: usize, edges: &mut Vec<(u32, u32)>) -> Self {
        edges.sort_unstable();
        edges.dedup();
        let mut offsets = vec![0u32; nodes + 1];
        for &(from, to) in edges.iter() {
            assert!((to as usize) < nodes, "edge to a node that is not there");
            offsets[from as usize + 1] += 1;
        }
        running(&mut offsets);
        Self { offsets, targets: edges.iter().map(|&(_, to)| to).collect() }
    }

    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn edges(&self) -> usize {
        self.targets.len()
    }

    /// The successors of `node`, ascending.
    pub fn successors(&self, node: u32) -> &[u32] {
        let node = node as usize;
        &self.targets[self.offsets[node] as usize..self.offsets[node + 1] as usize]
    }

    /// Where the edges that leave `node` stand among all edges.
    pub fn slots(&self, node: u32) -> std::ops::Range<usize> {
        let node = node as usize;
        self.offsets[node] as usize..self.offsets[node + 1] as usize
    }

    /// All edges, ascending.
    pub fn pairs(&self) -> impl Iterator<Item = (u32, u32)> {
        (0..self.len() as u32).flat_map(|from| self.successors(from).iter().map(move |&to| (from, to)))
    }

    /// The same edges seen from where they end.
    pub fn turned(&self) -> Self {
        let mut offsets = vec![0u32; self.len() + 1];
        for &target in &self.targets {
            offsets[target as usize + 1] += 1;
        }
        running(&mut offsets);
        let mut place = offsets.clone();
        let mut targets = vec![0; self.targets.len()];
        for (from, to) in self.pairs() {
            let at = &mut place[to as usize];
            targets[*at as usize] = from;
            *at += 1;
        }
        Self { offsets, targets }
    }

    /// How many edges end in each node.
    pub fn indegrees(&self) -> Vec<u32> {
        let mut degrees = vec![0; self.len()];
        for &target in &self.targets {
            degrees[target as usize] += 1;
        }
        degrees
    }

    /// A topological order, or a cycle. Nodes follow as they become free: from those without predecessors,
    /// ascending, on, each node's successors ascending.
    pub fn order(&self) -> Result<Vec<u32>, Vec<u32>> {
        let mut degrees = self.indegrees();
        let mut order: Vec<u32> = (0..self.len() as u32).filter(|&n| degrees[n as usize] == 0).collect();
        let mut at = 0;
        while at < order.len() {
            for &next in self.successors(order[at]) {
                degrees[next as usize] -= 1;
                if degrees[next as usize] == 0 {
                    order.push(next);
                }
            }
            at += 1;
        }
        if order.len() == self.len() { Ok(order) } else { Err(self.cycle(&degrees)) }
    }

    /// A cycle among the nodes that keep predecessors: every such node has one, so walking
    /// backwards must come round. Nodes are returned in edge order from the smallest, which is not
    /// repeated.
    pub(super) fn cycle(&self, degrees: &[u32]) -> Vec<u32> {
        let mut before = vec![u32::MAX; self.len()];
        for node in 0..self.len() as u32 {
            if degrees[node as usize] > 0 {
                for &next in self.successors(node) {
                    if degrees[next as usize] > 0 {
                        before[next as usize] = node;
                    }
                }
            }
        }
        let mut node =
            (0..self.len()).find(|&n| degrees[n] > 0).expect("a cyclic graph has such a node") as u32;
        let mut seen = vec![false; self.len()];
        while !seen[node as usize] {
            seen[node as usize] = true;
            node = before[node as usize];
        }
        let start = node;
        let mut cycle = vec![start];
        node = before[start as usize];
        while node != start {
            cycle.push(node);
            node = before[node as usize];
        }
        cycle.reverse();
        let least = cycle.iter().enumerate().min_by_key(|&(_, node)| node).map_or(0, |(at, _)| at);
        cycle.rotate_left(least);
        cycle
    }
}

/// Turns counts, each one place late, into where each count's run begins.
pub(super) fn running(offsets: &mut [u32]) {
    let mut sum = 0;
    for offset in offsets {
        sum += *offset;
        *offset = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Req: P1.23
    #[test]
    fn a_cycle_is_named_in_edge_order() {
        let graph = Csr::new(5, &mut vec![(0, 1), (1, 2), (2, 3), (3, 1), (3, 4)]);
        let cycle = graph.order().unwrap_err();
        assert_eq!(cycle.len(), 3);
        for (at, &node) in cycle.iter().enumerate() {
            assert!(graph.successors(node).contains(&cycle[(at + 1) % 3]), "{cycle:?}");
        }
    }

    proptest! {
        #[test]
        fn order_respects_every_edge_or_shows_a_cycle(
            nodes in 1usize..20, pairs in proptest::collection::vec((0u32..20, 0u32..20), 0..60)
        ) {
            let mut edges: Vec<_> = pairs.into_iter()
                .map(|(a, b)| (a % nodes as u32, b % nodes as u32)).collect();
            let graph = Csr::new(nodes, &mut edges);
            match graph.order() {
                Ok(order) => {
                    let mut place = vec![0; nodes];
                    for (at, &node) in order.iter().enumerate() { place[node as usize] = at; }
                    prop_assert_eq!(order.len(), nodes);
                    for (from, to) in edges { prop_assert!(place[from as usize] < place[to as usize]); }
                }
                Err(cycle) => for (at, &node) in cycle.iter().enumerate() {
                    prop_assert!(graph.successors(node).contains(&cycle[(at + 1) % cycle.len()]));
                }
            }
        }
    }
}
