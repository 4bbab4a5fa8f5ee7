//! The laws by example, and against a reference interpreter that enumerates traces.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

use super::*;
use crate::algebra::compile::{Kind, Program};

mod traces;

use self::traces::{Small, small};

fn definition(term: &Json) -> Definition {
    let bytes =
        rmp_serde::to_vec_named(&json!({"name": "w", "inputs": ["c0", "c1"], "term": term, "result": null}))
            .unwrap();
    Definition::read(&bytes).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn same(a: Json, b: Json) -> bool {
    definition(&a).equivalent(&definition(&b))
}

fn t(task: &str) -> Json {
    json!({"task": task})
}

/// Req: P1.3
#[test]
fn laws_hold_and_what_they_do_not_cover_differs() {
    let seq = |parts: &[Json]| json!({"sequence": parts});
    let par = |parts: &[Json]| json!({"parallel": parts});
    let (a, b, c) = (t("a"), t("b"), t("c"));
    assert!(same(
        seq(&[a.clone(), seq(&[b.clone(), c.clone()])]),
        seq(&[seq(&[a.clone(), b.clone()]), c.clone()])
    ));
    assert!(same(par(&[a.clone(), b.clone()]), par(&[b.clone(), a.clone()])));
    assert!(same(seq(&[a.clone(), seq(&[]), b.clone()]), seq(&[a.clone(), b.clone()])));
    let partial = json!({"partial": [
        {"task": "c", "id": "z", "after": ["x", "y"]}, {"task": "a", "id": "x"},
        {"task": "b", "id": "y", "after": ["x"]}]});
    assert!(same(partial, seq(&[a.clone(), b.clone(), c.clone()])), "order is reduced");
    assert!(!same(seq(&[a.clone(), b.clone()]), seq(&[b.clone(), a.clone()])));
    assert!(!same(par(&[a.clone(), b.clone()]), seq(&[a.clone(), b.clone()])));
    let choice = json!({"choice": [{"if": "input.x", "then": [a, b]}], "else": [t("b"), t("a")]});
    assert!(!same(choice, par(&[t("a"), t("b")])));
}

#[test]
fn data_makes_order_and_ids_do_not_count() {
    let flow = |x: &str, y: &str, reads: &str| {
        json!([{"task": "a", "id": x}, {"task": "a", "id": y},
               {"task": "b", "with": {"v": {"$": format!("steps.{reads}.k")}, "w": 1}}])
    };
    assert!(same(flow("p", "q", "q"), flow("m", "n", "n")));
    assert!(!same(flow("p", "q", "q"), flow("p", "q", "p")));
    let spelled =
        |text: &str| json!({"partial": [{"task": "a", "id": "p"}, {"task": "b", "args": [{"$": text}]}]});
    assert!(same(spelled("steps.p + 1"), spelled("steps[\"p\"] + 1")));
    assert!(same(
        json!({"task": "a", "args": [{"x": 1, "y": 2}]}),
        json!({"task": "a", "args": [{"y": 2, "x": 1}]})
    ));
    assert!(!same(json!({"task": "a", "args": [1]}), json!({"task": "a", "args": [2]})));
    let nested = |reads: &str| {
        json!([{"task": "a", "id": "p"}, {"task": "b", "id": "q"},
               {"each": {"$": "steps.p"}, "do": {"task": "c", "args": [{"$": format!("steps.{reads}")}]}}])
    };
    assert!(same(nested("p"), nested("p")));
    assert!(!same(nested("p"), nested("q")), "what an inner block reads from outside counts");
}

/// What a process may use is part of what a step is.
#[test]
fn options_count() {
    let with = |options: Json| json!({"task": "t", "options": options});
    let all = [
        json!({"heartbeat": 1}),
        json!({"limits": {"cpu": 1}}),
        json!({"limits": {"memory": 1_000_000}}),
        json!({"grace": 1}),
        json!({"timeout": 1}),
        json!({"expected": 1}),
    ];
    for (at, a) in all.iter().enumerate() {
        assert!(!same(with(a.clone()), t("t")), "{a}");
        assert!(all[..at].iter().all(|b| !same(with(a.clone()), with(b.clone()))), "{a}");
    }
    assert!(same(with(json!({"limits": {"memory": "1MB"}})), with(all[2].clone())));
    assert!(same(with(json!({"heartbeat": 0, "limits": {"cpu": 0}})), t("t")));
}

#[test]
fn a_recursion_counts_with_its_bound() {
    let again =
        |name: &str, bound: u32| json!({"workflow": "inner", "do": {"workflow": name, "max_depth": bound}});
    assert!(same(again("inner", 2), again("inner", 2)));
    assert!(!same(again("inner", 2), again("inner", 3)));
    assert!(!same(again("inner", 2), again("w", 2)));
}

#[test]
fn large_symmetric_blocks_take_no_quadratic_time() {
    let many: Vec<Json> = (0..3000).map(|_| json!({"sequence": [t("a"), t("b")]})).collect();
    let whole = json!([t("s"), {"parallel": many}]);
    assert!(same(whole.clone(), whole));
}

#[test]
fn the_normal_form_can_be_looked_at() {
    let term = json!([
        {"task": "b", "id": "x", "with": {"w": 1, "v": {"$": "input[\"n\"]"}}},
        {"parallel": [{"task": "c", "id": "y", "args": [{"$": "steps[\"x\"]['k'][0]"}]}, []]},
        {"sequence": [{"task": "c", "id": "z", "args": [{"$": "steps [\"x\"] + steps.y"}]}]},
        {"choice": [{"if": "steps['x'] > 1", "then": [[{"task": "d", "id": "q"}]]}]},
    ]);
    let object = json!({"name": "w", "description": "said", "inputs": {"n": {"default": {"b": 1, "a": 2}}},
        "term": term, "result": {"$": "steps.choice"}});
    let normal = Definition::read(&rmp_serde::to_vec_named(&object).unwrap()).unwrap().normal();
    let written: Json = rmp_serde::from_slice(&normal.write()).unwrap();
    let mut members = written["term"]["partial"].as_array().unwrap().clone();
    members.sort_by_key(|it| it["id"].to_string());
    let expected = json!([
        {"choice": [{"if": "steps.x > 1", "then": {"task": "d", "id": "q"}}], "id": "choice", "after": ["z"]},
        {"task": "b", "id": "x", "with": {"v": {"$": "input.n"}, "w": 1}},
        {"task": "c", "id": "y", "args": [{"$": "steps.x.k[0]"}]},
        {"task": "c", "id": "z", "args": [{"$": "steps [\"x\"] + steps.y"}]},
    ]);
    assert_eq!(Json::Array(members), expected);
    assert_eq!(written["inputs"], json!({"n": {"type": "any", "default": {"a": 2, "b": 1}}}));
    assert_eq!((&written["description"], &written["result"]), (&Json::Null, &Json::Null));
}

#[test]
fn a_step_named_in_an_unusual_way_is_still_told_apart() {
    let reads = |text: &str, first: &str, second: &str| {
        json!({"partial": [{"task": "a", "id": first}, {"task": "b", "id": second},
                           {"task": "c", "args": [{"$": text}]}]})
    };
    for text in ["steps .x + 1", "[1].map(steps, steps + 1)[0] + steps.x"] {
        assert!(same(reads(text, "x", "y"), reads(text, "x", "z")), "{text}");
        assert!(!same(reads(text, "x", "y"), reads(text, "y", "x")), "{text}");
    }
}

#[test]
fn parts_that_are_alike_keep_their_order_in_the_normal_form() {
    let chain = json!([t("a"), {"parallel": [t("b"), t("b")]}, t("c")]);
    for copies in 2..6 {
        let normal = definition(&json!({"parallel": vec![chain.clone(); copies]})).normal();
        assert_eq!(normal.normal(), normal);
    }
}

#[test]
fn what_a_text_says_is_no_reference() {
    let reads = |id: &str, text: &str| json!({"partial": [{"task": "a", "id": id}, {"task": "b", "args": [{"$": text}]}]});
    for (one, other) in [
        ("steps.x + 'steps.x'", "steps.y + 'steps.y'"),
        ("steps.x + \"steps.x\"", "steps.y + \"steps.y\""),
        ("\"\"\"\"steps.x\"\"\" + steps.x", "\"\"\"\"steps.y\"\"\" + steps.y"),
        ("r'\\' + 'steps.x' + steps.x", "r'\\' + 'steps.y' + steps.y"),
    ] {
        assert!(!same(reads("x", one), reads("y", other)), "{one}");
        assert!(same(reads("x", one), reads("x", one)), "{one}");
    }
}

// ---- against the reference interpreter

fn whole(term: &Small) -> Definition {
    let body = Block { term: Box::new(term.term(&mut 0)), result: None, locals: vec![] };
    let result = Some(Binding::Const([0xc0u8].as_slice().into()));
    Definition { body: Block { result, ..body }, ..definition(&json!([])) }
}

/// The definition object with its steps numbered as they appear.
fn up_to_ids(definition: &Definition) -> String {
    fn ids(json: &Json, out: &mut Vec<String>) {
        match json {
            Json::Array(items) => items.iter().for_each(|it| ids(it, out)),
            Json::Object(fields) => {
                out.extend(fields.get("id").and_then(Json::as_str).map(str::to_owned));
                fields.values().for_each(|it| ids(it, out));
            }
            _ => {}
        }
    }
    let json: Json = rmp_serde::from_slice(&definition.write()).unwrap();
    let mut found = Vec::new();
    ids(&json, &mut found);
    let text = json.to_string();
    found.iter().enumerate().fold(text, |text, (at, id)| text.replace(id, &format!("n{at}.")))
}

/// Which step waits for which when the definition runs.
fn waits(definition: &Definition) -> BTreeSet<(Arc<str>, Arc<str>)> {
    let program = Program::compile(definition).unwrap();
    let mut found = BTreeSet::new();
    for block in &program.blocks {
        let mut stack: Vec<(u32, u32)> = (0..block.nodes.len() as u32).map(|node| (node, node)).collect();
        while let Some((first, node)) = stack.pop() {
            for &next in block.graph.successors(node) {
                stack.push((first, next));
                let [before, after] = [first, next].map(|node| &block.nodes[node as usize]);
                if ![before, after].iter().any(|it| matches!(it.kind, Kind::Join)) {
                    found.insert((before.id.clone(), after.id.clone()));
                }
            }
        }
    }
    found
}

/// Numbers below the one that is asked for.
fn dice(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |sides| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % sides
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(400)
    ))]

    /// Req: P1.3
    #[test]
    fn rewriting_by_the_laws_keeps_hash_and_traces(term in small(), seed: u64) {
        let other = term.rewritten(&mut dice(seed));
        prop_assert_eq!(term.traces(), other.traces());
        prop_assert!(whole(&term).equivalent(&whole(&other)));
    }

    /// Equal hashes mean equal traces; and where every task occurs once and nothing is
    /// chosen, the traces determine the order, so equal traces mean equal hashes.
    #[test]
    fn hash_and_traces_agree(a in small(), b in small()) {
        let (equal, traced) = (whole(&a).equivalent(&whole(&b)), a.traces() == b.traces());
        prop_assert!(!equal || traced);
        if a.is_told_by_traces() && b.is_told_by_traces() {
            prop_assert_eq!(equal, traced);
        }
    }

    /// Req: P1.3
    #[test]
    fn the_normal_form_means_the_same_and_is_its_own(term in small()) {
        let definition = whole(&term);
        let normal = definition.normal();
        prop_assert_eq!(&normal.normal(), &normal);
        prop_assert_eq!(normal.hash(), definition.hash());
        prop_assert_eq!(Small::of(&normal.body.term).traces(), term.traces());
        prop_assert_eq!(waits(&normal), waits(&definition));
        prop_assert_eq!(Definition::read(&normal.write()).unwrap(), normal);
    }

    /// Req: P1.3
    #[test]
    fn equal_hashes_are_equal_normal_forms(a in small(), b in small(), seed: u64) {
        for other in [a.rewritten(&mut dice(seed)), b] {
            let (one, other) = (whole(&a), whole(&other));
            prop_assert_eq!(one.equivalent(&other), up_to_ids(&one.normal()) == up_to_ids(&other.normal()));
        }
    }
}
