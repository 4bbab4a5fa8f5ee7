//! What the lock guards: all runs, the ready queue, and the batch that is being gathered.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ferroflow_define::Problem;
use ferroflow_define::algebra::compile::Kind;
use ferroflow_engine::decide::Answer;
use ferroflow_engine::ids::Value;
use ferroflow_engine::lease::{Claims, LeaseId, Table};
use ferroflow_engine::schedule::{Class, Hindrance, Policy, Schedule};
use ferroflow_engine::{Command, Event, Failure, Micros, Refusal, Run, RunId, RunState, Step};
use ferroflow_journal::codec::Link;
use ferroflow_journal::store::INLINE;
use ferroflow_journal::{Bytes, Registered};
use rustc_hash::FxHashSet;

use crate::admission::Admission;
use crate::batch::Update;
use crate::evaluate::{Found, evaluate};
use crate::lanes::{LANES, LOOP, Lanes};
use crate::leasing::{Later, Leasing};
use crate::locks::Call;
use crate::ranking::{Ranking, Unranked};
use crate::types::{Durability, Ended, Settings, Stats, Ticket};
use crate::values::Values;

/// For how long what one run asks is answered in one turn of the lock; then the others have theirs.
const TURN: Duration = Duration::from_millis(5);

pub(crate) struct Live {
    pub run: Run,
    pub values: Values,
    /// What steps demand that are tasks', by block and node.
    pub uses: Vec<Vec<Option<Class>>>,
    /// Events that are not in a batch yet, and the number of the first.
    pub events: Vec<Event>,
    pub dirty: bool,
    /// The row in the list of runs is out of date.
    pub stale_row: bool,
    /// The state as of the last commit.
    pub told: RunState,
    pub workflow: Arc<str>,
    pub wake: Option<Micros>,
    /// The link to continue from, until the committer knows it, and once the run has ended.
    pub link: Option<Link>,
    /// Bodies of it that run. It is kept until they have ended, as what they used is recorded.
    pub bodies: u32,
    pub leasing: Leasing,
}

impl Live {
    pub(crate) fn append(&mut self, events: Vec<Event>) {
        self.events.extend(events);
    }

    /// What a step demands, if it is a task's.
    pub(crate) fn class(&self, step: Step) -> Option<Class> {
        let place = self.run.place(step);
        self.uses[place.block as usize][place.node as usize]
    }
}

pub(crate) struct Core {
    pub settings: Settings,
    pub runs: Vec<Option<Box<Live>>>,
    pub by_id: HashMap<RunId, u32>,
    pub schedule: Schedule,
    /// Leases of assets; what waits for one until all runs are taken up; and bodies that ask for locks.
    pub leases: Table,
    pub taking_up: bool,
    pub later: Vec<Later>,
    pub calls: HashMap<LeaseId, Call>,
    /// Some of them have their answers.
    pub answered: bool,
    pub tokens: Range<u64>,
    /// The batch being gathered has this number.
    pub batch: u64,
    pub durable: u64,
    pub dirty: Vec<u32>,
    pub definitions: Vec<([u8; 32], Vec<u8>)>,
    pub known: FxHashSet<[u8; 32]>,
    /// Workflows that can be started by name, and those of them that no commit holds yet.
    pub registry: BTreeMap<(String, String), Registered>,
    pub registered: Vec<Registered>,
    pub blobs: Vec<([u8; 32], Bytes)>,
    pub taken: Vec<i64>,
    pub timers: BTreeSet<(Micros, u32)>,
    pub done: HashMap<RunId, Ended>,
    /// Runs that the kernel could not carry on with, and why.
    pub broken: HashMap<RunId, String>,
    pub order: VecDeque<RunId>,
    /// Bytes of the results in `done`.
    pub remembered: usize,
    pub lanes: Lanes,
    /// Which runs wait to be started, and which steps for their ranks.
    pub admission: Admission,
    pub ranking: Ranking,
    /// The lane and the number of the worker that hands something in.
    pub here: Option<(u8, u32)>,
    /// Grows when there may be work for a worker that found none.
    pub news: u64,
    /// Callers that wait for the end of a run.
    pub waiters: usize,
    /// Workers that stood in for others which waited in their bodies, and may go.
    pub surplus: usize,
    /// The writing thread waits to be told that something has gathered.
    pub writer_idle: bool,
    /// What the timer thread waits for.
    pub timer_set: Option<Micros>,
    /// No more steps are started.
    pub stopping: bool,
    /// The workers are gone: nothing more will happen.
    pub closing: bool,
    pub failed: Option<String>,
    pub listeners: Vec<Sender<Update>>,
    /// These hear only of runs that have ended.
    pub end_listeners: Vec<Sender<RunId>>,
    /// The engine waits for its bodies no longer: those that give up now run again later.
    pub abandoned: bool,
    /// How many runs have come into each state.
    pub reached: [u64; RunState::ALL.len()],
    pub refused: u64,
    /// Leases of superseded attempts whose bodies did not end in time.
    pub reclaimed: u64,
}

/// How many workers of each lane to wake, and whether the timer thread.
pub(crate) struct Calls {
    pub workers: [usize; LANES],
    pub timer: bool,
    /// Whether a policy of the user's has something to rank.
    pub rank: bool,
    /// Whether bodies that wait for locks have got them, or never will.
    pub locks: bool,
}

/// Tokens of leases grow with the blocks of those of attempts: for each of these there are so many, in bits.
const LEASES: u32 = 24;

pub(crate) fn now() -> Micros {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as Micros)
}

impl Core {
    pub(crate) fn new(settings: Settings, tokens: Range<u64>) -> Self {
        let mut lanes = Lanes::default();
        lanes.limit(LOOP, settings.async_limit);
        let mut schedule = Schedule::new(settings.capacity.clone(), LANES);
        schedule.set_policy(settings.policy.clone(), |_| None);
        schedule.set_window(settings.window);
        Self {
            schedule,
            lanes,
            admission: Admission::default(),
            ranking: Ranking::default(),
            here: None,
            leases: Table::new(tokens.start.max(1) << LEASES),
            taking_up: false,
            later: Vec::new(),
            calls: HashMap::new(),
            answered: false,
            settings,
            runs: Vec::new(),
            by_id: HashMap::new(),
            tokens,
            batch: 1,
            durable: 0,
            dirty: Vec::new(),
            definitions: Vec::new(),
            known: FxHashSet::default(),
            registry: BTreeMap::new(),
            registered: Vec::new(),
            blobs: Vec::new(),
            taken: Vec::new(),
            timers: BTreeSet::new(),
            done: HashMap::new(),
            broken: HashMap::new(),
            order: VecDeque::new(),
            remembered: 0,
            news: 0,
            waiters: 0,
            surplus: 0,
            writer_idle: false,
            timer_set: None,
            stopping: false,
            closing: false,
            failed: None,
            listeners: Vec::new(),
            end_listeners: Vec::new(),
            abandoned: false,
            reached: [0; RunState::ALL.len()],
            refused: 0,
            reclaimed: 0,
        }
    }

    /// Takes a run in. `lanes` says for each task of the program which workers run it.
    pub(crate) fn admit(
        &mut self,
        run: Run,
        values: Values,
        lanes: &[u8],
        link: Option<Link>,
    ) -> Result<u32, Vec<Problem>> {
        let program = run.program.clone();
        let mut problems = Vec::new();
        let mut uses = Vec::with_capacity(program.blocks.len());
        for code in &program.blocks {
            let mut here = vec![None; code.nodes.len()];
            for (number, node) in code.nodes.iter().enumerate() {
                let Kind::Task(task) = &node.kind else { continue };
                let lane = lanes.get(task.task as usize).copied().unwrap_or(0);
                match self.schedule.class(lane, &task.options.resources) {
                    Ok(class) => here[number] = Some(class),
                    Err(error) => problems.push(Problem::new(
                        "unsatisfiable",
                        &*node.id,
                        format!("step {:?} {error}", &*node.id),
                        "ask for less, or give the engine more with `capacity`",
                    )),
                }
            }
            uses.push(here);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let index = self.runs.len() as u32;
        let leasing = Leasing { claims: Claims::new(&program, &mut self.leases), ..Leasing::default() };
        self.by_id.insert(run.id, index);
        self.reached[RunState::Created as usize] += u64::from(run.sequence() == 0);
        self.runs.push(Some(Box::new(Live {
            told: run.state(),
            workflow: program.name.as_str().into(),
            run,
            values,
            uses,
            events: Vec::new(),
            dirty: false,
            stale_row: true,
            wake: None,
            link,
            bodies: 0,
            leasing,
        })));
        Ok(index)
    }

    pub(crate) fn define(&mut self, digest: [u8; 32], object: &[u8]) {
        if self.known.insert(digest) {
            self.definitions.push((digest, object.to_vec()));
        }
    }

    /// Makes a workflow one that can be started by name.
    pub(crate) fn register(&mut self, workflow: Registered, object: &[u8]) {
        self.define(workflow.digest, object);
        self.registry.insert((workflow.name.clone(), workflow.version.clone()), workflow.clone());
        self.registered.push(workflow);
    }

    /// A definition that no commit holds yet.
    pub(crate) fn pending(&self, digest: &[u8; 32]) -> Option<Vec<u8>> {
        self.definitions.iter().find(|(it, _)| it == digest).map(|(_, object)| object.clone())
    }

    pub(crate) fn stats(&self) -> Stats {
        let names = RunState::ALL.iter().map(|state| state.name());
        Stats {
            runs: names.zip(self.reached).collect(),
            active: self.by_id.len() as u64,
            ready: (0..LANES).map(|lane| self.schedule.waiting(lane as u8) as u64).sum::<u64>()
                + self.unranked() as u64,
            running: self.lanes.running() as u64,
            commits: self.durable,
            refused: self.refused,
            reclaimed: self.reclaimed,
            policy: self.schedule.policy().name(),
            unranked: self.ranking.missed,
        }
    }

    /// A value as events carry it: long ones become blobs.
    pub(crate) fn value(&mut self, index: u32, bytes: Bytes) -> Value {
        if bytes.len() <= INLINE {
            return Value::Inline(bytes.to_arc());
        }
        let hash = self.settings.durability.name(&bytes);
        let len = bytes.len() as u64;
        if let Some(Some(live)) = self.runs.get_mut(index as usize) {
            live.values.blob(hash, bytes.clone());
        }
        self.blobs.push((hash, bytes));
        Value::Blob { hash, len }
    }

    pub(crate) fn handle(&mut self, index: u32, command: Command) -> Result<(), Refusal> {
        self.handle_at(index, command, now())
    }

    pub(crate) fn handle_at(&mut self, index: u32, command: Command, at: Micros) -> Result<(), Refusal> {
        self.change_at(index, at, |live| live.run.handle(command, at, &mut live.events))
    }

    /// Lets something happen to a run and does what follows.
    pub(crate) fn change(
        &mut self,
        index: u32,
        action: impl FnOnce(&mut Live, Micros) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let at = now();
        self.change_at(index, at, |live| action(live, at))
    }

    fn change_at(
        &mut self,
        index: u32,
        at: Micros,
        action: impl FnOnce(&mut Live) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let Some(Some(live)) = self.runs.get_mut(index as usize) else { return Ok(()) };
        let (seen, state) = (live.events.len(), live.run.state());
        let outcome = action(live);
        if let Err(Refusal::Illegal(why)) = &outcome {
            self.let_go(index, why.to_string());
        }
        self.follow(index, seen, state, at);
        self.start_waiting();
        outcome
    }

    /// Lets the queue know a run by its terms, before steps of it are offered.
    pub(crate) fn enlist(&mut self, index: u32) {
        if let Some(Some(live)) = self.runs.get(index as usize) {
            self.schedule.enter(index, live.workflow.clone(), live.run.head().terms.clone());
        }
    }

    /// Gives up a run whose state can't be trusted any more: nothing else of it is recorded.
    fn let_go(&mut self, index: u32, why: String) {
        let Some(mut live) = self.runs.get_mut(index as usize).and_then(Option::take) else { return };
        self.forget_leases(std::mem::take(&mut live.leasing));
        if let Some(at) = live.wake {
            self.timers.remove(&(at, index));
        }
        self.by_id.remove(&live.run.id);
        self.schedule.leave(index);
        self.admission.count(live.run.state(), RunState::Failed);
        self.broken.insert(live.run.id, why);
        self.news += 1;
    }

    /// After events of an instant: keeps their values, answers what steps ask, offers what became ready.
    fn follow(&mut self, index: u32, mut seen: usize, before: RunState, at: Micros) {
        let mut begun = None;
        loop {
            let Some(Some(live)) = self.runs.get_mut(index as usize) else { return };
            for event in &live.events[seen..] {
                live.values.observe(&event.what, event.at);
            }
            seen = live.events.len();
            let late = begun.is_some_and(|begun: Instant| begun.elapsed() > TURN);
            if live.run.out.asks.is_empty() || late {
                break;
            }
            let begun = begun.get_or_insert_with(Instant::now);
            let mut asks = std::mem::take(&mut live.run.out.asks).into_iter();
            for step in asks.by_ref() {
                self.answer(index, step, &mut seen);
                if begun.elapsed() > TURN {
                    break;
                }
            }
            if let Some(Some(live)) = self.runs.get_mut(index as usize) {
                live.run.out.asks.splice(0..0, asks);
            }
        }
        let gate = if self.settings.durability == Durability::Strict { self.batch } else { 0 };
        let Some(Some(live)) = self.runs.get_mut(index as usize) else { return };
        live.values.forget_blobs();
        let state = live.run.state();
        if state != before {
            live.stale_row = true;
            self.reached[state as usize] += 1;
            self.admission.count(before, state);
            if before == RunState::Created {
                self.admission.queue.remove(&(live.run.head().priority, index));
            }
            // What was kept for its steps is there for others.
            self.news += 1;
        }
        let out = &mut live.run.out;
        let (stops, offers) = (std::mem::take(&mut out.stops), std::mem::take(&mut out.offers));
        let (withdrawn, unlocked) = (std::mem::take(&mut out.withdrawn), std::mem::take(&mut out.unlocked));
        stops.into_iter().for_each(|stop| self.superseded(stop));
        self.withdrawn(index, withdrawn);
        self.unlocked(index, unlocked);
        if state != before && state != RunState::Running {
            self.let_leases_go(index);
        }
        // To answer may have taken a while.
        let since = if begun.is_some() { now() } else { at };
        for step in offers {
            if !self.lanes.hold(index, step) && self.claim(index, step, gate, since) {
                self.offer(index, step, gate, since);
            }
        }
        self.settle_leases();
        let Some(Some(live)) = self.runs.get_mut(index as usize) else { return };
        // What is left to answer goes on in the timer thread, turn by turn: at another instant than now.
        let left = live.run.state() == RunState::Running && !live.run.out.asks.is_empty();
        let wake = if left { live.wake.map(|at| at + 1).max(Some(now())) } else { live.run.wake() };
        if wake != live.wake {
            if let Some(at) = live.wake {
                self.timers.remove(&(at, index));
            }
            if let Some(at) = wake {
                self.timers.insert((at, index));
            }
            live.wake = wake;
        }
        if !live.events.is_empty() && !live.dirty {
            live.dirty = true;
            self.dirty.push(index);
        }
    }

    /// Lets a ready step, which has what it accesses, into the queue.
    pub(crate) fn offer(&mut self, index: u32, step: Step, gate: u64, since: Micros) {
        let Some(Some(live)) = self.runs.get_mut(index as usize) else { return };
        let Some(class) = live.class(step) else { return };
        self.news += 1;
        match self.schedule.policy() {
            Policy::Given => self.ranking.add(Unranked { run: index, step, class, gate, since }),
            policy => {
                let local = matches!(policy, Policy::DataLocality { .. });
                let mut facts = live.run.facts(step);
                if local {
                    // Who has just made what it needs has that at hand.
                    let lane = self.schedule.lane(class);
                    facts.home = self.here.filter(|here| here.0 == lane).map(|here| here.1);
                }
                self.schedule.offer(index, step, facts, class, gate, since);
            }
        }
    }

    /// Evaluates what a step asks for, keeping up with the events so far.
    fn answer(&mut self, index: u32, step: Step, seen: &mut usize) {
        let Some(Some(live)) = self.runs.get_mut(index as usize) else { return };
        for event in &live.events[*seen..] {
            live.values.observe(&event.what, event.at);
        }
        *seen = live.events.len();
        if !live.run.asking().any(|other| other == step) || live.run.state() != RunState::Running {
            return;
        }
        let found = evaluate(&live.run, &live.values, step);
        let answer = match found {
            Err(message) => Answer::Failed(Failure::new("EXPRESSION_FAILED", message)),
            Ok(Found::Chosen(branch)) => Answer::Chosen(branch),
            Ok(Found::Slept(micros)) => Answer::Slept(micros),
            Ok(Found::Looped(again, state)) => Answer::Looped { again, state: self.value(index, state) },
            Ok(Found::Expanded(count, items)) => Answer::Expanded { count, items: self.value(index, items) },
            Ok(Found::Entered(inputs)) => Answer::Entered(self.value(index, inputs)),
            Ok(Found::Computed(value)) => Answer::Computed(self.value(index, value)),
        };
        if let Some(Some(live)) = self.runs.get_mut(index as usize) {
            let answered = live.run.handle(Command::Answer { step, answer }, now(), &mut live.events);
            // Any other refusal means that the question is settled by now.
            if let Err(Refusal::Illegal(why)) = answered {
                self.let_go(index, why.to_string());
            }
        }
    }

    /// An object of what surrounds the step of an attempt: its `path`, the `deadline` of the attempt,
    /// the `inputs` of its workflow, the `variables` of the run, and the results `upstream`, of the
    /// steps it directly depends on, by id. `None` if the run has ended.
    pub(crate) fn surroundings(&self, ticket: &Ticket) -> Option<Vec<u8>> {
        const SURE: &str = "memory takes what is written";
        let live = self.runs.get(ticket.run as usize)?.as_ref()?;
        if live.run.state().is_terminal() {
            return None;
        }
        let (run, values) = (&live.run, &live.values);
        let mut out = Vec::new();
        rmp::encode::write_map_len(&mut out, 5).expect(SURE);
        rmp::encode::write_str(&mut out, "path").expect(SURE);
        rmp::encode::write_str(&mut out, &run.path(ticket.step)).expect(SURE);
        rmp::encode::write_str(&mut out, "deadline").expect(SURE);
        match run.attempt(ticket.step).and_then(|attempt| attempt.deadline) {
            Some(deadline) => drop(rmp::encode::write_sint(&mut out, deadline).expect(SURE)),
            None => rmp::encode::write_nil(&mut out).expect(SURE),
        }
        rmp::encode::write_str(&mut out, "inputs").expect(SURE);
        out.extend_from_slice(values.inputs_at(run, ticket.step));
        rmp::encode::write_str(&mut out, "variables").expect(SURE);
        out.extend(values.variables());
        rmp::encode::write_str(&mut out, "upstream").expect(SURE);
        let upstream = run.upstream(ticket.step);
        rmp::encode::write_map_len(&mut out, upstream.len() as u32).expect(SURE);
        for step in upstream {
            rmp::encode::write_str(&mut out, &run.node(step).id).expect(SURE);
            match values.of_step(run, step) {
                Ok(bytes) => out.extend_from_slice(&bytes),
                Err(_) => rmp::encode::write_nil(&mut out).expect(SURE),
            }
        }
        Some(out)
    }

    /// What a ready step waits for, in words.
    pub(crate) fn hindrance(&mut self, index: u32, step: Step) -> String {
        if self.lanes.is_held(index, step) {
            return "the process of the attempt before is still being ended".to_owned();
        }
        if self.is_unranked(index, step) {
            return "the policy has not ranked it yet".to_owned();
        }
        if self.schedule.gathers(index, step) {
            return "it gathers with others, until their window ends".to_owned();
        }
        let Some(Some(live)) = self.runs.get(index as usize) else { return String::new() };
        let Some(class) = live.class(step) else { return String::new() };
        match self.schedule.hindrance(index, class) {
            Some(Hindrance::Lacks(name)) => format!("not enough {name} is free"),
            Some(Hindrance::Limit(limit)) => {
                format!("its run may have {limit} steps running, and has them")
            }
            Some(Hindrance::Kept(name)) => {
                format!("the {name} that is free is kept for a step that has waited for long")
            }
            None => format!("its turn has not come, under the policy {}", self.schedule.policy().name()),
        }
    }

    /// Whether somebody waits for runs to end, or hears of it.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiters > 0 || !self.end_listeners.is_empty()
    }

    /// Lets everything happen that is due by now; says when the next thing is.
    pub(crate) fn tick(&mut self) -> Option<Micros> {
        let due = now();
        self.settle_leases();
        self.start_waiting();
        let ranks = self.rank_late(due);
        // Runs that were left for the next turn.
        let more = self.admission.more.then_some(due);
        self.news += u64::from(self.schedule.tick(due));
        loop {
            let next = self.timers.first().copied();
            let Some((at, index)) = next.filter(|&(at, _)| at <= due) else {
                return next
                    .map(|(at, _)| at)
                    .into_iter()
                    .chain(ranks)
                    .chain(more)
                    .chain(self.schedule.due())
                    .chain(self.leases.due())
                    .min();
            };
            let before = self.timers.len();
            // A tick of a live run can't be refused.
            let _ = self.handle(index, Command::Tick);
            // A paused run has timers that must not fire now.
            if self.timers.len() == before && self.timers.first() == Some(&(at, index)) {
                self.timers.remove(&(at, index));
                if let Some(Some(live)) = self.runs.get_mut(index as usize) {
                    live.wake = None;
                }
            }
        }
    }
}
