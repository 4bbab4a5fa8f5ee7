//! Laws of the algebra: whether one holds for given terms, proven by what their steps promise, or refuted by a trace.
//!
//! What a term means is the set of its traces, sequences of starts and ends of steps, of which two count as
//! one if they differ by the order of neighbours that commute, or by a repetition of what is idempotent. A law holds
//! if both sides mean the same, whatever the steps do that keeps their promises; it speaks of runs in which
//! no step fails, and of values only where they are read inside the terms.
//!
//! The laws that always hold do so by the normal form. The others hold where their conditions are met, which
//! are promises about letters, lifted from those of the steps in them. That these suffice is shown as follows:
//! a trace of the side with more copies, or less order, is brought into one of the other side by exchanging
//! neighbours, and the conditions name all pairs that are ever exchanged. If a condition is not met, the traces of
//! both sides are enumerated and compared: first those of the steps alone that do not meet it, which are
//! few whatever the size of the terms, since a trace of which a part can't be a trace of the other side can't be one
//! itself; then, if those do not differ, the whole ones, if they are no longer than ten events.

mod case;
mod letter;
mod promise;
mod proof;
mod schema;
mod side;
#[cfg(test)]
mod tests;
mod trace;

use self::case::Case;
use self::letter::{Letter, Letters};
use self::proof::letter;
pub use self::proof::{Condition, Event, POINTS, Point, Proof, State, Trace, Verdict};
pub use self::schema::{Form, LAWS, Law, Need};
use self::side::{Side, When};
use super::term::{Block, Definition, Term};
use crate::expr::Expr;
use crate::problem::Problem;

/// The terms of a law have no more steps in all.
pub const STEPS: usize = 400;

impl Law {
    /// Whether the law holds for terms, one a letter, given as a definition whose term is a `first` of them. `when` is
    /// the condition by which its choices are decided; in the terms and in it, `steps.ID` means a step of the same
    /// term, or else of another.
    pub fn verify(&'static self, terms: &Definition, when: &Expr) -> Result<Proof, Vec<Problem>> {
        let one = |it: Problem| vec![it];
        let blocks = given(self, terms).map_err(one)?;
        let mut all = Vec::new();
        for (at, block) in blocks.iter().enumerate() {
            all.push(Letter::new(&block.term).map_err(|expr| {
                let message = format!("{:?} does not say which step it means", expr.source());
                one(Problem::new(
                    "unknown-reference",
                    letter(at as u8),
                    message,
                    "write steps.ID with a literal id",
                ))
            })?);
        }
        let steps: usize = all.iter().map(|it| it.steps.len()).sum();
        if steps > STEPS {
            let message = format!("the terms have {steps} steps; laws are verified for at most {STEPS}");
            let help = "verify the law for smaller terms, or with a sub-workflow as one step";
            return Err(one(Problem::new("too-large", self.name, message, help)));
        }
        let letters = Letters::new(all);
        let mut sides: Vec<Sides> = Vec::new();
        // A condition that decides nothing is the same either way.
        let both = [true, false];
        for holds in both.into_iter().take(if self.decides() { 2 } else { 1 }) {
            let when = When { expr: when, holds };
            let side = |form| Side::new(form, &letters, when);
            sides.push(Sides { holds, left: side(&self.left), right: side(&self.right) });
        }
        let stuck = |of: fn(&Sides) -> &Result<Side, String>| {
            sides.iter().find_map(|it| of(it).as_ref().err().cloned())
        };
        let stuck = [stuck(|it| &it.left), stuck(|it| &it.right)];
        if let [Some(why), Some(_)] = &stuck {
            let message = format!("neither side of {} can run: {why}", self.equation());
            let help =
                "give the terms in the order in which values flow; from a branch no value leaves by itself";
            return Err(one(Problem::new("cyclic-dependency", self.name, message, help)));
        }
        Ok(Case::new(self, letters, when, sides, stuck, blocks).proof())
    }

    fn decides(&self) -> bool {
        self.left.decides() || self.right.decides()
    }
}

impl Form {
    fn decides(&self) -> bool {
        match self {
            Form::Letter(_) => false,
            Form::Sequence(parts) | Form::Parallel(parts) => parts.iter().any(Form::decides),
            Form::Choice(_) => true,
        }
    }

    /// The form with terms for its letters.
    fn filled(&self, blocks: &[Block], when: &Expr) -> Term {
        let all = |parts: &[Form]| parts.iter().map(|it| it.filled(blocks, when)).collect();
        match self {
            Form::Letter(it) => (*blocks[usize::from(*it)].term).clone(),
            Form::Sequence(parts) => Term::Sequence(all(parts)),
            Form::Parallel(parts) => Term::Parallel(all(parts)),
            Form::Choice(parts) => {
                let block = |form: &Form| Block {
                    term: Box::new(form.filled(blocks, when)),
                    result: None,
                    locals: Vec::new(),
                };
                let (then, otherwise) = (block(&parts[0]), block(&parts[1]));
                Term::Choice {
                    id: String::new(),
                    branches: vec![(when.clone(), then)],
                    otherwise: Some(otherwise),
                }
            }
        }
    }
}

/// The terms that are given, if they are as many as the law has letters.
fn given<'d>(law: &Law, terms: &'d Definition) -> Result<&'d [Block], Problem> {
    let blocks = match &*terms.body.term {
        Term::First { branches, .. } => &branches[..],
        _ => &[],
    };
    if blocks.len() != usize::from(law.letters) {
        let message =
            format!("{} is about {} terms, and {} are given", law.equation(), law.letters, blocks.len());
        return Err(Problem::new("bad-term", law.name, message, "give one term for each letter"));
    }
    for (at, block) in blocks.iter().enumerate() {
        if block.result.is_some() || !block.locals.is_empty() {
            let message = "a block with a result or assets of its own is no term";
            return Err(Problem::new("bad-term", letter(at as u8), message, "give what is in its `term`"));
        }
    }
    Ok(blocks)
}

/// Both sides of a law, once its condition is decided.
struct Sides {
    holds: bool,
    left: Result<Side, String>,
    right: Result<Side, String>,
}
