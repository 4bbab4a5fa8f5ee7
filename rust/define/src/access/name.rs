//! Names of assets: segments, of which a shorter name contains the longer ones that begin with it.

use std::fmt;
use std::sync::Arc;

/// A name may have so many bytes and segments.
pub const MAX_BYTES: usize = 1000;
pub const MAX_SEGMENTS: usize = 64;

/// One part of a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    Text(Arc<str>),
    /// What is from one number up to, and without, another.
    Range(u64, u64),
    /// One of so many parts, counted from 0.
    Part(u64, u64),
}

impl Segment {
    /// Whether two things directly inside the same asset have something in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Segment::Text(a), Segment::Text(b)) => a == b,
            (Segment::Range(a, b), Segment::Range(c, d)) => a < d && c < b,
            (Segment::Part(a, n), Segment::Part(b, m)) if n == m => a == b,
            // Nothing is known of how these lie.
            _ => true,
        }
    }

    pub fn is_selector(&self) -> bool {
        !matches!(self, Segment::Text(_))
    }
}

/// Reads a name: `lake/orders`, `/data/in.csv`, `orders[0:1000]`, `orders[3/8]`. The error says what is wrong.
pub fn parse(name: &str) -> Result<Vec<Segment>, String> {
    if name.len() > MAX_BYTES {
        return Err(format!("a name of {} bytes is too long: at most {MAX_BYTES}", name.len()));
    }
    let (path, selector) = split(name)?;
    let mut segments = Vec::new();
    for text in texts(path) {
        segments.push(Segment::Text(text?.into()));
    }
    segments.extend(selector);
    if segments.len() > MAX_SEGMENTS {
        return Err(format!("a name of {} segments is too long: at most {MAX_SEGMENTS}", segments.len()));
    }
    Ok(segments)
}

/// The segments of a path, with literal brackets as they are meant.
pub(super) fn texts(path: &str) -> impl Iterator<Item = Result<String, String>> + '_ {
    // What ends in a separator means the same without it.
    let path = if path.len() > 1 { path.strip_suffix('/').unwrap_or(path) } else { path };
    path.split('/').enumerate().map(move |(at, text)| {
        // A name that begins with a separator is an absolute one.
        if text.is_empty() && (at > 0 || path.len() <= 1) {
            return Err(format!("{path:?} has an empty part"));
        }
        if matches!(text, "." | "..") {
            return Err(format!("{path:?} has a part {text:?}: write what it stands for"));
        }
        if text.chars().any(char::is_control) {
            return Err(format!("{path:?} has a control character"));
        }
        Ok(text.replace("[[", "["))
    })
}

/// Divides a name from its selector.
pub(super) fn split(name: &str) -> Result<(&str, Option<Segment>), String> {
    let (path, inside) = brackets(name)?;
    let Some(inside) = inside else { return Ok((path, None)) };
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    let both = |mark| {
        let (first, second) = inside.split_once(mark)?;
        Some((number(first.trim())?, number(second.trim())?))
    };
    let selector = match (both(':'), both('/')) {
        (Some((from, to)), _) if from < to => Segment::Range(from, to),
        (_, Some((part, of))) if part < of => Segment::Part(part, of),
        _ => {
            return Err(format!(
                "{name:?} selects [{inside}]: write [from:to] with from < to, or [part/parts] with part < parts; \
                 a bracket that is part of a name is written [["
            ));
        }
    };
    Ok((path, Some(selector)))
}

/// Divides a name at the bracket that opens its selector, if it has one.
pub(super) fn brackets(name: &str) -> Result<(&str, Option<&str>), String> {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'[' {
            at += 1;
        } else if bytes.get(at + 1) == Some(&b'[') {
            at += 2;
        } else {
            let inside = name[at + 1..].strip_suffix(']');
            let inside = inside.ok_or_else(|| {
                format!("{name:?} has a bracket in its middle: a selector ends a name; a bracket that is part of a name is written [[")
            })?;
            return Ok((&name[..at], Some(inside)));
        }
    }
    Ok((name, None))
}

/// Whether two names have something in common: one contains the other, or their selectors meet.
pub fn overlap(a: &[Segment], b: &[Segment]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.overlaps(b))
}

/// A name as it is written.
pub struct Written<'s>(pub &'s [Segment]);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Text(text) => {
                    if at > 0 {
                        f.write_str("/")?;
                    }
                    f.write_str(&text.replace('[', "[["))?;
                }
                Segment::Range(from, to) => write!(f, "[{from}:{to}]")?,
                Segment::Part(part, of) => write!(f, "[{part}/{of}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn meet(a: &str, b: &str) -> bool {
        overlap(&parse(a).unwrap(), &parse(b).unwrap())
    }

    #[test]
    fn what_begins_with_a_name_is_inside_it() {
        assert!(meet("lake", "lake/raw/2026") && meet("lake/raw", "lake/raw/") && meet("/data", "/data/x"));
        assert!(!meet("lake/raw", "lake/raw2") && !meet("lake/a", "lake/b") && !meet("/data", "data"));
    }

    #[test]
    fn ranges_meet_as_intervals_do_and_parts_of_one_number_are_apart() {
        assert!(meet("t[0:10]", "t[9:11]") && !meet("t[0:10]", "t[10:11]") && meet("t", "t[1:2]"));
        assert!(meet("t[3/8]", "t[3/8]") && !meet("t[3/8]", "t[4/8]") && meet("t[3/8]", "t[0/4]"));
        assert!(meet("t[0:10]", "t[0/4]") && meet("t[0:10]", "t/x") && !meet("t[0:1]", "u[0:1]"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let wrong =
            ["", "/", "a//b", "a/..", ".", "a[1:1]", "a[2/2]", "a[x]", "a[1:2]/b", "a[", "a\u{7}b", "[0:1]"];
        wrong.into_iter().for_each(|name| assert!(parse(name).is_err(), "{name:?}"));
        assert!(parse(&"a/".repeat(65)).is_err() && parse(&"a".repeat(1001)).is_err());
    }

    proptest! {
        #[test]
        fn a_name_is_read_as_it_is_written(texts in proptest::collection::vec("[a-z\\[\\]{}:]{1,5}", 1..5), range in any::<Option<(u8, u8)>>()) {
            let mut segments: Vec<Segment> = texts.iter().map(|text| Segment::Text(text.as_str().into())).collect();
            segments.extend(range.map(|(a, b)| Segment::Range(u64::from(a), u64::from(a) + 1 + u64::from(b))));
            prop_assert_eq!(parse(&Written(&segments).to_string()).unwrap(), segments);
        }

        #[test]
        fn to_overlap_is_mutual(a in "[ab]{1,2}(/[ab]){0,2}(\\[[0-3]:[4-6]\\])?", b in "[ab]{1,2}(/[ab]){0,2}(\\[[0-3]/4\\])?") {
            prop_assert_eq!(meet(&a, &b), meet(&b, &a));
        }
    }
}
