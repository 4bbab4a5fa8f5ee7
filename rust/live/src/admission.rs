//! Which runs are under way: those beyond the limit wait as created, by priority and then as they came.

use std::collections::{BTreeSet, HashMap};

use ferroflow_define::algebra::compile::{Kind, Program};
use ferroflow_engine::event::Planned;
use ferroflow_engine::{Command, Refusal, RunState};

use crate::core::Core;

#[derive(Default)]
pub(crate) struct Admission {
    /// Priority, number of the run.
    pub queue: BTreeSet<(u8, u32)>,
    /// Runs that have started and not ended.
    pub underway: usize,
    /// Runs are being started: what follows from that starts no others.
    starting: bool,
    /// There is room for runs that were not started in this turn.
    pub more: bool,
}

impl Admission {
    /// Notes what a change means for the number of runs that are under way.
    pub(crate) fn count(&mut self, before: RunState, after: RunState) {
        let counts = |state: RunState| state != RunState::Created && !state.is_terminal();
        self.underway += usize::from(counts(after) && !counts(before));
        self.underway -= usize::from(counts(before) && !counts(after));
    }
}

impl Core {
    /// Starts a run, or lets it wait until others have ended. `at_once`: a body of another waits for it.
    pub(crate) fn begin(&mut self, index: u32, at_once: bool) -> Result<(), Refusal> {
        let room = self.settings.max_running.is_none_or(|most| self.admission.underway < most);
        let Some(Some(live)) = self.runs.get(index as usize) else { return Ok(()) };
        if at_once || (room && self.admission.queue.is_empty()) {
            let node = self.settings.node.clone();
            return self.handle(index, Command::Start { node });
        }
        self.admission.queue.insert((live.run.head().priority, index));
        Ok(())
    }

    /// How many runs come before one that waits to be started.
    pub(crate) fn waits_behind(&self, index: u32) -> Option<usize> {
        self.admission.queue.iter().position(|it| it.1 == index)
    }

    /// Starts runs that wait, as far as there is room, and at most so many a turn.
    pub(crate) fn start_waiting(&mut self) {
        if self.admission.queue.is_empty() || self.admission.starting || self.stopping {
            return;
        }
        self.admission.starting = true;
        self.admission.more = false;
        let mut started = 0;
        let room = |core: &Self| core.settings.max_running.is_none_or(|most| core.admission.underway < most);
        while room(self)
            && let Some((priority, index)) = self.admission.queue.pop_first()
        {
            if started == self.settings.max_batch {
                self.admission.queue.insert((priority, index));
                self.admission.more = true;
                break;
            }
            let waits = |live: &crate::core::Live| live.run.state() == RunState::Created;
            if self.runs[index as usize].as_deref().is_some_and(waits) {
                started += 1;
                let node = self.settings.node.clone();
                // A run that has been created can be started.
                let _ = self.handle(index, Command::Start { node });
            }
        }
        self.admission.starting = false;
    }
}

/// The nodes of a plan, by the paths of steps without numbers of copies and
/// turns; or the paths that are those of no task.
pub(crate) fn planned(
    program: &Program,
    plan: &[(String, Option<u32>)],
) -> Result<Vec<Planned>, Vec<String>> {
    if plan.is_empty() {
        return Ok(Vec::new());
    }
    let mut nodes: HashMap<String, Vec<(u32, u32)>> = HashMap::new();
    let mut prefixes: Vec<String> = Vec::with_capacity(program.blocks.len());
    for (block, code) in (0..).zip(&program.blocks) {
        let prefix = code.owner.map_or_else(String::new, |(owner, node)| {
            let it = &program.blocks[owner as usize].nodes[node as usize];
            let catch = matches!(it.kind, Kind::Handler { handler, .. } if handler == block);
            format!("{}{}{}/", prefixes[owner as usize], it.id, if catch { "/catch" } else { "" })
        });
        for (node, it) in (0..).zip(&code.nodes) {
            if let Kind::Task(_) = it.kind {
                nodes.entry(format!("{prefix}{}", it.id)).or_default().push((block, node));
            }
        }
        prefixes.push(prefix);
    }
    let unknown: Vec<String> =
        plan.iter().map(|it| &it.0).filter(|path| !nodes.contains_key(*path)).cloned().collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let of = |(rank, (path, place)): (usize, &(String, Option<u32>))| {
        let found = nodes[path].clone();
        let place = *place;
        found.into_iter().map(move |(block, node)| (block, node, rank as f64, place))
    };
    Ok(plan.iter().enumerate().flat_map(of).collect())
}
