//! Placement by load, level by level: what a cluster does that knows its nodes' load and what tasks of a kind
//! used to take. Plans have data movements, priorities, and times with a barrier between levels and without.
//!
//! Deciding is all that happens here: who asks knows the nodes, and what tasks are estimated to take.

use crate::builder::Builder;
use crate::instance::Instance;
use crate::schedule::Schedule;
use std::collections::{BTreeMap, BTreeSet};

/// Cores, megabytes of memory, megabytes of storage.
pub type Amounts = [f64; 3];

/// What is divided among tasks, in the order of `Amounts`.
pub const RESOURCES: [&str; 3] = ["cpu", "memory", "storage"];

/// How much less loaded a node counts that is where a task's input is.
const NEAR: f64 = 0.2;

/// The share of what a node has that counts as used where nobody knows.
const UNKNOWN: f64 = 0.5;

/// How much a critical task's priority is raised.
const CRITICAL: u32 = 10;

/// Megabytes of an output whose size nobody knows.
const SIZE_MB: f64 = 10.0;

/// A node as its load is known.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadNode {
    pub id: String,
    pub location: String,
    pub capacity: Amounts,
    /// What is used already; `None` where nobody knows.
    pub load: [Option<f64>; 3],
}

impl LoadNode {
    /// What is used of a resource, or may be.
    fn used(&self, at: usize) -> f64 {
        self.load[at].unwrap_or(self.capacity[at] * UNKNOWN)
    }
}

/// What a task reads of another's output.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    pub source: u32,
    pub output: String,
    pub size_mb: Option<f64>,
}

/// A task as it is estimated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadTask {
    pub id: String,
    pub duration_ms: u64,
    pub need: Amounts,
    /// 0 to 3, larger is more urgent.
    pub network_priority: u8,
    /// Where its input is: a bonus among the nodes that it fits.
    pub location: Option<String>,
    /// Whether it may run nowhere else.
    pub only_there: bool,
    pub depends_on: Vec<u32>,
    pub inputs: Vec<Flow>,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LoadError {
    #[error("there are no nodes to place tasks on")]
    NoNodes,
    #[error("tasks wait for each other: {}", .0.join(" -> "))]
    Cyclic(Vec<String>),
    #[error("task {task} waits for task number {before}, and there are {tasks}")]
    Unknown { task: String, before: u32, tasks: usize },
    #[error("the weight of {name} is {weight}; it has to be a finite number of at least zero")]
    Weight { name: &'static str, weight: f64 },
    #[error("no node has room for task {0} beside the others of its level")]
    Insufficient(String),
}

/// One output that goes to another node.
#[derive(Clone, Debug, PartialEq)]
pub struct Movement {
    /// `{task}.{output}@{node}`: an output goes to a node once, however many read it there.
    pub id: String,
    pub task: u32,
    pub output: String,
    pub from: u32,
    pub to: u32,
    pub size_mb: f64,
    /// The most urgent reader's.
    pub priority: u8,
}

/// Where each task goes, and what follows from that.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadPlan {
    pub nodes: Vec<u32>,
    pub levels: Vec<u32>,
    pub priorities: Vec<u32>,
    pub movements: Vec<Movement>,
    /// The tasks of the longest way through the graph, messages included.
    pub critical: Vec<u32>,
    /// By how much each task could be late.
    pub slack_ms: Vec<f64>,
    /// The longest task of each level, added up.
    pub barrier_ms: u64,
    /// The longest way through the graph.
    pub critical_ms: f64,
    /// The most that a level takes of each resource.
    pub peak: Amounts,
}

/// How loaded a node would be with a task: the weighted mean over what it has of what would be used; 1 if it
/// has nothing that counts. Less by 0.2 if the task's input is there.
pub fn score(node: &LoadNode, planned: &Amounts, need: &Amounts, weights: &Amounts, near: bool) -> f64 {
    let (mut sum, mut whole) = (0.0, 0.0);
    for at in 0..RESOURCES.len() {
        if node.capacity[at] > 0.0 {
            sum += weights[at] * (node.used(at) + planned[at] + need[at]) / node.capacity[at];
            whole += weights[at];
        }
    }
    let mean = if whole > 0.0 { sum / whole } else { 1.0 };
    if near { mean - NEAR } else { mean }
}

/// What a node has none of is not counted, here as in its score.
fn has_room(node: &LoadNode, planned: &Amounts, need: &Amounts) -> bool {
    // What was added up in tenths has to fit exactly too.
    let fits = |at: usize| node.used(at) + planned[at] + need[at] <= node.capacity[at] * (1.0 + 1e-12);
    (0..RESOURCES.len()).all(|at| node.capacity[at] <= 0.0 || fits(at))
}

/// Plans. `weights` say how much each resource counts for a node's load; `bandwidth` is in megabytes a
/// second; infinite, and moving data takes no time.
///
/// # Errors
/// If there are no nodes, a weight is no finite number of at least zero, tasks wait for each other or for one that is not there, or a level has a task for
/// which no node has room.
pub fn plan(
    tasks: &[LoadTask],
    nodes: &[LoadNode],
    weights: &Amounts,
    bandwidth: f64,
) -> Result<LoadPlan, LoadError> {
    if nodes.is_empty() {
        return Err(LoadError::NoNodes);
    }
    if let Some(at) = weights.iter().position(|it| !(it.is_finite() && *it >= 0.0)) {
        return Err(LoadError::Weight { name: RESOURCES[at], weight: weights[at] });
    }
    let count = tasks.len();
    let mut edges = Vec::new();
    for (task, number) in tasks.iter().zip(0u32..) {
        let reads = task.inputs.iter().map(|it| it.source).filter(|&it| it != number);
        for before in task.depends_on.iter().copied().chain(reads) {
            if before as usize >= count {
                return Err(LoadError::Unknown { task: task.id.clone(), before, tasks: count });
            }
            if before == number {
                return Err(LoadError::Cyclic(vec![task.id.clone(), task.id.clone()]));
            }
            edges.push((before, number));
        }
    }
    let graph = ferroflow_define::graph::Csr::new(count, &mut edges);
    let order = graph.order().map_err(|cycle| {
        let round = cycle.iter().chain(cycle.first());
        LoadError::Cyclic(round.map(|&task| tasks[task as usize].id.clone()).collect())
    })?;
    let mut before: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); count];
    let mut levels = vec![0u32; count];
    for &task in &order {
        for &next in graph.successors(task) {
            before[next as usize].insert(task);
            levels[next as usize] = levels[next as usize].max(levels[task as usize] + 1);
        }
    }
    let groups = levels.iter().max().map_or(0, |it| it + 1);
    let mut made = LoadPlan { nodes: vec![0; count], levels, ..LoadPlan::default() };
    for level in 0..groups {
        made.place(level, tasks, nodes, weights)?;
    }
    made.move_data(tasks, nodes, &order);
    made.find_critical(tasks, &before, &order, bandwidth);
    let critical: BTreeSet<u32> = made.critical.iter().copied().collect();
    made.priorities = (0..count as u32)
        .map(|task| groups - made.levels[task as usize] + if critical.contains(&task) { CRITICAL } else { 0 })
        .collect();
    Ok(made)
}

impl LoadPlan {
    /// Places the tasks of a level, each seeing what the ones before it take.
    fn place(
        &mut self,
        level: u32,
        tasks: &[LoadTask],
        nodes: &[LoadNode],
        weights: &Amounts,
    ) -> Result<(), LoadError> {
        let mut planned = vec![Amounts::default(); nodes.len()];
        let (mut longest, mut sum) = (0, Amounts::default());
        for number in (0..tasks.len()).filter(|&it| self.levels[it] == level) {
            let task = &tasks[number];
            let near = |node: usize| task.location.as_ref().is_some_and(|it| *it == nodes[node].location);
            let open = (0..nodes.len()).filter(|&node| {
                has_room(&nodes[node], &planned[node], &task.need) && (near(node) || !task.only_there)
            });
            let score = |node: usize| score(&nodes[node], &planned[node], &task.need, weights, near(node));
            let node = open.min_by(|&a, &b| score(a).total_cmp(&score(b)));
            let node = node.ok_or_else(|| LoadError::Insufficient(task.id.clone()))?;
            self.nodes[number] = node as u32;
            longest = longest.max(task.duration_ms);
            for at in 0..RESOURCES.len() {
                planned[node][at] += task.need[at];
                sum[at] += task.need[at];
            }
        }
        self.barrier_ms += longest;
        for (peak, sum) in self.peak.iter_mut().zip(sum) {
            *peak = peak.max(sum);
        }
        Ok(())
    }

    fn move_data(&mut self, tasks: &[LoadTask], nodes: &[LoadNode], order: &[u32]) {
        let mut found: BTreeMap<(u32, u32, &str), usize> = BTreeMap::new();
        let places: BTreeMap<u32, u32> = order.iter().copied().zip(0..).collect();
        for (number, task) in order.iter().map(|&it| (it, &tasks[it as usize])) {
            let to = self.nodes[number as usize];
            for flow in &task.inputs {
                let from = self.nodes[flow.source as usize];
                if from == to {
                    continue;
                }
                let key = (places[&flow.source], to, flow.output.as_str());
                let size_mb = flow.size_mb.unwrap_or(SIZE_MB);
                let at = *found.entry(key).or_insert_with(|| {
                    self.movements.push(Movement {
                        id: format!(
                            "{}.{}@{}",
                            tasks[flow.source as usize].id, flow.output, nodes[to as usize].id
                        ),
                        task: flow.source,
                        output: flow.output.clone(),
                        from,
                        to,
                        size_mb,
                        priority: task.network_priority,
                    });
                    self.movements.len() - 1
                });
                let movement = &mut self.movements[at];
                movement.priority = movement.priority.max(task.network_priority);
                movement.size_mb = movement.size_mb.max(size_mb);
            }
        }
    }

    fn find_critical(&mut self, tasks: &[LoadTask], before: &[BTreeSet<u32>], order: &[u32], bandwidth: f64) {
        let count = tasks.len();
        let message = |from: u32, to: u32| {
            if self.nodes[from as usize] == self.nodes[to as usize] {
                return 0.0;
            }
            let reads = tasks[to as usize].inputs.iter().filter(|it| it.source == from);
            reads.map(|it| it.size_mb.unwrap_or(SIZE_MB)).sum::<f64>() / bandwidth * 1000.0
        };
        let duration = |task: u32| tasks[task as usize].duration_ms as f64;
        let mut starts = vec![0.0f64; count];
        for &task in order {
            let ready = before[task as usize]
                .iter()
                .map(|&it| starts[it as usize] + duration(it) + message(it, task));
            starts[task as usize] = ready.fold(0.0, f64::max);
        }
        let end = |task: u32| starts[task as usize] + duration(task);
        self.critical_ms = order.iter().map(|&task| end(task)).fold(0.0, f64::max);
        let mut latest = vec![self.critical_ms; count];
        for &task in order.iter().rev() {
            for &it in &before[task as usize] {
                let by = latest[task as usize] - duration(task) - message(it, task);
                latest[it as usize] = latest[it as usize].min(by);
            }
        }
        self.slack_ms = (0..count as u32).map(|task| (latest[task as usize] - end(task)).max(0.0)).collect();
        let last = order.iter().copied().filter(|&task| end(task) >= self.critical_ms).min();
        let mut path = Vec::new();
        let mut at = last;
        while let Some(task) = at {
            path.push(task);
            let waited = before[task as usize].iter().copied();
            let waited = waited.filter(|&it| {
                starts[it as usize] + duration(it) + message(it, task) >= starts[task as usize]
            });
            at = waited.min();
        }
        path.reverse();
        self.critical = path;
    }
}

/// The same choice of nodes for any instance: by level, the node that is least loaded by the level's tasks so
/// far. What is too much for one time just waits.
pub(crate) fn place(instance: &Instance, insertion: bool) -> Schedule {
    let nodes = instance.nodes();
    let width = instance.resources().len();
    let mut levels = vec![0u32; instance.len()];
    for &task in instance.order() {
        let before = instance.predecessors(task).iter().map(|&it| levels[it as usize] + 1);
        levels[task as usize] = before.max().unwrap_or(0);
    }
    let mut order = instance.order().to_vec();
    order.sort_by_key(|&task| levels[task as usize]);
    let mut builder = Builder::new(instance, insertion);
    let mut planned = vec![0u64; nodes * width];
    let mut level = 0;
    for task in order {
        if levels[task as usize] != level {
            level = levels[task as usize];
            planned.fill(0);
        }
        let score = |node: u32| {
            let used = &planned[node as usize * width..(node as usize + 1) * width];
            let all = instance.demand(task).iter().zip(used).zip(instance.capacity(node));
            // As much memory as anybody wants is no measure of load.
            let parts = all.filter(|(_, has)| **has > 0 && **has < u64::MAX);
            let (sum, count) = parts.fold((0.0, 0.0), |it, ((wanted, used), has)| {
                (it.0 + (wanted + used) as f64 / *has as f64, it.1 + 1.0)
            });
            let near = instance.inputs_at(task, node) == 0.0 && instance.has_inputs();
            sum / count - if near { NEAR } else { 0.0 }
        };
        let node = instance.where_fits(task).min_by(|&a, &b| score(a).total_cmp(&score(b)));
        let node = node.expect("a task fits some node");
        for (planned, wanted) in planned[node as usize * width..].iter_mut().zip(instance.demand(task)) {
            *planned += wanted;
        }
        let spot = builder.on(task, node);
        builder.place(task, spot);
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> Vec<LoadNode> {
        let node = |id: &str, location: &str, capacity: Amounts, load: Amounts| LoadNode {
            id: id.into(),
            location: location.into(),
            capacity,
            load: load.map(Some),
        };
        vec![
            node("node-1", "region-1", [8.0, 16384.0, 102_400.0], [2.0, 4096.0, 10240.0]),
            node("node-2", "region-2", [16.0, 32768.0, 204_800.0], [8.0, 16384.0, 51200.0]),
            node("node-3", "region-1", [4.0, 8192.0, 51200.0], [1.0, 2048.0, 5120.0]),
        ]
    }

    const EQUAL: Amounts = [1.0; 3];
    const DEFAULT: Amounts = [1.0, 256.0, 10.0];
    const HEAVY: Amounts = [4.0, 1024.0, 10.0];

    fn task(id: &str, duration_ms: u64, need: Amounts, depends_on: &[u32]) -> LoadTask {
        LoadTask { id: id.into(), duration_ms, need, depends_on: depends_on.to_vec(), ..LoadTask::default() }
    }

    fn placed(tasks: &[LoadTask]) -> LoadPlan {
        plan(tasks, &fixture(), &EQUAL, f64::INFINITY).unwrap()
    }

    /// Req: P7.143
    #[test]
    fn scores_are_means_over_what_a_node_has() {
        let scores = |need: &Amounts| {
            fixture()
                .iter()
                .map(|node| format!("{:.4}", score(node, &[0.0; 3], need, &EQUAL, false)))
                .collect::<Vec<_>>()
        };
        assert_eq!(scores(&DEFAULT), ["0.2469", "0.4401", "0.2938"]);
        assert_eq!(scores(&HEAVY), ["0.3875", "0.5104", "0.5751"]);
        let nothing =
            LoadNode { id: String::new(), location: String::new(), capacity: [0.0; 3], load: [Some(0.0); 3] };
        assert_eq!(score(&nothing, &[0.0; 3], &DEFAULT, &EQUAL, false), 1.0);
    }

    /// Req: P7.130, P7.131
    #[test]
    fn weights_say_what_counts_and_half_is_used_where_nobody_knows() {
        let nodes = fixture();
        let scored = |weights: Amounts| score(&nodes[0], &[0.0; 3], &DEFAULT, &weights, false);
        assert_eq!(scored([1.0, 0.0, 0.0]), 3.0 / 8.0);
        assert_eq!(scored([3.0, 1.0, 0.0]), (3.0 * 3.0 / 8.0 + 4352.0 / 16384.0) / 4.0);
        assert_eq!(scored([0.0; 3]), 1.0);
        let one = [task("t", 1, DEFAULT, &[])];
        let wrong = plan(&one, &nodes, &[1.0, -1.0, 1.0], 1.0);
        assert_eq!(wrong, Err(LoadError::Weight { name: "memory", weight: -1.0 }));
        let mut dark = nodes.clone();
        dark[1].load = [None; 3];
        assert_eq!(score(&dark[1], &[0.0; 3], &[0.0; 3], &EQUAL, false), 0.5);
        assert_eq!(
            plan(&[task("t", 1, [9.0, 0.0, 0.0], &[])], &dark, &EQUAL, 1.0),
            Err(LoadError::Insufficient("t".into()))
        );
    }

    /// Req: P7.129, P7.132, P7.145, P7.146
    #[test]
    fn tasks_of_a_level_see_what_the_others_take() {
        let heavy =
            |count: usize| (0..count).map(|at| task(&format!("t{at}"), 8000, HEAVY, &[])).collect::<Vec<_>>();
        assert_eq!(placed(&heavy(3)).nodes, [0, 1, 1]);
        let refused = plan(&heavy(4), &fixture(), &EQUAL, f64::INFINITY);
        assert_eq!(refused, Err(LoadError::Insufficient("t3".into())));
        // The next level finds the nodes as they were.
        let mut two = heavy(4);
        two[3].depends_on = vec![0];
        assert_eq!(placed(&two).nodes, [0, 1, 1, 0]);
    }

    /// Req: P7.142, P7.144
    #[test]
    fn where_the_input_is_counts_less_but_does_not_bind() {
        let mut near = task("t", 1000, DEFAULT, &[]);
        near.location = Some("region-2".into());
        assert_eq!(placed(std::slice::from_ref(&near)).nodes, [1], "0.4401 - 0.2 is less than 0.2469");
        near.need = [9.0, 256.0, 10.0];
        assert_eq!(plan(&[near.clone()], &fixture(), &EQUAL, 1.0), Err(LoadError::Insufficient("t".into())));
        near.need = [5.0, 256.0, 10.0];
        near.location = Some("region-1".into());
        assert_eq!(placed(&[near.clone()]).nodes, [0]);
        let (mut soft, mut hard) = (near.clone(), near);
        soft.need = [7.0, 256.0, 10.0];
        hard.need = soft.need;
        hard.only_there = true;
        assert_eq!(placed(&[soft]).nodes, [1]);
        assert_eq!(plan(&[hard], &fixture(), &EQUAL, 1.0), Err(LoadError::Insufficient("t".into())));
    }

    /// Req: P7.156, P7.157, P7.149
    #[test]
    fn time_and_resources_level_by_level() {
        let tasks =
            [task("a", 1000, DEFAULT, &[]), task("b", 3000, HEAVY, &[]), task("c", 500, DEFAULT, &[0])];
        let made = placed(&tasks);
        assert_eq!(made.barrier_ms, 3500);
        assert_eq!(made.critical_ms, 3000.0);
        assert_eq!(made.peak, [5.0, 1280.0, 20.0]);
        assert_eq!(made.levels, [0, 0, 1]);
        assert_eq!(made.priorities, [2, 12, 1]);
        assert_eq!(made.slack_ms, [1500.0, 0.0, 1500.0]);
    }

    /// Req: P7.150
    #[test]
    fn the_critical_path_is_connected() {
        let tasks = [
            task("a", 10, DEFAULT, &[]),
            task("b", 9, DEFAULT, &[]),
            task("c", 1, DEFAULT, &[0]),
            task("d", 20, DEFAULT, &[1]),
        ];
        let made = placed(&tasks);
        assert_eq!(made.critical, [1, 3]);
        assert_eq!(made.priorities, [2, 12, 1, 11]);
    }

    /// Req: P7.148
    #[test]
    fn an_output_moves_to_a_node_once() {
        let flow = |size_mb| Flow { source: 0, output: "rows".into(), size_mb };
        let mut tasks =
            vec![task("load", 10, DEFAULT, &[]), task("x", 10, HEAVY, &[]), task("y", 10, HEAVY, &[])];
        for (task, size) in tasks[1..].iter_mut().zip([None, Some(25.0)]) {
            task.inputs = vec![flow(size)];
            task.location = Some("region-2".into());
            task.only_there = true;
        }
        tasks[2].network_priority = 2;
        let made = plan(&tasks, &fixture(), &EQUAL, 5.0).unwrap();
        assert_eq!(made.nodes, [0, 1, 1]);
        let [only] = &made.movements[..] else { panic!("{:?}", made.movements) };
        assert_eq!(
            (only.id.as_str(), only.from, only.to, only.size_mb, only.priority),
            ("load.rows@node-2", 0, 1, 25.0, 2)
        );
        // 25 MB at 5 MB/s are on the critical path.
        assert_eq!(made.critical_ms, 5020.0);
    }

    /// Req: P7.147, P7.161
    #[test]
    fn what_has_no_plan_is_refused() {
        assert_eq!(plan(&[], &[], &EQUAL, 1.0), Err(LoadError::NoNodes));
        let round = [task("a", 1, DEFAULT, &[1]), task("b", 1, DEFAULT, &[0])];
        let names = ["a", "b", "a"].map(String::from).to_vec();
        assert_eq!(plan(&round, &fixture(), &EQUAL, 1.0), Err(LoadError::Cyclic(names)));
        let lost = [task("a", 1, DEFAULT, &[7])];
        assert_eq!(
            plan(&lost, &fixture(), &EQUAL, 1.0),
            Err(LoadError::Unknown { task: "a".into(), before: 7, tasks: 1 })
        );
        assert_eq!(plan(&[], &fixture(), &EQUAL, 1.0).unwrap(), LoadPlan::default());
    }
}
