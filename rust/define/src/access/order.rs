//! Which order a program needs: what is to be added so that nothing races, and what may be left out because no
//! access, value or promise needs it.

use rustc_hash::{FxHashMap, FxHashSet};

use super::assets::{AssetId, Assets, Root, Symbol, TAKES, VALUES};
use super::check::{Meeting, Whole, check, inside, with};
use super::races::{needed, unordered};
use crate::algebra::compile::{Bind, Kind, Program, Source, TaskUse, upward};
use crate::graph::Csr;

/// What is added to a program so that nothing races.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Serial {
    /// By block: nodes that come before others from now on.
    pub edges: Vec<(u32, Vec<(u32, u32)>)>,
    /// `each` nodes, by block, whose iterations come one after another.
    pub limited: Vec<(u32, u32)>,
}

/// More orders than this of one block are not worked out.
const MOST: usize = 1 << 22;

/// The orders that leave no race, except between branches of a `first`, which can't be ordered. In each block the
/// one is taken, of a few that are tried, which makes the longest way through it the shortest.
pub fn serialise(program: &Program, threads: usize) -> Serial {
    let mut serial = Serial::default();
    let found = check(program, 1, threads);
    let mut blocks: Vec<u32> = Vec::new();
    for race in &found.races {
        match race.meeting {
            Meeting::Unordered { block, .. } => blocks.push(block),
            Meeting::Iterations(block, node) => serial.limited.push((block, node)),
            Meeting::Branches(..) => {}
        }
    }
    blocks.dedup();
    serial.limited.dedup();
    with(program, |whole| {
        for block in blocks {
            let edges = cheapest(whole, block, threads);
            if !edges.is_empty() {
                serial.edges.push((block, edges));
            }
        }
    });
    serial
}

/// The orders to add to a block.
fn cheapest(whole: &Whole<'_>, block: u32, threads: usize) -> Vec<(u32, u32)> {
    let code = &whole.program.blocks[block as usize];
    let (mut touches, _) = whole.touches(block);
    // What is computed for the block's result can't be told to wait.
    touches.retain(|it| !matches!(code.nodes[it.node as usize].kind, Kind::Compute(_)));
    let first = code.graph.order().expect("a program has no cycles");
    let ahead = upward(&code.graph, &first, &code.expected);
    let mut start = vec![0i64; code.nodes.len()];
    for &node in &first {
        let end = start[node as usize].saturating_add(code.expected[node as usize]);
        for &next in code.graph.successors(node) {
            start[next as usize] = start[next as usize].max(end);
        }
    }
    let takers: FxHashSet<u32> = touches.iter().filter(|it| it.mode == TAKES).map(|it| it.node).collect();
    let mut rank = vec![0usize; first.len()];
    first.iter().enumerate().for_each(|(at, &node)| rank[node as usize] = at);
    // What takes goes last, or what uses the same would come too late.
    let last = |node: u32| takers.contains(&node);
    let by_start = ordered(&code.graph, |node| {
        (last(node), start[node as usize], -ahead[node as usize], rank[node as usize])
    });
    let by_rest = ordered(&code.graph, |node| {
        (last(node), -ahead[node as usize], start[node as usize], rank[node as usize])
    });
    let as_given = ordered(&code.graph, |node| (last(node), 0, 0, rank[node as usize]));
    let tried = [by_start, by_rest, as_given].map(|order| {
        let edges = unordered(whole.assets, &code.graph, &order, &touches, threads);
        let edges = sparse(&code.graph, &order, edges);
        let mut all: Vec<(u32, u32)> = code.graph.pairs().chain(edges.iter().copied()).collect();
        let graph = Csr::new(code.nodes.len(), &mut all);
        let longest = upward(&graph, &order, &code.expected).into_iter().max().unwrap_or(0);
        (longest, edges.len(), edges)
    });
    tried.into_iter().min_by_key(|it| (it.0, it.1)).map(|it| it.2).unwrap_or_default()
}

/// A topological order in which, of what is free, the least comes first.
fn ordered<K: Ord>(graph: &Csr, key: impl Fn(u32) -> K) -> Vec<u32> {
    let mut degrees = graph.indegrees();
    let free = (0..graph.len() as u32).filter(|&node| degrees[node as usize] == 0);
    let mut heap: std::collections::BinaryHeap<std::cmp::Reverse<(K, u32)>> =
        free.map(|node| std::cmp::Reverse((key(node), node))).collect();
    let mut order = Vec::with_capacity(graph.len());
    while let Some(std::cmp::Reverse((_, node))) = heap.pop() {
        order.push(node);
        for &next in graph.successors(node) {
            degrees[next as usize] -= 1;
            if degrees[next as usize] == 0 {
                heap.push(std::cmp::Reverse((key(next), next)));
            }
        }
    }
    order
}

/// The new edges without those that follow from the others and the graph; all of them where that is too much
/// to work out.
fn sparse(graph: &Csr, order: &[u32], mut edges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    const WORDS: usize = 1 << 24;
    let words = graph.len().div_ceil(64);
    if words * graph.len() > WORDS {
        return edges;
    }
    let mut rank = vec![0u32; graph.len()];
    order.iter().enumerate().for_each(|(at, &node)| rank[node as usize] = at as u32);
    edges.sort_unstable_by_key(|it| (it.0, rank[it.1 as usize]));
    let mut rows = vec![0u64; words * graph.len()];
    let mut kept = Vec::new();
    for &node in order.iter().rev() {
        let mut row = vec![0u64; words];
        let add = |next: u32, row: &mut Vec<u64>, rows: &[u64]| {
            row[next as usize / 64] |= 1 << (next % 64);
            row.iter_mut().zip(&rows[next as usize * words..][..words]).for_each(|(a, b)| *a |= b);
        };
        graph.successors(node).iter().for_each(|&next| add(next, &mut row, &rows));
        let begin = edges.partition_point(|it| it.0 < node);
        for &(_, next) in edges[begin..].iter().take_while(|it| it.0 == node) {
            if row[next as usize / 64] >> (next % 64) & 1 == 0 {
                kept.push((node, next));
                add(next, &mut row, &rows);
            }
        }
        rows[node as usize * words..][..words].copy_from_slice(&row);
    }
    kept.sort_unstable();
    kept
}

/// What the order of a block comes to if no more of it is kept than is needed.
#[derive(Clone, Debug, PartialEq)]
pub struct Relaxed {
    pub block: u32,
    /// The new order of its nodes; joins have none.
    pub edges: Vec<(u32, u32)>,
    /// Steps that came directly after one another, and do so no more.
    pub dropped: Vec<(u32, u32)>,
}

/// The blocks that need less order than they have. Kept is what values, incompatible accesses and steps need
/// of which it is not known what they do; nothing changes in blocks that may be stopped half-way and gone on
/// from, since what has happened by then would be something else.
///
/// All incompatible accesses stay ordered as they are: runs that complete do the same (Mazurkiewicz: traces that
/// differ in the order of independent actions alone are equivalent).
pub fn relax(program: &Program, threads: usize) -> Vec<Relaxed> {
    let all: Vec<u32> = (0..program.blocks.len() as u32).collect();
    relax_some(program, &all, threads)
}

/// The blocks of which an edge is in question: no value goes along it.
pub(super) fn unneeded(program: &Program, spare: Vec<(u32, Vec<(u32, u32)>)>) -> Vec<u32> {
    if spare.is_empty() {
        return Vec::new();
    }
    let data = data(program);
    let left = spare.into_iter().filter(|(block, edges)| {
        let told = data.get(block).map_or(&[][..], |it| &it[..]);
        edges.iter().any(|edge| told.binary_search(edge).is_err())
    });
    left.map(|(block, _)| block).collect()
}

/// The same for some blocks.
pub(super) fn relax_some(program: &Program, blocks: &[u32], threads: usize) -> Vec<Relaxed> {
    if blocks.is_empty() {
        return Vec::new();
    }
    let data = data(program);
    let known = known(program);
    let mut found = Vec::new();
    with(program, |whole| {
        for &block in blocks {
            if program.blocks[block as usize].nodes.len() < 2 || !whole_runs(program, block) {
                continue;
            }
            let data = data.get(&block).map_or(&[][..], |it| &it[..]);
            found.extend(relaxed(whole, block, data, &known[block as usize], threads));
        }
    });
    found
}

fn relaxed(
    whole: &Whole<'_>,
    block: u32,
    data: &[(u32, u32)],
    known: &[bool],
    threads: usize,
) -> Option<Relaxed> {
    let code = &whole.program.blocks[block as usize];
    let order = code.graph.order().expect("a program has no cycles");
    let (touches, _) = whole.touches(block);
    if !unordered(whole.assets, &code.graph, &order, &touches, threads).is_empty() {
        return None;
    }
    let mut edges: Vec<(u32, u32)> = data.to_vec();
    edges.extend(needed(whole.assets, &code.graph, &order, &touches));
    edges.extend(round_unknown(code.nodes.len(), &code.graph, &order, known)?);
    let join = |node: u32| matches!(code.nodes[node as usize].kind, Kind::Join);
    // What is computed for the block's result waits for what it reads, and can't be told to wait for more.
    let told = |edge: &(u32, u32)| {
        !matches!(code.nodes[edge.1 as usize].kind, Kind::Compute(_)) || data.contains(edge)
    };
    edges.retain(|edge| !join(edge.0) && !join(edge.1) && told(edge));
    let graph = Csr::new(code.nodes.len(), &mut edges);
    // The proof: everything that conflicts is ordered, and as it was, since `order` is one of both.
    if !unordered(whole.assets, &graph, &order, &touches, threads).is_empty() {
        return None;
    }
    let dropped = dropped(&code.graph, &graph, &order, join)?;
    (!dropped.is_empty()).then(|| Relaxed { block, edges: graph.pairs().collect(), dropped })
}

/// The direct orders of one graph, through joins, that another has not.
fn dropped(before: &Csr, after: &Csr, order: &[u32], join: impl Fn(u32) -> bool) -> Option<Vec<(u32, u32)>> {
    let mut direct = Vec::new();
    for node in (0..before.len() as u32).filter(|&node| !join(node)) {
        let mut stack = before.successors(node).to_vec();
        while let Some(next) = stack.pop() {
            match join(next) {
                true => stack.extend_from_slice(before.successors(next)),
                false => direct.push((node, next)),
            }
            if direct.len() + stack.len() > MOST {
                return None;
            }
        }
    }
    direct.sort_unstable();
    direct.dedup();
    // An order that no asset asks for is looked up like one that one does.
    let reach = super::races::Order::new(after, order);
    let (from, to): (Vec<u32>, Vec<u32>) = direct.iter().copied().unzip();
    let kept = reach.many(&from, &to, 1);
    Some(direct.into_iter().zip(kept).filter(|it| !it.1).map(|it| it.0).collect())
}

/// The edges that keep every node before and after all nodes of which it is not known what they do; none if they
/// are too many.
fn round_unknown(nodes: usize, graph: &Csr, order: &[u32], known: &[bool]) -> Option<Vec<(u32, u32)>> {
    let mut edges = Vec::new();
    if known.iter().all(|it| *it) {
        return Some(edges);
    }
    let backward = graph.turned();
    // The nearest unknown nodes on the ways to a node, or from it.
    let nearest = |order: &mut dyn Iterator<Item = u32>, towards: &Csr| {
        let mut nearest: Vec<Vec<u32>> = vec![Vec::new(); nodes];
        let mut total = 0;
        for node in order {
            let mut here = Vec::new();
            for &next in towards.successors(node) {
                match known[next as usize] {
                    true => here.extend_from_slice(&nearest[next as usize]),
                    false => here.push(next),
                }
            }
            here.sort_unstable();
            here.dedup();
            total += here.len();
            if total > MOST {
                return None;
            }
            nearest[node as usize] = here;
        }
        Some(nearest)
    };
    let above = nearest(&mut order.iter().copied(), &backward)?;
    let below = nearest(&mut order.iter().rev().copied(), graph)?;
    for node in 0..nodes as u32 {
        edges.extend(above[node as usize].iter().map(|&from| (from, node)));
        edges.extend(below[node as usize].iter().map(|&to| (node, to)));
    }
    Some(edges)
}

/// Whether a block always runs to its end, unless the run fails.
fn whole_runs(program: &Program, mut block: u32) -> bool {
    while let Some((owner, node)) = program.blocks[block as usize].owner {
        match &program.blocks[owner as usize].nodes[node as usize].kind {
            Kind::Handler { body, .. } if *body == block => return false,
            Kind::First { .. } => return false,
            _ => block = owner,
        }
    }
    true
}

/// By block and node, whether all is known that it does.
fn known(program: &Program) -> Vec<Vec<bool>> {
    let mut all: Vec<Vec<bool>> = vec![Vec::new(); program.blocks.len()];
    for block in (0..program.blocks.len()).rev() {
        let nodes = program.blocks[block].nodes.iter();
        let here = nodes.map(|node| match &node.kind {
            Kind::Task(task) => task_known(&program.accesses.assets, task),
            Kind::Join | Kind::Compute(_) => true,
            // To wait is to do something.
            Kind::Sleep(_) | Kind::Signal(_) | Kind::Scope { max_depth: Some(_), .. } => false,
            kind => {
                !conditions(kind).any(reads_variables)
                    && inside(kind).iter().all(|&inner| all[inner as usize].iter().all(|it| *it))
            }
        });
        all[block] = here.collect();
    }
    all
}

fn task_known(assets: &Assets, task: &TaskUse) -> bool {
    let options = &task.options;
    let binds = task.args.iter().chain(task.kwargs.iter().map(|(_, bind)| bind));
    // A name with holes may turn out to be any.
    let open = |asset: AssetId| {
        assets.upwards(asset).any(|it| matches!(assets.symbol(it), Some(Symbol::Open(_) | Symbol::Select(_))))
    };
    (task.uses.is_some() || options.pure)
        && !task.uses.iter().flatten().any(|it| open(it.asset))
        && !options.tolerated
        && !options.run_on_upstream_failure
        && task.set.is_empty()
        && !binds.into_iter().any(reads_variables)
}

fn conditions(kind: &Kind) -> Box<dyn Iterator<Item = &Bind> + '_> {
    match kind {
        Kind::Choice { branches, .. } => Box::new(branches.iter().map(|(bind, _)| bind)),
        Kind::Loop { init, condition, .. } => Box::new([init, condition].into_iter()),
        Kind::Each { items: bind, .. } | Kind::Scope { inputs: bind, .. } => Box::new(std::iter::once(bind)),
        _ => Box::new(std::iter::empty()),
    }
}

fn reads_variables(bind: &Bind) -> bool {
    match bind {
        Bind::Const(_) => false,
        Bind::Path { source, .. } => *source == Source::Vars,
        Bind::Cel { sources, .. } => sources.iter().any(|(_, source)| *source == Source::Vars),
        Bind::List(items) => items.iter().any(reads_variables),
        Bind::Map(items) => items.iter().any(|(_, bind)| reads_variables(bind)),
    }
}

/// By block the orders that come from values: a node reads, maybe deep inside, what another yields.
pub(crate) fn data(program: &Program) -> FxHashMap<u32, Vec<(u32, u32)>> {
    let mut found: FxHashMap<u32, Vec<(u32, u32)>> = FxHashMap::default();
    let mut note = |mut block: u32, mut node: u32, home: u32, from: u32| {
        while block != home {
            let Some(owner) = program.blocks[block as usize].owner else { return };
            (block, node) = owner;
        }
        if from != node {
            found.entry(block).or_default().push((from, node));
        }
    };
    for (block, code) in (0..).zip(&program.blocks) {
        let up = |levels: u16| {
            (0..levels).fold(block, |at, _| program.blocks[at as usize].owner.map_or(0, |it| it.0))
        };
        for (node, it) in (0..).zip(&code.nodes) {
            let mut steps = Vec::new();
            match &it.kind {
                Kind::Task(task) => {
                    let named = task.kwargs.iter().chain(&task.set).map(|(_, bind)| bind);
                    let holes = task.uses.iter().flatten().flat_map(|it| it.holes.iter());
                    task.args.iter().chain(named).chain(holes).for_each(|bind| sources(bind, &mut steps));
                    for it in task.uses.iter().flatten() {
                        if let Some((home, from)) = made_by(program, it.asset) {
                            note(block, node, home, from);
                        }
                    }
                }
                Kind::Compute(bind) | Kind::Sleep(bind) => sources(bind, &mut steps),
                Kind::Loop { init, condition, body, .. } => {
                    sources(init, &mut steps);
                    let mut inner = Vec::new();
                    sources(condition, &mut inner);
                    // The condition stands where the body does.
                    steps.extend(inner.into_iter().filter(|it| it.0 > 0).map(|(up, from)| (up - 1, from)));
                    debug_assert!(*body > block);
                }
                kind => conditions(kind).for_each(|bind| sources(bind, &mut steps)),
            }
            for (levels, from) in steps {
                note(block, node, up(levels), from);
            }
        }
    }
    for edges in found.values_mut() {
        edges.sort_unstable();
        edges.dedup();
    }
    found
}

/// The node that yields what a value is of.
fn made_by(program: &Program, asset: AssetId) -> Option<(u32, u32)> {
    let assets = &program.accesses.assets;
    let top = assets.upwards(asset).last().filter(|&top| assets.parent(top) == VALUES)?;
    match assets.symbol(top)? {
        Symbol::Value(Root::Result(block, node)) => Some((*block, *node)),
        _ => None,
    }
}

fn sources(bind: &Bind, found: &mut Vec<(u16, u32)>) {
    let step = |source: &Source| match source {
        Source::Step { up, node } => Some((*up, *node)),
        _ => None,
    };
    match bind {
        Bind::Const(_) => {}
        Bind::Path { source, .. } => found.extend(step(source)),
        Bind::Cel { sources, .. } => found.extend(sources.iter().filter_map(|(_, source)| step(source))),
        Bind::List(items) => items.iter().for_each(|it| sources(it, found)),
        Bind::Map(items) => items.iter().for_each(|(_, it)| sources(it, found)),
    }
}
