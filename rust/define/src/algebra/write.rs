//! `Definition` → the definition object that reads back as the same definition.

use rmp::encode::{write_array_len, write_bool, write_f64, write_map_len, write_sint, write_str, write_uint};

use super::read::PRIORITIES;
use super::term::{
    Access, Activity, Backoff, Binding, Block, Declared, Definition, Limits, OnError, Options, Retry, Term,
};
use crate::access::{Asset, Mode};
use crate::expr::Expr;

/// Writing into a `Vec` can't fail.
const SURE: &str = "memory takes what is written";

impl Definition {
    /// The definition object as MessagePack; defaults are left out.
    pub fn write(&self) -> Vec<u8> {
        let mut object = Object::default();
        object.text("name", &self.name);
        object.text("version", &self.version);
        if !self.description.is_empty() {
            object.text("description", &self.description);
        }
        if !self.inputs.is_empty() {
            let mut inputs = Object::default();
            for input in &self.inputs {
                let mut field = Object::default();
                field.text("type", &input.kind);
                if let Some(default) = &input.default {
                    field.raw("default", default);
                }
                inputs.raw(&input.name, &field.end());
            }
            object.raw("inputs", &inputs.end());
        }
        if !self.assets.is_empty() {
            object.raw("assets", &assets(&self.assets));
        }
        if self.closed {
            object.flag("closed", true);
        }
        if !self.body.locals.is_empty() {
            object.raw("locals", &assets(&self.body.locals));
        }
        if self.on_error == OnError::Continue {
            object.text("on_error", "continue");
        }
        object.micros("timeout", self.timeout);
        object.raw("term", &term(&self.body.term, &[]));
        if let Some(result) = &self.body.result {
            object.raw("result", &binding(result));
        }
        object.end()
    }
}

/// A map being written: the entries so far and their number.
#[derive(Default)]
struct Object {
    bytes: Vec<u8>,
    count: u32,
}

impl Object {
    fn raw(&mut self, key: &str, value: &[u8]) {
        write_str(&mut self.bytes, key).expect(SURE);
        self.bytes.extend_from_slice(value);
        self.count += 1;
    }

    fn text(&mut self, key: &str, text: &str) {
        self.raw(key, &packed(text));
    }

    fn number(&mut self, key: &str, number: u64) {
        let mut value = Vec::new();
        write_uint(&mut value, number).expect(SURE);
        self.raw(key, &value);
    }

    fn flag(&mut self, key: &str, flag: bool) {
        let mut value = Vec::new();
        write_bool(&mut value, flag).expect(SURE);
        self.raw(key, &value);
    }

    /// Microseconds as text, since seconds as a float would not come back exactly.
    fn micros(&mut self, key: &str, micros: Option<i64>) {
        if let Some(micros) = micros {
            self.text(key, &format!("{micros}us"));
        }
    }

    /// Thousandths as a number.
    fn milli(&mut self, key: &str, milli: u64) {
        let mut value = Vec::new();
        match milli % 1000 {
            0 => {
                write_sint(&mut value, (milli / 1000) as i64).expect(SURE);
            }
            _ => write_f64(&mut value, milli as f64 / 1000.0).expect(SURE),
        }
        self.raw(key, &value);
    }

    fn end(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes.len() + 5);
        write_map_len(&mut bytes, self.count).expect(SURE);
        bytes.extend_from_slice(&self.bytes);
        bytes
    }
}

fn packed(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_str(&mut bytes, text).expect(SURE);
    bytes
}

fn list(items: impl ExactSizeIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_array_len(&mut bytes, items.len() as u32).expect(SURE);
    items.for_each(|item| bytes.extend_from_slice(&item));
    bytes
}

fn block(block: &Block) -> Vec<u8> {
    if block.result.is_none() && block.locals.is_empty() {
        return term(&block.term, &[]);
    }
    let mut object = Object::default();
    object.raw("term", &term(&block.term, &[]));
    if let Some(result) = &block.result {
        object.raw("result", &binding(result));
    }
    if !block.locals.is_empty() {
        object.raw("locals", &assets(&block.locals));
    }
    object.end()
}

fn assets(declared: &[Declared]) -> Vec<u8> {
    let mut object = Object::default();
    declared.iter().for_each(|it| object.raw(&it.name, &asset(it)));
    object.end()
}

/// What is declared of an asset, its name left out.
pub(super) fn asset(it: &Declared) -> Vec<u8> {
    let mut object = Object::default();
    if let Some(kind) = it.kind {
        object.text("kind", kind.name());
    }
    for (key, text) in [("path", &it.path), ("within", &it.within), ("fingerprint", &it.fingerprint)] {
        if let Some(text) = text {
            object.text(key, text);
        }
    }
    if it.output {
        object.flag("output", true);
    }
    object.end()
}

/// The accesses of a step as fields of it.
fn accesses(object: &mut Object, accesses: &[Access]) {
    let of = |name: &str| -> Vec<Vec<u8>> {
        let found = accesses.iter().filter(|it| it.mode.name() == name);
        found
            .map(|it| match &it.asset {
                Asset::Named(template) => packed(&template.to_string()),
                Asset::Value(expr) => binding(&Binding::Expr(expr.clone())),
            })
            .collect()
    };
    for name in ["reads", "writes", "takes"] {
        let names = of(name);
        // To say that there are none is to say something.
        if !names.is_empty() || (name == "reads" && accesses.is_empty()) {
            object.raw(name, &list(names.into_iter()));
        }
    }
    let mut reduces = Object::default();
    for it in accesses {
        if let (Mode::Reduces(operation), Asset::Named(template)) = (&it.mode, &it.asset) {
            reduces.text(&template.to_string(), operation);
        }
    }
    if reduces.count > 0 {
        object.raw("reduces", &reduces.end());
    }
}

/// The id by which `after` names a member of a partial: that of any step in it.
fn any_id(term: &Term) -> Option<&str> {
    match term {
        Term::Sequence(terms) | Term::Parallel(terms) | Term::Partial { terms, .. } => {
            terms.iter().find_map(any_id)
        }
        _ => term.id(),
    }
}

fn term(it: &Term, after: &[&str]) -> Vec<u8> {
    let mut object = Object::default();
    match it {
        Term::Sequence(terms) => object.raw("sequence", &list(terms.iter().map(|it| term(it, &[])))),
        Term::Parallel(terms) => object.raw("parallel", &list(terms.iter().map(|it| term(it, &[])))),
        Term::Partial { terms, edges } => {
            let mut before: Vec<Vec<&str>> = vec![Vec::new(); terms.len()];
            for &(from, to) in edges {
                before[to as usize].extend(any_id(&terms[from as usize]));
            }
            object.raw("partial", &list(terms.iter().zip(&before).map(|(it, before)| term(it, before))));
        }
        Term::Activity(Activity { id, task, args, kwargs, set, access, options }) => {
            object.text("task", task);
            object.text("id", id);
            if !args.is_empty() {
                object.raw("args", &list(args.iter().map(binding)));
            }
            if !kwargs.is_empty() {
                object.raw("with", &named(kwargs));
            }
            if !set.is_empty() {
                let mut fields = Object::default();
                set.iter().for_each(|(name, expr)| fields.text(name, expr.source()));
                object.raw("set", &fields.end());
            }
            if let Some(access) = access {
                accesses(&mut object, access);
            }
            if **options != Options::default() {
                object.raw("options", &write_options(options));
            }
        }
        Term::Choice { id, branches, otherwise } => {
            let branch = |(condition, then): &(Expr, Block)| {
                let mut object = Object::default();
                object.text("if", condition.source());
                object.raw("then", &block(then));
                object.end()
            };
            object.raw("choice", &list(branches.iter().map(branch)));
            object.text("id", id);
            if let Some(otherwise) = otherwise {
                object.raw("else", &block(otherwise));
            }
        }
        Term::Loop { id, name, init, condition, body, max } => {
            object.raw("loop", &block(body));
            object.text("id", id);
            object.raw("init", &binding(init));
            object.text("while", condition.source());
            object.text("as", name);
            match max {
                Some(max) => object.number("max", u64::from(*max)),
                None => object.flag("unbounded", true),
            }
        }
        Term::Each { id, name, items, body, limit, on_error } => {
            object.raw("each", &binding(items));
            object.text("id", id);
            object.raw("do", &block(body));
            object.text("as", name);
            if let Some(limit) = limit {
                object.number("limit", u64::from(*limit));
            }
            if *on_error == OnError::Continue {
                object.text("on_error", "continue");
            }
        }
        Term::Scope { id, workflow, inputs, body } => {
            object.text("workflow", workflow);
            object.text("id", id);
            object.raw("with", &named(inputs));
            object.raw("do", &block(body));
        }
        Term::Recursion { id, workflow, inputs, max_depth } => {
            object.text("workflow", workflow);
            object.text("id", id);
            object.raw("with", &named(inputs));
            object.number("max_depth", u64::from(*max_depth));
        }
        Term::Timeout { id, micros, body } => {
            object.micros("timeout", Some(*micros));
            object.text("id", id);
            object.raw("do", &block(body));
        }
        Term::Handler { id, body, handler } => {
            object.raw("try", &block(body));
            object.text("id", id);
            object.raw("catch", &block(handler));
        }
        Term::Sleep { id, duration } => {
            object.raw("sleep", &binding(duration));
            object.text("id", id);
        }
        Term::Signal { id, name } => {
            object.text("signal", name);
            object.text("id", id);
        }
        Term::First { id, count, branches } => {
            object.number("first", u64::from(*count));
            object.text("id", id);
            object.raw("of", &list(branches.iter().map(block)));
        }
    }
    if !after.is_empty() {
        object.raw("after", &list(after.iter().map(|id| packed(id))));
    }
    object.end()
}

fn named(fields: &[(String, Binding)]) -> Vec<u8> {
    let mut object = Object::default();
    fields.iter().for_each(|(name, it)| object.raw(name, &binding(it)));
    object.end()
}

/// The binding as it is written in a definition.
pub fn binding(it: &Binding) -> Vec<u8> {
    match it {
        // What could be taken for an expression is written as a literal.
        Binding::Const(bytes) if bytes.contains(&b'$') => {
            let mut object = Object::default();
            object.raw("$const", bytes);
            object.end()
        }
        Binding::Const(bytes) => bytes.to_vec(),
        Binding::Expr(expr) => {
            let mut object = Object::default();
            object.text("$", expr.source());
            object.end()
        }
        Binding::List(items) => list(items.iter().map(binding)),
        Binding::Map(fields) => named(fields),
    }
}

/// Options as they are written in a definition, defaults left out.
pub fn write_options(it: &Options) -> Vec<u8> {
    let mut object = Object::default();
    if let Some(Retry { max_retries, backoff, delay, factor_milli, cap, jitter_milli }) = &it.retry {
        let mut retry = Object::default();
        retry.number("max_retries", u64::from(*max_retries));
        let name = match backoff {
            Backoff::Fixed => "fixed",
            Backoff::Linear => "linear",
            Backoff::Exponential => "exponential",
        };
        retry.text("backoff", name);
        retry.micros("delay", Some(*delay));
        retry.milli("factor", u64::from(*factor_milli));
        retry.micros("cap", *cap);
        retry.milli("jitter", u64::from(*jitter_milli));
        object.raw("retry", &retry.end());
    }
    object.micros("timeout", it.timeout);
    object.micros("expected", it.expected);
    object.micros("heartbeat", it.heartbeat);
    if it.limits != Limits::default() {
        let mut limits = Object::default();
        if let Some(memory) = it.limits.memory {
            limits.number("memory", memory);
        }
        limits.micros("cpu", it.limits.cpu);
        object.raw("limits", &limits.end());
    }
    object.micros("grace", it.grace);
    if let Some(class) = it.priority {
        object.text("priority", PRIORITIES[usize::from(class)]);
    }
    if it.tolerated {
        object.flag("critical", false);
    }
    if it.run_on_upstream_failure {
        object.text("on_upstream_failure", "run");
    }
    if !it.resources.amounts.is_empty() {
        let mut resources = Object::default();
        for (name, &amount) in &it.resources.amounts {
            match &**name {
                "memory" | "disk" => resources.number(name, amount),
                _ => resources.milli(name, amount),
            }
        }
        object.raw("resources", &resources.end());
    }
    for (name, flag) in [("pure", it.pure), ("idempotent", it.idempotent), ("share", it.share)] {
        if flag {
            object.flag(name, true);
        }
    }
    if !it.commutes_with.is_empty() {
        object.raw("commutes_with", &list(it.commutes_with.iter().map(|name| packed(name))));
    }
    object.end()
}
