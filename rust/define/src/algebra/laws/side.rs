//! A side of a law with its letters filled in: occurrences of steps, and which of them come before which.

use super::letter::Letters;
use super::schema::Form;
use crate::expr::Expr;

/// An occurrence of a step, or the place where the law's condition is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Step(usize, usize),
    Decision,
}

pub(super) struct Node {
    pub what: What,
    /// Which occurrence of its letter it belongs to.
    copy: u32,
    /// Whether it is in a branch, where nothing outside can see it.
    inside: bool,
}

/// One side of a law, once the condition is decided.
pub(super) struct Side {
    pub nodes: Vec<Node>,
    /// By node, those that come after it, as bits.
    after: Vec<Vec<u64>>,
}

/// The condition of a law, and what of it is decided.
#[derive(Clone, Copy)]
pub(super) struct When<'e> {
    pub expr: &'e Expr,
    pub holds: bool,
}

impl Side {
    /// Fills in the letters. The error says why nothing can begin.
    pub(super) fn new(form: &Form, letters: &Letters, when: When<'_>) -> Result<Self, String> {
        let mut side = Self { nodes: Vec::new(), after: Vec::new() };
        let mut draft = Draft::default();
        side.lay(form, letters, when, false, &mut draft);
        let words = side.nodes.len().div_ceil(64);
        side.after = vec![vec![0; words]; side.nodes.len()];
        for &(from, to) in &draft.edges {
            side.link(from, to);
        }
        side.close();
        let mut data = Vec::new();
        for at in 0..side.nodes.len() {
            match side.nodes[at].what {
                What::Step(letter, step) => {
                    for &source in letters.sources((letter, step)) {
                        data.extend(side.reads(at, source, letters, draft.decision)?);
                    }
                }
                What::Decision => {
                    for source in sources(when.expr, letters) {
                        data.extend(side.reads(at, source, letters, None)?);
                    }
                    for &(letter, step) in &draft.left_out {
                        for &source in letters.sources((letter, step)) {
                            let inner = draft.left_out.contains(&source);
                            data.extend(side.source(at, source).filter(|_| !inner).map(|from| (from, at)));
                        }
                    }
                }
            }
        }
        data.iter().for_each(|&(from, to)| side.link(from, to));
        side.close();
        for (at, node) in side.nodes.iter().enumerate() {
            if side.before(at, at) {
                return Err(match node.what {
                    What::Step(letter, step) => {
                        format!("`{}` would wait for itself", letters.name((letter, step)))
                    }
                    What::Decision => "the condition would wait for what it decides".to_owned(),
                });
            }
        }
        Ok(side)
    }

    pub(super) fn before(&self, a: usize, b: usize) -> bool {
        self.after[a][b / 64] >> (b % 64) & 1 == 1
    }

    /// The occurrences of a step.
    pub(super) fn occurrences(&self, step: (usize, usize)) -> impl Iterator<Item = usize> + '_ {
        let is = move |&at: &usize| self.nodes[at].what == What::Step(step.0, step.1);
        (0..self.nodes.len()).filter(is)
    }

    fn link(&mut self, from: usize, to: usize) {
        self.after[from][to / 64] |= 1 << (to % 64);
    }

    fn close(&mut self) {
        for middle in 0..self.nodes.len() {
            let row = self.after[middle].clone();
            for from in 0..self.nodes.len() {
                if self.before(from, middle) {
                    self.after[from].iter_mut().zip(&row).for_each(|(word, more)| *word |= more);
                }
            }
        }
    }

    /// The occurrence of a step that one which reads it means: in its own copy of the letter, or before it.
    fn source(&self, at: usize, (letter, step): (usize, usize)) -> Option<usize> {
        let mut found = None;
        for other in self.occurrences((letter, step)) {
            let own = self.nodes[other].copy == self.nodes[at].copy;
            if own || self.before(other, at) || found.is_none() {
                found = Some(other);
            }
            if own {
                break;
            }
        }
        found
    }

    /// The order that reading makes.
    fn reads(
        &self,
        at: usize,
        source: (usize, usize),
        letters: &Letters,
        decision: Option<usize>,
    ) -> Result<Vec<(usize, usize)>, String> {
        let reader = || match self.nodes[at].what {
            What::Step(letter, step) => format!("`{}`", letters.name((letter, step))),
            What::Decision => "the condition".to_owned(),
        };
        let from = self.source(at, source).filter(|&from| self.nodes[at].inside || !self.nodes[from].inside);
        let Some(from) = from else {
            let name = letters.name(source);
            return Err(format!("{} reads what `{name}` yields, which can't be seen from there", reader()));
        };
        let mut order = vec![(from, at)];
        // A choice waits for all that its branches read outside.
        order.extend(
            decision.filter(|_| self.nodes[at].inside && !self.nodes[from].inside).map(|it| (from, it)),
        );
        Ok(order)
    }

    fn lay(
        &mut self,
        form: &Form,
        letters: &Letters,
        when: When<'_>,
        inside: bool,
        draft: &mut Draft,
    ) -> Vec<usize> {
        match form {
            Form::Letter(letter) => {
                let letter = usize::from(*letter);
                let first = self.nodes.len();
                draft.copies += 1;
                let it = &letters.all[letter];
                let node = |step| Node { what: What::Step(letter, step), copy: draft.copies, inside };
                self.nodes.extend((0..it.steps.len()).map(node));
                draft.edges.extend(it.edges.iter().map(|&(a, b)| (first + a as usize, first + b as usize)));
                (first..self.nodes.len()).collect()
            }
            Form::Sequence(parts) => {
                let mut all: Vec<usize> = Vec::new();
                for part in *parts {
                    let next = self.lay(part, letters, when, inside, draft);
                    draft.edges.extend(all.iter().flat_map(|&from| next.iter().map(move |&to| (from, to))));
                    all.extend(next);
                }
                all
            }
            Form::Parallel(parts) => {
                parts.iter().flat_map(|part| self.lay(part, letters, when, inside, draft)).collect()
            }
            Form::Choice([then, otherwise]) => {
                let decision = self.nodes.len();
                self.nodes.push(Node { what: What::Decision, copy: 0, inside });
                draft.decision = Some(decision);
                let (taken, left) = if when.holds { (then, otherwise) } else { (otherwise, then) };
                let mut all = self.lay(taken, letters, when, true, draft);
                draft.edges.extend(all.iter().map(|&to| (decision, to)));
                all.push(decision);
                for letter in 0..letters.all.len() {
                    if left.has(letter as u8) {
                        draft
                            .left_out
                            .extend((0..letters.all[letter].steps.len()).map(|step| (letter, step)));
                    }
                }
                all
            }
        }
    }
}

/// What comes up while a side is laid out.
#[derive(Default)]
struct Draft {
    copies: u32,
    edges: Vec<(usize, usize)>,
    decision: Option<usize>,
    /// Steps of the branch that is not taken.
    left_out: Vec<(usize, usize)>,
}

/// The steps of letters that the condition reads.
pub(super) fn sources(when: &Expr, letters: &Letters) -> Vec<(usize, usize)> {
    let steps = when.references().iter().filter(|it| &*it.root == "steps");
    let ids = steps.filter_map(|it| it.member.as_deref());
    ids.filter_map(|id| letters.resolve(0, id)).collect()
}
