//! Bindings: constants, expressions, and lists and maps of them.

use super::fields::{first, join};
use super::{MAX_DEPTH, Reader};
use crate::algebra::term::Binding;
use crate::value::{self, Item};

impl Reader {
    /// A binding; null if it is none.
    pub(super) fn binding(&mut self, bytes: &[u8], place: &str, depth: usize) -> Binding {
        if depth > MAX_DEPTH {
            self.too_deep(place);
            return null();
        }
        // Most constants are told from their bytes alone.
        if !bytes.contains(&b'$') {
            self.shallow(bytes, place);
            return Binding::Const(bytes.into());
        }
        let whole = |constant: bool| constant && !has_literal(bytes);
        match first(bytes) {
            Item::List(_) => {
                let items: Vec<Binding> = self
                    .list(bytes, place)
                    .into_iter()
                    .enumerate()
                    .map(|(at, bytes)| self.binding(bytes, &format!("{place}[{at}]"), depth + 1))
                    .collect();
                if whole(items.iter().all(|item| matches!(item, Binding::Const(_)))) {
                    return Binding::Const(bytes.into());
                }
                Binding::List(items)
            }
            Item::Map(count) => {
                let Ok(Some(fields)) = value::entries(bytes) else {
                    self.shallow(bytes, place);
                    return Binding::Const(bytes.into());
                };
                if count == 1 {
                    match fields[0] {
                        ("$", source) => {
                            return self.expression(source, place).map_or_else(null, Binding::Expr);
                        }
                        ("$const", literal) => {
                            self.shallow(literal, place);
                            return Binding::Const(literal.into());
                        }
                        _ => {}
                    }
                }
                let items: Vec<(String, Binding)> = fields
                    .into_iter()
                    .map(|(name, it)| (name.to_owned(), self.binding(it, &join(place, name), depth + 1)))
                    .collect();
                if whole(items.iter().all(|(_, item)| matches!(item, Binding::Const(_)))) {
                    return Binding::Const(bytes.into());
                }
                Binding::Map(items)
            }
            _ => Binding::Const(bytes.into()),
        }
    }

    /// Refuses a constant that nests too deep to be worked on by recursion.
    pub(super) fn shallow(&mut self, bytes: &[u8], place: &str) {
        if value::nests_deeper(bytes, MAX_DEPTH) {
            self.too_deep(place);
        }
    }

    fn too_deep(&mut self, place: &str) {
        let message = format!("values nest deeper than {MAX_DEPTH} levels");
        self.problem("too-deep", place, message, "flatten the value");
    }
}

pub(super) fn null() -> Binding {
    Binding::Const([0xc0u8].as_slice().into())
}

/// Whether `$const` may stand somewhere inside, so that the bytes are not the value itself.
fn has_literal(bytes: &[u8]) -> bool {
    bytes.windows(6).any(|part| part == b"$const")
}
