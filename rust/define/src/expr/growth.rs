//! How large the value of an expression can become, found before it is evaluated: an allocation that
//! fails would end the process.
//!
//! A chain of `.map(x, x + x)` doubles its value with every link, which a budget of steps does not see.
//! What a comprehension yields of a range in `n` parts that measure `R` together is at most `s(R) +
//! (n-1)·s(0)`, where `s` is what its step yields of one part, since `s` grows at least linearly.

use std::sync::Arc;

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr as Ast, IdedExpr, LiteralValue, operators as op};
use rustc_hash::FxHashMap;

use super::{Reference, path};
use crate::value::Segment;

/// Bytes that an expression, or a part of it, may come to.
const MOST_BYTES: f64 = (256u32 << 20) as f64;

/// Values that it may consist of.
const MOST_VALUES: f64 = 1e7;

/// What a number or an instant takes as a text.
const SHORT: f64 = 64.0;

/// At most so many values, at any depth, which take so many bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent {
    pub values: f64,
    pub bytes: f64,
}

const ONE: Extent = Extent { values: 1.0, bytes: 9.0 };

impl Extent {
    fn and(self, other: Self) -> Self {
        Self { values: self.values + other.values, bytes: self.bytes + other.bytes }
    }

    fn or(self, other: Self) -> Self {
        Self { values: self.values.max(other.values), bytes: self.bytes.max(other.bytes) }
    }

    fn times(self, count: f64) -> Self {
        Self { values: self.values * count, bytes: self.bytes * count }
    }
}

/// Refuses an expression whose value could become too large. The depth of recursion is bounded by the
/// guard, and how often comprehensions nest by the budget.
pub(super) fn check(expr: &IdedExpr, known: &FxHashMap<Reference, Extent>) -> Result<(), String> {
    measure(expr, known, &mut Vec::new()).map(|_| ())
}

type Bound<'e> = Vec<(&'e str, Extent)>;

fn measure<'e>(
    expr: &'e IdedExpr,
    known: &FxHashMap<Reference, Extent>,
    bound: &mut Bound<'e>,
) -> Result<Extent, String> {
    let found = match &expr.expr {
        _ if let Some(at) = path(expr) => {
            if let Some((_, extent)) = bound.iter().rev().find(|(name, _)| *name == &*at.root) {
                *extent
            } else {
                let member = match at.segments.first() {
                    Some(Segment::Key(key)) => Some(Arc::clone(key)),
                    _ => None,
                };
                known.get(&Reference { root: at.root, member }).copied().unwrap_or(ONE)
            }
        }
        Ast::Literal(LiteralValue::String(text)) => text_of(text.inner().len()),
        Ast::Literal(LiteralValue::Bytes(bytes)) => text_of(bytes.inner().len()),
        Ast::Unspecified | Ast::Literal(_) | Ast::Ident(_) => ONE,
        Ast::Select(select) if select.test => ONE,
        Ast::Select(select) => measure(&select.operand, known, bound)?,
        Ast::Call(call) => {
            let parts = call.target.iter().map(|target| &**target).chain(&call.args);
            let parts = parts.map(|part| measure(part, known, bound)).collect::<Result<Vec<_>, _>>()?;
            match (&*call.func_name, &parts[..]) {
                (op::CONDITIONAL, [_, yes, no]) => yes.or(*no),
                (op::INDEX, [from, _]) => *from,
                (
                    op::EQUALS
                    | op::NOT_EQUALS
                    | op::LESS
                    | op::LESS_EQUALS
                    | op::GREATER
                    | op::GREATER_EQUALS
                    | op::LOGICAL_AND
                    | op::LOGICAL_OR
                    | op::LOGICAL_NOT
                    | op::IN
                    | op::NOT_STRICTLY_FALSE
                    | "size"
                    | "contains"
                    | "startsWith"
                    | "endsWith"
                    | "matches",
                    _,
                ) => ONE,
                _ => parts.into_iter().fold(text_of(0), Extent::and),
            }
        }
        Ast::List(list) => list
            .elements
            .iter()
            .try_fold(ONE, |sum, part| Ok::<_, String>(sum.and(measure(part, known, bound)?)))?,
        Ast::Comprehension(it) => comprehension(it, known, bound)?,
        Ast::Map(map) => fields(&map.entries, known, bound)?,
        Ast::Struct(object) => fields(&object.entries, known, bound)?,
    };
    if found.bytes > MOST_BYTES || found.values > MOST_VALUES {
        return Err(format!(
            "it could come to {:.0} values of {:.0} bytes; at most {MOST_VALUES:.0} of {MOST_BYTES:.0} are \
             allowed: compute it in a task",
            found.values, found.bytes
        ));
    }
    Ok(found)
}

fn text_of(len: usize) -> Extent {
    Extent { values: 1.0, bytes: SHORT + len as f64 }
}

fn comprehension<'e>(
    it: &'e ComprehensionExpr,
    known: &FxHashMap<Reference, Extent>,
    bound: &mut Bound<'e>,
) -> Result<Extent, String> {
    let range = measure(&it.iter_range, known, bound)?;
    let init = measure(&it.accu_init, known, bound)?;
    let before = bound.len();
    let mut step = |part: Extent| {
        bound.extend([(it.accu_var.as_str(), Extent::default()), (it.iter_var.as_str(), part)]);
        bound.extend(it.iter_var2.as_deref().map(|name| (name, part)));
        let found = measure(&it.loop_step, known, bound);
        bound.truncate(before);
        found
    };
    let all = init.and(step(range)?).and(step(Extent::default())?.times((range.values - 1.0).max(0.0)));
    bound.push((it.accu_var.as_str(), all));
    let found = measure(&it.result, known, bound);
    bound.truncate(before);
    found
}

fn fields<'e>(
    entries: &'e [cel::common::ast::IdedEntryExpr],
    known: &FxHashMap<Reference, Extent>,
    bound: &mut Bound<'e>,
) -> Result<Extent, String> {
    entries.iter().try_fold(ONE, |sum, entry| {
        Ok(match &entry.expr {
            EntryExpr::MapEntry(entry) => {
                sum.and(measure(&entry.key, known, bound)?).and(measure(&entry.value, known, bound)?)
            }
            EntryExpr::StructField(field) => sum.and(measure(&field.value, known, bound)?),
        })
    })
}
