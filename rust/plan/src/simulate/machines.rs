//! The nodes of the platform of a simulation: what is free on them, and how fast they are. Here they are
//! called machines, since programs have nodes too.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferroflow_engine::Micros;

use crate::platform::{Node, Platform};

/// A size that nobody reaches: what a node has of a disk, and of memory, of which its platform says nothing.
const ENDLESS: u64 = 1 << 60;

/// What a node has, as steps declare it: counts in thousandths, sizes in bytes.
pub(super) fn capacity(node: &Node) -> BTreeMap<&str, u64> {
    let mut capacity = BTreeMap::from([("disk", ENDLESS)]);
    capacity.extend(node.devices.iter().map(|(name, &amount)| match &**name {
        "disk" => ("disk", amount),
        name => (name, amount.saturating_mul(1000)),
    }));
    capacity.extend([("cpu", u64::from(node.cores) * 1000), ("memory", node.memory.min(ENDLESS))]);
    capacity
}

/// What a step needs, by the numbers of resources.
pub(super) type Demand = Arc<[(usize, u64)]>;

pub(super) struct Machines {
    names: Vec<String>,
    /// Machine after machine, what is free of each resource.
    free: Vec<u64>,
    up: Vec<bool>,
    /// Task after task: machines, fastest first, and how fast each is.
    ranked: Vec<Vec<(u32, f64)>>,
    price: Vec<f64>,
    pub(super) busy: Vec<Micros>,
    pub(super) cost: f64,
    cpu: Option<usize>,
}

impl Machines {
    pub(super) fn new(platform: &Platform, tasks: &[Arc<str>]) -> Self {
        let machines = platform.nodes();
        let capacities: Vec<_> = machines.iter().map(capacity).collect();
        let mut names: Vec<String> =
            capacities.iter().flat_map(BTreeMap::keys).map(|&name| name.to_owned()).collect();
        names.sort();
        names.dedup();
        let free = capacities
            .iter()
            .flat_map(|capacity| names.iter().map(|name| capacity.get(&**name).copied().unwrap_or(0)));
        let ranked = tasks.iter().map(|task| {
            let speed = |it: &Node| it.speeds.get(&**task).copied().unwrap_or(it.speed);
            let mut ranked: Vec<(u32, f64)> = (0..).zip(machines.iter().map(speed)).collect();
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            ranked
        });
        Self {
            free: free.collect(),
            up: vec![true; machines.len()],
            ranked: ranked.collect(),
            price: machines.iter().map(|it| it.price).collect(),
            busy: vec![0; machines.len()],
            cost: 0.0,
            cpu: names.iter().position(|name| name == "cpu"),
            names,
        }
    }

    /// A demand by the numbers of resources; `None` if some resource is nowhere.
    pub(super) fn demand(&self, amounts: &BTreeMap<String, u64>) -> Option<Demand> {
        let wanted = amounts.iter().filter(|&(_, &amount)| amount > 0);
        wanted.map(|(name, &amount)| Some((self.names.binary_search(name).ok()?, amount))).collect()
    }

    fn fits(&self, machine: u32, demand: &[(usize, u64)]) -> bool {
        let base = machine as usize * self.names.len();
        self.up[machine as usize]
            && demand.iter().all(|&(resource, amount)| self.free[base + resource] >= amount)
    }

    /// The machine on which a step ends first, and after how long: `work` is in microseconds, `fetch`
    /// says how long a machine waits for the step's data, if it needs any.
    pub(super) fn choose(
        &self,
        task: u32,
        demand: &[(usize, u64)],
        work: f64,
        fetch: Option<&dyn Fn(u32) -> f64>,
    ) -> Option<(u32, Micros)> {
        let ranked = &self.ranked[task as usize];
        let mut able = ranked.iter().filter(|(machine, _)| self.fits(*machine, demand));
        let Some(fetch) = fetch else {
            return able.next().map(|&(machine, speed)| (machine, whole(work / speed)));
        };
        let ends = able.map(|&(machine, speed)| (machine, fetch(machine) + work / speed));
        let best = ends.min_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        best.map(|(machine, time)| (machine, whole(time)))
    }

    pub(super) fn seize(&mut self, machine: u32, demand: &[(usize, u64)]) {
        let base = machine as usize * self.names.len();
        for &(resource, amount) in demand {
            self.free[base + resource] -= amount;
        }
    }

    /// Gives back what a step held for a time.
    pub(super) fn release(&mut self, machine: u32, demand: &[(usize, u64)], held: Micros) {
        let base = machine as usize * self.names.len();
        let mut cores = 1.0;
        for &(resource, amount) in demand {
            self.free[base + resource] += amount;
            if Some(resource) == self.cpu {
                cores = amount as f64 / 1000.0;
            }
        }
        self.busy[machine as usize] += (held as f64 * cores) as Micros;
        self.cost += held as f64 / 3.6e9 * cores * self.price[machine as usize];
    }

    pub(super) fn set_up(&mut self, machine: u32, up: bool) {
        self.up[machine as usize] = up;
    }
}

/// A time in whole microseconds.
pub(super) fn whole(micros: f64) -> Micros {
    // No simulation goes on for longer than ten thousand years.
    micros.round().clamp(0.0, 3.2e17) as Micros
}
