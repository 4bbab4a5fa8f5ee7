//! HBMCT: R. Sakellariou, H. Zhao, "A hybrid heuristic for DAG scheduling on heterogeneous systems",
//! IPDPS 2004, doi:10.1109/IPDPS.2004.1303065.

use super::heft::ranked;
use crate::builder::Builder;
use crate::instance::Instance;
use crate::lane::{Lane, Wish};
use crate::schedule::Schedule;

/// By upward rank in groups of tasks that do not wait for each other; within a group each task first goes
/// where it ends first, and then tasks leave the node that ends last as long as that helps.
pub(super) fn hbmct(instance: &Instance, insertion: bool) -> Schedule {
    let mut builder = Builder::new(instance, insertion);
    for group in groups(instance) {
        for (task, node) in Group::new(&builder, &group).balance().choices() {
            let spot = builder.on(task, node);
            builder.place(task, spot);
        }
    }
    builder.finish()
}

fn groups(instance: &Instance) -> Vec<Vec<u32>> {
    let mut groups: Vec<Vec<u32>> = Vec::new();
    // In which group each task is, counted from 1.
    let mut group = vec![0usize; instance.len()];
    for task in ranked(instance) {
        let current = groups.len();
        let waits = instance.predecessors(task).iter().any(|&before| group[before as usize] == current);
        if waits || groups.is_empty() {
            groups.push(Vec::new());
        }
        group[task as usize] = groups.len();
        groups.last_mut().expect("there is a group").push(task);
    }
    groups
}

/// A group of tasks while it is spread over the nodes.
struct Group<'a, 'b> {
    builder: &'b Builder<'a>,
    tasks: Vec<u32>,
    /// When each could start on each node if it were alone, a row a task.
    starts: Vec<f64>,
    /// Those on each node, as places in `tasks`, by that start.
    lists: Vec<Vec<usize>>,
    /// When each node ends.
    ends: Vec<f64>,
}

impl<'a, 'b> Group<'a, 'b> {
    fn new(builder: &'b Builder<'a>, tasks: &[u32]) -> Self {
        let instance = builder.instance;
        let nodes = instance.nodes();
        let mut made = Self {
            builder,
            tasks: tasks.to_vec(),
            starts: Vec::with_capacity(tasks.len() * nodes),
            lists: vec![Vec::new(); nodes],
            ends: vec![0.0; nodes],
        };
        let mut arrivals = Vec::new();
        for &task in tasks {
            builder.arrivals(task, &mut arrivals);
            let start =
                |(node, &ready): (usize, &f64)| builder.spot(task, node as u32, ready, f64::INFINITY).start;
            made.starts.extend(arrivals.iter().enumerate().map(start));
        }
        for (at, &task) in tasks.iter().enumerate() {
            let end = |node: u32| made.starts[at * nodes + node as usize] + instance.exec(task, node);
            let best = instance.where_fits(task).min_by(|&a, &b| end(a).total_cmp(&end(b)));
            made.lists[best.expect("a task fits some node") as usize].push(at);
        }
        for node in 0..nodes {
            let mut list = std::mem::take(&mut made.lists[node]);
            made.sort(&mut list, node);
            made.ends[node] = made.end(&list, node);
            made.lists[node] = list;
        }
        made
    }

    fn start(&self, at: usize, node: usize) -> f64 {
        self.starts[at * self.lists.len() + node]
    }

    fn sort(&self, list: &mut [usize], node: usize) {
        list.sort_by(|&a, &b| self.start(a, node).total_cmp(&self.start(b, node)).then(a.cmp(&b)));
    }

    /// When a node ends with these tasks on it.
    fn end(&self, list: &[usize], node: usize) -> f64 {
        let instance = self.builder.instance;
        let mut lane: Option<Lane> = None;
        if !instance.is_single(node as u32) {
            lane = Some(self.builder.lanes[node].clone());
        }
        let mut end = self.builder.lanes[node].end();
        for &at in list {
            let task = self.tasks[at];
            let exec = instance.exec(task, node as u32);
            let ready = self.start(at, node);
            match &mut lane {
                None => end = end.max(ready) + exec,
                Some(lane) => {
                    let demand = instance.demand(task);
                    let wish = Wish { ready, exec, demand, insertion: true, limit: f64::INFINITY };
                    let start = lane.earliest(wish);
                    lane.place(start, start + exec, demand);
                    end = end.max(start + exec);
                }
            }
        }
        end
    }

    fn balance(mut self) -> Self {
        let nodes = self.lists.len();
        let average = |it: &Self, at: usize| (0..nodes).map(|node| it.start(at, node)).sum::<f64>();
        loop {
            let last =
                (1..nodes).fold(0, |last, node| if self.ends[node] > self.ends[last] { node } else { last });
            let mut candidates = self.lists[last].clone();
            candidates.sort_by(|&a, &b| average(&self, a).total_cmp(&average(&self, b)).then(a.cmp(&b)));
            let moved = candidates.into_iter().find_map(|at| {
                let mut without = self.lists[last].clone();
                without.retain(|&it| it != at);
                let end = self.end(&without, last);
                if end >= self.ends[last] {
                    return None;
                }
                let mut best: Option<(f64, usize, Vec<usize>)> = None;
                let others = (0..nodes).filter(|&node| node != last);
                for node in others.filter(|&node| self.builder.instance.fits(self.tasks[at], node as u32)) {
                    let mut with = self.lists[node].clone();
                    with.push(at);
                    self.sort(&mut with, node);
                    let end = self.end(&with, node);
                    if end < self.ends[last] && best.as_ref().is_none_or(|it| end < it.0) {
                        best = Some((end, node, with));
                    }
                }
                best.map(|best| (without, end, best))
            });
            let Some((without, end, (other_end, other, with))) = moved else { return self };
            (self.lists[last], self.ends[last]) = (without, end);
            (self.lists[other], self.ends[other]) = (with, other_end);
        }
    }

    /// Which task goes where, in the order in which they are to be placed.
    fn choices(&self) -> Vec<(u32, u32)> {
        let lists = self.lists.iter().zip(0u32..);
        lists.flat_map(|(list, node)| list.iter().map(move |&at| (self.tasks[at], node))).collect()
    }
}
