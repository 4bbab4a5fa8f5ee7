//! Leases of assets while time is virtual: the same table, and the same rules, as where bodies run.

use ferroflow_define::algebra::compile::Program;
use ferroflow_engine::lease::{Asked, Claims, Holder, LeaseId, Open, Table, named_in};
use ferroflow_engine::{Micros, Run, Step};
use rustc_hash::FxHashMap;

pub(super) struct Leasing {
    table: Table,
    claims: Claims,
    /// What steps have, or wait for, that are ready or run.
    leases: FxHashMap<Step, LeaseId>,
}

impl Leasing {
    pub(super) fn new(program: &Program) -> Self {
        let mut table = Table::default();
        let claims = Claims::new(program, &mut table);
        Self { table, claims, leases: FxHashMap::default() }
    }

    /// Asks for what a step accesses; false if it has to wait for that. There are no values here that fill names:
    /// what has such a name is taken to be nobody else's.
    pub(super) fn claim(&mut self, run: &Run, step: Step, now: Micros) -> bool {
        if self.claims.is_empty() {
            return true;
        }
        let claims = self.claims.of(run.place(step));
        if claims.is_empty() {
            return true;
        }
        let mut wanted = claims.known.to_vec();
        for &Open { nth, kind } in claims.open {
            let uses = run.task(step).and_then(|task| task.uses.as_ref());
            let filled = uses.is_some_and(|uses| uses[nth as usize].holes.is_empty());
            if filled && let Ok(name) = named_in(run, step, nth, &[]) {
                wanted.push((self.table.asset(&name), kind));
            }
        }
        let holder = Holder { run: 0, step: Some(step), lock: false };
        let asked = self.table.request(holder, &wanted, run.priority_of(step), now);
        let own = wanted.split_off(claims.known.len());
        own.into_iter().for_each(|(asset, _)| self.table.forget(asset));
        let (Asked::Granted(lease) | Asked::Waits(lease)) = asked;
        self.leases.insert(step, lease);
        matches!(asked, Asked::Granted(_))
    }

    /// A step has ended, or will not start any more.
    pub(super) fn give_back(&mut self, step: Step, now: Micros) {
        if let Some(lease) = self.leases.remove(&step) {
            self.table.release(lease, now);
        }
    }

    /// Steps that have got what they waited for.
    pub(super) fn granted(&mut self) -> Vec<Step> {
        let granted = std::mem::take(&mut self.table.out.granted);
        granted.into_iter().filter_map(|(_, holder)| holder.step).collect()
    }
}
