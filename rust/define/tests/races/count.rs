//! What there is in definitions, to show that nothing is rare.

use std::collections::{BTreeMap, BTreeSet};

use ferroflow_define::access::{Asset, Mode, Part, Piece, Template};
use ferroflow_define::{Binding, Block, Definition, Term};

use super::shape::blocks;

/// How many definitions there were, and in how many of them each thing.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) all: u64,
    pub(crate) of: BTreeMap<&'static str, u64>,
}

impl Counts {
    pub(crate) fn add(&mut self, things: impl IntoIterator<Item = &'static str>) {
        self.all += 1;
        things.into_iter().for_each(|thing| *self.of.entry(thing).or_default() += 1);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.all += other.all;
        other.of.into_iter().for_each(|(thing, count)| *self.of.entry(thing).or_default() += count);
    }
}

/// All that is to be there, operators first.
pub(crate) const THINGS: [&str; 49] = [
    "activity",
    "sequence",
    "parallel",
    "partial",
    "an edge",
    "a data reference",
    "an empty member",
    "choice",
    "no otherwise",
    "loop",
    "loop without turns",
    "each",
    "each limit 1",
    "each limit 2",
    "each constant",
    "each written down",
    "workflow",
    "recursion",
    "timeout",
    "try",
    "sleep",
    "signal",
    "first",
    "first of some",
    "undeclared",
    "reads",
    "writes",
    "takes",
    "reduces",
    "flat",
    "hierarchical",
    "range",
    "part",
    "open selector",
    "absolute",
    "in another asset",
    "local",
    "nested local",
    "hole",
    "hole input",
    "hole item",
    "hole item_index",
    "hole steps",
    "hole state",
    "hole error",
    "hole vars",
    "hole computed",
    "value",
    "value of an item",
];

pub(crate) fn things(definition: &Definition) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    block(&definition.body, definition, &mut found);
    found
}

fn block(it: &Block, whole: &Definition, found: &mut BTreeSet<&'static str>) {
    if !it.locals.is_empty() {
        found.insert("local");
    }
    if it.locals.len() > 1 {
        found.insert("nested local");
    }
    term(&it.term, whole, found);
}

fn term(it: &Term, whole: &Definition, found: &mut BTreeSet<&'static str>) {
    let members: &[Term] = match it {
        Term::Sequence(terms) | Term::Parallel(terms) | Term::Partial { terms, .. } => terms,
        _ => &[],
    };
    let is_empty = |it: &Term| matches!(it, Term::Sequence(terms) | Term::Parallel(terms) | Term::Partial { terms, .. } if terms.is_empty());
    let mut note = |thing: &'static str, there: bool| {
        if there {
            found.insert(thing);
        }
    };
    match it {
        Term::Activity(activity) => {
            note("activity", true);
            note("undeclared", activity.access.is_none());
            let reads =
                |it: &Binding| matches!(it, Binding::Expr(expr) if expr.source().starts_with("steps"));
            note("a data reference", activity.args.iter().any(reads));
            for access in activity.access.iter().flat_map(|it| it.iter()) {
                note(access.mode.name(), true);
                match &access.asset {
                    Asset::Named(template) => named(template, whole, &mut note),
                    Asset::Value(expr) => {
                        note("value", access.mode != Mode::Reads);
                        note("value of an item", expr.source().starts_with("item"));
                    }
                }
            }
        }
        Term::Sequence(_) => note("sequence", true),
        Term::Parallel(_) => note("parallel", true),
        Term::Partial { terms, edges } => {
            note("partial", true);
            note("an edge", !edges.is_empty());
            note("an empty member", !edges.is_empty() && terms.iter().any(is_empty));
        }
        Term::Choice { otherwise, .. } => {
            note("choice", true);
            note("no otherwise", otherwise.is_none());
        }
        Term::Loop { max, .. } => {
            note("loop", true);
            note("loop without turns", *max == Some(0));
        }
        Term::Each { items, limit, .. } => {
            note("each", true);
            note("each limit 1", *limit == Some(1));
            note("each limit 2", *limit == Some(2));
            note("each constant", matches!(items, Binding::Const(_)));
            note("each written down", matches!(items, Binding::List(_)));
        }
        Term::Scope { .. } => note("workflow", true),
        Term::Recursion { .. } => note("recursion", true),
        Term::Timeout { .. } => note("timeout", true),
        Term::Handler { .. } => note("try", true),
        Term::Sleep { .. } => note("sleep", true),
        Term::Signal { .. } => note("signal", true),
        Term::First { count, branches, .. } => {
            note("first", true);
            note("first of some", (*count as usize) < branches.len());
        }
    }
    members.iter().for_each(|member| term(member, whole, found));
    blocks(it).into_iter().for_each(|inner| block(inner, whole, found));
}

fn named(template: &Template, whole: &Definition, note: &mut impl FnMut(&'static str, bool)) {
    let text = template.to_string();
    note("flat", template.parts.len() == 1 && template.known().is_some());
    note("hierarchical", template.parts.len() > 1 && !text.contains('['));
    note("range", text.contains(':') && template.known().is_some());
    note("part", text.contains("/2]"));
    note("open selector", template.parts.iter().any(|it| matches!(it, Part::Select(_))));
    note("absolute", text.starts_with('/'));
    note("in another asset", !whole.assets.is_empty() && (text.starts_with("m") || text.starts_with("n/")));
    for part in &template.parts {
        let (Part::Open(pieces) | Part::Select(pieces)) = part else { continue };
        for piece in pieces {
            let Piece::Hole(expr) = piece else { continue };
            note("hole", true);
            note("hole computed", expr.path().is_none());
            let root = expr.path().map_or("", |path| &*path.root);
            for known in [
                "hole input",
                "hole item",
                "hole item_index",
                "hole steps",
                "hole state",
                "hole error",
                "hole vars",
            ] {
                note(known, known.strip_prefix("hole ") == Some(root));
            }
        }
    }
}
