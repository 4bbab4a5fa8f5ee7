//! Building graphs: what comes out, and what is refused.

use proptest::prelude::*;

use super::super::testing::graph;
use super::*;

proptest! {
    /// Req: P7.153
    #[test]
    fn a_graph_has_the_edges_it_was_given_once_each(
        nodes in 2usize..20, pairs in proptest::collection::vec((0u32..20, 0u32..20), 0..80), sort in 0..3,
    ) {
        let mut pairs: Vec<_> = pairs.into_iter().map(|(a, b)| (a % nodes as u32, b % nodes as u32))
            .filter(|(a, b)| a != b).collect();
        match sort {
            0 => {}
            1 => pairs.sort_by_key(|&(_, to)| to),
            _ => { pairs.sort_unstable(); pairs.dedup(); }
        }
        let graph = Graph::from_pairs(nodes, &pairs).unwrap();
        let ascending = pairs.iter().all(|(a, b)| a < b);
        prop_assert_eq!(graph.ascending, ascending);
        prop_assert_eq!(graph.after(), &Csr::new(nodes, &mut pairs));
        let mut turned: Vec<_> = pairs.iter().map(|&(a, b)| (b, a)).collect();
        prop_assert_eq!(graph.before(), &Csr::new(nodes, &mut turned));
        let ends: Vec<bool> = (0..nodes as u32).map(|it| pairs.iter().all(|&(a, _)| a != it)).collect();
        let begins: Vec<bool> = (0..nodes as u32).map(|it| pairs.iter().all(|&(_, b)| b != it)).collect();
        let picked = |of: &[bool]| -> Vec<u32> { (0..nodes as u32).filter(|&it| of[it as usize]).collect() };
        prop_assert_eq!(graph.sinks(), picked(&ends));
        prop_assert_eq!(graph.sources(), picked(&begins));
    }
}

/// Req: P4.148
#[test]
fn what_is_no_graph_is_refused_with_the_place() {
    let built = |nodes, sources: &[u32], targets: &[u32]| Graph::new(nodes, sources, targets).unwrap_err();
    assert_eq!(built(2, &[0, 1], &[1]), Fault::Lengths { sources: 2, targets: 1 });
    assert_eq!(built(2, &[0, 0], &[1, 2]), Fault::OutOfRange { edge: 1, node: 2, nodes: 2 });
    assert_eq!(built(2, &[7], &[1]), Fault::OutOfRange { edge: 0, node: 7, nodes: 2 });
    assert_eq!(built(2, &[0, 1], &[1, 1]), Fault::SelfLoop { edge: 1, node: 1 });
    assert_eq!(built(usize::MAX, &[], &[]), Fault::TooManyNodes { nodes: usize::MAX });
    struct Endless;
    impl Indices for Endless {
        fn len(&self) -> usize {
            usize::MAX
        }
        fn at(&self, _: usize) -> u64 {
            0
        }
    }
    let endless = Graph::new(1, &Endless, &Endless).unwrap_err();
    assert_eq!(endless, Fault::TooManyEdges { edges: usize::MAX });
}

#[test]
fn an_empty_graph_and_a_single_node_are_graphs() {
    for nodes in [0, 1] {
        let graph = graph(nodes, &[]);
        assert_eq!((graph.len(), graph.edges(), graph.is_empty()), (nodes, 0, nodes == 0));
        assert_eq!(graph.sources(), graph.sinks());
        assert_eq!(graph.sources().len(), nodes);
    }
}

#[test]
fn of_parallel_edges_the_heaviest_counts() {
    let (sources, targets) = ([1, 0, 1, 1], [2, 1, 2, 2]);
    let graph = Graph::new(3, &sources[..], &targets[..]).unwrap();
    let lengths = |weights: &[f64]| graph.lengths(&sources[..], &targets[..], weights);
    assert_eq!(lengths(&[1.0, 2.0, 5.0, 3.0]), Ok(vec![2.0, 5.0]));
    assert_eq!(lengths(&[1.0]), Err(Fault::EdgeWeights { given: 1, edges: 4 }));
    let bad = lengths(&[1.0, 2.0, -5.0, 3.0]);
    assert_eq!(bad, Err(Fault::EdgeWeight { edge: 2, from: 1, to: 2, weight: -5.0 }));
}
