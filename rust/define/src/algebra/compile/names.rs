//! What names mean: bindings and expressions resolved from where they stand, with the order they make.

use rustc_hash::FxHashSet;

use super::{Bind, Binder, Compiler, Source};
use crate::algebra::term::Binding;
use crate::expr::{Expr, Path};
use crate::problem::Problem;
use crate::value::Segment;

impl<'t> Compiler<'t> {
    pub(super) fn bind(&mut self, binding: &'t Binding, place: &str, own: bool) -> Bind {
        match binding {
            Binding::Const(bytes) => Bind::Const(bytes.clone()),
            Binding::Expr(expr) => self.expr(expr, place, own),
            Binding::List(items) => {
                Bind::List(items.iter().map(|item| self.bind(item, place, own)).collect())
            }
            Binding::Map(items) => Bind::Map(
                items.iter().map(|(key, item)| (key.as_str().into(), self.bind(item, place, own))).collect(),
            ),
        }
    }

    pub(super) fn expr(&mut self, expr: &Expr, place: &str, own: bool) -> Bind {
        if let Some(Path { root, segments }) = expr.path() {
            let member = match segments.first() {
                Some(Segment::Key(key)) => Some(&**key),
                _ => None,
            };
            let skip = usize::from(&**root == "steps");
            return match self.resolve(root, member, place, own, expr) {
                Some(source) => Bind::Path {
                    source,
                    segments: segments.iter().skip(skip).cloned().collect(),
                    expr: expr.clone(),
                },
                None => Bind::Const([0xc0u8].as_slice().into()),
            };
        }
        let mut sources = Vec::new();
        for reference in expr.references() {
            let (root, member) = (&reference.root, reference.member.as_deref());
            if let Some(source) = self.resolve(root, member, place, own, expr) {
                sources.push((reference.clone(), source));
            }
        }
        Bind::Cel { expr: expr.clone(), sources: sources.into() }
    }

    /// Finds what a name means here, and orders the present steps after the step it names.
    fn resolve(
        &mut self,
        root: &str,
        member: Option<&str>,
        place: &str,
        own: bool,
        expr: &Expr,
    ) -> Option<Source> {
        if root == "vars" {
            return Some(Source::Vars);
        }
        if root == "result" && own {
            return Some(Source::Result);
        }
        let mut crossed = false;
        for (up, open) in self.open.iter_mut().rev().enumerate() {
            let up = up as u16;
            if root == "steps" {
                let found = member.and_then(|id| open.ids.get(id));
                if let Some(&node) = found
                    && !crossed
                {
                    let node = node?;
                    // In the block itself and in every enclosing one the step that is being
                    // compiled, or the composite round it, waits for the step it reads.
                    open.edges.push((node, open.current));
                    return Some(Source::Step { up, node });
                }
                // A step of the block could not be read: it may be the one that is meant.
                if !crossed && open.ids.contains_key("") {
                    return None;
                }
            } else if !crossed {
                let source = match (&open.binder, root) {
                    (Binder::Workflow(name, known), "input") => {
                        if let Some(member) = member
                            && !known.contains(member)
                            && !known.contains("")
                        {
                            self.problems.push(no_input(expr, member, name, known, place));
                        }
                        Some(Source::Input { up })
                    }
                    (Binder::Error, "error") => Some(Source::Error { up }),
                    (Binder::Item(name), _) if root == *name => Some(Source::Item { up }),
                    (Binder::Item(name), _) if root.strip_suffix("_index") == Some(name) => {
                        Some(Source::Index { up })
                    }
                    (Binder::State(name), _) if root == *name => Some(Source::State { up }),
                    (Binder::State(name), _) if root.strip_suffix("_iteration") == Some(name) => {
                        Some(Source::Iteration { up })
                    }
                    _ => None,
                };
                if source.is_some() {
                    return source;
                }
            }
            // A sub-workflow sees its own inputs only.
            crossed |= matches!(open.binder, Binder::Workflow(..));
        }
        let (message, help) = match (root, member) {
            ("steps", Some(id)) => (
                format!(
                    "{:?} refers to step {id:?}, which is not in this block or one round it",
                    expr.source()
                ),
                "name a step of this block or of an enclosing one; from inside a branch, loop or \
                 sub-workflow only the construct's own result can leave",
            ),
            ("steps", None) => (
                format!("{:?} does not say which step it means", expr.source()),
                "write steps.ID with a literal id",
            ),
            _ => (
                format!("{:?} refers to {root:?}, which means nothing here", expr.source()),
                "use steps, input, vars, or the name of an enclosing each or loop",
            ),
        };
        self.problems.push(Problem::new("unknown-reference", place, message, help));
        None
    }
}

fn no_input(expr: &Expr, input: &str, workflow: &str, known: &FxHashSet<&str>, place: &str) -> Problem {
    let message =
        format!("{:?} refers to an input {input:?}, which workflow {workflow:?} has not", expr.source());
    let mut names: Vec<&str> = known.iter().copied().collect();
    names.sort_unstable();
    let help = match names[..] {
        [] => "declare the input; the workflow has none".to_owned(),
        _ => format!("declare the input, or use one of: {}", names.join(", ")),
    };
    Problem::new("unknown-reference", place, message, help)
}
