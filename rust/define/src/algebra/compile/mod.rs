//! Term → program: blocks of steps in compressed sparse row form, with every name resolved.
//!
//! A block is what starts and ends together: the body of the workflow, of a branch, of a loop.
//! Sequence, parallel and partial dissolve into edges of their block; the other composites
//! become one step each that owns blocks of its own.

mod access;
mod declared;
mod names;
mod program;
mod upward;

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

pub use self::program::{
    Accesses, Bind, Code, Fault, Kind, Node, Program, Read, Source, TaskUse, Use, YIELDS,
};
pub(crate) use self::upward::upward;
pub use self::upward::{EXPECTED, expected};
use super::read;
use super::term::{Binding, Block, Declared, Definition, Term};
use crate::access::Asset;
use crate::expr::Expr;
use crate::graph::Csr;
use crate::problem::Problem;

impl Program {
    /// Reads a definition object and compiles it, or reports everything that is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<(Definition, Self), Vec<Problem>> {
        let (draft, mut problems) = read::draft(bytes);
        let Some(definition) = draft else { return Err(problems) };
        match Self::compile(&definition) {
            Ok(program) if problems.is_empty() => return Ok((definition, program)),
            Ok(_) => {}
            Err(found) => problems.extend(found),
        }
        Err(problems)
    }

    /// Compiles a definition, or reports everything that is wrong with it.
    pub fn compile(definition: &Definition) -> Result<Self, Vec<Problem>> {
        let mut compiler = Compiler::default();
        let inputs = definition.inputs.iter().map(|input| &*input.name).collect();
        compiler.block(&definition.body, None, Binder::Workflow(&definition.name, inputs), "");
        if !compiler.problems.is_empty() {
            return Err(compiler.problems);
        }
        let mut order: Vec<u32> = (0..compiler.tasks.len() as u32).collect();
        let mut names: Vec<(Arc<str>, u32)> = compiler.tasks.into_iter().collect();
        names.sort();
        for (rank, (_, old)) in names.iter().enumerate() {
            order[*old as usize] = rank as u32;
        }
        let mut blocks: Vec<Code> = compiler.blocks.into_iter().flatten().collect();
        Self::extend(&mut blocks);
        let accesses = access::place(definition, &mut blocks, compiler.locals, compiler.drafts);
        for node in blocks.iter_mut().flat_map(|block| &mut block.nodes) {
            if let Kind::Task(task) = &mut node.kind {
                task.task = order[task.task as usize];
            }
        }
        Ok(Self {
            name: definition.name.clone(),
            version: definition.version.clone(),
            inputs: definition.inputs.clone(),
            on_error: definition.on_error,
            timeout: definition.timeout,
            blocks,
            tasks: names.into_iter().map(|(name, _)| name).collect(),
            accesses,
        })
    }
}

/// The names that a block adds to those of the blocks round it.
enum Binder<'t> {
    None,
    /// The name of a workflow and those of its inputs.
    Workflow(&'t str, FxHashSet<&'t str>),
    Item(&'t str),
    State(&'t str),
    Error,
}

/// A block being compiled, for the look-up of names from inside it.
struct Open<'t> {
    number: u32,
    binder: Binder<'t>,
    /// `None` where several steps have the id, which is reported.
    ids: FxHashMap<Arc<str>, Option<u32>>,
    /// The node whose inner blocks are being compiled.
    current: u32,
    edges: Vec<(u32, u32)>,
}

#[derive(Default)]
struct Compiler<'t> {
    blocks: Vec<Option<Code>>,
    tasks: FxHashMap<Arc<str>, u32>,
    open: Vec<Open<'t>>,
    problems: Vec<Problem>,
    /// Of each block that declares assets, and of each step that says what it does to some.
    locals: Vec<(u32, &'t [Declared])>,
    drafts: Vec<access::Draft>,
}

/// A term laid out in its block: which nodes begin it and which end it.
struct Span {
    entries: Vec<u32>,
    exits: Vec<u32>,
}

/// A node whose bindings are still to be resolved.
struct Draft<'t> {
    id: Arc<str>,
    term: Option<&'t Term>,
}

/// Cycles that are reported of a block.
const CYCLES: usize = 20;

const RESERVED: [&str; 5] = ["steps", "input", "vars", "error", "result"];

impl<'t> Compiler<'t> {
    fn block(&mut self, block: &'t Block, owner: Option<(u32, u32)>, binder: Binder<'t>, path: &str) -> u32 {
        let number = self.blocks.len() as u32;
        self.blocks.push(None);
        if !block.locals.is_empty() {
            self.locals.push((number, &block.locals));
        }
        if let Binder::Item(name) | Binder::State(name) = binder
            && RESERVED.contains(&name)
        {
            self.problems.push(Problem::new(
                "bad-id",
                path,
                format!("`as` can't be {name:?}: that name is taken"),
                "choose another name",
            ));
        }
        let mut drafts = Vec::new();
        let mut edges = Vec::new();
        self.lay(&block.term, &mut drafts, &mut edges);
        let mut ids = FxHashMap::default();
        for (node, draft) in drafts.iter().enumerate() {
            if draft.term.is_none() || ids.insert(draft.id.clone(), Some(node as u32)).is_none() {
                continue;
            }
            ids.insert(draft.id.clone(), None);
            if !draft.id.is_empty() {
                self.problems.push(Problem::new(
                    "duplicate-step",
                    format!("{path}{}", draft.id),
                    format!("two steps of one block have the id {:?}", &*draft.id),
                    "give each step an id of its own",
                ));
            }
        }
        self.open.push(Open { number, binder, ids, current: 0, edges });
        let mut nodes = Vec::with_capacity(drafts.len());
        let mut expected = Vec::with_capacity(drafts.len());
        for (node, draft) in drafts.iter().enumerate() {
            self.here().current = node as u32;
            let place = format!("{path}{}", draft.id);
            let kind = match draft.term {
                Some(term) => self.kind(term, (number, node as u32), &place),
                None => Kind::Join,
            };
            expected.push(self.expected(draft.term, &kind));
            nodes.push(Node { id: draft.id.clone(), kind });
        }
        let result = self.result(block, &mut nodes, path);
        let mut open = self.open.pop().expect("pushed above");
        let graph = Csr::new(nodes.len(), &mut open.edges);
        expected.resize(nodes.len(), 0);
        let (upward, mut cycle) = match graph.order() {
            Ok(order) => (upward::upward(&graph, &order, &expected), None),
            Err(cycle) => (vec![0; nodes.len()], Some(cycle)),
        };
        for _ in 0..CYCLES {
            let Some(found) = cycle else { break };
            let names: Vec<&str> =
                found.iter().chain(found.first()).map(|&n| &*nodes[n as usize].id).collect();
            self.problems.push(Problem::new(
                "cyclic-dependency",
                format!("{path}{}", names[0]),
                format!("steps wait for each other: {}", names.join(" -> ")),
                "remove one of these dependencies",
            ));
            let found: FxHashSet<u32> = found.into_iter().collect();
            open.edges.retain(|(from, _)| !found.contains(from));
            cycle = Csr::new(nodes.len(), &mut open.edges).order().err();
        }
        let indegree = graph.indegrees();
        self.blocks[number as usize] = Some(Code { nodes, graph, indegree, expected, upward, result, owner });
        number
    }

    fn here(&mut self) -> &mut Open<'t> {
        self.open.last_mut().expect("inside a block")
    }

    /// Lays a term out as nodes and edges of the present block. Depth is bounded by the reader.
    fn lay(&mut self, term: &'t Term, drafts: &mut Vec<Draft<'t>>, edges: &mut Vec<(u32, u32)>) -> Span {
        match term {
            Term::Sequence(terms) => {
                let mut whole: Option<Span> = None;
                for term in terms {
                    let next = self.lay(term, drafts, edges);
                    if next.entries.is_empty() {
                        continue;
                    }
                    whole = Some(match whole {
                        None => next,
                        Some(before) => {
                            link(&before.exits, &next.entries, drafts, edges);
                            Span { entries: before.entries, exits: next.exits }
                        }
                    });
                }
                whole.unwrap_or(Span { entries: vec![], exits: vec![] })
            }
            Term::Parallel(terms) => {
                let mut whole = Span { entries: vec![], exits: vec![] };
                for term in terms {
                    let part = self.lay(term, drafts, edges);
                    whole.entries.extend(part.entries);
                    whole.exits.extend(part.exits);
                }
                whole
            }
            Term::Partial { terms, edges: order } => {
                let mut spans: Vec<Span> = terms.iter().map(|term| self.lay(term, drafts, edges)).collect();
                let (mut before, mut after) = (vec![true; terms.len()], vec![true; terms.len()]);
                // An empty member still carries the order through it.
                for span in spans.iter_mut().filter(|span| span.entries.is_empty()) {
                    let join = join(drafts);
                    *span = Span { entries: vec![join], exits: vec![join] };
                }
                for &(from, to) in order {
                    link(&spans[from as usize].exits, &spans[to as usize].entries, drafts, edges);
                    after[from as usize] = false;
                    before[to as usize] = false;
                }
                let mut whole = Span { entries: vec![], exits: vec![] };
                for (at, span) in spans.into_iter().enumerate() {
                    if before[at] {
                        whole.entries.extend(&span.entries);
                    }
                    if after[at] {
                        whole.exits.extend(span.exits);
                    }
                }
                whole
            }
            _ => {
                let node = drafts.len() as u32;
                drafts.push(Draft { id: term.id().unwrap_or_default().into(), term: Some(term) });
                Span { entries: vec![node], exits: vec![node] }
            }
        }
    }

    fn kind(&mut self, term: &'t Term, owner: (u32, u32), place: &str) -> Kind {
        let inside = format!("{place}/");
        match term {
            Term::Activity(activity) => {
                let next = self.tasks.len() as u32;
                let task = *self.tasks.entry(activity.task.as_str().into()).or_insert(next);
                if let Some(access) = &activity.access {
                    let mut holes = Vec::new();
                    for (at, it) in access.iter().enumerate() {
                        let found: Vec<Bind> = match &it.asset {
                            Asset::Value(expr) => vec![self.expr(expr, place, false)],
                            Asset::Named(it) => {
                                it.holes().map(|expr| self.expr(expr, place, false)).collect()
                            }
                        };
                        // Most names have none.
                        if !found.is_empty() {
                            holes.resize_with(at, Vec::new);
                            holes.push(found);
                        }
                    }
                    let (block, node) = owner;
                    self.drafts.push(access::Draft { block, node, access: access.clone(), holes });
                }
                let bind = |me: &mut Self, binding| me.bind(binding, place, false);
                Kind::Task(Box::new(TaskUse {
                    task,
                    args: activity.args.iter().map(|arg| bind(self, arg)).collect(),
                    kwargs: activity
                        .kwargs
                        .iter()
                        .map(|(name, arg)| (name.as_str().into(), bind(self, arg)))
                        .collect(),
                    set: activity
                        .set
                        .iter()
                        .map(|(name, expr)| (name.as_str().into(), self.expr(expr, place, true)))
                        .collect(),
                    uses: None,
                    options: activity.options.clone(),
                }))
            }
            Term::Choice { branches, otherwise, .. } => Kind::Choice {
                branches: branches
                    .iter()
                    .enumerate()
                    .map(|(at, (condition, block))| {
                        let condition = self.expr(condition, place, false);
                        (condition, self.block(block, Some(owner), Binder::None, &format!("{inside}{at}/")))
                    })
                    .collect(),
                otherwise: otherwise
                    .as_ref()
                    .map(|block| self.block(block, Some(owner), Binder::None, &format!("{inside}else/"))),
            },
            Term::Loop { name, init, condition, body, max, .. } => {
                let init = self.bind(init, place, false);
                // The condition sees the state, so it is resolved as if inside the body.
                let (ids, edges) = Default::default();
                self.open.push(Open { number: 0, binder: Binder::State(name), ids, current: 0, edges });
                let condition = self.expr(condition, place, false);
                self.open.pop();
                let body = self.block(body, Some(owner), Binder::State(name), &inside);
                Kind::Loop { init, condition, body, max: *max }
            }
            Term::Each { name, items, body, limit, on_error, .. } => Kind::Each {
                items: self.bind(items, place, false),
                body: self.block(body, Some(owner), Binder::Item(name), &inside),
                limit: *limit,
                on_error: *on_error,
            },
            Term::Scope { workflow, inputs, body, .. } => Kind::Scope {
                inputs: self.named(inputs, place),
                body: {
                    let inputs = inputs.iter().map(|(name, _)| &**name).collect();
                    self.block(body, Some(owner), Binder::Workflow(workflow, inputs), &inside)
                },
                max_depth: None,
            },
            Term::Recursion { workflow, inputs, max_depth, .. } => Kind::Scope {
                body: self.enclosing(workflow, inputs, place),
                inputs: self.named(inputs, place),
                max_depth: Some(*max_depth),
            },
            Term::Timeout { micros, body, .. } => {
                Kind::Timeout { micros: *micros, body: self.block(body, Some(owner), Binder::None, &inside) }
            }
            Term::Handler { body, handler, .. } => Kind::Handler {
                body: self.block(body, Some(owner), Binder::None, &inside),
                handler: self.block(handler, Some(owner), Binder::Error, &format!("{inside}catch/")),
            },
            Term::Sleep { duration, .. } => Kind::Sleep(self.bind(duration, place, false)),
            Term::Signal { name, .. } => Kind::Signal(name.as_str().into()),
            Term::First { count, branches, .. } => {
                if *count == 0 || *count as usize > branches.len() {
                    self.problems.push(Problem::new(
                        "bad-option",
                        place,
                        format!("first {count} of {} branches can't complete", branches.len()),
                        "give a number from 1 to the number of branches",
                    ));
                }
                Kind::First {
                    count: *count,
                    branches: branches
                        .iter()
                        .enumerate()
                        .map(|(at, block)| {
                            self.block(block, Some(owner), Binder::None, &format!("{inside}{at}/"))
                        })
                        .collect(),
                }
            }
            Term::Sequence(_) | Term::Parallel(_) | Term::Partial { .. } => {
                unreachable!("laid out as edges")
            }
        }
    }

    fn named(&mut self, fields: &'t [(String, Binding)], place: &str) -> Bind {
        Bind::Map(
            fields.iter().map(|(name, it)| (name.as_str().into(), self.bind(it, place, false))).collect(),
        )
    }

    /// The block of the nearest enclosing workflow of a name, which a step in it calls again.
    fn enclosing(&mut self, workflow: &str, inputs: &[(String, Binding)], place: &str) -> u32 {
        let found = self.open.iter().rev().find_map(|open| match &open.binder {
            // A name that could not be read may be any.
            Binder::Workflow(name, known) if *name == workflow || name.is_empty() => {
                Some((open.number, known))
            }
            _ => None,
        });
        if workflow.is_empty() {
            return 0;
        }
        let Some((number, known)) = found else {
            self.problems.push(Problem::new(
                "unknown-reference",
                place,
                format!("no workflow round this step is called {workflow:?}"),
                "name one that encloses the step, or say with `do` what the workflow does",
            ));
            return 0;
        };
        let given: FxHashSet<&str> = inputs.iter().map(|(name, _)| &**name).collect();
        let mut wrong: Vec<(&str, &str)> = Vec::new();
        if !known.contains("") {
            wrong.extend(known.difference(&given).map(|name| (*name, "needs")));
            wrong.extend(given.difference(known).map(|name| (*name, "has not")));
        }
        wrong.sort_unstable();
        self.problems.extend(wrong.into_iter().map(|(name, verb)| {
            let message = format!("{workflow:?} {verb} an input {name:?}");
            Problem::new("bad-input", place, message, "give each input of the workflow in `with`")
        }));
        number
    }

    /// What the block yields. A result that has to be evaluated becomes a step, so that its
    /// value is recorded and its failure is a step's failure.
    fn result(&mut self, block: &'t Block, nodes: &mut Vec<Node>, path: &str) -> Bind {
        let step = |node: u32| Bind::Path {
            source: Source::Step { up: 0, node },
            segments: Arc::new([]),
            expr: Expr::parse("result").expect("a plain name"),
        };
        let Some(binding) = &block.result else {
            let join = |node: u32| matches!(nodes[node as usize].kind, Kind::Join);
            let busy = leading(&self.here().edges, join);
            let mut sinks: Vec<u32> = (0..nodes.len() as u32).filter(|node| !busy.contains(node)).collect();
            sinks.retain(|&node| !join(node));
            return match sinks[..] {
                [] => Bind::Const([0xc0u8].as_slice().into()),
                [only] => step(only),
                _ => Bind::Map(
                    sinks.iter().map(|&node| (nodes[node as usize].id.clone(), step(node))).collect(),
                ),
            };
        };
        let node = nodes.len() as u32;
        self.here().current = node;
        let before = self.here().edges.len();
        let bind = self.bind(binding, &format!("{path}$result"), false);
        if bind.derivable() {
            self.here().edges.truncate(before);
            return bind;
        }
        nodes.push(Node { id: "$result".into(), kind: Kind::Compute(bind) });
        step(node)
    }
}

/// The nodes that lead to one that is no join, at once or through joins.
fn leading(edges: &[(u32, u32)], join: impl Fn(u32) -> bool) -> FxHashSet<u32> {
    let (through, direct): (Vec<_>, Vec<_>) = edges.iter().copied().partition(|&(_, to)| join(to));
    let mut busy: FxHashSet<u32> = direct.iter().map(|&(from, _)| from).collect();
    let mut before: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
    through.iter().for_each(|&(from, to)| before.entry(to).or_default().push(from));
    let mut stack: Vec<u32> = before.keys().copied().filter(|join| busy.contains(join)).collect();
    while let Some(at) = stack.pop() {
        let new = before.get(&at).into_iter().flatten().filter(|&&from| busy.insert(from));
        stack.extend(new);
    }
    busy
}

fn join(drafts: &mut Vec<Draft<'_>>) -> u32 {
    let node = drafts.len() as u32;
    drafts.push(Draft { id: format!("$join_{node}").into(), term: None });
    node
}

/// Orders `before` before `after`, through a join where the pairs would outnumber the nodes.
fn link(before: &[u32], after: &[u32], drafts: &mut Vec<Draft<'_>>, edges: &mut Vec<(u32, u32)>) {
    if before.len() * after.len() <= before.len() + after.len() {
        edges.extend(before.iter().flat_map(|&from| after.iter().map(move |&to| (from, to))));
    } else {
        let join = join(drafts);
        edges.extend(before.iter().map(|&from| (from, join)));
        edges.extend(after.iter().map(|&to| (join, to)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn compile(definition: &Json) -> Result<Program, Vec<(&'static str, String)>> {
        let definition = Definition::read(&rmp_serde::to_vec_named(definition).unwrap()).unwrap();
        let read = Definition::read(&definition.write()).unwrap();
        assert_eq!(read, definition, "it is written as it was read");
        Program::compile(&definition)
            .map_err(|problems| problems.into_iter().map(|it| (it.code, it.place)).collect())
    }

    fn bodies(program: &Program) -> Vec<(u32, Option<u32>)> {
        let nodes = program.blocks.iter().flat_map(|block| &block.nodes);
        nodes
            .filter_map(|node| match node.kind {
                Kind::Scope { body, max_depth, .. } => Some((body, max_depth)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_recursion_begins_the_nearest_workflow_of_its_name() {
        let again = |name: &str| json!({"workflow": name, "with": {"n": 1}, "max_depth": 3});
        let inner = json!({"workflow": "inner", "with": {"n": 0}, "do": {"each": [1], "do": [again("inner"), again("w")]}});
        let program = compile(&json!({"name": "w", "inputs": ["n"], "term": [again("w"), inner]})).unwrap();
        let kinds: Vec<&str> = program.blocks[0].nodes.iter().map(|node| node.kind.name()).collect();
        assert_eq!(kinds, ["recursion", "workflow"]);
        // Blocks: 0 the whole, 1 the inner workflow, 2 the body of its each.
        assert_eq!(bodies(&program), [(0, Some(3)), (1, None), (1, Some(3)), (0, Some(3))]);
    }

    #[test]
    fn a_recursion_of_a_workflow_that_is_not_round_it_is_refused() {
        let flow = |term: Json| compile(&json!({"name": "w", "inputs": ["n"], "term": term})).unwrap_err();
        let lost =
            json!([{"workflow": "x", "do": {"sleep": 1}}, {"workflow": "x", "id": "r", "max_depth": 1}]);
        assert_eq!(flow(lost), [("unknown-reference", "r".to_owned())]);
        let inputs = json!({"workflow": "w", "with": {"m": 1}, "max_depth": 1});
        assert_eq!(flow(inputs), [("bad-input", "w".to_owned()), ("bad-input", "w".to_owned())]);
    }

    #[test]
    fn an_input_that_a_workflow_has_not_is_found() {
        let term = json!([
            {"task": "a", "args": [{"$": "input.n"}]}, {"task": "b", "args": [{"$": "input.typo + 1"}]},
            {"workflow": "inner", "with": {"m": 1}, "do": [
                {"task": "c", "args": [{"$": "[input.m, input.n]"}]}, {"task": "d", "args": [{"$": "input"}]}]},
        ]);
        let found = compile(&json!({"name": "w", "inputs": ["n"], "term": term})).unwrap_err();
        let unknown = |place: &str| ("unknown-reference", place.to_owned());
        assert_eq!(found, [unknown("b"), unknown("inner/c")]);
    }

    #[test]
    fn what_is_before_an_empty_member_alone_is_last() {
        let empty = json!({"after": ["b"], "sequence": []});
        let program =
            compile(&json!({"name": "w", "term": {"partial": [{"task": "a"}, {"task": "b"}, empty]}}));
        let Bind::Map(result) = &program.unwrap().blocks[0].result else { panic!() };
        assert_eq!(result.iter().map(|it| &*it.0).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn all_cycles_of_a_block_are_found() {
        let step = |id: &str, after: &str| json!({"task": "t", "id": id, "after": [after]});
        let two = [step("a", "b"), step("b", "a"), step("c", "d"), step("d", "c"), step("e", "a")];
        let found = compile(&json!({"name": "w", "term": {"partial": two}})).unwrap_err();
        let cycle = |place: &str| ("cyclic-dependency", place.to_owned());
        assert_eq!(found, [cycle("a"), cycle("c")]);
    }
}
