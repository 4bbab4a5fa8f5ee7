//! The search for a way, where labels do not tell whether there is one.
//!
//! It goes from both ends at once and looks at each node's label: whatever can be told of it is not searched.

use super::super::Graph;
use super::labels::Label;

/// What a search needs and the next one uses again.
#[derive(Debug, Default)]
pub struct Scratch {
    seen: Seen,
    down: Vec<u32>,
    up: Vec<u32>,
}

/// Whether there is a way from one node to another, of which labels tell nothing.
pub(super) fn search(graph: &Graph, labels: &[Label], from: u32, to: u32, scratch: &mut Scratch) -> bool {
    let Scratch { seen, down, up } = scratch;
    let (start, end) = (labels[from as usize], labels[to as usize]);
    seen.clear();
    down.clear();
    up.clear();
    down.push(from);
    up.push(to);
    seen.mark(from, Side::Down);
    seen.mark(to, Side::Up);
    // Downwards from a queue, as upwards: both balls stay small, and meet in the middle.
    let (mut down_at, mut up_at) = (0, 0);
    while down_at < down.len() && up_at < up.len() {
        if down.len() <= up.len() {
            let node = down[down_at];
            down_at += 1;
            for &next in graph.after().successors(node) {
                match seen.mark(next, Side::Down) {
                    Some(Side::Up) => return true,
                    Some(Side::Down) => {}
                    None => match labels[next as usize].leads(&end) {
                        Some(true) => return true,
                        Some(false) => {}
                        None => down.push(next),
                    },
                }
            }
        } else {
            let node = up[up_at];
            up_at += 1;
            for &next in graph.before().successors(node) {
                match seen.mark(next, Side::Up) {
                    Some(Side::Down) => return true,
                    Some(Side::Up) => {}
                    None => match start.leads(&labels[next as usize]) {
                        Some(true) => return true,
                        Some(false) => {}
                        None => up.push(next),
                    },
                }
            }
        }
    }
    false
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Down,
    Up,
}

/// Which nodes a search has seen, and from which end: a table that is emptied by forgetting its age.
#[derive(Debug)]
struct Seen {
    /// Age and side, and node.
    slots: Vec<(u32, u32)>,
    age: u32,
    used: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Self { slots: vec![(0, 0); 256], age: 0, used: 0 }
    }
}

impl Seen {
    fn clear(&mut self) {
        self.used = 0;
        self.age += 2;
        if self.age >= u32::MAX - 2 {
            self.slots.fill((0, 0));
            self.age = 2;
        }
    }

    /// Marks a node that is new; else says from which end it was seen.
    fn mark(&mut self, node: u32, side: Side) -> Option<Side> {
        if self.used * 2 >= self.slots.len() {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut at = place(node, mask);
        loop {
            let (age, held) = self.slots[at];
            if age < self.age {
                self.slots[at] = (self.age + side as u32, node);
                self.used += 1;
                return None;
            }
            if held == node {
                return Some(if age == self.age { Side::Down } else { Side::Up });
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        self.slots = vec![(0, 0); old.len() * 4];
        let mask = self.slots.len() - 1;
        for (age, node) in old.into_iter().filter(|&(age, _)| age >= self.age) {
            let mut at = place(node, mask);
            while self.slots[at].0 != 0 {
                at = (at + 1) & mask;
            }
            self.slots[at] = (age, node);
        }
    }
}

fn place(node: u32, mask: usize) -> usize {
    (u64::from(node).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask
}
