//! What the steps of a program ask for: assets whose names are known have their numbers from the beginning.

use ferroflow_define::access::assets::{AssetId, Assets, Symbol, WORLD};
use ferroflow_define::access::name::{MAX_SEGMENTS, Segment};
use ferroflow_define::algebra::compile::{Kind as Node, Program};

use super::{Asset, Kind, Table};
use crate::ids::Step;
use crate::state::{Place, Run};

/// What a step asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted<'c> {
    pub known: &'c [(Asset, Kind)],
    pub open: &'c [Open],
}

impl Wanted<'_> {
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.open.is_empty()
    }
}

/// An access whose name is known when the step is ready; `nth` of its uses says how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    pub nth: u32,
    pub kind: Kind,
}

/// What all steps of a program ask for.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    known: Vec<(Asset, Kind)>,
    open: Vec<Open>,
    /// Where those of each node begin, and at last where they end; nothing if no step asks for anything.
    starts: Vec<(u32, u32)>,
    /// Where the nodes of each block begin.
    blocks: Vec<u32>,
    numbered: Vec<Asset>,
}

impl Claims {
    /// Numbers what has a name. Values are no matter of leases: what is recorded does not change.
    pub fn new(program: &Program, table: &mut Table) -> Self {
        let assets = &program.accesses.assets;
        if assets.is_empty() {
            return Self::default();
        }
        let mut it = Self::default();
        let mut numbers: Vec<Option<Asset>> = Vec::new();
        for code in &program.blocks {
            it.blocks.push(it.starts.len() as u32);
            for node in &code.nodes {
                let begin = it.known.len();
                it.starts.push((begin as u32, it.open.len() as u32));
                let uses = match &node.kind {
                    Node::Task(task) => task.uses.as_deref().unwrap_or_default(),
                    _ => &[],
                };
                if !uses.is_empty() && numbers.is_empty() {
                    numbers = it.number(assets, table);
                }
                for (nth, of) in (0..).zip(uses) {
                    let kind = |table: &mut Table| table.kind(&assets.mode_of(of.mode));
                    match numbers[of.asset as usize] {
                        Some(asset) => it.known.push((asset, kind(table))),
                        None if assets.is_value(of.asset) => {}
                        None => it.open.push(Open { nth, kind: kind(table) }),
                    }
                }
                // A request is made of them in order.
                it.known[begin..].sort_unstable();
            }
        }
        it.starts.push((it.known.len() as u32, it.open.len() as u32));
        if it.is_empty() {
            it.forget(table);
            return Self::default();
        }
        it
    }

    /// The numbers of all assets of a program that have names; those of others are known when steps are ready.
    fn number(&mut self, assets: &Assets, table: &mut Table) -> Vec<Option<Asset>> {
        let mut numbers: Vec<Option<Asset>> = Vec::with_capacity(assets.len());
        for id in 0..assets.len() as AssetId {
            // What contains an asset comes before it.
            let parent = assets.parent(id);
            let within = if parent == WORLD {
                Some(Asset::WORLD)
            } else {
                numbers.get(parent as usize).copied().flatten()
            };
            numbers.push(match (within, assets.symbol(id)) {
                (Some(within), Some(Symbol::Named(segment))) => Some(table.inside(within, segment)),
                _ => None,
            });
        }
        self.numbered.extend(numbers.iter().flatten());
        numbers
    }

    /// Whether no step asks for anything.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.open.is_empty()
    }

    /// What a step asks for.
    pub fn of(&self, place: Place) -> Wanted<'_> {
        let Some(first) = self.blocks.get(place.block as usize) else { return Wanted::default() };
        let at = (first + place.node) as usize;
        let ((known, open), (known_end, open_end)) = (self.starts[at], self.starts[at + 1]);
        Wanted {
            known: &self.known[known as usize..known_end as usize],
            open: &self.open[open as usize..open_end as usize],
        }
    }

    /// Gives the numbers back.
    pub fn forget(self, table: &mut Table) {
        self.numbered.into_iter().for_each(|asset| table.forget(asset));
    }
}

/// What a step's nth use is of, with the texts that fill the holes of its name. The error says what is no name.
pub fn named_in(run: &Run, step: Step, nth: u32, filled: &[String]) -> Result<Vec<Segment>, String> {
    let uses = run.task(step).and_then(|task| task.uses.as_ref());
    let it = uses.and_then(|uses| uses.get(nth as usize)).ok_or("the step has no such access")?;
    let local = |block, at| instance(run, step, block, at);
    let name = run.program.accesses.assets.filled(it.asset, filled, local)?;
    // It has become longer.
    if name.len() > MAX_SEGMENTS {
        return Err(format!("a name of {} segments is too long: at most {MAX_SEGMENTS}", name.len()));
    }
    Ok(name)
}

/// What the instance of a local asset is called that a step means: each copy of its block has its own.
fn instance(run: &Run, step: Step, block: u32, at: u32) -> Segment {
    let mut place = Some(run.place(step));
    while let Some(here) = place
        && here.block != block
    {
        place = run.parent(here.frame);
    }
    let name = run.program.accesses.assets.local(block, at);
    let (frame, copy) = place.map_or((0, 0), |it| (it.frame, it.copy));
    Segment::Text(format!("{name} ({}, {frame}.{copy})", run.id).into())
}
