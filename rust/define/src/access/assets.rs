//! All assets of a program as one tree, so that a number stands for a name, and what contains what is told by
//! going up.

use std::fmt::Write;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::Mode;
use super::name::{Segment, Written};
use crate::expr::Reference;
use crate::value::Segment as Selected;

/// A number in `Assets`.
pub type AssetId = u32;

/// What contains all that has a name, and what contains the values of all steps.
pub const WORLD: AssetId = 0;
pub const VALUES: AssetId = 1;

/// No block: an asset that is the same everywhere.
const NOWHERE: u32 = u32::MAX;

/// Where a value comes from that names an asset, or is one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// By block and node.
    Result(u32, u32),
    Input(u32),
    Item(u32),
    Index(u32),
    State(u32),
    Iteration(u32),
    Error(u32),
}

impl Root {
    /// The block each of whose instances has a value of its own.
    pub fn block(&self) -> u32 {
        match *self {
            Root::Result(block, _)
            | Root::Input(block)
            | Root::Item(block)
            | Root::Index(block)
            | Root::State(block)
            | Root::Iteration(block)
            | Root::Error(block) => block,
        }
    }
}

/// What fills a hole. Equal ones have the same value, if they are of the same instances of their blocks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hole {
    Path(Root, Box<[Selected]>),
    Cel(Arc<str>, Box<[(Reference, Root)]>),
    /// What may change from one use to the next, and from one instance of this block to another; each is one of its
    /// own.
    Unknown(u32, u32),
}

/// A piece of an open segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bit {
    Text(Arc<str>),
    Hole(Hole),
}

/// What an asset is called inside the one that contains it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Symbol {
    Named(Segment),
    /// Text with holes.
    Open(Box<[Bit]>),
    /// A selector with holes.
    Select(Box<[Bit]>),
    /// A local asset, by its block and its place there.
    Local(u32, u32),
    /// A value.
    Value(Root),
    Member(Selected),
    /// The member of a list that an iteration has as its item.
    Each(u32),
}

impl Symbol {
    /// The deepest block each of whose instances has an asset of its own; the others are round it.
    fn home(&self) -> Option<u32> {
        let hole = |hole: &Hole| match hole {
            Hole::Path(root, _) => Some(root.block()),
            Hole::Cel(_, roots) => roots.iter().map(|(_, root)| root.block()).max(),
            Hole::Unknown(block, _) => Some(*block),
        };
        match self {
            Symbol::Named(_) | Symbol::Member(_) => None,
            Symbol::Open(bits) | Symbol::Select(bits) => {
                let holes = bits.iter().filter_map(|bit| match bit {
                    Bit::Text(_) => None,
                    Bit::Hole(it) => hole(it),
                });
                holes.max()
            }
            Symbol::Local(block, _) | Symbol::Each(block) => Some(*block),
            Symbol::Value(root) => Some(root.block()),
        }
    }

    pub fn is_selector(&self) -> bool {
        match self {
            Symbol::Named(segment) => segment.is_selector(),
            Symbol::Select(_) => true,
            _ => false,
        }
    }

    /// Whether two things that are directly inside one asset surely have something in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Symbol::Named(a), Symbol::Named(b)) => a.overlaps(b),
            // A selection may be of anything that is inside, but of two nothing is known.
            _ if self.is_selector() != other.is_selector() => true,
            _ => self == other,
        }
    }
}

#[derive(Clone, Debug)]
struct Node {
    parent: AssetId,
    symbol: u32,
    home: u32,
}

/// The assets of a program.
#[derive(Clone, Debug)]
pub struct Assets {
    nodes: Vec<Node>,
    symbols: Vec<Symbol>,
    known: FxHashMap<Symbol, u32>,
    inside: FxHashMap<(AssetId, u32), AssetId>,
    /// Assets that have selectors directly inside them, and those.
    selectors: FxHashMap<AssetId, Vec<AssetId>>,
    operations: Vec<Arc<str>>,
    /// How local assets are called.
    pub(crate) locals: FxHashMap<(u32, u32), Arc<str>>,
}

impl Default for Assets {
    fn default() -> Self {
        let root = |parent| Node { parent, symbol: u32::MAX, home: NOWHERE };
        Self {
            nodes: vec![root(WORLD), root(VALUES)],
            symbols: Vec::new(),
            known: FxHashMap::default(),
            inside: FxHashMap::default(),
            selectors: FxHashMap::default(),
            operations: Vec::new(),
            locals: FxHashMap::default(),
        }
    }
}

impl Assets {
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.len() <= 2
    }

    /// What is called so inside another.
    pub fn child(&mut self, parent: AssetId, symbol: Symbol) -> AssetId {
        let number = match self.known.get(&symbol) {
            Some(&number) => number,
            None => {
                let number = self.symbols.len() as u32;
                self.symbols.push(symbol.clone());
                self.known.insert(symbol, number);
                number
            }
        };
        let next = self.nodes.len() as AssetId;
        let id = *self.inside.entry((parent, number)).or_insert(next);
        if id == next {
            let symbol = &self.symbols[number as usize];
            let (own, above) = (symbol.home(), self.nodes[parent as usize].home);
            let home = match own {
                // Deeper blocks have larger numbers.
                Some(own) if above == NOWHERE || own > above => own,
                _ => above,
            };
            if symbol.is_selector() {
                self.selectors.entry(parent).or_default().push(id);
            }
            self.nodes.push(Node { parent, symbol: number, home });
        }
        id
    }

    /// What contains it; a root contains itself.
    pub fn parent(&self, asset: AssetId) -> AssetId {
        self.nodes[asset as usize].parent
    }

    pub fn is_root(asset: AssetId) -> bool {
        asset <= VALUES
    }

    /// The deepest block each of whose instances has an asset of its own; none if there is but one.
    pub fn home(&self, asset: AssetId) -> Option<u32> {
        Some(self.nodes[asset as usize].home).filter(|&home| home != NOWHERE)
    }

    /// What it is called inside what contains it; none if it is a root.
    pub fn symbol(&self, asset: AssetId) -> Option<&Symbol> {
        self.symbols.get(self.nodes[asset as usize].symbol as usize)
    }

    /// Selectors directly inside an asset.
    pub fn selectors(&self, asset: AssetId) -> &[AssetId] {
        self.selectors.get(&asset).map_or(&[], |found| found)
    }

    /// The asset and what contains it, from the inside, without the root.
    pub fn upwards(&self, asset: AssetId) -> impl Iterator<Item = AssetId> + '_ {
        let step = move |&at: &AssetId| Some(self.parent(at)).filter(|&up| !Self::is_root(up));
        std::iter::successors(Some(asset).filter(|&it| !Self::is_root(it)), step)
    }

    /// Its symbols from the outside.
    pub fn path(&self, asset: AssetId) -> Vec<&Symbol> {
        let mut path: Vec<&Symbol> = self.upwards(asset).filter_map(|at| self.symbol(at)).collect();
        path.reverse();
        path
    }

    /// Whether it is what a step yields, or a part of that.
    pub fn is_value(&self, asset: AssetId) -> bool {
        asset == VALUES || self.upwards(asset).last().is_some_and(|top| self.parent(top) == VALUES)
    }

    /// Whether one contains the other or is it.
    pub fn contains(&self, outer: AssetId, inner: AssetId) -> bool {
        self.upwards(inner).any(|at| at == outer)
    }

    /// Whether all of one thing is in the other; of ranges of one thing that is known, too.
    pub fn covers(&self, outer: AssetId, inner: AssetId) -> bool {
        let ranges = || match (self.symbol(outer)?, self.symbol(inner)?) {
            (Symbol::Named(Segment::Range(a, b)), Symbol::Named(Segment::Range(c, d))) => {
                Some(self.parent(outer) == self.parent(inner) && a <= c && d <= b)
            }
            _ => None,
        };
        self.contains(outer, inner) || ranges().unwrap_or(false)
    }

    /// Whether two surely have something in common.
    pub fn overlap(&self, a: AssetId, b: AssetId) -> bool {
        if self.contains(a, b) || self.contains(b, a) {
            return true;
        }
        let (a, b) = (self.path(a), self.path(b));
        // Only selectors meet though they differ, and only those of one thing.
        match a.iter().zip(&b).position(|(a, b)| a != b) {
            Some(at) => a[at].overlaps(b[at]),
            None => false,
        }
    }

    /// How a local asset is called: where it is declared, and its place there.
    pub fn local(&self, block: u32, at: u32) -> &str {
        self.locals.get(&(block, at)).map_or("", |name| name)
    }

    /// The number of a mode.
    pub(crate) fn mode(&mut self, mode: &Mode) -> u32 {
        let operation = match mode {
            Mode::Reads => return READS,
            Mode::Writes => return WRITES,
            Mode::Takes => return TAKES,
            Mode::Reduces(operation) => operation,
        };
        let found = self.operations.iter().position(|it| it == operation);
        REDUCES
            + found.unwrap_or_else(|| {
                self.operations.push(operation.clone());
                self.operations.len() - 1
            }) as u32
    }

    /// The mode of a number.
    pub fn mode_of(&self, mode: u32) -> Mode {
        match mode {
            READS => Mode::Reads,
            WRITES => Mode::Writes,
            TAKES => Mode::Takes,
            _ => Mode::Reduces(self.operations[(mode - REDUCES) as usize].clone()),
        }
    }

    /// The name of an asset that has one and no holes, without what is local.
    pub fn name(&self, asset: AssetId) -> Option<Vec<Segment>> {
        let named = |symbol: &&Symbol| match symbol {
            Symbol::Named(segment) => Some(segment.clone()),
            _ => None,
        };
        let path = self.path(asset);
        path.iter().map(named).collect::<Option<Vec<_>>>().filter(|it| !it.is_empty())
    }

    /// Its whole name while a run goes on: `filled` are the texts in its holes from left to right, and `local` says
    /// how an instance of a local asset is called. The error says what is no name.
    pub fn filled(
        &self,
        asset: AssetId,
        filled: &[String],
        local: impl Fn(u32, u32) -> Segment,
    ) -> Result<Vec<Segment>, String> {
        let mut filled = filled.iter();
        let mut name = Vec::new();
        for symbol in self.path(asset) {
            match symbol {
                Symbol::Named(segment) => name.push(segment.clone()),
                Symbol::Local(block, at) => name.push(local(*block, *at)),
                Symbol::Open(bits) => {
                    // A bracket in a value selects nothing.
                    let text = whole(bits, &mut filled).replace('[', "[[");
                    if !name.is_empty() && text.starts_with('/') {
                        return Err(format!("{text:?} begins with a separator in the middle of a name"));
                    }
                    name.extend(super::name::parse(&text)?);
                }
                Symbol::Select(bits) => {
                    let text = format!("x[{}]", whole(bits, &mut filled));
                    name.extend(super::name::parse(&text)?.pop());
                }
                Symbol::Value(_) | Symbol::Member(_) | Symbol::Each(_) => {
                    return Err("a value has no name".to_owned());
                }
            }
        }
        Ok(name)
    }

    /// How it is called, for people. `ids` says how a node is called.
    pub fn written(&self, asset: AssetId, ids: &dyn Fn(u32, u32) -> String) -> String {
        let mut text = String::new();
        for (at, symbol) in self.path(asset).into_iter().enumerate() {
            // The first part of an absolute name is empty.
            if at > 0 && !symbol.is_selector() && !matches!(symbol, Symbol::Member(_) | Symbol::Each(_)) {
                text.push('/');
            }
            // Writing into a text can't fail.
            let _ = match symbol {
                Symbol::Named(segment) => write!(text, "{}", Written(std::slice::from_ref(segment))),
                Symbol::Open(bits) => write!(text, "{}", bits_written(bits, ids)),
                Symbol::Select(bits) => write!(text, "[{}]", bits_written(bits, ids)),
                Symbol::Local(block, at) => {
                    write!(text, "{}", self.local(*block, *at))
                }
                Symbol::Value(root) => write!(text, "{}", root_written(root, ids)),
                Symbol::Member(Selected::Key(key)) => write!(text, "[{key:?}]"),
                Symbol::Member(Selected::Index(index)) => write!(text, "[{index}]"),
                Symbol::Each(_) => write!(text, "[i]"),
            };
        }
        text
    }
}

fn whole<'f>(bits: &[Bit], filled: &mut impl Iterator<Item = &'f String>) -> String {
    let piece = |bit: &Bit| match bit {
        Bit::Text(text) => text.to_string(),
        Bit::Hole(_) => filled.next().cloned().unwrap_or_default(),
    };
    bits.iter().map(piece).collect()
}

fn bits_written(bits: &[Bit], ids: &dyn Fn(u32, u32) -> String) -> String {
    let one = |bit: &Bit| match bit {
        Bit::Text(text) => text.to_string(),
        Bit::Hole(Hole::Path(root, segments)) => {
            let path = segments.iter().fold(root_written(root, ids), |text, it| match it {
                Selected::Key(key) => format!("{text}.{key}"),
                Selected::Index(index) => format!("{text}[{index}]"),
            });
            format!("{{{path}}}")
        }
        Bit::Hole(Hole::Cel(text, _)) => format!("{{{text}}}"),
        Bit::Hole(Hole::Unknown(..)) => "{…}".to_owned(),
    };
    bits.iter().map(one).collect()
}

fn root_written(root: &Root, ids: &dyn Fn(u32, u32) -> String) -> String {
    match root {
        Root::Result(block, node) => format!("steps.{}", ids(*block, *node)),
        Root::Input(_) => "input".to_owned(),
        Root::Item(_) => "item".to_owned(),
        Root::Index(_) => "item_index".to_owned(),
        Root::State(_) => "state".to_owned(),
        Root::Iteration(_) => "state_iteration".to_owned(),
        Root::Error(_) => "error".to_owned(),
    }
}

/// Numbers of modes; reductions follow, by their operations.
pub const READS: u32 = 0;
pub const WRITES: u32 = 1;
pub const TAKES: u32 = 2;
pub const REDUCES: u32 = 3;

/// Whether steps may have one asset in two modes at the same time.
pub fn compatible(a: u32, b: u32) -> bool {
    a == b && (a == READS || a >= REDUCES)
}
