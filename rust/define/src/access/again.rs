//! What recursions do: what the block does that begins again, with assets of its own where each instance has some.

use rustc_hash::FxHashMap;

use super::assets::{AssetId, Assets, Bit, Hole, Symbol};
use super::check::{Access, Whole, distinct};
use crate::algebra::compile::{Kind, Program};

/// What each recursion does, by block and node.
pub(super) fn repeated(program: &Program, assets: &mut Assets) -> FxHashMap<(u32, u32), Vec<Access>> {
    let whole = Whole::new(program, &program.accesses.assets);
    let mut all: Vec<(u32, u32, u32)> = Vec::new();
    for &(block, node) in &program.accesses.others {
        if let Kind::Scope { body, max_depth: Some(_), .. } =
            program.blocks[block as usize].nodes[node as usize].kind
            && whole.runs[block as usize]
        {
            all.push((block, node, body));
        }
    }
    let targets = |from: u32, to: u32| {
        let begin = all.partition_point(|it| it.0 < from);
        all[begin..].iter().take_while(move |it| it.0 < to).map(|it| it.2)
    };
    let mut uses: FxHashMap<u32, Vec<(Access, Own)>> = FxHashMap::default();
    let mut found = FxHashMap::default();
    let mut unknown = u32::MAX;
    for &(block, node, target) in &all {
        let uses = uses.entry(target).or_insert_with(|| {
            // What begins again may itself begin what is round it again.
            let mut begun = vec![target];
            let mut at = 0;
            while at < begun.len() {
                for next in targets(begun[at], whole.ends[begun[at] as usize]) {
                    if !begun.contains(&next) {
                        begun.push(next);
                    }
                }
                at += 1;
            }
            whole.repeatedly(&begun)
        });
        let under = |&(access, own): &(Access, Own)| {
            let Some((outer, selects)) = own else { return access };
            unknown -= 1;
            let bits = [Bit::Hole(Hole::Unknown(block, unknown))].into();
            let symbol = if selects { Symbol::Select(bits) } else { Symbol::Open(bits) };
            Access { asset: assets.child(outer, symbol), ..access }
        };
        found.insert((block, node), distinct(uses.iter().map(under).collect()));
    }
    found
}

/// Of an asset that each instance of a block has for itself: what contains it that is the same for all, and whether
/// it is selected from that.
type Own = Option<(AssetId, bool)>;

impl Whole<'_> {
    /// What is done in blocks that begin again; what is inside an instance alone is left out.
    fn repeatedly(&self, blocks: &[u32]) -> Vec<(Access, Own)> {
        let mut found = Vec::new();
        for &block in blocks {
            for access in self.accesses(block, self.ends[block as usize]) {
                if !self.inner(access.asset, block) {
                    found.push((access, None));
                } else if let Some(border) = self.border(access.asset, block) {
                    found.push((access, Some(border)));
                }
            }
        }
        found.sort_by_key(|(access, _)| (access.asset, access.mode, access.at));
        found.dedup_by_key(|(access, own)| (access.asset, access.mode, *own));
        found
    }

    /// Of an asset that each instance of a block has for itself: what contains it that is the same for all, and
    /// whether it is selected from that.
    pub(super) fn border(&self, asset: AssetId, block: u32) -> Own {
        let outer = self.outer(asset, block)?;
        let next = self.assets.upwards(asset).take_while(|&it| it != outer).last()?;
        Some((outer, self.assets.symbol(next)?.is_selector()))
    }
}
