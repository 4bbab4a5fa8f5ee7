//! Who ready steps belong to: shares that get their turns by what they had, runs that may run only so many
//! steps at a time, and the groups of steps that these make.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::Class;
use super::policy::{By, Facts, PRIORITIES, Policy};
use super::queue::Group;
use crate::ids::Micros;

/// What a run says of itself for its steps to be ranked by, and held to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// On whose behalf it is.
    pub tenant: Option<Arc<str>>,
    pub tags: Vec<Arc<str>>,
    /// Of its share, in thousandths, where the policy has none.
    pub weight: Option<u32>,
    /// When it should have ended; nothing happens if it has not.
    pub deadline: Option<Micros>,
    /// Steps that it may run at a time.
    pub limit: Option<u32>,
}

/// What gets a share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Nobody,
    Name(Arc<str>),
    Class(u8),
    Run(u32),
    Home(u32),
}

/// A bucket: lane, band, class.
pub(super) type Where = (u8, u8, Class);

#[derive(Clone, Debug)]
struct Share {
    weight: u32,
    /// What it had, divided by its weight.
    pass: u64,
    groups: Vec<Group>,
}

#[derive(Clone, Debug)]
struct Members {
    share: Key,
    /// The run, if that has a limit.
    run: Option<u32>,
    waiting: usize,
    /// The buckets in which it has a queue.
    places: SmallVec<[Where; 2]>,
}

#[derive(Clone, Debug)]
struct Enlisted {
    workflow: Arc<str>,
    terms: Terms,
    running: u32,
    groups: Vec<Group>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    runs: FxHashMap<u32, Enlisted>,
    /// How many of them have a limit.
    limited: usize,
    shares: FxHashMap<Key, Share>,
    groups: FxHashMap<Group, Members>,
    known: FxHashMap<(Key, Option<u32>), Group>,
    named: Group,
    /// What the share had that had its turn last.
    time: u64,
    /// When there are so many shares, those are forgotten that owe nothing.
    sweep: usize,
}

impl Shares {
    pub(super) fn enter(&mut self, run: u32, workflow: Arc<str>, terms: Terms) {
        self.limited += usize::from(terms.limit.is_some());
        self.runs.insert(run, Enlisted { workflow, terms, running: 0, groups: Vec::new() });
    }

    /// Forgets a run; the groups are named that were held up for it.
    pub(super) fn leave(&mut self, run: u32) -> Vec<Group> {
        let Some(gone) = self.runs.remove(&run) else { return Vec::new() };
        self.limited -= usize::from(gone.terms.limit.is_some());
        if gone.is_full() { gone.groups } else { Vec::new() }
    }

    /// Whether a policy, or a limit, makes groups.
    pub(super) fn matter(&self, policy: &Policy) -> bool {
        self.limited > 0 || policy.shares() || policy.places()
    }

    /// The group that an entry of a run joins.
    pub(super) fn join(&mut self, policy: &Policy, run: u32, facts: &Facts) -> Group {
        let enlisted = self.runs.get(&run);
        let limited = enlisted.is_some_and(|it| it.terms.limit.is_some()).then_some(run);
        let mut class = None;
        let share = match policy {
            Policy::FairShare { by: By::Priority, .. } => {
                class = Some(facts.priority);
                Key::Class(facts.priority)
            }
            Policy::FairShare { by, weights } => {
                Key::Name(enlisted.map_or_else(|| "".into(), |it| it.named(*by, weights)))
            }
            Policy::RoundRobin => Key::Run(run),
            policy if policy.places() => facts.home.map_or(Key::Nobody, Key::Home),
            _ => Key::Nobody,
        };
        if share == Key::Nobody && limited.is_none() {
            return 0;
        }
        let known = (share, limited);
        if let Some(&group) = self.known.get(&known) {
            self.groups.get_mut(&group).expect("a known group").waiting += 1;
            return group;
        }
        self.named += 1;
        let group = self.named;
        let share = known.0.clone();
        if let Some(enlisted) = limited.and_then(|run| self.runs.get_mut(&run)) {
            enlisted.groups.push(group);
        }
        if share != Key::Nobody {
            let own = self.runs.get(&run).and_then(|it| it.terms.weight);
            let name = match &share {
                Key::Name(name) => name,
                Key::Class(class) => PRIORITIES[usize::from(*class).min(4)],
                _ => "",
            };
            let weight = policy.weight(name, class, own);
            let time = self.time;
            let fresh = || Share { weight, pass: time, groups: Vec::new() };
            let found = self.shares.entry(share.clone()).or_insert_with(fresh);
            found.weight = weight;
            if found.groups.is_empty() {
                // Who had nothing to do saves nothing up.
                found.pass = found.pass.max(time);
            }
            found.groups.push(group);
        }
        self.known.insert(known, group);
        self.groups.insert(group, Members { share, run: limited, waiting: 1, places: SmallVec::new() });
        group
    }

    /// What the share of a group had.
    pub(super) fn pass(&self, group: Group) -> u64 {
        let share = self.groups.get(&group).and_then(|it| self.shares.get(&it.share));
        share.map_or(0, |share| share.pass)
    }

    /// Whether nothing holds a group up.
    pub(super) fn is_open(&self, group: Group) -> bool {
        let run = self.groups.get(&group).and_then(|it| it.run);
        run.is_none_or(|run| self.runs.get(&run).is_none_or(|it| !it.is_full()))
    }

    /// The groups of a place.
    pub(super) fn at_home(&self, place: u32) -> &[Group] {
        self.shares.get(&Key::Home(place)).map_or(&[], |share| &share.groups)
    }

    /// The buckets in which a group has a queue.
    pub(super) fn places(&self, group: Group) -> SmallVec<[Where; 2]> {
        self.groups.get(&group).map(|it| it.places.clone()).unwrap_or_default()
    }

    pub(super) fn opened(&mut self, group: Group, at: Where) {
        self.groups.get_mut(&group).expect("it has an entry").places.push(at);
    }

    pub(super) fn emptied(&mut self, group: Group, at: Where) {
        self.groups.get_mut(&group).expect("it had an entry").places.retain(|it| *it != at);
    }

    /// Charges a share for what starts; says which groups of it now come later.
    pub(super) fn charge(&mut self, group: Group, cost: u32) -> Vec<Group> {
        let Some(share) = self.groups.get(&group).and_then(|it| self.shares.get_mut(&it.share)) else {
            return Vec::new();
        };
        self.time = self.time.max(share.pass);
        let stride = u64::from(cost.max(1)) * 1_000_000 / u64::from(share.weight);
        share.pass = share.pass.saturating_add(stride.max(1));
        share.groups.clone()
    }

    /// An entry of a group has gone.
    pub(super) fn left(&mut self, group: Group) {
        let Some(members) = self.groups.get_mut(&group) else { return };
        members.waiting -= 1;
        if members.waiting > 0 {
            return;
        }
        let Members { share, run, .. } = self.groups.remove(&group).expect("it was there above");
        if let Some(enlisted) = run.and_then(|run| self.runs.get_mut(&run)) {
            enlisted.groups.retain(|it| *it != group);
        }
        if let Some(found) = self.shares.get_mut(&share) {
            found.groups.retain(|it| *it != group);
        }
        self.known.remove(&(share, run));
        if self.shares.len() > self.sweep {
            let time = self.time;
            self.shares.retain(|_, share| !share.groups.is_empty() || share.pass > time);
            self.sweep = 2 * self.shares.len() + 64;
        }
    }

    /// A step of a run starts; the groups are named that are held up from now on.
    pub(super) fn begin(&mut self, run: u32) -> Vec<Group> {
        if self.limited == 0 {
            return Vec::new();
        }
        let Some(enlisted) = self.runs.get_mut(&run).filter(|it| it.terms.limit.is_some()) else {
            return Vec::new();
        };
        enlisted.running += 1;
        if enlisted.is_full() { enlisted.groups.clone() } else { Vec::new() }
    }

    /// A step of a run has ended; the groups are named that are held up no longer.
    pub(super) fn end(&mut self, run: u32) -> Vec<Group> {
        if self.limited == 0 {
            return Vec::new();
        }
        let Some(enlisted) = self.runs.get_mut(&run).filter(|it| it.terms.limit.is_some()) else {
            return Vec::new();
        };
        let held = enlisted.is_full();
        enlisted.running -= 1;
        if held && !enlisted.is_full() { enlisted.groups.clone() } else { Vec::new() }
    }

    /// The limit of a run that runs as many steps as it may.
    pub(super) fn full(&self, run: u32) -> Option<u32> {
        self.runs.get(&run).filter(|it| it.is_full()).and_then(|it| it.terms.limit)
    }

    /// Forgets who waits: another policy makes other groups.
    pub(super) fn clear(&mut self) {
        self.shares.clear();
        self.groups.clear();
        self.known.clear();
        self.time = 0;
        self.runs.values_mut().for_each(|it| it.groups.clear());
    }
}

impl Enlisted {
    fn is_full(&self) -> bool {
        self.terms.limit.is_some_and(|limit| self.running >= limit)
    }

    /// What its share is called.
    fn named(&self, by: By, weights: &BTreeMap<Arc<str>, u32>) -> Arc<str> {
        match by {
            By::Workflow => self.workflow.clone(),
            By::Tag => {
                let tags = &self.terms.tags;
                tags.iter()
                    .find(|tag| weights.contains_key(*tag))
                    .or(tags.first())
                    .cloned()
                    .unwrap_or_default()
            }
            By::Tenant | By::Priority => self.terms.tenant.clone().unwrap_or_default(),
        }
    }
}
