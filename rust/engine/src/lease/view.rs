//! Leases as people look at them, and what is wrong where one does not hold.

use std::fmt;

use ferroflow_define::access::Mode;
use ferroflow_define::access::name::{Segment, Written};

use super::{Holder, LeaseId, Stage, Table};
use crate::ids::{Micros, Token};

/// A lease, or a request that waits for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    pub id: LeaseId,
    pub holder: Holder,
    pub accesses: Vec<(String, Mode)>,
    pub waits: bool,
    pub priority: u8,
    /// When it was granted, or asked for if it waits.
    pub since: Micros,
    /// 0 if it waits.
    pub token: Token,
    pub deadline: Option<Micros>,
}

/// What is in the way of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What is asked for.
    pub asset: String,
    pub mode: Mode,
    /// Who has, or waits for, something that overlaps with it.
    pub holder: Holder,
    pub held: String,
    pub held_in: Mode,
    pub since: Micros,
    /// It waits too, and comes first.
    pub waits: bool,
}

/// Why somebody may not use an asset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    ResourceInUse(Box<Obstacle>),
    #[error("no lease of {asset:?} has the token {token}")]
    NotHeld { asset: String, token: Token },
    #[error("the lease {token} of {asset:?} expired, and has not been renewed")]
    Expired { asset: String, token: Token, deadline: Micros },
    #[error("the lease {token} of {asset:?} was given back or reclaimed{}", Since(by))]
    Lost { asset: String, token: Token, by: Option<Box<Obstacle>> },
}

struct Since<'a>(&'a Option<Box<Obstacle>>);

impl fmt::Display for Since<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(by) => write!(f, ", and {by}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.waits { "is waited for" } else { "is held" };
        write!(f, "{:?} {verb} ({}) by {}", self.held, self.held_in.name(), self.holder)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some(step) if !self.lock => write!(f, "step {step} of run {}", self.run),
            _ => write!(f, "run {}", self.run),
        }
    }
}

impl From<Obstacle> for Fault {
    fn from(obstacle: Obstacle) -> Self {
        Fault::ResourceInUse(Box::new(obstacle))
    }
}

impl Table {
    /// How many assets the table knows: those that are numbered, held or waited for, and what contains them.
    pub fn assets(&self) -> usize {
        self.tree.len()
    }

    /// All that is held, in the order of tokens, and then all that waits, in the order in which it does.
    pub fn leases(&self) -> Vec<LeaseView> {
        let slots = 0..self.requests.len() as u32;
        let mut found: Vec<u32> =
            slots.filter(|&slot| self.requests[slot as usize].stage != Stage::Free).collect();
        found.sort_unstable_by_key(|&slot| {
            let it = &self.requests[slot as usize];
            let waits = it.stage == Stage::Waiting;
            (waits, if waits { it.key } else { super::Key { turn: it.token, sequence: 0 } })
        });
        found.into_iter().filter_map(|slot| self.view(self.id(slot))).collect()
    }

    pub fn view(&self, id: LeaseId) -> Option<LeaseView> {
        let waits = self.stage(id)? == Stage::Waiting;
        let it = &self.requests[id.slot as usize];
        let accesses = it.accesses.iter();
        Some(LeaseView {
            id,
            holder: it.holder,
            accesses: accesses.map(|it| (self.tree.name(it.node), self.mode(it.kind))).collect(),
            waits,
            priority: it.priority,
            since: it.since,
            token: if waits { 0 } else { it.token },
            deadline: it.deadline,
        })
    }

    /// What a request waits for, as much of it as is asked for: what is held first.
    pub fn obstacles(&self, id: LeaseId, most: usize) -> Vec<Obstacle> {
        let mut found = Vec::new();
        if self.stage(id) != Some(Stage::Waiting) {
            return found;
        }
        let me = &self.requests[id.slot as usize];
        for waits in [false, true] {
            for access in &me.accesses {
                self.tree.meet(access.node, access.kind, &mut |node, here| {
                    let mut see = |other: u32| {
                        let by = &self.requests[other as usize];
                        if found.len() < most && !self.related(me.holder, other) {
                            found.push(Obstacle {
                                asset: self.tree.name(access.node),
                                mode: self.mode(access.kind),
                                holder: by.holder,
                                held: self.tree.name(node),
                                held_in: self.mode(here.kind),
                                since: by.since,
                                waits,
                            });
                        }
                    };
                    if waits {
                        here.waits.range(..(me.key, 0)).for_each(|&(_, other)| see(other));
                    } else {
                        here.holds.iter().for_each(|&(other, _)| see(other));
                    }
                    found.len() >= most
                });
            }
        }
        found
    }

    /// What a lease is of.
    pub fn accesses(&self, id: LeaseId) -> Vec<(Vec<Segment>, Mode)> {
        if self.stage(id).is_none() {
            return Vec::new();
        }
        let accesses = self.requests[id.slot as usize].accesses.iter();
        accesses.map(|it| (self.tree.segments(it.node), self.mode(it.kind))).collect()
    }

    /// Whether somebody may be changing an asset now, and how many leases there have been under which any may be
    /// changed: nobody has changed it meanwhile, if that number is what it was.
    pub fn changing(&mut self, name: &[Segment]) -> (bool, u64) {
        let node = self.tree.pin(name);
        let changing = self.tree.meet(node, super::Kind::READS, &mut |_, here| !here.holds.is_empty());
        self.tree.unpin(node);
        (changing, self.changes)
    }

    /// Whether who shows this token may still use an asset.
    pub fn check(&self, name: &[Segment], token: Token, now: Micros) -> Result<(), Fault> {
        let asset = || Written(name).to_string();
        let nodes = self.tree.covering(name);
        let holds = |node: &u32| {
            self.tree.here(*node).iter().flat_map(|here| here.holds.iter().map(move |it| (here, it.0)))
        };
        let own = nodes.iter().flat_map(holds).find(|&(_, slot)| self.requests[slot as usize].token == token);
        if let Some((_, slot)) = own {
            return match self.requests[slot as usize].deadline {
                Some(deadline) if deadline <= now => Err(Fault::Expired { asset: asset(), token, deadline }),
                _ => Ok(()),
            };
        }
        let elsewhere = self.requests.iter().any(|it| it.stage == Stage::Held && it.token == token);
        if elsewhere || token >= self.next {
            return Err(Fault::NotHeld { asset: asset(), token });
        }
        let by = nodes.iter().find_map(|&node| {
            let (here, slot) = holds(&node).next()?;
            let it = &self.requests[slot as usize];
            let mode = self.mode(here.kind);
            let held = self.tree.name(node);
            let (holder, since) = (it.holder, it.since);
            Some(Box::new(Obstacle {
                asset: asset(),
                mode: mode.clone(),
                holder,
                held,
                held_in: mode,
                since,
                waits: false,
            }))
        });
        Err(Fault::Lost { asset: asset(), token, by })
    }
}
