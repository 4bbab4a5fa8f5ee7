//! Ancestors, descendants, ready nodes.

use proptest::prelude::*;

use super::super::testing::{acyclic, closure, graph};
use super::*;

proptest! {
    /// Req: P7.94
    #[test]
    fn descendants_and_ancestors_are_what_the_closure_says((nodes, pairs) in acyclic(40)) {
        let graph = graph(nodes, &pairs);
        let closure = closure(&graph);
        for (node, row) in closure.iter().enumerate() {
            let below: Vec<u32> = (0..nodes).filter(|&it| row[it]).map(|it| it as u32).collect();
            let above: Vec<u32> = (0..nodes).filter(|&it| closure[it][node]).map(|it| it as u32).collect();
            prop_assert_eq!(graph.descendants(node as u32).unwrap(), below);
            prop_assert_eq!(graph.ancestors(node as u32).unwrap(), above);
        }
    }

    /// Req: P7.95
    /// Req: P1.22
    #[test]
    fn ready_is_what_is_not_done_and_waits_for_nothing((nodes, pairs) in acyclic(20), bits: u32) {
        let graph = graph(nodes, &pairs);
        let is_done = |node: u32| bits >> node & 1 == 1;
        let done: Vec<u32> = (0..nodes as u32).filter(|&it| is_done(it)).collect();
        let expected: Vec<u32> = (0..nodes as u32)
            .filter(|&it| !is_done(it) && graph.predecessors(it).iter().all(|&it| is_done(it))).collect();
        prop_assert_eq!(graph.ready(&done).unwrap(), expected);
    }
}

#[test]
fn nodes_that_are_not_there_are_refused() {
    let graph = graph(2, &[(0, 1)]);
    let fault = Fault::NoNode { node: 2, nodes: 2 };
    assert_eq!(graph.descendants(2), Err(fault.clone()));
    assert_eq!(graph.ancestors(2), Err(fault.clone()));
    assert_eq!(graph.ready(&[0, 2]), Err(fault));
}
