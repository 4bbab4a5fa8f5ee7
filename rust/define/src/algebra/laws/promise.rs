//! What is promised of steps, and what follows from it: whether they commute, and whether they may be repeated.

use super::letter::{Atom, Kind, Step};
use super::proof::{Point, State};
use crate::access::{Asset, Mode, Part, Piece, Template};
use crate::algebra::term::{Access, Activity};
use crate::expr::Expr;

/// How it stands, by what promise, and why.
type Told = (State, &'static str, String);

/// How a step, or something in it, is called.
pub(super) type Name<'n> = dyn Fn(&Step, Option<&Atom>) -> String + 'n;

/// Whether two steps, or two copies of one, leave the same in any order and at the same time.
pub(super) fn commute(a: &Step, b: &Step, name: &Name<'_>) -> Vec<Point> {
    let copies = std::ptr::eq(a, b);
    let mut points = Vec::new();
    for (at, one) in a.atoms.iter().enumerate() {
        for other in &b.atoms[if copies { at } else { 0 }..] {
            let told = atoms_commute(one, other, &name(a, Some(one)), &name(b, Some(other)));
            points.push(point(vec![name(a, Some(one)), name(b, Some(other))], told));
        }
    }
    let steps = || vec![name(a, None), name(b, None)];
    // Copies of a step that yields the same each time set their variables to the same.
    let disturbed = match copies {
        true if repeats(a, true) => a.variables.feed(&a.variables),
        true => a.variables.disturb(&a.variables),
        false => a.variables.disturb(&b.variables).or_else(|| b.variables.disturb(&a.variables)),
    };
    if let Some(variable) = disturbed {
        let says = match copies {
            true => format!(
                "`{}` sets the variable {variable:?}, and may set it to something else",
                name(a, None)
            ),
            false => format!(
                "`{}` and `{}` share the variable {variable:?}, which is set",
                name(a, None),
                name(b, None)
            ),
        };
        points.push(point(steps(), (State::Broken, "variables", says)));
    }
    if points.is_empty() {
        points.push(point(steps(), (State::Kept, "kind", "nothing is in one of them".to_owned())));
    }
    points
}

/// Whether a step that is done twice in a row leaves what done once leaves.
pub(super) fn idempotent(it: &Step, name: &Name<'_>) -> Vec<Point> {
    let mut points: Vec<Point> = it
        .atoms
        .iter()
        .map(|atom| point(vec![name(it, Some(atom))], atom_idempotent(atom, &name(it, Some(atom)))))
        .collect();
    if let Some(variable) = it.variables.feed(&it.variables) {
        let says = format!("`{}` sets the variable {variable:?} from what it was", name(it, None));
        points.push(point(vec![name(it, None)], (State::Broken, "variables", says)));
    } else if it.variables.set() && !repeats(it, true) {
        let says = format!(
            "`{}` sets variables, and may set them to something else the second time",
            name(it, None)
        );
        points.push(point(vec![name(it, None)], (State::Missing, "", says)));
    }
    if it.atoms.len() > 1 || !it.settled || it.atoms.iter().any(|atom| atom.again) {
        points.extend(repeated(it, name));
    }
    if points.is_empty() {
        points.push(point(
            vec![name(it, None)],
            (State::Kept, "kind", format!("nothing is in `{}`", name(it, None))),
        ));
    }
    points
}

/// What else a composite needs to be idempotent.
fn repeated(it: &Step, name: &Name<'_>) -> Vec<Point> {
    let mut points = Vec::new();
    if !it.settled && !it.atoms.iter().all(harmless) {
        let says = format!("`{}` may go another way the second time", name(it, None));
        points.push(point(vec![name(it, None)], (State::Missing, "", says)));
    }
    for (at, one) in it.atoms.iter().enumerate() {
        if one.read && !same_each_time(one) {
            let says =
                format!("`{}` does not promise to be pure, and what it yields is read", name(it, Some(one)));
            points.push(point(vec![name(it, Some(one))], (State::Missing, "", says)));
        }
        for other in &it.atoms[at + usize::from(!one.again)..] {
            let told = atoms_commute(one, other, &name(it, Some(one)), &name(it, Some(other)));
            if told.0 != State::Kept {
                points.push(point(vec![name(it, Some(one)), name(it, Some(other))], told));
            }
        }
    }
    points
}

/// Whether a step yields the same each time it is given the same, and leaves nothing; `sets`: but variables.
pub(super) fn repeats(it: &Step, sets: bool) -> bool {
    it.settled && (sets || !it.variables.set()) && it.atoms.iter().all(same_each_time)
}

/// Whether what a step yields is the same each time, as a point of a condition.
pub(super) fn repeating(it: &Step, name: &Name<'_>) -> Point {
    let told = match repeats(it, false) {
        true => (State::Kept, "pure", format!("`{}` is pure", name(it, None))),
        false => (
            State::Missing,
            "",
            format!("`{}` does not promise to be pure, and what it yields is read", name(it, None)),
        ),
    };
    point(vec![name(it, None)], told)
}

fn point(steps: Vec<String>, (state, by, says): Told) -> Point {
    Point { steps, state, by, says }
}

fn same_each_time(atom: &Atom) -> bool {
    match &atom.kind {
        Kind::Task(it) => it.options.pure && it.access.as_ref().is_none_or(|access| access.is_empty()),
        _ => false,
    }
}

/// Whether it leaves nothing.
fn harmless(atom: &Atom) -> bool {
    match &atom.kind {
        Kind::Task(it) => {
            touches(it).is_some_and(|access| access.iter().all(|access| access.mode == Mode::Reads))
        }
        Kind::Sleep => true,
        Kind::Signal(_) | Kind::Unknown(_) => false,
    }
}

/// What a task does to assets, if that is known.
fn touches(it: &Activity) -> Option<&[Access]> {
    match &it.access {
        Some(access) => Some(access),
        None => it.options.pure.then_some(&[]),
    }
}

fn atom_idempotent(atom: &Atom, name: &str) -> Told {
    let it = match &atom.kind {
        Kind::Task(it) => it,
        Kind::Sleep => return (State::Kept, "kind", format!("`{name}` only waits")),
        Kind::Signal(signal) => {
            let says =
                format!("`{name}` takes the signal {signal:?}: the second time there has to be another");
            return (State::Broken, "kind", says);
        }
        Kind::Unknown(workflow) => {
            return (State::Missing, "", format!("`{name}` calls {workflow:?}, which is not in the term"));
        }
    };
    let taken = it.access.iter().flat_map(|access| access.iter()).find(|access| access.mode == Mode::Takes);
    if let Some(taken) = taken {
        let says = format!("`{name}` takes {}, which is gone the second time", written(&taken.asset));
        return (State::Broken, "accesses", says);
    }
    if it.options.pure {
        (State::Kept, "pure", format!("`{name}` is pure"))
    } else if it.options.idempotent {
        (State::Kept, "idempotent", format!("`{name}` is idempotent"))
    } else if harmless(atom) {
        (State::Kept, "accesses", format!("`{name}` declares that it only reads"))
    } else {
        (State::Missing, "", format!("`{name}` does not promise to be idempotent"))
    }
}

fn atoms_commute(a: &Atom, b: &Atom, one: &str, other: &str) -> Told {
    for (atom, name) in [(a, one), (b, other)] {
        if let Kind::Sleep = atom.kind {
            return (State::Kept, "kind", format!("`{name}` only waits"));
        }
    }
    let unknown = |name: &str, workflow: &str| {
        (State::Missing, "", format!("`{name}` calls {workflow:?}, which is not in the term"))
    };
    match (&a.kind, &b.kind) {
        (Kind::Signal(x), Kind::Signal(y)) if x == y => {
            (State::Broken, "kind", format!("`{one}` and `{other}` wait for one signal, {x:?}"))
        }
        (Kind::Unknown(workflow), it) | (it, Kind::Unknown(workflow)) => {
            let told = |task: &Activity| touches(task).is_some_and(<[_]>::is_empty);
            let name = if let Kind::Unknown(_) = a.kind { one } else { other };
            match it {
                Kind::Task(task) if told(task) => {
                    (State::Kept, "pure", "one of them touches no assets".to_owned())
                }
                _ => unknown(name, workflow),
            }
        }
        (Kind::Task(x), Kind::Task(y)) => tasks_commute((a, x, one), (b, y, other)),
        _ => (State::Kept, "kind", "a signal is all that one of them waits for".to_owned()),
    }
}

fn tasks_commute((a, x, one): (&Atom, &Activity, &str), (b, y, other): (&Atom, &Activity, &str)) -> Told {
    for (it, name, with, their) in [(x, one, y, other), (y, other, x, one)] {
        if it.options.commutes_with.contains(&with.task) {
            let whom = if it.task == with.task { "itself".to_owned() } else { format!("`{their}`") };
            return (State::Kept, "commutes_with", format!("`{name}` says that it commutes with {whom}"));
        }
    }
    for ((task, name), (atom, their)) in [((x, one), (b, other)), ((y, other), (a, one))] {
        let values = task.access.iter().flat_map(|access| access.iter()).filter(|it| it.mode != Mode::Reads);
        for access in values {
            if let Asset::Value(expr) = &access.asset
                && expr.references().iter().any(|it| atom.references.contains(it))
            {
                let mode = access.mode.name();
                let says = format!("`{name}` {mode} {}, which `{their}` reads", written(&access.asset));
                return (State::Broken, "accesses", says);
            }
        }
    }
    for (it, name) in [(x, one), (y, other)] {
        if touches(it).is_some_and(<[_]>::is_empty) {
            return match it.options.pure {
                true => (State::Kept, "pure", format!("`{name}` is pure")),
                false => (State::Kept, "accesses", format!("`{name}` touches no assets")),
            };
        }
    }
    let (Some(of_one), Some(of_other)) = (touches(x), touches(y)) else {
        let silent = if touches(x).is_none() { one } else { other };
        return (State::Missing, "", format!("`{silent}` does not say what it reads and writes"));
    };
    let mut perhaps = None;
    for p in of_one {
        for q in of_other.iter().filter(|q| !p.mode.compatible(&q.mode)) {
            let says = |so: &str| {
                let does = |it: &Access| format!("{} {}", it.mode.name(), written(&it.asset));
                format!("`{one}` {} and `{other}` {}{so}", does(p), does(q))
            };
            match meeting(&p.asset, &q.asset, !a.inner() && !b.inner()) {
                Meeting::Never => {}
                Meeting::Perhaps => {
                    perhaps.get_or_insert_with(|| says(", which may be the same"));
                }
                Meeting::Surely => return (State::Broken, "accesses", says("")),
            }
        }
    }
    match perhaps {
        Some(says) => (State::Missing, "", says),
        None => {
            let says = format!("what `{one}` and `{other}` declare does not conflict");
            (State::Kept, "accesses", says)
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Meeting {
    Never,
    Perhaps,
    Surely,
}

/// Whether two assets have something in common, as far as their names tell. `outer`: the inputs that they name are
/// those of one workflow.
fn meeting(a: &Asset, b: &Asset, outer: bool) -> Meeting {
    match (a, b) {
        (Asset::Named(a), Asset::Named(b)) => templates_meet(a, b, outer),
        (Asset::Value(a), Asset::Value(b)) => values_meet(a, b),
        _ => Meeting::Never,
    }
}

fn templates_meet(a: &Template, b: &Template, outer: bool) -> Meeting {
    let inputs =
        a.holes().all(|hole| hole.references().iter().all(|it| &*it.root == "input" && it.member.is_some()));
    for (a, b) in a.parts.iter().zip(&b.parts) {
        match (a, b) {
            (Part::Known(x), Part::Known(y)) if x == y => {}
            (Part::Known(x), Part::Known(y)) if x.overlaps(y) => {
                // Selections of one thing, or a selection and what is beside it.
                return Meeting::Surely;
            }
            (Part::Known(_), Part::Known(_)) => return Meeting::Never,
            // An input fills all its holes alike; anything else may be something else the next time.
            _ if a == b && inputs && outer => {}
            _ if a == b => return Meeting::Perhaps,
            (Part::Open(_) | Part::Known(_), Part::Open(_) | Part::Known(_)) => {
                let (x, y) = (beginning(a), beginning(b));
                let shorter = x.len().min(y.len());
                return match x.as_bytes()[..shorter] == y.as_bytes()[..shorter] {
                    true => Meeting::Perhaps,
                    false => Meeting::Never,
                };
            }
            _ => return Meeting::Perhaps,
        }
    }
    Meeting::Surely
}

/// What the text of a segment surely begins with.
fn beginning(part: &Part) -> &str {
    match part {
        Part::Known(crate::access::name::Segment::Text(text)) => text,
        Part::Open(pieces) => match pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        },
        _ => "",
    }
}

fn values_meet(a: &Expr, b: &Expr) -> Meeting {
    let (Some(a), Some(b)) = (a.path(), b.path()) else { return Meeting::Perhaps };
    match a.root == b.root && a.segments.iter().zip(&b.segments).all(|(a, b)| a == b) {
        true => Meeting::Surely,
        false => Meeting::Never,
    }
}

/// An asset as it is called.
fn written(asset: &Asset) -> String {
    match asset {
        Asset::Named(template) => format!("\"{template}\""),
        Asset::Value(expr) => format!("the value {}", expr.source()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_holes_meet_perhaps_unless_what_is_known_of_them_differs() {
        let meet = |a: &str, b: &str| {
            templates_meet(&Template::parse(a).unwrap(), &Template::parse(b).unwrap(), true)
        };
        for (a, b, expected) in [
            ("lake", "lake/raw", Meeting::Surely),
            ("lake/a", "lake/b", Meeting::Never),
            ("lake/{input.a}", "lake/{input.a}/x", Meeting::Surely),
            ("lake/{input.a}", "lake/{input.b}", Meeting::Perhaps),
            ("lake/{input.a}", "lake", Meeting::Surely),
            ("lake/{input.a}", "pond/{input.a}", Meeting::Never),
            ("lake/x-{input.a}", "lake/y-{input.a}", Meeting::Never),
            ("lake/x-{input.a}", "lake/x", Meeting::Perhaps),
            ("lake/x-{input.a}", "lake/x-1/z", Meeting::Perhaps),
            ("t[0:5]", "t[5:9]", Meeting::Never),
            ("t[0:5]", "t[4:9]", Meeting::Surely),
            ("t[{input.a}/8]", "t[3/8]", Meeting::Perhaps),
            ("t[{input.a}/8]", "t/x", Meeting::Perhaps),
            ("t/{input.a}", "t[0:5]", Meeting::Perhaps),
            ("t/{input.a}/x", "t/{input.a}/y", Meeting::Never),
            ("t/{vars.a}/x", "t/{vars.a}/y", Meeting::Perhaps),
        ] {
            assert!(meet(a, b) == expected, "{a} {b}");
            assert!(meet(b, a) == expected, "{b} {a}");
        }
    }

    #[test]
    fn values_meet_where_one_is_part_of_the_other() {
        let meet = |a: &str, b: &str| values_meet(&Expr::parse(a).unwrap(), &Expr::parse(b).unwrap());
        assert!(meet("steps.a", "steps.a.rows") == Meeting::Surely);
        assert!(meet("steps.a.x", "steps.a.y") == Meeting::Never);
    }
}
