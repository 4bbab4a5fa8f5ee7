//! Rewriting by laws: what is left out of an order is what a law proves to be needless.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::algebra::compile::Program;

/// Two steps, one after the other, by what they promise.
fn pairs() -> impl Strategy<Value = [Json; 2]> {
    let promise = proptest::sample::select(vec![
        "pure",
        "idempotent",
        "a",
        "b",
        "reads:x",
        "writes:x",
        "reads:x/y",
        "reads:{input.n}",
        "writes:y",
        "reduces:x",
    ]);
    let promises = || proptest::collection::vec(promise.clone(), 0..3);
    (promises(), promises(), any::<bool>()).prop_map(|(a, b, reads)| {
        let mut b = step("b", &b);
        if reads {
            b["args"] = json!([{"$": "steps.a.rows"}]);
        }
        [step("a", &a), b]
    })
}

proptest! {
    /// Req: P1.5
    #[test]
    fn an_order_is_left_out_only_where_a_law_proves_that_it_is_not_needed(pair in pairs()) {
        let whole = |term: Json| {
            let bytes = rmp_serde::to_vec_named(&json!({"name": "w", "inputs": ["n"], "term": term, "result": null}));
            Program::read(&bytes.unwrap())
        };
        // What a step declares may conflict with itself.
        let Ok((definition, program)) = whole(json!({"sequence": pair})) else { return Ok(()) };
        let (relaxed, _) = program.relaxed(&definition, 1);
        let both = whole(json!({"parallel": pair})).unwrap().0;
        if relaxed.equivalent(&both) {
            prop_assert!(verify("parallelisation", &pair).verdict.holds());
        } else {
            prop_assert!(relaxed.equivalent(&definition));
        }
    }
}
