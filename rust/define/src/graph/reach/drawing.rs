//! Reachability from two orders and the pairs on which they are wrong.
//!
//! A node leads to another only if it comes first in both orders: nodes are points of a dominance drawing.
//! Pairs of which that holds although neither leads to the other are listed with the later node. A
//! series-parallel graph has none; what is nearly one has few, and others get another index.
//!
//! Nodes are swept in the first order. What lies below a node in the drawing lies below one of its
//! predecessors, or in a gap between them; what is in a gap, or on a list of a predecessor, is tested, and
//! everything else is right because it was right for the predecessor.

use super::super::Graph;

/// The place of a node in both orders, and where its list of exceptions begins.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    first: u32,
    second: u32,
    from: u32,
}

/// Points by node, one more at the end.
#[derive(Debug)]
pub(super) struct Drawing {
    points: Vec<Point>,
    /// First places of nodes that only seem to lead to the node of the list, ascending.
    exceptions: Vec<u32>,
}

impl Drawing {
    /// Draws a graph by two orders, or gives up at more than `most` exceptions.
    pub(super) fn new(graph: &Graph, first: &[u32], second: &[u32], most: usize) -> Option<Self> {
        let sweep = Sweep::new(graph, first, second);
        let (lists, exceptions) = sweep.run(most)?;
        let mut ordered = Vec::with_capacity(exceptions.len());
        let mut points = Vec::with_capacity(graph.len() + 1);
        for node in 0..graph.len() {
            points.push(Point { first: first[node], second: second[node], from: ordered.len() as u32 });
            let (from, len) = lists[first[node] as usize];
            ordered.extend_from_slice(&exceptions[from as usize..(from + len) as usize]);
        }
        points.push(Point { from: ordered.len() as u32, ..Point::default() });
        Some(Self { points, exceptions: ordered })
    }

    pub(super) fn bytes(&self) -> usize {
        std::mem::size_of_val(&self.points[..]) + std::mem::size_of_val(&self.exceptions[..])
    }

    pub(super) fn exceptions(&self) -> usize {
        self.exceptions.len()
    }

    /// The place of a node in both orders.
    pub(super) fn place(&self, node: u32) -> (u32, u32) {
        let point = self.points[node as usize];
        (point.first, point.second)
    }

    pub(super) fn leads(&self, from: u32, to: u32) -> bool {
        let (a, b) = (self.points[from as usize], self.points[to as usize]);
        if a.first >= b.first || a.second >= b.second {
            return false;
        }
        let list = &self.exceptions[b.from as usize..self.points[to as usize + 1].from as usize];
        list.is_empty() || list.binary_search(&a.first).is_err()
    }
}

struct Sweep<'g> {
    graph: &'g Graph,
    first: &'g [u32],
    second: &'g [u32],
    node_at: Vec<u32>,
    second_at: Vec<u32>,
    seen: Tree,
}

type Lists = Vec<(u32, u32)>;

impl<'g> Sweep<'g> {
    fn new(graph: &'g Graph, first: &'g [u32], second: &'g [u32]) -> Self {
        let mut node_at = vec![0; graph.len()];
        let mut second_at = vec![0; graph.len()];
        for (node, &place) in first.iter().enumerate() {
            node_at[place as usize] = node as u32;
            second_at[place as usize] = second[node];
        }
        Self { graph, first, second, node_at, second_at, seen: Tree::new(graph.len()) }
    }

    /// The lists by first place, each as where it begins and how long it is.
    fn run(mut self, most: usize) -> Option<(Lists, Vec<u32>)> {
        // A list is made of those of predecessors: reading them may cost a few times what is written.
        let mut work = 8 * (most + self.graph.len());
        let mut lists: Lists = Vec::with_capacity(self.graph.len());
        let mut exceptions: Vec<u32> = Vec::new();
        let (mut stairs, mut doubtful) = (Vec::new(), Vec::new());
        for place in 0..self.graph.len() as u32 {
            let node = self.node_at[place as usize];
            let height = self.second[node as usize];
            let before = self.graph.predecessors(node);
            doubtful.clear();
            for &it in before {
                let (from, len) = lists[self.first[it as usize] as usize];
                work = work.checked_sub(len as usize)?;
                doubtful.extend_from_slice(&exceptions[from as usize..(from + len) as usize]);
            }
            // The steps of the stairs that predecessors make, the one farthest on in the first order first.
            stairs.clear();
            stairs.extend(before.iter().map(|&it| (self.first[it as usize], self.second[it as usize])));
            stairs.sort_unstable_by(|a, b| b.cmp(a));
            let (mut low, mut room) = (0, most - exceptions.len() + 1);
            for &(far, high) in &stairs {
                if high >= low {
                    room = self.seen.above(low, high, far + 1, &mut doubtful, room)?;
                    low = high + 1;
                }
            }
            self.seen.above(low, height, 0, &mut doubtful, room)?;
            doubtful.sort_unstable();
            doubtful.dedup();
            let from = exceptions.len() as u32;
            for &it in &doubtful {
                work = work.checked_sub(before.len())?;
                let truly = stairs.iter().any(|&(far, high)| {
                    let seems = it < far && self.second_at[it as usize] < high;
                    let (from, len) = lists[far as usize];
                    let list = &exceptions[from as usize..(from + len) as usize];
                    it == far || seems && list.binary_search(&it).is_err()
                });
                if !truly {
                    exceptions.push(it);
                }
            }
            if exceptions.len() > most {
                return None;
            }
            lists.push((from, exceptions.len() as u32 - from));
            self.seen.put(height, place);
        }
        Some((lists, exceptions))
    }
}

/// First places by second place, of the nodes swept so far; finds all above a bound in a range.
struct Tree {
    leaves: usize,
    /// One more than the largest place below; 0 for none.
    most: Vec<u32>,
    stack: Vec<usize>,
}

impl Tree {
    fn new(len: usize) -> Self {
        let leaves = len.next_power_of_two();
        Self { leaves, most: vec![0; 2 * leaves], stack: Vec::new() }
    }

    fn put(&mut self, at: u32, place: u32) {
        let mut at = self.leaves + at as usize;
        // Places ascend, so that the newest is the largest all the way up.
        while at > 0 {
            self.most[at] = place + 1;
            at /= 2;
        }
    }

    /// Adds the places of at least `bound` whose second places are in a range to `found`. Gives up at
    /// more than `room`, and else says how much is left of it.
    fn above(&mut self, low: u32, end: u32, bound: u32, found: &mut Vec<u32>, room: usize) -> Option<usize> {
        let mut room = room;
        let (mut low, mut end) = (self.leaves + low as usize, self.leaves + end as usize);
        while low < end {
            if low % 2 == 1 {
                room = self.below(low, bound, found, room)?;
                low += 1;
            }
            if end % 2 == 1 {
                end -= 1;
                room = self.below(end, bound, found, room)?;
            }
            (low, end) = (low / 2, end / 2);
        }
        Some(room)
    }

    fn below(&mut self, root: usize, bound: u32, found: &mut Vec<u32>, mut room: usize) -> Option<usize> {
        self.stack.push(root);
        while let Some(at) = self.stack.pop() {
            if self.most[at] <= bound {
                continue;
            }
            if at >= self.leaves {
                found.push(self.most[at] - 1);
                room = room.checked_sub(1)?;
            } else {
                self.stack.extend([2 * at, 2 * at + 1]);
            }
        }
        Some(room)
    }
}
