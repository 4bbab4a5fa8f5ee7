//! What the borrow check has to say, in words: what, which steps, how they meet, and ways out.

use std::collections::BTreeSet;

use rustc_hash::FxHashSet;

use super::assets::{AssetId, Assets, READS, REDUCES, TAKES, VALUES, WRITES};
use super::check::{Access, At, Found, IMPLIED, Meeting, Race, with};
use super::order::{relax_some, unneeded};
use super::{Mode, lints};
use crate::algebra::compile::{Fault, Kind, Program, YIELDS};

/// Something that is wrong with what steps do to assets, or may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// See `CODES`.
    pub code: &'static str,
    pub level: Level,
    /// What it is, without places.
    pub message: String,
    /// What asset it is about.
    pub asset: String,
    /// One or two.
    pub places: Vec<Place>,
    /// How the steps meet; may be empty.
    pub meeting: String,
    /// What may be done about it.
    pub help: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The workflow does not start.
    Error,
    Warning,
}

/// A step, and what it does there.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Its path in the definition, which is that of a run without the numbers of iterations.
    pub step: String,
    pub task: String,
    /// `reads`, `writes`, `takes`, `reduces`, or nothing.
    pub mode: &'static str,
    /// Which of its declared accesses it is; none if it is none of them.
    pub index: Option<u32>,
    pub label: String,
}

/// Races that are listed of a block, and warnings of a kind, unless somebody asks for more.
pub const LISTED: usize = 1000;

/// So many nodes are looked at for the last one before two others.
const SEARCHED: usize = 100_000;

/// So many findings have their meeting told in full.
const TOLD: usize = 100;

/// Everything there is to say of a program's accesses; errors first.
pub fn findings(program: &Program, most: usize, threads: usize) -> Vec<Finding> {
    let assets = &program.accesses.assets;
    if assets.is_empty() {
        return told(program, assets, Found::default(), threads);
    }
    // What a recursion does has names that only the check knows.
    with(program, |whole| told(program, whole.assets, whole.check(most, threads), threads))
}

fn told(program: &Program, assets: &Assets, found: Found, threads: usize) -> Vec<Finding> {
    let words = Words { program, assets };
    let Found { races, moved, spare, .. } = found;
    let mut found: Vec<Finding> = program.accesses.faults.iter().map(|fault| words.fault(fault)).collect();
    let mut seen = FxHashSet::default();
    for race in &races {
        // What meets in a block may meet again in another iteration.
        if seen.insert((race.first.at, race.second.at)) {
            found.push(words.race(race, seen.len() <= TOLD));
        }
    }
    found.extend(moved.iter().map(|(first, second)| words.moved(*first, *second)));
    let lints = lints::lints(program);
    found.extend(lints.unread.into_iter().take(most).map(|access| words.unread(access)));
    found.extend(lints.wide.into_iter().take(most).map(|(access, narrower)| words.wide(access, narrower)));
    let orders = relax_some(program, &unneeded(program, spare), threads).into_iter().flat_map(|it| {
        let block = it.block;
        let graph = &program.blocks[block as usize].graph;
        let direct =
            move |&(first, second): &(u32, u32)| graph.successors(first).binary_search(&second).is_ok();
        it.dropped.into_iter().filter(direct).map(move |(first, second)| (block, first, second))
    });
    found.extend(orders.take(most).map(|(block, first, second)| words.order(block, first, second)));
    found
}

/// The path of a node, or of the block whose end is meant.
pub fn path(program: &Program, block: u32, node: u32) -> String {
    let mut parts = Vec::new();
    if node != YIELDS {
        parts.push(program.blocks[block as usize].nodes[node as usize].id.to_string());
    }
    let mut inner = block;
    while let Some((owner, node)) = program.blocks[inner as usize].owner {
        let it = &program.blocks[owner as usize].nodes[node as usize];
        let branch = match &it.kind {
            Kind::Choice { branches, otherwise } => {
                let at = branches.iter().position(|it| it.1 == inner);
                at.map_or_else(|| otherwise.map(|_| "else".to_owned()), |at| Some(at.to_string()))
            }
            Kind::First { branches, .. } => {
                branches.iter().position(|&it| it == inner).map(|at| at.to_string())
            }
            Kind::Handler { handler, .. } if *handler == inner => Some("catch".to_owned()),
            _ => None,
        };
        parts.extend(branch);
        parts.push(it.id.to_string());
        inner = owner;
    }
    parts.reverse();
    parts.join("/")
}

struct Words<'p> {
    program: &'p Program,
    assets: &'p Assets,
}

impl Words<'_> {
    fn id(&self, block: u32, node: u32) -> String {
        self.program.blocks[block as usize].nodes[node as usize].id.to_string()
    }

    fn written(&self, asset: AssetId) -> String {
        self.assets.written(asset, &|block, node| self.id(block, node))
    }

    fn path(&self, block: u32, node: u32) -> String {
        path(self.program, block, node)
    }

    fn place(&self, access: Access, label: String) -> Place {
        let At { block, node, index } = access.at;
        let mut place = Place {
            step: self.path(block, node),
            task: String::new(),
            mode: self.assets.mode_of(access.mode).name(),
            index: None,
            label,
        };
        if node != YIELDS
            && let Kind::Task(task) = &self.program.blocks[block as usize].nodes[node as usize].kind
        {
            place.task = self.program.tasks[task.task as usize].to_string();
            let found = task.uses.iter().flatten().nth(index as usize).filter(|_| index != IMPLIED);
            place.index = found.map(|it| it.index);
        }
        place
    }

    fn does(&self, access: Access) -> String {
        if access.at.index == IMPLIED {
            return if access.at.node == YIELDS { "is yielded here" } else { "is needed here" }.to_owned();
        }
        match self.assets.mode_of(access.mode) {
            Mode::Reads => "is read here".to_owned(),
            Mode::Writes => "is written here".to_owned(),
            Mode::Takes => "is taken here".to_owned(),
            Mode::Reduces(operation) => format!("is reduced by {operation:?} here"),
        }
    }

    fn label(&self, access: Access) -> String {
        format!("{:?} {}", self.written(access.asset), self.does(access))
    }

    fn race(&self, race: &Race, told: bool) -> Finding {
        let (one, two) = (race.first, race.second);
        // The narrower of both.
        let narrow = if self.assets.contains(one.asset, two.asset) { two.asset } else { one.asset };
        let asset = self.written(narrow);
        let (low, high) = (one.mode.min(two.mode), one.mode.max(two.mode));
        let verb = |mode: u32| match self.assets.mode_of(mode) {
            Mode::Reads => "read",
            Mode::Writes => "written",
            Mode::Takes => "taken",
            Mode::Reduces(_) => "reduced",
        };
        let (code, message) = match (low, high) {
            (WRITES, WRITES) => ("FF0499", format!("{asset:?} is written twice at the same time")),
            (TAKES, TAKES) => ("FF0505", format!("{asset:?} is taken twice at the same time")),
            (_, TAKES) | (TAKES, _) => {
                let other = if low == TAKES { high } else { low };
                ("FF0505", format!("{asset:?} is taken while it is {}", verb(other)))
            }
            (REDUCES.., _) => {
                ("FF0503", format!("{asset:?} is reduced by different operations at the same time"))
            }
            (READS, _) => ("FF0502", format!("{asset:?} is read while it is {}", verb(high))),
            _ => ("FF0502", format!("{asset:?} is written while it is {}", verb(high))),
        };
        let mut places = vec![self.place(one, self.label(one))];
        if one.at != two.at {
            places.push(self.place(two, self.label(two)));
        }
        let (meeting, help) = self.meeting(race, told, &asset);
        Finding { code, level: Level::Error, message, asset, places, meeting, help }
    }

    fn meeting(&self, race: &Race, told: bool, asset: &str) -> (String, Vec<String>) {
        let mut help = Vec::new();
        let writers = race.first.mode == WRITES && race.second.mode == WRITES;
        let meeting = match race.meeting {
            Meeting::Unordered { block, first, second } => {
                let (one, two) = (self.id(block, first), self.id(block, second));
                // What takes an asset goes last, or the other would come too late.
                let (before, after) = if race.first.mode == TAKES { (&two, &one) } else { (&one, &two) };
                help.push(format!("order them: let `{after}` wait with after=[{before}]"));
                help.push("or have them put in an order: on_conflict=\"serialise\"".to_owned());
                if !told {
                    format!("nothing orders `{one}` and `{two}`")
                } else {
                    match self.fork(block, first, second) {
                        Some(fork) => format!("after `{fork}`, nothing orders `{one}` and `{two}`"),
                        None => format!("nothing orders `{one}` and `{two}`: both may start at once"),
                    }
                }
            }
            Meeting::Iterations(block, node) => {
                let id = self.path(block, node);
                help.push("let one iteration run after the other: limit=1".to_owned());
                help.push(format!(
                    "or give each its own, with what differs in the name: \"{asset}/{{item_index}}\""
                ));
                format!("iterations of `{id}` run beside each other")
            }
            Meeting::Branches(block, node) => {
                let id = self.path(block, node);
                help.push("branches that race can't be ordered: give each an asset of its own".to_owned());
                format!("branches of `{id}` run beside each other")
            }
        };
        if writers {
            help.push(format!("or let each write a part of its own: \"{asset}[0/2]\" and \"{asset}[1/2]\""));
            help.push(
                "or, if they update it and the order is of no account: reduces={name: operation}".to_owned(),
            );
        }
        (meeting, help)
    }

    /// The last node before both.
    fn fork(&self, block: u32, first: u32, second: u32) -> Option<String> {
        let code = &self.program.blocks[block as usize];
        let order = code.graph.order().ok()?;
        let mut rank = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &node)| rank[node as usize] = at);
        let before = code.graph.turned();
        let above = |node: u32| {
            let mut seen: BTreeSet<usize> = BTreeSet::new();
            let mut stack = vec![node];
            while let Some(at) = stack.pop() {
                for &next in before.successors(at) {
                    if seen.len() < SEARCHED && seen.insert(rank[next as usize]) {
                        stack.push(next);
                    }
                }
            }
            seen
        };
        let (one, two) = (above(first), above(second));
        let both = one.iter().rev().filter(|at| two.contains(at)).map(|&at| &code.nodes[order[at] as usize]);
        both.into_iter().find(|node| !matches!(node.kind, Kind::Join)).map(|node| node.id.to_string())
    }

    fn moved(&self, first: Access, second: Access) -> Finding {
        let asset = self.written(first.asset);
        let moved = self.place(first, format!("{asset:?} is moved here"));
        let (places, meeting) = if first.at == second.at {
            (vec![moved], "it was moved in the turn before".to_owned())
        } else {
            // The use is what is wrong.
            (
                vec![self.place(second, format!("{}, after the move", self.label(second))), moved],
                String::new(),
            )
        };
        let mut help = vec!["use it before it is moved, or read it instead of taking it".to_owned()];
        if !self.assets.is_value(first.asset) {
            help.push(format!("or write {asset:?} anew in between"));
        }
        let message = format!("{asset:?} is used after it was moved");
        Finding { code: "FF0382", level: Level::Error, message, asset, places, meeting, help }
    }

    fn fault(&self, fault: &Fault) -> Finding {
        let at = |at: At, label: &str| {
            let Kind::Task(task) = &self.program.blocks[at.block as usize].nodes[at.node as usize].kind
            else {
                return Vec::new();
            };
            let uses = task.uses.iter().flatten();
            let found = uses.clone().position(|it| it.index == at.index);
            let found = found.and_then(|index| Some((index, uses.clone().nth(index)?)));
            let Some((index, it)) = found else { return Vec::new() };
            let at = At { index: index as u32, ..at };
            vec![self.place(Access { at, asset: it.asset, mode: it.mode }, label.to_owned())]
        };
        let error = |code, message, asset: &str, places, meeting: String, help| Finding {
            code,
            level: Level::Error,
            message,
            asset: asset.to_owned(),
            places,
            meeting,
            help,
        };
        match fault {
            Fault::Unknown { at: place, name, like } => {
                let mut help =
                    vec!["declare it, or what contains it, among the workflow's assets".to_owned()];
                if let Some(like) = like {
                    help.insert(0, format!("there is one that is called nearly so: {like:?}"));
                }
                let message = format!("there is no asset {name:?}");
                error(
                    "FF0425",
                    message,
                    name,
                    at(*place, "lies in none that is declared"),
                    String::new(),
                    help,
                )
            }
            Fault::Outlives { at: place, name, block } => {
                let owner = self.program.blocks[*block as usize].owner;
                let inside =
                    owner.map_or_else(|| self.program.name.clone(), |(block, node)| self.path(block, node));
                let meeting = format!("it comes with each run of `{inside}`, and is gone with it");
                let help = vec![
                    format!("use it inside `{inside}` alone"),
                    "or declare it outside, in a block that is round both".to_owned(),
                ];
                let message = format!("{name:?} is used outside the block that it belongs to");
                error("FF0597", message, name, at(*place, "it does not exist here"), meeting, help)
            }
            Fault::InFile { at: place, name, file } => {
                let help = vec![
                    format!("name the file: {file:?}, or a range of it: \"{file}[0:100]\""),
                    "or declare it as a directory".to_owned(),
                ];
                let message = format!("{name:?} lies inside a file");
                error(
                    "FF0609",
                    message,
                    name,
                    at(*place, "a file has nothing inside it"),
                    String::new(),
                    help,
                )
            }
            Fault::Twice { at: place, second } => {
                let uses = |index: u32| -> Option<Access> {
                    let node = &self.program.blocks[place.block as usize].nodes[place.node as usize];
                    let Kind::Task(task) = &node.kind else { return None };
                    let it = task.uses.iter().flatten().nth(index as usize)?;
                    Some(Access { at: At { index, ..*place }, asset: it.asset, mode: it.mode })
                };
                let (one, two) = (uses(place.index), uses(*second));
                let places =
                    one.iter().chain(&two).map(|&it| self.place(it, self.label(it))).collect::<Vec<_>>();
                let asset = two.map_or_else(String::new, |it| self.written(it.asset));
                let help = vec!["keep one of them: a step that writes may read, too".to_owned()];
                let message = format!("a step has {asset:?} in two ways that exclude each other");
                error("FF0524", message, &asset, places, String::new(), help)
            }
            Fault::Circle { names } => {
                let round = names.iter().chain(names.first()).map(|it| format!("{it:?}"));
                let message =
                    format!("assets lie within each other: {}", round.collect::<Vec<_>>().join(" in "));
                let help = vec!["take out one `within`".to_owned()];
                error("FF0391", message, &names[0], Vec::new(), String::new(), help)
            }
        }
    }

    fn unread(&self, access: Access) -> Finding {
        let asset = self.written(access.asset);
        Finding {
            code: "FF1001",
            level: Level::Warning,
            message: format!("nobody reads {asset:?}"),
            places: vec![self.place(access, self.label(access))],
            meeting: String::new(),
            help: vec![
                "if others need it, declare it with output=True".to_owned(),
                "otherwise leave the write out".to_owned(),
            ],
            asset,
        }
    }

    fn order(&self, block: u32, first: u32, second: u32) -> Finding {
        let place = |node: u32, label: &str| {
            let access = Access { at: At { block, node, index: IMPLIED }, asset: VALUES, mode: READS };
            Place { mode: "", ..self.place(access, label.to_owned()) }
        };
        let (one, two) = (self.id(block, first), self.id(block, second));
        Finding {
            code: "FF1003",
            level: Level::Warning,
            message: format!("no access needs `{two}` to wait for `{one}`"),
            asset: String::new(),
            places: vec![place(first, "this comes first"), place(second, "and this waits for it")],
            meeting: "no value goes from one to the other, and what they do to assets can be at once"
                .to_owned(),
            help: vec![
                "let them run beside each other, or have all such orders left out: workflow.parallelise()"
                    .to_owned(),
                "if there is another reason, declare what they share".to_owned(),
            ],
        }
    }

    fn wide(&self, access: Access, narrower: AssetId) -> Finding {
        let (asset, narrower) = (self.written(access.asset), self.written(narrower));
        Finding {
            code: "FF1002",
            level: Level::Warning,
            message: format!("{asset:?} is borrowed, but of it only {narrower:?} is used"),
            places: vec![self.place(access, self.label(access))],
            meeting: format!("all other steps of this workflow use nothing of it but {narrower:?}"),
            help: vec![format!("name {narrower:?}, so that what else is in {asset:?} stays free")],
            asset,
        }
    }
}
