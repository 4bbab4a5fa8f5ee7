//! Growing graphs against graphs made anew.

use proptest::prelude::*;

use super::super::testing::{closure, graph};
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Node(Vec<u32>),
    Edge(u32, u32),
    Remove(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => proptest::collection::vec(any::<u32>(), 0..3).prop_map(Step::Node),
        6 => any::<(u32, u32)>().prop_map(|(a, b)| Step::Edge(a, b)),
        1 => any::<u32>().prop_map(Step::Remove),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    /// Req: P7.97
    #[test]
    fn edges_are_taken_unless_they_close_a_cycle_and_the_order_holds(steps in steps()) {
        let mut growing = Growing::new(&graph(3, &[(0, 1)])).unwrap();
        let mut edges = vec![(0, 1)];
        let mut gone = vec![];
        for step in steps {
            let all = growing.len() as u32;
            match step {
                Step::Node(after) => {
                    let after: Vec<u32> = after.into_iter().map(|it| it % all).collect();
                    match growing.add_node(&after) {
                        Ok(node) => edges.extend(after.iter().map(|&it| (it, node))),
                        Err(Fault::Removed { node }) => {
                            prop_assert_eq!((gone.contains(&node), after.contains(&node)), (true, true));
                        }
                        Err(fault) => prop_assert!(false, "{fault}"),
                    }
                }
                Step::Edge(from, to) => {
                    let (from, to) = (from % all, to % all);
                    let closed = closure(&growing.graph());
                    let closes = closed[to as usize][from as usize];
                    match growing.add_edge(from, to) {
                        Ok(new) => {
                            prop_assert!(!closes);
                            prop_assert_eq!(new, !edges.contains(&(from, to)));
                            edges.push((from, to));
                        }
                        Err(Fault::Cycle(way)) => {
                            prop_assert!(closes);
                            prop_assert_eq!((way[0], way[way.len() - 1]), (to, from));
                            for pair in way.windows(2) {
                                prop_assert!(edges.contains(&(pair[0], pair[1])));
                            }
                        }
                        Err(Fault::SelfLoop { .. }) => prop_assert_eq!(from, to),
                        Err(_) => prop_assert!(gone.contains(&from) || gone.contains(&to)),
                    }
                }
                Step::Remove(node) => {
                    let node = node % all;
                    prop_assert_eq!(growing.remove(node).is_ok(), !gone.contains(&node));
                    edges.retain(|&(a, b)| a != node && b != node);
                    gone.push(node);
                }
            }
            edges.sort_unstable();
            edges.dedup();
            prop_assert_eq!(growing.edges(), edges.len());
            prop_assert_eq!(growing.graph().after().pairs().collect::<Vec<_>>(), edges.clone());
            let order: Vec<u32> = growing.order().collect();
            let mut there = order.clone();
            there.sort_unstable();
            prop_assert_eq!(there, (0..growing.len() as u32).filter(|it| !gone.contains(it)).collect::<Vec<_>>());
            let place = |node| order.iter().position(|&it| it == node);
            prop_assert!(edges.iter().all(|&(a, b)| place(a) < place(b)));
            let made = growing.graph();
            for node in order {
                prop_assert_eq!(growing.successors(node).unwrap(), made.successors(node));
                prop_assert_eq!(growing.predecessors(node).unwrap(), made.predecessors(node));
            }
        }
        let closed = closure(&growing.graph());
        let there: Vec<u32> = growing.order().collect();
        for &a in &there {
            for &b in &there {
                prop_assert_eq!(growing.leads(a, b).unwrap(), closed[a as usize][b as usize]);
            }
        }
    }
}

#[test]
fn a_long_chain_grows_at_its_ends() {
    let mut growing = Growing::default();
    let mut last = growing.add_node(&[]).unwrap();
    for _ in 1..100_000 {
        last = growing.add_node(&[last]).unwrap();
    }
    assert!(growing.leads(0, last).unwrap());
    assert!(matches!(growing.add_edge(last, 0), Err(Fault::Cycle(way)) if way.len() == 100_000));
    let other = growing.add_node(&[]).unwrap();
    assert!(growing.add_edge(other, 0).unwrap());
    assert_eq!(growing.order().next(), Some(other));
}
