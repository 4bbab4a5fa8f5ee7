//! Values as bytes: MessagePack that is walked without being decoded.

use std::sync::Arc;

/// One stop on a path into a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    Key(Arc<str>),
    /// Negative counts from the end.
    Index(i64),
}

/// One item of MessagePack; lists and maps only announce what follows them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item<'b> {
    Nil,
    Bool(bool),
    Int(i64),
    /// An integer above what `Int` holds.
    Big(u64),
    Float(f64),
    Str(&'b str),
    Bytes(&'b [u8]),
    List(u32),
    Map(u32),
    Ext(i8, &'b [u8]),
}

impl Item<'_> {
    /// What it is, in the words of a definition's input types.
    pub fn kind(&self) -> &'static str {
        match self {
            Item::Nil => "null",
            Item::Bool(_) => "bool",
            Item::Int(_) | Item::Big(_) => "int",
            Item::Float(_) => "float",
            Item::Str(_) => "str",
            Item::Bytes(_) => "bytes",
            Item::List(_) => "list",
            Item::Map(_) => "map",
            Item::Ext(..) => "ext",
        }
    }
}

/// Bytes that are not MessagePack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at} is not well-formed MessagePack: {message}")]
pub struct Malformed {
    pub at: usize,
    pub message: &'static str,
}

/// Reads the item at `at`, and says where the next one starts.
pub fn item(bytes: &[u8], at: usize) -> Result<(Item<'_>, usize), Malformed> {
    let short = Malformed { at, message: "the bytes end in the middle of a value" };
    let take = |from: usize, len: usize| {
        let to = from.checked_add(len).ok_or_else(|| short.clone())?;
        bytes.get(from..to).ok_or_else(|| short.clone())
    };
    let number = |width: usize| -> Result<u64, Malformed> {
        Ok(take(at + 1, width)?.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    };
    let text = |from: usize, len: usize| {
        let text = std::str::from_utf8(take(from, len)?)
            .map_err(|_| Malformed { at, message: "a text is not UTF-8" })?;
        Ok((Item::Str(text), from + len))
    };
    let ext = |from: usize, len: usize| {
        Ok((Item::Ext(take(from, 1)?[0] as i8, take(from + 1, len)?), from + 1 + len))
    };
    let first = *bytes.get(at).ok_or_else(|| short.clone())?;
    Ok(match first {
        0x00..=0x7f => (Item::Int(i64::from(first)), at + 1),
        0x80..=0x8f => (Item::Map(u32::from(first & 15)), at + 1),
        0x90..=0x9f => (Item::List(u32::from(first & 15)), at + 1),
        0xa0..=0xbf => text(at + 1, usize::from(first & 31))?,
        0xc0 => (Item::Nil, at + 1),
        0xc1 => return Err(Malformed { at, message: "0xc1 is never used" }),
        0xc2 | 0xc3 => (Item::Bool(first == 0xc3), at + 1),
        0xc4..=0xc6 => {
            let width = 1 << (first - 0xc4);
            let (from, len) = (at + 1 + width, number(width)? as usize);
            (Item::Bytes(take(from, len)?), from + len)
        }
        0xc7..=0xc9 => {
            let width = 1 << (first - 0xc7);
            ext(at + 1 + width, number(width)? as usize)?
        }
        0xca => (Item::Float(f64::from(f32::from_bits(number(4)? as u32))), at + 5),
        0xcb => (Item::Float(f64::from_bits(number(8)?)), at + 9),
        0xcc..=0xcf => {
            let width = 1 << (first - 0xcc);
            let number = number(width)?;
            (i64::try_from(number).map_or(Item::Big(number), Item::Int), at + 1 + width)
        }
        0xd0 => (Item::Int(i64::from(number(1)? as i8)), at + 2),
        0xd1 => (Item::Int(i64::from(number(2)? as i16)), at + 3),
        0xd2 => (Item::Int(i64::from(number(4)? as i32)), at + 5),
        0xd3 => (Item::Int(number(8)? as i64), at + 9),
        0xd4..=0xd8 => ext(at + 1, 1 << (first - 0xd4))?,
        0xd9..=0xdb => {
            let width = 1 << (first - 0xd9);
            text(at + 1 + width, number(width)? as usize)?
        }
        0xdc => (Item::List(number(2)? as u32), at + 3),
        0xdd => (Item::List(number(4)? as u32), at + 5),
        0xde => (Item::Map(number(2)? as u32), at + 3),
        0xdf => (Item::Map(number(4)? as u32), at + 5),
        0xe0..=0xff => (Item::Int(i64::from(first as i8)), at + 1),
    })
}

/// Where the value that starts at `at` ends. No recursion, whatever the nesting.
pub fn skip(bytes: &[u8], mut at: usize) -> Result<usize, Malformed> {
    let mut left = 1u64;
    while left > 0 {
        let (item, next) = item(bytes, at)?;
        left -= 1;
        left += match item {
            Item::List(count) => u64::from(count),
            Item::Map(count) => 2 * u64::from(count),
            _ => 0,
        };
        at = next;
    }
    Ok(at)
}

/// Whether lists and maps nest deeper in the value than `limit`. No recursion.
pub fn nests_deeper(bytes: &[u8], limit: usize) -> bool {
    // Values that are left in each list or map that is open.
    let mut open: Vec<u64> = Vec::new();
    let mut at = 0;
    loop {
        let Ok((item, next)) = item(bytes, at) else { return false };
        at = next;
        match item {
            Item::List(count) => open.push(u64::from(count)),
            Item::Map(count) => open.push(2 * u64::from(count)),
            _ => {}
        }
        if open.len() > limit {
            return true;
        }
        while open.last() == Some(&0) {
            open.pop();
        }
        match open.last_mut() {
            Some(left) => *left -= 1,
            None => return false,
        }
    }
}

/// The elements of a list, as slices; `None` if the value is not a list.
pub fn elements(bytes: &[u8]) -> Result<Option<Vec<&[u8]>>, Malformed> {
    let (Item::List(count), mut at) = item(bytes, 0)? else { return Ok(None) };
    let mut out = Vec::new();
    for _ in 0..count {
        let end = skip(bytes, at)?;
        out.push(&bytes[at..end]);
        at = end;
    }
    Ok(Some(out))
}

/// A key and its value's bytes.
pub type Entry<'b> = (&'b str, &'b [u8]);

/// The entries of a map with text keys, in order; `None` if the value is not such a map.
pub fn entries(bytes: &[u8]) -> Result<Option<Vec<Entry<'_>>>, Malformed> {
    let (Item::Map(count), mut at) = item(bytes, 0)? else { return Ok(None) };
    let mut out = Vec::new();
    for _ in 0..count {
        let (Item::Str(key), from) = item(bytes, at)? else { return Ok(None) };
        let end = skip(bytes, from)?;
        out.push((key, &bytes[from..end]));
        at = end;
    }
    Ok(Some(out))
}

/// Why a path leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("there is no {missing} at {at}; there is {there}")]
    Missing { at: String, missing: String, there: String },
    #[error("{at} is {found}, which has no {wanted}")]
    WrongType { at: String, found: &'static str, wanted: String },
}

/// Follows a path through maps and lists. `root` is what the value is called in an error.
pub fn follow<'b>(root: &str, bytes: &'b [u8], segments: &[Segment]) -> Result<&'b [u8], PathError> {
    let mut value = bytes;
    for (depth, segment) in segments.iter().enumerate() {
        let at = || {
            segments[..depth].iter().fold(root.to_owned(), |text, segment| match segment {
                Segment::Key(key) => format!("{text}.{key}"),
                Segment::Index(index) => format!("{text}[{index}]"),
            })
        };
        let found = item(value, 0)?.0.kind();
        value = match segment {
            Segment::Key(key) => {
                let wanted = || format!("key {key:?}");
                let Some(entries) = entries(value)? else {
                    return Err(PathError::WrongType { at: at(), found, wanted: wanted() });
                };
                match entries.iter().rev().find(|(name, _)| *name == &**key) {
                    Some((_, value)) => value,
                    None => {
                        let names: Vec<&str> = entries.iter().take(8).map(|&(name, _)| name).collect();
                        let there = format!("{names:?}");
                        return Err(PathError::Missing { at: at(), missing: wanted(), there });
                    }
                }
            }
            Segment::Index(index) => {
                let wanted = || format!("element {index}");
                let Some(elements) = elements(value)? else {
                    return Err(PathError::WrongType { at: at(), found, wanted: wanted() });
                };
                let place = if *index < 0 { *index + elements.len() as i64 } else { *index };
                match usize::try_from(place).ok().and_then(|place| elements.get(place)) {
                    Some(value) => value,
                    None => {
                        let there = format!("a list of {}", elements.len());
                        return Err(PathError::Missing { at: at(), missing: wanted(), there });
                    }
                }
            }
        };
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rmpv::Value as Tree;

    fn encode(tree: &Tree) -> Vec<u8> {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, tree).unwrap();
        bytes
    }

    fn trees() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            Just(Tree::Nil),
            any::<bool>().prop_map(Tree::from),
            any::<i64>().prop_map(Tree::from),
            any::<u64>().prop_map(Tree::from),
            any::<f64>().prop_map(Tree::from),
            ".{0,40}".prop_map(Tree::from),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Tree::Binary),
            (any::<i8>(), proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(k, b)| Tree::Ext(k, b)),
        ];
        leaf.prop_recursive(4, 64, 20, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..20).prop_map(Tree::Array),
                proptest::collection::btree_map("[a-c]{1,2}", inner, 0..6)
                    .prop_map(|map| Tree::Map(map.into_iter().map(|(k, v)| (k.into(), v)).collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn skip_finds_the_end_of_what_a_decoder_reads(tree in trees(), rest in any::<[u8; 3]>()) {
            let mut bytes = encode(&tree);
            let end = bytes.len();
            prop_assert!((0..end).all(|short| skip(&bytes[..short], 0).is_err()));
            bytes.extend(rest);
            prop_assert_eq!(skip(&bytes, 0), Ok(end));
        }

        /// Req: P7.88, P8.93
        #[test]
        fn a_path_leads_where_decoding_leads(tree in trees(), turns in proptest::collection::vec((0usize..20, any::<bool>()), 0..5)) {
            let bytes = encode(&tree);
            let (mut at, mut segments) = (&tree, Vec::new());
            for (turn, backwards) in turns {
                match at {
                    Tree::Array(items) if !items.is_empty() => {
                        let index = turn % items.len();
                        at = &items[index];
                        let back = if backwards { items.len() as i64 } else { 0 };
                        segments.push(Segment::Index(index as i64 - back));
                    }
                    Tree::Map(entries) if !entries.is_empty() => {
                        let (key, value) = &entries[turn % entries.len()];
                        at = value;
                        segments.push(Segment::Key(key.as_str().unwrap().into()));
                    }
                    _ => break,
                }
            }
            prop_assert_eq!(follow("x", &bytes, &segments).unwrap(), &encode(at)[..]);
        }

        #[test]
        fn nesting_is_counted_as_decoding_counts_it(tree in trees(), limit in 0usize..6) {
            fn depth(tree: &Tree) -> usize {
                match tree {
                    Tree::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
                    Tree::Map(entries) => 1 + entries.iter().map(|(_, it)| depth(it)).max().unwrap_or(0),
                    _ => 0,
                }
            }
            prop_assert_eq!(nests_deeper(&encode(&tree), limit), depth(&tree) > limit);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = (skip(&bytes, 0), elements(&bytes), entries(&bytes));
            let _ = follow("x", &bytes, &[Segment::Index(0), Segment::Key("a".into())]);
        }
    }

    /// Req: P8.93
    #[test]
    fn a_path_that_leads_nowhere_says_how_far_it_got() {
        let bytes = encode(&Tree::Map(vec![("rows".into(), Tree::Array(vec![1.into()]))]));
        let error = |segments: &[Segment]| follow("steps.load", &bytes, segments).unwrap_err().to_string();
        let rows = Segment::Key("rows".into());
        assert_eq!(
            error(&[Segment::Key("row".into())]),
            "there is no key \"row\" at steps.load; there is [\"rows\"]"
        );
        assert_eq!(
            error(&[rows.clone(), Segment::Index(-2)]),
            "there is no element -2 at steps.load.rows; there is a list of 1"
        );
        assert_eq!(
            error(&[rows, Segment::Index(0), Segment::Key("x".into())]),
            "steps.load.rows[0] is int, which has no key \"x\""
        );
    }

    #[test]
    fn announced_lengths_are_not_believed() {
        assert!(skip(&[0xdd, 0xff, 0xff, 0xff, 0xff], 0).is_err());
        assert!(elements(&[0xdd, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
        assert!(skip(&[0x91u8].repeat(1_000_000), 0).is_err(), "deep nesting needs no stack");
    }
}
