//! Nodes taken out.

use proptest::prelude::*;

use super::super::testing::{acyclic, graph};

proptest! {
    /// Req: P7.97
    #[test]
    fn a_node_that_goes_leaves_both_directions((nodes, pairs) in acyclic(20), bits: u32) {
        let whole = graph(nodes, &pairs);
        let gone: Vec<u32> = (0..nodes as u32).filter(|it| bits >> it & 1 == 1).collect();
        let (rest, kept) = whole.without(&gone).unwrap();
        prop_assert_eq!(&kept, &(0..nodes as u32).filter(|it| !gone.contains(it)).collect::<Vec<_>>());
        for (node, &was) in kept.iter().enumerate() {
            let named = |ids: &[u32]| ids.iter().map(|&it| kept[it as usize]).collect::<Vec<_>>();
            let stay = |ids: &[u32]| ids.iter().copied().filter(|it| !gone.contains(it)).collect::<Vec<_>>();
            prop_assert_eq!(named(rest.successors(node as u32)), stay(whole.successors(was)));
            prop_assert_eq!(named(rest.predecessors(node as u32)), stay(whole.predecessors(was)));
        }
    }
}
