//! What a step is, apart from its id: brought into standard form and hashed on the way.

use std::sync::Arc;

use super::digest::{Colour, colour_of, constant, mix, put};
use super::form;
use crate::access::name::Written;
use crate::access::{Asset, Mode, Part, Piece};
use crate::algebra::term::{Access, Activity, Binding, Block, Declared, OnError, Term};
use crate::algebra::write::{asset as write_asset, write_options};
use crate::expr::{Expr, Path, plain};
use crate::value::Segment;

/// A reference to a step, by its id and a colour that says where it is made.
pub(super) type Outward = (Arc<str>, Colour);

pub(super) struct Content {
    pub(super) hasher: blake3::Hasher,
    pub(super) refs: Vec<Outward>,
}

impl Content {
    pub(super) fn new(kind: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        put(&mut hasher, kind.as_bytes());
        Self { hasher, refs: Vec::new() }
    }

    pub(super) fn text(&mut self, text: &str) {
        put(&mut self.hasher, text.as_bytes());
    }

    fn number(&mut self, number: i64) {
        put(&mut self.hasher, &number.to_le_bytes());
    }

    pub(super) fn refer(&mut self, id: Arc<str>) {
        let place = colour_of([b"place".as_slice(), &(self.refs.len() as u64).to_le_bytes()]);
        self.refs.push((id, place));
    }

    pub(super) fn constant(&mut self, bytes: &mut Arc<[u8]>) {
        *bytes = constant(bytes).into();
        self.text("const");
        put(&mut self.hasher, bytes);
    }

    pub(super) fn binding(&mut self, binding: &mut Binding) {
        if let Some(bytes) = folded(binding) {
            *binding = Binding::Const(bytes);
        }
        match binding {
            Binding::Const(bytes) => self.constant(bytes),
            Binding::Expr(expr) => self.expr(expr),
            Binding::List(items) => {
                self.text("items");
                self.number(items.len() as i64);
                items.iter_mut().for_each(|item| self.binding(item));
            }
            Binding::Map(items) => {
                self.text("fields");
                self.named(items);
            }
        }
    }

    fn named(&mut self, items: &mut [(String, Binding)]) {
        items.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.number(items.len() as i64);
        for (name, binding) in items {
            self.text(name);
            self.binding(binding);
        }
    }

    /// The text, with references to steps replaced by their order of appearance.
    fn expr(&mut self, expr: &mut Expr) {
        *expr = respelled(expr);
        if let Some(Path { root, segments }) = expr.path() {
            let step = match segments.first() {
                Some(Segment::Key(id)) if &**root == "steps" => Some(id.clone()),
                _ => None,
            };
            match step {
                Some(_) => self.text("step"),
                None => {
                    self.text("path");
                    self.text(root);
                }
            }
            for segment in &segments[usize::from(step.is_some())..] {
                match segment {
                    Segment::Key(key) => {
                        self.text("key");
                        self.text(key);
                    }
                    Segment::Index(index) => {
                        self.text("index");
                        self.number(*index);
                    }
                }
            }
            self.text("end");
            step.into_iter().for_each(|id| self.refer(id));
            return;
        }
        let source = expr.source();
        let mut seen: Vec<&str> = Vec::new();
        let (mut text, mut from) = (String::new(), 0);
        for (start, end, id) in steps_read(expr) {
            let at = seen.iter().position(|other| *other == id).unwrap_or_else(|| {
                seen.push(id);
                seen.len() - 1
            });
            text.push_str(&source[from..start]);
            text.push_str(&format!("\u{1}{at}"));
            from = end;
        }
        text.push_str(&source[from..]);
        self.text("text");
        self.text(&text);
        for id in &seen {
            self.refer((*id).into());
        }
        // A step that is written in a way that was not replaced: its id counts.
        for reference in expr.references() {
            if let ("steps", Some(member)) = (&*reference.root, &reference.member)
                && !seen.contains(&&**member)
            {
                self.text(member);
                self.refer(member.clone());
            }
        }
    }

    /// What a step does to assets. Nothing is hashed where nothing is said.
    fn accesses(&mut self, accesses: &mut Option<Arc<[Access]>>) {
        let Some(access) = accesses else { return };
        self.text("access");
        let mut list = access.to_vec();
        // The order in which they are given means nothing.
        list.sort_by_cached_key(|it| {
            let asset = match &it.asset {
                Asset::Named(template) => template.to_string(),
                Asset::Value(expr) => expr.source().to_owned(),
            };
            (it.mode.clone(), asset)
        });
        list.dedup();
        for Access { mode, asset } in &mut list {
            self.text(mode.name());
            if let Mode::Reduces(operation) = mode {
                self.text(operation);
            }
            match asset {
                Asset::Value(expr) => {
                    self.text("value");
                    self.expr(expr);
                }
                Asset::Named(template) => {
                    self.text("named");
                    for part in &mut Arc::make_mut(template).parts {
                        match part {
                            Part::Known(segment) => {
                                self.text(&Written(std::slice::from_ref(segment)).to_string())
                            }
                            Part::Open(pieces) | Part::Select(pieces) => {
                                for piece in pieces {
                                    match piece {
                                        Piece::Text(text) => self.text(text),
                                        Piece::Hole(expr) => self.expr(expr),
                                    }
                                }
                            }
                        }
                        self.text("/");
                    }
                }
            }
        }
        *access = list.into();
    }

    /// What is declared of assets. Nothing is hashed where nothing is declared.
    pub(super) fn declared(&mut self, declared: &mut [Declared]) {
        declared.sort_by(|a, b| a.name.cmp(&b.name));
        for it in declared {
            self.text("asset");
            self.text(&it.name);
            put(&mut self.hasher, &write_asset(it));
        }
    }

    fn block(&mut self, block: &mut Block) {
        let form = form(block);
        self.text("block");
        put(&mut self.hasher, &form.digest.to_le_bytes());
        let slot = self.refs.len() as u64;
        for (id, place) in form.outward {
            self.refs.push((id, mix(b"inside", place, &[Colour::from(slot)])));
        }
    }
}

/// The constant that a list or map of constants is.
fn folded(binding: &Binding) -> Option<Arc<[u8]>> {
    let constant = |it: &Binding| match it {
        Binding::Const(bytes) => Some(bytes.clone()),
        _ => folded(it),
    };
    let mut out = Vec::new();
    match binding {
        Binding::Const(_) | Binding::Expr(_) => return None,
        Binding::List(items) => {
            let items: Vec<_> = items.iter().map(constant).collect::<Option<_>>()?;
            rmp::encode::write_array_len(&mut out, items.len() as u32).ok()?;
            items.iter().for_each(|bytes| out.extend_from_slice(bytes));
        }
        Binding::Map(items) => {
            rmp::encode::write_map_len(&mut out, items.len() as u32).ok()?;
            for (name, it) in items {
                rmp::encode::write_str(&mut out, name).ok()?;
                out.extend_from_slice(&constant(it)?);
            }
        }
    }
    Some(out.into())
}

/// A path, or a reference to a step in any text, as it is written in the normal form.
fn path(root: &str, segments: &[Segment]) -> String {
    segments.iter().fold(root.to_owned(), |text, segment| match segment {
        Segment::Key(key) if plain(key) => format!("{text}.{key}"),
        Segment::Key(key) => {
            let escaped = key.chars().fold(String::new(), |text, letter| match letter {
                '"' | '\\' => format!("{text}\\{letter}"),
                letter if letter.is_control() => format!("{text}\\u{:04x}", letter as u32),
                letter => format!("{text}{letter}"),
            });
            format!("{text}[\"{escaped}\"]")
        }
        Segment::Index(index) => format!("{text}[{index}]"),
    })
}

/// The expression with its paths and its references to steps written in one way.
fn respelled(expr: &Expr) -> Expr {
    let text = match expr.path() {
        Some(it) => path(&it.root, &it.segments),
        None => {
            let source = expr.source();
            let (mut text, mut from) = (String::new(), 0);
            for (start, end, id) in steps_read(expr) {
                text.push_str(&source[from..start]);
                text.push_str(&path("steps", &[Segment::Key(id.into())]));
                from = end;
            }
            text + &source[from..]
        }
    };
    if text == expr.source() {
        return expr.clone();
    }
    match Expr::parse(&text) {
        Ok(other) if other.path() == expr.path() && other.references() == expr.references() => other,
        _ => expr.clone(),
    }
}

/// The references to steps that stand in the text, each as (start, end, id).
fn steps_read(expr: &Expr) -> Vec<(usize, usize, &str)> {
    let reads = |id: &str| {
        let is = |member: &Option<Arc<str>>| member.as_deref() == Some(id);
        expr.references().iter().any(|it| &*it.root == "steps" && is(&it.member))
    };
    let mut found = steps_in(expr.source());
    found.retain(|&(_, _, id)| reads(id));
    found
}

/// The references `steps.ID` and `steps["ID"]` in a text: (start, end, id). None where the text has
/// comments, raw or threefold quotes.
fn steps_in(source: &str) -> Vec<(usize, usize, &str)> {
    let bytes = source.as_bytes();
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let (mut found, mut at, mut quote) = (Vec::new(), 0, None);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(end), byte) if byte == end => quote = None,
            (Some(_), _) => {}
            (None, b'/') if bytes.get(at + 1) == Some(&b'/') => return Vec::new(),
            (None, byte @ (b'"' | b'\'')) => {
                let raw = at > 0 && matches!(bytes[at - 1], b'r' | b'R');
                if raw || bytes[at..].starts_with(&[byte; 3]) {
                    return Vec::new();
                }
                quote = Some(byte);
            }
            (None, b's') if source[at..].starts_with("steps") => {
                let before = at.checked_sub(1).map(|it| bytes[it]);
                let after = at + 5;
                if !before.is_some_and(|byte| word(byte) || byte == b'.') {
                    let rest = &bytes[after..];
                    if rest.first() == Some(&b'.') {
                        let len = rest[1..].iter().take_while(|&&byte| word(byte)).count();
                        if len > 0 {
                            found.push((at, after + 1 + len, &source[after + 1..after + 1 + len]));
                            at = after + len;
                        }
                    } else if let [b'[', mark @ (b'"' | b'\''), ..] = rest
                        && let Some(len) = rest[2..].iter().position(|byte| byte == mark)
                        && rest.get(2 + len + 1) == Some(&b']')
                        && !rest[2..2 + len].contains(&b'\\')
                    {
                        found.push((at, after + len + 4, &source[after + 2..after + 2 + len]));
                        at = after + len + 3;
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Brings a step into normal form, and says what it is.
pub(super) fn content(term: &mut Term) -> Content {
    match term {
        Term::Activity(Activity { task, args, kwargs, set, access, options, .. }) => {
            let mut it = Content::new("task");
            it.text(task);
            it.number(args.len() as i64);
            args.iter_mut().for_each(|arg| it.binding(arg));
            it.named(kwargs);
            set.sort_by(|(a, _), (b, _)| a.cmp(b));
            for (name, expr) in set {
                it.text(name);
                it.expr(expr);
            }
            put(&mut it.hasher, &write_options(options));
            it.accesses(access);
            it
        }
        Term::Choice { branches, otherwise, .. } => {
            let mut it = Content::new("choice");
            for (condition, block) in branches {
                it.expr(condition);
                it.block(block);
            }
            it.text("else");
            if let Some(block) = otherwise {
                it.block(block);
            }
            it
        }
        Term::Loop { name, init, condition, body, max, .. } => {
            let mut it = Content::new("loop");
            it.text(name);
            it.binding(init);
            it.expr(condition);
            it.block(body);
            it.number(max.map_or(-1, i64::from));
            it
        }
        Term::Each { name, items, body, limit, on_error, .. } => {
            let mut it = Content::new("each");
            it.text(name);
            it.binding(items);
            it.block(body);
            it.number(limit.map_or(-1, i64::from));
            it.number(i64::from(*on_error == OnError::Continue));
            it
        }
        Term::Scope { workflow, inputs, body, .. } => {
            let mut it = Content::new("workflow");
            it.text(workflow);
            it.named(inputs);
            it.block(body);
            it
        }
        Term::Recursion { workflow, inputs, max_depth, .. } => {
            let mut it = Content::new("recursion");
            it.text(workflow);
            it.named(inputs);
            it.number(i64::from(*max_depth));
            it
        }
        Term::Timeout { micros, body, .. } => {
            let mut it = Content::new("timeout");
            it.number(*micros);
            it.block(body);
            it
        }
        Term::Handler { body, handler, .. } => {
            let mut it = Content::new("try");
            it.block(body);
            it.block(handler);
            it
        }
        Term::Sleep { duration, .. } => {
            let mut it = Content::new("sleep");
            it.binding(duration);
            it
        }
        Term::Signal { name, .. } => {
            let mut it = Content::new("signal");
            it.text(name);
            it
        }
        Term::First { count, branches, .. } => {
            let mut it = Content::new("first");
            it.number(i64::from(*count));
            branches.iter_mut().for_each(|block| it.block(block));
            it
        }
        Term::Sequence(_) | Term::Parallel(_) | Term::Partial { .. } => unreachable!("dissolved"),
    }
}
