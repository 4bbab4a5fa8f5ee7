//! Workflows that are functions of a seed.

use std::sync::Arc;

use ferroflow_define::algebra::compile::Program;
use ferroflow_define::expr::Expr;
use ferroflow_define::{Activity, Backoff, Binding, Block, Definition, OnError, Options, Retry, Term};

/// A small generator of numbers (SplitMix64), so that a workflow is a function of a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % sides
    }
}

pub(crate) fn hash(text: &str) -> u64 {
    Dice(text.bytes().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))))
        .roll(1 << 32)
}

pub(crate) fn nil() -> Arc<[u8]> {
    [0xc0u8].as_slice().into()
}

struct Maker {
    dice: Dice,
    count: u32,
    failing: bool,
    /// Names of the workflows round the term that is being made.
    round: Vec<String>,
}

impl Maker {
    fn id(&mut self) -> String {
        self.count += 1;
        format!("s{}", self.count)
    }

    fn block(&mut self, depth: u32) -> Block {
        Block { term: Box::new(self.term(depth)), result: None, locals: vec![] }
    }

    fn terms(&mut self, depth: u32) -> Vec<Term> {
        (0..self.dice.roll(4)).map(|_| self.term(depth)).collect()
    }

    fn activity(&mut self) -> Term {
        let mut options = Options::default();
        match self.dice.roll(6) {
            0 => options.tolerated = true,
            1 | 2 => {
                options.retry = Some(Retry {
                    max_retries: self.dice.roll(5) as u32,
                    backoff: Backoff::Exponential,
                    delay: 1000,
                    factor_milli: 2000,
                    cap: None,
                    jitter_milli: 100,
                });
            }
            3 => options.run_on_upstream_failure = true,
            // So short that every beat is recorded although no time goes by in a body.
            4 => options.heartbeat = Some(3),
            _ => {}
        }
        let fails = if self.failing && self.dice.roll(4) == 0 { "flaky" } else { "task" };
        Term::Activity(Activity {
            id: self.id(),
            task: fails.to_owned(),
            args: vec![],
            kwargs: vec![],
            set: vec![],
            access: None,
            options: Arc::new(options),
        })
    }

    fn term(&mut self, depth: u32) -> Term {
        if depth == 0 {
            return self.activity();
        }
        let depth = depth - 1;
        let truth = || Expr::parse("true").unwrap();
        match self.dice.roll(15) {
            0 => Term::Sequence(self.terms(depth)),
            1 => Term::Parallel(self.terms(depth)),
            2 | 3 => {
                let terms = self.terms(depth);
                let mut edges = Vec::new();
                for to in 1..terms.len() as u32 {
                    for from in 0..to {
                        if self.dice.roll(2) == 0 {
                            edges.push((from, to));
                        }
                    }
                }
                Term::Partial { terms, edges }
            }
            4 => Term::Choice {
                id: self.id(),
                branches: (0..1 + self.dice.roll(2)).map(|_| (truth(), self.block(depth))).collect(),
                otherwise: (self.dice.roll(2) == 0).then(|| self.block(depth)),
            },
            5 => Term::Loop {
                id: self.id(),
                name: "state".into(),
                init: Binding::Const(nil()),
                condition: truth(),
                body: self.block(depth),
                max: Some(3),
            },
            6 | 7 => Term::Each {
                id: self.id(),
                name: "item".into(),
                items: Binding::Const(nil()),
                body: self.block(depth),
                limit: (self.dice.roll(2) == 0).then_some(1),
                on_error: if self.dice.roll(2) == 0 { OnError::Continue } else { OnError::FailFast },
            },
            8 => {
                let id = self.id();
                self.round.push(id.clone());
                let body = self.block(depth);
                self.round.pop();
                Term::Scope { workflow: id.clone(), id, inputs: vec![], body }
            }
            13 => {
                let workflow = self.round[self.dice.roll(self.round.len() as u64) as usize].clone();
                let max_depth = 1 + self.dice.roll(2) as u32;
                let again = Term::Recursion { id: self.id(), workflow, inputs: vec![], max_depth };
                let block = Block { term: Box::new(again), result: None, locals: vec![] };
                Term::Choice { id: self.id(), branches: vec![(truth(), block)], otherwise: None }
            }
            9 => Term::Timeout { id: self.id(), micros: 1500, body: self.block(depth) },
            10 => Term::Handler { id: self.id(), body: self.block(depth), handler: self.block(depth) },
            11 => Term::Sleep { id: self.id(), duration: Binding::Const(nil()) },
            12 => Term::Signal { id: self.id(), name: format!("n{}", self.dice.roll(2)) },
            _ => {
                let branches: Vec<Block> = (0..1 + self.dice.roll(3)).map(|_| self.block(depth)).collect();
                let count = 1 + self.dice.roll(branches.len() as u64) as u32;
                Term::First { id: self.id(), count, branches }
            }
        }
    }
}

pub(crate) fn program(seed: u64, failing: bool) -> Arc<Program> {
    let mut maker = Maker { dice: Dice(seed), count: 0, failing, round: vec!["generated".to_owned()] };
    let body = maker.block(3);
    let on_error = if maker.dice.roll(2) == 0 { OnError::Continue } else { OnError::FailFast };
    let definition = Definition {
        name: "generated".into(),
        version: "1".into(),
        description: String::new(),
        inputs: vec![],
        assets: vec![],
        closed: false,
        body,
        on_error,
        timeout: None,
    };
    Arc::new(Program::compile(&definition).expect("generated terms are right"))
}
