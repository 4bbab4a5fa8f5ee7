//! The kinds of terms that own blocks, and the steps that are no tasks.

use super::Reader;
use super::binding::null;
use super::fields::{Object, first};
use super::terms::nothing;
use crate::algebra::term::{Block, MAX_RECURSION, Term};
use crate::expr::Expr;
use crate::value::Item;

impl Reader {
    /// The fields that a kind has besides, and the term.
    pub(super) fn composite(
        &mut self,
        kind: &str,
        id: String,
        body: &[u8],
        at: &str,
        object: &mut Object<'_>,
        depth: usize,
    ) -> (&'static str, Term) {
        match kind {
            "choice" => (", else", self.choice(id, body, at, object, depth)),
            "loop" => (", init, while, as, max, unbounded", self.repeat(id, body, at, object, depth)),
            "each" => {
                let items = self.binding(body, at, 0);
                let name = self.bound_name(object, "item");
                let limit = self.count(object, "limit", 1);
                let on_error = self.on_error(object);
                let body = self.inner(object, "do", depth);
                (", do, as, limit, on_error", Term::Each { id, name, items, body, limit, on_error })
            }
            "workflow" => {
                let workflow = self.name(body, at);
                let (place, with) = (object.at("with"), object.take("with"));
                let inputs = self.named(with, &place);
                let term = match self.recursion(object) {
                    Some(max_depth) => Term::Recursion { id, workflow, inputs, max_depth },
                    None => Term::Scope { id, workflow, inputs, body: self.inner(object, "do", depth) },
                };
                (", with, do, max_depth", term)
            }
            "timeout" => {
                if first(body) == Item::Nil {
                    self.wrong(body, at, "a duration");
                }
                let micros = self.duration(body, at).unwrap_or(0);
                (", do", Term::Timeout { id, micros, body: self.inner(object, "do", depth) })
            }
            "try" => {
                let body = self.block(body, at, depth);
                (", catch", Term::Handler { id, body, handler: self.inner(object, "catch", depth) })
            }
            "sleep" => ("", Term::Sleep { id, duration: self.binding(body, at, 0) }),
            "signal" => ("", Term::Signal { id, name: self.name(body, at) }),
            _ => {
                let count = match first(body) {
                    Item::Int(count @ 1..=1_000_000) => Some(count as u32),
                    _ => {
                        self.wrong(body, at, "a number of branches");
                        None
                    }
                };
                let place = object.at("of");
                let branches = object.take("of").map(|bytes| {
                    let branches = self.list(bytes, &place).into_iter().enumerate();
                    branches.map(|(at, it)| self.block(it, &format!("{place}[{at}]"), depth)).collect()
                });
                if branches.is_none() {
                    self.missing(&place);
                }
                let (count, branches) = match (count, branches) {
                    (Some(count), Some(branches)) => (count, branches),
                    // Enough of them, so that their number is not found wrong as well.
                    (_, Some(branches)) if !Vec::is_empty(&branches) => (1, branches),
                    _ => (1, vec![nothing()]),
                };
                (", of", Term::First { id, count, branches })
            }
        }
    }

    /// The bound of a call of an enclosing workflow; `None` for a workflow with a body of its own.
    fn recursion(&mut self, object: &mut Object<'_>) -> Option<u32> {
        let place = object.at("max_depth");
        let bytes = object.take("max_depth")?;
        if object.fields.iter().any(|&(name, _)| name == "do") {
            self.problem(
                "bad-term",
                &place,
                "`max_depth` bounds a call of an enclosing workflow, which has no `do`",
                "leave out one of them",
            );
            return None;
        }
        match first(bytes) {
            Item::Int(depth) if (1..=i64::from(MAX_RECURSION)).contains(&depth) => Some(depth as u32),
            _ => {
                self.problem(
                    "bad-option",
                    &place,
                    "this is no bound on how deep a workflow may nest in itself",
                    &format!("give a whole number from 1 to {MAX_RECURSION}"),
                );
                Some(1)
            }
        }
    }

    fn inner(&mut self, object: &mut Object<'_>, key: &str, depth: usize) -> Block {
        let place = object.at(key);
        match object.take(key) {
            Some(bytes) => self.block(bytes, &place, depth),
            None => {
                self.missing(&place);
                nothing()
            }
        }
    }

    /// The name that `as` gives; it has to be one that CEL can read.
    fn bound_name(&mut self, object: &mut Object<'_>, default: &str) -> String {
        let place = object.at("as");
        let Some(bytes) = object.take("as") else { return default.to_owned() };
        let name = self.name(bytes, &place);
        if name.is_empty() {
            return default.to_owned();
        }
        let plain = Expr::parse(&name).ok().and_then(|expr| expr.path().cloned());
        if plain.is_none_or(|path| *path.root != *name || !path.segments.is_empty()) {
            self.problem(
                "bad-id",
                &place,
                format!("{name:?} can't be read in an expression"),
                "use letters, digits and _",
            );
        }
        name
    }

    fn condition(&mut self, object: &mut Object<'_>, key: &str) -> Expr {
        let place = object.at(key);
        let found = match object.take(key) {
            Some(bytes) => self.expression(bytes, &place),
            None => {
                self.missing(&place);
                None
            }
        };
        found.unwrap_or_else(|| Expr::parse("true").expect("a literal"))
    }

    fn choice(&mut self, id: String, body: &[u8], at: &str, object: &mut Object<'_>, depth: usize) -> Term {
        let mut branches = Vec::new();
        for (index, bytes) in self.list(body, at).into_iter().enumerate() {
            let Some(mut branch) = self.object(bytes, &format!("{at}[{index}]")) else { continue };
            let condition = self.condition(&mut branch, "if");
            let then = self.inner(&mut branch, "then", depth);
            self.finish(branch, "if, then");
            branches.push((condition, then));
        }
        let place = object.at("else");
        let otherwise = object.take("else").map(|bytes| self.block(bytes, &place, depth));
        Term::Choice { id, branches, otherwise }
    }

    fn repeat(&mut self, id: String, body: &[u8], at: &str, object: &mut Object<'_>, depth: usize) -> Term {
        let place = object.at("init");
        let init = object.take("init").map_or_else(null, |bytes| self.binding(bytes, &place, 0));
        let condition = self.condition(object, "while");
        let name = self.bound_name(object, "state");
        let place = object.at("max");
        let bounded = object.fields.iter().any(|&(name, bytes)| name == "max" && first(bytes) != Item::Nil);
        let max = self.count(object, "max", 0);
        let unbounded = self.flag(object, "unbounded", false);
        if !bounded && !unbounded {
            self.problem(
                "unbounded-loop",
                &place,
                "a loop needs a bound on its iterations",
                "give `max`, or say `unbounded: true`",
            );
        }
        Term::Loop { id, name, init, condition, body: self.block(body, at, depth), max }
    }
}
