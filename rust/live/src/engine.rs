//! The engine as its users see it: start runs, wait for them, command them, ask about them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ferroflow_define::algebra::compile::Program;
use ferroflow_engine::event::What;
use ferroflow_engine::schedule::Terms;
use ferroflow_engine::{Command, Refusal, Run, RunId, RunState, Step, StepState};
use ferroflow_journal::store::INLINE;
use ferroflow_journal::{Bytes, Reader, Registered, Store, StoreError};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::admission::planned;
use crate::batch::{Update, ended_of};
use crate::children::{Cgroups, Children};
use crate::core::{Core, now};
use crate::explain::{self, Reason};
use crate::input::complete_input;
use crate::orphans::Mark;
use crate::recover::{find, missing, rebuild};
use crate::threads::{Committer, Shared, time, write};
use crate::types::{Durability, Ended, EngineError, Request, Settings, Stats};
use crate::values::Values;

pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    durability: Durability,
    threads: Mutex<Vec<JoinHandle<()>>>,
    pub(crate) mark: Mark,
    pub(crate) cgroups: Option<Arc<Cgroups>>,
    pub(crate) children: OnceLock<Children>,
    /// None once the engine is closed.
    reader: Mutex<Option<Box<dyn Reader>>>,
}

impl Engine {
    /// Opens an engine over a store; `database` is where that is, if it is a file.
    pub fn open(
        mut store: Box<dyn Store>,
        settings: Settings,
        database: Option<&Path>,
    ) -> Result<Self, EngineError> {
        let mark = Mark::new(database)?;
        let cgroups = Cgroups::open(&settings.cgroup, &mark.mark)?.map(Arc::new);
        let tokens = store.reserve()?;
        let mut reader = store.reader()?;
        let durability = settings.durability;
        let mut core = Core::new(settings, tokens);
        for it in reader.registered(None)? {
            core.registry.insert((it.name.clone(), it.version.clone()), it);
        }
        let shared = Arc::new(Shared {
            committer: Mutex::new(Some(Committer { store, links: HashMap::new() })),
            core: Mutex::new(core),
            work: Default::default(),
            write: Condvar::new(),
            done: Condvar::new(),
            timer: Condvar::new(),
            rank: Condvar::new(),
            locks: Condvar::new(),
        });
        let writer = Arc::clone(&shared);
        let timer = Arc::clone(&shared);
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|error| StoreError::Io {
                path: Default::default(),
                message: format!("can't start a thread: {error}"),
            })
        };
        let threads = vec![
            spawn("ferroflow-commit", Box::new(move || write(&writer)))?,
            spawn("ferroflow-timer", Box::new(move || time(&timer)))?,
        ];
        Ok(Self {
            shared,
            durability,
            threads: Mutex::new(threads),
            mark,
            cgroups,
            children: OnceLock::new(),
            reader: Mutex::new(Some(reader)),
        })
    }

    /// The control group of this engine's commands, if they have any.
    pub fn cgroups(&self) -> Option<&Cgroups> {
        self.cgroups.as_deref()
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.shared.core.lock()
    }

    /// Finds the hash of a value that goes by it, so that nobody has to under the lock.
    pub(crate) fn hash(&self, bytes: &Bytes) {
        if self.durability != Durability::Memory && bytes.len() > INLINE {
            bytes.hash();
        }
    }

    /// Starts a run; under `strict` it returns once the run is on disk.
    pub fn start(&self, request: Request) -> Result<RunId, EngineError> {
        let input = complete_input(&request.program, &request.input).map_err(EngineError::Input)?;
        let id = match request.id {
            Some(id) => self.unused(id)?,
            None => new_run(),
        };
        let plan = planned(&request.program, &request.plan).map_err(|unknown| {
            let names = unknown.iter().take(5).map(|it| format!("{it:?}")).collect::<Vec<_>>().join(", ");
            EngineError::Input(format!(
                "no task's step of {:?} has the path {names}: name in `plan` steps as `handle.steps()` does, \
                 without the numbers of copies and turns",
                request.program.name
            ))
        })?;
        let run = Run::new(id, request.program.clone());
        self.hash(&input);
        let mut core = self.core();
        usable(&core)?;
        if core.by_id.contains_key(&id) || core.done.contains_key(&id) {
            return Err(EngineError::Exists(id));
        }
        if let Some(most) = core.settings.max_runs
            && core.by_id.len() >= most
        {
            return Err(EngineError::Busy(most));
        }
        let values = Values::new(core.settings.max_value);
        let run_timeout = request.timeout.or(request.program.timeout).or(core.settings.run_timeout);
        let index = core.admit(run, values, &request.lanes, None).map_err(EngineError::Problems)?;
        core.define(request.digest, &request.object);
        let input = core.value(index, input);
        let created = What::RunCreated {
            workflow: request.program.name.as_str().into(),
            version: request.program.version.as_str().into(),
            digest: request.digest,
            flags: ferroflow_engine::decide::FLAGS,
            // The half of the id that is random.
            seed: uuid::Uuid::from_bytes(id.0).as_u64_pair().1,
            priority: request.priority,
            // Given as 0: the run has no limit.
            timeout: run_timeout.filter(|&timeout| timeout > 0),
            correlation: request.correlation.as_deref().map(Into::into),
            input,
            step_timeout: core.settings.step_timeout,
        };
        let terms = Terms { limit: request.terms.limit.or(core.settings.run_limit), ..request.terms };
        core.change(index, |live, now| {
            let mut events = Vec::new();
            live.run.create(created, now, &mut events)?;
            if terms != Terms::default() {
                live.run.handle(Command::Terms(terms), now, &mut events)?;
            }
            if !plan.is_empty() {
                live.run.handle(Command::Plan { nodes: plan }, now, &mut events)?;
            }
            live.append(events);
            Ok(())
        })?;
        core.enlist(index);
        core.begin(index, request.at_once || request.refused.is_some())?;
        if let Some(error) = request.refused {
            core.handle(index, Command::FailRun { error })?;
        }
        self.settle(core)?;
        Ok(id)
    }

    /// An id, if no run that is on disk has it.
    fn unused(&self, id: RunId) -> Result<RunId, EngineError> {
        match self.with_reader(|reader| find(reader, id)) {
            Ok(_) => Err(EngineError::Exists(id)),
            Err(EngineError::NoRun(_)) => Ok(id),
            Err(error) => Err(error),
        }
    }

    /// Makes a workflow one that can be started by its name. The same one again is no change.
    pub fn register(
        &self,
        program: &Program,
        object: &[u8],
        digest: [u8; 32],
        hash: [u8; 32],
    ) -> Result<Registered, EngineError> {
        let mut core = self.core();
        usable(&core)?;
        let (name, version) = (program.name.clone(), program.version.clone());
        match core.registry.get(&(name.clone(), version.clone())) {
            Some(found) if found.hash == hash => return Ok(found.clone()),
            Some(_) => return Err(EngineError::Registered { name, version }),
            None => {}
        }
        let made = Registered { name, version, hash, digest, registered: now() };
        core.register(made.clone(), object);
        self.settle(core)?;
        Ok(made)
    }

    /// Registered workflows, the latest of each name first.
    pub fn registered(&self) -> Vec<Registered> {
        let mut found: Vec<Registered> = self.core().registry.values().cloned().collect();
        found.sort_by(|a, b| a.name.cmp(&b.name).then(b.registered.cmp(&a.registered)));
        found
    }

    /// The definition object of a registered workflow; of its latest version if none is given.
    pub fn definition(&self, name: &str, version: Option<&str>) -> Result<Vec<u8>, EngineError> {
        let wanted = |it: &Registered| it.name == name && version.is_none_or(|version| it.version == version);
        let found = self.registered().into_iter().find(wanted).ok_or_else(|| {
            let version = version.map_or(String::new(), |version| format!(" in version {version:?}"));
            EngineError::NoWorkflow(format!("{name:?}{version}"))
        })?;
        if let Some(object) = self.core().pending(&found.digest) {
            return Ok(object);
        }
        let object = self.with_reader(|reader| reader.definition(&found.digest))?;
        object.ok_or_else(|| EngineError::NoWorkflow(format!("{name:?}")))
    }

    /// What happens from now on, as commits are made. Whoever drops the receiver no longer listens.
    pub fn listen(&self) -> Receiver<Update> {
        let (sender, receiver) = channel();
        let mut core = self.core();
        // Who comes after the end is told so at once.
        if !core.closing {
            core.listeners.push(sender);
        }
        receiver
    }

    /// The runs that end from now on.
    pub fn ends(&self) -> Receiver<RunId> {
        let (sender, receiver) = channel();
        let mut core = self.core();
        if !core.closing {
            core.end_listeners.push(sender);
        }
        receiver
    }

    /// What the engine has done and does.
    pub fn stats(&self) -> Stats {
        self.core().stats()
    }

    /// Why a run is where it is: what runs, and what the steps that do not are waiting for; at most so
    /// many of each kind.
    pub fn explain(&self, run: RunId, most: usize) -> Result<Vec<Reason>, EngineError> {
        let mut core = self.core();
        if let Some(&index) = core.by_id.get(&run)
            && let Some(Some(live)) = core.runs.get(index as usize)
        {
            let mut found = explain::reasons(&live.run, most);
            let created = live.run.state() == RunState::Created;
            if created && let Some(before) = core.waits_behind(index) {
                let underway = core.admission.underway;
                let detail = format!("{underway} runs are under way, and {before} others come before it");
                found.push((None, Reason { step: String::new(), what: "queued", detail, until: None }));
            }
            let mut reasons = Vec::with_capacity(found.len());
            for (step, mut reason) in found {
                if let Some(step) = step.filter(|_| reason.what == "queued") {
                    match core.waits_for_leases(index, step) {
                        Some(detail) => (reason.what, reason.detail) = ("lease", detail),
                        None => reason.detail = core.hindrance(index, step),
                    }
                }
                reasons.push(reason);
            }
            return Ok(reasons);
        }
        drop(core);
        let row = self.with_reader(|reader| find(reader, run))?;
        let (run, ..) = self.with_reader(|reader| rebuild(reader, &row, 0))?;
        Ok(explain::reasons(&run, most).into_iter().map(|(_, reason)| reason).collect())
    }

    /// Makes the commit if that was promised, and wakes whoever has something to do: not before, as
    /// they would only wait for the same commit.
    fn settle(&self, mut core: MutexGuard<'_, Core>) -> Result<(), EngineError> {
        let number = core.batch;
        let promised = core.settings.durability == Durability::Strict && core.gathered();
        if promised {
            let kept = MutexGuard::unlocked(&mut core, || self.shared.until_durable(number));
            if !kept {
                return Err(EngineError::Halted(core.failed.clone().unwrap_or_default()));
            }
        }
        self.tell(core);
        Ok(())
    }

    /// Wakes whoever has something to do after a change.
    pub(crate) fn tell(&self, mut core: MutexGuard<'_, Core>) {
        let write = core.gathered() && std::mem::take(&mut core.writer_idle);
        let calls = core.calls();
        drop(core);
        self.shared.call(&calls);
        if write {
            self.shared.write.notify_one();
        }
    }

    /// Carries a command to a run and waits until it is on disk, if that was promised.
    pub fn command(&self, run: RunId, command: Command) -> Result<(), EngineError> {
        self.carry(run, |_, _| command)
    }

    fn carry(&self, run: RunId, command: impl FnOnce(&mut Core, u32) -> Command) -> Result<(), EngineError> {
        let mut core = self.core();
        usable(&core)?;
        let Some(&index) = core.by_id.get(&run) else {
            let known = core.done.get(&run).map(|ended| ended.state);
            drop(core);
            let state = match known {
                Some(state) => state,
                None => self.ended(run)?.state,
            };
            return Err(Refusal::WrongState { state, action: "take commands" }.into());
        };
        let command = command(&mut core, index);
        core.handle(index, command)?;
        self.settle(core)
    }

    pub fn signal(&self, run: RunId, name: &str, bytes: Bytes) -> Result<(), EngineError> {
        self.hash(&bytes);
        self.carry(run, |core, index| Command::Signal { name: name.into(), value: core.value(index, bytes) })
    }

    /// Waits until a run has ended; `None` if that did not happen in time.
    pub fn wait(&self, run: RunId, timeout: Option<Duration>) -> Result<Option<Ended>, EngineError> {
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let mut committed = false;
        let mut core = self.core();
        loop {
            if let Some(ended) = core.done.get(&run) {
                return Ok(Some(ended.clone()));
            }
            if let Some(why) = core.broken.get(&run) {
                return Err(EngineError::Broken { run, why: why.clone() });
            }
            if !core.by_id.contains_key(&run) {
                drop(core);
                return self.ended(run).map(Some);
            }
            if let Some(message) = &core.failed {
                return Err(EngineError::Halted(message.clone()));
            }
            if core.stopping {
                return Err(EngineError::Closed);
            }
            // What has happened by now is committed by whoever begins to wait, not by its worker.
            if core.gathered() && core.waiters == 0 && !committed {
                committed = true;
                MutexGuard::unlocked(&mut core, || self.shared.commit());
                continue;
            }
            core.waiters += 1;
            let over = match until {
                None => {
                    self.shared.done.wait(&mut core);
                    false
                }
                Some(until) => self.shared.done.wait_until(&mut core, until).timed_out(),
            };
            core.waiters -= 1;
            if over {
                return Ok(None);
            }
        }
    }

    /// How a run ended, from the journal.
    fn ended(&self, run: RunId) -> Result<Ended, EngineError> {
        let most = self.core().settings.max_value;
        self.with_reader(|reader| {
            let row = find(reader, run)?;
            let (run, values, _) = rebuild(reader, &row, most)?;
            match (run.state().is_terminal(), &*row.state) {
                (true, _) => Ok(ended_of(&run, &values)),
                (false, "created" | "running" | "paused") => Err(EngineError::Idle(row.id)),
                (false, _) => Err(missing(&row).into()),
            }
        })
    }

    /// The state of a run. Under `strict` none is said to have ended whose end is not on disk.
    pub fn status(&self, run: RunId) -> Result<RunState, EngineError> {
        loop {
            let core = self.core();
            if let Some(&index) = core.by_id.get(&run)
                && let Some(Some(live)) = core.runs.get(index as usize)
            {
                let state = live.run.state();
                let promised = core.settings.durability == Durability::Strict;
                if !state.is_terminal() || !promised {
                    return Ok(state);
                }
                if let Some(message) = &core.failed {
                    return Err(EngineError::Halted(message.clone()));
                }
                drop(core);
                // The run is let go of by the commit that holds its end.
                self.shared.commit();
                continue;
            }
            if let Some(ended) = core.done.get(&run) {
                return Ok(ended.state);
            }
            drop(core);
            let row = self.with_reader(|reader| find(reader, run))?;
            return Ok(RunState::parse(&row.state).unwrap_or(RunState::Blocked));
        }
    }

    /// How far a run is: steps that have ended, steps so far, and the paths of up to `most` steps
    /// that are running. Cheap while the run is live, so that it can be asked for often.
    pub fn progress_of(&self, run: RunId, most: usize) -> Result<(u64, u64, Vec<String>), EngineError> {
        let core = self.core();
        if let Some(&index) = core.by_id.get(&run)
            && let Some(Some(live)) = core.runs.get(index as usize)
        {
            return Ok(progress_in(&live.run, most));
        }
        drop(core);
        self.with_reader(|reader| {
            let row = find(reader, run)?;
            let (run, ..) = rebuild(reader, &row, 0)?;
            Ok::<_, EngineError>(progress_in(&run, most))
        })
    }

    /// Something to read the journal with. What is not committed yet is not in it.
    pub fn with_reader<T, E: From<StoreError>>(
        &self,
        read: impl FnOnce(&mut dyn Reader) -> Result<T, E>,
    ) -> Result<T, EngineError>
    where
        EngineError: From<E>,
    {
        let (promised, over) = {
            let core = self.core();
            (core.settings.durability == Durability::Strict, core.closing || core.failed.is_some())
        };
        if !promised && !over {
            // Nobody has waited for what was started just now, and it is to be found all the same.
            self.shared.commit();
        }
        match &mut *self.reader.lock() {
            Some(reader) => Ok(read(&mut **reader)?),
            None => Err(EngineError::Closed),
        }
    }

    /// Bounds the bodies that a lane runs at a time, where their number is not that of the workers.
    pub fn limit(&self, lane: u8, most: usize) {
        self.core().lanes.limit(lane, most);
    }

    /// Takes no new steps, commits what has happened, and leaves unfinished runs for the next
    /// engine. Bodies that are running end, or are superseded when their run is taken up again.
    pub fn stop(&self) {
        self.core().stopping = true;
        self.shared.wake();
        self.shared.done.notify_all();
    }

    /// Tells bodies that still run after `stop` to give up. Their steps run again with their runs.
    pub fn abandon(&self) {
        self.core().abandon();
        self.shared.wake();
    }

    /// Waits for the engine's own threads after `stop`, once the workers are gone.
    pub fn join(&self) {
        {
            let mut core = self.core();
            core.stopping = true;
            core.closing = true;
        }
        self.shared.wake();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            let _ = thread.join();
        }
        // Nothing happens any more: who listens is told so.
        let mut core = self.core();
        core.listeners.clear();
        core.end_listeners.clear();
        drop(core);
        // Processes that did not stop end now: not later, as the next engine may open what is let go of below.
        if let Some(children) = self.children.get() {
            children.end();
            self.mark.remove();
        }
        if let Some(cgroups) = &self.cgroups {
            cgroups.end();
        }
        // The last connection to close tidies the files up.
        *self.reader.lock() = None;
        *self.shared.committer.lock() = None;
        self.shared.done.notify_all();
    }

    /// How many runs have not ended.
    pub fn remaining(&self) -> usize {
        self.core().by_id.len()
    }

    /// Why the engine has stopped by itself, if it has.
    pub fn failure(&self) -> Option<String> {
        self.core().failed.clone()
    }
}

/// The id of a run to be.
pub fn new_run() -> RunId {
    RunId(*uuid::Uuid::now_v7().as_bytes())
}

pub(crate) fn usable(core: &Core) -> Result<(), EngineError> {
    match &core.failed {
        Some(message) => Err(EngineError::Halted(message.clone())),
        None if core.stopping => Err(EngineError::Closed),
        None => Ok(()),
    }
}

fn progress_in(run: &Run, most: usize) -> (u64, u64, Vec<String>) {
    let ended =
        StepState::ALL.iter().filter(|state| state.is_terminal()).map(|&state| run.count(state)).sum();
    let mut running: Vec<Step> = run.in_flight().collect();
    running.sort_unstable();
    running.truncate(most);
    (ended, u64::from(run.len()), running.into_iter().map(|step| run.path(step)).collect())
}

#[cfg(test)]
mod tests {
    use ferroflow_engine::state::Illegal;
    use ferroflow_journal::MemoryStore;

    use super::*;
    use crate::children::Base;

    fn request() -> Request {
        let object = b"\x82\xa4name\xa1w\xa4term\x81\xa6signal\xa2go".to_vec();
        let program = Program::read(&object).unwrap().1;
        Request {
            program: Arc::new(program),
            digest: *blake3::hash(&object).as_bytes(),
            object: object.into(),
            lanes: vec![],
            id: None,
            input: vec![0x80].into(),
            priority: 2,
            timeout: None,
            correlation: None,
            terms: Terms::default(),
            plan: Vec::new(),
            at_once: false,
            refused: None,
        }
    }

    fn settings() -> Settings {
        Settings {
            durability: Durability::Memory,
            capacity: Default::default(),
            async_limit: 1,
            max_value: 1000,
            max_runs: None,
            max_running: None,
            max_batch: 100,
            window: 0,
            run_limit: None,
            policy: Default::default(),
            run_timeout: None,
            step_timeout: None,
            node: "here".into(),
            cgroup: Base::Nowhere,
        }
    }

    #[test]
    fn a_run_that_the_kernel_can_not_carry_on_is_let_go_of_and_the_others_go_on() {
        let engine = Engine::open(Box::<MemoryStore>::default(), settings(), None).unwrap();
        let (bad, good) = (engine.start(request()).unwrap(), engine.start(request()).unwrap());
        let index = engine.core().by_id[&bad];
        let illegal = Illegal { sequence: 3, message: "as told".to_owned() };
        let refused = engine.core().change(index, |_, _| Err(illegal.into()));
        assert!(refused.is_err());
        let waited = engine.wait(bad, None);
        assert!(matches!(waited, Err(EngineError::Broken { ref why, .. }) if why.contains("as told")));
        assert!(engine.signal(bad, "go", vec![0xc0].into()).is_err());
        engine.signal(good, "go", vec![7].into()).unwrap();
        engine.shared.commit();
        assert_eq!(engine.wait(good, None).unwrap().unwrap().result, Ok((vec![7], vec![])));
        engine.stop();
        engine.join();
    }
}
