//! Where tasks run: nodes with what they have, and the network between them.

use crate::Error;
use std::collections::{BTreeMap, BTreeSet};

/// A place where tasks run.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub name: String,
    /// How many cores' worth of tasks run at one time.
    pub cores: u32,
    /// Work a second, for kinds of task that `speeds` does not name.
    pub speed: f64,
    /// Work a second by kind of task.
    pub speeds: BTreeMap<String, f64>,
    /// Bytes; `u64::MAX` is as much as anybody wants.
    pub memory: u64,
    /// Divisible extras by name: pieces of such as `gpu`, bytes of `disk`.
    pub devices: BTreeMap<String, u64>,
    pub labels: BTreeMap<String, String>,
    pub location: Option<String>,
    /// What an hour of one core costs.
    pub price: f64,
}

impl Node {
    /// A node with one core, as much memory as anybody wants, and nothing else.
    pub fn new(name: impl Into<String>, speed: f64) -> Self {
        Self {
            name: name.into(),
            cores: 1,
            speed,
            speeds: BTreeMap::new(),
            memory: u64::MAX,
            devices: BTreeMap::new(),
            labels: BTreeMap::new(),
            location: None,
            price: 0.0,
        }
    }
}

/// How long data take from one node to another; on a node they take no time.
#[derive(Clone, Debug, PartialEq)]
pub enum Network {
    /// The same link between any two nodes.
    Uniform { latency: f64, bandwidth: f64 },
    /// A row for each sending node, a column for each receiving one. The diagonal is not read.
    Matrix { latency: Vec<f64>, bandwidth: Vec<f64> },
}

/// Nodes and the network between them, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Platform {
    nodes: Vec<Node>,
    network: Network,
}

impl Platform {
    /// # Errors
    /// If there are no nodes, two of one name, or a number is not what it has to be.
    pub fn new(nodes: Vec<Node>, network: Network) -> Result<Self, Error> {
        if nodes.is_empty() {
            return Err(Error::NoNodes);
        }
        if nodes.len() > u16::MAX as usize {
            return Err(Error::TooMany { what: "nodes", found: nodes.len(), most: u16::MAX as usize });
        }
        let mut names = BTreeSet::new();
        for (number, node) in nodes.iter().enumerate() {
            let speeds = node.speeds.iter().map(|(kind, &speed)| (format!(" for {kind}"), speed));
            for (kind, speed) in std::iter::once((String::new(), node.speed)).chain(speeds) {
                if !(speed > 0.0 && speed.is_finite()) {
                    return Err(Error::Speed { node: number, speed, kind });
                }
            }
            if !(node.price >= 0.0 && node.price.is_finite()) {
                return Err(Error::Price { node: number, price: node.price });
            }
            if node.cores == 0 {
                return Err(Error::NoCores { node: number });
            }
            if !names.insert(&node.name) {
                return Err(Error::SameName(node.name.clone()));
            }
        }
        let count = nodes.len();
        let check = |from: usize, to: usize, latency: f64, bandwidth: f64| {
            if bandwidth.is_nan() || bandwidth <= 0.0 {
                return Err(Error::Bandwidth { from, to, bandwidth });
            }
            if !(latency >= 0.0 && latency.is_finite()) {
                return Err(Error::Latency { from, to, latency });
            }
            Ok(())
        };
        match &network {
            Network::Uniform { latency, bandwidth } => check(0, count.min(2) - 1, *latency, *bandwidth)?,
            Network::Matrix { latency, bandwidth } => {
                for (what, found) in
                    [("latency matrix", latency.len()), ("bandwidth matrix", bandwidth.len())]
                {
                    if found != count * count {
                        return Err(Error::Length { what, found, wanted: count * count });
                    }
                }
                for at in (0..count * count).filter(|at| at / count != at % count) {
                    check(at / count, at % count, latency[at], bandwidth[at])?;
                }
            }
        }
        Ok(Self { nodes, network })
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Seconds that bytes take from one node to another.
    pub fn transfer(&self, from: u32, to: u32, bytes: f64) -> f64 {
        if from == to {
            return 0.0;
        }
        match &self.network {
            Network::Uniform { latency, bandwidth } => latency + bytes / bandwidth,
            Network::Matrix { latency, bandwidth } => {
                let at = from as usize * self.nodes.len() + to as usize;
                latency[at] + bytes / bandwidth[at]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Network = Network::Uniform { latency: 0.0, bandwidth: 1.0 };

    /// Req: P7.147
    #[test]
    fn a_platform_needs_nodes_and_sensible_numbers() {
        assert_eq!(Platform::new(vec![], PLAIN), Err(Error::NoNodes));
        for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let made = Platform::new(vec![Node::new("a", speed)], PLAIN);
            assert!(matches!(made, Err(Error::Speed { node: 0, .. })), "{speed}");
        }
        for price in [-1.0, f64::NAN, f64::INFINITY] {
            let made = Platform::new(vec![Node { price, ..Node::new("a", 1.0) }], PLAIN);
            assert!(matches!(made, Err(Error::Price { node: 0, .. })), "{price}");
        }
        let twice = vec![Node::new("a", 1.0), Node::new("a", 1.0)];
        assert_eq!(Platform::new(twice, PLAIN), Err(Error::SameName("a".into())));
        let two = || vec![Node::new("a", 1.0), Node::new("b", 1.0)];
        for bandwidth in [0.0, -1.0, f64::NAN] {
            let made = Platform::new(two(), Network::Uniform { latency: 0.0, bandwidth });
            assert!(matches!(made, Err(Error::Bandwidth { .. })), "{bandwidth}");
        }
        let matrix = Network::Matrix { latency: vec![0.0; 4], bandwidth: vec![0.0, 1.0, 0.0, 0.0] };
        let made = Platform::new(two(), matrix);
        assert_eq!(made, Err(Error::Bandwidth { from: 1, to: 0, bandwidth: 0.0 }));
        let short = Network::Matrix { latency: vec![0.0; 4], bandwidth: vec![1.0; 3] };
        let made = Platform::new(two(), short);
        assert_eq!(made, Err(Error::Length { what: "bandwidth matrix", found: 3, wanted: 4 }));
        let negative = Network::Uniform { latency: -1.0, bandwidth: 1.0 };
        assert!(matches!(Platform::new(two(), negative), Err(Error::Latency { .. })));
    }
}
