//! What the steps of a program ask for: assets whose names are known have their numbers from the beginning.

use ferroflow_define::access::name::{MAX_SEGMENTS, Segment};
use ferroflow_define::algebra::compile::{Kind as Node, Program};

use super::{Asset, Kind, Table};
use crate::ids::Step;
use crate::state::{Place, Run};

/// One access of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    Known(Asset, Kind),
    /// The name is known when the step is ready; `nth` of its uses says how.
    Open {
        nth: u32,
        kind: Kind,
    },
}

/// What all steps of a program ask for.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// By block and node; nothing if no step asks for anything.
    nodes: Vec<Vec<Box<[Claim]>>>,
}

impl Claims {
    /// Numbers what has a name. Values are no matter of leases: what is recorded does not change.
    pub fn new(program: &Program, table: &mut Table) -> Self {
        let assets = &program.accesses.assets;
        if assets.is_empty() {
            return Self::default();
        }
        let mut any = false;
        let mut nodes = Vec::with_capacity(program.blocks.len());
        for code in &program.blocks {
            let mut here = Vec::with_capacity(code.nodes.len());
            for node in &code.nodes {
                let uses = match &node.kind {
                    Node::Task(task) => task.uses.as_deref().unwrap_or_default(),
                    _ => &[],
                };
                let named = (0..).zip(uses).filter(|(_, it)| !assets.is_value(it.asset));
                let claims = named.map(|(nth, it)| {
                    let kind = table.kind(&assets.mode_of(it.mode));
                    match assets.name(it.asset) {
                        Some(name) => Claim::Known(table.asset(&name), kind),
                        None => Claim::Open { nth, kind },
                    }
                });
                let claims: Box<[Claim]> = claims.collect();
                any |= !claims.is_empty();
                here.push(claims);
            }
            nodes.push(here);
        }
        if any { Self { nodes } } else { Self::default() }
    }

    /// Whether no step asks for anything.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What a step asks for.
    pub fn of(&self, place: Place) -> &[Claim] {
        self.nodes.get(place.block as usize).map_or(&[], |here| &here[place.node as usize])
    }

    /// Gives the numbers back.
    pub fn forget(self, table: &mut Table) {
        for claim in self.nodes.into_iter().flatten().flatten() {
            if let Claim::Known(asset, _) = claim {
                table.forget(asset);
            }
        }
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
