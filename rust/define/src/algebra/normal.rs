//! The normal form of a definition and its content hash: equal for definitions that differ only
//! by sound laws and by the ids of their steps.
//!
//! Sequence, parallel and partial of a block dissolve into steps under a partial order, to which
//! data dependencies belong; the order is transitively reduced (up to `REDUCED` steps), and the
//! steps are numbered in an order that follows from their content. Steps get their numbers by
//! colours: hashes over all that comes before and after them, refined by their neighbours. Ties
//! that colours leave are almost always symmetries, where any choice gives the same form; the
//! first is marked and the colours are computed again. So equal hashes mean equal definitions,
//! and in contrived cases equal definitions may hash differently. The names that `as` binds count.

use std::collections::HashMap;

use rustc_hash::FxHashSet;

use super::term::{Activity, Binding, Block, Definition, OnError, Term};
use super::write::write_options;
use crate::expr::Expr;
use crate::graph::Csr;
use crate::value::{self, Item, Segment};

/// Blocks with more steps keep redundant order, as its reduction takes quadratic time.
const REDUCED: usize = 5_000;
/// Steps and edges that are looked at to break ties.
const BUDGET: usize = 50_000_000;

type Colour = u128;

impl Definition {
    /// The content hash of the normal form.
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        put(&mut hasher, self.name.as_bytes());
        put(&mut hasher, self.version.as_bytes());
        put(&mut hasher, &[u8::from(self.on_error == OnError::Continue)]);
        put(&mut hasher, &self.timeout.unwrap_or(-1).to_le_bytes());
        for input in &self.inputs {
            put(&mut hasher, input.name.as_bytes());
            put(&mut hasher, input.kind.as_bytes());
            match &input.default {
                Some(default) => constant(default, &mut hasher),
                None => put(&mut hasher, b""),
            }
        }
        put(&mut hasher, &form(&self.body).digest.to_le_bytes());
        *hasher.finalize().as_bytes()
    }

    /// Whether two definitions mean the same by the sound laws.
    pub fn equivalent(&self, other: &Self) -> bool {
        self.hash() == other.hash()
    }
}

/// Adds a part with its length, so that no two sequences of parts look alike.
fn put(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn colour_of<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Colour {
    let mut hasher = blake3::Hasher::new();
    parts.into_iter().for_each(|part| put(&mut hasher, part));
    finish(&hasher)
}

fn finish(hasher: &blake3::Hasher) -> Colour {
    Colour::from_le_bytes(hasher.finalize().as_bytes()[..16].try_into().expect("sixteen bytes"))
}

fn mix(tag: &[u8], first: Colour, rest: &[Colour]) -> Colour {
    let mut hasher = blake3::Hasher::new();
    put(&mut hasher, tag);
    hasher.update(&first.to_le_bytes());
    rest.iter().for_each(|colour| {
        hasher.update(&colour.to_le_bytes());
    });
    finish(&hasher)
}

/// A constant, whatever the order of its maps' keys and the width of its numbers.
fn constant(bytes: &[u8], hasher: &mut blake3::Hasher) {
    match value::item(bytes, 0) {
        Ok((Item::List(_), _)) => {
            let items = value::elements(bytes).ok().flatten().unwrap_or_default();
            put(hasher, b"list");
            hasher.update(&(items.len() as u64).to_le_bytes());
            items.into_iter().for_each(|item| constant(item, hasher));
        }
        Ok((Item::Map(_), _)) => match value::entries(bytes) {
            Ok(Some(mut entries)) => {
                entries.sort_by_key(|&(name, _)| name);
                put(hasher, b"map");
                hasher.update(&(entries.len() as u64).to_le_bytes());
                for (name, bytes) in entries {
                    put(hasher, name.as_bytes());
                    constant(bytes, hasher);
                }
            }
            _ => put(hasher, bytes),
        },
        Ok((Item::Int(number), _)) => {
            put(hasher, b"int");
            put(hasher, &number.to_le_bytes());
        }
        Ok((Item::Float(number), _)) => {
            put(hasher, b"float");
            put(hasher, &number.to_bits().to_le_bytes());
        }
        Ok((Item::Str(text), _)) => {
            put(hasher, b"str");
            put(hasher, text.as_bytes());
        }
        _ => put(hasher, bytes),
    }
}

/// A reference to a step, by its id and a colour that says where it is made.
type Outward<'t> = (&'t str, Colour);

/// A block in normal form.
struct Form<'t> {
    digest: Colour,
    /// References to steps of enclosing blocks.
    outward: Vec<Outward<'t>>,
}

/// What a step is, apart from ids.
struct Content<'t> {
    hasher: blake3::Hasher,
    refs: Vec<Outward<'t>>,
}

impl<'t> Content<'t> {
    fn new(kind: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        put(&mut hasher, kind.as_bytes());
        Self { hasher, refs: Vec::new() }
    }

    fn text(&mut self, text: &str) {
        put(&mut self.hasher, text.as_bytes());
    }

    fn number(&mut self, number: i64) {
        put(&mut self.hasher, &number.to_le_bytes());
    }

    fn refer(&mut self, id: &'t str) {
        let place = colour_of([b"place".as_slice(), &(self.refs.len() as u64).to_le_bytes()]);
        self.refs.push((id, place));
    }

    fn binding(&mut self, binding: &'t Binding) {
        match binding {
            Binding::Const(bytes) => {
                self.text("const");
                constant(bytes, &mut self.hasher);
            }
            Binding::Expr(expr) => self.expr(expr),
            Binding::List(items) => {
                self.text("items");
                self.number(items.len() as i64);
                items.iter().for_each(|item| self.binding(item));
            }
            Binding::Map(items) => {
                self.text("fields");
                self.named(items);
            }
        }
    }

    fn named(&mut self, items: &'t [(String, Binding)]) {
        let mut sorted: Vec<_> = items.iter().collect();
        sorted.sort_by_key(|(name, _)| name);
        self.number(sorted.len() as i64);
        for (name, binding) in sorted {
            self.text(name);
            self.binding(binding);
        }
    }

    /// The text, with references to steps replaced by their order of appearance.
    fn expr(&mut self, expr: &'t Expr) {
        self.text("expr");
        if let Some(path) = expr.path()
            && &*path.root == "steps"
            && let Some(Segment::Key(_)) = path.segments.first()
        {
            let id = steps_in(expr.source()).into_iter().next().map(|(_, _, id)| id);
            if let Some(id) = id {
                self.text("step");
                for segment in &path.segments[1..] {
                    match segment {
                        Segment::Key(key) => {
                            self.text("key");
                            self.text(key);
                        }
                        Segment::Index(index) => self.number(*index),
                    }
                }
                self.refer(id);
                return;
            }
        }
        let source = expr.source();
        let mut seen: Vec<&str> = Vec::new();
        let (mut text, mut from) = (String::new(), 0);
        for (start, end, id) in steps_in(source) {
            let at = seen.iter().position(|other| *other == id).unwrap_or_else(|| {
                seen.push(id);
                seen.len() - 1
            });
            text.push_str(&source[from..start]);
            text.push_str(&format!("\u{1}{at}"));
            from = end;
        }
        text.push_str(&source[from..]);
        self.text(&text);
        for id in &seen {
            self.refer(id);
        }
        // A reference written in a way that was not replaced: its id counts.
        for reference in expr.references() {
            if let ("steps", Some(member)) = (&*reference.root, &reference.member)
                && !seen.contains(&&**member)
            {
                self.text(member);
            }
        }
    }

    fn block(&mut self, block: &'t Block) {
        let form = form(block);
        self.text("block");
        put(&mut self.hasher, &form.digest.to_le_bytes());
        let slot = self.refs.len() as u64;
        for (id, place) in form.outward {
            self.refs.push((id, mix(b"inside", place, &[Colour::from(slot)])));
        }
    }
}

/// The references `steps.ID` and `steps["ID"]` in a text: (start, end, id).
fn steps_in(source: &str) -> Vec<(usize, usize, &str)> {
    let bytes = source.as_bytes();
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let (mut found, mut at, mut quote) = (Vec::new(), 0, None);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(end), byte) if byte == end => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
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

fn content(term: &Term) -> Content<'_> {
    match term {
        Term::Activity(Activity { task, args, kwargs, set, options, .. }) => {
            let mut it = Content::new("task");
            it.text(task);
            it.number(args.len() as i64);
            args.iter().for_each(|arg| it.binding(arg));
            it.named(kwargs);
            let mut sorted: Vec<_> = set.iter().collect();
            sorted.sort_by_key(|(name, _)| name);
            for (name, expr) in sorted {
                it.text(name);
                it.expr(expr);
            }
            put(&mut it.hasher, &write_options(options));
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
            branches.iter().for_each(|block| it.block(block));
            it
        }
        Term::Sequence(_) | Term::Parallel(_) | Term::Partial { .. } => unreachable!("dissolved"),
    }
}

/// Steps and order of a block; `None` stands for something empty that carries order through it.
#[derive(Default)]
struct Layout<'t> {
    nodes: Vec<Option<&'t Term>>,
    edges: Vec<(u32, u32)>,
}

impl<'t> Layout<'t> {
    fn lay(&mut self, term: &'t Term) -> (Vec<u32>, Vec<u32>) {
        match term {
            Term::Sequence(terms) => {
                let mut whole: Option<(Vec<u32>, Vec<u32>)> = None;
                for term in terms {
                    let next = self.lay(term);
                    if next.0.is_empty() {
                        continue;
                    }
                    whole = Some(match whole {
                        None => next,
                        Some((entries, exits)) => {
                            self.link(&exits, &next.0);
                            (entries, next.1)
                        }
                    });
                }
                whole.unwrap_or_default()
            }
            Term::Parallel(terms) => {
                let mut whole = (Vec::new(), Vec::new());
                for term in terms {
                    let part = self.lay(term);
                    whole.0.extend(part.0);
                    whole.1.extend(part.1);
                }
                whole
            }
            Term::Partial { terms, edges } => {
                let mut spans: Vec<_> = terms.iter().map(|term| self.lay(term)).collect();
                for span in spans.iter_mut().filter(|span| span.0.is_empty()) {
                    let node = self.nodes.len() as u32;
                    self.nodes.push(None);
                    *span = (vec![node], vec![node]);
                }
                let (mut first, mut last) = (vec![true; spans.len()], vec![true; spans.len()]);
                for &(from, to) in edges {
                    let (exits, entries) = (spans[from as usize].1.clone(), spans[to as usize].0.clone());
                    self.link(&exits, &entries);
                    last[from as usize] = false;
                    first[to as usize] = false;
                }
                let mut whole = (Vec::new(), Vec::new());
                for (at, span) in spans.into_iter().enumerate() {
                    if first[at] {
                        whole.0.extend(&span.0);
                    }
                    if last[at] {
                        whole.1.extend(span.1);
                    }
                }
                whole
            }
            _ => {
                let node = self.nodes.len() as u32;
                self.nodes.push(Some(term));
                (vec![node], vec![node])
            }
        }
    }

    /// Orders all of one group before all of another; large groups through a node between them.
    fn link(&mut self, before: &[u32], after: &[u32]) {
        if before.len() * after.len() <= 1 << 20 {
            self.edges.extend(before.iter().flat_map(|&from| after.iter().map(move |&to| (from, to))));
        } else {
            let node = self.nodes.len() as u32;
            self.nodes.push(None);
            self.edges.extend(before.iter().map(|&from| (from, node)));
            self.edges.extend(after.iter().map(|&to| (node, to)));
        }
    }

    /// The steps and the order among them alone.
    fn steps(self) -> (Vec<&'t Term>, Vec<(u32, u32)>) {
        let mut edges = self.edges;
        for (node, term) in self.nodes.iter().enumerate() {
            if term.is_none() {
                let node = node as u32;
                let before: Vec<u32> = edges.iter().filter(|it| it.1 == node).map(|it| it.0).collect();
                let after: Vec<u32> = edges.iter().filter(|it| it.0 == node).map(|it| it.1).collect();
                edges.retain(|it| it.0 != node && it.1 != node);
                edges.extend(before.iter().flat_map(|&from| after.iter().map(move |&to| (from, to))));
            }
        }
        let mut number = 0;
        let numbers: Vec<u32> = self
            .nodes
            .iter()
            .map(|term| {
                number += u32::from(term.is_some());
                number.wrapping_sub(1)
            })
            .collect();
        let renumbered = edges.into_iter().map(|(a, b)| (numbers[a as usize], numbers[b as usize])).collect();
        (self.nodes.into_iter().flatten().collect(), renumbered)
    }
}

fn id_of(term: &Term) -> &str {
    match term {
        Term::Activity(Activity { id, .. })
        | Term::Choice { id, .. }
        | Term::Loop { id, .. }
        | Term::Each { id, .. }
        | Term::Scope { id, .. }
        | Term::Recursion { id, .. }
        | Term::Timeout { id, .. }
        | Term::Handler { id, .. }
        | Term::Sleep { id, .. }
        | Term::Signal { id, .. }
        | Term::First { id, .. } => id,
        Term::Sequence(_) | Term::Parallel(_) | Term::Partial { .. } => "",
    }
}

/// The normal form of a block. Recursion follows the nesting of blocks, which the reader bounds.
fn form(block: &Block) -> Form<'_> {
    let mut layout = Layout::default();
    layout.lay(&block.term);
    let (terms, mut order) = layout.steps();
    let ids: HashMap<&str, u32> =
        terms.iter().enumerate().map(|(at, term)| (id_of(term), at as u32)).collect();
    let mut base = Vec::with_capacity(terms.len());
    // (from the step that is read, to the one that reads it, where)
    let mut refs: Vec<(u32, u32, Colour)> = Vec::new();
    let mut leaving: Vec<(u32, Outward<'_>)> = Vec::new();
    for (at, term) in terms.iter().enumerate() {
        let content = content(term);
        base.push(finish(&content.hasher));
        for (id, place) in content.refs {
            match ids.get(id) {
                Some(&from) => {
                    refs.push((from, at as u32, place));
                    order.push((from, at as u32));
                }
                None => leaving.push((at as u32, (id, place))),
            }
        }
    }
    order.sort_unstable();
    order.dedup();
    let mut ends = vec![true; terms.len()];
    order.iter().for_each(|&(from, _)| ends[from as usize] = false);
    let sinks: Vec<usize> = (0..terms.len()).filter(|&at| ends[at]).collect();
    let mut result = Content::new("result");
    match &block.result {
        Some(binding) => result.binding(binding),
        None => match sinks[..] {
            [] => {
                result.text("const");
                constant(&[0xc0], &mut result.hasher);
            }
            // The same as a result that names the only sink.
            [only] => {
                result.text("expr");
                result.text("step");
                result.refer(id_of(terms[only]));
            }
            // An object by ids, which therefore count.
            _ => sinks.iter().for_each(|&at| base[at] = mix(id_of(terms[at]).as_bytes(), base[at], &[])),
        },
    }
    let mut marked = Vec::new();
    for (id, place) in &result.refs {
        if let Some(&at) = ids.get(id) {
            base[at as usize] = mix(b"yields", base[at as usize], &[*place]);
            marked.push((at, *place));
        }
    }
    let order = reduced(terms.len(), order);
    let ranks = ranks(&base, &order, &refs);
    let mut hasher = result.hasher;
    hasher.update(&(terms.len() as u64).to_le_bytes());
    let mut by_rank: Vec<usize> = (0..terms.len()).collect();
    by_rank.sort_unstable_by_key(|&at| ranks[at]);
    by_rank.iter().for_each(|&at| {
        hasher.update(&base[at].to_le_bytes());
    });
    let mut edges: Vec<(u32, u32, Colour)> = order.iter().map(|&(a, b)| (a, b, 0)).chain(refs).collect();
    edges.iter_mut().for_each(|it| *it = (ranks[it.0 as usize], ranks[it.1 as usize], it.2));
    edges.extend(marked.iter().map(|&(at, place)| (ranks[at as usize], u32::MAX, place)));
    edges.sort_unstable();
    for (from, to, label) in edges {
        hasher.update(&from.to_le_bytes());
        hasher.update(&to.to_le_bytes());
        hasher.update(&label.to_le_bytes());
    }
    let mut outward: Vec<Outward<'_>> = leaving
        .into_iter()
        .map(|(at, (id, place))| (id, mix(b"step", place, &[Colour::from(ranks[at as usize])])))
        .chain(
            result
                .refs
                .iter()
                .filter(|(id, _)| !ids.contains_key(id))
                .map(|&(id, it)| (id, mix(b"result", it, &[]))),
        )
        .collect();
    outward.sort_unstable_by_key(|&(_, place)| place);
    Form { digest: finish(&hasher), outward }
}

/// The order without what follows from the rest of it.
fn reduced(nodes: usize, edges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    if nodes > REDUCED {
        return edges;
    }
    let graph = Csr::new(nodes, &mut edges.clone());
    let Ok(order) = graph.order() else { return edges };
    let words = nodes.div_ceil(64);
    let mut reach = vec![0u64; nodes * words];
    let mut kept = Vec::new();
    let mut position = vec![0u32; nodes];
    order.iter().enumerate().for_each(|(at, &node)| position[node as usize] = at as u32);
    for &node in order.iter().rev() {
        let mut next: Vec<u32> = graph.successors(node).to_vec();
        next.sort_unstable_by_key(|&it| position[it as usize]);
        let mut row = vec![0u64; words];
        for after in next {
            let at = after as usize;
            if row[at / 64] >> (at % 64) & 1 == 0 {
                kept.push((node, after));
                row[at / 64] |= 1 << (at % 64);
                (0..words).for_each(|word| row[word] |= reach[at * words + word]);
            }
        }
        reach[node as usize * words..][..words].copy_from_slice(&row);
    }
    kept.sort_unstable();
    kept.dedup();
    kept
}

/// A number for each step that follows from the content alone, wherever colours can tell.
fn ranks(base: &[Colour], order: &[(u32, u32)], refs: &[(u32, u32, Colour)]) -> Vec<u32> {
    let nodes = base.len();
    let mut before: Vec<Vec<(Colour, u32)>> = vec![Vec::new(); nodes];
    let mut after: Vec<Vec<(Colour, u32)>> = vec![Vec::new(); nodes];
    for &(from, to, label) in order.iter().map(|&(a, b)| (a, b, 0)).collect::<Vec<_>>().iter().chain(refs) {
        before[to as usize].push((label, from));
        after[from as usize].push((label, to));
    }
    before.iter_mut().chain(&mut after).for_each(|it| it.sort_unstable());
    let mut edges: Vec<(u32, u32)> =
        order.iter().copied().chain(refs.iter().map(|it| (it.0, it.1))).collect();
    let topological = Csr::new(nodes, &mut edges).order().unwrap_or_else(|_| (0..nodes as u32).collect());
    let mut base = base.to_vec();
    let mut spent = 0;
    loop {
        let colours = colours(&base, &before, &after, &topological);
        spent += nodes + edges.len();
        let mut sorted: Vec<u32> = (0..nodes as u32).collect();
        // Ties are in the order of the definition.
        sorted.sort_by_key(|&at| colours[at as usize]);
        let same = |a: u32, b: u32| colours[a as usize] == colours[b as usize];
        let mut settled = true;
        let mut single = None;
        for class in sorted.chunk_by(|&a, &b| same(a, b)).filter(|class| class.len() > 1) {
            let twins = class.windows(2).all(|pair| {
                let (a, b) = (pair[0] as usize, pair[1] as usize);
                before[a] == before[b] && after[a] == after[b]
            });
            if twins {
                // Interchangeable: any numbers will do.
                for (at, &node) in class.iter().enumerate() {
                    base[node as usize] = mix(b"twin", base[node as usize], &[at as Colour]);
                }
                settled = false;
            } else {
                single.get_or_insert(class.to_vec());
            }
        }
        if settled && let Some(class) = single {
            // Parts that hang together only through steps already told apart are interchangeable
            // as wholes: one mark in each of them.
            let tied = |node: u32| {
                let at = sorted.partition_point(|&it| colours[it as usize] < colours[node as usize]);
                sorted.get(at + 1).is_some_and(|&next| same(next, node))
            };
            let ties: Vec<bool> = (0..nodes as u32).map(tied).collect();
            let inside = edges.iter().filter(|&&(a, b)| ties[a as usize] && ties[b as usize]);
            let part = parts(nodes, inside);
            let mut marked = FxHashSet::default();
            for node in class {
                if marked.insert(part[node as usize]) {
                    base[node as usize] = mix(b"part", base[node as usize], &[marked.len() as Colour]);
                }
            }
            settled = false;
        }
        if settled || spent > BUDGET {
            let mut ranks = vec![0; nodes];
            sorted.iter().enumerate().for_each(|(rank, &node)| ranks[node as usize] = rank as u32);
            return ranks;
        }
    }
}

/// Which connected part of a graph each node is in.
fn parts<'e>(nodes: usize, edges: impl Iterator<Item = &'e (u32, u32)>) -> Vec<u32> {
    let mut root: Vec<u32> = (0..nodes as u32).collect();
    let find = |root: &mut [u32], mut at: u32| {
        while root[at as usize] != at {
            root[at as usize] = root[root[at as usize] as usize];
            at = root[at as usize];
        }
        at
    };
    for &(a, b) in edges {
        let (a, b) = (find(&mut root, a), find(&mut root, b));
        root[a.max(b) as usize] = a.min(b);
    }
    (0..nodes as u32).map(|at| find(&mut root, at)).collect()
}

fn colours(
    base: &[Colour],
    before: &[Vec<(Colour, u32)>],
    after: &[Vec<(Colour, u32)>],
    topological: &[u32],
) -> Vec<Colour> {
    let gather = |tag: &[u8], own: Colour, edges: &[(Colour, u32)], of: &[Colour]| {
        let mut parts: Vec<Colour> =
            edges.iter().map(|&(label, it)| mix(b"edge", label, &[of[it as usize]])).collect();
        parts.sort_unstable();
        mix(tag, own, &parts)
    };
    let (mut down, mut up) = (base.to_vec(), base.to_vec());
    for &node in topological {
        let at = node as usize;
        down[at] = gather(b"down", base[at], &before[at], &down);
    }
    for &node in topological.iter().rev() {
        let at = node as usize;
        up[at] = gather(b"up", base[at], &after[at], &up);
    }
    let mut both: Vec<Colour> = down.iter().zip(&up).map(|(&a, &b)| mix(b"both", a, &[b])).collect();
    for _ in 0..2 {
        both = (0..base.len())
            .map(|at| {
                let below = gather(b"after", both[at], &after[at], &both);
                gather(b"before", below, &before[at], &both)
            })
            .collect();
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};
    use std::collections::BTreeSet;

    fn definition(term: &Json) -> Definition {
        let bytes = rmp_serde::to_vec_named(&json!({"name": "w", "term": term, "result": null})).unwrap();
        Definition::read(&bytes).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    fn same(a: Json, b: Json) -> bool {
        definition(&a).equivalent(&definition(&b))
    }

    fn t(task: &str) -> Json {
        json!({"task": task})
    }

    /// Req: P1.1, P1.2, P1.3
    #[test]
    fn laws_hold_and_what_they_do_not_cover_differs() {
        let seq = |parts: &[Json]| json!({"sequence": parts});
        let par = |parts: &[Json]| json!({"parallel": parts});
        let (a, b, c) = (t("a"), t("b"), t("c"));
        assert!(same(
            seq(&[a.clone(), seq(&[b.clone(), c.clone()])]),
            seq(&[seq(&[a.clone(), b.clone()]), c.clone()])
        ));
        assert!(same(par(&[a.clone(), b.clone()]), par(&[b.clone(), a.clone()])));
        assert!(same(seq(&[a.clone(), seq(&[]), b.clone()]), seq(&[a.clone(), b.clone()])));
        let partial = json!({"partial": [
            {"task": "c", "id": "z", "after": ["x", "y"]}, {"task": "a", "id": "x"},
            {"task": "b", "id": "y", "after": ["x"]}]});
        assert!(same(partial, seq(&[a.clone(), b.clone(), c.clone()])), "order is reduced");
        assert!(!same(seq(&[a.clone(), b.clone()]), seq(&[b.clone(), a.clone()])));
        assert!(!same(par(&[a.clone(), b.clone()]), seq(&[a.clone(), b.clone()])));
        let choice = json!({"choice": [{"if": "input.x", "then": [a, b]}], "else": [t("b"), t("a")]});
        assert!(!same(choice, par(&[t("a"), t("b")])));
    }

    #[test]
    fn data_makes_order_and_ids_do_not_count() {
        let flow = |x: &str, y: &str, reads: &str| {
            json!([{"task": "a", "id": x}, {"task": "a", "id": y},
                   {"task": "b", "with": {"v": {"$": format!("steps.{reads}.k")}, "w": 1}}])
        };
        assert!(same(flow("p", "q", "q"), flow("m", "n", "n")));
        assert!(!same(flow("p", "q", "q"), flow("p", "q", "p")));
        let spelled =
            |text: &str| json!({"partial": [{"task": "a", "id": "p"}, {"task": "b", "args": [{"$": text}]}]});
        assert!(same(spelled("steps.p + 1"), spelled("steps[\"p\"] + 1")));
        assert!(same(
            json!({"task": "a", "args": [{"x": 1, "y": 2}]}),
            json!({"task": "a", "args": [{"y": 2, "x": 1}]})
        ));
        assert!(!same(json!({"task": "a", "args": [1]}), json!({"task": "a", "args": [2]})));
        let nested = |reads: &str| {
            json!([{"task": "a", "id": "p"}, {"task": "b", "id": "q"},
                   {"each": {"$": "steps.p"}, "do": {"task": "c", "args": [{"$": format!("steps.{reads}")}]}}])
        };
        assert!(same(nested("p"), nested("p")));
        assert!(!same(nested("p"), nested("q")), "what an inner block reads from outside counts");
    }

    #[test]
    fn a_recursion_counts_with_its_bound() {
        let again = |name: &str, bound: u32| json!({"workflow": "inner", "do": {"workflow": name, "max_depth": bound}});
        assert!(same(again("inner", 2), again("inner", 2)));
        assert!(!same(again("inner", 2), again("inner", 3)));
        assert!(!same(again("inner", 2), again("w", 2)));
    }

    #[test]
    fn large_symmetric_blocks_take_no_quadratic_time() {
        let many: Vec<Json> = (0..3000).map(|_| json!({"sequence": [t("a"), t("b")]})).collect();
        let whole = json!([t("s"), {"parallel": many}]);
        assert!(same(whole.clone(), whole));
    }

    // ---- against a reference interpreter that enumerates traces

    /// A small term: tasks by letter, no data.
    #[derive(Clone, Debug)]
    enum Small {
        Task(u8),
        Seq(Vec<Small>),
        Par(Vec<Small>),
        Choice(u8, Box<Small>, Box<Small>),
    }

    fn small() -> impl Strategy<Value = Small> {
        let leaf = (0u8..3).prop_map(Small::Task);
        leaf.prop_recursive(3, 5, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Small::Seq),
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Small::Par),
                (0u8..2, inner.clone(), inner).prop_map(|(c, a, b)| Small::Choice(
                    c,
                    Box::new(a),
                    Box::new(b)
                )),
            ]
        })
        .prop_filter("at most five steps", |it| it.size() <= 5)
    }

    impl Small {
        fn size(&self) -> usize {
            match self {
                Small::Task(_) => 1,
                Small::Seq(parts) | Small::Par(parts) => parts.iter().map(Small::size).sum(),
                Small::Choice(_, a, b) => 1 + a.size() + b.size(),
            }
        }

        fn json(&self) -> Json {
            match self {
                Small::Task(letter) => t(&char::from(b'a' + letter).to_string()),
                Small::Seq(parts) => json!({"sequence": parts.iter().map(Small::json).collect::<Vec<_>>()}),
                Small::Par(parts) => json!({"parallel": parts.iter().map(Small::json).collect::<Vec<_>>()}),
                Small::Choice(c, a, b) => {
                    json!({"choice": [{"if": format!("input.c{c}"), "then": a.json()}], "else": b.json()})
                }
            }
        }

        /// All traces from here: what is done next, and what is left then.
        fn steps(&self) -> Vec<(String, Small)> {
            match self {
                Small::Task(letter) if *letter >= 100 => {
                    vec![(format!("-{}", letter - 100), Small::Seq(vec![]))]
                }
                Small::Task(letter) => vec![(format!("+{letter}"), Small::Task(letter + 100))],
                Small::Choice(c, a, b) => {
                    vec![(format!("?{c}1"), (**a).clone()), (format!("?{c}0"), (**b).clone())]
                }
                Small::Seq(parts) => {
                    let Some(first) = parts.iter().position(|part| !part.done()) else { return vec![] };
                    let mut out = Vec::new();
                    for (event, left) in parts[first].steps() {
                        let mut rest = parts[first..].to_vec();
                        rest[0] = left;
                        out.push((event, Small::Seq(rest)));
                    }
                    out
                }
                Small::Par(parts) => {
                    let mut out = Vec::new();
                    for (at, part) in parts.iter().enumerate() {
                        for (event, left) in part.steps() {
                            let mut rest = parts.clone();
                            rest[at] = left;
                            out.push((event, Small::Par(rest)));
                        }
                    }
                    out
                }
            }
        }

        fn done(&self) -> bool {
            match self {
                Small::Task(_) | Small::Choice(..) => false,
                Small::Seq(parts) | Small::Par(parts) => parts.iter().all(Small::done),
            }
        }

        fn traces(&self) -> BTreeSet<String> {
            let mut all = BTreeSet::new();
            let mut seen = BTreeSet::new();
            let mut stack = vec![(String::new(), self.clone())];
            while let Some((trace, left)) = stack.pop() {
                if !seen.insert((trace.clone(), format!("{left:?}"))) {
                    continue;
                }
                if left.done() {
                    all.insert(trace.clone());
                }
                stack.extend(left.steps().into_iter().map(|(event, rest)| (format!("{trace}{event}"), rest)));
            }
            all
        }

        /// The same by associativity, commutativity and the empty term.
        fn rewritten(&self, dice: &mut u64) -> Small {
            let mut roll = |sides: u64| {
                *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (*dice >> 33) % sides
            };
            let kind = roll(4);
            let parts = |parts: &[Small], dice: &mut u64| {
                parts.iter().map(|it| it.rewritten(dice)).collect::<Vec<_>>()
            };
            match self {
                Small::Task(_) if kind == 0 => Small::Seq(vec![Small::Par(vec![]), self.clone()]),
                Small::Task(_) => self.clone(),
                Small::Seq(all) => {
                    let mut all = parts(all, dice);
                    if kind == 1 && all.len() > 1 {
                        let tail = all.split_off(1);
                        all.push(Small::Seq(tail));
                    }
                    Small::Seq(all)
                }
                Small::Par(all) => {
                    let mut all = parts(all, dice);
                    if kind < 2 {
                        all.reverse();
                    }
                    if kind == 2 && all.len() > 1 {
                        let tail = all.split_off(1);
                        all.insert(0, Small::Par(tail));
                    }
                    Small::Par(all)
                }
                Small::Choice(c, a, b) => {
                    let (a, b) = (a.rewritten(dice), b.rewritten(dice));
                    Small::Choice(*c, Box::new(a), Box::new(b))
                }
            }
        }

        fn letters(&self, out: &mut Vec<u8>) {
            match self {
                Small::Task(letter) => out.push(*letter),
                Small::Seq(parts) | Small::Par(parts) => parts.iter().for_each(|it| it.letters(out)),
                Small::Choice(..) => out.extend([0, 0]),
            }
        }
    }

    proptest! {
        /// Req: P1.1, P1.2, P1.3
        #[test]
        fn rewriting_by_the_laws_keeps_hash_and_traces(term in small(), mut seed: u64) {
            let other = term.rewritten(&mut seed);
            prop_assert_eq!(term.traces(), other.traces());
            prop_assert!(same(term.json(), other.json()));
        }

        /// Equal hashes mean equal traces; and where every task occurs once and nothing is
        /// chosen, the traces determine the order, so equal traces mean equal hashes.
        #[test]
        fn hash_and_traces_agree(a in small(), b in small()) {
            let (equal, traced) = (same(a.json(), b.json()), a.traces() == b.traces());
            prop_assert!(!equal || traced);
            let (mut letters, mut others) = (Vec::new(), Vec::new());
            a.letters(&mut letters);
            b.letters(&mut others);
            let once = |letters: &[u8]| letters.iter().collect::<BTreeSet<_>>().len() == letters.len();
            if once(&letters) && once(&others) {
                prop_assert_eq!(equal, traced);
            }
        }
    }
}
