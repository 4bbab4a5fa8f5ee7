//! A value that is being put together: what is long stays where it is, and has only its place here.

use ferroflow_journal::Bytes;
use ferroflow_journal::store::INLINE;

/// The extension type of a part: its number follows, in four bytes. It is never recorded.
const PART: i8 = 7;

/// Bytes of a part's place.
const PLACE: usize = 6;

#[derive(Default)]
pub(crate) struct Out {
    /// MessagePack, with places for the parts.
    pub bytes: Vec<u8>,
    /// The parts, with where their places are.
    parts: Vec<(usize, Bytes)>,
    /// Bytes that the parts have beyond those of their places.
    beyond: usize,
}

impl Out {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), ..Self::default() }
    }

    /// Appends a value that is a part of bytes which are kept.
    pub(crate) fn put(&mut self, value: &[u8], kept: &Bytes) {
        if value.len() <= INLINE {
            self.bytes.extend_from_slice(value);
            return;
        }
        let number = (self.parts.len() as u32).to_be_bytes();
        self.parts.push((self.bytes.len(), kept.slice_of(value)));
        rmp::encode::write_ext_meta(&mut self.bytes, 4, PART).expect("memory takes what is written");
        self.bytes.extend_from_slice(&number);
        self.beyond += value.len() - PLACE;
    }

    /// How many bytes the whole has.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + self.beyond
    }

    /// The value in one piece. One that is a part as a whole is not copied.
    pub(crate) fn whole(self) -> Bytes {
        match &self.parts[..] {
            [] => return self.bytes.into(),
            [(0, part)] if self.bytes.len() == PLACE => return part.clone(),
            _ => {}
        }
        let mut pieces: Vec<&[u8]> = Vec::with_capacity(2 * self.parts.len() + 1);
        let mut from = 0;
        for (at, part) in &self.parts {
            pieces.extend([&self.bytes[from..*at], part]);
            from = at + PLACE;
        }
        pieces.push(&self.bytes[from..]);
        Bytes::gather(&pieces)
    }

    /// The value with places for its parts, and the parts.
    pub(crate) fn apart(self) -> (Vec<u8>, Vec<Bytes>) {
        (self.bytes, self.parts.into_iter().map(|(_, part)| part).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_has_only_its_place_until_the_whole_is_wanted() {
        let long: Bytes = [&[0xc6, 0, 1, 0x86, 0xa0][..], &[7; 100_000]].concat().into();
        let items: Bytes = [&[0x92][..], &long, &long].concat().into();
        let mut out = Out::with_capacity(8);
        out.bytes.push(0x94);
        out.put(&[5], &Bytes::from(vec![5]));
        out.put(&long, &long);
        out.put(&items[1 + long.len()..], &items);
        out.bytes.push(0xc0);
        let expected = [&[0x94, 5][..], &long, &long, &[0xc0]].concat();
        assert_eq!((out.bytes.len(), out.len()), (15, expected.len()));
        assert_eq!(out.bytes, b"\x94\x05\xd6\x07\0\0\0\0\xd6\x07\0\0\0\x01\xc0");
        assert_eq!(*out.whole(), expected);

        let mut alone = Out::default();
        alone.put(&long, &long);
        assert_eq!(alone.whole().as_ptr(), long.as_ptr(), "it is not copied");
        let mut out = Out::default();
        out.put(&items[1..1 + long.len()], &items);
        let (bytes, parts) = out.apart();
        assert_eq!((bytes.len(), parts.len(), parts[0].as_ptr()), (PLACE, 1, items[1..].as_ptr()));
    }
}
