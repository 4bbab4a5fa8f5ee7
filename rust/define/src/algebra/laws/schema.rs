//! The laws as schemas: two terms over letters, and what has to be so that they mean the same.

use std::fmt;

use super::proof::letter;

/// A term over letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Letter(u8),
    Sequence(&'static [Form]),
    Parallel(&'static [Form]),
    /// Decided by the law's condition: the first if it holds.
    Choice(&'static [Form; 2]),
}

/// What has to be so that a law holds. Letters are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Done twice it leaves what done once leaves.
    Idempotent(u8),
    /// What is taken from it is the same each time.
    Repeats(u8),
    /// In any order, and at the same time, they leave the same.
    Commute(u8, u8),
    /// Nothing that the first yields is read by the second.
    Unread(u8, u8),
    /// What the condition reads is the same before and after it.
    Undecided(u8),
}

/// A law of the algebra: two terms that mean the same, for any letters that meet its needs.
#[derive(Debug, PartialEq, Eq)]
pub struct Law {
    pub name: &'static str,
    pub letters: u8,
    pub left: Form,
    pub right: Form,
    pub needs: &'static [Need],
}

use Form::{Choice, Letter, Parallel, Sequence};
use Need::{Commute, Idempotent, Repeats, Undecided, Unread};

const A: Form = Letter(0);
const B: Form = Letter(1);
const C: Form = Letter(2);
const D: Form = Letter(3);
const NOTHING: Form = Sequence(&[]);

/// All laws that are known, those that always hold first.
pub const LAWS: [Law; 16] = [
    Law {
        name: "sequence-associativity",
        letters: 3,
        left: Sequence(&[Sequence(&[A, B]), C]),
        right: Sequence(&[A, Sequence(&[B, C])]),
        needs: &[],
    },
    Law {
        name: "parallel-associativity",
        letters: 3,
        left: Parallel(&[Parallel(&[A, B]), C]),
        right: Parallel(&[A, Parallel(&[B, C])]),
        needs: &[],
    },
    Law {
        name: "parallel-commutativity",
        letters: 2,
        left: Parallel(&[A, B]),
        right: Parallel(&[B, A]),
        needs: &[],
    },
    Law {
        name: "sequence-identity",
        letters: 1,
        left: Sequence(&[NOTHING, A, NOTHING]),
        right: A,
        needs: &[],
    },
    Law { name: "parallel-identity", letters: 1, left: Parallel(&[A, NOTHING]), right: A, needs: &[] },
    Law { name: "choice-idempotence", letters: 1, left: Choice(&[A, A]), right: A, needs: &[] },
    Law {
        name: "choice-right-distributivity",
        letters: 3,
        left: Sequence(&[Choice(&[A, B]), C]),
        right: Choice(&[Sequence(&[A, C]), Sequence(&[B, C])]),
        needs: &[],
    },
    Law {
        name: "distributivity",
        letters: 3,
        left: Sequence(&[A, Parallel(&[B, C])]),
        right: Parallel(&[Sequence(&[A, B]), Sequence(&[A, C])]),
        needs: &[Idempotent(0), Repeats(0), Commute(0, 0), Commute(0, 1), Commute(0, 2)],
    },
    Law {
        name: "right-distributivity",
        letters: 3,
        left: Sequence(&[Parallel(&[A, B]), C]),
        right: Parallel(&[Sequence(&[A, C]), Sequence(&[B, C])]),
        needs: &[Idempotent(2), Commute(2, 2), Commute(2, 0), Commute(2, 1)],
    },
    Law {
        name: "choice-distributivity",
        letters: 3,
        left: Sequence(&[A, Choice(&[B, C])]),
        right: Choice(&[Sequence(&[A, B]), Sequence(&[A, C])]),
        needs: &[Undecided(0)],
    },
    Law {
        name: "choice-parallel-distributivity",
        letters: 3,
        left: Parallel(&[A, Choice(&[B, C])]),
        right: Choice(&[Parallel(&[A, B]), Parallel(&[A, C])]),
        needs: &[Undecided(0), Unread(0, 1), Unread(0, 2)],
    },
    Law {
        name: "parallel-idempotence",
        letters: 1,
        left: Parallel(&[A, A]),
        right: A,
        needs: &[Idempotent(0), Commute(0, 0)],
    },
    Law {
        name: "sequence-idempotence",
        letters: 1,
        left: Sequence(&[A, A]),
        right: A,
        needs: &[Idempotent(0)],
    },
    Law {
        name: "commutation",
        letters: 2,
        left: Sequence(&[A, B]),
        right: Sequence(&[B, A]),
        needs: &[Unread(0, 1), Unread(1, 0), Commute(0, 1)],
    },
    Law {
        name: "parallelisation",
        letters: 2,
        left: Sequence(&[A, B]),
        right: Parallel(&[A, B]),
        needs: &[Unread(1, 0), Commute(0, 1)],
    },
    Law {
        name: "interchange",
        letters: 4,
        left: Sequence(&[Parallel(&[A, B]), Parallel(&[C, D])]),
        right: Parallel(&[Sequence(&[A, C]), Sequence(&[B, D])]),
        needs: &[Unread(3, 0), Unread(2, 1), Commute(0, 3), Commute(1, 2)],
    },
];

impl Law {
    pub fn named(name: &str) -> Option<&'static Law> {
        LAWS.iter().find(|law| law.name == name)
    }

    /// The two terms: `a;b = a∥b`.
    pub fn equation(&self) -> String {
        format!("{} = {}", self.left, self.right)
    }

    /// Whether one side or the other has a letter more than once.
    pub(super) fn repeated(&self, letter: u8) -> bool {
        [self.left, self.right].iter().any(|form| form.count(letter) > 1)
    }
}

impl Form {
    pub(super) fn has(&self, letter: u8) -> bool {
        self.count(letter) > 0
    }

    fn count(&self, letter: u8) -> usize {
        match self {
            Letter(it) => usize::from(*it == letter),
            Sequence(parts) | Parallel(parts) => parts.iter().map(|it| it.count(letter)).sum(),
            Choice(parts) => parts.iter().map(|it| it.count(letter)).max().unwrap_or(0),
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, mark): (&[Form], _) = match self {
            Letter(it) => return f.write_str(letter(*it)),
            Sequence([]) => return f.write_str("()"),
            Sequence(parts) => (parts, ";"),
            Parallel(parts) => (parts, "∥"),
            Choice(parts) => (&parts[..], " + "),
        };
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                f.write_str(mark)?;
            }
            // A sequence in a choice needs no brackets; elsewhere each kind has its own.
            let plain = match part {
                Letter(_) | Sequence([]) => true,
                Sequence(_) | Parallel(_) => matches!(self, Choice(_)),
                Choice(_) => false,
            };
            if plain { write!(f, "{part}")? } else { write!(f, "({part})")? }
        }
        Ok(())
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Idempotent(a) => write!(f, "{} is idempotent", letter(a)),
            Repeats(a) => write!(f, "what is taken from {} is the same each time", letter(a)),
            Commute(a, b) if a == b => write!(f, "{} commutes with itself", letter(a)),
            Commute(a, b) => write!(f, "{} commutes with {}", letter(a), letter(b)),
            Unread(a, b) => write!(f, "no value flows from {} to {}", letter(a), letter(b)),
            Undecided(a) => write!(f, "the condition reads nothing that {} sets or yields", letter(a)),
        }
    }
}
