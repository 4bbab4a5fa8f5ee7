//! Who holds assets, and who waits for them: as an engine has it, or as the journal tells another process.

use std::collections::HashMap;
use std::sync::Arc;

use ferroflow_define::access::Mode;
use ferroflow_define::access::name::{Segment, parse};
use ferroflow_engine::lease::{Holder, Table};
use ferroflow_engine::{Micros, RunState, Step, StepState, Token};
use ferroflow_journal::{Filter, Reader};
use serde::Serialize;

use crate::engine::Engine;
use crate::leasing::named;
use crate::recover::rebuild;
use crate::types::EngineError;

/// A lease, or what waits for one. Times are microseconds since 1970, UTC.
#[derive(Clone, Debug, Serialize)]
pub struct Lease {
    #[serde(flatten)]
    pub who: Who,
    /// Whether it is a lock that the run holds across its steps.
    pub lock: bool,
    pub waits: bool,
    pub accesses: Vec<Held>,
    /// When it was granted, or asked for.
    pub since: Micros,
    pub deadline: Option<Micros>,
    /// The fencing token; 0 if it waits.
    pub token: Token,
    /// What is in the way, if it waits.
    pub behind: Vec<Behind>,
}

/// A run, and the path of a step in it: for a lock, of the one that has asked for it.
#[derive(Clone, Debug, Serialize)]
pub struct Who {
    pub run: String,
    pub workflow: Arc<str>,
    pub step: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Held {
    pub asset: String,
    pub mode: &'static str,
    /// Of a reduction.
    pub operation: Option<Arc<str>>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Behind {
    #[serde(flatten)]
    pub who: Who,
    pub asset: String,
    pub mode: &'static str,
    pub since: Micros,
    /// It waits too, and comes first.
    pub waits: bool,
}

/// What waits names so many others that are in its way.
const SHOWN: usize = 10;

fn held((asset, mode): (String, Mode)) -> Held {
    let name = mode.name();
    let operation = if let Mode::Reduces(operation) = mode { Some(operation) } else { None };
    Held { asset, mode: name, operation }
}

fn list(table: &Table, who: impl Fn(Holder) -> Option<Who>) -> Vec<Lease> {
    let found = table.leases().into_iter().filter_map(|it| {
        let behind = table.obstacles(it.id, SHOWN).into_iter().filter_map(|other| {
            Some(Behind {
                who: who(other.holder)?,
                asset: other.held,
                mode: other.held_in.name(),
                since: other.since,
                waits: other.waits,
            })
        });
        Some(Lease {
            who: who(it.holder)?,
            lock: it.holder.lock,
            waits: it.waits,
            behind: behind.collect(),
            accesses: it.accesses.into_iter().map(held).collect(),
            since: it.since,
            deadline: it.deadline,
            token: it.token,
        })
    });
    found.collect()
}

impl Engine {
    /// All leases, as they are granted, and all that waits for one, as it comes first.
    pub fn leases(&self) -> Vec<Lease> {
        let core = self.core();
        let mut found = list(&core.leases, |holder| {
            let live = core.runs.get(holder.run as usize)?.as_ref()?;
            let step = holder.step.map_or_else(String::new, |step| live.run.path(step));
            Some(Who { run: live.run.id.to_string(), workflow: live.workflow.clone(), step })
        });
        // When locks expire is the run's to say.
        for lease in found.iter_mut().filter(|it| it.lock && !it.waits) {
            let runs = core.runs.iter().flatten();
            let mut locks = runs.flat_map(|live| live.run.locks());
            lease.deadline =
                locks.find(|(_, lock)| lock.token == lease.token).and_then(|(_, lock)| lock.until);
        }
        found
    }
}

/// A lease that the journal tells of.
struct Told {
    holder: Holder,
    accesses: Vec<(Vec<Segment>, Mode)>,
    token: Token,
    since: Micros,
    deadline: Option<Micros>,
    priority: u8,
}

/// The same as the journal has it: what unfinished runs have locked, what their attempts in flight access, and
/// what their ready steps ask for. Who of these waits for whom is worked out as an engine would that took them up
/// now.
pub fn leases(reader: &mut dyn Reader) -> Result<Vec<Lease>, EngineError> {
    let states = ["running", "paused"].map(str::to_owned).to_vec();
    let rows = reader.runs(&Filter { states, limit: usize::MAX >> 1, ..Filter::default() })?;
    let mut names: HashMap<(u32, Step), Who> = HashMap::new();
    let (mut held, mut asked) = (Vec::new(), Vec::new());
    for (number, row) in (0..).zip(rows.into_iter().rev()) {
        let (run, values, _) = rebuild(reader, &row, usize::MAX)?;
        let who = |step: Step| Who {
            run: row.id.to_string(),
            workflow: row.workflow.as_str().into(),
            step: run.path(step),
        };
        for (name, lock) in run.locks() {
            let mode = if lock.writes { Mode::Writes } else { Mode::Reads };
            names.insert((number, lock.step), who(lock.step));
            held.push(Told {
                holder: Holder { run: number, step: Some(lock.step), lock: true },
                accesses: parse(name).ok().map(|name| (name, mode)).into_iter().collect(),
                token: lock.token,
                since: lock.since,
                deadline: lock.until,
                priority: 0,
            });
        }
        if run.program.accesses.assets.is_empty() {
            continue;
        }
        for step in 0..run.len() {
            let attempt = run.attempt(step);
            let ready = run.state() == RunState::Running && run.step(step) == Some(StepState::Ready);
            let Some(uses) = run.task(step).and_then(|task| task.uses.as_ref()) else { continue };
            if attempt.is_none() && !ready {
                continue;
            }
            let assets = &run.program.accesses.assets;
            let uses = (0..).zip(uses).filter(|(_, it)| !assets.is_value(it.asset));
            // A name that can't be told fails its step.
            let accesses =
                uses.map(|(nth, it)| Some((named(&run, &values, step, nth).ok()?, assets.mode_of(it.mode))));
            let Some(accesses) = accesses.collect::<Option<Vec<_>>>().filter(|it| !it.is_empty()) else {
                continue;
            };
            names.insert((number, step), who(step));
            let told = Told {
                holder: Holder { run: number, step: Some(step), lock: false },
                accesses,
                token: attempt.map_or(0, |it| it.token),
                since: attempt.map_or(run.head().last, |it| it.started),
                deadline: attempt.and_then(|it| run.until(step, it)),
                priority: run.priority_of(step),
            };
            if attempt.is_some() { held.push(told) } else { asked.push(told) }
        }
    }
    held.sort_by_key(|it| (!it.holder.lock, it.token));
    asked.sort_by_key(|it| it.since);
    let newest = held.iter().map(|it| it.token).max().unwrap_or(0);
    let mut table = Table::new(newest + 1);
    for (told, has) in held.iter().map(|it| (it, true)).chain(asked.iter().map(|it| (it, false))) {
        let numbers: Vec<_> =
            told.accesses.iter().map(|(name, mode)| (table.asset(name), table.kind(mode))).collect();
        if has {
            table.restore(told.holder, &numbers, told.token, told.deadline, told.since);
        } else {
            table.request(told.holder, &numbers, told.priority, told.since);
        }
        numbers.into_iter().for_each(|(asset, _)| table.forget(asset));
    }
    // Those that would be granted at once wait for nothing but their turn.
    let ready = |it: &Lease| !it.waits && it.token > newest;
    let mut found = list(&table, |holder| names.get(&(holder.run, holder.step?)).cloned());
    found.iter_mut().filter(|it| ready(it)).for_each(|it| it.token = 0);
    // Tokens of attempts and those of locks are not to be compared.
    let order = |it: &Lease| (it.waits, it.token == 0, if it.waits { 0 } else { it.since });
    found.sort_by_key(order);
    Ok(found)
}
