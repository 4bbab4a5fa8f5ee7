//! What names mean in one concrete execution, for the oracle: every instance of a block has values of its own.

use std::fmt::Write;

use ferroflow_define::access::name::{self, Segment};
use ferroflow_define::access::{Part, Piece, Template};
use ferroflow_define::expr::Expr;
use ferroflow_define::value::{self, Item, Segment as Selected};
use ferroflow_define::{Binding, Block};

/// A piece of the name of an asset in an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seg {
    Text(String),
    Range(u64, u64),
    Part(u64, u64),
    /// A name, or a selector, of which a value is not known.
    Open(Vec<Bit>),
    Select(Vec<Bit>),
    /// A local asset of an instance of a block.
    Local(u64, String),
    /// The value that something has in an instance of a block.
    Value(Root),
    Member(Selected),
    /// The item of an iteration, inside the list that it is from.
    Each(u64),
}

pub(crate) type Name = Vec<Seg>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bit {
    Text(String),
    Hole(Hole),
}

/// What is not known of a value but what it is: two equal ones are the same value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hole {
    Path(Root, Vec<Selected>),
    Expression(String, Vec<Root>),
    /// A value of its own.
    Unknown(u64),
}

/// What has a value, and in which instance of its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root(pub(crate) What, pub(crate) u64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Step(String),
    Input,
    Item,
    Index,
    State,
    Iteration,
    Error,
}

/// What a block adds to the names round it.
#[derive(Clone, Copy)]
pub(crate) enum Binder<'t> {
    None,
    /// A workflow; what is given to one that may begin again is not known.
    Workflow(Option<&'t [(String, Binding)]>),
    Item(&'t str, &'t Binding),
    State(&'t str),
    Error,
}

/// An instance of a block.
pub(crate) struct Frame<'f, 't> {
    pub(crate) up: Option<&'f Frame<'f, 't>>,
    pub(crate) block: &'t Block,
    /// The ids of its steps.
    pub(crate) steps: &'f [&'t str],
    pub(crate) instance: u64,
    pub(crate) binder: Binder<'t>,
}

/// Mixes numbers, so that each instance has its own.
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    (a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29)
}

pub(crate) fn number(text: &str) -> u64 {
    text.bytes().fold(5381, |sum: u64, byte| sum.wrapping_mul(33) ^ u64::from(byte))
}

impl<'f, 't> Frame<'f, 't> {
    /// The frames from the inside to the nearest workflow.
    fn round(&'f self) -> impl Iterator<Item = &'f Frame<'f, 't>> {
        let next = |frame: &&'f Frame<'f, 't>| match frame.binder {
            Binder::Workflow(..) => None,
            _ => frame.up,
        };
        std::iter::successors(Some(self), next)
    }

    /// What a name means: with the frame that gives it its meaning. `None` for what may change at any time.
    fn root(&'f self, root: &str, member: Option<&str>) -> Option<(Root, &'f Frame<'f, 't>)> {
        self.round().find_map(|frame| {
            let what = match (root, frame.binder) {
                ("steps", _) => {
                    let id = member.filter(|id| frame.steps.contains(id));
                    What::Step(id?.to_owned())
                }
                ("input", Binder::Workflow(..)) => What::Input,
                ("error", Binder::Error) => What::Error,
                (_, Binder::Item(name, _)) if root == name => What::Item,
                (_, Binder::Item(name, _)) if root.strip_suffix("_index") == Some(name) => What::Index,
                (_, Binder::State(name)) if root == name => What::State,
                (_, Binder::State(name)) if root.strip_suffix("_iteration") == Some(name) => What::Iteration,
                _ => return None,
            };
            Some((Root(what, frame.instance), frame))
        })
    }

    /// Root and selection of a plain path.
    fn path(&'f self, expr: &Expr) -> Option<(Root, Vec<Selected>, &'f Frame<'f, 't>)> {
        let path = expr.path()?;
        let member = match path.segments.first() {
            Some(Selected::Key(key)) => Some(&**key),
            _ => None,
        };
        let (root, frame) = self.root(&path.root, member)?;
        let skip = usize::from(matches!(root.0, What::Step(_)));
        Some((root, path.segments[skip..].to_vec(), frame))
    }

    /// What a workflow was given where a selection from its inputs is meant, and the rest of the selection.
    fn given(&'f self, selected: &[Selected]) -> Option<(&'t Binding, &'f Frame<'f, 't>, Vec<Selected>)> {
        let (Binder::Workflow(Some(inputs)), [Selected::Key(name), rest @ ..]) = (self.binder, selected)
        else {
            return None;
        };
        let (_, binding) = inputs.iter().find(|(it, _)| **it == **name)?;
        Some((binding, self.up?, rest.to_vec()))
    }

    /// The asset that the value of a plain path is. Constants and what is computed are none.
    pub(crate) fn value(&'f self, expr: &Expr) -> Option<Name> {
        let (root, selected, frame) = self.path(expr)?;
        self.selected(root, &selected, frame)
    }

    fn selected(&'f self, root: Root, selected: &[Selected], frame: &'f Frame<'f, 't>) -> Option<Name> {
        let mut name = match (&root.0, frame.binder) {
            (What::Input, _) => match frame.given(selected) {
                Some((Binding::Expr(expr), outer, rest)) => {
                    let (root, mut first, frame) = outer.path(expr)?;
                    first.extend(rest);
                    return outer.selected(root, &first, frame);
                }
                Some(_) => return None,
                None => vec![Seg::Value(root)],
            },
            (What::Item, Binder::Item(_, items)) => {
                let list = match items {
                    Binding::Expr(expr) => frame.up.and_then(|outer| outer.value(expr)),
                    _ => None,
                };
                match list {
                    Some(mut list) => {
                        list.push(Seg::Each(frame.instance));
                        list
                    }
                    None => vec![Seg::Value(root)],
                }
            }
            (What::Index | What::Iteration, _) => return None,
            _ => vec![Seg::Value(root)],
        };
        name.extend(selected.iter().cloned().map(Seg::Member));
        Some(name)
    }

    /// The values that a binding reads.
    pub(crate) fn reads(&'f self, binding: &Binding, found: &mut Vec<Name>) {
        match binding {
            Binding::Const(_) => {}
            Binding::Expr(expr) => self.read(expr, found),
            Binding::List(items) => items.iter().for_each(|it| self.reads(it, found)),
            Binding::Map(items) => items.iter().for_each(|(_, it)| self.reads(it, found)),
        }
    }

    pub(crate) fn read(&'f self, expr: &Expr, found: &mut Vec<Name>) {
        if expr.path().is_some() {
            found.extend(self.value(expr));
            return;
        }
        for reference in expr.references() {
            if let Some((root, frame)) = self.root(&reference.root, reference.member.as_deref()) {
                let member = match (&root.0, &reference.member) {
                    (What::Step(_), _) | (_, None) => vec![],
                    (_, Some(member)) => vec![Selected::Key(member.clone())],
                };
                found.extend(self.selected(root, &member, frame));
            }
        }
    }

    /// What fills a hole; `own` is a number that nothing else has.
    fn hole(&'f self, expr: &Expr, own: u64) -> Bit {
        let bit = match self.path(expr) {
            Some((root, selected, frame)) => Some(self.filled(root, selected, frame)),
            None => self.computed(expr),
        };
        bit.unwrap_or(Bit::Hole(Hole::Unknown(own)))
    }

    fn filled(&'f self, root: Root, selected: Vec<Selected>, frame: &'f Frame<'f, 't>) -> Bit {
        let given = if root.0 == What::Input { frame.given(&selected) } else { None };
        let bit = match given {
            Some((Binding::Const(bytes), _, rest)) => {
                match value::follow("", bytes, &rest).ok().and_then(|bytes| value::item(bytes, 0).ok()) {
                    Some((Item::Str(text), _)) => Some(Bit::Text(text.to_owned())),
                    Some((Item::Int(number), _)) => Some(Bit::Text(number.to_string())),
                    _ => None,
                }
            }
            Some((Binding::Expr(expr), outer, rest)) => match outer.path(expr) {
                Some((root, mut first, frame)) => {
                    first.extend(rest);
                    Some(outer.filled(root, first, frame))
                }
                None if rest.is_empty() => outer.computed(expr),
                None => None,
            },
            _ => None,
        };
        // What is given and not known is the same for the whole workflow.
        bit.unwrap_or(Bit::Hole(Hole::Path(root, selected)))
    }

    fn computed(&'f self, expr: &Expr) -> Option<Bit> {
        let roots = expr.references().iter();
        let roots =
            roots.map(|it| Some(self.root(&it.root, it.member.as_deref())?.0)).collect::<Option<_>>()?;
        expr.path().is_none().then(|| Bit::Hole(Hole::Expression(expr.source().to_owned(), roots)))
    }

    /// The asset that a template names here, if `within` says what lies in what.
    pub(crate) fn named(&'f self, template: &Template, within: &[(Name, Name)], own: u64) -> Name {
        let mut name = Name::new();
        let mut holes = own;
        for part in &template.parts {
            let mut bits = |pieces: &[Piece]| {
                let bit = |piece: &Piece| match piece {
                    Piece::Text(text) => Bit::Text(text.to_string()),
                    Piece::Hole(expr) => {
                        holes = mix(holes, 1);
                        self.hole(expr, holes)
                    }
                };
                joined(pieces.iter().map(bit))
            };
            match part {
                Part::Known(segment) => name.push(known(segment)),
                Part::Open(pieces) => {
                    // A value may have several segments.
                    let mut segments = vec![vec![]];
                    for bit in bits(pieces) {
                        let Bit::Text(text) = bit else {
                            segments.last_mut().expect("one").push(bit);
                            continue;
                        };
                        let mut texts = text.split('/').map(|text| Bit::Text(text.to_owned()));
                        segments.last_mut().expect("one").extend(texts.next());
                        segments.extend(texts.map(|text| vec![text]));
                    }
                    for mut bits in segments {
                        match &bits[..] {
                            [Bit::Text(text)] => name.push(Seg::Text(text.clone())),
                            _ => {
                                bits.retain(|it| *it != Bit::Text(String::new()));
                                name.push(Seg::Open(bits));
                            }
                        }
                    }
                }
                Part::Select(pieces) => {
                    let bits = bits(pieces);
                    let text = match &bits[..] {
                        [Bit::Text(text)] => name::parse(&format!("x[{text}]")).ok(),
                        _ => None,
                    };
                    name.push(text.map_or(Seg::Select(bits), |text| known(&text[1])));
                }
            }
        }
        for frame in self.round() {
            let locals = frame.block.locals.iter().map(|it| (plain(&it.name), &it.name));
            let found = locals.filter(|(local, _)| name.starts_with(local));
            if let Some((local, text)) = found.max_by_key(|(local, _)| local.len()) {
                name.splice(..local.len(), [Seg::Local(frame.instance, text.clone())]);
                return name;
            }
        }
        whole(name, within)
    }
}

/// The bits with texts that follow one another as one.
fn joined(bits: impl Iterator<Item = Bit>) -> Vec<Bit> {
    let mut joined: Vec<Bit> = Vec::new();
    for bit in bits {
        match (joined.last_mut(), bit) {
            (Some(Bit::Text(before)), Bit::Text(text)) => before.push_str(&text),
            (_, bit) => joined.push(bit),
        }
    }
    joined
}

fn known(segment: &Segment) -> Seg {
    match *segment {
        Segment::Text(ref text) => Seg::Text(text.to_string()),
        Segment::Range(from, to) => Seg::Range(from, to),
        Segment::Part(part, of) => Seg::Part(part, of),
    }
}

pub(crate) fn plain(text: &str) -> Name {
    name::parse(text).expect("a name").iter().map(known).collect()
}

/// The whole name of what lies in something else.
fn whole(name: Name, within: &[(Name, Name)]) -> Name {
    let found = within.iter().filter(|(inner, _)| name.starts_with(inner));
    match found.max_by_key(|(inner, _)| inner.len()) {
        Some((_, outer)) => [whole(outer.clone(), within), name].concat(),
        None => name,
    }
}

/// Whether two things surely have something in common.
pub(crate) fn overlap(a: &[Seg], b: &[Seg]) -> bool {
    a.iter().zip(b).all(|(a, b)| meet(a, b))
}

fn meet(a: &Seg, b: &Seg) -> bool {
    let selects = |it: &Seg| matches!(it, Seg::Range(..) | Seg::Part(..) | Seg::Select(_));
    match (a, b) {
        (Seg::Range(a, b), Seg::Range(c, d)) => a.max(c) < b.min(d),
        (Seg::Part(a, n), Seg::Part(b, m)) => n != m || a == b,
        (Seg::Range(..), Seg::Part(..)) | (Seg::Part(..), Seg::Range(..)) => true,
        // What is selected may be in any part, and surely is in one.
        _ if selects(a) != selects(b) => true,
        _ => a == b,
    }
}

/// Whether all of one thing is in another.
pub(crate) fn contains(outer: &[Seg], inner: &[Seg]) -> bool {
    let Some((last, first)) = outer.split_last() else { return true };
    let inside = |it: &Seg| match (last, it) {
        (Seg::Range(a, b), Seg::Range(c, d)) => a <= c && d <= b,
        _ => last == it,
    };
    inner.starts_with(first) && inner.get(first.len()).is_some_and(inside)
}

pub(crate) fn is_value(name: &[Seg]) -> bool {
    matches!(name.first(), Some(Seg::Value(_)))
}

/// A value as people write it.
pub(crate) fn written(name: &[Seg]) -> String {
    let mut text = String::new();
    for seg in name {
        let _ = match seg {
            Seg::Value(Root(What::Step(id), _)) => write!(text, "steps.{id}"),
            Seg::Value(Root(What::Input, _)) => write!(text, "input"),
            Seg::Value(Root(What::Item, _)) => write!(text, "item"),
            Seg::Value(Root(What::State, _)) => write!(text, "state"),
            Seg::Value(Root(What::Error, _)) => write!(text, "error"),
            Seg::Member(Selected::Key(key)) => write!(text, "[{key:?}]"),
            Seg::Member(Selected::Index(index)) => write!(text, "[{index}]"),
            Seg::Each(_) => write!(text, "[i]"),
            other => panic!("{other:?} is no value"),
        };
    }
    text
}
