//! Examples of what the check finds, each of something that is easily missed or found where it is not.

use serde_json::{Value as Json, json};

use super::check::{Access, Found, check};
use super::finding::path;
use crate::algebra::compile::Program;

fn program(term: &Json) -> Program {
    let definition = json!({"name": "w", "inputs": ["n"], "term": term});
    Program::read(&rmp_serde::to_vec_named(&definition).unwrap()).unwrap().1
}

fn pairs(term: &Json, of: impl Fn(Found) -> Vec<(Access, Access)>) -> Vec<String> {
    let program = program(term);
    let step = |it: Access| path(&program, it.at.block, it.at.node);
    of(check(&program, 100, 1)).into_iter().map(|(a, b)| format!("{} {}", step(a), step(b))).collect()
}

/// The steps that race, by their paths.
fn races(term: &Json) -> Vec<String> {
    pairs(term, |found| found.races.iter().map(|it| (it.first, it.second)).collect())
}

/// Moves, each with the use after it.
fn moved(term: &Json) -> Vec<String> {
    let found = pairs(term, |found| found.moved);
    assert!(races(term).is_empty(), "what races is not looked at");
    found
}

fn step(id: &str, mode: &str, asset: Json) -> Json {
    json!({"task": "t", "id": id, mode: asset})
}

fn each(body: Json) -> Json {
    json!({"each": {"$": "input.n"}, "id": "all", "do": body})
}

fn one_by_one(body: Json) -> Json {
    json!({"each": {"$": "input.n"}, "id": "all", "limit": 1, "do": body})
}

fn again(id: &str) -> Json {
    json!({"workflow": "w", "id": id, "with": {"n": 1}, "max_depth": 3})
}

#[test]
fn what_is_selected_meets_what_each_iteration_has_beside_it() {
    let two = json!([step("a", "writes", json!("t[0:5]")), step("b", "reads", json!("t/{item}"))]);
    assert_eq!(races(&each(two)), ["all/a all/a", "all/a all/b"]);
    let two = json!([step("a", "writes", json!("t[{item_index}/8]")), step("b", "reads", json!("t/{item}"))]);
    assert_eq!(races(&each(two)), ["all/a all/b"]);
    assert_eq!(races(&each(step("a", "writes", json!("t[{item_index}/8]")))), [""; 0]);
}

#[test]
fn what_never_runs_does_not_race() {
    let both = json!({"parallel": [step("a", "writes", json!("x")), step("b", "writes", json!("x"))]});
    assert_eq!(races(&json!({"loop": both, "id": "l", "while": "true", "max": 1})), ["l/a l/b"]);
    assert_eq!(races(&json!({"loop": both, "id": "l", "while": "true", "max": 0})), [""; 0]);
    assert_eq!(races(&json!({"loop": each(both), "id": "l", "while": "true", "max": 0})), [""; 0]);
    let again = json!({"loop": again("r"), "id": "l", "while": "true", "max": 0});
    assert_eq!(races(&json!({"parallel": [again, step("a", "writes", json!("x"))]})), [""; 0]);
}

#[test]
fn a_variable_may_differ_from_one_iteration_to_the_next() {
    let write = step("a", "writes", json!("out/{vars.v}"));
    assert_eq!(races(&each(write.clone())), [""; 0]);
    assert_eq!(races(&json!({"parallel": [write, again("r")]})), [""; 0]);
    assert_eq!(moved(&one_by_one(step("a", "takes", json!("out/{vars.v}")))), [""; 0]);
}

#[test]
fn what_a_workflow_is_given_is_the_same_all_through_it() {
    let two = json!({"parallel": [step("a", "writes", json!("{input.m}")), step("b", "writes", json!("{input.m}"))]});
    let flow = json!({"workflow": "v", "with": {"m": {"$": "vars.v"}}, "do": two});
    assert_eq!(races(&flow), ["v/a v/b"]);
}

#[test]
fn two_recursions_have_assets_of_their_own() {
    let write = |id: &str| step(id, "writes", json!("out/{input.n}"));
    assert_eq!(races(&json!([{"parallel": [again("r"), again("s")]}, write("a")])), [""; 0]);
    let whole = json!([{"parallel": [again("r"), again("s")]}, step("a", "writes", json!("out"))]);
    assert_eq!(races(&whole), ["a a"]);
    let list = json!({"parallel": [again("r"), step("b", "reads", json!("out")), write("a")]});
    assert!(races(&list).contains(&"b a".to_owned()), "{:?}", races(&list));
}

#[test]
fn a_range_is_made_anew_with_the_one_round_it() {
    let term = |second: &str| {
        json!([
            step("a", "takes", json!("t[2:5]")),
            step("b", "writes", json!(second)),
            step("c", "reads", json!("t[2:5]"))
        ])
    };
    assert_eq!(moved(&term("t[0:9]")), [""; 0]);
    assert_eq!(moved(&term("t[3:9]")), ["a b", "a c"]);
}

#[test]
fn what_was_moved_in_another_turn_meets_what_is_selected_beside_it() {
    let two = json!([step("a", "reads", json!("t[{item_index}/8]")), step("b", "takes", json!("t/{item}"))]);
    assert_eq!(moved(&one_by_one(two)), ["all/b all/a"]);
    let two = json!([step("a", "reads", json!("t/{item.x}")), step("b", "takes", json!("t/{item}"))]);
    assert_eq!(moved(&one_by_one(two)), [""; 0]);
}

#[test]
fn a_recursion_is_gone_into_wherever_it_is() {
    let catch = json!({"try": again("r"), "id": "t", "catch": {"sleep": 1}});
    assert_eq!(moved(&json!([catch, step("a", "takes", json!("x"))])), ["a a"]);
    let inner = json!({"workflow": "v", "do": {"choice": [{"if": "true", "then": again("r")}]}});
    assert_eq!(moved(&json!([step("a", "takes", json!("x")), inner])), ["a a"]);
}

#[test]
fn what_a_recursion_does_is_what_those_in_it_do() {
    let inner = |id: &str| json!({"workflow": "v", "id": id, "max_depth": 3});
    let flow = |mode: &str, body: Json| json!([{"workflow": "v", "id": "v", "do": body}, step("a", mode, json!("x"))]);
    let read = step("b", "reads", json!("x"));
    let beside = json!([{"parallel": [inner("r"), read.clone()]}, again("s")]);
    assert_eq!(races(&flow("writes", beside)), ["v/b a"]);
    assert_eq!(moved(&flow("takes", json!([inner("r"), read, again("s")]))), ["a a", "a v/b"]);
}

#[test]
fn order_that_only_the_result_needs_stays() {
    let term = json!([step("a", "writes", json!({"$": "input.n"})), step("b", "reads", json!([]))]);
    let body = json!({"term": term, "result": {"$": "[steps.b, input.n]"}});
    let definition = json!({"name": "w", "inputs": ["n"], "term": {"timeout": 1, "do": body}});
    let (definition, program) = Program::read(&rmp_serde::to_vec_named(&definition).unwrap()).unwrap();
    assert_eq!(program.relaxed(&definition, 1), (definition, vec![]));
}
