//! The critical path: what earliest, latest and float mean.

use proptest::prelude::*;

use super::super::testing::{acyclic, graph};
use super::*;

proptest! {
    /// Whole numbers, so that sums are exact and the definitions hold to the last bit.
    ///
    /// Req: P1.22
    /// Req: P7.96
    /// Req: P7.151
    #[test]
    fn floats_are_as_they_are_defined(
        (nodes, pairs) in acyclic(20), weights in proptest::collection::vec(0u8..9, 20 + 80), with_edges: bool,
    ) {
        let graph = graph(nodes, &pairs);
        let node: Vec<f64> = weights[..nodes].iter().map(|&it| it.into()).collect();
        let edge: Vec<f64> = weights[20..20 + graph.edges()].iter().map(|&it| it.into()).collect();
        let found = graph.critical(&node, with_edges.then_some(&edge[..])).unwrap();
        let edges: Vec<(usize, usize, f64)> = graph.after().pairs().enumerate()
            .map(|(at, (a, b))| (a as usize, b as usize, if with_edges { edge[at] } else { 0.0 })).collect();
        let mut length = 0f64;
        for (it, weight) in node.iter().enumerate() {
            let from = edges.iter().filter(|e| e.1 == it);
            let earliest = from.map(|&(a, _, way)| found.earliest[a] + node[a] + way).fold(0.0, f64::max);
            prop_assert_eq!(found.earliest[it], earliest);
            length = length.max(earliest + weight);
        }
        prop_assert_eq!(found.length, length);
        for (it, weight) in node.iter().enumerate() {
            let to = edges.iter().filter(|e| e.0 == it);
            let latest = to.map(|&(_, b, way)| found.latest[b] - way).fold(length, f64::min) - weight;
            prop_assert_eq!(found.latest[it], latest);
            prop_assert_eq!(found.float[it], latest - found.earliest[it]);
        }
        let mut sum = 0.0;
        for (at, &it) in found.path.iter().enumerate() {
            prop_assert_eq!(found.float[it as usize], 0.0);
            prop_assert_eq!(found.earliest[it as usize], sum);
            sum += node[it as usize];
            if let Some(&next) = found.path.get(at + 1) {
                let way = edges.iter().find(|e| (e.0, e.1) == (it as usize, next as usize));
                sum += way.expect("the path goes along edges").2;
            }
        }
        prop_assert_eq!(sum, length);
    }

    #[test]
    fn rounding_makes_no_float((nodes, pairs) in acyclic(20), weights in proptest::collection::vec(0.0..1f64, 20)) {
        let graph = graph(nodes, &pairs);
        let found = graph.critical(&weights[..nodes], None).unwrap();
        for it in &found.path {
            prop_assert_eq!(found.float[*it as usize], 0.0);
        }
        prop_assert!(found.float.iter().all(|&it| it == 0.0 || it > found.length * ROUNDING));
    }
}

#[test]
fn of_equal_paths_that_of_smaller_ids_is_named() {
    let graph = graph(6, &[(1, 3), (0, 3), (0, 2), (3, 5), (2, 4), (3, 4)]);
    assert_eq!(graph.critical(&[1.0; 6], None).unwrap().path, [0, 2, 4]);
}

#[test]
fn what_is_no_weight_is_refused_with_the_place() {
    let graph = graph(3, &[(0, 1), (0, 2)]);
    for bad in [f64::NAN, f64::INFINITY, -1.0] {
        let node = graph.critical(&[0.0, bad, 0.0], None).unwrap_err();
        assert!(matches!(node, Fault::NodeWeight { node: 1, .. }), "{node}");
        let edge = graph.critical(&[0.0; 3], Some(&[0.0, bad])).unwrap_err();
        assert!(matches!(edge, Fault::EdgeWeight { edge: 1, from: 0, to: 2, .. }), "{edge}");
    }
    assert_eq!(graph.critical(&[0.0], None), Err(Fault::NodeWeights { given: 1, nodes: 3 }));
    let few = graph.critical(&[0.0; 3], Some(&[0.0]));
    assert_eq!(few, Err(Fault::EdgeWeights { given: 1, edges: 2 }));
    let much = graph.critical(&[f64::MAX, f64::MAX, 0.0], None);
    assert_eq!(much, Err(Fault::Overflow { node: 0 }));
}

#[test]
fn nothing_takes_no_time() {
    assert_eq!(graph(0, &[]).critical(&[], None).unwrap(), Critical::default());
    let still = graph(2, &[(0, 1)]).critical(&[0.0, 0.0], None).unwrap();
    assert_eq!((still.length, still.path), (0.0, vec![0, 1]));
}
