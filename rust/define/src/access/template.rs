//! Names of assets with holes in them: `lake/{input.day}/orders`.

use std::fmt;
use std::sync::Arc;

use super::name::{self, Segment, Written};
use crate::expr::Expr;

/// Stands for a hole while a template is taken apart. It is no character, so that no text needs it.
const HOLE: char = '\u{fdd0}';

/// A name that is known, or once the values of its holes are.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    pub parts: Vec<Part>,
}

/// A segment of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Known(Segment),
    /// A segment of text with holes.
    Open(Vec<Piece>),
    /// A selector with holes: what stands between its brackets.
    Select(Vec<Piece>),
}

/// A piece of a segment.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Text(Arc<str>),
    Hole(Expr),
}

impl Template {
    /// Reads a template. The error says what is wrong with it.
    pub fn parse(source: &str) -> Result<Self, String> {
        let (skeleton, holes) = skeleton(source)?;
        if skeleton.len() > name::MAX_BYTES {
            return Err(format!(
                "a name of {} bytes is too long: at most {}",
                skeleton.len(),
                name::MAX_BYTES
            ));
        }
        let mut holes = holes.into_iter();
        let (path, inside) = name::brackets(&skeleton)?;
        let mut parts = Vec::new();
        for text in name::texts(path) {
            let text = text?;
            parts.push(match text.contains(HOLE) {
                true => Part::Open(pieces(&text, &mut holes)),
                false => Part::Known(Segment::Text(text.into())),
            });
        }
        match inside {
            Some(inside) if inside.contains(HOLE) => {
                if !inside.contains([':', '/']) {
                    return Err(format!("{source:?} selects neither [from:to] nor [part/parts]"));
                }
                parts.push(Part::Select(pieces(inside, &mut holes)));
            }
            _ => parts.extend(name::split(&skeleton)?.1.map(Part::Known)),
        }
        if parts.len() > name::MAX_SEGMENTS {
            return Err(format!(
                "a name of {} segments is too long: at most {}",
                parts.len(),
                name::MAX_SEGMENTS
            ));
        }
        Ok(Self { parts })
    }

    /// The name, if nothing in it is open.
    pub fn known(&self) -> Option<Vec<Segment>> {
        let known = |part: &Part| match part {
            Part::Known(segment) => Some(segment.clone()),
            _ => None,
        };
        self.parts.iter().map(known).collect()
    }

    /// The expressions in its holes, from left to right.
    pub fn holes(&self) -> impl Iterator<Item = &Expr> {
        let pieces = self.parts.iter().flat_map(|part| match part {
            Part::Known(_) => &[][..],
            Part::Open(pieces) | Part::Select(pieces) => pieces,
        });
        pieces.filter_map(|piece| match piece {
            Piece::Hole(expr) => Some(expr),
            Piece::Text(_) => None,
        })
    }
}

/// The source with each hole as one mark, and the expressions in them.
fn skeleton(source: &str) -> Result<(String, Vec<Expr>), String> {
    if source.contains(HOLE) {
        return Err(format!("{source:?} has a code point that is no character"));
    }
    let (mut text, mut holes) = (String::new(), Vec::new());
    let mut rest = source;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
            text.push_str(&rest[..1]);
            rest = after;
            continue;
        }
        let end = rest.find('}').filter(|_| rest.starts_with('{'));
        let end = end.ok_or_else(|| {
            format!(
                "{source:?} has a brace without its other: a brace that is part of a name is written twice"
            )
        })?;
        holes.push(Expr::parse(rest[1..end].trim())?);
        text.push(HOLE);
        rest = &rest[end + 1..];
    }
    text.push_str(rest);
    Ok((text, holes))
}

fn pieces(text: &str, holes: &mut impl Iterator<Item = Expr>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (at, text) in text.split(HOLE).enumerate() {
        if at > 0 {
            pieces.extend(holes.next().map(Piece::Hole));
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.into()));
        }
    }
    pieces
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let braces = |text: &str| text.replace('{', "{{").replace('}', "}}");
        for (at, part) in self.parts.iter().enumerate() {
            if at > 0
                && !matches!(part, Part::Select(_))
                && !matches!(part, Part::Known(it) if it.is_selector())
            {
                f.write_str("/")?;
            }
            match part {
                Part::Known(segment) => {
                    f.write_str(&braces(&Written(std::slice::from_ref(segment)).to_string()))?
                }
                Part::Open(pieces) => {
                    for piece in pieces {
                        match piece {
                            Piece::Text(text) => f.write_str(&braces(&text.replace('[', "[[")))?,
                            Piece::Hole(expr) => write!(f, "{{{}}}", expr.source())?,
                        }
                    }
                }
                Part::Select(pieces) => {
                    f.write_str("[")?;
                    for piece in pieces {
                        match piece {
                            Piece::Text(text) => f.write_str(&braces(text))?,
                            Piece::Hole(expr) => write!(f, "{{{}}}", expr.source())?,
                        }
                    }
                    f.write_str("]")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_parts_of_segments() {
        let template = Template::parse("lake/day-{input.day}.csv/{{x}}/o[[[{item_index}/8]").unwrap();
        let holes: Vec<&str> = template.holes().map(Expr::source).collect();
        assert_eq!(holes, ["input.day", "item_index"]);
        assert_eq!(template.parts.len(), 5);
        assert_eq!(Template::parse(&template.to_string()), Ok(template.clone()));
        assert_eq!(template.known(), None);
    }

    #[test]
    fn without_holes_it_is_a_name() {
        for text in ["lake/orders", "/data/x", "orders[0:10]", "a[[b/c[1/2]"] {
            assert_eq!(Template::parse(text).unwrap().known(), Some(name::parse(text).unwrap()), "{text}");
            assert_eq!(Template::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for wrong in ["", "a/{x", "a/x}", "a/{1 +}", "a/{}", "a[{x}]", "a[{x}/8]/b", "a//{x}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
