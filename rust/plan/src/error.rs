//! What can be wrong with a platform, an instance or a request for a plan.

/// Why there is no plan. Messages say what is wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("tasks wait for each other: {}; remove one of these dependencies", path(.0))]
    Cycle(Vec<u32>),
    #[error("{what} {at} is {value}; it has to be a finite number of at least zero")]
    Number { what: &'static str, at: usize, value: f64 },
    #[error("the {what} has {found} entries and there are {wanted}")]
    Length { what: &'static str, found: usize, wanted: usize },
    #[error("dependency {edge} names task {task}, and the tasks are 0 to {tasks} (exclusive)")]
    Dangling { edge: usize, task: u64, tasks: usize },
    #[error("there are {found} {what}; at most {most} can be planned")]
    TooMany { what: &'static str, found: usize, most: usize },
    #[error("input {input} names node {node}, and the nodes are 0 to {nodes} (exclusive)")]
    UnknownNode { input: usize, node: u64, nodes: usize },
    #[error("there are no nodes to plan for: give the platform at least one")]
    NoNodes,
    #[error("node {node} has speed {speed}{kind}; a speed has to be finite and above zero")]
    Speed { node: usize, speed: f64, kind: String },
    #[error("an hour of a core of node {node} costs {price}; it has to be a finite number of at least zero")]
    Price { node: usize, price: f64 },
    #[error("node {node} has no cores; give it at least one")]
    NoCores { node: usize },
    #[error("two nodes are called {0:?}; names have to differ")]
    SameName(String),
    #[error("the link from node {from} to node {to} has bandwidth {bandwidth}; it has to be above zero")]
    Bandwidth { from: usize, to: usize, bandwidth: f64 },
    #[error("the link from node {from} to node {to} has latency {latency}; it has to be at least zero")]
    Latency { from: usize, to: usize, latency: f64 },
    #[error("task {task} demands {why}, and no node has it: add a node or ask for less")]
    FitsNowhere { task: u32, why: String },
    #[error(
        "an exact plan is for at most {most} tasks on at most {most_nodes} nodes; there are {tasks} on {nodes}"
    )]
    TooLarge { tasks: usize, nodes: usize, most: usize, most_nodes: usize },
    #[error("there is no method {0:?}; one of: {1}")]
    UnknownMethod(String, String),
}

/// The tasks of a cycle, with the first repeated. Long ones are shortened in the middle.
fn path(cycle: &[u32]) -> String {
    let mut words: Vec<String> = cycle.iter().chain(cycle.first()).map(u32::to_string).collect();
    if words.len() > 12 {
        let left_out = words.len() - 10;
        words.splice(5..words.len() - 5, [format!("… {left_out} more …")]);
    }
    words.join(" -> ")
}
