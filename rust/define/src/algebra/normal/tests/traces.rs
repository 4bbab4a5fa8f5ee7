//! A reference interpreter: small terms, and all the traces of starts and ends that they have.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use crate::algebra::term::{Activity, Binding, Block, Term};
use crate::expr::Expr;
use crate::value::Segment;

/// A small term: tasks by letter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Small {
    Task(u8),
    /// A task that has started.
    Begun(u8),
    Seq(Vec<Small>),
    Par(Vec<Small>),
    /// Members under an order: (before, after). Between tasks it may be said by data.
    Partial(Vec<Small>, Vec<Edge>),
    Choice(u8, Box<Small>, Box<Small>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Edge {
    before: usize,
    after: usize,
    data: bool,
}

/// Terms of at most five steps, in which tasks repeat.
pub(super) fn small() -> impl Strategy<Value = Small> {
    let leaf = (0u8..3).prop_map(Small::Task);
    leaf.prop_recursive(3, 5, 3, |inner| {
        let parts = || proptest::collection::vec(inner.clone(), 0..3);
        let partial = (proptest::collection::vec(inner.clone(), 0..5), any::<[Option<bool>; 10]>());
        prop_oneof![
            parts().prop_map(Small::Seq),
            parts().prop_map(Small::Par),
            partial.prop_map(|(parts, pairs)| {
                let between =
                    (1..parts.len()).flat_map(|after| (0..after).map(move |before| (before, after)));
                let edges = between
                    .zip(pairs)
                    .filter_map(|((before, after), edge)| edge.map(|data| Edge { before, after, data }));
                Small::Partial(parts.clone(), edges.collect())
            }),
            (0u8..2, inner.clone(), inner).prop_map(|(c, a, b)| Small::Choice(c, Box::new(a), Box::new(b))),
        ]
    })
    .prop_filter("at most five steps", |it| it.size() <= 5)
}

impl Small {
    fn size(&self) -> usize {
        match self {
            Small::Task(_) | Small::Begun(_) => 1,
            Small::Seq(parts) | Small::Par(parts) | Small::Partial(parts, _) => {
                parts.iter().map(Small::size).sum()
            }
            Small::Choice(_, a, b) => 1 + a.size() + b.size(),
        }
    }

    /// The term as a definition holds it; ids are numbered on from `next`. Blocks yield null, so that ids
    /// don't count.
    pub(super) fn term(&self, next: &mut usize) -> Term {
        let mut all = |parts: &[Small]| parts.iter().map(|it| it.term(next)).collect::<Vec<_>>();
        match self {
            Small::Task(letter) | Small::Begun(letter) => Term::Activity(Activity {
                id: id(next),
                task: char::from(b'a' + letter).to_string(),
                args: vec![],
                kwargs: vec![],
                set: vec![],
                access: None,
                options: Arc::default(),
            }),
            Small::Seq(parts) => Term::Sequence(all(parts)),
            Small::Par(parts) => Term::Parallel(all(parts)),
            Small::Partial(parts, order) => {
                let (mut terms, mut edges) = (all(parts), Vec::new());
                for &Edge { before, after, data } in order {
                    let read = terms[before].id().filter(|_| data).map(|id| format!("steps.{id}"));
                    match (read, &mut terms[after]) {
                        (Some(read), Term::Activity(it)) => {
                            it.args.push(Binding::Expr(Expr::parse(&read).unwrap()));
                        }
                        _ => edges.push((before as u32, after as u32)),
                    }
                }
                Term::Partial { terms, edges }
            }
            Small::Choice(c, a, b) => Term::Choice {
                id: id(next),
                branches: vec![(Expr::parse(&format!("input.c{c}")).unwrap(), block(a.term(next)))],
                otherwise: Some(block(b.term(next))),
            },
        }
    }

    /// Reads a term of the kinds that `term` makes.
    pub(super) fn of(term: &Term) -> Small {
        let all = |terms: &[Term]| terms.iter().map(Small::of).collect::<Vec<_>>();
        match term {
            Term::Activity(it) => Small::Task(it.task.as_bytes()[0] - b'a'),
            Term::Sequence(terms) => Small::Seq(all(terms)),
            Term::Parallel(terms) => Small::Par(all(terms)),
            Term::Partial { terms, edges } => {
                let edge = |before, after| Edge { before, after, data: false };
                let mut order: Vec<Edge> =
                    edges.iter().map(|&(before, after)| edge(before as usize, after as usize)).collect();
                for (after, term) in terms.iter().enumerate() {
                    let Term::Activity(it) = term else { continue };
                    for arg in &it.args {
                        let Binding::Expr(expr) = arg else { panic!("{arg:?}") };
                        let Some(Segment::Key(id)) = expr.path().unwrap().segments.first() else { panic!() };
                        let before = terms.iter().position(|it| it.id() == Some(id)).unwrap();
                        order.push(edge(before, after));
                    }
                }
                Small::Partial(all(terms), order)
            }
            Term::Choice { branches, otherwise, .. } => {
                let (condition, then) = &branches[0];
                let c = condition.source().strip_prefix("input.c").unwrap().parse().unwrap();
                let otherwise = otherwise.as_ref().unwrap();
                Small::Choice(c, Box::new(Small::of(&then.term)), Box::new(Small::of(&otherwise.term)))
            }
            _ => panic!("{term:?}"),
        }
    }

    /// What may happen next, and what is left then.
    fn steps(&self) -> Vec<(String, Small)> {
        let within = |parts: &[Small], at: usize| {
            let parts = parts.to_vec();
            parts[at].steps().into_iter().map(move |(event, left)| {
                let mut rest = parts.clone();
                rest[at] = left;
                (event, rest)
            })
        };
        match self {
            Small::Task(letter) => vec![(format!("+{letter}"), Small::Begun(*letter))],
            Small::Begun(letter) => vec![(format!("-{letter}"), Small::Seq(vec![]))],
            Small::Choice(c, a, b) => {
                vec![(format!("?{c}1"), (**a).clone()), (format!("?{c}0"), (**b).clone())]
            }
            Small::Seq(parts) => match parts.iter().position(|part| !part.done()) {
                Some(first) => within(parts, first).map(|(it, rest)| (it, Small::Seq(rest))).collect(),
                None => vec![],
            },
            Small::Par(parts) => (0..parts.len())
                .flat_map(|at| within(parts, at).map(|(it, rest)| (it, Small::Par(rest))))
                .collect(),
            Small::Partial(parts, order) => (0..parts.len())
                .filter(|&at| free(parts, order, at))
                .flat_map(|at| within(parts, at).map(|(it, rest)| (it, Small::Partial(rest, order.clone()))))
                .collect(),
        }
    }

    fn done(&self) -> bool {
        match self {
            Small::Task(_) | Small::Begun(_) | Small::Choice(..) => false,
            Small::Seq(parts) | Small::Par(parts) | Small::Partial(parts, _) => parts.iter().all(Small::done),
        }
    }

    pub(super) fn traces(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut stack = vec![(String::new(), self.clone())];
        while let Some((trace, left)) = stack.pop() {
            if !seen.insert((trace.clone(), format!("{left:?}"))) {
                continue;
            }
            if left.done() {
                all.insert(trace.clone());
            }
            stack.extend(left.steps().into_iter().map(|(event, rest)| (format!("{trace}{event}"), rest)));
        }
        all
    }

    /// The same by associativity, commutativity, the empty term, and what a partial order says anyway.
    pub(super) fn rewritten(&self, dice: &mut impl FnMut(usize) -> usize) -> Small {
        let all =
            |parts: &[Small], dice: &mut _| parts.iter().map(|it| it.rewritten(dice)).collect::<Vec<_>>();
        let edge = |before, after| Edge { before, after, data: false };
        let kind = dice(4);
        match self {
            Small::Task(_) | Small::Begun(_) if kind == 0 => {
                Small::Seq(vec![Small::Par(vec![]), self.clone()])
            }
            Small::Task(_) | Small::Begun(_) => self.clone(),
            Small::Seq(parts) => {
                let mut parts = all(parts, dice);
                if kind == 0 {
                    let order = (1..parts.len()).map(|after| edge(after - 1, after)).collect();
                    return Small::Partial(parts, order).rewritten(dice);
                }
                if kind == 1 && parts.len() > 1 {
                    let tail = parts.split_off(1);
                    parts.push(Small::Seq(tail));
                }
                Small::Seq(parts)
            }
            Small::Par(parts) => {
                let mut parts = all(parts, dice);
                match kind {
                    0 => return Small::Partial(parts, vec![]).rewritten(dice),
                    1 => parts.reverse(),
                    2 if parts.len() > 1 => {
                        let tail = parts.split_off(1);
                        parts.insert(0, Small::Par(tail));
                    }
                    _ => {}
                }
                Small::Par(parts)
            }
            Small::Partial(parts, order) => {
                let mut order = order.clone();
                // Data is between tasks.
                let data = |at| order.iter().any(|it| it.data && (it.before == at || it.after == at));
                let part = |(at, it): (usize, &Small)| if data(at) { it.clone() } else { it.rewritten(dice) };
                let mut parts: Vec<Small> = parts.iter().enumerate().map(part).collect();
                // Order that follows from other order.
                if kind < 2 {
                    for (a, b) in pairs(&order) {
                        if a.after == b.before && dice(2) == 0 {
                            order.push(edge(a.before, b.after));
                        }
                    }
                }
                // Members in another order.
                for at in (1..parts.len()).rev() {
                    let other = dice(at + 1);
                    parts.swap(at, other);
                    let moved = |it: usize| match it {
                        it if it == at => other,
                        it if it == other => at,
                        it => it,
                    };
                    for edge in &mut order {
                        (edge.before, edge.after) = (moved(edge.before), moved(edge.after));
                    }
                }
                Small::Partial(parts, order)
            }
            Small::Choice(c, a, b) => {
                Small::Choice(*c, Box::new(a.rewritten(dice)), Box::new(b.rewritten(dice)))
            }
        }
    }

    /// Whether the traces tell all there is: no task occurs twice, nothing is chosen, no data.
    pub(super) fn is_told_by_traces(&self) -> bool {
        let mut seen = BTreeSet::new();
        self.tells(&mut seen)
    }

    fn tells(&self, seen: &mut BTreeSet<u8>) -> bool {
        match self {
            Small::Task(letter) | Small::Begun(letter) => seen.insert(*letter),
            Small::Seq(parts) | Small::Par(parts) => parts.iter().all(|it| it.tells(seen)),
            Small::Partial(parts, order) => {
                order.iter().all(|edge| !edge.data) && parts.iter().all(|it| it.tells(seen))
            }
            Small::Choice(..) => false,
        }
    }
}

fn pairs(order: &[Edge]) -> Vec<(Edge, Edge)> {
    order.iter().flat_map(|&a| order.iter().map(move |&b| (a, b))).collect()
}

/// Whether all that comes before a member is over.
fn free(parts: &[Small], order: &[Edge], at: usize) -> bool {
    order
        .iter()
        .filter(|edge| edge.after == at)
        .all(|it| parts[it.before].done() && free(parts, order, it.before))
}

fn id(next: &mut usize) -> String {
    *next += 1;
    format!("s{next:03}")
}

fn block(term: Term) -> Block {
    Block { term: Box::new(term), result: Some(Binding::Const([0xc0u8].as_slice().into())), locals: vec![] }
}
