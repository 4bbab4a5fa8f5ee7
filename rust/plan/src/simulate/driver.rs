//! One simulation: the loop that lets time pass.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

use ferroflow_define::algebra::compile::Kind;
use ferroflow_engine::decide::FLAGS;
use ferroflow_engine::event::WORKER_DIED;
use ferroflow_engine::ids::Value;
use ferroflow_engine::schedule::{Class, Schedule};
use ferroflow_engine::state::Stop;
use ferroflow_engine::{
    Command, Event, Failure, Micros, Refusal, Run, RunId, RunState, Step, Token, Used, What,
};

use super::answers;
use super::law::{Law, Of, dice};
use super::leasing::Leasing;
use super::machines::{Demand, Machines, capacity, whole};
use super::scenario::{Scenario, held};

/// The code of a failure that the scenario wanted.
pub const SIMULATED: &str = "SIMULATED_FAILURE";

/// What a simulation came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub seed: u64,
    pub state: RunState,
    /// From the start of the run to its end, or to when nothing more could happen.
    pub makespan: Micros,
    /// What busy cores cost.
    pub cost: f64,
    /// For how long cores of each machine were busy, in all.
    pub busy: Vec<Micros>,
    /// Steps that have completed, and attempts in all.
    pub completed: u64,
    pub attempts: u64,
    /// Why nothing more could happen, where the run has not ended.
    pub stuck: Option<String>,
    /// If they are kept: all events, and where and when attempts ran.
    pub events: Vec<Event>,
    pub placed: Vec<Placed>,
    pub run: Option<Box<Run>>,
}

/// An attempt on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub step: Step,
    pub attempt: u16,
    pub machine: u32,
    pub start: Micros,
    pub end: Micros,
}

/// Simulates a scenario that was checked. The same seed gives the same outcome.
pub fn simulate(scenario: &Scenario, seed: u64) -> Outcome {
    Driver::new(scenario, seed).run()
}

/// What happens at an instant, apart from the kernel's own timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// An attempt ends, if the flight in the slot is still its own.
    End {
        token: Token,
        slot: u32,
    },
    /// A machine is lost: for the nth time by chance, or as the scenario says.
    Down {
        machine: u32,
        nth: Option<u32>,
    },
    Up {
        machine: u32,
        nth: Option<u32>,
    },
    /// A signal for a node of the program.
    Signal {
        block: u32,
        node: u32,
    },
}

/// An attempt that runs.
struct Flight {
    token: Token,
    step: Step,
    machine: u32,
    start: Micros,
    queued: Micros,
    fails: bool,
    class: Class,
    demand: Demand,
}

/// A step that was taken from the queue, but for which no single machine has room.
struct Parked {
    step: Step,
    since: Micros,
    class: Class,
    demand: Demand,
}

struct Driver<'s> {
    scenario: &'s Scenario,
    seed: u64,
    now: Micros,
    run: Run,
    schedule: Schedule,
    machines: Machines,
    /// By block and node: what a task's step is in the queue, and what it holds.
    uses: Vec<Vec<Option<(Class, Demand)>>>,
    /// By node of the root block: from which nodes bytes come.
    data: Vec<Vec<(u32, f64)>>,
    /// By step, where data matters: the machine that has its result.
    places: Vec<u32>,
    happenings: BinaryHeap<Reverse<(Micros, Happening)>>,
    flights: Vec<Option<Flight>>,
    vacant: Vec<u32>,
    flying: usize,
    parked: VecDeque<Parked>,
    leasing: Leasing,
    tokens: Token,
    nil: Value,
    events: Vec<Event>,
    placed: Vec<Placed>,
    completed: u64,
}

const NOWHERE: u32 = u32::MAX;

impl<'s> Driver<'s> {
    fn new(scenario: &'s Scenario, seed: u64) -> Self {
        let program = Arc::clone(&scenario.program);
        let machines = Machines::new(&scenario.platform, &program.tasks);
        let mut total: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for (name, amount) in scenario.platform.nodes().iter().flat_map(capacity) {
            let sum = total.entry(name.into()).or_default();
            *sum = sum.saturating_add(amount);
        }
        let mut schedule = Schedule::new(total, 1);
        schedule.set_policy(scenario.policy.clone(), |_| None);
        let mut uses = Vec::with_capacity(program.blocks.len());
        // Most steps ask for what the one before asks for.
        let mut last = None;
        for code in &program.blocks {
            let mut here = Vec::with_capacity(code.nodes.len());
            for node in &code.nodes {
                let Kind::Task(task) = &node.kind else {
                    here.push(None);
                    continue;
                };
                let wanted = &task.options.resources;
                let found = match &last {
                    Some((same, found)) if *same == wanted => Clone::clone(found),
                    _ => {
                        let held = held(wanted);
                        let class = schedule.class(0, &held).ok();
                        class.zip(machines.demand(&held.amounts))
                    }
                };
                here.push(found.clone());
                last = Some((wanted, found));
            }
            uses.push(here);
        }
        let mut data = Vec::new();
        if !scenario.transfers.is_empty() {
            data.resize(program.blocks[0].nodes.len(), Vec::new());
            for &(from, to, bytes) in &scenario.transfers {
                data[to as usize].push((from, bytes));
            }
        }
        Self {
            leasing: Leasing::new(&program),
            now: scenario.start,
            run: Run::new(id(scenario.start, seed), program),
            scenario,
            seed,
            schedule,
            machines,
            uses,
            data,
            places: Vec::new(),
            happenings: BinaryHeap::new(),
            flights: Vec::new(),
            vacant: Vec::new(),
            flying: 0,
            parked: VecDeque::new(),
            tokens: 0,
            nil: answers::nil(),
            events: Vec::new(),
            placed: Vec::new(),
            completed: 0,
        }
    }

    fn run(mut self) -> Outcome {
        self.begin();
        let mut stuck = None;
        while !self.run.state().is_terminal() {
            self.forget();
            let next = self.happenings.peek().map(|Reverse((at, _))| *at);
            match (next, self.run.wake()) {
                _ if self.is_stuck() => {
                    stuck = Some(self.why());
                    break;
                }
                (Some(at), wake) if wake.is_none_or(|wake| at <= wake) => {
                    self.now = at;
                    while let Some(Reverse((at, what))) = self.happenings.peek().copied()
                        && at == self.now
                    {
                        self.happenings.pop();
                        self.happen(what);
                    }
                }
                (_, Some(wake)) => {
                    self.now = self.now.max(wake);
                    self.handle(Command::Tick);
                }
                (_, None) => {
                    stuck = Some(self.why());
                    break;
                }
            }
            self.settle();
        }
        self.outcome(stuck)
    }

    fn begin(&mut self) {
        let Scenario { program, digest, faults, .. } = self.scenario;
        let created = What::RunCreated {
            workflow: program.name.as_str().into(),
            version: program.version.as_str().into(),
            digest: *digest,
            flags: FLAGS,
            seed: self.seed,
            priority: 2,
            timeout: program.timeout,
            correlation: None,
            // An empty object.
            input: Value::Inline([0x80].into()),
            step_timeout: None,
        };
        let made = self.run.create(created, self.now, &mut self.events);
        made.expect("a new run can be created");
        for loss in &faults.losses {
            let machine = loss.machine;
            let start = self.now;
            let mut later = |after: Micros, what| {
                self.happenings.push(Reverse((start.saturating_add(after.max(0)), what)));
            };
            later(loss.at, Happening::Down { machine, nth: None });
            if let Some(until) = loss.until {
                later(until.max(loss.at), Happening::Up { machine, nth: None });
            }
        }
        if let Some((up, _)) = &faults.outages {
            for machine in 0..self.scenario.platform.nodes().len() as u32 {
                self.turn(up, Of::Loss, machine, 0, Happening::Down { machine, nth: Some(0) });
            }
        }
        for (block, code) in (0..).zip(&program.blocks) {
            for (node, it) in (0..).zip(&code.nodes) {
                if let Kind::Signal(_) = it.kind {
                    let after =
                        answers::amount(self.scenario, self.seed, (block, node), u64::from(node), 0.0);
                    let at = self.now.saturating_add(whole(after * 1e6));
                    self.happenings.push(Reverse((at, Happening::Signal { block, node })));
                }
            }
        }
        self.handle(Command::Start { node: "simulation".into() });
        self.settle();
    }

    /// Drops the ends of attempts that have ended otherwise: time need not pass for them.
    fn forget(&mut self) {
        while let Some(Reverse((_, Happening::End { token, slot }))) = self.happenings.peek()
            && self.flights[*slot as usize].as_ref().is_none_or(|flight| flight.token != *token)
        {
            self.happenings.pop();
        }
    }

    /// Plans what comes after a time that a law gives.
    fn turn(&mut self, law: &Law, of: Of, subject: u32, nth: u32, then: Happening) {
        let after = law.sample(&mut dice(self.seed, of, u64::from(subject), nth), 0);
        self.happenings.push(Reverse((self.now.saturating_add(whole(after * 1e6)), then)));
    }

    /// A command that may come too late: then it changes nothing.
    fn handle(&mut self, command: Command) {
        if let Err(Refusal::Illegal(why)) = self.run.handle(command, self.now, &mut self.events) {
            unreachable!("the kernel's own events are legal: {why}");
        }
        if !self.scenario.keep {
            self.events.clear();
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::End { token, slot } => {
                if self.flights[slot as usize].as_ref().is_some_and(|flight| flight.token == token) {
                    self.land(slot, None);
                }
            }
            Happening::Down { machine, nth } => {
                self.machines.set_up(machine, false);
                for slot in 0..self.flights.len() as u32 {
                    if self.flights[slot as usize].as_ref().is_some_and(|flight| flight.machine == machine) {
                        let name = &self.scenario.platform.nodes()[machine as usize].name;
                        let lost = Failure::new(WORKER_DIED, format!("node {name} was lost"));
                        self.land(slot, Some(lost));
                    }
                }
                if let (Some(nth), Some((_, down))) = (nth, &self.scenario.faults.outages) {
                    let back = Happening::Up { machine, nth: Some(nth) };
                    self.turn(down, Of::Delay, machine, nth, back);
                }
            }
            Happening::Up { machine, nth } => {
                self.machines.set_up(machine, true);
                if let (Some(nth), Some((up, _))) = (nth, &self.scenario.faults.outages) {
                    let lost = Happening::Down { machine, nth: Some(nth + 1) };
                    self.turn(up, Of::Loss, machine, nth + 1, lost);
                }
            }
            Happening::Signal { block, node } => {
                let Kind::Signal(name) =
                    &self.scenario.program.blocks[block as usize].nodes[node as usize].kind
                else {
                    return;
                };
                self.handle(Command::Signal { name: name.clone(), value: self.nil.clone() });
            }
        }
    }

    /// An attempt ends: as it was going to, or by a failure from outside.
    fn land(&mut self, slot: u32, lost: Option<Failure>) {
        let Some(flight) = self.vacate(slot) else { return };
        let Flight { token, step, .. } = flight;
        let wall = self.now - flight.start;
        let used = Some(Used { wall, queued: flight.queued, cpu: Some(wall), ..Used::default() });
        let error = lost.or_else(|| {
            flight.fails.then(|| Failure::new(SIMULATED, "the attempt was to fail in this simulation"))
        });
        match error {
            Some(error) => self.handle(Command::Fail { step, token, error, retriable: true, used }),
            None => {
                self.completed += 1;
                if !self.data.is_empty() {
                    if self.places.len() <= step as usize {
                        self.places.resize(self.run.len() as usize, NOWHERE);
                    }
                    self.places[step as usize] = flight.machine;
                }
                let (value, set) = (self.nil.clone(), Vec::new());
                self.handle(Command::Complete { step, token, value, set, used });
            }
        }
    }

    /// Gives back what a flight holds.
    fn vacate(&mut self, slot: u32) -> Option<Flight> {
        let flight = self.flights[slot as usize].take()?;
        self.vacant.push(slot);
        self.flying -= 1;
        self.machines.release(flight.machine, &flight.demand, self.now - flight.start);
        self.schedule.release(0, flight.class);
        self.leasing.give_back(flight.step, self.now);
        if self.scenario.keep {
            self.placed.push(Placed {
                step: flight.step,
                attempt: self.run.attempts_of(flight.step),
                machine: flight.machine,
                start: flight.start,
                end: self.now,
            });
        }
        Some(flight)
    }

    /// Does what follows: answers, ends what was superseded, queues and starts steps.
    fn settle(&mut self) {
        loop {
            for Stop { token, .. } in std::mem::take(&mut self.run.out.stops) {
                let found =
                    self.flights.iter().position(|it| it.as_ref().is_some_and(|it| it.token == token));
                if let Some(slot) = found {
                    self.vacate(slot as u32);
                }
            }
            let asks = std::mem::take(&mut self.run.out.asks);
            if asks.is_empty() {
                break;
            }
            for step in asks {
                let answer = answers::answer(self.scenario, &self.run, self.seed, step);
                self.handle(Command::Answer { step, answer });
            }
        }
        for step in std::mem::take(&mut self.run.out.withdrawn) {
            self.leasing.give_back(step, self.now);
        }
        let mut offers = std::mem::take(&mut self.run.out.offers);
        for step in offers.drain(..) {
            if self.leasing.claim(&self.run, step, self.now) {
                self.offer(step);
            }
        }
        for step in self.leasing.granted() {
            self.offer(step);
        }
        // The list is used again.
        self.run.out.offers = offers;
        self.start();
    }

    fn offer(&mut self, step: Step) {
        let place = self.run.place(step);
        if let Some((class, _)) = self.uses[place.block as usize][place.node as usize] {
            let facts = self.run.facts(step);
            self.schedule.offer(0, step, facts, class, 0, self.now);
        }
    }

    fn start(&mut self) {
        if self.run.state() != RunState::Running {
            return;
        }
        for _ in 0..self.parked.len() {
            let Some(parked) = self.parked.pop_front() else { break };
            if !self.run.startable(parked.step) {
                self.schedule.release(0, parked.class);
                continue;
            }
            if let Some(parked) = self.fly(parked) {
                self.parked.push_back(parked);
            }
        }
        loop {
            let run = &self.run;
            let taken = self.schedule.take(0, u64::MAX, true, |entry| run.startable(entry.step));
            let Some((entry, class)) = taken else { return };
            let place = self.run.place(entry.step);
            let Some((_, demand)) = &self.uses[place.block as usize][place.node as usize] else { continue };
            let parked = Parked { step: entry.step, since: entry.since, class, demand: demand.clone() };
            if let Some(parked) = self.fly(parked) {
                self.parked.push_back(parked);
            }
        }
    }

    /// Starts a step on a machine; hands it back if none has room.
    fn fly(&mut self, parked: Parked) -> Option<Parked> {
        let Parked { step, since, class, demand } = parked;
        let place = self.run.place(step);
        let attempt = u32::from(self.run.attempts_of(step)) + 1;
        let law = &self.scenario.durations[place.block as usize][place.node as usize];
        let subject = u64::from(step);
        let mut seconds = match law {
            Law::Constant(seconds) => *seconds,
            law => law.sample(&mut dice(self.seed, Of::Duration, subject, attempt), place.copy),
        };
        let faults = &self.scenario.faults;
        let (likely, times) = faults.straggler;
        if likely > 0.0 && dice(self.seed, Of::Straggler, subject, attempt).unit() < likely {
            seconds *= times;
        }
        let task = self.run.task(step).map_or(0, |task| task.task);
        let sources = if place.block == 0 { self.data.get(place.node as usize) } else { None };
        let chosen = match sources.filter(|sources| !sources.is_empty()) {
            None => self.machines.choose(task, &demand, seconds * 1e6, None),
            Some(sources) => {
                let platform = &self.scenario.platform;
                let mut rng = dice(self.seed, Of::Delay, subject, attempt);
                let delay = self.scenario.faults.delay.sample(&mut rng, place.copy);
                // What several steps send comes at the same time over different links.
                let fetch = |machine: u32| {
                    let times = sources.iter().map(|&(from, bytes)| {
                        let at = self.places.get(from as usize).copied().unwrap_or(NOWHERE);
                        let near = at == machine || at == NOWHERE;
                        if near { 0.0 } else { delay + platform.transfer(at, machine, bytes) }
                    });
                    times.fold(0.0, f64::max) * 1e6
                };
                self.machines.choose(task, &demand, seconds * 1e6, Some(&fetch))
            }
        };
        let Some((machine, mut lasts)) = chosen else { return Some(Parked { step, since, class, demand }) };
        let mut fails = false;
        if faults.failure > 0.0 {
            let mut rng = dice(self.seed, Of::Failure, subject, attempt);
            fails = rng.unit() < faults.failure;
            if fails {
                lasts = whole(lasts as f64 * rng.unit());
            }
        }
        self.tokens += 1;
        let token = self.tokens;
        self.handle(Command::Lease { step, token });
        self.machines.seize(machine, &demand);
        let start = self.now;
        let flight = Flight { token, step, machine, start, queued: start - since, fails, class, demand };
        let slot = match self.vacant.pop() {
            Some(slot) => {
                self.flights[slot as usize] = Some(flight);
                slot
            }
            None => {
                self.flights.push(Some(flight));
                self.flights.len() as u32 - 1
            }
        };
        self.flying += 1;
        let end = self.now.saturating_add(lasts);
        self.happenings.push(Reverse((end, Happening::End { token, slot })));
        None
    }

    /// Nothing is under way, and machines that come and go change nothing.
    fn is_stuck(&self) -> bool {
        self.flying == 0
            && self.parked.is_empty()
            && self.run.wake().is_none()
            && !self.happenings.iter().any(|Reverse((_, what))| matches!(what, Happening::Signal { .. }))
    }

    fn why(&self) -> String {
        if let Some(parked) = self.parked.front() {
            let path = self.run.path(parked.step);
            return format!("step {path} has no node left that has what it needs");
        }
        "steps wait for signals that do not come".to_owned()
    }

    fn outcome(self, stuck: Option<String>) -> Outcome {
        let started = self.run.head().started.unwrap_or(self.scenario.start);
        let keep = self.scenario.keep;
        Outcome {
            seed: self.seed,
            state: self.run.state(),
            makespan: self.now - started,
            cost: self.machines.cost,
            busy: self.machines.busy,
            completed: self.completed,
            attempts: self.tokens,
            stuck,
            events: self.events,
            placed: self.placed,
            run: keep.then(|| Box::new(self.run)),
        }
    }
}

/// A UUIDv7 that says no more than the start and the seed.
fn id(start: Micros, seed: u64) -> RunId {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&(start / 1000).to_be_bytes()[2..]);
    id[6] = 0x70;
    // The variant takes two bits; what they were stands before.
    id[7] = (seed >> 62) as u8;
    id[8..].copy_from_slice(&(seed & (u64::MAX >> 2) | 1 << 63).to_be_bytes());
    RunId(id)
}
