//! What a commit takes along, and what follows once it is made.

use std::collections::HashMap;
use std::sync::Arc;

use ferroflow_engine::{Event, Run, RunId, RunState};
use ferroflow_journal::codec::Link;
use ferroflow_journal::{Append, Batch, Bytes, Registered, RunRow};

use crate::core::{Core, Live};
use crate::out::Out;
use crate::types::Ended;
use crate::values::Values;

/// Results of ended runs that are kept at hand; older ones are read from the journal.
const REMEMBERED: usize = 10_000;

/// Bytes that these results may have together.
const REMEMBERED_BYTES: usize = 64 << 20;

/// What a commit has added to a run: those who listen hear of it once it is made.
#[derive(Clone, Debug)]
pub struct Update {
    pub run: RunId,
    pub workflow: Arc<str>,
    /// Sequence number of the first event.
    pub first: u64,
    pub events: Vec<Event>,
    /// The state of the run before these events.
    pub before: RunState,
}

/// What the committer takes along.
pub(crate) struct Gathered {
    pub number: u64,
    pub runs: Vec<Part>,
    pub definitions: Vec<([u8; 32], Vec<u8>)>,
    pub registered: Vec<Registered>,
    pub blobs: Vec<([u8; 32], Bytes)>,
    pub taken: Vec<i64>,
}

pub(crate) struct Part {
    pub index: u32,
    pub run: RunId,
    pub first: u64,
    pub events: Vec<Event>,
    pub row: Option<RunRow>,
    pub link: Option<Link>,
    pub ended: bool,
    /// The workflow's name, and the state before: for those who listen.
    pub workflow: Arc<str>,
    pub before: RunState,
}

impl Core {
    pub(crate) fn gathered(&self) -> bool {
        !self.dirty.is_empty()
            || !self.taken.is_empty()
            || !self.definitions.is_empty()
            || !self.registered.is_empty()
    }

    /// Closes the batch and hands it to the committer.
    pub(crate) fn gather(&mut self) -> Gathered {
        let mut parts = Vec::with_capacity(self.dirty.len());
        for index in std::mem::take(&mut self.dirty) {
            let Some(Some(live)) = self.runs.get_mut(index as usize) else { continue };
            live.dirty = false;
            let events = std::mem::take(&mut live.events);
            let first = live.run.sequence() + 1 - events.len() as u64;
            let row = std::mem::take(&mut live.stale_row).then(|| row(&live.run));
            let before = std::mem::replace(&mut live.told, live.run.state());
            parts.push(Part {
                index,
                run: live.run.id,
                first,
                events,
                row,
                link: live.link.take(),
                ended: live.run.state().is_terminal(),
                workflow: live.workflow.clone(),
                before,
            });
        }
        let number = self.batch;
        self.batch += 1;
        Gathered {
            number,
            runs: parts,
            definitions: std::mem::take(&mut self.definitions),
            registered: std::mem::take(&mut self.registered),
            blobs: std::mem::take(&mut self.blobs),
            taken: std::mem::take(&mut self.taken),
        }
    }

    /// A commit is done: what waited for it goes on, and ended runs are let go of, once their bodies have
    /// ended too.
    pub(crate) fn committed(&mut self, gathered: &mut Gathered) {
        self.durable = gathered.number;
        if !self.listeners.is_empty() {
            for part in &mut gathered.runs {
                let update = Update {
                    run: part.run,
                    workflow: part.workflow.clone(),
                    first: part.first,
                    events: std::mem::take(&mut part.events),
                    before: part.before,
                };
                // Who no longer listens is forgotten.
                self.listeners.retain(|listener| listener.send(update.clone()).is_ok());
            }
        }
        for part in gathered.runs.iter().filter(|part| part.ended) {
            let Some(mut live) = self.runs[part.index as usize].take() else { continue };
            if !part.before.is_terminal() {
                self.ended(part.index, &live);
                self.forget_leases(std::mem::take(&mut live.leasing));
            }
            if live.bodies > 0 || !live.events.is_empty() {
                // Only what its bodies have used is still to come.
                live.values = Values::new(self.settings.max_value);
                live.link = part.link;
                self.runs[part.index as usize] = Some(live);
            }
        }
    }

    /// The end of a run is on record: whoever waits for it gets what it has come to.
    fn ended(&mut self, index: u32, live: &Live) {
        if let Some(at) = live.wake {
            self.timers.remove(&(at, index));
        }
        let id = live.run.id;
        self.by_id.remove(&id);
        self.schedule.leave(index);
        let ended = ended_of(&live.run, &live.values);
        self.remembered += ended.size();
        self.done.insert(id, ended);
        self.end_listeners.retain(|listener| listener.send(id).is_ok());
        self.order.push_back(id);
        // The last one stays, whatever its size: somebody is about to ask for it.
        while (self.order.len() > REMEMBERED || self.remembered > REMEMBERED_BYTES && self.order.len() > 1)
            && let Some(oldest) = self.order.pop_front()
        {
            self.remembered -= self.done.remove(&oldest).map_or(0, |ended| ended.size());
        }
    }
}

impl Gathered {
    pub(crate) fn batch(&mut self, links: &mut HashMap<RunId, Link>) -> Batch {
        let mut appends = Vec::with_capacity(self.runs.len());
        for part in &mut self.runs {
            let previous = part.link.or_else(|| links.get(&part.run).copied()).unwrap_or_default();
            let (record, link) = ferroflow_journal::codec::encode(&previous, part.first, &part.events);
            if part.ended {
                links.remove(&part.run);
                // For what may still come of it.
                part.link = Some(link);
            } else {
                links.insert(part.run, link);
            }
            let (run, first, row) = (part.run, part.first, part.row.take());
            appends.push(Append { run, first, record, previous, link, row });
        }
        Batch {
            appends,
            definitions: std::mem::take(&mut self.definitions),
            registered: std::mem::take(&mut self.registered),
            blobs: self.blobs.iter().map(|(hash, _)| *hash).collect(),
            taken: std::mem::take(&mut self.taken),
        }
    }
}

/// What has come of a run.
pub(crate) fn ended_of(run: &Run, values: &Values) -> Ended {
    let head = run.head();
    Ended {
        state: run.state(),
        degraded: head.degraded,
        result: match run.state() {
            RunState::Completed => values.result(run).map(Out::apart),
            _ => Ok((vec![0xc0], Vec::new())),
        },
        error: head
            .error
            .as_ref()
            .map(|(step, error)| (step.map_or_else(String::new, |step| run.path(step)), error.clone())),
        reason: head.reason.as_deref().map(str::to_owned),
    }
}

/// How the list of runs shows a run.
pub fn row(run: &Run) -> RunRow {
    let head = run.head();
    RunRow {
        id: run.id,
        workflow: run.program.name.clone(),
        version: run.program.version.clone(),
        state: run.state().name().to_owned(),
        degraded: head.degraded,
        priority: head.priority,
        correlation: head.correlation.as_deref().map(str::to_owned),
        digest: head.digest,
        created: head.created,
        started: head.started,
        ended: head.ended,
        error: head.error.as_ref().map(|(_, error)| format!("{}: {}", error.code, error.message)),
    }
}
