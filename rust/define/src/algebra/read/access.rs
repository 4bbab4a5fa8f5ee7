//! What steps do to assets, and the assets that a definition or a block declares.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::Reader;
use super::fields::{Object, first, join};
use crate::access::{Asset, Kind, Mode, Template};
use crate::algebra::term::{Access, Declared};
use crate::expr::Expr;
use crate::value::{self, Item};

/// So many different lists of accesses are looked up before they are read.
const REMEMBERED: usize = 4096;

const MODES: [(&str, Mode); 3] = [("reads", Mode::Reads), ("writes", Mode::Writes), ("takes", Mode::Takes)];

impl Reader {
    /// The accesses of a step; `None` if it says nothing of them.
    pub(super) fn accesses(&mut self, object: &mut Object<'_>) -> Option<Arc<[Access]>> {
        let fields = ["reads", "writes", "takes", "reduces"].map(|name| (object.at(name), object.take(name)));
        if fields.iter().all(|(_, bytes)| bytes.is_none()) {
            return None;
        }
        let mut key = Vec::new();
        for (_, bytes) in &fields {
            key.extend_from_slice(&bytes.map_or(u32::MAX, |bytes| bytes.len() as u32).to_le_bytes());
            key.extend_from_slice(bytes.unwrap_or_default());
        }
        if let Some(known) = self.accesses.get(&key) {
            return Some(known.clone());
        }
        let before = self.problems.len();
        let mut found = Vec::new();
        for ((_, mode), (place, bytes)) in MODES.iter().zip(&fields) {
            let Some(bytes) = bytes else { continue };
            match first(bytes) {
                Item::List(_) => {
                    for (at, bytes) in self.list(bytes, place).into_iter().enumerate() {
                        let asset = self.asset(bytes, &format!("{place}[{at}]"));
                        found.extend(asset.map(|asset| Access { mode: mode.clone(), asset }));
                    }
                }
                _ => {
                    let asset = self.asset(bytes, place);
                    found.extend(asset.map(|asset| Access { mode: mode.clone(), asset }));
                }
            }
        }
        let (place, reduces) = &fields[3];
        if let Some(bytes) = reduces
            && let Some(names) = self.object(bytes, place)
        {
            for &(name, bytes) in &names.fields {
                let place = names.at(name);
                let operation = self.name(bytes, &place);
                let asset = self.template(name, &place).map(Asset::Named);
                let mode = Mode::Reduces(operation.as_str().into());
                found.extend(asset.map(|asset| Access { mode, asset }));
            }
        }
        let found: Arc<[Access]> = found.into();
        // What is wrong is reported wherever it stands. Most often the same is said of many steps, or of one.
        if self.problems.len() == before && self.accesses.len() < REMEMBERED {
            self.accesses.insert(key, found.clone());
        }
        Some(found)
    }

    fn template(&mut self, text: &str, place: &str) -> Option<Arc<Template>> {
        if let Some(known) = self.templates.get(text) {
            return Some(known.clone());
        }
        match Template::parse(text) {
            Ok(template) => {
                let template = Arc::new(template);
                self.templates.insert(text.to_owned(), template.clone());
                Some(template)
            }
            Err(message) => {
                self.problem("bad-asset", place, message, "give a name such as \"lake/orders\"");
                None
            }
        }
    }

    fn asset(&mut self, bytes: &[u8], place: &str) -> Option<Asset> {
        match first(bytes) {
            Item::Str(text) => self.template(text, place).map(Asset::Named),
            Item::Map(1) => {
                let source = value::entries(bytes).ok().flatten().filter(|fields| fields[0].0 == "$");
                let Some(source) = source.map(|fields| fields[0].1) else {
                    self.wrong(bytes, place, "a name or a value");
                    return None;
                };
                let expr: Expr = self.expression(source, &join(place, "$"))?;
                if expr.path().is_none() {
                    let message =
                        format!("{:?} is no plain path: what it comes to belongs to nobody", expr.source());
                    self.problem(
                        "bad-asset",
                        place,
                        message,
                        "name what a step yields, as in steps.load.rows",
                    );
                    return None;
                }
                Some(Asset::Value(expr))
            }
            _ => {
                self.wrong(bytes, place, "a name or a value");
                None
            }
        }
    }

    /// Declared assets; those of the world may lie within others, and have a fingerprint.
    pub(super) fn assets(&mut self, bytes: &[u8], place: &str, world: bool) -> Vec<Declared> {
        let Some(object) = self.object(bytes, place) else { return Vec::new() };
        let mut seen = FxHashSet::default();
        let mut found = Vec::new();
        for &(name, bytes) in &object.fields {
            let at = object.at(name);
            let declared = self.declared(name, bytes, &at, world);
            if !seen.insert(declared.name.clone()) {
                self.problem("bad-asset", &at, format!("{name:?} is declared twice"), "keep one");
                continue;
            }
            found.push(declared);
        }
        found
    }

    fn declared(&mut self, name: &str, bytes: &[u8], place: &str, world: bool) -> Declared {
        let own = self.template(name, place);
        if let Some(own) = &own
            && own.known().is_none_or(|segments| segments.iter().any(|it| it.is_selector()))
        {
            let message = format!("{name:?} is no asset that can be declared: it selects, or has holes");
            self.problem("bad-asset", place, message, "declare what contains it");
        }
        let mut it =
            Declared { name: own.map_or(name.to_owned(), |own| own.to_string()), ..Declared::default() };
        if let Item::Nil = first(bytes) {
            return it;
        }
        let Some(mut object) = self.object(bytes, place) else { return it };
        let at = object.at("kind");
        if let Some(bytes) = object.take("kind").filter(|bytes| !matches!(first(bytes), Item::Nil)) {
            it.kind = self.one_of(bytes, &at, Kind::NAMES).map(|at| Kind::ALL[at]);
        }
        let at = object.at("path");
        it.path = object.take("path").and_then(|bytes| self.text(bytes, &at));
        it.output = self.flag(&mut object, "output", false);
        if world {
            let at = object.at("within");
            it.within = object.take("within").and_then(|bytes| self.text(bytes, &at));
            if let Some(within) = &mut it.within
                && let Some(read) = self.template(within, &at)
            {
                *within = read.to_string();
            }
            let at = object.at("fingerprint");
            it.fingerprint = object.take("fingerprint").and_then(|bytes| self.text(bytes, &at));
            let hex = |text: &String| {
                text.len() == 64 && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
            };
            if it.fingerprint.as_ref().is_some_and(|text| !hex(text)) {
                let message = "this is no fingerprint";
                self.problem("bad-asset", &at, message, "give a BLAKE3 hash as 64 hexadecimal digits");
            }
            self.finish(object, "kind, path, output, within, fingerprint");
        } else {
            self.finish(object, "kind, path, output");
        }
        it
    }
}
