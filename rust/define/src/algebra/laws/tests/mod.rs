//! Laws by example, and against a semantics of states.

use serde_json::{Value as Json, json};

use super::*;

mod rewriting;
mod world;

fn verify_when(law: &str, terms: &[Json], when: &str) -> Result<Proof, Vec<Problem>> {
    let terms = json!({"name": "law", "term": {"first": 1, "of": terms}});
    let terms = Definition::read(&rmp_serde::to_vec_named(&terms).unwrap())?;
    Law::named(law).unwrap().verify(&terms, &Expr::parse(when).unwrap())
}

fn verify(law: &str, terms: &[Json]) -> Proof {
    verify_when(law, terms, "input.condition").unwrap_or_else(|problems| panic!("{law}: {problems:?}"))
}

/// A step with promises: `pure`, `idempotent`, a name of a task it commutes with, or an access `reads:x`.
fn step(id: &str, promises: &[&str]) -> Json {
    let (mut options, mut commutes) = (json!({}), vec![]);
    let mut step = json!({"task": id, "id": id});
    for promise in promises {
        match (*promise, promise.split_once(':')) {
            (_, Some(("reduces", name))) => step["reduces"] = json!({name: "sum"}),
            (_, Some((mode, name))) => step[mode] = json!([name]),
            ("pure" | "idempotent", _) => options[promise] = json!(true),
            (task, _) => commutes.push(task),
        }
    }
    options["commutes_with"] = json!(commutes);
    step["options"] = options;
    step
}

fn told(proof: &Proof) -> String {
    let trace = proof.counter_example.as_ref().unwrap_or_else(|| panic!("{proof:?}"));
    let event = |event: &Event| match event {
        Event::Start(id) => format!("+{id}"),
        Event::End(id) => format!("-{id}"),
        Event::Decide(holds) => format!("?{holds}"),
    };
    let events: Vec<String> = trace.events.iter().map(event).collect();
    format!("{} {}", if trace.left { "left" } else { "right" }, events.join(" "))
}

fn by(proof: &Proof) -> Vec<&'static str> {
    let points = proof.conditions.iter().flat_map(|it| &it.points);
    points.map(|it| it.by).collect()
}

#[test]
fn laws_that_need_nothing_always_hold() {
    let all = [step("a", &[]), step("b", &[]), step("c", &[])];
    for law in LAWS.iter().filter(|law| law.needs.is_empty()) {
        let proof = verify(law.name, &all[..law.letters.into()]);
        assert_eq!(
            (proof.verdict, proof.conditions.len(), &proof.counter_example),
            (Verdict::Always, 0, &None)
        );
    }
}

#[test]
fn the_laws_are_read_as_they_are_written() {
    let equation = |name| Law::named(name).unwrap().equation();
    assert_eq!(equation("distributivity"), "a;(b∥c) = (a;b)∥(a;c)");
    assert_eq!(equation("choice-right-distributivity"), "(a + b);c = a;c + b;c");
    assert_eq!(equation("sequence-identity"), "();a;() = a");
    assert_eq!(equation("interchange"), "(a∥b);(c∥d) = (a;c)∥(b;d)");
}

/// `a` runs twice on one side: that is the same only if it may be repeated.
///
/// Req: P1.4
#[test]
fn distributivity_needs_what_is_done_twice_to_be_repeatable() {
    let (b, c) = (step("b", &["writes:b"]), step("c", &["writes:c"]));
    let law = |a: Json| verify("distributivity", &[a, b.clone(), c.clone()]);
    let plain = law(step("a", &[]));
    assert_eq!(plain.verdict, Verdict::Unpromised);
    assert_eq!(told(&plain), "right +a -a +b -b +a -a +c -c");
    assert_eq!(law(step("a", &["pure"])).verdict, Verdict::Conditions);
    let writes = law(step("a", &["idempotent", "writes:x"]));
    assert_eq!(writes.verdict, Verdict::False, "two at a time write one asset");
    assert_eq!(law(step("a", &["idempotent", "writes:x", "a"])).verdict, Verdict::Conditions);
    assert_eq!(law(step("a", &["idempotent", "writes:b/x", "a"])).verdict, Verdict::False);
    let reduces = law(step("a", &["idempotent", "reduces:x"]));
    assert_eq!(reduces.verdict, Verdict::Conditions);
    assert!(by(&reduces).iter().all(|by| ["idempotent", "accesses"].contains(by)), "{reduces:?}");
    // What is taken from it has to be the same each time.
    let reads = json!({"task": "b", "args": [{"$": "steps.a"}]});
    let law = |a: Json| verify("distributivity", &[a, reads.clone(), c.clone()]);
    let taken = law(step("a", &["idempotent", "writes:x", "a", "b"]));
    assert_eq!(taken.verdict, Verdict::Unpromised);
    assert!(taken.conditions[1].points[0].says.contains("does not promise to be pure"), "{taken:?}");
    assert_eq!(law(step("a", &["pure"])).verdict, Verdict::Conditions);
}

/// Req: P1.4
#[test]
fn idempotence_needs_a_promise() {
    for (law, expected) in
        [("parallel-idempotence", "left +a -a +a -a"), ("sequence-idempotence", "left +a -a +a -a")]
    {
        let plain = verify(law, &[step("a", &[])]);
        assert_eq!((plain.verdict, &*told(&plain)), (Verdict::Unpromised, expected));
        assert_eq!(verify(law, &[step("a", &["pure"])]).verdict, Verdict::Conditions);
        assert_eq!(verify(law, &[json!([])]).verdict, Verdict::Always);
        let takes = verify(law, &[step("a", &["idempotent", "takes:x", "a"])]);
        assert_eq!(takes.verdict, Verdict::False, "it is gone the second time");
    }
    assert!(verify("sequence-idempotence", &[step("a", &["idempotent"])]).verdict.holds());
    let alone = verify("parallel-idempotence", &[step("a", &["idempotent"])]);
    assert_eq!((alone.verdict, &*told(&alone)), (Verdict::Unpromised, "left +a +a -a -a"));
}

#[test]
fn a_whole_term_is_idempotent_if_its_steps_are_and_commute() {
    let chain =
        |a: &[&str], b: &[&str]| verify("sequence-idempotence", &[json!([step("a", a), step("b", b)])]);
    assert!(chain(&["idempotent", "writes:a"], &["idempotent", "writes:b"]).verdict.holds());
    let shared = chain(&["idempotent", "writes:x"], &["idempotent", "reads:x"]);
    assert_eq!((shared.verdict, &*told(&shared)), (Verdict::False, "left +a -a +b -b +a -a +b -b"));
    let read = json!([step("a", &["idempotent", "writes:x"]), {"task": "b", "args": [{"$": "steps.a"}], "reads": []}]);
    assert_eq!(verify("sequence-idempotence", &[read]).verdict, Verdict::Unpromised);
    let pure = json!([step("a", &["pure"]), {"task": "b", "args": [{"$": "steps.a"}], "reads": []}]);
    assert!(verify("sequence-idempotence", &[pure]).verdict.holds());
}

#[test]
fn composites_are_lifted_from_what_is_in_them() {
    let idempotent = |term: Json| verify("sequence-idempotence", &[term]).verdict;
    let a = || step("a", &["idempotent", "writes:x"]);
    assert_eq!(idempotent(json!({"timeout": 5, "do": a()})), Verdict::Conditions);
    assert_eq!(idempotent(json!({"choice": [{"if": "input.x", "then": a()}]})), Verdict::Conditions);
    assert_eq!(idempotent(json!({"try": a(), "catch": []})), Verdict::Unpromised, "it may go another way");
    assert_eq!(idempotent(json!({"first": 1, "of": [a(), step("b", &["pure"])]})), Verdict::Unpromised);
    assert_eq!(idempotent(json!({"each": [1, 2], "do": a()})), Verdict::False, "items share an asset");
    assert_eq!(idempotent(json!({"each": [1, 2], "do": step("a", &["pure"])})), Verdict::Conditions);
    let set = |text: &str| json!({"task": "a", "set": {"n": text}, "options": {"pure": true}});
    assert_eq!(idempotent(set("result")), Verdict::Conditions);
    assert_eq!(idempotent(set("vars.n + 1")), Verdict::False);
    assert_eq!(idempotent(json!({"signal": "go"})), Verdict::False);
    assert_eq!(idempotent(json!({"sleep": 1})), Verdict::Conditions);
    let again = json!({"workflow": "w", "do": [a(), {"workflow": "w", "max_depth": 3}]});
    assert!(!idempotent(again).holds());
    assert_eq!(idempotent(json!({"workflow": "w", "max_depth": 3})), Verdict::Unpromised);
}

#[test]
fn accesses_decide_what_commutes() {
    let law = |a: &[&str], b: &[&str]| verify("commutation", &[step("a", a), step("b", b)]);
    for (a, b, expected) in [
        (&["reads:x"][..], &["reads:x"][..], Verdict::Conditions),
        (&["writes:x"], &["writes:y"], Verdict::Conditions),
        (&["reduces:x"], &["reduces:x"], Verdict::Conditions),
        (&["writes:x"], &["reads:x/y"], Verdict::False),
        (&["reduces:x"], &["reads:x"], Verdict::False),
        (&["writes:x"], &[], Verdict::Unpromised),
        (&["writes:x"], &["pure"], Verdict::Conditions),
        (&["writes:x", "b"], &["writes:x"], Verdict::Conditions),
        (&[], &["a"], Verdict::Conditions),
        (&["writes:{input.x}"], &["writes:{input.y}"], Verdict::Unpromised),
        (&["takes:x"], &["reads:x"], Verdict::False),
    ] {
        assert_eq!(law(a, b).verdict, expected, "{a:?} {b:?}");
    }
    assert_eq!(told(&law(&["writes:x"], &["reads:x"])), "left +a -a +b -b");
    let moves = json!({"task": "a", "takes": {"$": "steps.x.y"}});
    let reads = json!({"task": "b", "args": [{"$": "steps.x"}]});
    let proof = verify("commutation", &[moves, reads]);
    assert_eq!(proof.verdict, Verdict::False);
    assert!(proof.conditions[2].points[0].says.contains("takes the value steps.x.y, which `b` reads"));
}

/// Every step of one term has to commute with every step of the other; the trace names those that do not.
#[test]
fn one_pair_of_steps_is_enough_to_refute() {
    let many = |id: &str, last: &[&str]| {
        let first: Vec<Json> = (0..40).map(|at| step(&format!("{id}{at}"), &["pure"])).collect();
        json!([{"parallel": first}, step(&format!("{id}-last"), last)])
    };
    let proof = verify("parallelisation", &[many("a", &["writes:x"]), many("b", &["reads:x"])]);
    let trace = proof.counter_example.as_ref().unwrap();
    assert_eq!((proof.verdict, trace.whole, trace.left), (Verdict::False, false, false));
    assert_eq!(trace.matters, ["b-last", "a-last"]);
    assert_eq!(proof.conditions[1].points.len() + proof.conditions[1].more, 41 * 41);
    assert!(verify("parallelisation", &[many("a", &["writes:x"]), many("b", &["reads:y"])]).verdict.holds());
}

#[test]
fn values_order_what_they_flow_through() {
    let (a, b) = (step("a", &[]), json!({"task": "b", "args": [{"$": "steps.a.rows"}]}));
    assert_eq!(verify("parallelisation", &[a.clone(), b.clone()]).verdict, Verdict::Always);
    let swapped = verify("commutation", &[a.clone(), b.clone()]);
    assert_eq!((swapped.verdict, &*told(&swapped)), (Verdict::False, "left +a -a +b -b"));
    assert_eq!(swapped.counter_example.unwrap().stuck.unwrap(), "`b` would wait for itself");
    let longer = json!([step("a", &["writes:x"]), step("z", &["writes:z"])]);
    let reads = json!({"task": "b", "args": [{"$": "steps.a"}], "reads": ["x"]});
    let proof = verify("parallelisation", &[longer, reads]);
    assert_eq!(proof.verdict, Verdict::Conditions);
    assert!(by(&proof).contains(&"values"));
    let problems = verify_when("commutation", &[b, step("c", &[])], "true").unwrap();
    assert_eq!(problems.verdict, Verdict::Unpromised, "what is read from outside is there before");
    let both = [json!({"task": "a", "args": [{"$": "steps.b"}]}), step("b", &[]), step("c", &[])];
    assert_eq!(verify_when("distributivity", &both, "true").unwrap_err()[0].code, "cyclic-dependency");
}

#[test]
fn a_choice_distributes_if_its_condition_is_not_touched() {
    let all = [step("a", &[]), step("b", &[]), step("c", &[])];
    assert_eq!(verify("choice-distributivity", &all).verdict, Verdict::Conditions);
    assert_eq!(verify("choice-right-distributivity", &all).verdict, Verdict::Always);
    assert_eq!(verify("choice-parallel-distributivity", &all).verdict, Verdict::Conditions);
    let read = verify_when("choice-distributivity", &all, "steps.a.ok").unwrap();
    assert_eq!((read.verdict, &*told(&read)), (Verdict::False, "left +a -a ?true +b -b"));
    assert!(read.counter_example.unwrap().stuck.unwrap().contains("the condition reads what `a` yields"));
    let sets = json!({"task": "a", "set": {"n": "result"}});
    let all = [sets, step("b", &[]), step("c", &[])];
    let set = verify_when("choice-distributivity", &all, "vars.n > 1").unwrap();
    assert_eq!((set.verdict, &*told(&set)), (Verdict::False, "left +a -a ?true +b -b"));
    let flows = [step("a", &[]), step("b", &[]), json!({"task": "c", "args": [{"$": "steps.a"}]})];
    let problems = verify_when("choice-right-distributivity", &flows, "true").unwrap_err();
    assert!(problems[0].message.contains("`c` reads what `a` yields"), "{problems:?}");
    // A choice waits for all that its branches read.
    let late = |b: Json| verify("choice-parallel-distributivity", &[step("a", &[]), b, json!([])]);
    let reads = json!({"task": "b", "args": [{"$": "steps.a"}]});
    assert_eq!(late(reads.clone()).verdict, Verdict::Traces);
    let proof = late(json!({"parallel": [reads, step("d", &[])]}));
    assert_eq!((proof.verdict, &*told(&proof)), (Verdict::False, "right ?true +d -d +a -a +b -b"));
}

#[test]
fn interchange_needs_those_to_commute_that_are_no_longer_ordered() {
    let all = |d: &[&str]| {
        let plain = |id: &str| step(id, &[&format!("writes:{id}")]);
        verify("interchange", &[plain("a"), plain("b"), plain("c"), step("d", d)])
    };
    assert_eq!(all(&["reads:b"]).verdict, Verdict::Conditions);
    let proof = all(&["reads:a"]);
    assert_eq!(proof.verdict, Verdict::False);
    let trace = proof.counter_example.unwrap();
    assert_eq!((trace.left, &trace.matters[..]), (false, &["d".to_owned(), "a".to_owned()][..]));
}

/// Conditions are enough, but not all of them are always needed.
#[test]
fn where_conditions_are_not_met_traces_decide() {
    // The same step on both sides of the exchange.
    let (a, b) = (step("a", &[]), json!([step("a", &[]), step("b", &["pure"])]));
    assert_eq!(verify("commutation", &[a, b]).verdict, Verdict::Traces);
}

#[test]
fn what_is_no_law_for_these_terms_is_a_problem() {
    let code = |law: &str, terms: &[Json]| verify_when(law, terms, "true").unwrap_err()[0].code;
    assert_eq!(code("commutation", &[step("a", &[])]), "bad-term");
    assert_eq!(code("sequence-idempotence", &[json!({"term": step("a", &[]), "result": 1})]), "bad-term");
    assert_eq!(
        code("sequence-idempotence", &[json!({"task": "a", "args": [{"$": "steps"}]})]),
        "unknown-reference"
    );
    let many: Vec<Json> = (0..401).map(|at| step(&format!("s{at}"), &[])).collect();
    assert_eq!(code("sequence-idempotence", &[json!({"parallel": many})]), "too-large");
}
