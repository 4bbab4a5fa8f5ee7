//! The search for a way, where labels do not tell whether there is one.
//!
//! From the first node a ball grows, one generation after another; from the last, a search runs back
//! depth-first, and so is soon where the ball is. It stops at the height of the ball's surface, below which
//! nothing is left to find. Both do as much work. What labels rule out is not looked at, and a node of which
//! they prove the rest of the way ends the search.

use std::hint::black_box;

use super::super::{Csr, Graph};
use super::labels::Label;

/// Nodes that are looked at together, so that memory is waited for once.
const TOGETHER: usize = 16;

/// What a search needs and the next one uses again.
#[derive(Debug, Default)]
pub struct Scratch {
    seen: Seen,
    /// The generation whose successors are being looked at, and the next.
    surface: Vec<u32>,
    beyond: Vec<u32>,
    back: Vec<u32>,
}

/// Whether there is a way from one node to another, of which labels tell nothing.
pub(super) fn search(graph: &Graph, labels: &[Label], from: u32, to: u32, scratch: &mut Scratch) -> bool {
    let Scratch { seen, surface, beyond, back } = scratch;
    let (start, end) = (labels[from as usize], labels[to as usize]);
    let (after, before) = (graph.after(), graph.before());
    seen.clear();
    for list in [&mut *surface, beyond, back] {
        list.clear();
    }
    surface.push(from);
    back.push(to);
    seen.mark(from, Side::Ball);
    seen.mark(to, Side::Back);
    let mut floor = start.height();
    let (mut ahead, mut behind) = (0, 0);
    loop {
        if ahead <= behind {
            if surface.is_empty() {
                std::mem::swap(surface, beyond);
                black_box(lowest(labels, surface));
                let mut proven = false;
                surface.retain(|&it| {
                    let told = labels[it as usize].leads(&end);
                    proven |= told == Some(true);
                    told != Some(false)
                });
                if proven {
                    return true;
                }
                let Some(lowest) = lowest(labels, surface) else { return false };
                floor = lowest;
            }
            let rest = surface.len().saturating_sub(TOGETHER);
            touch(after, &surface[rest..]);
            while surface.len() > rest && ahead <= behind {
                let Some(node) = surface.pop() else { break };
                for &next in after.successors(node) {
                    match seen.mark(next, Side::Ball) {
                        Some(Side::Back) => return true,
                        Some(Side::Ball) => {}
                        None => beyond.push(next),
                    }
                }
                ahead += after.successors(node).len();
            }
        } else {
            let Some(node) = back.pop() else { return false };
            let label = &labels[node as usize];
            // A way from the surface only goes upwards.
            if label.height() <= floor {
                continue;
            }
            if node != to {
                match start.leads(label) {
                    Some(true) => return true,
                    Some(false) => continue,
                    None => {}
                }
            }
            let old = back.len();
            for &next in before.successors(node) {
                match seen.mark(next, Side::Back) {
                    Some(Side::Ball) => return true,
                    Some(Side::Back) => {}
                    None => back.push(next),
                }
            }
            behind += before.successors(node).len();
            let new = &back[old.max(back.len().saturating_sub(TOGETHER))..];
            black_box(lowest(labels, new));
            touch(before, new);
        }
    }
}

/// The least height of nodes.
fn lowest(labels: &[Label], nodes: &[u32]) -> Option<u32> {
    nodes.iter().map(|&node| labels[node as usize].height()).min()
}

/// Has the edges of nodes fetched all at once.
fn touch(csr: &Csr, nodes: &[u32]) {
    let first = |node: u32| csr.successors(node).first().copied().unwrap_or_default();
    black_box(nodes.iter().fold(0, |sum, &node| sum ^ first(node)));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ball,
    Back,
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

    #[inline]
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
                return Some(if age == self.age { Side::Ball } else { Side::Back });
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
