//! Definition object (MessagePack, as `docs/definition.md` describes it) → `Definition`.
//!
//! Input is hostile until checked: nesting is bounded, every field is known or refused, and
//! all problems are reported at once, each with its place.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::term::{
    Activity, Backoff, Binding, Block, Definition, Input, MAX_RECURSION, OnError, Options, Resources, Retry,
    Term,
};
use crate::expr::Expr;
use crate::problem::Problem;
use crate::units;
use crate::value::{self, Entry, Item};

/// Terms and bindings nest no deeper, because they are worked on by recursion.
pub const MAX_DEPTH: usize = 200;

/// The types an input may have.
pub const KINDS: [&str; 10] =
    ["any", "null", "bool", "int", "float", "number", "str", "bytes", "list", "map"];

/// The five priority classes, from the most urgent.
pub const PRIORITIES: [&str; 5] = ["critical", "high", "normal", "low", "background"];

impl Definition {
    /// Reads a definition object, or reports everything that is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::default();
        match value::skip(bytes, 0) {
            Ok(end) if end == bytes.len() => {}
            Ok(end) => {
                reader.problem("bad-definition", "", format!("bytes follow the value at {end}"), "drop them")
            }
            Err(error) => reader.problem("bad-definition", "", error.to_string(), "encode it as MessagePack"),
        }
        if reader.problems.is_empty() {
            let definition = reader.definition(bytes);
            if reader.problems.is_empty()
                && let Some(definition) = definition
            {
                return Ok(definition);
            }
        }
        Err(reader.problems)
    }
}

#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
    /// Equal options are one allocation.
    options: HashMap<Options, Arc<Options>>,
    /// Per open block: the `after` fields of its partials, in order of appearance.
    after: Vec<Vec<Vec<After>>>,
}

/// The `after` field of a member of a partial.
struct After {
    member: u32,
    ids: Vec<String>,
    place: String,
}

/// An object whose fields are taken one by one, so that what is left over is unknown.
struct Object<'b> {
    fields: Vec<Entry<'b>>,
    place: String,
}

impl<'b> Object<'b> {
    fn take(&mut self, key: &str) -> Option<&'b [u8]> {
        let at = self.fields.iter().position(|&(name, _)| name == key)?;
        Some(self.fields.remove(at).1)
    }

    fn at(&self, key: &str) -> String {
        join(&self.place, key)
    }
}

fn join(place: &str, part: &str) -> String {
    if place.is_empty() { part.to_owned() } else { format!("{place}/{part}") }
}

fn first(bytes: &[u8]) -> Item<'_> {
    value::item(bytes, 0).map_or(Item::Nil, |(item, _)| item)
}

const TERMS: [&str; 13] = [
    "task", "sequence", "parallel", "partial", "choice", "loop", "each", "workflow", "timeout", "try",
    "sleep", "signal", "first",
];

impl Reader {
    fn problem(&mut self, code: &'static str, place: &str, message: impl Into<String>, help: &str) {
        self.problems.push(Problem::new(code, place, message, help));
    }

    fn object<'b>(&mut self, bytes: &'b [u8], place: &str) -> Option<Object<'b>> {
        match value::entries(bytes) {
            Ok(Some(fields)) => {
                let mut seen = FxHashSet::default();
                for (name, _) in &fields {
                    if !seen.insert(*name) {
                        self.problem(
                            "bad-definition",
                            place,
                            format!("the field {name:?} is given twice"),
                            "keep one of them",
                        );
                    }
                }
                Some(Object { fields, place: place.to_owned() })
            }
            _ => {
                self.wrong(bytes, place, "an object");
                None
            }
        }
    }

    fn wrong(&mut self, bytes: &[u8], place: &str, wanted: &str) {
        let found = first(bytes).kind();
        self.problem(
            "bad-definition",
            place,
            format!("{found} where {wanted} belongs"),
            "see the definition format",
        );
    }

    /// Reports the fields that nobody took.
    fn finish(&mut self, object: Object<'_>, known: &str) {
        for (name, _) in &object.fields {
            let place = object.at(name);
            self.problem(
                "unknown-field",
                &place,
                format!("there is no field {name:?} here"),
                &format!("fields: {known}"),
            );
        }
    }

    fn text(&mut self, bytes: &[u8], place: &str) -> Option<String> {
        match first(bytes) {
            Item::Str(text) => Some(text.to_owned()),
            _ => {
                self.wrong(bytes, place, "a text");
                None
            }
        }
    }

    /// A name of a task, workflow, input, variable or signal.
    fn name(&mut self, bytes: &[u8], place: &str) -> Option<String> {
        let text = self.text(bytes, place)?;
        if text.is_empty() || text.len() > 200 || text.chars().any(char::is_control) {
            self.problem(
                "bad-id",
                place,
                format!("{text:?} is not a name"),
                "give one to 200 bytes without control characters",
            );
            return None;
        }
        Some(text)
    }

    /// An id of a step: a part of a path, so without `/`, `[`, `]`.
    fn id(&mut self, object: &mut Object<'_>) -> String {
        let place = object.at("id");
        let Some(bytes) = object.take("id") else { return String::new() };
        let Some(id) = self.name(bytes, &place) else { return String::new() };
        if id.contains(['/', '[', ']']) || id.starts_with('$') {
            self.problem(
                "bad-id",
                &place,
                format!("{id:?} is not an id of a step"),
                "leave out '/', '[', ']' and a '$' at the start",
            );
        }
        id
    }

    fn flag(&mut self, object: &mut Object<'_>, key: &str, default: bool) -> bool {
        let place = object.at(key);
        match object.take(key).map(|bytes| (first(bytes), bytes)) {
            None => default,
            Some((Item::Bool(flag), _)) => flag,
            Some((_, bytes)) => {
                self.wrong(bytes, &place, "true or false");
                default
            }
        }
    }

    fn count(&mut self, object: &mut Object<'_>, key: &str, least: i64) -> Option<u32> {
        let place = object.at(key);
        let bytes = object.take(key)?;
        match first(bytes) {
            Item::Int(number) if number >= least && number <= i64::from(u32::MAX) => Some(number as u32),
            Item::Nil => None,
            Item::Int(number) => {
                self.problem(
                    "bad-option",
                    &place,
                    format!("{number} is out of range"),
                    &format!("give a whole number from {least} to {}", u32::MAX),
                );
                None
            }
            _ => {
                self.wrong(bytes, &place, "a whole number");
                None
            }
        }
    }

    fn number(&mut self, object: &mut Object<'_>, key: &str, default: f64, range: (f64, f64)) -> f64 {
        let place = object.at(key);
        let Some(bytes) = object.take(key) else { return default };
        let number = match first(bytes) {
            Item::Int(number) => number as f64,
            Item::Float(number) => number,
            _ => {
                self.wrong(bytes, &place, "a number");
                return default;
            }
        };
        if !(range.0..=range.1).contains(&number) {
            let help = format!("give a number from {} to {}", range.0, range.1);
            self.problem("bad-option", &place, format!("{number} is out of range"), &help);
            return default;
        }
        number
    }

    fn duration(&mut self, bytes: &[u8], place: &str) -> Option<i64> {
        let parsed = match first(bytes) {
            Item::Int(seconds) => units::seconds_to_micros(seconds as f64),
            Item::Float(seconds) => units::seconds_to_micros(seconds),
            Item::Str(text) => units::parse_duration(text),
            Item::Nil => return None,
            _ => {
                self.wrong(bytes, place, "a duration");
                return None;
            }
        };
        parsed
            .map_err(|message| {
                self.problem("bad-duration", place, message, "give seconds or a text such as \"5m\"")
            })
            .ok()
    }

    fn expression(&mut self, bytes: &[u8], place: &str) -> Option<Expr> {
        let text = self.text(bytes, place)?;
        Expr::parse(&text)
            .map_err(|message| self.problem("bad-expression", place, message, "correct the CEL expression"))
            .ok()
    }

    fn one_of<const N: usize>(&mut self, bytes: &[u8], place: &str, names: [&str; N]) -> Option<usize> {
        let text = self.text(bytes, place)?;
        let found = names.iter().position(|name| *name == text);
        if found.is_none() {
            self.problem(
                "bad-option",
                place,
                format!("{text:?} is not known here"),
                &format!("use one of: {}", names.join(", ")),
            );
        }
        found
    }

    fn list<'b>(&mut self, bytes: &'b [u8], place: &str) -> Vec<&'b [u8]> {
        match value::elements(bytes) {
            Ok(Some(items)) => items,
            _ => {
                self.wrong(bytes, place, "a list");
                Vec::new()
            }
        }
    }

    fn on_error(&mut self, object: &mut Object<'_>) -> OnError {
        let place = object.at("on_error");
        match object.take("on_error").and_then(|bytes| self.one_of(bytes, &place, ["fail_fast", "continue"]))
        {
            Some(1) => OnError::Continue,
            _ => OnError::FailFast,
        }
    }

    fn definition(&mut self, bytes: &[u8]) -> Option<Definition> {
        let mut object = self.object(bytes, "")?;
        let name = match object.take("name") {
            Some(name) => self.name(name, "name"),
            None => {
                self.problem("missing-field", "name", "a workflow needs a name", "add \"name\"");
                None
            }
        };
        let version = object.take("version").map_or(Some("1".to_owned()), |it| self.name(it, "version"));
        let description =
            object.take("description").map_or(Some(String::new()), |it| self.text(it, "description"));
        let inputs = object.take("inputs").map_or(Vec::new(), |it| self.inputs(it, "inputs"));
        let on_error = self.on_error(&mut object);
        let timeout = object.take("timeout").and_then(|it| self.duration(it, "timeout"));
        let result = object.take("result");
        let body = match object.take("term") {
            Some(term) => self.block_of(term, result, "term", "result", 0),
            None => {
                self.problem("missing-field", "term", "a workflow needs a term", "add \"term\"");
                None
            }
        };
        self.finish(object, "name, version, description, inputs, on_error, timeout, term, result");
        Some(Definition {
            name: name?,
            version: version?,
            description: description?,
            inputs,
            body: body?,
            on_error,
            timeout,
        })
    }

    fn inputs(&mut self, bytes: &[u8], place: &str) -> Vec<Input> {
        let mut inputs: Vec<Input> = Vec::new();
        if let Item::List(_) = first(bytes) {
            for (at, bytes) in self.list(bytes, place).into_iter().enumerate() {
                if let Some(name) = self.name(bytes, &format!("{place}[{at}]")) {
                    inputs.push(Input { name, kind: "any".to_owned(), default: None });
                }
            }
        } else if let Some(object) = self.object(bytes, place) {
            for &(name, bytes) in &object.fields {
                let place = object.at(name);
                let mut kind = 0;
                let mut default = None;
                if let Item::Str(_) = first(bytes) {
                    kind = self.one_of(bytes, &place, KINDS).unwrap_or(0);
                } else if let Some(mut field) = self.object(bytes, &place) {
                    if let Some(bytes) = field.take("type") {
                        kind = self.one_of(bytes, &field.at("type"), KINDS).unwrap_or(0);
                    }
                    default = field.take("default");
                    self.finish(field, "type, default");
                }
                if let Some(bytes) = default
                    && !accepts(KINDS[kind], bytes)
                {
                    self.problem(
                        "bad-input",
                        &join(&place, "default"),
                        format!("the default is {}, not {}", first(bytes).kind(), KINDS[kind]),
                        "change the default or the type",
                    );
                }
                inputs.push(Input {
                    name: name.to_owned(),
                    kind: KINDS[kind].to_owned(),
                    default: default.map(Into::into),
                });
            }
        }
        let mut seen = FxHashSet::default();
        for input in &inputs {
            if !seen.insert(input.name.clone()) {
                self.problem(
                    "bad-input",
                    place,
                    format!("the input {:?} is given twice", input.name),
                    "keep one",
                );
            }
        }
        inputs
    }

    /// A block: `{"term": …, "result": …}` or a term alone.
    fn block(&mut self, bytes: &[u8], place: &str, depth: usize) -> Option<Block> {
        if let Ok(Some(fields)) = value::entries(bytes)
            && fields.iter().any(|&(name, _)| name == "term")
        {
            let mut object = self.object(bytes, place)?;
            let (term, result) = (object.take("term")?, object.take("result"));
            let (at, result_at) = (object.at("term"), object.at("result"));
            self.finish(object, "term, result");
            return self.block_of(term, result, &at, &result_at, depth);
        }
        self.block_of(bytes, None, place, "", depth)
    }

    fn block_of(
        &mut self,
        term: &[u8],
        result: Option<&[u8]>,
        place: &str,
        result_place: &str,
        depth: usize,
    ) -> Option<Block> {
        self.after.push(Vec::new());
        let term = self.term(term, place, depth + 1, None);
        let result = match result {
            Some(bytes) => self.binding(bytes, result_place, 0).map(Some),
            None => Some(None),
        };
        let after = self.after.pop().expect("pushed above");
        let mut term = term?;
        let mut taken = FxHashSet::default();
        for_each_id(&mut term, &mut |id, _| {
            if !id.is_empty() {
                taken.insert(id.clone());
            }
        });
        for_each_id(&mut term, &mut |id, base| {
            if id.is_empty() {
                *id = fresh(base, &taken);
                taken.insert(id.clone());
            }
        });
        let mut after = after.into_iter();
        self.order(&mut term, &mut after);
        Some(Block { term: Box::new(term), result: result? })
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
                    let mut members = HashMap::new();
                    for (at, term) in terms.iter_mut().enumerate() {
                        for_each_id(term, &mut |id, _| {
                            members.insert(id.clone(), at as u32);
                        });
                    }
                    for After { member, ids, place } in record {
                        for id in ids {
                            match members.get(&id) {
                                Some(&before) if before != member => edges.push((before, member)),
                                found => {
                                    let (code, message) = match found {
                                        Some(_) => {
                                            ("cyclic-dependency", format!("{id:?} would wait for itself"))
                                        }
                                        None => ("unknown-reference", format!("no sibling is called {id:?}")),
                                    };
                                    self.problem(
                                        code,
                                        &place,
                                        message,
                                        "name another member of this partial",
                                    );
                                }
                            }
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

    /// `after` is where the ids go that the member of a partial waits for.
    fn term(
        &mut self,
        bytes: &[u8],
        place: &str,
        depth: usize,
        after: Option<&mut Vec<String>>,
    ) -> Option<Term> {
        if depth > MAX_DEPTH {
            self.problem(
                "too-deep",
                place,
                format!("terms nest deeper than {MAX_DEPTH} levels"),
                "split the workflow",
            );
            return None;
        }
        if let Item::List(_) = first(bytes) {
            return Some(Term::Sequence(self.terms(bytes, place, depth)));
        }
        let mut object = self.object(bytes, place)?;
        let kinds: Vec<&str> =
            TERMS.into_iter().filter(|kind| object.fields.iter().any(|(name, _)| name == kind)).collect();
        let [kind] = kinds[..] else {
            let message = match kinds[..] {
                [] => "this object is no term".to_owned(),
                _ => format!("this object is {} at once", kinds.join(" and ")),
            };
            let help = format!("give exactly one of: {}", TERMS.join(", "));
            self.problem("bad-term", place, message, &help);
            return None;
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
                if kind == "sequence" { Some(Term::Sequence(terms)) } else { Some(Term::Parallel(terms)) }
            }
            "partial" => {
                known = format!("{kind}, after");
                let open = self.after.last_mut().expect("inside a block");
                let record = open.len();
                open.push(Vec::new());
                let mut terms = Vec::new();
                for (member, bytes) in self.list(body, &at).into_iter().enumerate() {
                    let place = format!("{at}[{member}]");
                    let mut ids = Vec::new();
                    let before = terms.len();
                    terms.extend(self.term(bytes, &place, depth + 1, Some(&mut ids)));
                    if !ids.is_empty() && terms.len() > before {
                        let place = join(&place, "after");
                        let after = After { member: before as u32, ids, place };
                        self.after.last_mut().expect("inside a block")[record].push(after);
                    }
                }
                Some(Term::Partial { terms, edges: Vec::new() })
            }
            "task" => {
                known = "task, id, args, with, set, after, options".to_owned();
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
        let mut terms = Vec::new();
        for (at, bytes) in self.list(bytes, place).into_iter().enumerate() {
            terms.extend(self.term(bytes, &format!("{place}[{at}]"), depth + 1, None));
        }
        terms
    }

    fn named(&mut self, bytes: Option<&[u8]>, place: &str) -> Option<Vec<(String, Binding)>> {
        let Some(bytes) = bytes else { return Some(Vec::new()) };
        let object = self.object(bytes, place)?;
        let mut out = Vec::new();
        for &(name, bytes) in &object.fields {
            out.push((name.to_owned(), self.binding(bytes, &object.at(name), 0)?));
        }
        Some(out)
    }

    fn activity(&mut self, task: &[u8], at: &str, object: &mut Object<'_>) -> Option<Term> {
        let task = self.name(task, at);
        let id = self.id(object);
        let mut args = Vec::new();
        let place = object.at("args");
        if let Some(bytes) = object.take("args") {
            for (index, bytes) in self.list(bytes, &place).into_iter().enumerate() {
                args.extend(self.binding(bytes, &format!("{place}[{index}]"), 0));
            }
        }
        let place = object.at("with");
        let with = object.take("with");
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
        let place = object.at("options");
        let options = object.take("options").map(|bytes| self.options(bytes, &place)).unwrap_or_default();
        let options = self.options.entry(options).or_insert_with_key(|key| Arc::new(key.clone())).clone();
        Some(Term::Activity(Activity { id, task: task?, args, kwargs: kwargs?, set, options }))
    }

    fn options(&mut self, bytes: &[u8], place: &str) -> Options {
        let Some(mut object) = self.object(bytes, place) else { return Options::default() };
        let at = object.at("retry");
        let retry = object.take("retry").and_then(|bytes| self.retry(bytes, &at));
        let at = object.at("timeout");
        let timeout = object.take("timeout").and_then(|bytes| self.duration(bytes, &at));
        let at = object.at("priority");
        let priority = object.take("priority").and_then(|bytes| self.one_of(bytes, &at, PRIORITIES));
        let at = object.at("on_upstream_failure");
        let upstream =
            object.take("on_upstream_failure").and_then(|bytes| self.one_of(bytes, &at, ["skip", "run"]));
        let at = object.at("commutes_with");
        let mut commutes_with = Vec::new();
        if let Some(bytes) = object.take("commutes_with") {
            for (index, name) in self.list(bytes, &at).into_iter().enumerate() {
                commutes_with.extend(self.name(name, &format!("{at}[{index}]")));
            }
            commutes_with.sort();
            commutes_with.dedup();
        }
        let at = object.at("resources");
        let mut amounts = BTreeMap::new();
        if let Some(bytes) = object.take("resources")
            && let Some(fields) = self.object(bytes, &at)
        {
            for &(name, bytes) in &fields.fields {
                if let Some(amount) = self.amount(name, bytes, &fields.at(name)) {
                    amounts.insert(name.to_owned(), amount);
                }
            }
        }
        let options = Options {
            retry,
            timeout,
            priority: priority.map(|class| class as u8),
            tolerated: !self.flag(&mut object, "critical", true),
            run_on_upstream_failure: upstream == Some(1),
            resources: Resources { amounts },
            pure: self.flag(&mut object, "pure", false),
            idempotent: self.flag(&mut object, "idempotent", false),
            commutes_with,
            share: self.flag(&mut object, "share", false),
        };
        self.finish(
            object,
            "retry, timeout, priority, critical, on_upstream_failure, resources, pure, idempotent, \
             commutes_with, share",
        );
        options
    }

    fn amount(&mut self, name: &str, bytes: &[u8], place: &str) -> Option<u64> {
        let size = matches!(name, "memory" | "disk");
        let amount = match first(bytes) {
            Item::Int(number) => number as f64,
            Item::Float(number) => number,
            Item::Str(text) if size => match units::parse_size(text) {
                Ok(bytes) => bytes as f64,
                Err(message) => {
                    self.problem("bad-size", place, message, "give bytes or a text such as \"2GiB\"");
                    return None;
                }
            },
            _ => {
                self.wrong(bytes, place, if size { "a size" } else { "a number" });
                return None;
            }
        };
        let scale = if size { 1.0 } else { 1000.0 };
        if !(0.0..=9e15).contains(&(amount * scale)) {
            self.problem(
                "bad-option",
                place,
                format!("{amount} is out of range"),
                "give an amount that is not negative",
            );
            return None;
        }
        Some((amount * scale).round() as u64)
    }

    fn retry(&mut self, bytes: &[u8], place: &str) -> Option<Retry> {
        if let Item::Int(retries @ 0..=1_000_000) = first(bytes) {
            return Some(Retry {
                max_retries: retries as u32,
                backoff: Backoff::Exponential,
                delay: 1_000_000,
                factor_milli: 2000,
                cap: None,
                jitter_milli: 0,
            });
        }
        let mut object = self.object(bytes, place)?;
        let at = object.at("delay");
        let delay = object.take("delay").and_then(|bytes| self.duration(bytes, &at)).unwrap_or(1_000_000);
        let at = object.at("backoff");
        let backoff = object
            .take("backoff")
            .and_then(|bytes| self.one_of(bytes, &at, ["exponential", "fixed", "linear"]));
        let at = object.at("cap");
        let cap = object.take("cap").and_then(|bytes| self.duration(bytes, &at));
        let retry = Retry {
            max_retries: self.count(&mut object, "max_retries", 0).unwrap_or(3),
            backoff: [Backoff::Exponential, Backoff::Fixed, Backoff::Linear][backoff.unwrap_or(0)],
            delay,
            factor_milli: (self.number(&mut object, "factor", 2.0, (1.0, 1000.0)) * 1000.0).round() as u32,
            cap,
            jitter_milli: (self.number(&mut object, "jitter", 0.0, (0.0, 1.0)) * 1000.0).round() as u32,
        };
        self.finish(object, "max_retries, delay, backoff, factor, cap, jitter");
        Some(retry)
    }

    fn composite(
        &mut self,
        kind: &str,
        id: String,
        body: &[u8],
        at: &str,
        object: &mut Object<'_>,
        depth: usize,
    ) -> (&'static str, Option<Term>) {
        match kind {
            "choice" => (", else", self.choice(id, body, at, object, depth)),
            "loop" => (", init, while, as, max, unbounded", self.repeat(id, body, at, object, depth)),
            "each" => {
                let items = self.binding(body, at, 0);
                let name = self.bound_name(object, "item");
                let limit = self.count(object, "limit", 1);
                let on_error = self.on_error(object);
                let body = self.inner(object, "do", depth);
                let term = items.zip(body).map(|(items, body)| Term::Each {
                    id,
                    name,
                    items,
                    body,
                    limit,
                    on_error,
                });
                (", do, as, limit, on_error", term)
            }
            "workflow" => {
                let workflow = self.name(body, at);
                let (place, with) = (object.at("with"), object.take("with"));
                let inputs = self.named(with, &place);
                let term = match self.recursion(object) {
                    Some(max_depth) => {
                        (|| Some(Term::Recursion { id, workflow: workflow?, inputs: inputs?, max_depth }))()
                    }
                    None => {
                        let body = self.inner(object, "do", depth);
                        (|| Some(Term::Scope { id, workflow: workflow?, inputs: inputs?, body: body? }))()
                    }
                };
                (", with, do, max_depth", term)
            }
            "timeout" => {
                let micros = self.duration(body, at);
                let body = self.inner(object, "do", depth);
                (", do", micros.zip(body).map(|(micros, body)| Term::Timeout { id, micros, body }))
            }
            "try" => {
                let body = self.block(body, at, depth);
                let handler = self.inner(object, "catch", depth);
                (", catch", body.zip(handler).map(|(body, handler)| Term::Handler { id, body, handler }))
            }
            "sleep" => ("", self.binding(body, at, 0).map(|duration| Term::Sleep { id, duration })),
            "signal" => ("", self.name(body, at).map(|name| Term::Signal { id, name })),
            _ => {
                let count = match first(body) {
                    Item::Int(count @ 1..=1_000_000) => Some(count as u32),
                    _ => {
                        self.wrong(body, at, "a number of branches");
                        None
                    }
                };
                let place = object.at("of");
                let mut branches = Vec::new();
                match object.take("of") {
                    None => self.missing(&place),
                    Some(bytes) => {
                        for (index, bytes) in self.list(bytes, &place).into_iter().enumerate() {
                            branches.extend(self.block(bytes, &format!("{place}[{index}]"), depth));
                        }
                    }
                }
                (", of", count.map(|count| Term::First { id, count, branches }))
            }
        }
    }

    /// The bound of a call of an enclosing workflow; `None` for a workflow with a body of its own.
    fn recursion(&mut self, object: &mut Object<'_>) -> Option<u32> {
        let place = object.at("max_depth");
        let bytes = object.take("max_depth")?;
        if object.fields.iter().any(|&(name, _)| name == "do") {
            self.problem(
                "bad-term",
                &place,
                "`max_depth` bounds a call of an enclosing workflow, which has no `do`",
                "leave out one of them",
            );
            return None;
        }
        match first(bytes) {
            Item::Int(depth) if (1..=i64::from(MAX_RECURSION)).contains(&depth) => Some(depth as u32),
            _ => {
                self.problem(
                    "bad-option",
                    &place,
                    "this is no bound on how deep a workflow may nest in itself",
                    &format!("give a whole number from 1 to {MAX_RECURSION}"),
                );
                Some(1)
            }
        }
    }

    fn missing(&mut self, place: &str) {
        self.problem("missing-field", place, "this field is missing", "add it");
    }

    fn inner(&mut self, object: &mut Object<'_>, key: &str, depth: usize) -> Option<Block> {
        let place = object.at(key);
        match object.take(key) {
            Some(bytes) => self.block(bytes, &place, depth),
            None => {
                self.missing(&place);
                None
            }
        }
    }

    /// The name that `as` gives; it has to be one that CEL can read.
    fn bound_name(&mut self, object: &mut Object<'_>, default: &str) -> String {
        let place = object.at("as");
        let Some(bytes) = object.take("as") else { return default.to_owned() };
        let Some(name) = self.name(bytes, &place) else { return default.to_owned() };
        let plain = Expr::parse(&name).ok().and_then(|expr| expr.path().cloned());
        if plain.is_none_or(|path| *path.root != *name || !path.segments.is_empty()) {
            self.problem(
                "bad-id",
                &place,
                format!("{name:?} can't be read in an expression"),
                "use letters, digits and _",
            );
        }
        name
    }

    fn choice(
        &mut self,
        id: String,
        body: &[u8],
        at: &str,
        object: &mut Object<'_>,
        depth: usize,
    ) -> Option<Term> {
        let mut branches = Vec::new();
        for (index, bytes) in self.list(body, at).into_iter().enumerate() {
            let place = format!("{at}[{index}]");
            let Some(mut branch) = self.object(bytes, &place) else { continue };
            let place = branch.at("if");
            let condition = match branch.take("if") {
                Some(bytes) => self.expression(bytes, &place),
                None => {
                    self.missing(&place);
                    None
                }
            };
            let then = self.inner(&mut branch, "then", depth);
            self.finish(branch, "if, then");
            branches.extend(condition.zip(then));
        }
        let place = object.at("else");
        let otherwise = match object.take("else") {
            Some(bytes) => Some(self.block(bytes, &place, depth)?),
            None => None,
        };
        Some(Term::Choice { id, branches, otherwise })
    }

    fn repeat(
        &mut self,
        id: String,
        body: &[u8],
        at: &str,
        object: &mut Object<'_>,
        depth: usize,
    ) -> Option<Term> {
        let place = object.at("init");
        let init = match object.take("init") {
            Some(bytes) => self.binding(bytes, &place, 0),
            None => Some(Binding::Const([0xc0u8].as_slice().into())),
        };
        let place = object.at("while");
        let condition = match object.take("while") {
            Some(bytes) => self.expression(bytes, &place),
            None => {
                self.missing(&place);
                None
            }
        };
        let name = self.bound_name(object, "state");
        let max = self.count(object, "max", 0);
        let unbounded = self.flag(object, "unbounded", false);
        if max.is_none() && !unbounded {
            self.problem(
                "unbounded-loop",
                &object.at("max"),
                "a loop needs a bound on its iterations",
                "give `max`, or say `unbounded: true`",
            );
        }
        let body = self.block(body, at, depth);
        Some(Term::Loop { id, name, init: init?, condition: condition?, body: body?, max })
    }

    fn binding(&mut self, bytes: &[u8], place: &str, depth: usize) -> Option<Binding> {
        if depth > MAX_DEPTH {
            self.problem(
                "too-deep",
                place,
                format!("values nest deeper than {MAX_DEPTH} levels"),
                "flatten the value",
            );
            return None;
        }
        let constant = || Some(Binding::Const(bytes.into()));
        // Most constants are told from their bytes alone.
        if !bytes.contains(&b'$') {
            return constant();
        }
        match first(bytes) {
            Item::List(_) => {
                let mut items = Vec::new();
                for (at, bytes) in self.list(bytes, place).into_iter().enumerate() {
                    items.push(self.binding(bytes, &format!("{place}[{at}]"), depth + 1)?);
                }
                if items.iter().all(|item| matches!(item, Binding::Const(_))) && !has_literal(bytes) {
                    return constant();
                }
                Some(Binding::List(items))
            }
            Item::Map(count) => {
                let Ok(Some(fields)) = value::entries(bytes) else { return constant() };
                if count == 1 {
                    match fields[0] {
                        ("$", source) => return self.expression(source, place).map(Binding::Expr),
                        ("$const", literal) => return Some(Binding::Const(literal.into())),
                        _ => {}
                    }
                }
                let mut items = Vec::new();
                for (name, bytes) in fields {
                    items.push((name.to_owned(), self.binding(bytes, &join(place, name), depth + 1)?));
                }
                if items.iter().all(|(_, item)| matches!(item, Binding::Const(_))) && !has_literal(bytes) {
                    return constant();
                }
                Some(Binding::Map(items))
            }
            _ => constant(),
        }
    }
}

/// Whether `$const` may stand somewhere inside, so that the bytes are not the value itself.
fn has_literal(bytes: &[u8]) -> bool {
    bytes.windows(6).any(|part| part == b"$const")
}

/// Whether a value is of a type of an input.
pub fn accepts(kind: &str, bytes: &[u8]) -> bool {
    let item = first(bytes);
    let found = item.kind();
    match kind {
        "any" => true,
        "float" | "number" => matches!(found, "int" | "float"),
        "bytes" => matches!(item, Item::Bytes(_)),
        _ => kind == found,
    }
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
    let base = base.replace(['/', '[', ']'], "_").trim_start_matches('$').to_owned();
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    pub(crate) fn pack(json: &Json) -> Vec<u8> {
        rmp_serde::to_vec_named(json).unwrap()
    }

    fn problems(json: &Json) -> Vec<(&'static str, String)> {
        match Definition::read(&pack(json)) {
            Ok(definition) => {
                let errors = super::super::compile::Program::compile(&definition).unwrap_err();
                errors.into_iter().map(|it| (it.code, it.place)).collect()
            }
            Err(errors) => errors.into_iter().map(|it| (it.code, it.place)).collect(),
        }
    }

    /// Req: P1.23, P7.90, P9.68
    #[test]
    fn all_problems_are_reported_at_once_with_their_places() {
        let found = problems(&json!({
            "name": "", "term": {"partial": [
                {"task": "a", "with": {"x": {"$": "1 +"}}, "typo": 1},
                {"loop": {"task": "b"}, "while": "true"},
                {"task": "c", "options": {"timeout": "5x", "retry": {"jitter": 7}}},
                {"task": "d", "after": ["nobody"]},
                {"sequence": [], "parallel": []},
            ]},
        }));
        let mut codes: Vec<&str> = found.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        assert_eq!(
            codes,
            [
                "bad-duration",
                "bad-expression",
                "bad-id",
                "bad-option",
                "bad-term",
                "unbounded-loop",
                "unknown-field",
                "unknown-reference"
            ]
        );
        assert!(found.contains(&("bad-expression", "term/partial[0]/with/x".to_owned())), "{found:?}");
    }

    #[test]
    fn ids_are_made_unique_in_order_and_leave_given_ones_alone() {
        let definition = Definition::read(&pack(&json!({
            "name": "w", "term": [{"task": "a"}, {"task": "a"}, {"task": "b", "id": "a_2"}, {"task": "a"}],
        })))
        .unwrap();
        let Term::Sequence(terms) = &*definition.body.term else { panic!() };
        let ids: Vec<&str> = terms
            .iter()
            .map(|term| match term {
                Term::Activity(activity) => &*activity.id,
                _ => panic!(),
            })
            .collect();
        assert_eq!(ids, ["a", "a_3", "a_2", "a_4"]);
    }

    /// Req: P7.90, P7.91, P7.93
    #[test]
    fn cycles_duplicates_and_unknown_steps_are_found() {
        let cycle = json!({"name": "w", "term": {"partial": [
            {"task": "t", "id": "a", "after": ["b"]}, {"task": "t", "id": "b", "after": ["a"]}]}});
        assert_eq!(problems(&cycle)[0].0, "cyclic-dependency");
        let twice = json!({"name": "w", "term": [{"task": "t", "id": "a"}, {"task": "t", "id": "a"}]});
        assert_eq!(problems(&twice), [("duplicate-step", "a".to_owned())]);
        let unknown = json!({"name": "w", "term": {"task": "t", "args": [{"$": "steps.x"}]}});
        assert_eq!(problems(&unknown), [("unknown-reference", "t".to_owned())]);
    }

    #[test]
    fn a_recursion_has_a_bound_and_no_body() {
        let found = |term: Json| problems(&json!({"name": "w", "term": term}));
        let place = || "term/max_depth".to_owned();
        for bound in [json!(0), json!(201), json!(1.5), json!(null)] {
            assert_eq!(found(json!({"workflow": "w", "max_depth": bound})), [("bad-option", place())]);
        }
        let both = json!({"workflow": "w", "max_depth": 1, "do": {"sleep": 1}});
        assert_eq!(found(both), [("bad-term", place())]);
        assert_eq!(found(json!({"workflow": "w"})), [("missing-field", "term/do".to_owned())]);
    }

    #[test]
    fn deep_nesting_is_refused_without_a_stack_overflow() {
        let mut term = json!({"task": "t"});
        for _ in 0..100 {
            term = json!({"sequence": [term]});
        }
        assert!(Definition::read(&pack(&json!({"name": "w", "term": term}))).is_ok());
        let bytes = [b"\x82\xa4name\xa1w\xa4term".as_slice(), &[0x91; 100_000], &[0x80]].concat();
        assert_eq!(Definition::read(&bytes).unwrap_err()[0].code, "too-deep");
    }
}
