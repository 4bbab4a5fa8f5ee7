//! Graphs to test with, and what is true of them, found the slow way.

use proptest::prelude::*;

use super::Graph;

/// Pairs in one direction of some hidden order, so that there is no cycle.
pub(super) fn acyclic(most: usize) -> impl Strategy<Value = (usize, Vec<(u32, u32)>)> {
    (1..most).prop_flat_map(move |nodes| {
        let order = Just((0..nodes as u32).collect::<Vec<_>>()).prop_shuffle();
        let pairs = proptest::collection::vec((0..nodes, 0..nodes), 0..4 * nodes);
        (order, pairs, any::<bool>()).prop_map(move |(order, pairs, shuffled)| {
            let name = |at: usize| if shuffled { order[at] } else { at as u32 };
            let pairs = pairs.into_iter().filter(|(a, b)| a != b);
            (nodes, pairs.map(|(a, b)| (name(a.min(b)), name(a.max(b)))).collect())
        })
    })
}

/// A series-parallel order: parts one after another, or side by side, numbered one after another. Series
/// go through a node of their own where that takes fewer edges.
pub(super) fn series_parallel() -> impl Strategy<Value = (usize, Vec<(u32, u32)>)> {
    #[derive(Clone, Debug)]
    enum Part {
        Node,
        Series(Vec<Part>),
        Parallel(Vec<Part>),
    }
    fn lay(part: &Part, nodes: &mut u32, edges: &mut Vec<(u32, u32)>) -> (Vec<u32>, Vec<u32>) {
        match part {
            Part::Node => {
                *nodes += 1;
                (vec![*nodes - 1], vec![*nodes - 1])
            }
            Part::Series(parts) => {
                let (first, mut last) = lay(&parts[0], nodes, edges);
                for part in &parts[1..] {
                    let (entries, exits) = lay(part, nodes, edges);
                    if entries.len() * last.len() > entries.len() + last.len() {
                        edges.extend(last.iter().map(|&from| (from, *nodes)));
                        edges.extend(entries.iter().map(|&to| (*nodes, to)));
                        *nodes += 1;
                    } else {
                        edges.extend(last.iter().flat_map(|&from| entries.iter().map(move |&to| (from, to))));
                    }
                    last = exits;
                }
                (first, last)
            }
            Part::Parallel(parts) => {
                let (mut entries, mut exits) = (vec![], vec![]);
                for part in parts {
                    let (first, last) = lay(part, nodes, edges);
                    entries.extend(first);
                    exits.extend(last);
                }
                (entries, exits)
            }
        }
    }
    let part = Just(Part::Node).prop_recursive(5, 60, 4, |part| {
        let parts = proptest::collection::vec(part, 1..5);
        (parts, any::<bool>()).prop_map(
            |(parts, series)| {
                if series { Part::Series(parts) } else { Part::Parallel(parts) }
            },
        )
    });
    part.prop_map(|part| {
        let (mut nodes, mut edges) = (0, vec![]);
        lay(&part, &mut nodes, &mut edges);
        (nodes as usize, edges)
    })
}

/// Layers of so many nodes, each with edges from some of the layer before.
pub(super) fn layers(count: u32, width: u32, each: u32) -> Vec<(u32, u32)> {
    let mut state = 12345u64;
    let mut draw = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let mut pairs = Vec::new();
    for node in width..count * width {
        for _ in 0..each {
            pairs.push((node / width * width - width + draw() % width, node));
        }
    }
    pairs
}

pub(super) fn graph(nodes: usize, pairs: &[(u32, u32)]) -> Graph {
    Graph::from_pairs(nodes, pairs).unwrap()
}

/// What leads to what, node by node.
pub(super) fn closure(graph: &Graph) -> Vec<Vec<bool>> {
    let mut rows = vec![vec![false; graph.len()]; graph.len()];
    for (from, row) in rows.iter_mut().enumerate() {
        let mut stack = vec![from as u32];
        while let Some(node) = stack.pop() {
            for &to in graph.successors(node) {
                if !std::mem::replace(&mut row[to as usize], true) {
                    stack.push(to);
                }
            }
        }
    }
    rows
}

pub(super) fn chain(nodes: u32) -> Graph {
    graph(nodes as usize, &(1..nodes).map(|node| (node - 1, node)).collect::<Vec<_>>())
}
