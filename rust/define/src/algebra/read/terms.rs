//! Blocks and terms: ids, order, and the kinds that have no block of their own.

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::fields::{Object, first, join};
use super::{MAX_DEPTH, Reader};
use crate::algebra::term::{Activity, Binding, Block, Term};
use crate::value::{self, Entry, Item};

/// The `after` field of a member of a partial.
pub(super) struct After {
    member: u32,
    ids: Vec<String>,
    place: String,
}

const TERMS: [&str; 13] = [
    "task", "sequence", "parallel", "partial", "choice", "loop", "each", "workflow", "timeout", "try",
    "sleep", "signal", "first",
];

impl Reader {
    /// A block: `{"term": …, "result": …}` or a term alone.
    pub(super) fn block(&mut self, bytes: &[u8], place: &str, depth: usize) -> Block {
        if let Ok(Some(fields)) = value::entries(bytes)
            && fields.iter().any(|&(name, _)| name == "term")
            && let Some(mut object) = self.object(bytes, place)
            && let Some(term) = object.take("term")
        {
            let result = object.take("result");
            let (at, result_at, locals_at) = (object.at("term"), object.at("result"), object.at("locals"));
            let locals = object.take("locals").map(|it| self.assets(it, &locals_at, false));
            self.finish(object, "term, result, locals");
            let block = self.block_of(term, result, &at, &result_at, depth);
            return Block { locals: locals.unwrap_or_default(), ..block };
        }
        self.block_of(bytes, None, place, "", depth)
    }

    pub(super) fn block_of(
        &mut self,
        term: &[u8],
        result: Option<&[u8]>,
        place: &str,
        result_place: &str,
        depth: usize,
    ) -> Block {
        self.after.push(Vec::new());
        let mut term = self.term(term, place, depth + 1, None);
        let result = result.map(|bytes| self.binding(bytes, result_place, 0));
        let after = self.after.pop().expect("pushed above");
        let mut taken = FxHashSet::default();
        for_each_id(&mut term, &mut |id, _| {
            if !id.is_empty() {
                taken.insert(id.clone());
            }
        });
        for_each_id(&mut term, &mut |id, base| {
            if id.is_empty() && !base.is_empty() {
                *id = fresh(base, &taken);
                taken.insert(id.clone());
            }
        });
        self.order(&mut term, &mut after.into_iter());
        Block { term: Box::new(term), result, locals: Vec::new() }
    }

    /// Turns the `after` fields of a block's partials into edges, now that every step has its id.
    fn order(&mut self, term: &mut Term, records: &mut impl Iterator<Item = Vec<After>>) {
        match term {
            Term::Sequence(terms) | Term::Parallel(terms) => {
                for term in terms {
                    self.order(term, records);
                }
            }
            Term::Partial { terms, edges } => {
                let record = records.next().unwrap_or_default();
                if !record.is_empty() {
                    // Where several members have one id, which is reported, it orders nothing.
                    let mut members: HashMap<String, Option<u32>> = HashMap::new();
                    for (at, term) in terms.iter_mut().enumerate() {
                        let at = at as u32;
                        for_each_id(term, &mut |id, _| {
                            let member = members.entry(id.clone()).or_insert(Some(at));
                            *member = member.filter(|&other| other == at);
                        });
                    }
                    let unread = members.contains_key("");
                    for After { member, ids, place } in record {
                        for id in ids {
                            let (code, message) = match members.get(&id) {
                                Some(Some(before)) if *before == member => {
                                    ("cyclic-dependency", format!("{id:?} would wait for itself"))
                                }
                                Some(before) => {
                                    edges.extend(before.map(|before| (before, member)));
                                    continue;
                                }
                                None if unread => continue,
                                None => ("unknown-reference", format!("no sibling is called {id:?}")),
                            };
                            self.problem(code, &place, message, "name another member of this partial");
                        }
                    }
                    edges.sort_unstable();
                    edges.dedup();
                }
                for term in terms {
                    self.order(term, records);
                }
            }
            _ => {}
        }
    }

    /// A term; a step without a name if it is none. `after` is where the ids go that the member of a
    /// partial waits for.
    fn term(&mut self, bytes: &[u8], place: &str, depth: usize, after: Option<&mut Vec<String>>) -> Term {
        if depth > MAX_DEPTH {
            self.problem(
                "too-deep",
                place,
                format!("terms nest deeper than {MAX_DEPTH} levels"),
                "split the workflow",
            );
            return unread(String::new());
        }
        if let Item::List(_) = first(bytes) {
            return Term::Sequence(self.terms(bytes, place, depth));
        }
        let Some(mut object) = self.object(bytes, place) else { return unread(String::new()) };
        let kinds: Vec<&str> =
            TERMS.into_iter().filter(|kind| object.fields.iter().any(|(name, _)| name == kind)).collect();
        let [kind] = kinds[..] else {
            let message = match kinds[..] {
                [] => "this object is no term".to_owned(),
                _ => format!("this object is {} at once", kinds.join(" and ")),
            };
            let help = format!("give exactly one of: {}", TERMS.join(", "));
            self.problem("bad-term", place, message, &help);
            return unread(self.id(&mut object));
        };
        let body = object.take(kind).expect("it is there");
        let at = object.at(kind);
        if let Some(ids) = object.take("after") {
            let place = object.at("after");
            match after {
                None => self.problem(
                    "bad-term",
                    &place,
                    "`after` orders the members of a partial",
                    "put the steps into a partial",
                ),
                Some(after) => {
                    for (index, id) in self.list(ids, &place).into_iter().enumerate() {
                        after.extend(self.text(id, &format!("{place}[{index}]")));
                    }
                }
            }
        }
        let known;
        let term = match kind {
            "sequence" | "parallel" => {
                known = format!("{kind}, after");
                let terms = self.terms(body, &at, depth);
                if kind == "sequence" { Term::Sequence(terms) } else { Term::Parallel(terms) }
            }
            "partial" => {
                known = format!("{kind}, after");
                let open = self.after.last_mut().expect("inside a block");
                let record = open.len();
                open.push(Vec::new());
                let mut terms = Vec::new();
                for (member, bytes) in self.members(body, &at).into_iter().enumerate() {
                    let place = format!("{at}[{member}]");
                    let mut ids = Vec::new();
                    terms.push(self.term(bytes, &place, depth + 1, Some(&mut ids)));
                    if !ids.is_empty() {
                        let after = After { member: member as u32, ids, place: join(&place, "after") };
                        self.after.last_mut().expect("inside a block")[record].push(after);
                    }
                }
                Term::Partial { terms, edges: Vec::new() }
            }
            "task" => {
                known = "task, id, args, with, set, after, options, reads, writes, takes, reduces".to_owned();
                self.activity(body, &at, &mut object)
            }
            _ => {
                let id = self.id(&mut object);
                let (fields, term) = self.composite(kind, id, body, &at, &mut object, depth);
                known = format!("{kind}, id, after{fields}");
                term
            }
        };
        self.finish(object, &known);
        term
    }

    fn terms(&mut self, bytes: &[u8], place: &str, depth: usize) -> Vec<Term> {
        let members = self.members(bytes, place).into_iter().enumerate();
        members.map(|(at, bytes)| self.term(bytes, &format!("{place}[{at}]"), depth + 1, None)).collect()
    }

    fn members<'b>(&mut self, bytes: &'b [u8], place: &str) -> Vec<&'b [u8]> {
        match first(bytes) {
            Item::List(_) => self.list(bytes, place),
            // Reported as a term, which leaves open what its steps are called.
            _ => vec![bytes],
        }
    }

    /// Bindings by name.
    pub(super) fn named(&mut self, bytes: Option<&[u8]>, place: &str) -> Vec<(String, Binding)> {
        let Some(object) = bytes.and_then(|bytes| self.object(bytes, place)) else { return Vec::new() };
        let field = |&(name, bytes): &Entry<'_>| (name.to_owned(), self.binding(bytes, &object.at(name), 0));
        object.fields.iter().map(field).collect()
    }

    fn activity(&mut self, task: &[u8], at: &str, object: &mut Object<'_>) -> Term {
        let task = self.name(task, at);
        let id = self.id(object);
        let mut args = Vec::new();
        let place = object.at("args");
        if let Some(bytes) = object.take("args") {
            for (index, bytes) in self.list(bytes, &place).into_iter().enumerate() {
                args.push(self.binding(bytes, &format!("{place}[{index}]"), 0));
            }
        }
        let (place, with) = (object.at("with"), object.take("with"));
        let kwargs = self.named(with, &place);
        let place = object.at("set");
        let mut set = Vec::new();
        if let Some(bytes) = object.take("set")
            && let Some(fields) = self.object(bytes, &place)
        {
            for &(name, bytes) in &fields.fields {
                if let Some(expr) = self.expression(bytes, &fields.at(name)) {
                    set.push((name.to_owned(), expr));
                }
            }
        }
        let access = self.accesses(object);
        let place = object.at("options");
        let options = object.take("options").map(|bytes| self.options(bytes, &place)).unwrap_or_default();
        let options = self.options.entry(options).or_insert_with_key(|key| Arc::new(key.clone())).clone();
        Term::Activity(Activity { id, task, args, kwargs, set, access, options })
    }
}

/// The block that does nothing.
pub(super) fn nothing() -> Block {
    Block { term: Box::new(Term::Sequence(Vec::new())), result: None, locals: Vec::new() }
}

/// The step that stands for a term that could not be read.
fn unread(id: String) -> Term {
    let (task, options) = (String::new(), Arc::default());
    Term::Activity(Activity { id, task, args: vec![], kwargs: vec![], set: vec![], access: None, options })
}

/// Calls with the id of every step of the block, and what it is called by default.
fn for_each_id(term: &mut Term, call: &mut impl FnMut(&mut String, &str)) {
    match term {
        Term::Sequence(terms) | Term::Parallel(terms) | Term::Partial { terms, .. } => {
            terms.iter_mut().for_each(|term| for_each_id(term, call));
        }
        Term::Activity(Activity { id, task, .. }) => call(id, task),
        Term::Choice { id, .. } => call(id, "choice"),
        Term::Loop { id, .. } => call(id, "loop"),
        Term::Each { id, .. } => call(id, "each"),
        Term::Scope { id, workflow, .. } | Term::Recursion { id, workflow, .. } => call(id, workflow),
        Term::Timeout { id, .. } => call(id, "timeout"),
        Term::Handler { id, .. } => call(id, "try"),
        Term::Sleep { id, .. } => call(id, "sleep"),
        Term::Signal { id, name } => call(id, name),
        Term::First { id, .. } => call(id, "first"),
    }
}

/// An id from a name: what a path can't hold is replaced, and a number makes it unique.
fn fresh(base: &str, taken: &FxHashSet<String>) -> String {
    let base = match base.replace(['/', '[', ']'], "_").trim_start_matches('$') {
        "" => "step".to_owned(),
        base => base.to_owned(),
    };
    if !taken.contains(&base) {
        return base;
    }
    // Steps of one task are numbered in order, so the next free number is found by doubling
    // and halving rather than one by one.
    let free = |n: u64| !taken.contains(&format!("{base}_{n}"));
    let mut high = 2;
    while !free(high) {
        high *= 2;
    }
    let mut low = high / 2;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if free(middle) { high = middle } else { low = middle }
    }
    format!("{base}_{high}")
}
