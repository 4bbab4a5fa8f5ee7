//! What is allowed, but maybe not meant: writes that nobody reads, borrows that are wider than they need to be.

use super::assets::{AssetId, Assets, READS, Symbol, TAKES};
use super::check::Access;
use super::races::related;
use crate::algebra::compile::Program;

/// What is not as it might be.
#[derive(Debug, Default)]
pub(super) struct Lints {
    /// Writes and reductions of assets of which nobody reads anything, of each asset the first one.
    pub(super) unread: Vec<Access>,
    /// Accesses to assets of which all other steps only use the same part, with that part.
    pub(super) wide: Vec<(Access, AssetId)>,
}

/// What all steps together do to an asset.
#[derive(Clone, Copy, Default)]
struct Sum {
    first: Option<Access>,
    write: Option<Access>,
    several: bool,
    /// Somebody reads it; it, or something inside it; something inside it of which it is not known what.
    read: bool,
    read_inside: bool,
    read_open: bool,
    /// Somebody reads what meets it.
    met: bool,
    /// The part of it that is used, if it is one.
    part: Part,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Part {
    #[default]
    None,
    One(AssetId),
    Several,
}

pub(super) fn lints(program: &Program) -> Lints {
    let assets = &program.accesses.assets;
    let mut sums = vec![Sum::default(); assets.len()];
    for &access in &program.accesses.uses {
        let sum = &mut sums[access.asset as usize];
        sum.several |= sum.first.is_some();
        sum.first = sum.first.or(Some(access));
        match access.mode {
            READS | TAKES => sum.read = true,
            _ => sum.write = sum.write.or(Some(access)),
        }
    }
    let used: Vec<AssetId> =
        (0..assets.len() as AssetId).filter(|&asset| sums[asset as usize].first.is_some()).collect();
    for &asset in &used {
        let read = sums[asset as usize].read;
        sums[asset as usize].read_inside |= read;
        if read {
            related(assets, asset).into_iter().for_each(|it| sums[it as usize].met = true);
        }
        let mut inner = asset;
        loop {
            let outer = assets.parent(inner);
            let sum = &mut sums[outer as usize];
            sum.read_open |= read && is_open(assets, inner);
            if Assets::is_root(outer) {
                break;
            }
            sum.read_inside |= read;
            sum.part = match sum.part {
                Part::None => Part::One(inner),
                Part::One(other) if other == inner => sum.part,
                _ => Part::Several,
            };
            inner = outer;
        }
    }
    let mut outputs = program.accesses.outputs.clone();
    outputs.sort_unstable();
    let mut found = Lints::default();
    for &asset in &used {
        if assets.is_value(asset) {
            continue;
        }
        let sum = &sums[asset as usize];
        let unknown = |at: AssetId| sums[assets.parent(at) as usize].read_open;
        let own = is_open(assets, asset) && sums[assets.parent(asset) as usize].read_inside;
        let outer = |at: AssetId| outputs.binary_search(&at).is_ok() || unknown(at);
        if let Some(write) = sum.write
            && !sum.read_inside
            && !sum.met
            && !own
            && !assets.upwards(asset).any(outer)
            && !related(assets, asset).iter().any(|&it| sums[it as usize].read)
        {
            found.unread.push(write);
        }
        let outside = assets.upwards(asset).skip(1).any(|at| sums[at as usize].first.is_some());
        if let (Some(access), false, false, Part::One(mut part)) = (sum.first, sum.several, outside, sum.part)
        {
            // As far down as all of them go.
            while let (None, Part::One(next)) = (sums[part as usize].first, sums[part as usize].part) {
                part = next;
            }
            if !is_open(assets, part) {
                found.wide.push((access, part));
            }
        }
    }
    found
}

fn is_open(assets: &Assets, asset: AssetId) -> bool {
    matches!(assets.symbol(asset), Some(Symbol::Open(_) | Symbol::Select(_)))
}
