//! The order of a block reduced, and its steps numbered by what they are.

use rustc_hash::FxHashSet;

use super::digest::{Colour, mix};
use crate::graph::Csr;

/// Blocks with more steps keep redundant order, as its reduction takes quadratic time.
const REDUCED: usize = 5_000;
/// Steps and edges that are looked at to break ties.
const BUDGET: usize = 50_000_000;

/// The order without what follows from the rest of it.
pub(in crate::algebra) fn reduced(nodes: usize, edges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    if nodes > REDUCED {
        return edges;
    }
    let graph = Csr::new(nodes, &mut edges.clone());
    let Ok(order) = graph.order() else { return edges };
    let words = nodes.div_ceil(64);
    let mut reach = vec![0u64; nodes * words];
    let mut kept = Vec::new();
    let mut position = vec![0u32; nodes];
    order.iter().enumerate().for_each(|(at, &node)| position[node as usize] = at as u32);
    for &node in order.iter().rev() {
        let mut next: Vec<u32> = graph.successors(node).to_vec();
        next.sort_unstable_by_key(|&it| position[it as usize]);
        let mut row = vec![0u64; words];
        for after in next {
            let at = after as usize;
            if row[at / 64] >> (at % 64) & 1 == 0 {
                kept.push((node, after));
                row[at / 64] |= 1 << (at % 64);
                (0..words).for_each(|word| row[word] |= reach[at * words + word]);
            }
        }
        reach[node as usize * words..][..words].copy_from_slice(&row);
    }
    kept.sort_unstable();
    kept.dedup();
    kept
}

/// A number for each step that follows from the content alone, wherever colours can tell. Steps that are
/// alike are numbered in the order of the definition, so that the normal form is its own normal form.
pub(super) fn ranks(base: &[Colour], order: &[(u32, u32)], refs: &[(u32, u32, Colour)]) -> Vec<u32> {
    let nodes = base.len();
    let mut before: Vec<Vec<(Colour, u32)>> = vec![Vec::new(); nodes];
    let mut after: Vec<Vec<(Colour, u32)>> = vec![Vec::new(); nodes];
    for (from, to, label) in order.iter().map(|&(a, b)| (a, b, 0)).chain(refs.iter().copied()) {
        before[to as usize].push((label, from));
        after[from as usize].push((label, to));
    }
    before.iter_mut().chain(&mut after).for_each(|it| it.sort_unstable());
    let mut edges: Vec<(u32, u32)> =
        order.iter().copied().chain(refs.iter().map(|it| (it.0, it.1))).collect();
    let topological = Csr::new(nodes, &mut edges).order().unwrap_or_else(|_| (0..nodes as u32).collect());
    let mut base = base.to_vec();
    // Steps not told apart share a number. At first they are told apart by how many come before them in a
    // row, so that the normal form reads from the first step to the last.
    let mut ranks = vec![0u32; nodes];
    for &node in &topological {
        let before = before[node as usize].iter().map(|&(_, it)| ranks[it as usize] + 1);
        ranks[node as usize] = before.max().unwrap_or(0);
    }
    let mut spent = 0;
    loop {
        let colours = colours(&base, &before, &after, &topological);
        spent += nodes + edges.len();
        let mut sorted: Vec<u32> = (0..nodes as u32).collect();
        sorted.sort_by_key(|&at| (ranks[at as usize], colours[at as usize]));
        if spent > BUDGET {
            sorted.iter().enumerate().for_each(|(rank, &node)| ranks[node as usize] = rank as u32);
            return ranks;
        }
        let same = |&a: &u32, &b: &u32| {
            (ranks[a as usize], colours[a as usize]) == (ranks[b as usize], colours[b as usize])
        };
        let (mut next, mut tied) = (vec![0; nodes], vec![false; nodes]);
        let (mut start, mut settled, mut first) = (0, true, None);
        for class in sorted.chunk_by(same) {
            let twins = class.windows(2).all(|pair| {
                let (a, b) = (pair[0] as usize, pair[1] as usize);
                before[a] == before[b] && after[a] == after[b]
            });
            for (at, &node) in class.iter().enumerate() {
                let node = node as usize;
                next[node] = start;
                tied[node] = !twins;
                if twins && class.len() > 1 {
                    // Interchangeable: any numbers will do.
                    next[node] += at as u32;
                    base[node] = mix(b"twin", base[node], &[at as Colour]);
                    settled = false;
                }
            }
            if !twins {
                first.get_or_insert((start, class));
            }
            start += class.len() as u32;
        }
        ranks = next;
        let Some((start, class)) = first else { return ranks };
        if settled {
            // Parts that hang together only through steps already told apart are interchangeable
            // as wholes: one mark in each of them.
            let inside = edges.iter().filter(|&&(a, b)| tied[a as usize] && tied[b as usize]);
            let part = parts(nodes, inside);
            let mut marked = FxHashSet::default();
            let (marks, rest): (Vec<u32>, Vec<u32>) =
                class.iter().partition(|&&node| marked.insert(part[node as usize]));
            for (at, &node) in marks.iter().enumerate() {
                ranks[node as usize] = start + at as u32;
                base[node as usize] = mix(b"part", base[node as usize], &[at as Colour]);
            }
            rest.iter().for_each(|&node| ranks[node as usize] = start + marks.len() as u32);
        }
    }
}

/// Which connected part of a graph each node is in.
fn parts<'e>(nodes: usize, edges: impl Iterator<Item = &'e (u32, u32)>) -> Vec<u32> {
    let mut root: Vec<u32> = (0..nodes as u32).collect();
    let find = |root: &mut [u32], mut at: u32| {
        while root[at as usize] != at {
            root[at as usize] = root[root[at as usize] as usize];
            at = root[at as usize];
        }
        at
    };
    for &(a, b) in edges {
        let (a, b) = (find(&mut root, a), find(&mut root, b));
        root[a.max(b) as usize] = a.min(b);
    }
    (0..nodes as u32).map(|at| find(&mut root, at)).collect()
}

fn colours(
    base: &[Colour],
    before: &[Vec<(Colour, u32)>],
    after: &[Vec<(Colour, u32)>],
    topological: &[u32],
) -> Vec<Colour> {
    let gather = |tag: &[u8], own: Colour, edges: &[(Colour, u32)], of: &[Colour]| {
        let mut parts: Vec<Colour> =
            edges.iter().map(|&(label, it)| mix(b"edge", label, &[of[it as usize]])).collect();
        parts.sort_unstable();
        mix(tag, own, &parts)
    };
    let (mut down, mut up) = (base.to_vec(), base.to_vec());
    for &node in topological {
        let at = node as usize;
        down[at] = gather(b"down", base[at], &before[at], &down);
    }
    for &node in topological.iter().rev() {
        let at = node as usize;
        up[at] = gather(b"up", base[at], &after[at], &up);
    }
    let mut both: Vec<Colour> = down.iter().zip(&up).map(|(&a, &b)| mix(b"both", a, &[b])).collect();
    for _ in 0..2 {
        both = (0..base.len())
            .map(|at| {
                let below = gather(b"after", both[at], &after[at], &both);
                gather(b"before", below, &before[at], &both)
            })
            .collect();
    }
    both
}
