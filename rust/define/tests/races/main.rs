//! The borrow check against an oracle that goes through all executions of small definitions.
//!
//! `RACES_TERMS` says of how many definitions, `RACES_SEED` of which one first.

mod count;
mod generate;
mod names;
mod oracle;
mod shape;
mod shrink;
mod unfold;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use ferroflow_define::Definition;
use ferroflow_define::access::check::{Access, Found, IMPLIED, Meeting, check};
use ferroflow_define::access::name;
use ferroflow_define::algebra::compile::{Fault, Kind, Program, YIELDS};

use proptest::prelude::*;

use count::{Counts, THINGS};
use unfold::{COMPUTED, Place, Unfolded, Which, YIELDED, unfold};

/// More than there are.
const MOST: usize = 1 << 20;

/// So many differences are shown of each thread.
const SHOWN: usize = 5;

type Pairs = BTreeSet<(Place, Place)>;

/// What the definitions are to come to.
const SEEN: [&str; 7] = [
    "a race",
    "a race of iterations",
    "a race of branches",
    "no race",
    "a use of what was moved",
    "serialised",
    "relaxed",
];

/// What there was to compare.
#[derive(Default)]
struct Seen {
    raced: bool,
    iterations: bool,
    branches: bool,
    moved: bool,
    serialised: bool,
    relaxed: bool,
}

/// Compares the check with the oracle; the error says where they differ. `None` if there are too many executions.
fn compare(definition: &Definition) -> Result<Option<Seen>, String> {
    let program = match Program::compile(definition) {
        Ok(program) => program,
        Err(problems) => return Err(format!("it is refused: {problems:?}")),
    };
    // What a step comes to that has one thing in two ways is not said.
    if program.accesses.faults.iter().any(|it| matches!(it, Fault::Twice { .. })) {
        return Ok(None);
    }
    let Some(unfolded) = unfold(definition) else { return Ok(None) };
    let found = check(&program, MOST, 1);
    let compared = Compared { program: &program, steps: steps(&program) };
    let races = unfolded.races();
    compared.races(&found, &races)?;
    let moved = compared.moves(&found, &races, &unfolded.moved())?;
    let meets = |of: fn(&Meeting) -> bool| found.races.iter().any(|race| of(&race.meeting));
    let mut seen = Seen {
        raced: !races.is_empty(),
        iterations: meets(|it| matches!(it, Meeting::Iterations(..))),
        branches: meets(|it| matches!(it, Meeting::Branches(..))),
        moved,
        ..Seen::default()
    };
    if seen.raced {
        seen.serialised = serialised(definition, &program, &unfolded)?;
    } else {
        seen.relaxed = relaxed(definition, &program, &unfolded)?;
    }
    Ok(Some(seen))
}

/// By block and node the number of the step, which joins have not.
fn steps(program: &Program) -> Vec<Vec<u32>> {
    let of = |kinds: &mut dyn Iterator<Item = &Kind>| {
        let mut next = 0;
        let step = |kind: &Kind| match kind {
            Kind::Compute(_) => COMPUTED,
            Kind::Join => u32::MAX,
            _ => {
                next += 1;
                next - 1
            }
        };
        kinds.map(step).collect()
    };
    program.blocks.iter().map(|code| of(&mut code.nodes.iter().map(|node| &node.kind))).collect()
}

struct Compared<'p> {
    program: &'p Program,
    steps: Vec<Vec<u32>>,
}

impl Compared<'_> {
    fn written(&self, asset: u32) -> String {
        let id =
            |block: u32, node: u32| self.program.blocks[block as usize].nodes[node as usize].id.to_string();
        self.program.accesses.assets.written(asset, &id)
    }

    fn step(&self, block: u32, node: u32) -> u32 {
        if node == YIELDS { YIELDED } else { self.steps[block as usize][node as usize] }
    }

    /// The places that an access of the check may be; of some recursions it is not said which value is read.
    fn places(&self, access: &Access, all: &Pairs) -> Vec<Place> {
        let (block, node) = (access.at.block, access.at.node);
        let step = self.step(block, node);
        if access.at.index == IMPLIED {
            if (access.asset as usize) < self.program.accesses.assets.len() {
                return vec![Place { block, step, access: Which::Implied(self.written(access.asset)) }];
            }
            let here =
                |it: &&Place| (it.block, it.step) == (block, step) && matches!(it.access, Which::Implied(_));
            return all.iter().flat_map(|(a, b)| [a, b]).filter(here).cloned().collect();
        }
        let Kind::Task(task) = &self.program.blocks[block as usize].nodes[node as usize].kind else {
            panic!()
        };
        let index = task.uses.as_ref().expect("declared")[access.at.index as usize].index;
        vec![Place { block, step, access: Which::Declared(index) }]
    }

    /// The asset that a place is an access to.
    fn asset(&self, place: &Place) -> Option<u32> {
        match &place.access {
            Which::Declared(index) => {
                let node = self.steps[place.block as usize].iter().position(|&it| it == place.step)?;
                let Kind::Task(task) = &self.program.blocks[place.block as usize].nodes[node].kind else {
                    return None;
                };
                Some(task.uses.iter().flatten().find(|it| it.index == *index)?.asset)
            }
            Which::Implied(text) => {
                let here =
                    |block: u32, node: u32| (block, self.step(block, node)) == (place.block, place.step);
                let mut reads = self.program.accesses.reads.iter().filter(|it| here(it.block, it.node));
                reads.find(|it| self.written(it.asset) == *text).map(|it| it.asset)
            }
        }
    }

    fn asset_of(&self, access: &Access, all: &Pairs) -> Option<u32> {
        self.places(access, all).first().and_then(|place| self.asset(place))
    }

    fn races(&self, found: &Found, races: &Pairs) -> Result<(), String> {
        if found.more {
            return Err("not all races are listed".to_owned());
        }
        let mut assets = BTreeSet::new();
        for race in &found.races {
            let (one, two) = (self.places(&race.first, races), self.places(&race.second, races));
            let known = |a: &Place| two.iter().any(|b| races.contains(&oracle::pair(a, b)));
            if !one.iter().any(known) {
                return Err(format!("the check alone has a race: {one:?} {two:?} {:?}", race.meeting));
            }
            let (a, b) = (self.asset_of(&race.first, races), self.asset_of(&race.second, races));
            assets.insert((a.min(b), a.max(b)));
        }
        for (one, two) in races {
            let (a, b) = (self.asset(one), self.asset(two));
            if a.is_none() || b.is_none() || !assets.contains(&(a.min(b), a.max(b))) {
                return Err(format!("the oracle alone has a race: {one:?} {two:?}"));
            }
        }
        Ok(())
    }

    /// Compares what is moved of what nothing that overlaps it races. Whether anything was.
    fn moves(&self, found: &Found, races: &Pairs, moved: &Pairs) -> Result<bool, String> {
        let assets = &self.program.accesses.assets;
        let racing: Vec<_> = races.iter().map(|(a, b)| (self.asset(a), self.asset(b))).collect();
        let calm = |asset: u32| {
            let meets = |other: Option<u32>| other.is_some_and(|other| assets.overlap(asset, other));
            !racing.iter().any(|&(a, b)| meets(a) && meets(b))
        };
        let mut one: BTreeMap<u32, String> = BTreeMap::new();
        for (take, after) in &found.moved {
            let places = (self.places(take, races), self.places(after, races));
            one.insert(take.asset, format!("{places:?}"));
        }
        let mut two: BTreeMap<u32, String> = BTreeMap::new();
        for (take, after) in moved {
            let asset = self.asset(take).ok_or("a move of nothing")?;
            two.insert(asset, format!("{take:?} {after:?}"));
        }
        one.retain(|asset, _| calm(*asset));
        two.retain(|asset, _| calm(*asset));
        for (asset, uses) in &one {
            if !two.contains_key(asset) {
                return Err(format!("the check alone finds a use of moved {}: {uses}", self.written(*asset)));
            }
        }
        for (asset, uses) in &two {
            if !one.contains_key(asset) {
                return Err(format!(
                    "the oracle alone finds a use of moved {}: {uses}",
                    self.written(*asset)
                ));
            }
        }
        Ok(!one.is_empty())
    }
}

/// With the order added, nothing that can be ordered races, and what was ordered is.
fn serialised(definition: &Definition, program: &Program, before: &Unfolded) -> Result<bool, String> {
    let (changed, serial) = program.serialised(definition, 1);
    if let Err(problems) = Program::compile(&changed) {
        return Err(format!("serialised it is refused: {problems:?} {}", shown(&changed)));
    }
    let Some(after) = unfold(&changed) else { return Ok(false) };
    let left = after.races_that_can_be_ordered();
    if !left.is_empty() {
        return Err(format!("serialised there are races: {left:?} {}", shown(&changed)));
    }
    if !after.order().is_superset(&before.order()) {
        return Err(format!("serialised there is less order: {}", shown(&changed)));
    }
    if before.done() != after.done() {
        return Err(format!("serialised it does something else: {}", shown(&changed)));
    }
    Ok(!serial.edges.is_empty() || !serial.limited.is_empty())
}

/// With the order left out that nothing needs, all that conflicts is ordered as it was.
fn relaxed(definition: &Definition, program: &Program, before: &Unfolded) -> Result<bool, String> {
    let (changed, relaxed) = program.relaxed(definition, 1);
    if relaxed.is_empty() {
        return if changed == *definition {
            Ok(false)
        } else {
            Err("relaxed it is something else".to_owned())
        };
    }
    if let Err(problems) = Program::compile(&changed) {
        return Err(format!("relaxed it is refused: {problems:?} {}", shown(&changed)));
    }
    let Some(after) = unfold(&changed) else { return Ok(false) };
    let races = after.races();
    if !races.is_empty() {
        return Err(format!("relaxed there are races: {races:?} {}", shown(&changed)));
    }
    if before.ordered_conflicts() != after.ordered_conflicts() {
        return Err(format!("relaxed what conflicts is ordered otherwise: {}", shown(&changed)));
    }
    if before.done() != after.done() {
        return Err(format!("relaxed it does something else: {}", shown(&changed)));
    }
    Ok(true)
}

fn shown(definition: &Definition) -> String {
    let value: serde_json::Value = rmp_serde::from_slice(&definition.write()).expect("MessagePack");
    serde_json::to_string(&value).expect("plain data")
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Compares a definition; a panic is a difference, too.
fn tried(definition: &Definition) -> Result<Option<Seen>, String> {
    let compared = catch_unwind(AssertUnwindSafe(|| compare(definition)));
    compared.unwrap_or_else(|panic| {
        let text =
            panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("it panics: {}", text.unwrap_or_default()))
    })
}

/// Compares the definitions of some seeds; where one differs, the smallest that still does is shown.
fn compared(seeds: impl Iterator<Item = u64>, counts: &mut Counts) -> Vec<String> {
    let mut errors = Vec::new();
    for seed in seeds {
        let definition = generate::definition(seed);
        match tried(&definition) {
            Ok(None) => counts.add(["skipped"]),
            Ok(Some(seen)) => {
                let mut things = count::things(&definition);
                let seen = [
                    ("a race", seen.raced),
                    ("a race of iterations", seen.iterations),
                    ("a race of branches", seen.branches),
                    ("no race", !seen.raced),
                    ("a use of what was moved", seen.moved),
                    ("serialised", seen.serialised),
                    ("relaxed", seen.relaxed),
                ];
                things.extend(seen.into_iter().filter(|it| it.1).map(|it| it.0));
                counts.add(things);
            }
            Err(_) => {
                let small =
                    shrink::shrink(&definition, |it| Program::compile(it).is_ok() && tried(it).is_err());
                let error = tried(&small).err().unwrap_or_default();
                errors.push(format!("seed {seed}: {error}\n{}", shown(&small)));
                if errors.len() == SHOWN {
                    break;
                }
            }
        }
    }
    errors
}

#[test]
fn the_check_finds_what_the_oracle_finds() {
    let terms = number("RACES_TERMS", 100_000);
    let first = number("RACES_SEED", 0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let begun = Instant::now();
    let mut counts = Counts::default();
    let mut errors = Vec::new();
    std::thread::scope(|scope| {
        let work = |at: u64| {
            let mut counts = Counts::default();
            let errors = compared((first + at..first + terms).step_by(threads as usize), &mut counts);
            (counts, errors)
        };
        let all: Vec<_> = (0..threads).map(|at| scope.spawn(move || work(at))).collect();
        for one in all {
            let (some, result) = one.join().expect("differences are caught");
            counts.merge(some);
            errors.extend(result);
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    println!("{} definitions in {seconds:.1} s, {:.0} a second", counts.all, counts.all as f64 / seconds);
    for (thing, count) in &counts.of {
        println!("{count:>9}  {:5.1} %  {thing}", *count as f64 * 100.0 / counts.all as f64);
    }
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    if terms >= 10_000 {
        let rare = |thing: &&&str| counts.of.get(**thing).is_none_or(|&count| count * 500 < counts.all);
        let rare: Vec<&&str> = THINGS.iter().chain(&SEEN).filter(rare).collect();
        assert!(rare.is_empty(), "in fewer than one definition in 500: {rare:?}");
        let skipped = counts.of.get("skipped").copied().unwrap_or_default();
        assert!(skipped * 5 < counts.all, "{skipped} definitions were not looked at");
    }
}

fn part() -> impl Strategy<Value = String> {
    "[ab]{1,2}(/[ab]){0,2}(\\[[0-3]:[4-6]\\]|\\[[01]/[23]\\])?"
}

proptest! {
    #[test]
    fn both_know_which_names_meet(a in part(), b in part(), c in part()) {
        let (one, two, three) = (names::plain(&a), names::plain(&b), names::plain(&c));
        let met = name::overlap(&name::parse(&a).unwrap(), &name::parse(&b).unwrap());
        prop_assert_eq!(names::overlap(&one, &two), met);
        prop_assert!(!names::contains(&one, &two) || met);
        prop_assert!(!names::contains(&one, &two) || !names::overlap(&two, &three) || names::overlap(&one, &three));
    }
}
