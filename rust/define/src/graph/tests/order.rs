//! Order and levels.

use proptest::prelude::*;

use super::super::testing::{acyclic, chain, graph};
use super::*;

proptest! {
    /// Req: P1.22
    /// Req: P7.137
    /// Req: P7.138
    #[test]
    fn order_and_levels_respect_every_edge((nodes, pairs) in acyclic(30)) {
        let graph = graph(nodes, &pairs);
        let order = graph.order().unwrap();
        let mut place = vec![usize::MAX; nodes];
        order.iter().enumerate().for_each(|(at, &node)| place[node as usize] = at);
        prop_assert!(place.iter().all(|&it| it < nodes));
        let levels = graph.levels().unwrap();
        for &(from, to) in &pairs {
            prop_assert!(place[from as usize] < place[to as usize]);
            prop_assert!(levels.of[from as usize] < levels.of[to as usize]);
        }
        for node in 0..nodes as u32 {
            let above = graph.predecessors(node).iter().map(|&it| levels.of[it as usize] + 1).max();
            prop_assert_eq!(levels.of[node as usize], above.unwrap_or(0));
        }
        let all: Vec<u32> = (0..levels.depth()).flat_map(|it| levels.level(it).to_vec()).collect();
        prop_assert_eq!(&all, &levels.nodes);
        for level in 0..levels.depth() {
            let expected = (0..nodes as u32).filter(|&it| levels.of[it as usize] as usize == level);
            prop_assert_eq!(levels.level(level).to_vec(), expected.collect::<Vec<_>>());
        }
    }
}

#[test]
fn ids_that_are_in_order_stay_so_and_others_follow_as_they_become_free() {
    assert_eq!(graph(4, &[(0, 3), (0, 1), (1, 2)]).order().unwrap(), [0, 1, 2, 3]);
    assert_eq!(graph(5, &[(4, 3), (4, 1), (1, 0)]).order().unwrap(), [2, 4, 1, 3, 0]);
}

/// Req: P7.136
#[test]
fn a_cycle_is_named_wherever_an_order_is_needed() {
    let graph = graph(5, &[(0, 2), (2, 3), (3, 1), (1, 2), (3, 4)]);
    let cycle = Fault::Cycle(vec![1, 2, 3]);
    assert_eq!(cycle.to_string(), "nodes wait for each other: 1 -> 2 -> 3 -> 1; remove one of these edges");
    assert_eq!(graph.order(), Err(cycle.clone()));
    assert_eq!(graph.levels(), Err(cycle.clone()));
    assert_eq!(graph.critical(&[1.0; 5], None), Err(cycle.clone()));
    assert_eq!(graph.reduced().err(), Some(cycle.clone()));
    assert_eq!(super::super::Drain::new(&graph, None).err(), Some(cycle.clone()));
    assert_eq!(super::super::Growing::new(&graph).err(), Some(cycle.clone()));
    assert_eq!(super::super::Reach::new(graph.into()).err(), Some(cycle));
}

/// Req: P7.98
#[test]
fn a_chain_of_a_million_is_a_graph_like_any_other() {
    let graph = std::sync::Arc::new(chain(1_000_000));
    assert_eq!(graph.levels().unwrap().depth(), 1_000_000);
    assert_eq!(graph.critical(&vec![1.0; 1_000_000], None).unwrap().path.len(), 1_000_000);
    let reach = super::super::Reach::new(graph.clone()).unwrap();
    let mut scratch = Default::default();
    assert!(reach.leads(0, 999_999, &mut scratch).unwrap());
    assert!(!reach.leads(999_999, 0, &mut scratch).unwrap());
    assert_eq!(reach.width().size.high, 1);
    assert_eq!(reach.pairs().low, 999_999 * 500_000);
    assert_eq!(graph.descendants(0).unwrap().len(), 999_999);
    assert_eq!(graph.reduced().unwrap().0.edges(), 999_999);
    let turned: Vec<_> = (1..1_000_000).map(|node| (node, node - 1)).collect();
    let turned = super::super::testing::graph(1_000_000, &turned);
    assert_eq!(turned.order().unwrap()[0], 999_999);
    assert!(super::super::Reach::new(turned.into()).unwrap().leads(7, 3, &mut scratch).unwrap());
}
