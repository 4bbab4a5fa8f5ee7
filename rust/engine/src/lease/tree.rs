//! The tree of names: the nodes that somebody uses, who holds and who waits at each, and how many below it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use ferroflow_define::access::name::{Segment, Written};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// No node, no request.
pub(super) const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;

/// An asset's number in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asset(pub(super) u32);

impl Asset {
    /// What contains all others.
    pub const WORLD: Asset = Asset(ROOT);
}

/// A mode's number in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(pub(super) u32);

impl Kind {
    pub(super) const READS: Kind = Kind(0);
    pub(super) const WRITES: Kind = Kind(1);
    pub(super) const TAKES: Kind = Kind(2);
    /// Operations of reductions have the numbers from here on.
    pub(super) const FIRST_OPERATION: u32 = 3;

    /// As `Mode::compatible` has it.
    pub(super) fn agrees(self, other: Self) -> bool {
        self == other && self != Kind::WRITES && self != Kind::TAKES
    }
}

/// By what requests that wait go: the smaller one first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub turn: u64,
    pub sequence: u64,
}

/// Who has, and who waits for, one asset in one mode.
#[derive(Clone, Debug)]
pub(super) struct Here {
    pub kind: Kind,
    /// Requests, and which of their accesses this is.
    pub holds: SmallVec<[(u32, u32); 2]>,
    pub waits: BTreeSet<(Key, u32)>,
}

/// How many requests there are at a node and below it, those that wait too.
#[derive(Clone, Debug, Default)]
struct Below {
    all: u32,
    /// Of them, those that read, and that reduce, by operation: what agrees with others of its kind.
    reads: u32,
    reduces: Vec<(Kind, u32)>,
}

impl Below {
    fn agreeing(&self, kind: Kind) -> u32 {
        match kind {
            Kind::READS => self.reads,
            Kind::WRITES | Kind::TAKES => 0,
            _ => self.reduces.iter().find(|it| it.0 == kind).map_or(0, |it| it.1),
        }
    }

    fn counted(&mut self, kind: Kind) -> Option<&mut u32> {
        match kind {
            Kind::READS => Some(&mut self.reads),
            Kind::WRITES | Kind::TAKES => None,
            _ => {
                let at = self.reduces.iter().position(|it| it.0 == kind).unwrap_or_else(|| {
                    self.reduces.push((kind, 0));
                    self.reduces.len() - 1
                });
                Some(&mut self.reduces[at].1)
            }
        }
    }
}

/// Where a node notes who has it: it stays there as long as it does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spot {
    here: u32,
    pub at: u32,
}

/// Among what a child of a node is looked for.
#[derive(Clone, Copy)]
enum Among {
    Texts,
    Parts(u64),
    Ranges(u64, u64),
}

impl Among {
    fn of(segment: &Segment) -> Self {
        match *segment {
            Segment::Text(_) => Among::Texts,
            Segment::Part(_, of) => Among::Parts(of),
            Segment::Range(from, to) => Among::Ranges(from, to),
        }
    }
}

/// Selectors of an asset that somebody holds or waits for.
#[derive(Clone, Debug, Default)]
struct Selectors {
    /// By the number of parts: those are disjoint.
    parts: BTreeMap<u64, Vec<u32>>,
    ranges: BTreeSet<(u64, u64, u32)>,
    /// No range is longer.
    longest: u64,
}

#[derive(Clone, Debug)]
struct Node {
    segment: Segment,
    parent: u32,
    /// Children, and those who keep the number. A node with users stays too.
    refs: u32,
    here: SmallVec<[Here; 2]>,
    below: Below,
    /// Where it is among the busy of its parent.
    place: u32,
    /// Children that are texts, and at or below which there are users.
    busy: Vec<u32>,
    selectors: Option<Box<Selectors>>,
}

#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    free: Vec<u32>,
    children: FxHashMap<(u32, Segment), u32>,
}

impl Node {
    fn new(segment: Segment, parent: u32) -> Self {
        Self {
            segment,
            parent,
            refs: 0,
            here: SmallVec::new(),
            below: Below::default(),
            place: NONE,
            busy: Vec::new(),
            selectors: None,
        }
    }

    fn disagrees_below(&self, kind: Kind) -> bool {
        self.below.all > self.below.agreeing(kind)
    }
}

impl Selectors {
    /// Shows those that overlap with a segment, itself left out; true if `see` says that it is enough.
    fn overlapping(&self, segment: &Segment, see: &mut dyn FnMut(u32) -> bool) -> bool {
        let own = |of: u64| matches!(segment, Segment::Part(_, number) if *number == of);
        // Of as many parts, only the same one would overlap.
        if self.parts.iter().filter(|(of, _)| !own(**of)).any(|(_, nodes)| nodes.iter().any(|&it| see(it))) {
            return true;
        }
        match *segment {
            Segment::Range(from, to) => self
                .ranges
                .range((from.saturating_sub(self.longest), 0, 0)..(to, 0, 0))
                .any(|&(a, b, node)| b > from && (a, b) != (from, to) && see(node)),
            _ => self.ranges.iter().any(|&(_, _, node)| see(node)),
        }
    }

    fn all(&self, see: &mut dyn FnMut(u32) -> bool) -> bool {
        self.parts.values().flatten().any(|&node| see(node)) || self.ranges.iter().any(|it| see(it.2))
    }
}

impl Tree {
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Node::new(Segment::Text("".into()), NONE)],
            free: Vec::new(),
            children: FxHashMap::default(),
        }
    }

    /// How many nodes there are, the root left out.
    pub(super) fn len(&self) -> usize {
        self.children.len()
    }

    /// The node of a name; it stays until `unpin`.
    pub(super) fn pin(&mut self, name: &[Segment]) -> u32 {
        let node = name.iter().fold(ROOT, |at, segment| self.child(at, segment));
        self.nodes[node as usize].refs += 1;
        node
    }

    /// The same for what is called so inside a node.
    pub(super) fn pin_inside(&mut self, parent: u32, segment: &Segment) -> u32 {
        let node = self.child(parent, segment);
        self.nodes[node as usize].refs += 1;
        node
    }

    fn child(&mut self, parent: u32, segment: &Segment) -> u32 {
        match self.children.entry((parent, segment.clone())) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(place) => {
                let number = match self.free.pop() {
                    Some(number) => {
                        let it = &mut self.nodes[number as usize];
                        (it.segment, it.parent) = (segment.clone(), parent);
                        number
                    }
                    None => {
                        self.nodes.push(Node::new(segment.clone(), parent));
                        self.nodes.len() as u32 - 1
                    }
                };
                self.nodes[parent as usize].refs += 1;
                *place.insert(number)
            }
        }
    }

    /// One who keeps a number less.
    pub(super) fn unpin(&mut self, node: u32) {
        self.nodes[node as usize].refs -= 1;
        self.clear(node);
    }

    /// A node that nobody uses goes, if it is still there, and then what contains it may. Its memory is used
    /// again.
    pub(super) fn clear(&mut self, mut node: u32) {
        loop {
            let it = &mut self.nodes[node as usize];
            if it.refs > 0 || it.below.all > 0 || it.parent == NONE {
                return;
            }
            it.here.clear();
            it.below.reduces.clear();
            let parent = std::mem::replace(&mut it.parent, NONE);
            let segment = std::mem::replace(&mut it.segment, Segment::Part(0, 0));
            self.children.remove(&(parent, segment));
            self.free.push(node);
            node = parent;
            self.nodes[node as usize].refs -= 1;
        }
    }

    /// The nodes of a name and of what contains it, as far as there are any.
    pub(super) fn covering(&self, name: &[Segment]) -> Vec<u32> {
        let (mut at, mut found) = (ROOT, Vec::new());
        for segment in name {
            if let Segment::Range(from, to) = *segment
                && let Some(selectors) = &self.nodes[at as usize].selectors
            {
                let wider = |&&(a, b, _): &&(u64, u64, u32)| a <= from && to <= b && (a, b) != (from, to);
                found.extend(selectors.ranges.iter().filter(wider).map(|it| it.2));
            }
            let Some(&node) = self.children.get(&(at, segment.clone())) else { break };
            found.push(node);
            at = node;
        }
        found
    }

    pub(super) fn segments(&self, mut node: u32) -> Vec<Segment> {
        let mut found = Vec::new();
        while node != ROOT {
            found.push(self.nodes[node as usize].segment.clone());
            node = self.nodes[node as usize].parent;
        }
        found.reverse();
        found
    }

    pub(super) fn name(&self, node: u32) -> String {
        Written(&self.segments(node)).to_string()
    }

    pub(super) fn here(&self, node: u32) -> &[Here] {
        &self.nodes[node as usize].here
    }

    /// A request has an asset now. Returns where that is noted.
    pub(super) fn hold(&mut self, node: u32, kind: Kind, request: u32, nth: u32) -> Spot {
        let here = self.at(node, kind);
        let holds = &mut self.nodes[node as usize].here[here as usize].holds;
        holds.push((request, nth));
        let at = holds.len() as u32 - 1;
        self.count_up(node, kind);
        Spot { here, at }
    }

    /// It has not any more. Returns which other access is noted in its place now.
    pub(super) fn unhold(&mut self, node: u32, kind: Kind, Spot { here, at }: Spot) -> Option<(u32, u32)> {
        let holds = &mut self.nodes[node as usize].here[here as usize].holds;
        holds.swap_remove(at as usize);
        let moved = holds.get(at as usize).copied();
        self.count_down(node, kind);
        moved
    }

    pub(super) fn wait(&mut self, node: u32, kind: Kind, key: Key, request: u32) {
        let here = self.at(node, kind);
        self.nodes[node as usize].here[here as usize].waits.insert((key, request));
        self.count_up(node, kind);
    }

    pub(super) fn unwait(&mut self, node: u32, kind: Kind, key: Key, request: u32) {
        let here = self.at(node, kind);
        self.nodes[node as usize].here[here as usize].waits.remove(&(key, request));
        self.count_down(node, kind);
    }

    /// Where a node notes those of a mode.
    fn at(&mut self, node: u32, kind: Kind) -> u32 {
        let here = &mut self.nodes[node as usize].here;
        let at = here.iter().position(|it| it.kind == kind).unwrap_or_else(|| {
            here.push(Here { kind, holds: SmallVec::new(), waits: BTreeSet::new() });
            here.len() - 1
        });
        at as u32
    }

    fn count_up(&mut self, mut node: u32, kind: Kind) {
        while node != ROOT {
            let it = &mut self.nodes[node as usize];
            it.below.all += 1;
            if let Some(count) = it.below.counted(kind) {
                *count += 1;
            }
            let (parent, begins) = (it.parent, it.below.all == 1);
            if begins && parent != ROOT {
                self.busy(parent, node);
            }
            node = parent;
        }
    }

    fn count_down(&mut self, mut node: u32, kind: Kind) {
        while node != ROOT {
            let it = &mut self.nodes[node as usize];
            it.below.all -= 1;
            if let Some(count) = it.below.counted(kind) {
                *count -= 1;
            }
            let (parent, ends) = (it.parent, it.below.all == 0);
            if ends && parent != ROOT {
                self.idle(parent, node);
            }
            node = parent;
        }
    }

    /// There are users at a child or below it now.
    fn busy(&mut self, parent: u32, child: u32) {
        let among = Among::of(&self.nodes[child as usize].segment);
        let it = &mut self.nodes[parent as usize];
        let place = match among {
            Among::Texts => {
                it.busy.push(child);
                it.busy.len() - 1
            }
            Among::Parts(of) => {
                let nodes = it.selectors.get_or_insert_default().parts.entry(of).or_default();
                nodes.push(child);
                nodes.len() - 1
            }
            Among::Ranges(from, to) => {
                let selectors = it.selectors.get_or_insert_default();
                selectors.ranges.insert((from, to, child));
                selectors.longest = selectors.longest.max(to - from);
                0
            }
        };
        self.nodes[child as usize].place = place as u32;
    }

    /// There are none any more.
    fn idle(&mut self, parent: u32, child: u32) {
        let it = &self.nodes[child as usize];
        let (among, place) = (Among::of(&it.segment), it.place as usize);
        let it = &mut self.nodes[parent as usize];
        let moved = match among {
            Among::Texts => {
                it.busy.swap_remove(place);
                it.busy.get(place).copied()
            }
            Among::Parts(of) => {
                let selectors = it.selectors.as_mut().expect("it was busy");
                let nodes = selectors.parts.get_mut(&of).expect("it was busy");
                nodes.swap_remove(place);
                let moved = nodes.get(place).copied();
                if nodes.is_empty() {
                    selectors.parts.remove(&of);
                }
                moved
            }
            Among::Ranges(from, to) => {
                let selectors = it.selectors.as_mut().expect("it was busy");
                selectors.ranges.remove(&(from, to, child));
                if selectors.ranges.is_empty() {
                    selectors.longest = 0;
                }
                None
            }
        };
        if let Some(moved) = moved {
            self.nodes[moved as usize].place = place as u32;
        }
    }

    /// Shows who uses what overlaps with a node in a mode that does not agree; true if `see` says that it is
    /// enough.
    pub(super) fn meet(&self, node: u32, kind: Kind, see: &mut dyn FnMut(u32, &Here) -> bool) -> bool {
        if self.inside(node, kind, see) {
            return true;
        }
        let mut below = node;
        let mut up = self.nodes[node as usize].parent;
        while up != ROOT {
            let it = &self.nodes[up as usize];
            let segment = &self.nodes[below as usize].segment;
            if it.disagrees_below(kind) {
                if disagreeing(it, kind).any(|here| see(up, here)) {
                    return true;
                }
                if let Some(selectors) = &it.selectors
                    && selectors.overlapping(segment, &mut |other| self.inside(other, kind, see))
                {
                    return true;
                }
                if segment.is_selector() && it.busy.iter().any(|&other| self.inside(other, kind, see)) {
                    return true;
                }
            }
            below = up;
            up = it.parent;
        }
        false
    }

    /// The same for what a node contains, itself too.
    fn inside(&self, node: u32, kind: Kind, see: &mut dyn FnMut(u32, &Here) -> bool) -> bool {
        let it = &self.nodes[node as usize];
        it.disagrees_below(kind)
            && (disagreeing(it, kind).any(|here| see(node, here))
                || it.busy.iter().any(|&child| self.inside(child, kind, see))
                || it
                    .selectors
                    .as_ref()
                    .is_some_and(|selectors| selectors.all(&mut |child| self.inside(child, kind, see))))
    }
}

fn disagreeing(node: &Node, kind: Kind) -> impl Iterator<Item = &Here> {
    let used = |here: &&Here| !here.holds.is_empty() || !here.waits.is_empty();
    node.here.iter().filter(move |here| !here.kind.agrees(kind)).filter(used)
}
