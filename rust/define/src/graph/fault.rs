//! What can be wrong with a graph, or with what is asked of it.

use thiserror::Error;

/// What is wrong: where, and what to do.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Fault {
    #[error("{nodes} nodes: a graph has at most {most}; split it", most = super::build::NODES)]
    TooManyNodes { nodes: usize },
    #[error("{edges} edges: a graph has at most {most}; split it", most = super::build::EDGES)]
    TooManyEdges { edges: usize },
    #[error("{sources} sources and {targets} targets: give one of each for every edge")]
    Lengths { sources: usize, targets: usize },
    #[error(
        "edge {edge} names node {node}, and there are {nodes} nodes: number the nodes from 0, and give \
         how many there are"
    )]
    OutOfRange { edge: usize, node: i128, nodes: usize },
    #[error("edge {edge} leads from node {node} to itself: leave it out")]
    SelfLoop { edge: usize, node: u32 },
    #[error("nodes wait for each other: {}; remove one of these edges", round(.0))]
    Cycle(Vec<u32>),
    #[error("there is no node {node}: the graph has {nodes}")]
    NoNode { node: u32, nodes: usize },
    #[error("there is no node {node}: the graph has {nodes}, numbered from 0")]
    Elsewhere { node: i128, nodes: usize },
    #[error("{given} weights for {nodes} nodes: give one for every node")]
    NodeWeights { given: usize, nodes: usize },
    #[error("{given} weights for {edges} edges: give one for every edge")]
    EdgeWeights { given: usize, edges: usize },
    #[error("node {node} weighs {weight}: give a finite number that is not negative")]
    NodeWeight { node: u32, weight: f64 },
    #[error("edge {edge}, from {from} to {to}, weighs {weight}: give a finite number that is not negative")]
    EdgeWeight { edge: usize, from: u32, to: u32, weight: f64 },
    #[error("the weights add up to more than a number can hold at node {node}: use a larger unit")]
    Overflow { node: u32 },
    #[error("node {node} has rank NaN: give a number")]
    Rank { node: u32 },
    #[error("node {node} was not handed out, or is done already: only what was taken can be done")]
    NotTaken { node: u32 },
    #[error("node {node} was removed")]
    Removed { node: u32 },
}

/// How many nodes of a cycle a message names.
const NAMED: usize = 20;

fn round(cycle: &[u32]) -> String {
    let names: Vec<String> = cycle.iter().take(NAMED).map(u32::to_string).collect();
    let rest =
        if cycle.len() > NAMED { format!(" -> ({} more)", cycle.len() - NAMED) } else { String::new() };
    let first = names.first().map_or("", |it| it);
    format!("{}{rest} -> {first}", names.join(" -> "))
}
