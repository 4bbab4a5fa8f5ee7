//! The index against walking.

use proptest::prelude::*;

use super::super::testing::{acyclic, closure, graph, layers, series_parallel};
use super::*;

/// Says on which pairs an index of each kind is wrong.
fn wrong(graph: Graph) -> Vec<(u32, u32)> {
    let graph = Arc::new(graph);
    let truth = closure(&graph);
    let mut wrong = vec![];
    let (first, second) = ranks::ranks(&graph).unwrap();
    let labels = labels::labels(&graph, &first, &second).unwrap();
    let labelled = Reach { graph: graph.clone(), kind: Kind::Labelled(labels) };
    let all = Drawing::new(&graph, &first, &second, graph.len() * graph.len()).unwrap();
    let drawn = Reach { graph: graph.clone(), kind: Kind::Drawn(all) };
    let mut scratch = Scratch::default();
    for from in 0..graph.len() as u32 {
        for to in 0..graph.len() as u32 {
            let expected = truth[from as usize][to as usize];
            let found = [&labelled, &drawn].map(|it| it.leads(from, to, &mut scratch).unwrap());
            if found != [expected; 2] {
                wrong.push((from, to));
            }
        }
    }
    wrong
}

proptest! {
    #[test]
    fn an_index_of_either_kind_is_right((nodes, pairs) in acyclic(60)) {
        prop_assert_eq!(wrong(graph(nodes, &pairs)), vec![]);
    }

    #[test]
    fn a_series_parallel_graph_is_drawn_without_exceptions((nodes, pairs) in series_parallel()) {
        let graph = Arc::new(graph(nodes, &pairs));
        prop_assert_eq!(Reach::new(graph).unwrap().exceptions(), Some(0));
    }

    #[test]
    fn pairs_are_counted_as_the_closure_has_them((nodes, pairs) in acyclic(40)) {
        let graph = Arc::new(graph(nodes, &pairs));
        let truth = closure(&graph).iter().flatten().filter(|&&it| it).count() as u64;
        let found = Reach::new(graph).unwrap().pairs();
        prop_assert_eq!((found.low, found.high), (truth, truth));
    }
}

#[test]
fn layers_that_are_no_drawing_are_right_too() {
    assert_eq!(wrong(graph(400, &layers(20, 20, 2))), vec![]);
    assert_eq!(wrong(graph(400, &layers(100, 4, 2))), vec![]);
    let wide = Arc::new(graph(30_000, &layers(300, 100, 3)));
    let reach = Reach::new(wide.clone()).unwrap();
    assert_eq!(reach.exceptions(), None);
    assert!(reach.bytes() <= 64 * 30_000);
    let below = wide.descendants(4_567).unwrap();
    let (from, to): (Vec<u32>, Vec<u32>) = (0..30_000).map(|it| (4_567, it)).unzip();
    let found = reach.many(&from, &to, 2).unwrap();
    assert_eq!(found, reach.many(&from, &to, 1).unwrap());
    let found: Vec<u32> = to.into_iter().filter(|&it| found[it as usize]).collect();
    assert_eq!(found, below);
    let (pairs, width) = (reach.pairs(), reach.width());
    let truth: u64 = (0..30_000).step_by(300).map(|it| wide.descendants(it).unwrap().len() as u64).sum();
    assert!(
        pairs.low < pairs.high && pairs.low < 300 * truth * 11 / 10 && 300 * truth < pairs.high * 11 / 10
    );
    assert!(width.size.low >= 100 && width.size.low == width.antichain.len() as u64);
    assert!(width.size.high >= width.size.low);
    for pair in width.antichain.windows(2) {
        assert!(!reach.leads(pair[0], pair[1], &mut Scratch::default()).unwrap());
        assert!(!reach.leads(pair[1], pair[0], &mut Scratch::default()).unwrap());
    }
}

#[test]
fn nodes_that_are_not_there_are_refused() {
    let reach = Reach::new(graph(2, &[(0, 1)]).into()).unwrap();
    let fault = Fault::NoNode { node: 2, nodes: 2 };
    assert_eq!(reach.leads(2, 0, &mut Scratch::default()), Err(fault.clone()));
    assert_eq!(reach.many(&[0], &[2], 1), Err(fault));
    assert_eq!(reach.many(&[0], &[], 1), Err(Fault::Lengths { sources: 1, targets: 0 }));
    assert_eq!(Reach::new(graph(0, &[]).into()).unwrap().pairs().high, 0);
}
