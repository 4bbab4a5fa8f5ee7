//! What is simulated: a workflow, how long its steps take, what it meets, and where it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferroflow_define::Resources;
use ferroflow_define::algebra::compile::{Kind, Program};
use ferroflow_engine::Micros;
use ferroflow_engine::schedule::Policy;

use super::law::{BadLaw, Law};
use super::machines::{capacity, whole};
use crate::platform::Platform;

/// One simulation but for its seed.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub program: Arc<Program>,
    /// Of the definition, for the journal.
    pub digest: [u8; 32],
    /// When the run is created.
    pub start: Micros,
    pub platform: Platform,
    /// Seconds that each node of each block takes on a machine of speed 1.
    pub durations: Vec<Vec<Law>>,
    /// What a node's driver answers where a real one would look at values.
    pub answers: Vec<Vec<Answers>>,
    /// Bytes that go from one node of the root block to another: (from, to, bytes).
    pub transfers: Vec<(u32, u32, f64)>,
    pub faults: Faults,
    /// How ready steps are ranked; by what is expected of them, which `rank_by` takes from the durations.
    pub policy: Policy,
    /// Keep events and placements.
    pub keep: bool,
}

/// How open questions are answered.
#[derive(Clone, Debug, Default)]
pub enum Answers {
    /// Each branch is as likely; a loop goes round once; an `each` has one item; nothing sleeps.
    #[default]
    Plain,
    /// How likely each branch is, the else branch last.
    Branches(Arc<[f64]>),
    /// How often a loop goes round, how many items an `each` has (rounded), how long a sleep takes or
    /// how long after the start a signal comes (seconds).
    Amount(Law),
}

/// What goes wrong: nothing, unless said.
#[derive(Clone, Debug)]
pub struct Faults {
    /// How likely an attempt is to fail, at a moment of its own.
    pub failure: f64,
    /// How likely an attempt is to be slow, and how many times as long it then takes.
    pub straggler: (f64, f64),
    /// Machines that are lost, with all that runs on them.
    pub losses: Vec<Loss>,
    /// Seconds that a machine stays up and stays down; it is lost again and again.
    pub outages: Option<(Law, Law)>,
    /// Seconds that what goes from one machine to another is late.
    pub delay: Law,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            failure: 0.0,
            straggler: (0.0, 1.0),
            losses: Vec::new(),
            outages: None,
            delay: Law::Constant(0.0),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    pub machine: u32,
    /// After the start.
    pub at: Micros,
    /// When it is back; `None`: never.
    pub until: Option<Micros>,
}

/// Why a scenario can't be simulated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadScenario {
    #[error("{place}: {error}")]
    Law { place: String, error: BadLaw },
    #[error("{node:?} is a {kind}: {why}")]
    Answer { node: String, kind: &'static str, why: &'static str },
    #[error(
        "{node:?} has {branches} branches, and {weights} weights: give one for each, one of them above 0"
    )]
    Branches { node: String, branches: usize, weights: usize },
    #[error("no node has what step {step:?} needs: {needs}; ask for less, or add a node that has it")]
    Misfit { step: String, needs: String },
    #[error("a share of {what} is {value}: it has to be from 0 to 1")]
    Share { what: &'static str, value: f64 },
    #[error("stragglers take {0} times as long: it has to be a finite number, 1 or more")]
    Slowness(f64),
    #[error("there is no node number {machine}: there are {machines}")]
    NoMachine { machine: u32, machines: usize },
    #[error("{bytes} bytes can't go from step {from} to step {to}: {why}")]
    Transfer { from: u32, to: u32, bytes: f64, why: &'static str },
}

/// Thousandths of a core that a step has which asks for none: one thread works on it.
const ONE_CORE: u64 = 1000;

/// What a step of the kernel's `resources` holds on a machine.
pub(super) fn held(resources: &Resources) -> Resources {
    let mut held = resources.clone();
    held.amounts.entry("cpu".to_owned()).or_insert(ONE_CORE);
    held
}

impl Scenario {
    /// A plain one: each step takes a second on a machine of speed 1.
    pub fn new(program: Arc<Program>, platform: Platform) -> Self {
        let columns = |program: &Program| program.blocks.iter().map(|it| it.nodes.len()).collect::<Vec<_>>();
        let sizes = columns(&program);
        Self {
            program,
            digest: [0; 32],
            start: 0,
            platform,
            durations: sizes.iter().map(|&nodes| vec![Law::Constant(1.0); nodes]).collect(),
            answers: sizes.iter().map(|&nodes| vec![Answers::Plain; nodes]).collect(),
            transfers: Vec::new(),
            faults: Faults::default(),
            policy: Policy::Fifo,
            keep: true,
        }
    }

    /// Ranks ready steps by a policy that knows how long they take in the mean.
    pub fn rank_by(&mut self, policy: Policy) {
        let mean = |block: u32, node: u32| whole(self.durations[block as usize][node as usize].mean() * 1e6);
        self.program = Arc::new(self.program.expecting(mean));
        self.policy = policy;
    }

    /// Refuses what can't be simulated, with the place.
    pub fn check(&self) -> Result<(), BadScenario> {
        self.check_laws()?;
        self.check_faults()?;
        self.check_fits()
    }

    fn check_laws(&self) -> Result<(), BadScenario> {
        let law = |law: &Law, place: &dyn Fn() -> String| {
            law.check().map_err(|error| BadScenario::Law { place: place(), error })
        };
        law(&self.faults.delay, &|| "the delay".to_owned())?;
        for (block, laws) in self.program.blocks.iter().zip(&self.durations) {
            for (node, duration) in block.nodes.iter().zip(laws) {
                law(duration, &|| format!("the duration of step {:?}", &*node.id))?;
            }
        }
        for (block, answers) in self.program.blocks.iter().zip(&self.answers) {
            for (node, answer) in block.nodes.iter().zip(answers) {
                let misfit =
                    |why| BadScenario::Answer { node: node.id.to_string(), kind: node.kind.name(), why };
                match (answer, &node.kind) {
                    (Answers::Plain, _) => {}
                    (
                        Answers::Amount(amount),
                        Kind::Loop { .. } | Kind::Each { .. } | Kind::Sleep(_) | Kind::Signal(_),
                    ) => law(amount, &|| format!("what {:?} comes to", &*node.id))?,
                    (Answers::Amount(_), _) => {
                        return Err(misfit(
                            "only what repeats, sleeps or waits for a signal takes an amount",
                        ));
                    }
                    (Answers::Branches(weights), Kind::Choice { branches, otherwise }) => {
                        let likely = Law::Observed(weights.clone());
                        law(&likely, &|| format!("the branches of {:?}", &*node.id))?;
                        let branches = branches.len() + usize::from(otherwise.is_some());
                        // Without an else branch, the weight of none of them may come last.
                        let fits =
                            weights.len() == branches || otherwise.is_none() && weights.len() == branches + 1;
                        if !fits || weights.iter().sum::<f64>() <= 0.0 {
                            let node = node.id.to_string();
                            return Err(BadScenario::Branches { node, branches, weights: weights.len() });
                        }
                    }
                    (Answers::Branches(_), _) => return Err(misfit("only a choice has branches")),
                }
            }
        }
        if let Some((up, down)) = &self.faults.outages {
            law(up, &|| "the time that nodes are up".to_owned())?;
            law(down, &|| "the time that nodes are down".to_owned())?;
        }
        let nodes = self.program.blocks[0].nodes.len() as u32;
        for &(from, to, bytes) in &self.transfers {
            let why = match (from.max(to) < nodes, bytes.is_finite() && bytes >= 0.0) {
                (true, true) => continue,
                (false, _) => "there is no such step",
                (_, false) => "the size has to be a finite number, 0 or more",
            };
            return Err(BadScenario::Transfer { from, to, bytes, why });
        }
        Ok(())
    }

    fn check_faults(&self) -> Result<(), BadScenario> {
        let (likely, times) = self.faults.straggler;
        for (what, value) in [("failing attempts", self.faults.failure), ("stragglers", likely)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(BadScenario::Share { what, value });
            }
        }
        if !times.is_finite() || times < 1.0 {
            return Err(BadScenario::Slowness(times));
        }
        let machines = self.platform.nodes().len();
        match self.faults.losses.iter().find(|it| it.machine as usize >= machines) {
            Some(loss) => Err(BadScenario::NoMachine { machine: loss.machine, machines }),
            None => Ok(()),
        }
    }

    fn check_fits(&self) -> Result<(), BadScenario> {
        let capacities: Vec<_> = self.platform.nodes().iter().map(capacity).collect();
        let mut fitting: Option<Resources> = None;
        for node in self.program.blocks.iter().flat_map(|block| &block.nodes) {
            let Kind::Task(task) = &node.kind else { continue };
            if fitting.as_ref() == Some(&task.options.resources) {
                continue;
            }
            let needs = held(&task.options.resources).amounts;
            let has = |it: &BTreeMap<&str, u64>| {
                needs.iter().all(|(name, amount)| it.get(&**name).copied().unwrap_or(0) >= *amount)
            };
            if !capacities.iter().any(has) {
                let needs: Vec<String> =
                    needs.iter().map(|(name, amount)| format!("{name} {amount}")).collect();
                return Err(BadScenario::Misfit { step: node.id.to_string(), needs: needs.join(", ") });
            }
            fitting = Some(task.options.resources.clone());
        }
        Ok(())
    }
}
