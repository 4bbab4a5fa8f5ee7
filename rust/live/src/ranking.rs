//! Policies of the user's: ready steps are shown to one, a batch at a time, and enter the queue with the
//! ranks it gives them, which are on record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ferroflow_engine::schedule::{Class, Entry, Policy};
use ferroflow_engine::{Command, Micros, Step};
use parking_lot::MutexGuard;
use serde::Serialize;

use crate::core::{Core, now};
use crate::engine::Engine;

/// For how long steps wait for a policy of the user's; then they are ranked without it.
const WAIT: Micros = 1_000_000;

/// A step that is ready and has no rank yet.
#[derive(Clone, Copy)]
pub(crate) struct Unranked {
    pub run: u32,
    pub step: Step,
    pub class: Class,
    pub gate: u64,
    pub since: Micros,
}

#[derive(Default)]
pub(crate) struct Ranking {
    /// Those that the policy has not seen, and those that it is ranking.
    pub waiting: Vec<Unranked>,
    asked: Vec<Unranked>,
    /// Which batch these are.
    batch: u64,
    /// When the oldest of them are ranked without it.
    pub due: Option<Micros>,
    /// Steps for which it was too late, or failed.
    pub missed: u64,
}

/// Ready steps as columns, each of the same length.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ReadySteps {
    /// Which batch it is: its ranks come back with this number.
    pub batch: u64,
    pub run: Vec<String>,
    pub workflow: Vec<Arc<str>>,
    pub path: Vec<String>,
    pub task: Vec<Arc<str>>,
    pub priority: Vec<u8>,
    /// Seconds.
    pub expected: Vec<f64>,
    pub upward: Vec<f64>,
    /// Instants, in microseconds since 1970, UTC.
    pub since: Vec<Micros>,
    pub deadline: Vec<Option<Micros>>,
    pub attempt: Vec<u16>,
    pub tenant: Vec<Option<Arc<str>>>,
    pub tags: Vec<Vec<Arc<str>>>,
    /// What the step demands, in the units of definitions.
    pub resources: Vec<BTreeMap<String, f64>>,
}

impl Ranking {
    /// Keeps a step that has become ready for the policy of the user's.
    pub(crate) fn add(&mut self, step: Unranked) {
        self.waiting.push(step);
        self.due.get_or_insert(now() + WAIT);
    }
}

impl Core {
    /// Whether a policy of the user's ranks what becomes ready.
    pub(crate) fn ranks_outside(&self) -> bool {
        matches!(self.schedule.policy(), Policy::Given)
    }

    /// How many steps wait for their ranks.
    pub(crate) fn unranked(&self) -> usize {
        self.ranking.waiting.len() + self.ranking.asked.len()
    }

    /// Whether a step waits for its rank.
    pub(crate) fn is_unranked(&self, run: u32, step: Step) -> bool {
        let Ranking { waiting, asked, .. } = &self.ranking;
        waiting.iter().chain(asked).any(|it| it.run == run && it.step == step)
    }

    /// Takes up to so many steps for the policy to rank.
    fn ask(&mut self, most: usize) -> Option<ReadySteps> {
        let runs = &self.runs;
        let counts =
            |it: &Unranked| runs[it.run as usize].as_ref().is_some_and(|live| live.run.startable(it.step));
        self.ranking.waiting.retain(counts);
        if self.ranking.waiting.is_empty() || !self.ranking.asked.is_empty() {
            return None;
        }
        let count = most.max(1).min(self.ranking.waiting.len());
        self.ranking.asked = self.ranking.waiting.drain(..count).collect();
        self.ranking.batch += 1;
        self.ranking.due = Some(now() + WAIT);
        let mut found = ReadySteps { batch: self.ranking.batch, ..ReadySteps::default() };
        for it in &self.ranking.asked {
            let Some(live) = &self.runs[it.run as usize] else { continue };
            let (run, facts) = (&live.run, live.run.facts(it.step));
            let Some(task) = run.task(it.step) else { continue };
            let resources = task.options.resources.amounts.iter().map(|(name, &amount)| {
                let scale = if matches!(&**name, "memory" | "disk") { 1.0 } else { 1000.0 };
                (name.clone(), amount as f64 / scale)
            });
            found.run.push(run.id.to_string());
            found.workflow.push(live.workflow.clone());
            found.path.push(run.path(it.step));
            found.task.push(run.program.tasks[task.task as usize].clone());
            found.priority.push(facts.priority);
            found.expected.push(facts.expected as f64 / 1e6);
            found.upward.push(facts.upward as f64 / 1e6);
            found.since.push(it.since);
            found.deadline.push(facts.deadline);
            found.attempt.push(run.attempts_of(it.step));
            found.tenant.push(run.head().terms.tenant.clone());
            found.tags.push(run.head().terms.tags.clone());
            found.resources.push(resources.collect());
        }
        Some(found)
    }

    /// Takes a batch back that nobody will rank: the next policy is shown it.
    fn unasked(&mut self, batch: u64) {
        if batch == self.ranking.batch {
            let Ranking { waiting, asked, .. } = &mut self.ranking;
            waiting.splice(0..0, asked.drain(..));
        }
    }

    /// Takes the ranks of a batch; without any, its steps go by upward rank.
    fn ranked(&mut self, batch: u64, ranks: Option<Vec<f64>>) {
        if batch != self.ranking.batch {
            return;
        }
        let asked = std::mem::take(&mut self.ranking.asked);
        self.ranking.due = (!self.ranking.waiting.is_empty()).then(|| now() + WAIT);
        self.rank(asked, ranks);
    }

    fn rank(&mut self, steps: Vec<Unranked>, ranks: Option<Vec<f64>>) {
        let ranks = ranks.filter(|ranks| ranks.len() == steps.len()).unwrap_or_else(|| {
            self.ranking.missed += steps.len() as u64;
            let upward = |it: &Unranked| {
                self.runs[it.run as usize].as_ref().map_or(0.0, |live| -live.run.facts(it.step).upward as f64)
            };
            steps.iter().map(upward).collect()
        });
        let mut by_run: BTreeMap<u32, Vec<(Step, f64)>> = BTreeMap::new();
        for (it, rank) in steps.iter().zip(ranks) {
            by_run.entry(it.run).or_default().push((it.step, rank));
        }
        for (run, ranks) in by_run {
            // A run that has ended or is paused has no ready steps.
            let _ = self.handle(run, Command::Rank { ranks });
        }
        for Unranked { run, step, class, gate, since } in steps {
            if let Some(Some(live)) = self.runs.get(run as usize)
                && live.run.startable(step)
            {
                self.schedule.offer(run, step, live.run.facts(step), class, gate, since);
                self.news += 1;
            }
        }
    }

    /// Ranks without the policy what has waited for it for too long; says when the next is due.
    pub(crate) fn rank_late(&mut self, now: Micros) -> Option<Micros> {
        if self.ranking.due.is_some_and(|due| due <= now) {
            self.rank_all();
        }
        self.ranking.due
    }

    fn rank_all(&mut self) {
        let mut steps = std::mem::take(&mut self.ranking.asked);
        steps.append(&mut self.ranking.waiting);
        // Who still ranks them comes too late.
        self.ranking.batch += 1;
        self.ranking.due = None;
        self.rank(steps, None);
    }

    fn set_policy(&mut self, policy: Policy) {
        let outside = policy == Policy::Given;
        let Self { schedule, runs, ranking, .. } = self;
        let mut again = Vec::new();
        schedule.set_policy(policy, |entry: &Entry| {
            let live = runs[entry.run as usize].as_ref().filter(|live| live.run.startable(entry.step))?;
            if outside {
                let class = live.class(entry.step)?;
                let &Entry { run, step, gate, since, .. } = entry;
                again.push(Unranked { run, step, class, gate, since });
                return None;
            }
            Some(live.run.facts(entry.step))
        });
        ranking.waiting.extend(again);
        if outside {
            // What the policy before still makes of its batch comes too late.
            ranking.waiting.splice(0..0, ranking.asked.drain(..));
            ranking.batch += 1;
        }
        if outside && !ranking.waiting.is_empty() {
            ranking.due.get_or_insert(now() + WAIT);
        } else if !outside {
            // They go by the new policy.
            let missed = ranking.missed;
            self.rank_all();
            self.ranking.missed = missed;
        }
        self.news += 1;
    }
}

impl Engine {
    /// Ranks by another policy from now on, what waits already too.
    pub fn set_policy(&self, policy: Policy) {
        let mut core = self.core();
        core.set_policy(policy);
        self.tell(core);
        self.shared.rank.notify_all();
    }

    /// The next steps for a policy of the user's to rank; none if there were none in that time.
    pub fn rankable(&self, most: usize, wait: Duration) -> Option<ReadySteps> {
        let mut core = self.core();
        if let Some(found) = core.ask(most) {
            return Some(found);
        }
        if core.ranks_outside() && !core.stopping {
            self.shared.rank.wait_for(&mut core, wait);
            return core.ask(most);
        }
        None
    }

    /// Whether a policy of the user's is wanted.
    pub fn ranks_outside(&self) -> bool {
        let core = self.core();
        core.ranks_outside() && !core.stopping && core.failed.is_none()
    }

    /// Takes a batch back whose policy was replaced before it saw it.
    pub fn unasked(&self, batch: u64) {
        self.core().unasked(batch);
        self.shared.rank.notify_all();
    }

    /// Takes the ranks of a batch, in its order; none if the policy failed.
    pub fn ranked(&self, batch: u64, ranks: Option<Vec<f64>>) {
        let mut core: MutexGuard<'_, Core> = self.core();
        core.ranked(batch, ranks);
        self.tell(core);
    }
}
