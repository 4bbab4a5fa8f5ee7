//! Draining graphs.

use proptest::prelude::*;

use super::super::testing::{acyclic, graph};
use super::*;

proptest! {
    /// Req: P7.95
    #[test]
    fn first_in_first_out_hands_out_level_by_level((nodes, pairs) in acyclic(30)) {
        let graph = graph(nodes, &pairs);
        let levels = graph.levels().unwrap();
        let mut drain = Drain::new(&graph, None).unwrap();
        let mut level = 0;
        let mut taken = drain.take(usize::MAX);
        while !taken.is_empty() {
            prop_assert_eq!(drain.taken(), taken.len());
            drain.done(&graph, &taken).unwrap();
            taken.sort_unstable();
            prop_assert_eq!(&taken[..], levels.level(level));
            level += 1;
            taken = drain.take(usize::MAX);
        }
        prop_assert_eq!((drain.left(), drain.taken(), drain.ready()), (0, 0, 0));
        prop_assert_eq!(level, levels.depth());
    }

    #[test]
    fn the_best_ranked_of_the_ready_goes_first(
        (nodes, pairs) in acyclic(30), ranks in proptest::collection::vec(0u8..4, 30), portion in 1usize..5,
    ) {
        let graph = graph(nodes, &pairs);
        let ranks: Vec<f64> = ranks[..nodes].iter().map(|&it| it.into()).collect();
        let mut drain = Drain::new(&graph, Some(ranks.clone())).unwrap();
        let (mut done, mut taken) = (vec![], vec![]);
        while drain.left() > 0 {
            let mut ready = graph.ready(&done).unwrap();
            ready.retain(|it| !taken.contains(it));
            ready.sort_by(|&a, &b| ranks[b as usize].total_cmp(&ranks[a as usize]).then(a.cmp(&b)));
            ready.truncate(portion);
            let given = drain.take(portion);
            prop_assert_eq!(&given, &ready);
            taken.extend(given);
            // All but one are done, so that some are always under way.
            let most = if drain.ready() == 0 { taken.len() } else { taken.len() - 1 };
            for node in taken.drain(..most) {
                drain.done(&graph, &[node]).unwrap();
                done.push(node);
            }
        }
        prop_assert_eq!(done.len(), nodes);
    }

    #[test]
    fn a_queue_is_the_same_in_portions((nodes, pairs) in acyclic(30), portion in 1usize..5) {
        let graph = graph(nodes, &pairs);
        let order = |portion| {
            let mut drain = Drain::new(&graph, None).unwrap();
            let mut order = vec![];
            while drain.left() > 0 {
                let given = drain.take(portion);
                drain.done(&graph, &given).unwrap();
                order.extend(given);
            }
            order
        };
        prop_assert_eq!(order(portion), order(usize::MAX));
    }
}

#[test]
fn only_what_was_taken_can_be_done_and_once() {
    let graph = graph(3, &[(0, 1)]);
    let mut drain = Drain::new(&graph, None).unwrap();
    assert_eq!(drain.done(&graph, &[0]), Err(Fault::NotTaken { node: 0 }));
    assert_eq!(drain.take(1), [0]);
    assert_eq!(drain.done(&graph, &[1]), Err(Fault::NotTaken { node: 1 }));
    assert_eq!(drain.done(&graph, &[0, 0]), Err(Fault::NotTaken { node: 0 }));
    assert_eq!(drain.done(&graph, &[9]), Err(Fault::NoNode { node: 9, nodes: 3 }));
    assert_eq!((drain.left(), drain.taken(), drain.ready()), (2, 0, 2));
    assert_eq!(drain.take(5), [2, 1]);
}

#[test]
fn ranks_are_numbers_one_for_each_node() {
    let graph = graph(2, &[]);
    let made = |ranks: &[f64]| Drain::new(&graph, Some(ranks.to_vec())).err();
    assert_eq!(made(&[0.0, f64::NAN]), Some(Fault::Rank { node: 1 }));
    assert_eq!(made(&[0.0]), Some(Fault::NodeWeights { given: 1, nodes: 2 }));
    let mut drain = Drain::new(&graph, Some(vec![-0.0, 0.0])).unwrap();
    assert_eq!(drain.take(2), [0, 1]);
    let mut drain = Drain::new(&graph, Some(vec![f64::NEG_INFINITY, f64::INFINITY])).unwrap();
    assert_eq!(drain.take(2), [1, 0]);
}
