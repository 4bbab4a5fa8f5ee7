//! Width against trying all sets, and against itself.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::testing::{acyclic, closure, graph, series_parallel};
use super::*;

proptest! {
    #[test]
    fn width_is_the_largest_antichain((nodes, pairs) in acyclic(13)) {
        let graph = Arc::new(graph(nodes, &pairs));
        let truth = closure(&graph);
        let free = |set: u32| {
            let inside = |it: &usize| set >> it & 1 == 1;
            (0..nodes).filter(inside).all(|a| (0..nodes).filter(inside).all(|b| !truth[a][b]))
        };
        let largest = (0..1u32 << nodes).filter(|&set| free(set)).map(u32::count_ones).max();
        let found = Reach::new(graph).unwrap().width();
        prop_assert_eq!(found.size, Bounds::exact(u64::from(largest.unwrap_or(0))));
        prop_assert_eq!(found.antichain.len() as u64, found.size.low);
        prop_assert!(free(found.antichain.iter().fold(0, |set, it| set | 1 << it)));
    }

    #[test]
    fn bounds_hold_what_is_exact((nodes, pairs) in acyclic(40)) {
        let graph = Arc::new(graph(nodes, &pairs));
        let reach = Reach::new(graph.clone()).unwrap();
        let exact = reach.width().size.low as usize;
        prop_assert!(reach.descending().len() <= exact);
        prop_assert!(exact <= paths(&graph));
    }

    #[test]
    fn a_drawing_without_exceptions_tells_the_width((nodes, pairs) in series_parallel()) {
        let reach = Reach::new(Arc::new(graph(nodes, &pairs))).unwrap();
        prop_assert_eq!(reach.descending().len() as u64, reach.width().size.low);
    }
}
