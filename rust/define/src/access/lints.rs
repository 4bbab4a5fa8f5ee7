//! What is allowed, but maybe not meant: writes that nobody reads, borrows that are wider than they need to be.

use rustc_hash::{FxHashMap, FxHashSet};

use super::assets::{AssetId, Assets, READS, REDUCES, Symbol, TAKES, WRITES};
use super::check::{Access, IMPLIED, Whole};
use super::races::related;
use crate::algebra::compile::Program;

/// Writes and reductions of assets of which nobody reads anything, of each asset the first one.
pub(super) fn unread(program: &Program) -> Vec<Access> {
    let assets = &program.accesses.assets;
    let all = Whole::new(program, assets).accesses(0, program.blocks.len() as u32);
    let read: FxHashSet<AssetId> =
        all.iter().filter(|it| matches!(it.mode, READS | TAKES)).map(|it| it.asset).collect();
    // What contains something that is read, and what contains some of which it is not known what it is.
    let (mut above, mut open) = (FxHashSet::default(), FxHashSet::default());
    for &asset in &read {
        for at in assets.upwards(asset) {
            above.insert(at);
            if is_open(assets, at) {
                open.insert(assets.parent(at));
            }
        }
    }
    let met: FxHashSet<AssetId> = read.iter().flat_map(|&asset| related(assets, asset)).collect();
    let outputs: FxHashSet<AssetId> = program.accesses.outputs.iter().copied().collect();
    let mut seen = FxHashSet::default();
    let unread = |access: &Access| {
        let asset = access.asset;
        let own = is_open(assets, asset) && above.contains(&assets.parent(asset));
        !(above.contains(&asset)
            || met.contains(&asset)
            || own
            || related(assets, asset).iter().any(|it| read.contains(it))
            || assets.upwards(asset).any(|at| outputs.contains(&at) || open.contains(&assets.parent(at))))
    };
    let writes = all.iter().filter(|it| it.mode == WRITES || it.mode >= REDUCES);
    let writes = writes.filter(|it| !assets.is_value(it.asset) && seen.insert(it.asset));
    writes.filter(|it| unread(it)).copied().collect()
}

fn is_open(assets: &Assets, asset: AssetId) -> bool {
    matches!(assets.symbol(asset), Some(Symbol::Open(_) | Symbol::Select(_)))
}

/// Accesses to assets of which all other steps only use the same part, with that part.
pub(super) fn wide(program: &Program) -> Vec<(Access, AssetId)> {
    let assets = &program.accesses.assets;
    let mut all = Whole::new(program, assets).accesses(0, program.blocks.len() as u32);
    all.retain(|it| it.at.index != IMPLIED && !assets.is_value(it.asset));
    // Of each asset what is used of it directly, and below it by which of its parts; two stand for many.
    let mut own: FxHashMap<AssetId, Vec<Access>> = FxHashMap::default();
    let mut parts: FxHashMap<AssetId, Vec<AssetId>> = FxHashMap::default();
    for access in &all {
        let here = own.entry(access.asset).or_default();
        if here.len() < 2 {
            here.push(*access);
        }
        let mut inner = access.asset;
        for outer in assets.upwards(access.asset).skip(1) {
            let here = parts.entry(outer).or_default();
            if !here.contains(&inner) && here.len() < 2 {
                here.push(inner);
            }
            inner = outer;
        }
    }
    let mut found = Vec::new();
    for access in &all {
        let outside = assets.upwards(access.asset).skip(1).any(|at| own.contains_key(&at));
        let alone = own[&access.asset].len() == 1;
        if let (true, false, Some([part])) = (alone, outside, parts.get(&access.asset).map(|it| &it[..])) {
            // As far down as all of them go.
            let mut part = *part;
            while let (None, Some([next])) = (own.get(&part), parts.get(&part).map(|it| &it[..])) {
                part = *next;
            }
            if !is_open(assets, part) {
                found.push((*access, part));
            }
        }
    }
    found
}
