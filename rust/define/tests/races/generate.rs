//! Small definitions with every operator and every kind of name, as functions of a seed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use ferroflow_define::access::{Asset, Mode, Template};
use ferroflow_define::algebra::term::{Access, Declared};
use ferroflow_define::expr::Expr;
use ferroflow_define::{Activity, Binding, Block, Definition, Input, OnError, Options, Term};

/// A small generator of numbers (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % sides as u64) as usize
    }

    fn percent(&mut self, of: usize) -> bool {
        self.roll(100) < of
    }

    fn of<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        &list[self.roll(list.len())]
    }
}

/// Names without holes. `loc` is a local asset where one is declared, `m` and `n` lie elsewhere where that is.
const NAMES: [&str; 26] = [
    "a",
    "b",
    "lake",
    "lake/x",
    "lake/y",
    "lake/x/z",
    "lake/x[0:5]",
    "lake/m",
    "m",
    "m/q",
    "n/x",
    "t",
    "t[0:10]",
    "t[5:15]",
    "t[10:20]",
    "t[2:5]",
    "t[0/2]",
    "t[1/2]",
    "t[1/4]",
    "t/c",
    "/data",
    "/data/f",
    "u[0:3]",
    "loc",
    "loc/x",
    "loc[0:5]",
];

/// What stands before and after a hole.
const ROUND: [(&str, &str); 10] = [
    ("lake/", ""),
    ("lake/", ""),
    ("lake/", "/z"),
    ("lake/x", ""),
    ("t/", "[0:5]"),
    ("", ""),
    ("t[", "/8]"),
    ("t[", "/8]"),
    ("lake/x[0:", "]"),
    ("loc/", ""),
];

thread_local! {
    static EXPRESSIONS: RefCell<HashMap<String, Expr>> = RefCell::default();
    static TEMPLATES: RefCell<HashMap<String, Arc<Template>>> = RefCell::default();
}

/// To read an expression takes far longer than all else, and there are few.
pub(crate) fn expression(text: &str) -> Expr {
    EXPRESSIONS.with_borrow_mut(|known| match known.get(text) {
        Some(found) => found.clone(),
        None => known.entry(text.to_owned()).or_insert(Expr::parse(text).expect(text)).clone(),
    })
}

fn template(text: &str) -> Arc<Template> {
    TEMPLATES.with_borrow_mut(|known| match known.get(text) {
        Some(found) => found.clone(),
        None => known.entry(text.to_owned()).or_insert(Arc::new(Template::parse(text).expect(text))).clone(),
    })
}

fn constant(value: &serde_json::Value) -> Binding {
    Binding::Const(rmp_serde::to_vec(value).expect("plain data").into())
}

enum Binder {
    None,
    Workflow(String),
    Item,
    State,
    Error,
}

/// A block that is being made, with the steps that it has so far.
struct Frame {
    steps: Vec<String>,
    binder: Binder,
}

struct Maker {
    dice: Dice,
    count: usize,
    left: usize,
    frames: Vec<Frame>,
    /// Names that this definition prefers, so that steps meet.
    names: Vec<&'static str>,
    /// In percent: how much is in sequence, of the accesses how many read, and of the others how many take.
    ordered: usize,
    reading: usize,
    taking: usize,
    /// Names with holes, and values.
    open: usize,
    values: usize,
}

pub(crate) fn definition(seed: u64) -> Definition {
    let mut dice = Dice(seed);
    let names = (0..1 + dice.roll(4)).map(|_| *dice.of(&NAMES)).collect();
    let mut maker = Maker {
        count: 0,
        left: 2 + dice.roll(8),
        frames: vec![],
        names,
        ordered: 20 + dice.roll(80),
        reading: dice.roll(90),
        taking: dice.roll(70),
        open: dice.roll(60),
        values: if dice.percent(40) { dice.roll(60) } else { 0 },
        dice,
    };
    let body = maker.block(Binder::Workflow("w".to_owned()), 3);
    let declared = |(name, within): (&str, Option<&str>)| Declared {
        name: name.to_owned(),
        within: within.map(str::to_owned),
        ..Declared::default()
    };
    let within = [("lake", None), ("n", Some("m")), ("m", Some("lake"))];
    let input = |name: &str| Input { name: name.to_owned(), kind: "any".to_owned(), default: None };
    Definition {
        name: "w".to_owned(),
        version: "1".to_owned(),
        description: String::new(),
        inputs: vec![input("a"), input("b")],
        assets: if maker.dice.percent(50) { within.map(declared).into() } else { vec![] },
        closed: false,
        body,
        on_error: OnError::FailFast,
        timeout: None,
    }
}

impl Maker {
    fn id(&mut self) -> String {
        self.count += 1;
        format!("s{}", self.count)
    }

    fn block(&mut self, binder: Binder, depth: usize) -> Block {
        self.frames.push(Frame { steps: vec![], binder });
        let term = self.term(depth);
        let result = self.result();
        self.frames.pop();
        let mut locals = vec![];
        if self.dice.percent(25) {
            let of: &[&str] = &["loc", "loc", "loc/x", "lake"];
            locals.push(Declared { name: (*self.dice.of(of)).to_owned(), ..Declared::default() });
            if self.dice.percent(20) && locals[0].name == "loc" {
                locals.push(Declared { name: "loc/x".to_owned(), ..Declared::default() });
            }
        }
        Block { term: Box::new(term), result, locals }
    }

    fn result(&mut self) -> Option<Binding> {
        match self.dice.roll(10) {
            0..5 => Some(constant(&serde_json::Value::Null)),
            5 => self.path().map(|path| Binding::Expr(expression(&path))),
            6 => {
                let path = self.path()?;
                Some(Binding::Expr(expression(&format!("{path} + 1"))))
            }
            7 => Some(Binding::List((0..2).filter_map(|_| self.read()).collect())),
            _ => None,
        }
    }

    fn terms(&mut self, depth: usize, most: usize) -> Vec<Term> {
        let count = if self.dice.percent(6) { 0 } else { 1 + self.dice.roll(most) };
        (0..count).map(|_| self.term(depth)).collect()
    }

    fn term(&mut self, depth: usize) -> Term {
        if depth == 0 || self.left <= 1 {
            return self.activity();
        }
        match self.dice.roll(20) {
            0..3 if self.count > 0 => self.activity(),
            3..10 if self.dice.percent(self.ordered) => Term::Sequence(self.terms(depth - 1, 4)),
            3..8 => Term::Parallel(self.terms(depth - 1, 4)),
            8..11 => self.partial(depth - 1),
            _ => self.composite(depth - 1),
        }
    }

    /// Members are made in one of their orders, in which each may read what was made before.
    fn partial(&mut self, depth: usize) -> Term {
        let mut terms: Vec<(usize, Term)> = Vec::new();
        for _ in 0..self.dice.roll(5).max(1) {
            let at = self.dice.roll(terms.len() + 1);
            terms.iter_mut().for_each(|it| it.0 += usize::from(it.0 >= at));
            let empty = self.dice.percent(7);
            terms.push((at, if empty { Term::Sequence(vec![]) } else { self.term(depth) }));
        }
        let mut edges = Vec::new();
        for (later, to) in terms.iter().enumerate() {
            for from in &terms[..later] {
                if self.dice.percent(self.ordered / 2) {
                    edges.push((from.0 as u32, to.0 as u32));
                }
            }
        }
        terms.sort_by_key(|it| it.0);
        Term::Partial { terms: terms.into_iter().map(|it| it.1).collect(), edges }
    }

    fn composite(&mut self, depth: usize) -> Term {
        let term = self.composite_inside(depth);
        let here = self.frames.last_mut().expect("inside a block");
        here.steps.extend(term.id().map(str::to_owned));
        term
    }

    fn composite_inside(&mut self, depth: usize) -> Term {
        let id = self.id();
        let nested = self.frames.iter().filter(|it| matches!(it.binder, Binder::Workflow(_))).count() > 1;
        if nested && self.dice.percent(35) {
            return self.recursion(id);
        }
        match self.dice.roll(15) {
            0 | 1 => Term::Choice {
                id,
                branches: (0..1 + self.dice.roll(2))
                    .map(|_| (self.condition(), self.block(Binder::None, depth)))
                    .collect(),
                otherwise: self.dice.percent(50).then(|| self.block(Binder::None, depth)),
            },
            2 | 3 => {
                let init = self.read().unwrap_or_else(|| constant(&serde_json::Value::Null));
                self.frames.push(Frame { steps: vec![], binder: Binder::State });
                let condition = self.condition();
                self.frames.pop();
                let max = *self.dice.of(&[None, Some(0), Some(1), Some(2), Some(3), Some(3)]);
                Term::Loop {
                    id,
                    name: "state".into(),
                    init,
                    condition,
                    body: self.block(Binder::State, depth),
                    max,
                }
            }
            4..7 => {
                let items = self.items();
                let body = self.block(Binder::Item, depth);
                let limit = *self.dice.of(&[None, None, Some(1), Some(1), Some(2)]);
                Term::Each { id, name: "item".into(), items, body, limit, on_error: OnError::FailFast }
            }
            7 | 8 => {
                let inputs = self.inputs();
                let workflow = format!("v{id}");
                let body = self.block(Binder::Workflow(workflow.clone()), depth);
                Term::Scope { id, workflow, inputs, body }
            }
            9 => self.recursion(id),
            10 => Term::Timeout { id, micros: 1000, body: self.block(Binder::None, depth) },
            11 | 12 => Term::Handler {
                id,
                body: self.block(Binder::None, depth),
                handler: self.block(Binder::Error, depth),
            },
            13 if self.dice.percent(50) => {
                Term::Sleep { id, duration: self.read().unwrap_or_else(|| constant(&serde_json::json!(1))) }
            }
            13 => Term::Signal { id, name: "go".into() },
            _ => {
                let branches: Vec<Block> =
                    (0..1 + self.dice.roll(3)).map(|_| self.block(Binder::None, depth)).collect();
                Term::First { id, count: 1 + self.dice.roll(branches.len()) as u32, branches }
            }
        }
    }

    /// Begins a workflow round it again.
    fn recursion(&mut self, id: String) -> Term {
        let names = self.frames.iter().filter_map(|frame| match &frame.binder {
            Binder::Workflow(name) => Some(name.clone()),
            _ => None,
        });
        let names: Vec<String> = names.collect();
        let workflow = self.dice.of(&names).clone();
        Term::Recursion { id, workflow, inputs: self.inputs(), max_depth: 1 + self.dice.roll(3) as u32 }
    }

    fn items(&mut self) -> Binding {
        match self.dice.roll(6) {
            0 => constant(&serde_json::json!(["x", "y", "z"][..self.dice.roll(4)])),
            1 => Binding::List((0..2).filter_map(|_| self.read()).collect()),
            _ => self.read().unwrap_or_else(|| Binding::Expr(expression("input.a"))),
        }
    }

    fn inputs(&mut self) -> Vec<(String, Binding)> {
        ["a", "b"]
            .map(|name| {
                let given = match self.dice.roll(8) {
                    0 => constant(&serde_json::json!(0)),
                    1 => constant(&serde_json::json!("x/z")),
                    2 => constant(&serde_json::json!("loc")),
                    3 => constant(&serde_json::json!("x")),
                    4 => Binding::Expr(expression(&format!("input.{name} + 1"))),
                    _ => {
                        let path = self.path().unwrap_or_else(|| "input.b".to_owned());
                        Binding::Expr(expression(&path))
                    }
                };
                (name.to_owned(), given)
            })
            .into()
    }

    fn condition(&mut self) -> Expr {
        match self.path() {
            Some(path) if self.dice.percent(40) => expression(&format!("{path} == 1")),
            Some(path) if self.dice.percent(20) => expression(&path),
            _ => expression("true"),
        }
    }

    /// A binding that may read something.
    fn read(&mut self) -> Option<Binding> {
        let path = self.path()?;
        Some(match self.dice.roll(6) {
            0 => Binding::Expr(expression(&format!("{path} + 1"))),
            1 => Binding::List(vec![Binding::Expr(expression(&path))]),
            2 => constant(&serde_json::json!(1)),
            _ => Binding::Expr(expression(&path)),
        })
    }

    /// A plain path that means something here; rather one that means a step.
    fn path(&mut self) -> Option<String> {
        let (mut steps, mut others) = (Vec::new(), vec!["input.a", "input.a", "input.b.k"]);
        for frame in self.frames.iter().rev() {
            steps.extend(&frame.steps);
            match frame.binder {
                Binder::None => {}
                Binder::Workflow(_) => break,
                Binder::Item => others.extend(["item", "item", "item.k", "item_index"]),
                Binder::State => others.extend(["state", "state_iteration"]),
                Binder::Error => others.extend(["error", "error.code", "error.code"]),
            }
        }
        if !steps.is_empty() && self.dice.percent(60) {
            let step = *self.dice.of(&steps);
            return Some(format!("steps.{step}{}", self.dice.of(&["", "", ".k", ".k[0]", "[1]"])));
        }
        self.dice.percent(80).then(|| (*self.dice.of(&others)).to_owned())
    }

    /// What fills a hole.
    fn hole(&mut self) -> String {
        match self.path() {
            Some(path) if self.dice.percent(12) => format!("{path} + 1"),
            Some(path) => path,
            None => "vars.v".to_owned(),
        }
    }

    fn activity(&mut self) -> Term {
        self.left = self.left.saturating_sub(1);
        let id = self.id();
        let mut args = Vec::new();
        if self.dice.percent(30) {
            args.extend(self.read());
        }
        let access = self.dice.percent(93).then(|| self.accesses());
        let mut set = Vec::new();
        if self.dice.percent(3) {
            set.push(("v".to_owned(), expression("result")));
        }
        let here = self.frames.last_mut().expect("inside a block");
        here.steps.push(id.clone());
        let task = format!("t{}", self.dice.roll(2));
        Term::Activity(Activity {
            id,
            task,
            args,
            kwargs: vec![],
            set,
            access,
            options: Arc::<Options>::default(),
        })
    }

    fn accesses(&mut self) -> Arc<[Access]> {
        let mut found: Vec<Access> = Vec::new();
        for _ in 0..*self.dice.of(&[1, 1, 1, 1, 2, 2, 3, 0]) {
            let asset = self.asset();
            let value = matches!(asset, Asset::Value(_));
            let mode = if self.dice.percent(self.reading) {
                Mode::Reads
            } else if self.dice.percent(self.taking) {
                Mode::Takes
            } else if self.dice.percent(25) && !value {
                Mode::Reduces((*self.dice.of(&["sum", "sum", "max"])).into())
            } else {
                Mode::Writes
            };
            // To take a thing leaves nothing else to do with it.
            let meets = |it: &Access| {
                let taken = mode == Mode::Takes || it.mode == Mode::Takes;
                it.asset == asset || taken && (first(&it.asset) == first(&asset))
            };
            if !found.iter().any(meets) {
                found.push(Access { mode, asset });
            }
        }
        found.into()
    }

    fn asset(&mut self) -> Asset {
        if self.dice.percent(self.values)
            && let Some(path) = self.path()
        {
            return Asset::Value(expression(&path));
        }
        if self.dice.percent(self.open) {
            let &(before, after) = self.dice.of(&ROUND);
            let mut name = format!("{before}{{{}}}{after}", self.hole());
            if self.dice.percent(10) {
                let (one, two) = (self.hole(), self.hole());
                name = match self.dice.roll(3) {
                    0 => format!("t[{{{one}}}:{{{two}}}]"),
                    1 => format!("t[0:{{{one}}}]"),
                    _ => format!("lake/{{{one}}}-{{{two}}}"),
                };
            }
            return Asset::Named(template(&name));
        }
        let name = if self.dice.percent(80) { *self.dice.of(&self.names) } else { *self.dice.of(&NAMES) };
        Asset::Named(template(name))
    }
}

/// What an asset begins with.
fn first(asset: &Asset) -> String {
    let text = match asset {
        Asset::Named(template) => template.to_string(),
        Asset::Value(expr) => format!("={}", expr.source().split('.').take(2).collect::<String>()),
    };
    // Both lie in one that does.
    let text = text.replace("n/", "lake/").replace("m/", "lake/");
    let text = if text == "m" { "lake" } else { &text };
    text.split(['/', '[']).find(|it| !it.is_empty()).unwrap_or_default().to_owned()
}
