//! Definition object (MessagePack, as `docs/definition.md` describes it) → `Definition`.
//!
//! Input is hostile until checked: nesting is bounded, every field is known or refused, and
//! all problems are reported at once, each with its place.

mod access;
mod binding;
mod composite;
mod fields;
mod options;
mod terms;

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use self::fields::{first, join};
use self::terms::After;
use super::term::{Access, Block, Definition, Input, Options};
use crate::access::Template;
use crate::problem::Problem;
use crate::value::{self, Item};

/// Terms and bindings nest no deeper, because they are worked on by recursion.
pub const MAX_DEPTH: usize = 200;

/// The types an input may have.
pub const KINDS: [&str; 10] =
    ["any", "null", "bool", "int", "float", "number", "str", "bytes", "list", "map"];

/// The five priority classes, from the most urgent.
pub const PRIORITIES: [&str; 5] = ["critical", "high", "normal", "low", "background"];

impl Definition {
    /// Reads a definition object, or reports everything that is wrong with it as it stands.
    /// `Program::read` also finds what is wrong between its parts.
    pub fn read(bytes: &[u8]) -> Result<Self, Vec<Problem>> {
        match draft(bytes) {
            (Some(definition), problems) if problems.is_empty() => Ok(definition),
            (_, problems) => Err(problems),
        }
    }
}

/// Reads as much as can be read, and what is wrong. Something plain takes the place of what is
/// wrong, so that nothing else seems wrong because of it: null, a condition that holds, a step. An id or
/// a name that could not be read is empty, and may be any.
pub(super) fn draft(bytes: &[u8]) -> (Option<Definition>, Vec<Problem>) {
    let mut reader = Reader::default();
    match value::skip(bytes, 0) {
        Ok(end) if end == bytes.len() => {}
        Ok(end) => {
            reader.problem("bad-definition", "", format!("bytes follow the value at {end}"), "drop them");
            return (None, reader.problems);
        }
        Err(error) => {
            reader.problem("bad-definition", "", error.to_string(), "encode it as MessagePack");
            return (None, reader.problems);
        }
    }
    let definition = reader.definition(bytes);
    (definition, reader.problems)
}

#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
    /// Equal options are one allocation.
    options: HashMap<Options, Arc<Options>>,
    /// Equal accesses, too; by the bytes of the four fields.
    accesses: HashMap<Vec<u8>, Arc<[Access]>>,
    /// Names of assets as they are written.
    templates: FxHashMap<String, Arc<Template>>,
    /// Per open block: the `after` fields of its partials, in order of appearance.
    after: Vec<Vec<Vec<After>>>,
}

impl Reader {
    fn definition(&mut self, bytes: &[u8]) -> Option<Definition> {
        let mut object = self.object(bytes, "")?;
        let name = object.take("name").map(|it| self.name(it, "name"));
        let version = object.take("version").map_or("1".to_owned(), |it| self.name(it, "version"));
        let description = object.take("description").and_then(|it| self.text(it, "description"));
        let inputs = object.take("inputs").map_or(Vec::new(), |it| self.inputs(it, "inputs"));
        let on_error = self.on_error(&mut object);
        let timeout = object.take("timeout").and_then(|it| self.duration(it, "timeout"));
        let (term, result) = (object.take("term"), object.take("result"));
        let assets = object.take("assets").map_or(Vec::new(), |it| self.assets(it, "assets", true));
        let closed = self.flag(&mut object, "closed", false);
        let locals = object.take("locals").map_or(Vec::new(), |it| self.assets(it, "locals", false));
        let body = term.map(|term| self.block_of(term, result, "term", "result", 0));
        for (key, given) in [("name", name.is_some()), ("term", body.is_some())] {
            if !given {
                self.missing(key);
            }
        }
        let known =
            "name, version, description, inputs, assets, closed, locals, on_error, timeout, term, result";
        self.finish(object, known);
        Some(Definition {
            name: name.unwrap_or_default(),
            version,
            description: description.unwrap_or_default(),
            inputs,
            assets,
            closed,
            body: Block { locals, ..body.unwrap_or_else(terms::nothing) },
            on_error,
            timeout,
        })
    }

    /// The type of an input, as an index into `KINDS`.
    fn kind(&mut self, bytes: &[u8], place: &str) -> usize {
        let kind = self.text(bytes, place).map(|text| (KINDS.iter().position(|kind| *kind == text), text));
        if let Some((None, text)) = &kind {
            let help = format!("use one of: {}", KINDS.join(", "));
            self.problem("bad-input", place, format!("{text:?} is no type of an input"), &help);
        }
        kind.and_then(|(found, _)| found).unwrap_or(0)
    }

    fn inputs(&mut self, bytes: &[u8], place: &str) -> Vec<Input> {
        let mut inputs: Vec<Input> = Vec::new();
        if let Item::List(_) = first(bytes) {
            for (at, bytes) in self.list(bytes, place).into_iter().enumerate() {
                let name = self.name(bytes, &format!("{place}[{at}]"));
                inputs.push(Input { name, kind: "any".to_owned(), default: None });
            }
        } else if let Some(object) = self.object(bytes, place) {
            for &(name, bytes) in &object.fields {
                let place = object.at(name);
                let mut kind = 0;
                let mut default = None;
                if let Item::Str(_) = first(bytes) {
                    kind = self.kind(bytes, &place);
                } else if let Some(mut field) = self.object(bytes, &place) {
                    if let Some(bytes) = field.take("type") {
                        kind = self.kind(bytes, &field.at("type"));
                    }
                    default = field.take("default");
                    self.finish(field, "type, default");
                }
                if let Some(bytes) = default {
                    self.shallow(bytes, &join(&place, "default"));
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
        } else {
            inputs.push(Input { name: String::new(), kind: "any".to_owned(), default: None });
        }
        let mut seen = FxHashSet::default();
        for input in &inputs {
            if !seen.insert(input.name.clone()) && !input.name.is_empty() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algebra::compile::Program;
    use crate::algebra::term::{Limits, Options, Term};
    use crate::algebra::write::write_options;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    fn pack(json: &Json) -> Vec<u8> {
        rmp_serde::to_vec_named(json).unwrap()
    }

    fn problems(json: &Json) -> Vec<(&'static str, String)> {
        let found = Program::read(&pack(json)).unwrap_err();
        found.into_iter().map(|it| (it.code, it.place)).collect()
    }

    /// Req: P1.23, P7.90, P7.91, P7.93, P9.68
    #[test]
    fn all_problems_are_reported_at_once_with_their_places() {
        let mut found = problems(&json!({
            "name": "", "inputs": {"n": "integer"}, "term": {"partial": [
                {"task": "a", "with": {"x": {"$": "1 +"}}, "typo": 1},
                {"loop": {"task": "b"}, "while": "true"},
                {"task": "c", "options": {"timeout": "5x", "retry": {"jitter": 7}}},
                {"task": "d", "after": ["nobody"]},
                {"task": "e", "args": [{"$": "steps.lost"}]},
                {"sequence": [{"task": "f", "id": "twin"}, {"task": "g", "id": "twin"}]},
                {"task": "h", "id": "x", "after": ["y"]}, {"task": "h", "id": "y", "after": ["x"]},
            ]},
        }));
        found.sort();
        let expected = [
            ("bad-duration", "term/partial[2]/options/timeout"),
            ("bad-expression", "term/partial[0]/with/x"),
            ("bad-id", "name"),
            ("bad-input", "inputs/n"),
            ("bad-option", "term/partial[2]/options/retry/jitter"),
            ("cyclic-dependency", "x"),
            ("duplicate-step", "twin"),
            ("unbounded-loop", "term/partial[1]/max"),
            ("unknown-field", "term/partial[0]/typo"),
            ("unknown-reference", "e"),
            ("unknown-reference", "term/partial[3]/after"),
        ];
        assert_eq!(found, expected.map(|(code, place)| (code, place.to_owned())));
    }

    /// What is wrong with a member makes nothing else seem wrong.
    #[test]
    fn one_mistake_is_one_problem() {
        let reads = |id: &str| json!({"task": "r", "args": [{"$": format!("steps.{id}")}], "after": [id]});
        let flow = |member: Json, id: &str| json!({"name": "w", "inputs": ["n"], "term": {"partial": [member, reads(id)]}});
        for (member, id, code) in [
            (json!({"task": "a", "args": [{"$": "1 +"}]}), "a", "bad-expression"),
            (json!({"task": "a", "with": 5}), "a", "bad-definition"),
            (json!({"task": 5, "id": "a"}), "a", "bad-definition"),
            (json!({"task": ""}), "any", "bad-id"),
            (json!({"id": "a"}), "a", "bad-term"),
            (json!({"sleep": 1, "signal": "x"}), "sleep", "bad-term"),
            (json!(5), "any", "bad-definition"),
            (json!({"sequence": 5}), "any", "bad-definition"),
            (json!({"choice": [{"if": "(", "then": {"task": "a"}}]}), "choice", "bad-expression"),
            (json!({"each": [1]}), "each", "missing-field"),
            (json!({"loop": {"task": "a"}, "while": "true", "max": -1}), "loop", "bad-option"),
            (json!({"timeout": null, "do": {"task": "a"}}), "timeout", "bad-definition"),
            (json!({"first": 2}), "first", "missing-field"),
            (json!({"first": "x", "of": [{"task": "a"}]}), "first", "bad-definition"),
            (json!({"try": {"task": "a"}}), "try", "missing-field"),
            (json!({"workflow": 5, "do": {"workflow": "own", "max_depth": 1}}), "any", "bad-definition"),
            (json!({"workflow": 5, "max_depth": 1}), "any", "bad-definition"),
            (json!([{"task": "t", "id": "a"}, {"task": "t", "id": "a"}]), "a", "duplicate-step"),
        ] {
            let found = problems(&flow(member.clone(), id));
            assert_eq!(found.iter().map(|it| it.0).collect::<Vec<_>>(), [code], "{member}: {found:?}");
        }
        let inputs = json!({"name": "w", "inputs": 5, "term":
            {"workflow": "w", "with": {"n": 1}, "max_depth": 1}});
        assert_eq!(problems(&inputs), [("bad-definition", "inputs".to_owned())]);
        let twice = b"\x83\xa4name\xa1w\xa4term\x90\xa4name\xa1v";
        assert_eq!(Program::read(twice).unwrap_err().len(), 1);
    }

    proptest! {
        /// Whatever is broken, there is a report and no panic.
        #[test]
        fn broken_bytes_are_reported(edits in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
            let step = json!({"task": "t", "id": "x", "args": [{"$": "steps.y.k + input.n"}], "set": {"v": "result"},
                "options": {"retry": {"max_retries": 2, "cap": "5s"}, "timeout": 3, "resources": {"memory": "2GiB"},
                    "heartbeat": "1s", "limits": {"memory": "1GB", "cpu": 9}, "grace": 1}});
            let mut bytes = pack(&json!({"name": "w", "inputs": {"n": {"type": "int", "default": 1}}, "term": [
                {"partial": [{"task": "t", "id": "y"}, {"sleep": 1, "id": "z", "after": ["y"]}]}, step,
                {"choice": [{"if": "steps.x > 1", "then": [{"signal": "s"}]}], "else": {"task": "t"}},
                {"loop": {"task": "t"}, "while": "true", "max": 3}, {"first": 1, "of": [[], []]},
                {"each": {"$": "steps.x"}, "do": {"term": {"task": "t"}, "result": {"$": "item"}}, "limit": 2},
                {"workflow": "v", "do": {"workflow": "v", "max_depth": 2}}, {"try": [], "catch": {"timeout": 1, "do": []}},
            ]}));
            prop_assert!(Program::read(&bytes).is_ok());
            for (at, byte) in edits {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            if let Err(problems) = Program::read(&bytes) {
                prop_assert!(!problems.is_empty());
            }
        }
    }

    fn options(json: Json) -> Result<Options, Vec<(&'static str, String)>> {
        let definition = json!({"name": "w", "term": {"task": "t", "options": json}});
        let read = Definition::read(&pack(&definition))
            .map_err(|found| found.into_iter().map(|it| (it.code, it.place)).collect::<Vec<_>>())?;
        assert_eq!(Definition::read(&read.write()).as_ref(), Ok(&read), "it comes back as it was");
        let Term::Activity(activity) = *read.body.term else { panic!() };
        Ok((*activity.options).clone())
    }

    #[test]
    fn signs_of_life_and_limits_of_processes() {
        let limits = Limits { memory: Some(512 << 20), cpu: Some(90_000_000) };
        let whole =
            Options { heartbeat: Some(30_000_000), limits, grace: Some(250_000), ..Options::default() };
        let json = json!({"heartbeat": 30, "limits": {"memory": "512MiB", "cpu": "1m30s"}, "grace": "250ms"});
        assert_eq!(options(json), Ok(whole.clone()));
        let one = |json| options(json!({"limits": json})).unwrap().limits;
        assert_eq!(one(json!({"memory": 7})), Limits { memory: Some(7), cpu: None });
        assert_eq!(one(json!({"cpu": 0.5})), Limits { memory: None, cpu: Some(500_000) });
        // 0 and null are nothing said, except that there need not be any grace.
        for nothing in [json!(0), json!(null)] {
            assert_eq!(one(json!({"memory": nothing, "cpu": nothing})), Limits::default());
            assert_eq!(options(json!({"heartbeat": nothing})), Ok(Options::default()));
        }
        assert_eq!(options(json!({"grace": 0})).unwrap().grace, Some(0));
        assert_eq!(options(json!({"grace": null, "limits": {}})), Ok(Options::default()));
        let at = |code, place: &str| Err(vec![(code, format!("term/options/{place}"))]);
        for (wrong, code, place) in [
            (json!({"heartbeat": "5x"}), "bad-duration", "heartbeat"),
            (json!({"heartbeat": -1}), "bad-duration", "heartbeat"),
            (json!({"grace": [1]}), "bad-definition", "grace"),
            (json!({"limits": 5}), "bad-definition", "limits"),
            (json!({"limits": {"memory": "5 XB"}}), "bad-size", "limits/memory"),
            (json!({"limits": {"memory": -1}}), "bad-option", "limits/memory"),
            (json!({"limits": {"memory": true}}), "bad-definition", "limits/memory"),
            (json!({"limits": {"cpu": "many"}}), "bad-duration", "limits/cpu"),
            (json!({"limits": {"gpu": 1}}), "unknown-field", "limits/gpu"),
        ] {
            assert_eq!(options(wrong), at(code, place));
        }
    }

    proptest! {
        #[test]
        fn options_come_back_as_they_were_written(
            expected in proptest::option::of(0..i64::MAX >> 12),
            heartbeat in proptest::option::of(1..i64::MAX >> 12),
            grace in proptest::option::of(0..i64::MAX >> 12),
            memory in proptest::option::of(1..9_000_000_000_000_000u64),
            cpu in proptest::option::of(1..i64::MAX >> 12),
        ) {
            let written = Options { expected, heartbeat, grace, limits: Limits { memory, cpu }, ..Options::default() };
            let json: Json = rmp_serde::from_slice(&write_options(&written)).unwrap();
            prop_assert_eq!(options(json), Ok(written));
        }
    }

    #[test]
    fn constants_that_nest_too_deep_are_refused() {
        let deep = |levels: usize| {
            let list = [vec![0x91u8; levels], vec![0x90]].concat();
            [b"\x82\xa4name\xa1w\xa4term\x82\xa4task\xa1t\xa4args\x91".as_slice(), &list].concat()
        };
        assert!(Definition::read(&deep(199)).is_ok());
        assert_eq!(Definition::read(&deep(100_000)).unwrap_err()[0].code, "too-deep");
    }

    #[test]
    fn a_task_whose_name_is_no_id_gets_one_that_can_be_written() {
        let definition = Definition::read(&pack(&json!({"name": "w", "term": {"task": "$"}}))).unwrap();
        assert_eq!(Definition::read(&definition.write()), Ok(definition));
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
