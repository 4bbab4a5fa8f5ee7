//! Random instances for tests: layered graphs, nodes that differ, sometimes with several cores, memory,
//! links that differ and inputs that lie somewhere.

use ferroflow_plan::{Input, Instance, Network, Node, Platform, Work};
use proptest::prelude::*;

/// What a random instance is made of: sizes, then numbers to draw from.
pub(crate) fn instances(most: usize) -> impl Strategy<Value = Instance> {
    let shape = (1..=most, 1usize..6, 0u8..4, 0u8..3);
    shape.prop_flat_map(|(tasks, nodes, rich, links)| {
        let pairs = proptest::collection::vec((0..tasks as u32, 0..tasks as u32, 0u32..20), 0..3 * tasks);
        let costs = proptest::collection::vec(0u32..20, tasks);
        let speeds = proptest::collection::vec(1u32..5, nodes);
        let cores = proptest::collection::vec(1u32..4, nodes);
        let wants = proptest::collection::vec((1u32..3, 0u64..8), tasks);
        let rates = proptest::collection::vec(1u32..9, nodes * nodes);
        (pairs, costs, speeds, cores, wants, rates).prop_map(move |drawn| made(drawn, rich, links))
    })
}

type Drawn = (Vec<(u32, u32, u32)>, Vec<u32>, Vec<u32>, Vec<u32>, Vec<(u32, u64)>, Vec<u32>);

fn made((pairs, costs, speeds, cores, wants, rates): Drawn, rich: u8, links: u8) -> Instance {
    let nodes = speeds.len();
    let node = |at: usize| {
        let mut node = Node::new(format!("n{at}"), f64::from(speeds[at]) / 2.0);
        if rich > 0 {
            node.cores = cores[at].max(if at == 0 { 2 } else { 1 });
        }
        if rich > 1 {
            node.memory = if at == 0 { 8 } else { 3 + u64::from(cores[at]) };
        }
        node
    };
    let network = if links == 0 {
        Network::Uniform { latency: 0.25, bandwidth: 2.0 }
    } else {
        let bandwidth = rates.iter().map(|&it| f64::from(it) / 2.0).collect();
        Network::Matrix { latency: vec![0.125; nodes * nodes], bandwidth }
    };
    let platform = Platform::new((0..nodes).map(node).collect(), network).unwrap();
    // From a smaller id to a larger one, so that nothing goes round.
    let edges: Vec<(u32, u32, u32)> =
        pairs.into_iter().filter(|it| it.0 != it.1).map(|(a, b, c)| (a.min(b), a.max(b), c)).collect();
    let mut work = Work {
        sources: edges.iter().map(|it| it.0).collect(),
        targets: edges.iter().map(|it| it.1).collect(),
        bytes: edges.iter().map(|it| it.2.into()).collect(),
        ..Work::default()
    };
    if rich > 0 {
        work.cores = wants.iter().map(|it| it.0).collect();
    }
    if rich > 1 {
        work.memory = wants.iter().map(|it| it.1).collect();
    }
    if rich > 2 {
        work.inputs = vec![Input { task: 0, bytes: 9.0, nodes: vec![nodes as u32 - 1] }];
    }
    work.costs = costs.into_iter().map(f64::from).collect();
    Instance::new(work, platform).unwrap()
}
