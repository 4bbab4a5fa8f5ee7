//! The engine as its users see it: start runs, wait for them, command them; and its threads.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ferroflow_define::algebra::compile::Program;
use ferroflow_define::algebra::read::accepts;
use ferroflow_define::value;
use ferroflow_define::{Definition, Problem};
use ferroflow_engine::event::{Event, What};
use ferroflow_engine::ids::Value;
use ferroflow_engine::{Command, Failure, Micros, Refusal, Run, RunId, RunState, Step, StepState};
use ferroflow_journal::codec::Link;
use ferroflow_journal::{Filter, Reader, RunRow, Store, StoreError, store};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::core::{Core, Durability, Ended, Job, Settings, Ticket, ended_of, now};
use crate::values::Values;

/// How often other processes' commands are looked for.
const INBOX: Duration = Duration::from_millis(50);

/// What became of a body.
#[derive(Debug)]
pub enum Outcome {
    /// MessagePack of the result.
    Done(Vec<u8>),
    Failed {
        error: Failure,
        retriable: bool,
    },
    /// It is under way; `Engine::finish` reports it.
    Later,
}

/// Runs bodies. The engine calls it without holding its lock.
pub trait Executor {
    fn run(&mut self, job: Job) -> Outcome;
    /// Waits by calling `wait`; whatever the thread holds on to is let go meanwhile.
    fn idle(&mut self, wait: &mut (dyn FnMut() + Send));
    /// Attempts that were superseded while their asynchronous bodies run.
    fn cancel(&mut self, tokens: &[u64]);
}

/// What to run.
pub struct Request {
    pub program: Arc<Program>,
    /// The definition object, and its BLAKE3 hash.
    pub object: Arc<[u8]>,
    pub digest: [u8; 32],
    /// For each task of the program: 0 for threads, 1 for the event loop.
    pub lanes: Vec<u8>,
    /// MessagePack of an object.
    pub input: Vec<u8>,
    pub priority: u8,
    pub timeout: Option<Micros>,
    pub correlation: Option<String>,
}

/// A run that had not ended when the database was last used.
pub struct Unfinished {
    pub row: RunRow,
    /// The tasks it needs.
    pub tasks: Vec<Arc<str>>,
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no run {0}")]
    NoRun(RunId),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Input(String),
    #[error("the definition does not fit this engine")]
    Problems(Vec<Problem>),
    #[error("the engine is closed")]
    Closed,
    #[error("the engine has stopped: {0}")]
    Halted(String),
}

/// What commits need. Whoever waits for a commit makes it, so that a chain of steps needs no
/// hand-over between threads; those who come meanwhile find it made, or make the next.
struct Committer {
    store: Box<dyn Store>,
    /// Of the runs that have not ended: the link of their last record.
    links: HashMap<RunId, Link>,
}

struct Shared {
    /// Taken before `core`, never after it.
    committer: Mutex<Option<Committer>>,
    core: Mutex<Core>,
    /// There may be work for a worker.
    work: Condvar,
    /// There may be something to commit.
    write: Condvar,
    /// A commit is done, or a run has ended.
    done: Condvar,
    /// The next timer may be another one.
    timer: Condvar,
}

pub struct Engine {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// None once the engine is closed.
    reader: Mutex<Option<Box<dyn Reader>>>,
}

impl Engine {
    pub fn open(mut store: Box<dyn Store>, settings: Settings) -> Result<Self, StoreError> {
        let tokens = store.reserve()?;
        let reader = store.reader()?;
        let shared = Arc::new(Shared {
            committer: Mutex::new(Some(Committer { store, links: HashMap::new() })),
            core: Mutex::new(Core::new(settings, tokens)),
            work: Condvar::new(),
            write: Condvar::new(),
            done: Condvar::new(),
            timer: Condvar::new(),
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
        Ok(Self { shared, threads: Mutex::new(threads), reader: Mutex::new(Some(reader)) })
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.shared.core.lock()
    }

    /// Starts a run; under `strict` it returns once the run is on disk.
    pub fn start(&self, request: Request) -> Result<RunId, EngineError> {
        let input = complete_input(&request.program, &request.input).map_err(EngineError::Input)?;
        let id = RunId(*uuid::Uuid::now_v7().as_bytes());
        let run = Run::new(id, request.program.clone());
        let mut core = self.core();
        usable(&core)?;
        let index =
            core.admit(run, Values::default(), &request.lanes, None).map_err(EngineError::Problems)?;
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
            timeout: request.timeout.or(request.program.timeout),
            correlation: request.correlation.as_deref().map(Into::into),
            input,
        };
        core.change(index, |live, now| {
            let mut events = Vec::new();
            live.run.create(created, now, &mut events)?;
            live.append(events);
            Ok(())
        })?;
        core.handle(index, Command::Start)?;
        self.settle(core)?;
        Ok(id)
    }

    /// Wakes whoever has something to do now, and waits for the commit if that was promised.
    fn settle(&self, core: MutexGuard<'_, Core>) -> Result<(), EngineError> {
        let number = core.batch;
        self.wake();
        let promised = core.settings.durability == Durability::Strict && core.gathered();
        drop(core);
        if promised && !self.shared.until_durable(number) {
            return Err(EngineError::Halted(self.failure().unwrap_or_default()));
        }
        Ok(())
    }

    fn wake(&self) {
        self.shared.write.notify_one();
        self.shared.work.notify_all();
        self.shared.timer.notify_one();
    }

    /// Runs that had not ended when the database was last used, with the tasks they need.
    pub fn unfinished(&self) -> Result<Vec<Unfinished>, EngineError> {
        let states = ["created", "running", "paused"].map(str::to_owned).to_vec();
        let filter = Filter { states, limit: usize::MAX >> 1, ..Filter::default() };
        self.with_reader(|reader| {
            let mut found = Vec::new();
            let mut programs: HashMap<[u8; 32], Arc<Program>> = HashMap::new();
            for row in reader.runs(&filter)?.into_iter().rev() {
                if self.core().by_id.contains_key(&row.id) {
                    continue;
                }
                let program = match programs.get(&row.digest) {
                    Some(program) => program.clone(),
                    None => {
                        let program = load_program(reader, &row)?;
                        programs.insert(row.digest, program.clone());
                        program
                    }
                };
                found.push(Unfinished { row, tasks: program.tasks.clone() });
            }
            Ok::<_, EngineError>(found)
        })
    }

    /// Takes a run up again where its journal ends.
    pub fn recover(&self, row: &RunRow, lanes: impl Fn(&[Arc<str>]) -> Vec<u8>) -> Result<(), EngineError> {
        let (run, values, link) = self.with_reader(|reader| rebuild(reader, row))?;
        if run.state().is_terminal() {
            return Ok(());
        }
        let mut core = self.core();
        usable(&core)?;
        let created = run.state() == RunState::Created;
        let lanes = lanes(&run.program.tasks);
        let index = core.admit(run, values, &lanes, Some(link)).map_err(EngineError::Problems)?;
        core.handle(index, if created { Command::Start } else { Command::Recover })?;
        self.wake();
        Ok(())
    }

    /// Carries a command to a run and waits until it is on disk, if that was promised.
    pub fn command(&self, run: RunId, command: Command) -> Result<(), EngineError> {
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
        core.handle(index, command)?;
        self.settle(core)
    }

    pub fn signal(&self, run: RunId, name: &str, bytes: Vec<u8>) -> Result<(), EngineError> {
        let value = {
            let mut core = self.core();
            let index = core.by_id.get(&run).copied().unwrap_or(u32::MAX);
            core.value(index, bytes)
        };
        self.command(run, Command::Signal { name: name.into(), value })
    }

    /// Waits until a run has ended; `None` if that did not happen in time.
    pub fn wait(&self, run: RunId, timeout: Option<Duration>) -> Result<Option<Ended>, EngineError> {
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let mut core = self.core();
        loop {
            if let Some(ended) = core.done.get(&run) {
                return Ok(Some(ended.clone()));
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
            match until {
                None => self.shared.done.wait(&mut core),
                Some(until) => {
                    if self.shared.done.wait_until(&mut core, until).timed_out() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// How a run ended, from the journal.
    fn ended(&self, run: RunId) -> Result<Ended, EngineError> {
        self.with_reader(|reader| {
            let row = find(reader, run)?;
            let (run, values, _) = rebuild(reader, &row)?;
            Ok::<_, EngineError>(ended_of(&run, &values))
        })
    }

    /// The state of a run, and how many of its steps are in which state.
    pub fn status(&self, run: RunId) -> Result<RunState, EngineError> {
        let core = self.core();
        if let Some(&index) = core.by_id.get(&run)
            && let Some(Some(live)) = core.runs.get(index as usize)
        {
            return Ok(live.run.state());
        }
        if let Some(ended) = core.done.get(&run) {
            return Ok(ended.state);
        }
        drop(core);
        let row = self.with_reader(|reader| find(reader, run))?;
        Ok(RunState::parse(&row.state).unwrap_or(RunState::Blocked))
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
            let (run, ..) = rebuild(reader, &row)?;
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
        match &mut *self.reader.lock() {
            Some(reader) => Ok(read(&mut **reader)?),
            None => Err(EngineError::Closed),
        }
    }

    pub fn progress(&self, ticket: &Ticket, percent: f64, message: &str) -> bool {
        let mut core = self.core();
        let Ticket { run, step, token, .. } = *ticket;
        let told =
            core.handle(run, Command::Progress { step, token, percent, message: message.into() }).is_ok();
        self.shared.write.notify_one();
        told && !core.stopped.contains(&token)
    }

    /// Whether an attempt was superseded, cancelled or timed out while its body runs.
    pub fn is_stopped(&self, ticket: &Ticket) -> bool {
        self.core().stopped.contains(&ticket.token)
    }

    /// Reports a body that said `Outcome::Later`.
    pub fn finish(&self, ticket: &Ticket, outcome: Outcome) {
        self.core().finish(ticket, outcome);
        self.wake();
    }

    /// Runs steps of a lane until the engine stops.
    pub fn work(&self, lane: u8, executor: &mut dyn Executor) {
        let mut done: Option<(Ticket, Outcome)> = None;
        loop {
            let mut core = self.core();
            let news = core.news;
            if let Some((ticket, outcome)) = done.take() {
                core.finish(&ticket, outcome);
            }
            let job = core.next(lane);
            let offered = core.news > news + 1;
            let timers = !core.timers.is_empty();
            let cancels = if lane == 1 { std::mem::take(&mut core.to_cancel) } else { Vec::new() };
            let gathered = core.gathered();
            let (seen, over) = (core.news, core.stopping || core.failed.is_some());
            let gated = job.as_ref().is_some_and(|job| job.gate > core.durable);
            drop(core);
            // A worker that waits for a commit makes it itself; otherwise work goes on meanwhile.
            if gathered && !gated {
                self.shared.write.notify_one();
            }
            if offered {
                self.shared.work.notify_all();
            }
            if timers {
                self.shared.timer.notify_one();
            }
            if !cancels.is_empty() {
                executor.cancel(&cancels);
            }
            let Some(job) = job else {
                if over {
                    return;
                }
                let shared = &self.shared;
                executor.idle(&mut || {
                    let mut core = shared.core.lock();
                    while core.news == seen && !core.stopping && core.failed.is_none() {
                        shared.work.wait(&mut core);
                    }
                });
                continue;
            };
            if gated {
                let mut go = false;
                let shared = &self.shared;
                executor.idle(&mut || go = shared.until_durable(job.gate));
                if !go {
                    return;
                }
            }
            let ticket = job.ticket;
            done = Some((ticket, executor.run(job)));
        }
    }

    /// Takes no new steps, commits what has happened, and leaves unfinished runs for the next
    /// engine. Bodies that are running end, or are superseded when their run is taken up again.
    pub fn stop(&self) {
        self.core().stopping = true;
        self.wake();
        self.shared.done.notify_all();
    }

    /// Waits for the engine's own threads after `stop`, once the workers are gone.
    pub fn join(&self) {
        {
            let mut core = self.core();
            core.stopping = true;
            core.closing = true;
        }
        self.wake();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            let _ = thread.join();
        }
        // The last connection to close tidies the files up.
        *self.reader.lock() = None;
        *self.shared.committer.lock() = None;
        self.shared.done.notify_all();
    }

    /// Why the engine has stopped by itself, if it has.
    pub fn failure(&self) -> Option<String> {
        self.core().failed.clone()
    }
}

fn usable(core: &Core) -> Result<(), EngineError> {
    match &core.failed {
        Some(message) => Err(EngineError::Halted(message.clone())),
        None if core.stopping => Err(EngineError::Closed),
        None => Ok(()),
    }
}

impl Shared {
    /// Makes commits until the given one is made; false if that can't be.
    fn until_durable(&self, number: u64) -> bool {
        loop {
            let core = self.core.lock();
            if core.durable >= number {
                return true;
            }
            if core.failed.is_some() {
                return false;
            }
            drop(core);
            self.commit();
        }
    }

    /// Commits what has been gathered; waits if a commit is under way.
    fn commit(&self) {
        let mut committer = self.committer.lock();
        let Some(Committer { store, links }) = &mut *committer else {
            // The engine is closed: nothing is left to commit.
            halt(self, "the engine is closed");
            return;
        };
        let mut core = self.core.lock();
        if !core.gathered() || core.failed.is_some() {
            return;
        }
        let mut gathered = core.gather();
        drop(core);
        let committed = gathered
            .blobs
            .iter()
            .try_for_each(|(hash, bytes)| store.put_blob(hash, bytes))
            .and_then(|()| store.commit(&gathered.batch(links)));
        match committed {
            Ok(()) => {
                let ended: Vec<u32> = gathered.runs.iter().filter(|it| it.ended).map(|it| it.index).collect();
                self.core.lock().committed(gathered.number, &ended);
                self.done.notify_all();
                self.work.notify_all();
            }
            // The state in memory is ahead of the disk now, and nothing can bring it back:
            // nobody is told of anything any more, and a new engine starts from the disk.
            Err(error) => halt(self, &error.to_string()),
        }
    }

    /// Carries out what other processes have left.
    fn read_inbox(&self) {
        let mut committer = self.committer.lock();
        let Some(Committer { store, .. }) = &mut *committer else { return };
        match store.inbox() {
            Ok(commands) if commands.is_empty() => {}
            Ok(commands) => {
                let mut core = self.core.lock();
                for command in commands {
                    carry_out(&mut core, command);
                }
                drop(core);
                self.work.notify_all();
                self.timer.notify_one();
            }
            Err(error) => halt(self, &error.to_string()),
        }
    }
}

/// The writing thread: commits what nobody waits for, and looks into the inbox.
fn write(shared: &Shared) {
    let mut looked = Instant::now() - INBOX;
    loop {
        let mut core = shared.core.lock();
        if core.failed.is_some() {
            return;
        }
        if !core.gathered() {
            if core.closing {
                return;
            }
            shared.write.wait_for(&mut core, INBOX);
        }
        let gathered = core.gathered();
        drop(core);
        if gathered {
            shared.commit();
        }
        if looked.elapsed() >= INBOX {
            looked = Instant::now();
            shared.read_inbox();
        }
    }
}

fn halt(shared: &Shared, message: &str) {
    shared.core.lock().failed = Some(message.to_owned());
    shared.done.notify_all();
    shared.work.notify_all();
    shared.timer.notify_all();
}

/// A command from another process. One that can't be carried out is dropped: its sender looks.
fn carry_out(core: &mut Core, command: ferroflow_journal::Inbox) {
    let Some(&index) = core.by_id.get(&command.run) else { return };
    let reason = || Arc::from(String::from_utf8_lossy(&command.payload).as_ref());
    let decoded = match command.command.split_once(':') {
        Some(("signal", name)) => {
            let well_formed = value::skip(&command.payload, 0) == Ok(command.payload.len());
            let bytes = if well_formed { command.payload.clone() } else { vec![0xc0] };
            Some(Command::Signal { name: name.into(), value: core.value(index, bytes) })
        }
        _ => match &*command.command {
            "cancel" => Some(Command::Cancel { reason: reason() }),
            "pause" => Some(Command::Pause { reason: reason() }),
            "resume" => Some(Command::Resume),
            _ => None,
        },
    };
    if let Some(decoded) = decoded {
        let _ = core.handle(index, decoded);
    }
    core.taken.push(command.id);
}

/// The timer thread.
fn time(shared: &Shared) {
    let mut core = shared.core.lock();
    loop {
        if core.stopping || core.failed.is_some() {
            return;
        }
        let next = core.tick();
        if core.gathered() {
            shared.write.notify_one();
            shared.work.notify_all();
        }
        match next {
            None => shared.timer.wait(&mut core),
            Some(at) => {
                let rest = Duration::from_micros((at - now()).max(0) as u64);
                shared.timer.wait_for(&mut core, rest);
            }
        }
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

/// The inputs with defaults filled in, or what is wrong with them.
fn complete_input(program: &Program, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let given = value::entries(bytes).map_err(|error| error.to_string())?;
    let given = given.ok_or("inputs are given as an object")?;
    let mut wrong = Vec::new();
    for (name, _) in &given {
        if !program.inputs.iter().any(|input| input.name == *name) {
            let known: Vec<&str> = program.inputs.iter().map(|input| &*input.name).collect();
            wrong.push(format!("there is no input {name:?}; the inputs are {known:?}"));
        }
    }
    let mut out = Vec::new();
    rmp::encode::write_map_len(&mut out, program.inputs.len() as u32).expect("memory takes what is written");
    for input in &program.inputs {
        let found = given.iter().find(|(name, _)| *name == input.name).map(|&(_, bytes)| bytes);
        match found.or(input.default.as_deref()) {
            Some(bytes) if accepts(&input.kind, bytes) => {
                rmp::encode::write_str(&mut out, &input.name).expect("memory takes what is written");
                out.extend_from_slice(bytes);
            }
            Some(bytes) => {
                let kind = value::item(bytes, 0).map_or("nothing", |(item, _)| item.kind());
                wrong.push(format!("input {:?} is {kind}, and it has to be {}", input.name, input.kind));
            }
            None => wrong.push(format!("input {:?} is missing", input.name)),
        }
    }
    if wrong.is_empty() { Ok(out) } else { Err(wrong.join("; ")) }
}

pub(crate) fn find(reader: &mut dyn Reader, run: RunId) -> Result<RunRow, EngineError> {
    // The run just before the next id: the list is sorted by id.
    let next = RunId((u128::from_be_bytes(run.0).saturating_add(1)).to_be_bytes());
    let filter = Filter { before: Some(next), limit: 1, ..Filter::default() };
    reader.runs(&filter)?.into_iter().find(|row| row.id == run).ok_or(EngineError::NoRun(run))
}

pub(crate) fn load_program(reader: &mut dyn Reader, row: &RunRow) -> Result<Arc<Program>, EngineError> {
    let object = reader.definition(&row.digest)?.ok_or_else(|| StoreError::Corrupt {
        path: Default::default(),
        message: format!("the definition of workflow {:?} is not in the database", row.workflow),
    })?;
    let definition = Definition::read(&object).map_err(EngineError::Problems)?;
    Program::compile(&definition).map(Arc::new).map_err(EngineError::Problems)
}

pub(crate) fn rebuild(reader: &mut dyn Reader, row: &RunRow) -> Result<(Run, Values, Link), EngineError> {
    let program = load_program(reader, row)?;
    let (events, link) = store::events(reader, row.id)?;
    let mut run = Run::new(row.id, program);
    let mut values = Values::default();
    for event in &events {
        run.apply(event).map_err(Refusal::from)?;
        keep(reader, row.id, &mut values, event)?;
    }
    run.out = Default::default();
    Ok((run, values, link))
}

/// Keeps the values that an event carries or names.
pub(crate) fn keep(
    reader: &mut dyn Reader,
    run: RunId,
    values: &mut Values,
    event: &Event,
) -> Result<(), EngineError> {
    if let Some(Value::Blob { hash, .. }) = value_in(&event.what) {
        let bytes = reader.blob(hash)?.ok_or_else(|| StoreError::Corrupt {
            path: Default::default(),
            message: format!("a value of run {run} is not among the blobs"),
        })?;
        values.blob(*hash, bytes.into());
    }
    values.observe(&event.what, event.at);
    Ok(())
}

fn value_in(what: &What) -> Option<&Value> {
    match what {
        What::RunCreated { input: value, .. }
        | What::StepCompleted { value, .. }
        | What::Looped { state: value, .. }
        | What::Expanded { items: value, .. }
        | What::Entered { inputs: value, .. }
        | What::Computed { value, .. }
        | What::SignalReceived { value, .. }
        | What::VariableSet { value, .. } => Some(value),
        _ => None,
    }
}
