//! How long steps are expected to take, and the longest way from each to the end of its run: by these
//! policies rank. Once a definition, in its size.

use super::program::{Code, Kind};
use super::{Compiler, Program};
use crate::algebra::term::{Activity, Term};
use crate::graph::Csr;

/// What a step is expected to take of which nothing is known.
pub const EXPECTED: i64 = 60_000_000;

/// What steps of these tasks are expected to take.
const PRESETS: [(&str, i64); 6] = [
    ("data_processing", 5_000_000),
    ("api_call", 3_000_000),
    ("http", 3_000_000),
    ("http_request", 3_000_000),
    ("notification", 500_000),
    ("heavy_computation", 8_000_000),
];

/// What a step is expected to take: what its options say, or the default of its task, or a minute; no more
/// than an attempt may take.
pub fn expected(activity: &Activity) -> i64 {
    let options = &activity.options;
    options.expected.unwrap_or_else(|| {
        let preset = PRESETS.iter().find(|(name, _)| *name == activity.task).map_or(EXPECTED, |it| it.1);
        options.timeout.filter(|&limit| limit > 0).map_or(preset, |limit| preset.min(limit))
    })
}

impl Compiler<'_> {
    /// What a node is expected to take, the blocks in it included, which are compiled. Of choices the
    /// longest counts, of loops one turn; nothing is known of how deep a recursion goes.
    pub(super) fn expected(&self, term: Option<&Term>, kind: &Kind) -> i64 {
        let whole = |block: u32| {
            let code = self.blocks.get(block as usize).and_then(Option::as_ref);
            code.map_or(0, |code| code.upward.iter().copied().max().unwrap_or(0))
        };
        match (kind, term) {
            (Kind::Task(_), Some(Term::Activity(activity))) => expected(activity),
            _ => composite(kind, whole),
        }
    }
}

/// What a node takes that is no task, by what the blocks in it take as a whole.
fn composite(kind: &Kind, whole: impl Fn(u32) -> i64) -> i64 {
    match kind {
        Kind::Choice { branches, otherwise } => {
            branches.iter().map(|it| it.1).chain(*otherwise).map(whole).max().unwrap_or(0)
        }
        Kind::Loop { body, .. } | Kind::Each { body, .. } | Kind::Scope { body, .. } => whole(*body),
        Kind::Timeout { micros: 0, body } | Kind::Handler { body, .. } => whole(*body),
        Kind::Timeout { micros, body } => whole(*body).min(*micros),
        Kind::First { count, branches } => {
            let mut all: Vec<i64> = branches.iter().map(|&block| whole(block)).collect();
            all.sort_unstable();
            all.get((*count as usize).saturating_sub(1)).copied().unwrap_or(0)
        }
        _ => 0,
    }
}

/// The longest way from the beginning of each node to the end of its block; `order` is a topological one.
pub(crate) fn upward(graph: &Csr, order: &[u32], expected: &[i64]) -> Vec<i64> {
    let mut upward = vec![0i64; expected.len()];
    for &node in order.iter().rev() {
        let after = graph.successors(node).iter().map(|&next| upward[next as usize]).max().unwrap_or(0);
        upward[node as usize] = expected[node as usize].saturating_add(after);
    }
    upward
}

impl Program {
    /// The same program, of whose tasks' nodes something else is expected, by block and node.
    pub fn expecting(&self, of_task: impl Fn(u32, u32) -> i64) -> Self {
        let mut blocks = self.blocks.clone();
        for at in (0..blocks.len()).rev() {
            // What a block owns comes after it, so that its ways are known; of a recursion nothing is.
            let whole = |block: u32| match block as usize > at {
                true => blocks[block as usize].upward.iter().copied().max().unwrap_or(0),
                false => 0,
            };
            let code = &blocks[at];
            let expected: Vec<i64> = (0..)
                .zip(&code.nodes)
                .map(|(node, it)| match it.kind {
                    Kind::Task(_) => of_task(at as u32, node),
                    ref kind => composite(kind, whole),
                })
                .collect();
            let order = code.graph.order().expect("a program has no cycles");
            let upward = upward(&code.graph, &order, &expected);
            (blocks[at].expected, blocks[at].upward) = (expected, upward);
        }
        Self::extend(&mut blocks);
        Self { blocks, ..self.clone() }
    }

    /// Goes on to the end of the run, where blocks lie in others.
    pub(super) fn extend(blocks: &mut [Code]) {
        for at in 1..blocks.len() {
            // Owners come before what they own, so that their own ways are whole by now.
            let (before, rest) = blocks.split_at_mut(at);
            let Some((block, node)) = rest[0].owner else { continue };
            let owner = &before[block as usize];
            let after = owner.upward[node as usize] - owner.expected[node as usize];
            rest[0].upward.iter_mut().for_each(|way| *way = way.saturating_add(after));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn program(term: &serde_json::Value) -> Program {
        let definition = json!({"name": "w", "term": term});
        Program::read(&rmp_serde::to_vec_named(&definition).unwrap()).unwrap().1
    }

    #[test]
    fn what_is_expected_can_be_said_anew() {
        let program = program(&json!({"sequence": [
            {"task": "a", "id": "a"},
            {"each": [1], "id": "each", "as": "it", "do": {"sequence": [{"task": "b", "id": "b"}, {"task": "c", "id": "c"}]}},
            {"task": "d", "id": "d"},
        ]}));
        let again = program.expecting(|block, node| program.blocks[block as usize].expected[node as usize]);
        for (code, other) in program.blocks.iter().zip(&again.blocks) {
            assert_eq!((&code.expected, &code.upward), (&other.expected, &other.upward));
        }
        let second = program.expecting(|_, _| 1_000_000);
        assert_eq!(second.blocks[0].upward[0], 4_000_000);
    }

    /// By id: seconds that a step takes, and to the end of the run.
    fn ways(term: &serde_json::Value) -> Vec<(String, i64, i64)> {
        let program = program(term);
        let of = |code: &Code| {
            let nodes = code.nodes.iter().zip(code.expected.iter().zip(&code.upward));
            nodes
                .map(|(node, (own, up))| (node.id.to_string(), own / 1_000_000, up / 1_000_000))
                .collect::<Vec<_>>()
        };
        program.blocks.iter().flat_map(of).filter(|(id, ..)| !id.starts_with('$')).collect()
    }

    fn step(id: &str, seconds: i64) -> serde_json::Value {
        json!({"task": "t", "id": id, "options": {"expected": seconds}})
    }

    fn found(term: &serde_json::Value, id: &str) -> (i64, i64) {
        ways(term).into_iter().find(|it| it.0 == id).map(|it| (it.1, it.2)).unwrap()
    }

    /// Req: P1.24
    #[test]
    fn the_longest_way_to_the_end_goes_through_joins_and_out_of_blocks() {
        let each = json!({"each": [1, 2], "id": "all", "do": [step("in", 3), step("then", 4)]});
        let wide = json!([{"parallel": [step("a", 5), step("b", 1), each]},
                          {"parallel": [step("x", 10), step("y", 1), step("z", 2)]}]);
        assert_eq!(found(&wide, "a"), (5, 15));
        assert_eq!(found(&wide, "b"), (1, 11));
        assert_eq!(found(&wide, "all"), (7, 17));
        assert_eq!(found(&wide, "in"), (3, 17));
        assert_eq!(found(&wide, "then"), (4, 14));
        assert_eq!(found(&wide, "y"), (1, 1));
    }

    #[test]
    fn composites_take_what_is_in_them() {
        let choice = json!([{"choice": [{"if": "true", "then": step("a", 5)}], "else": step("b", 8), "id": "c"},
                            step("z", 1)]);
        assert_eq!((found(&choice, "c"), found(&choice, "a")), ((8, 9), (5, 6)));
        let within = json!({"timeout": 2, "id": "t", "do": step("a", 5)});
        assert_eq!(found(&within, "t"), (2, 2));
        let first = json!({"first": 2, "id": "f", "of": [step("a", 9), step("b", 4), step("c", 6)]});
        assert_eq!(found(&first, "f"), (6, 6));
        let again = json!([{"workflow": "w", "id": "w2", "max_depth": 5}, step("z", 1)]);
        assert_eq!(found(&again, "w2"), (0, 1));
    }

    #[test]
    fn what_nobody_has_said_is_a_default() {
        let of = |term: serde_json::Value| ways(&term)[0].1;
        assert_eq!(of(json!({"task": "anything"})), 60);
        assert_eq!(of(json!({"task": "data_processing"})), 5);
        assert_eq!(of(json!({"task": "anything", "options": {"timeout": 7}})), 7);
        assert_eq!(of(json!({"task": "anything", "options": {"timeout": 0}})), 60);
        assert_eq!(of(json!({"task": "data_processing", "options": {"expected": 90, "timeout": 100}})), 90);
    }
}
