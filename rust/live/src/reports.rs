//! What those who run bodies tell the engine and ask it: signs of life, processes, surroundings, outcomes.

use std::time::Instant;

use ferroflow_engine::Command;
use ferroflow_engine::event::Process;
use ferroflow_journal::Bytes;

use crate::children::Children;
use crate::engine::Engine;
use crate::lanes::Stopper;
use crate::types::{EngineError, Outcome, Ticket};
use crate::values;
use crate::worker::Ran;

impl Engine {
    /// A body's result as it is recorded. What takes long with a long one is done here, not under the lock.
    pub fn prepare(&self, ticket: &Ticket, bytes: Bytes) -> Bytes {
        let bytes = if ticket.share { values::shared(&bytes) } else { bytes };
        self.hash(&bytes);
        bytes
    }

    /// Tells how far a body is; false if its attempt no longer counts.
    pub fn progress(&self, ticket: &Ticket, percent: f64, message: &str) -> bool {
        let Ticket { step, token, .. } = *ticket;
        self.sign(ticket, Command::Progress { step, token, percent, message: message.into() })
    }

    /// Tells that a body is alive; false if its attempt no longer counts.
    pub fn beat(&self, ticket: &Ticket) -> bool {
        let Ticket { step, token, .. } = *ticket;
        self.sign(ticket, Command::Beat { step, token })
    }

    fn sign(&self, ticket: &Ticket, command: Command) -> bool {
        let mut core = self.core();
        let told = core.handle(ticket.run, command).is_ok();
        let counts = told && !core.lanes.is_stopped(ticket.token);
        self.tell(core);
        counts
    }

    /// What a body may want to know of its step, as MessagePack: see `Core::surroundings`.
    pub fn surroundings(&self, ticket: &Ticket) -> Result<Vec<u8>, EngineError> {
        self.core()
            .surroundings(ticket)
            .ok_or_else(|| EngineError::Input("the attempt no longer counts".into()))
    }

    /// Whether an attempt was superseded, cancelled or timed out while its body runs.
    pub fn is_stopped(&self, ticket: &Ticket) -> bool {
        self.core().lanes.is_stopped(ticket.token)
    }

    /// Reports a body that said `Outcome::Later`.
    pub fn finish(&self, ticket: &Ticket, outcome: Outcome) {
        let ran = Ran { outcome, taken: None, ended: Instant::now() };
        let mut core = self.core();
        core.finish(ticket, ran);
        self.tell(core);
    }

    /// A process of its own runs the body: that is recorded, so that it can be ended after a crash.
    pub fn spawned(&self, ticket: &Ticket, process: Process) {
        let mut core = self.core();
        let Ticket { run, step, token, .. } = *ticket;
        // An attempt that no longer counts is told so in any case.
        let _ = core.handle(run, Command::Spawned { step, token, process });
        self.tell(core);
    }

    /// What starts processes for bodies.
    pub fn children(&self) -> std::io::Result<&Children> {
        if let Some(children) = self.children.get() {
            return Ok(children);
        }
        self.mark.leave(self.cgroups.as_ref().map(|it| it.directory()))?;
        Ok(self.children.get_or_init(|| Children::new(self.mark.mark.clone(), self.cgroups.clone())))
    }

    /// What to call when the attempt no longer counts; at once, if that is so already.
    pub fn on_stop(&self, ticket: &Ticket, stopper: Stopper) {
        self.core().lanes.on_stop(ticket.token, stopper);
    }
}
