//! Evaluation of a checked expression over values as bytes.
//!
//! The interpreter has no step counter, so the budget is checked beforehand: an expression of
//! `n` nodes whose comprehensions nest `d` deep, over values of `m` elements, takes at most
//! `n·(m + n)^d` steps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr as Ast, IdedExpr};
use cel::objects::{Key, Map, Value as Cel};
use cel::{Context, Env, ExecutionError};
use rmp::encode::{
    write_array_len, write_bin, write_bool, write_f64, write_map_len, write_nil, write_sint, write_str,
    write_uint,
};
use rustc_hash::FxHashMap;

use super::growth::{self, Extent};
use super::{Expr, Reference};
use crate::value::{self, Item, Segment};

/// Steps that the evaluation of one expression may take.
pub const BUDGET: f64 = 1e7;
const MAX_DEPTH: usize = 100;

/// The standard functions and macros, set up once.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// Where an expression finds what it refers to.
pub trait Scope {
    /// The value of `root`, or of `root.member` where the expression names one, as MessagePack;
    /// `None` where there is no such member.
    fn get(&self, reference: &Reference) -> Result<Option<Arc<[u8]>>, String>;
}

impl Expr {
    /// The value as MessagePack. The error says what could not be computed, and in which expression.
    pub fn evaluate(&self, scope: &dyn Scope) -> Result<Vec<u8>, String> {
        self.compute(scope).map_err(|message| format!("{:?}: {message}", self.source()))
    }

    /// Whether a condition holds; anything but a bool is an error.
    pub fn holds(&self, scope: &dyn Scope) -> Result<bool, String> {
        let value = self.evaluate(scope)?;
        match value::item(&value, 0) {
            Ok((Item::Bool(truth), _)) => Ok(truth),
            Ok((other, _)) => {
                Err(format!("{:?}: a condition has to be bool, and this is {}", self.source(), other.kind()))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn compute(&self, scope: &dyn Scope) -> Result<Vec<u8>, String> {
        if let Some(path) = self.path() {
            let member = match path.segments.first() {
                Some(Segment::Key(key)) => Some(key.clone()),
                _ => None,
            };
            let skip = usize::from(member.is_some());
            let reference = Reference { root: path.root.clone(), member };
            let bytes = scope.get(&reference)?.ok_or_else(|| missing(&reference))?;
            let root = display(&reference);
            let found = value::follow(&root, &bytes, &path.segments[skip..]);
            return found.map(<[u8]>::to_vec).map_err(|error| error.to_string());
        }
        let mut size = 0usize;
        let mut roots: FxHashMap<Arc<str>, Cel> = FxHashMap::default();
        let mut known: FxHashMap<Reference, Extent> = FxHashMap::default();
        for reference in self.references() {
            let Some(bytes) = scope.get(reference)? else { continue };
            let before = size;
            let cel = decode(&bytes, &mut size)?;
            let extent = Extent { values: (size - before) as f64, bytes: bytes.len() as f64 };
            known.insert(reference.clone(), extent);
            match &reference.member {
                None => {
                    roots.insert(reference.root.clone(), cel);
                }
                Some(member) => {
                    let entry = roots
                        .entry(reference.root.clone())
                        .or_insert_with(|| Cel::Map(Map { map: Arc::default() }));
                    if let Cel::Map(map) = entry {
                        let key = Key::String(Arc::new(member.to_string()));
                        Arc::make_mut(&mut map.map).insert(key, cel);
                    }
                }
            }
        }
        // A root of which no member was there is an empty object, so that `has(vars.x)` works.
        for reference in self.references() {
            roots.entry(reference.root.clone()).or_insert_with(|| Cel::Map(Map { map: Arc::default() }));
        }
        let (nodes, depth) = cost(self.program.expression());
        let steps = nodes as f64 * ((size + nodes) as f64).powi(depth as i32);
        if steps > BUDGET {
            return Err(format!(
                "it could take {steps:.0} steps over {size} values; at most {BUDGET:.0} are allowed: compute it in a task"
            ));
        }
        growth::check(self.program.expression(), &known)?;
        let mut context = Context::with_env(ENV.clone());
        for (name, value) in roots {
            context.add_variable_from_value(&*name, value);
        }
        // A bug in the interpreter fails the expression, not the engine.
        let result = catch_unwind(AssertUnwindSafe(|| self.program.execute(&context)))
            .map_err(|_| "the evaluation crashed".to_owned())?
            .map_err(|error| describe(&error))?;
        let mut out = Vec::new();
        encode(&result, &mut out, 0)?;
        Ok(out)
    }
}

fn display(reference: &Reference) -> String {
    match &reference.member {
        Some(member) => format!("{}.{member}", reference.root),
        None => reference.root.to_string(),
    }
}

fn missing(reference: &Reference) -> String {
    format!("there is no {}", display(reference))
}

/// The interpreter's message, cut where it prints whole values.
fn describe(error: &ExecutionError) -> String {
    let text = error.to_string();
    match text.char_indices().nth(300) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// Nodes, and how deep comprehensions nest. The depth of recursion is bounded by the guard.
fn cost(expr: &IdedExpr) -> (usize, u32) {
    let all = |parts: &mut dyn Iterator<Item = &IdedExpr>| {
        parts.map(cost).fold((1, 0), |(nodes, depth), (n, d)| (nodes + n, depth.max(d)))
    };
    match &expr.expr {
        Ast::Unspecified | Ast::Literal(_) | Ast::Ident(_) => (1, 0),
        Ast::Call(call) => all(&mut call.target.iter().map(|it| &**it).chain(&call.args)),
        Ast::Select(select) => all(&mut std::iter::once(&*select.operand)),
        Ast::List(list) => all(&mut list.elements.iter()),
        Ast::Comprehension(it) => {
            let (inner, depth) = all(&mut [&it.loop_cond, &it.loop_step].into_iter());
            let (outer, other) = all(&mut [&it.iter_range, &it.accu_init, &it.result].into_iter());
            (inner + outer, (depth + 1).max(other))
        }
        Ast::Map(map) => entries(&map.entries),
        Ast::Struct(object) => entries(&object.entries),
    }
}

fn entries(entries: &[cel::common::ast::IdedEntryExpr]) -> (usize, u32) {
    entries.iter().fold((1, 0), |(nodes, depth), entry| {
        let (n, d) = match &entry.expr {
            EntryExpr::MapEntry(entry) => {
                let ((a, b), (c, d)) = (cost(&entry.key), cost(&entry.value));
                (a + c, b.max(d))
            }
            EntryExpr::StructField(field) => cost(&field.value),
        };
        (nodes + n, depth.max(d))
    })
}

fn decode(bytes: &[u8], size: &mut usize) -> Result<Cel, String> {
    let (cel, _) = decode_at(bytes, 0, 0, size)?;
    Ok(cel)
}

fn decode_at(bytes: &[u8], at: usize, depth: usize, size: &mut usize) -> Result<(Cel, usize), String> {
    if depth > MAX_DEPTH {
        return Err(format!("a value nests deeper than {MAX_DEPTH} levels"));
    }
    *size += 1;
    let (item, mut next) = value::item(bytes, at).map_err(|error| error.to_string())?;
    let cel = match item {
        Item::Nil => Cel::Null,
        Item::Bool(truth) => Cel::Bool(truth),
        Item::Int(number) => Cel::Int(number),
        Item::Big(number) => Cel::UInt(number),
        Item::Float(number) => Cel::Float(number),
        Item::Str(text) => Cel::String(Arc::new(text.to_owned())),
        Item::Bytes(bytes) => Cel::Bytes(Arc::new(bytes.to_vec())),
        Item::Ext(kind, _) => {
            return Err(format!("a value of the extension type {kind} can't be used in CEL"));
        }
        Item::List(count) => {
            let mut items = Vec::new();
            for _ in 0..count {
                let (item, after) = decode_at(bytes, next, depth + 1, size)?;
                items.push(item);
                next = after;
            }
            Cel::List(Arc::new(items))
        }
        Item::Map(count) => {
            let mut map = std::collections::HashMap::new();
            for _ in 0..count {
                let (key, after) = decode_at(bytes, next, depth + 1, size)?;
                let key = match key {
                    Cel::String(text) => Key::String(text),
                    Cel::Int(number) => Key::Int(number),
                    Cel::UInt(number) => Key::Uint(number),
                    Cel::Bool(truth) => Key::Bool(truth),
                    _ => return Err("a map has a key that is neither text, int nor bool".to_owned()),
                };
                let (value, after) = decode_at(bytes, after, depth + 1, size)?;
                map.insert(key, value);
                next = after;
            }
            Cel::Map(Map { map: Arc::new(map) })
        }
    };
    Ok((cel, next))
}

fn encode(cel: &Cel, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    const SURE: &str = "memory takes what is written";
    if depth > MAX_DEPTH {
        return Err(format!("the result nests deeper than {MAX_DEPTH} levels"));
    }
    match cel {
        Cel::Null => write_nil(out).expect(SURE),
        Cel::Bool(truth) => write_bool(out, *truth).expect(SURE),
        Cel::Int(number) => {
            write_sint(out, *number).expect(SURE);
        }
        Cel::UInt(number) => {
            write_uint(out, *number).expect(SURE);
        }
        Cel::Float(number) => write_f64(out, *number).expect(SURE),
        Cel::String(text) => write_str(out, text).expect(SURE),
        Cel::Bytes(bytes) => write_bin(out, bytes).expect(SURE),
        Cel::List(items) => {
            write_array_len(out, items.len() as u32).expect(SURE);
            for item in items.iter() {
                encode(item, out, depth + 1)?;
            }
        }
        Cel::Map(map) => {
            // In the order of the keys: the same value has to be the same bytes each time.
            let mut fields: Vec<_> = map.map.iter().collect();
            fields.sort_by(|a, b| a.0.cmp(b.0));
            write_map_len(out, fields.len() as u32).expect(SURE);
            for (key, value) in fields {
                match key {
                    Key::String(text) => write_str(out, text).expect(SURE),
                    Key::Int(number) => {
                        write_sint(out, *number).expect(SURE);
                    }
                    Key::Uint(number) => {
                        write_uint(out, *number).expect(SURE);
                    }
                    Key::Bool(truth) => write_bool(out, *truth).expect(SURE),
                }
                encode(value, out, depth + 1)?;
            }
        }
        Cel::Duration(duration) => write_f64(out, duration.as_seconds_f64()).expect(SURE),
        Cel::Timestamp(instant) => write_str(out, &instant.to_rfc3339()).expect(SURE),
        _ => return Err("the result is no value that a step can take".to_owned()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Json(serde_json::Value);

    impl Scope for Json {
        fn get(&self, reference: &Reference) -> Result<Option<Arc<[u8]>>, String> {
            let value = self.0.get(&*reference.root);
            let value = match &reference.member {
                Some(member) => value.and_then(|value| value.get(&**member)),
                None => value,
            };
            Ok(value.map(|value| rmp_serde::to_vec_named(value).unwrap().into()))
        }
    }

    fn eval(source: &str, vars: serde_json::Value) -> Result<serde_json::Value, String> {
        let bytes = Expr::parse(source).unwrap().evaluate(&Json(vars))?;
        Ok(rmp_serde::from_slice(&bytes).unwrap())
    }

    use serde_json::json;

    /// Req: P8.93, P7.88
    #[test]
    fn expressions_compute_over_what_they_name() {
        let vars = json!({"steps": {"load": {"rows": [1, 2, 3]}}, "input": {"n": 2}, "vars": {}});
        assert_eq!(eval("steps.load.rows[1]", vars.clone()), Ok(json!(2)));
        assert_eq!(eval("steps.load.rows.filter(x, x >= input.n)", vars.clone()), Ok(json!([2, 3])));
        assert_eq!(eval("has(vars.x) ? vars.x : 'none'", vars.clone()), Ok(json!("none")));
        assert_eq!(eval("{'a': size(steps.load.rows) + 1}", vars), Ok(json!({"a": 4})));
    }

    #[test]
    fn what_fails_says_which_expression_and_why() {
        let vars = json!({"input": {"n": i64::MAX, "s": "x"}});
        for (source, part) in [
            ("input.missing + 1", "input.missing"),
            ("input.n + 1", "verflow"),
            ("input.s.deep", "input.s"),
            ("input.n / 0", "zero"),
        ] {
            let error = eval(source, vars.clone()).unwrap_err();
            assert!(error.contains(source) && error.contains(part), "{error}");
        }
        let expr = Expr::parse("input.n").unwrap();
        assert!(expr.holds(&Json(vars)).unwrap_err().contains("has to be bool"));
    }

    /// What would have to be allocated for these ends a process.
    #[test]
    fn what_could_become_too_large_is_refused_beforehand() {
        let vars =
            || json!({"input": {"s": "x".repeat(1000), "l": vec![1; 1000], "o": {"deep": [[1, 2], [3]]}}});
        let doubled = |of: &str| of.to_owned() + &".map(x, x + x)".repeat(60);
        for source in [
            doubled("['a']"),
            doubled("[[1]]"),
            doubled("[input.s]"),
            doubled("[b'a']"),
            "['a']".to_owned() + &".map(x, [x, x])".repeat(50),
            "input.l.map(x, input.l.map(y, input.s + input.s + input.s))".to_owned(),
            "input.l.map(x, input.l)".to_owned() + &".map(x, x.map(y, string(y) + input.s))".repeat(2),
            format!("{{'k': {}}}.k.size()", doubled("['a']")),
        ] {
            let error = eval(&source, vars()).unwrap_err();
            assert!(error.contains("compute it in a task"), "{error}");
        }
        for (source, found) in [
            ("['a'].map(x, x + x).map(x, x + x)[0]", json!("aaaa")),
            ("input.l.map(x, string(x) + input.s).size()", json!(1000)),
            ("input.l.filter(x, x > 1)", json!([])),
            ("input.o.deep.map(x, x.map(y, y + 1))", json!([[2, 3], [4]])),
            ("input.l.map(x, {'a': x, 'b': input.s}).size() + 1", json!(1001)),
        ] {
            assert_eq!(eval(source, vars()), Ok(found), "{source}");
        }
    }

    #[test]
    fn a_budget_bounds_nested_comprehensions() {
        let rows: Vec<u32> = (0..10_000).collect();
        let vars = json!({"input": {"r": rows}});
        assert_eq!(eval("input.r.all(x, x >= 0)", vars.clone()), Ok(json!(true)));
        let nested = eval("input.r.map(x, input.r.map(y, x * y))", vars).unwrap_err();
        assert!(nested.contains("steps"), "{nested}");
    }
}
