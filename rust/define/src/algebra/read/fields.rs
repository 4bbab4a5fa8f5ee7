//! Objects and the plain fields in them: texts, numbers, durations, expressions.

use rustc_hash::FxHashSet;

use super::Reader;
use crate::algebra::term::OnError;
use crate::expr::Expr;
use crate::problem::Problem;
use crate::units;
use crate::value::{self, Entry, Item};

/// An object whose fields are taken one by one, so that what is left over is unknown.
pub(super) struct Object<'b> {
    pub(super) fields: Vec<Entry<'b>>,
    pub(super) place: String,
}

impl<'b> Object<'b> {
    pub(super) fn take(&mut self, key: &str) -> Option<&'b [u8]> {
        let at = self.fields.iter().position(|&(name, _)| name == key)?;
        Some(self.fields.remove(at).1)
    }

    pub(super) fn at(&self, key: &str) -> String {
        join(&self.place, key)
    }
}

pub(super) fn join(place: &str, part: &str) -> String {
    if place.is_empty() { part.to_owned() } else { format!("{place}/{part}") }
}

pub(super) fn first(bytes: &[u8]) -> Item<'_> {
    value::item(bytes, 0).map_or(Item::Nil, |(item, _)| item)
}

impl Reader {
    pub(super) fn problem(
        &mut self,
        code: &'static str,
        place: &str,
        message: impl Into<String>,
        help: &str,
    ) {
        self.problems.push(Problem::new(code, place, message, help));
    }

    pub(super) fn object<'b>(&mut self, bytes: &'b [u8], place: &str) -> Option<Object<'b>> {
        match value::entries(bytes) {
            Ok(Some(mut fields)) => {
                let mut seen = FxHashSet::default();
                fields.retain(|&(name, _)| {
                    let first = seen.insert(name);
                    if !first {
                        let message = format!("the field {name:?} is given twice");
                        self.problem("bad-definition", place, message, "keep one of them");
                    }
                    first
                });
                Some(Object { fields, place: place.to_owned() })
            }
            _ => {
                self.wrong(bytes, place, "an object");
                None
            }
        }
    }

    pub(super) fn wrong(&mut self, bytes: &[u8], place: &str, wanted: &str) {
        let found = first(bytes).kind();
        self.problem(
            "bad-definition",
            place,
            format!("{found} where {wanted} belongs"),
            "see the definition format",
        );
    }

    /// Reports the fields that nobody took.
    pub(super) fn finish(&mut self, object: Object<'_>, known: &str) {
        for (name, _) in &object.fields {
            let place = object.at(name);
            self.problem(
                "unknown-field",
                &place,
                format!("there is no field {name:?} here"),
                &format!("fields: {known}"),
            );
        }
    }

    pub(super) fn text(&mut self, bytes: &[u8], place: &str) -> Option<String> {
        match first(bytes) {
            Item::Str(text) => Some(text.to_owned()),
            _ => {
                self.wrong(bytes, place, "a text");
                None
            }
        }
    }

    /// A name of a task, workflow, input, variable or signal; empty if it is none.
    pub(super) fn name(&mut self, bytes: &[u8], place: &str) -> String {
        let Some(text) = self.text(bytes, place) else { return String::new() };
        if text.is_empty() || text.len() > 200 || text.chars().any(char::is_control) {
            self.problem(
                "bad-id",
                place,
                format!("{text:?} is not a name"),
                "give one to 200 bytes without control characters",
            );
            return String::new();
        }
        text
    }

    /// An id of a step: a part of a path, so without `/`, `[`, `]`.
    pub(super) fn id(&mut self, object: &mut Object<'_>) -> String {
        let place = object.at("id");
        let Some(bytes) = object.take("id") else { return String::new() };
        let id = self.name(bytes, &place);
        if id.contains(['/', '[', ']']) || id.starts_with('$') {
            self.problem(
                "bad-id",
                &place,
                format!("{id:?} is not an id of a step"),
                "leave out '/', '[', ']' and a '$' at the start",
            );
        }
        id
    }

    pub(super) fn flag(&mut self, object: &mut Object<'_>, key: &str, default: bool) -> bool {
        let place = object.at(key);
        match object.take(key).map(|bytes| (first(bytes), bytes)) {
            None => default,
            Some((Item::Bool(flag), _)) => flag,
            Some((_, bytes)) => {
                self.wrong(bytes, &place, "true or false");
                default
            }
        }
    }

    pub(super) fn count(&mut self, object: &mut Object<'_>, key: &str, least: i64) -> Option<u32> {
        let place = object.at(key);
        let bytes = object.take(key)?;
        match first(bytes) {
            Item::Int(number) if number >= least && number <= i64::from(u32::MAX) => Some(number as u32),
            Item::Nil => None,
            Item::Int(number) => {
                self.problem(
                    "bad-option",
                    &place,
                    format!("{number} is out of range"),
                    &format!("give a whole number from {least} to {}", u32::MAX),
                );
                None
            }
            _ => {
                self.wrong(bytes, &place, "a whole number");
                None
            }
        }
    }

    pub(super) fn number(
        &mut self,
        object: &mut Object<'_>,
        key: &str,
        default: f64,
        range: (f64, f64),
    ) -> f64 {
        let place = object.at(key);
        let Some(bytes) = object.take(key) else { return default };
        let number = match first(bytes) {
            Item::Int(number) => number as f64,
            Item::Float(number) => number,
            _ => {
                self.wrong(bytes, &place, "a number");
                return default;
            }
        };
        if !(range.0..=range.1).contains(&number) {
            let help = format!("give a number from {} to {}", range.0, range.1);
            self.problem("bad-option", &place, format!("{number} is out of range"), &help);
            return default;
        }
        number
    }

    pub(super) fn duration(&mut self, bytes: &[u8], place: &str) -> Option<i64> {
        let parsed = match first(bytes) {
            Item::Int(seconds) => units::seconds_to_micros(seconds as f64),
            Item::Float(seconds) => units::seconds_to_micros(seconds),
            Item::Str(text) => units::parse_duration(text),
            Item::Nil => return None,
            _ => {
                self.wrong(bytes, place, "a duration");
                return None;
            }
        };
        parsed
            .map_err(|message| {
                self.problem("bad-duration", place, message, "give seconds or a text such as \"5m\"")
            })
            .ok()
    }

    pub(super) fn expression(&mut self, bytes: &[u8], place: &str) -> Option<Expr> {
        let text = self.text(bytes, place)?;
        Expr::parse(&text)
            .map_err(|message| self.problem("bad-expression", place, message, "correct the CEL expression"))
            .ok()
    }

    pub(super) fn one_of<const N: usize>(
        &mut self,
        bytes: &[u8],
        place: &str,
        names: [&str; N],
    ) -> Option<usize> {
        let text = self.text(bytes, place)?;
        let found = names.iter().position(|name| *name == text);
        if found.is_none() {
            self.problem(
                "bad-option",
                place,
                format!("{text:?} is not known here"),
                &format!("use one of: {}", names.join(", ")),
            );
        }
        found
    }

    pub(super) fn list<'b>(&mut self, bytes: &'b [u8], place: &str) -> Vec<&'b [u8]> {
        match value::elements(bytes) {
            Ok(Some(items)) => items,
            _ => {
                self.wrong(bytes, place, "a list");
                Vec::new()
            }
        }
    }

    pub(super) fn on_error(&mut self, object: &mut Object<'_>) -> OnError {
        let place = object.at("on_error");
        match object.take("on_error").and_then(|bytes| self.one_of(bytes, &place, ["fail_fast", "continue"]))
        {
            Some(1) => OnError::Continue,
            _ => OnError::FailFast,
        }
    }

    pub(super) fn missing(&mut self, place: &str) {
        self.problem("missing-field", place, "this field is missing", "add it");
    }
}
