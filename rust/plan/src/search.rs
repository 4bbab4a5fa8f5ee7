//! Iterated local search: schedules are lists of tasks with nodes, which are changed where the critical
//! path runs and laid out again.
//!
//! A change takes a few tasks off (destroy) and puts each back at another place in the list, on another
//! node or on whichever lets it end first (repair), after H. R. Lourenço, O. C. Martin, T. Stützle,
//! "Iterated local search", Handbook of Metaheuristics, 2003. Changes that are a little worse are
//! accepted now and then, less and less so.

use crate::builder::{Builder, Sent, Spot};
use crate::instance::Instance;
use crate::rng::Rng;
use crate::schedule::Schedule;

/// One searcher. Its state depends on the seed and on how many evaluations it made, on nothing else.
pub(crate) struct Chain<'a> {
    instance: &'a Instance,
    rng: Rng,
    /// The present list, its nodes and times.
    now: Layout,
    next: Layout,
    pub(crate) best: Layout,
    /// How far above the best the present may be, as a part of it.
    heat: f64,
    since_best: usize,
    /// Tasks that are to look for a node again.
    loose: Vec<bool>,
    /// Time of each node while laying out.
    free: Vec<f64>,
    critical: Vec<u32>,
    fast: bool,
}

/// A list of tasks in topological order, the node of each, and the times that follow.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    list: Vec<u32>,
    nodes: Vec<u32>,
    starts: Vec<f64>,
    finishes: Vec<f64>,
    pub(crate) makespan: f64,
}

impl Layout {
    /// The tasks of a schedule by start.
    fn new(instance: &Instance, schedule: &Schedule) -> Self {
        let mut list = instance.order().to_vec();
        list.sort_by(|&a, &b| schedule.starts[a as usize].total_cmp(&schedule.starts[b as usize]));
        Self {
            list,
            nodes: schedule.nodes.clone(),
            starts: schedule.starts.clone(),
            finishes: schedule.finishes.clone(),
            makespan: schedule.makespan(),
        }
    }

    pub(crate) fn schedule(&self) -> Schedule {
        Schedule { nodes: self.nodes.clone(), starts: self.starts.clone(), finishes: self.finishes.clone() }
    }

    fn copy_from(&mut self, other: &Self) {
        self.list.copy_from_slice(&other.list);
        self.nodes.copy_from_slice(&other.nodes);
        self.starts.copy_from_slice(&other.starts);
        self.finishes.copy_from_slice(&other.finishes);
        self.makespan = other.makespan;
    }
}

/// How far above the best the present may be at first.
const HEAT: f64 = 0.04;

impl<'a> Chain<'a> {
    pub(crate) fn new(instance: &'a Instance, schedule: &Schedule, seed: u64) -> Self {
        let now = Layout::new(instance, schedule);
        Self {
            instance,
            rng: Rng::new(seed),
            next: now.clone(),
            best: now.clone(),
            now,
            heat: HEAT,
            since_best: 0,
            loose: vec![false; instance.len()],
            free: vec![0.0; instance.nodes()],
            critical: Vec::new(),
            fast: instance.all_single() && instance.is_uniform() && !instance.has_inputs(),
        }
    }

    /// Goes on from another's schedule.
    pub(crate) fn adopt(&mut self, other: &Layout) {
        self.now.copy_from(other);
        if other.makespan < self.best.makespan {
            self.best.copy_from(other);
        }
    }

    /// Makes so many evaluations, fewer if a schedule as short as `least` is found. Returns how many.
    pub(crate) fn run(&mut self, evaluations: usize, least: f64) -> usize {
        for made in 0..evaluations {
            if self.best.makespan <= least {
                return made;
            }
            self.step();
        }
        evaluations
    }

    fn step(&mut self) {
        self.next.copy_from(&self.now);
        if self.critical.is_empty() {
            self.find_critical();
        }
        self.change();
        if self.fast {
            self.lay_out_fast();
        } else {
            self.lay_out();
        }
        let limit = self.now.makespan.max(self.best.makespan * (1.0 + self.heat * self.rng.unit().powi(4)));
        self.since_best += 1;
        if self.next.makespan <= limit {
            std::mem::swap(&mut self.now, &mut self.next);
            self.critical.clear();
            if self.now.makespan < self.best.makespan {
                self.best.copy_from(&self.now);
                self.since_best = 0;
            }
        }
        let patience = 2000 + 20 * self.instance.len();
        if self.since_best > patience {
            self.since_best = 0;
            self.heat = if self.heat < HEAT / 8.0 { HEAT } else { self.heat * 0.7 };
            self.now.copy_from(&self.best);
            self.critical.clear();
        }
    }

    /// Finds the tasks that the makespan hangs on: each waits for the one before it.
    fn find_critical(&mut self) {
        let now = &self.now;
        let latest = now.list.iter().copied().reduce(|last, it| {
            if now.finishes[it as usize] > now.finishes[last as usize] { it } else { last }
        });
        let mut before_on_node: Vec<u32> = vec![u32::MAX; self.instance.nodes()];
        let mut blocker = vec![u32::MAX; self.instance.len()];
        for &task in &now.list {
            let node = now.nodes[task as usize] as usize;
            blocker[task as usize] = std::mem::replace(&mut before_on_node[node], task);
        }
        let mut at = latest;
        while let Some(task) = at {
            self.critical.push(task);
            let start = now.starts[task as usize];
            let slack = 1e-9 * now.makespan;
            let waits = self.instance.received(task).find(|&(before, bytes)| {
                let sending =
                    self.instance.transfer(now.nodes[before as usize], now.nodes[task as usize], bytes);
                now.finishes[before as usize] + sending >= start - slack
            });
            let blocked = Some(blocker[task as usize])
                .filter(|&it| it != u32::MAX && now.finishes[it as usize] >= start - slack && start > slack);
            at = match (waits, blocked) {
                (Some((before, _)), Some(blocked)) => {
                    Some(if self.rng.below(2) == 0 { before } else { blocked })
                }
                (Some((before, _)), None) => Some(before),
                (None, blocked) => blocked,
            };
            if start <= slack {
                break;
            }
        }
    }

    /// Changes the next list.
    fn change(&mut self) {
        let count = self.instance.len();
        self.loose.fill(false);
        let several = match self.rng.below(8) {
            0..4 => 1,
            4..6 => 2,
            6 => 3 + self.rng.below(3),
            _ => 2 + self.rng.below(count.clamp(1, 12)),
        };
        for _ in 0..several {
            let mut task = if self.rng.below(8) == 0 {
                self.rng.below(count) as u32
            } else {
                self.critical[self.rng.below(self.critical.len())]
            };
            // A neighbour now and then: it may stand in the way of a critical task.
            if self.rng.below(4) == 0 {
                let near = if self.rng.below(2) == 0 {
                    self.instance.predecessors(task)
                } else {
                    self.instance.successors(task)
                };
                if !near.is_empty() {
                    task = near[self.rng.below(near.len())];
                }
            }
            match self.rng.below(8) {
                0..3 => self.loose[task as usize] = true,
                3 => self.next.nodes[task as usize] = self.any_node(task),
                4 => {
                    // To where one of its neighbours is.
                    let before = self.instance.predecessors(task);
                    let after = self.instance.successors(task);
                    let near = before.len() + after.len();
                    if near > 0 {
                        let at = self.rng.below(near);
                        let other = before.get(at).copied().unwrap_or_else(|| after[at - before.len()]);
                        let node = self.next.nodes[other as usize];
                        if self.instance.fits(task, node) {
                            self.next.nodes[task as usize] = node;
                        }
                    }
                }
                5 => self.shift(task),
                _ => {
                    self.shift(task);
                    self.loose[task as usize] = true;
                }
            }
        }
    }

    fn any_node(&mut self, task: u32) -> u32 {
        loop {
            let node = self.rng.below(self.instance.nodes()) as u32;
            if self.instance.fits(task, node) {
                return node;
            }
        }
    }

    /// Moves a task to another place in the list between what it waits for and what waits for it.
    fn shift(&mut self, task: u32) {
        let list = &mut self.next.list;
        let Some(at) = list.iter().position(|&it| it == task) else { return };
        let (before, after) = (self.instance.predecessors(task), self.instance.successors(task));
        let near = |it: &u32, those: &[u32]| those.binary_search(it).is_ok();
        let low = if before.is_empty() {
            0
        } else {
            list[..at].iter().rposition(|it| near(it, before)).map_or(0, |it| it + 1)
        };
        let high = if after.is_empty() {
            list.len() - 1
        } else {
            list[at + 1..].iter().position(|it| near(it, after)).map_or(list.len() - 1, |it| at + it)
        };
        // Near more often than far.
        let span = high - low;
        if span == 0 {
            return;
        }
        let to = if self.rng.below(2) == 0 {
            low + self.rng.below(span + 1)
        } else {
            let reach = (span / 4).clamp(1, 12);
            let shifted = at as i64 + self.rng.below(2 * reach + 1) as i64 - reach as i64;
            shifted.clamp(low as i64, high as i64) as usize
        };
        if to > at {
            list[at..=to].rotate_left(1);
        } else {
            list[to..=at].rotate_right(1);
        }
    }

    /// Lays the next list out, each task after the one before it on its node, where all nodes run one task
    /// at a time and all links are alike.
    fn lay_out_fast(&mut self) {
        let instance = self.instance;
        let Layout { list, nodes, starts, finishes, makespan } = &mut self.next;
        self.free.fill(0.0);
        *makespan = 0.0;
        for &task in list.iter() {
            let at = task as usize;
            if !self.loose[at] {
                let node = nodes[at];
                let mut ready = self.free[node as usize];
                for (before, bytes) in instance.received(task) {
                    let sending = instance.transfer(nodes[before as usize], node, bytes);
                    ready = ready.max(finishes[before as usize] + sending);
                }
                let finish = ready + instance.exec(task, node);
                (starts[at], finishes[at]) = (ready, finish);
                self.free[node as usize] = finish;
                *makespan = makespan.max(finish);
                continue;
            }
            let mut best: Option<Spot> = None;
            let (mut sent, mut local) = (Sent::default(), 0.0);
            for (before, bytes) in instance.received(task) {
                let node = nodes[before as usize];
                let elsewhere = if node == 0 { 1 } else { 0 };
                let sending =
                    if self.free.len() > 1 { instance.transfer(node, elsewhere, bytes) } else { 0.0 };
                sent.arrive(finishes[before as usize] + sending, node);
            }
            if sent.from != Schedule::NOWHERE {
                let own = instance.predecessors(task).iter().filter(|&&it| nodes[it as usize] == sent.from);
                local = own.map(|&it| finishes[it as usize]).fold(sent.others, f64::max);
            }
            for node in instance.where_fits(task) {
                let ready = if node == sent.from { local } else { sent.last };
                let start = ready.max(self.free[node as usize]);
                let finish = start + instance.exec(task, node);
                if best.is_none_or(|it| finish < it.finish) {
                    best = Some(Spot { node, start, finish });
                }
            }
            let Spot { node, start, finish } = best.expect("a task fits some node");
            (nodes[at], starts[at], finishes[at]) = (node, start, finish);
            self.free[node as usize] = finish;
            *makespan = makespan.max(finish);
        }
    }

    /// Lays the next list out on any platform.
    fn lay_out(&mut self) {
        let mut builder = Builder::new(self.instance, true);
        let mut arrivals = Vec::new();
        for &task in &self.next.list {
            let at = task as usize;
            let spot = if self.loose[at] {
                builder.earliest_finish(task, &mut arrivals)
            } else {
                builder.on(task, self.next.nodes[at])
            };
            builder.place(task, spot);
        }
        self.next.makespan = builder.makespan;
        (self.next.nodes, self.next.starts, self.next.finishes) =
            (builder.nodes, builder.starts, builder.finishes);
    }
}
