//! Makes a definition smaller while something stays true of it.

use ferroflow_define::algebra::term::Access;
use ferroflow_define::{Binding, Block, Definition, Term};

/// The smallest definition that this comes to by leaving out one thing after another.
pub(crate) fn shrink(definition: &Definition, fails: impl Fn(&Definition) -> bool) -> Definition {
    let mut best = definition.clone();
    let mut at = 0;
    loop {
        let mut next = best.clone();
        let mut left = at as isize;
        if !next.assets.is_empty() && take(&mut left) {
            next.assets.clear();
        }
        block(&mut next.body, &mut left);
        if left >= 0 {
            return best;
        }
        if next != best && fails(&next) {
            best = next;
            at = 0;
        } else {
            at += 1;
        }
    }
}

/// Whether it is this one's turn.
fn take(left: &mut isize) -> bool {
    *left -= 1;
    *left == -1
}

fn block(it: &mut Block, left: &mut isize) {
    if !it.locals.is_empty() && take(left) {
        it.locals.pop();
    }
    let null = Some(Binding::Const([0xc0u8].as_slice().into()));
    if it.result != null && take(left) {
        it.result = null;
    }
    term(&mut it.term, left);
}

fn members(terms: &mut Vec<Term>, left: &mut isize) -> Option<usize> {
    for at in 0..terms.len() {
        if take(left) {
            terms.remove(at);
            return Some(at);
        }
        term(&mut terms[at], left);
    }
    None
}

fn term(it: &mut Term, left: &mut isize) {
    let blocks: Vec<&mut Block> = match it {
        Term::Sequence(terms) | Term::Parallel(terms) => {
            members(terms, left);
            if terms.len() == 1 && take(left) {
                *it = terms.remove(0);
            }
            return;
        }
        Term::Partial { terms, edges } => {
            let mut edge = 0;
            while edge < edges.len() {
                if take(left) {
                    edges.remove(edge);
                    return;
                }
                edge += 1;
            }
            if let Some(gone) = members(terms, left) {
                let gone = gone as u32;
                edges.retain(|it| it.0 != gone && it.1 != gone);
                for end in edges.iter_mut().flat_map(|it| [&mut it.0, &mut it.1]) {
                    *end -= u32::from(*end > gone);
                }
            }
            return;
        }
        Term::Activity(activity) => {
            for at in 0..activity.args.len() {
                if take(left) {
                    activity.args.remove(at);
                    return;
                }
            }
            if !activity.set.is_empty() && take(left) {
                activity.set.clear();
            }
            let accesses: Vec<Access> = activity.access.iter().flat_map(|it| it.iter().cloned()).collect();
            for at in 0..accesses.len() {
                if take(left) {
                    let mut fewer = accesses.clone();
                    fewer.remove(at);
                    activity.access = Some(fewer.into());
                    return;
                }
            }
            return;
        }
        Term::Choice { branches, otherwise, .. } => {
            if branches.len() > 1 && take(left) {
                branches.pop();
            }
            if otherwise.is_some() && take(left) {
                *otherwise = None;
            }
            branches.iter_mut().map(|it| &mut it.1).chain(otherwise).collect()
        }
        Term::First { branches, count, .. } => {
            if branches.len() > 1 && take(left) {
                branches.pop();
                *count = (*count).min(branches.len() as u32);
            }
            branches.iter_mut().collect()
        }
        Term::Handler { body, handler, .. } => vec![body, handler],
        Term::Loop { body, .. }
        | Term::Each { body, .. }
        | Term::Scope { body, .. }
        | Term::Timeout { body, .. } => {
            vec![body]
        }
        Term::Sleep { .. } | Term::Signal { .. } | Term::Recursion { .. } => return,
    };
    for inner in blocks {
        if take(left) {
            // What is inside stands for all of it.
            let inside = std::mem::replace(&mut *inner.term, Term::Sequence(vec![]));
            *it = inside;
            return;
        }
        block(inner, left);
    }
}
