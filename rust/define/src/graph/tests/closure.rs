//! Reduction.

use proptest::prelude::*;

use super::super::testing::{acyclic, closure, graph, layers};

proptest! {
    #[test]
    fn a_reduced_graph_means_the_same_with_the_fewest_edges((nodes, pairs) in acyclic(30)) {
        let whole = graph(nodes, &pairs);
        let (reduced, exact) = whole.reduced().unwrap();
        let truth = closure(&whole);
        prop_assert!(exact);
        prop_assert_eq!(&closure(&reduced), &truth);
        for (from, to) in reduced.after().pairs() {
            let between = (0..nodes).any(|it| truth[from as usize][it] && truth[it][to as usize]);
            prop_assert!(!between, "{} -> {} follows from others", from, to);
        }
    }
}

#[test]
fn a_large_graph_loses_what_follows_from_two_edges() {
    let mut pairs = layers(250, 100, 2);
    let plain = graph(25_000, &pairs);
    let over: Vec<(u32, u32)> = (0..24_000)
        .filter_map(|it| Some((it, *plain.successors(*plain.successors(it).first()?).first()?)))
        .collect();
    pairs.extend(&over);
    let (reduced, exact) = graph(25_000, &pairs).reduced().unwrap();
    assert!(!exact && !over.is_empty());
    assert_eq!(reduced.after(), plain.after());
}
