//! A plan: where each task runs and when. An independent check of everything that can be wrong with one.

use crate::instance::Instance;

/// Where and when one task runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    pub task: u32,
    pub node: u32,
    pub start: f64,
    pub finish: f64,
}

/// A placement for each task; a task without one has `Schedule::NOWHERE` for a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedule {
    pub nodes: Vec<u32>,
    pub starts: Vec<f64>,
    pub finishes: Vec<f64>,
}

/// One thing that is wrong with a schedule.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Violation {
    #[error("task {task} is not placed")]
    Missing { task: u32 },
    #[error("task {task} is placed on node {node}, which is not there")]
    UnknownNode { task: u32, node: u32 },
    #[error("task {task} does not fit node {node}")]
    Unfit { task: u32, node: u32 },
    #[error("task {task} runs from {start} to {finish}, which is no time")]
    NoTime { task: u32, start: f64, finish: f64 },
    #[error("task {task} runs for {found} s on node {node}, where it takes {wanted} s")]
    Duration { task: u32, node: u32, found: f64, wanted: f64 },
    #[error("task {task} starts at {start}, before task {before} ends at {finish}")]
    Precedence { before: u32, task: u32, finish: f64, start: f64 },
    #[error("task {task} starts at {start}, before the data of task {before} arrive at {arrival}")]
    Communication { before: u32, task: u32, arrival: f64, start: f64 },
    #[error("task {task} starts at {start}, before its input arrives at {arrival}")]
    Input { task: u32, arrival: f64, start: f64 },
    #[error("tasks {first} and {second} overlap on node {node}, which has one core")]
    Overlap { first: u32, second: u32, node: u32 },
    #[error("node {node} has {has} of {resource} and {used} are used at {time}, when task {task} starts")]
    Capacity { node: u32, resource: String, time: f64, used: u64, has: u64, task: u32 },
}

impl Violation {
    /// What kind of thing it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::UnknownNode { .. } => "no-such-node",
            Self::Unfit { .. } => "unfit",
            Self::NoTime { .. } => "no-time",
            Self::Duration { .. } => "duration",
            Self::Precedence { .. } => "precedence",
            Self::Communication { .. } => "communication",
            Self::Input { .. } => "input",
            Self::Overlap { .. } => "overlap",
            Self::Capacity { .. } => "capacity",
        }
    }
}

impl Schedule {
    /// The node of a task without a placement.
    pub const NOWHERE: u32 = u32::MAX;

    /// When the last task ends; 0 if there is none.
    pub fn makespan(&self) -> f64 {
        self.finishes.iter().copied().fold(0.0, f64::max)
    }

    /// The placements by start, then by node, then by task.
    pub fn placements(&self) -> Vec<Placement> {
        let all = self.nodes.iter().zip(self.starts.iter().zip(&self.finishes)).zip(0..);
        let placed = all.filter(|((node, _), _)| **node != Self::NOWHERE);
        let mut found: Vec<Placement> = placed
            .map(|((&node, (&start, &finish)), task)| Placement { task, node, start, finish })
            .collect();
        found.sort_by(|a, b| a.start.total_cmp(&b.start).then((a.node, a.task).cmp(&(b.node, b.task))));
        found
    }

    /// The tasks of each node by start. What takes no time comes before what starts at the same time.
    pub fn lanes(&self, nodes: usize) -> Vec<Vec<u32>> {
        let mut lanes = vec![Vec::new(); nodes];
        for (&node, task) in self.nodes.iter().zip(0u32..) {
            if let Some(lane) = lanes.get_mut(node as usize) {
                lane.push(task);
            }
        }
        for lane in &mut lanes {
            let key = |task: u32| (self.starts[task as usize], self.finishes[task as usize]);
            lane.sort_by(|&a, &b| {
                let (a, b) = ((key(a), a), (key(b), b));
                a.0.0.total_cmp(&b.0.0).then(a.0.1.total_cmp(&b.0.1)).then(a.1.cmp(&b.1))
            });
        }
        lanes
    }

    /// Everything that is wrong with this schedule. Times are compared to within a billionth.
    pub fn check(&self, instance: &Instance) -> Vec<Violation> {
        let mut found = Vec::new();
        let slack = 1e-9 * self.makespan().max(1.0);
        let nodes = instance.nodes() as u32;
        let mut sound = vec![false; instance.len()];
        for task in 0..instance.len() as u32 {
            let at = task as usize;
            let node = self.nodes.get(at).copied().unwrap_or(Self::NOWHERE);
            if node == Self::NOWHERE {
                found.push(Violation::Missing { task });
                continue;
            }
            let (start, finish) = (self.starts[at], self.finishes[at]);
            if node >= nodes {
                found.push(Violation::UnknownNode { task, node });
            } else if !(start.is_finite() && finish.is_finite() && start >= 0.0 && finish >= start - slack) {
                found.push(Violation::NoTime { task, start, finish });
            } else {
                sound[at] = true;
                let wanted = instance.exec(task, node);
                if !instance.fits(task, node) {
                    found.push(Violation::Unfit { task, node });
                } else if (finish - start - wanted).abs() > slack {
                    found.push(Violation::Duration { task, node, found: finish - start, wanted });
                }
            }
        }
        self.check_data(instance, &sound, slack, &mut found);
        self.check_capacity(instance, &sound, slack, &mut found);
        found
    }

    fn check_data(&self, instance: &Instance, sound: &[bool], slack: f64, found: &mut Vec<Violation>) {
        for task in (0..instance.len() as u32).filter(|&task| sound[task as usize]) {
            let (node, start) = (self.nodes[task as usize], self.starts[task as usize]);
            for (before, bytes) in instance.received(task).filter(|it| sound[it.0 as usize]) {
                let finish = self.finishes[before as usize];
                let arrival = finish + instance.transfer(self.nodes[before as usize], node, bytes);
                if start < finish - slack {
                    found.push(Violation::Precedence { before, task, finish, start });
                } else if start < arrival - slack {
                    found.push(Violation::Communication { before, task, arrival, start });
                }
            }
            let arrival = instance.inputs_at(task, node);
            if start < arrival - slack {
                found.push(Violation::Input { task, arrival, start });
            }
        }
    }

    fn check_capacity(&self, instance: &Instance, sound: &[bool], slack: f64, found: &mut Vec<Violation>) {
        for (lane, node) in self.lanes(instance.nodes()).into_iter().zip(0u32..) {
            let capacity = instance.capacity(node);
            let mut running: Vec<u32> = Vec::new();
            let mut used = vec![0u64; capacity.len()];
            let lasting = |task: u32| self.finishes[task as usize] - self.starts[task as usize] > slack;
            for task in lane.into_iter().filter(|&task| sound[task as usize] && lasting(task)) {
                let time = self.starts[task as usize];
                running.retain(|&other| {
                    let lasts = self.finishes[other as usize] > time + slack;
                    for (used, had) in used.iter_mut().zip(instance.demand(other)).filter(|_| !lasts) {
                        *used -= had;
                    }
                    lasts
                });
                for (used, wanted) in used.iter_mut().zip(instance.demand(task)) {
                    *used += wanted;
                }
                if instance.is_single(node) && !running.is_empty() {
                    found.extend(running.iter().map(|&first| Violation::Overlap {
                        first,
                        second: task,
                        node,
                    }));
                } else {
                    let over = used
                        .iter()
                        .zip(capacity)
                        .zip(instance.resources())
                        .filter(|((used, has), _)| used > has);
                    found.extend(over.map(|((&used, &has), resource)| Violation::Capacity {
                        node,
                        resource: resource.clone(),
                        time,
                        used,
                        has,
                        task,
                    }));
                }
                running.push(task);
            }
        }
    }
}
