//! CEL expressions: checked when a definition is read, evaluated when a driver is asked.

mod evaluate;
mod growth;
mod guard;

use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr as Ast, IdedExpr, LiteralValue};

use crate::value::Segment;

pub use self::evaluate::{BUDGET, Scope};

/// A checked expression. Two expressions are equal if their texts are.
#[derive(Clone, Debug)]
pub struct Expr {
    source: Arc<str>,
    path: Option<Arc<Path>>,
    references: Arc<[Reference]>,
    program: Arc<cel::Program>,
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// A plain path such as `steps.load.rows[0]`, which is bound without CEL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    pub root: Arc<str>,
    pub segments: Box<[Segment]>,
}

/// A name that an expression reads, with its first member where that is fixed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    pub root: Arc<str>,
    pub member: Option<Arc<str>>,
}

impl Expr {
    /// Checks an expression; the error says what is wrong with it and where.
    pub fn parse(source: &str) -> Result<Self, String> {
        guard::check(source)?;
        let program =
            cel::Program::compile(source).map_err(|error| format!("{source:?} is not CEL: {error}"))?;
        let mut references = Vec::new();
        let path = path(program.expression());
        collect(program.expression(), &mut Vec::new(), &mut references);
        references.sort();
        references.dedup();
        Ok(Self {
            source: source.into(),
            path: path.map(Arc::new),
            references: references.into(),
            program: Arc::new(program),
        })
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// The plain path that the expression is, if it is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// All that the expression reads, sorted, each once.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }
}

/// Words that CEL reads as something else than a name.
const WORDS: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether a name can stand alone, or follow a dot.
pub fn plain(name: &str) -> bool {
    let letter = |byte: u8| byte == b'_' || byte.is_ascii_alphabetic();
    name.bytes().next().is_some_and(letter)
        && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
        && !WORDS.contains(&name)
}

/// What `a.b` and `a["b"]` and `a[0]` select from.
fn select(ast: &Ast) -> Option<(&IdedExpr, Segment)> {
    match ast {
        Ast::Select(select) if !select.test => {
            Some((&select.operand, Segment::Key(select.field.as_str().into())))
        }
        Ast::Call(call) if call.func_name == cel::common::ast::operators::INDEX => {
            let [operand, index] = &call.args[..] else { return None };
            match &index.expr {
                Ast::Literal(LiteralValue::String(key)) => Some((operand, Segment::Key(key.inner().into()))),
                Ast::Literal(LiteralValue::Int(index)) => Some((operand, Segment::Index(*index.inner()))),
                _ => None,
            }
        }
        _ => None,
    }
}

fn path(expr: &IdedExpr) -> Option<Path> {
    let mut segments = Vec::new();
    let mut at = expr;
    loop {
        if let Ast::Ident(root) = &at.expr {
            segments.reverse();
            return Some(Path { root: root.as_str().into(), segments: segments.into() });
        }
        let (operand, segment) = select(&at.expr)?;
        segments.push(segment);
        at = operand;
    }
}

/// Collects what is read. The depth is bounded by the guard: 4 KiB of source.
fn collect<'e>(expr: &'e IdedExpr, bound: &mut Vec<&'e str>, out: &mut Vec<Reference>) {
    if let Some(Path { root, segments }) = path(expr) {
        if !bound.contains(&&*root) {
            let member = match segments.first() {
                Some(Segment::Key(key)) => Some(key.clone()),
                _ => None,
            };
            out.push(Reference { root, member });
        }
        return;
    }
    match &expr.expr {
        Ast::Unspecified | Ast::Literal(_) | Ast::Ident(_) => {}
        Ast::Call(call) => {
            for part in call.target.iter().map(|target| &**target).chain(&call.args) {
                collect(part, bound, out);
            }
        }
        Ast::Select(select) => collect(&select.operand, bound, out),
        Ast::List(list) => list.elements.iter().for_each(|part| collect(part, bound, out)),
        Ast::Comprehension(it) => {
            collect(&it.iter_range, bound, out);
            collect(&it.accu_init, bound, out);
            let before = bound.len();
            bound.extend([it.iter_var.as_str(), it.accu_var.as_str()]);
            bound.extend(it.iter_var2.as_deref());
            for part in [&it.loop_cond, &it.loop_step, &it.result] {
                collect(part, bound, out);
            }
            bound.truncate(before);
        }
        Ast::Map(map) => collect_entries(&map.entries, bound, out),
        Ast::Struct(object) => collect_entries(&object.entries, bound, out),
    }
}

fn collect_entries<'e>(
    entries: &'e [cel::common::ast::IdedEntryExpr],
    bound: &mut Vec<&'e str>,
    out: &mut Vec<Reference>,
) {
    for entry in entries {
        match &entry.expr {
            EntryExpr::MapEntry(entry) => {
                collect(&entry.key, bound, out);
                collect(&entry.value, bound, out);
            }
            EntryExpr::StructField(field) => collect(&field.value, bound, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(source: &str) -> Vec<String> {
        let expr = Expr::parse(source).unwrap();
        expr.references()
            .iter()
            .map(|it| format!("{}.{}", it.root, it.member.as_deref().unwrap_or("*")))
            .collect()
    }

    /// Req: P8.93, P7.88
    #[test]
    fn plain_paths_are_recognised() {
        let expr = Expr::parse("steps[\"a-b\"].rows[0]").unwrap();
        let path = expr.path().unwrap();
        assert_eq!(&*path.root, "steps");
        assert_eq!(
            *path.segments,
            [Segment::Key("a-b".into()), Segment::Key("rows".into()), Segment::Index(0)]
        );
        assert!(Expr::parse("steps.a + 1").unwrap().path().is_none());
    }

    #[test]
    fn references_leave_out_what_a_comprehension_binds() {
        assert_eq!(reads("steps.load.rows.all(x, x > input.n)"), ["input.n", "steps.load"]);
        assert_eq!(reads("{'k': [vars.a, -vars.b]}"), ["vars.a", "vars.b"]);
        assert_eq!(reads("steps[input.x]"), ["input.x", "steps.*"]);
    }

    #[test]
    fn names_that_stand_alone_are_told_from_others() {
        assert!(["a", "_", "a1_B"].into_iter().all(plain));
        assert!(!["", "1a", "a-b", "a.b", "ä", "in", "true"].into_iter().any(plain));
    }

    #[test]
    fn expressions_are_equal_by_their_text_and_a_test_for_presence_is_no_path() {
        let expr = |source| Expr::parse(source).unwrap();
        assert_eq!(expr("a.b"), expr("a.b"));
        assert_ne!(expr("a.b"), expr("a.c"));
        assert!(expr("has(steps.a.b)").path().is_none());
    }

    #[test]
    fn what_is_not_cel_is_refused_with_the_text() {
        for bad in ["", "1 +", "steps.", "a b", "(", "'x"] {
            assert!(Expr::parse(bad).unwrap_err().contains(&format!("{bad:?}")), "{bad}");
        }
    }
}
