//! Digests: colours of steps, and constants in their standard form.

use rmp::encode::{write_array_len, write_bin, write_f64, write_map_len, write_sint, write_str};

use crate::value::{self, Item};

/// A hash that stands for a step, an edge or a block.
pub(super) type Colour = u128;

/// Adds a part with its length, so that no two sequences of parts look alike.
pub(super) fn put(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

pub(super) fn colour_of<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Colour {
    let mut hasher = blake3::Hasher::new();
    parts.into_iter().for_each(|part| put(&mut hasher, part));
    finish(&hasher)
}

pub(super) fn finish(hasher: &blake3::Hasher) -> Colour {
    Colour::from_le_bytes(hasher.finalize().as_bytes()[..16].try_into().expect("sixteen bytes"))
}

pub(super) fn mix(tag: &[u8], first: Colour, rest: &[Colour]) -> Colour {
    let mut hasher = blake3::Hasher::new();
    put(&mut hasher, tag);
    hasher.update(&first.to_le_bytes());
    rest.iter().for_each(|colour| {
        hasher.update(&colour.to_le_bytes());
    });
    finish(&hasher)
}

/// A constant with the keys of its maps sorted and its numbers as short as they go. The reader bounds
/// how deep it nests.
pub(super) fn constant(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    standard(bytes, &mut out);
    out
}

fn standard(bytes: &[u8], out: &mut Vec<u8>) {
    const SURE: &str = "memory takes what is written";
    match value::item(bytes, 0) {
        Ok((Item::List(_), _)) => {
            let items = value::elements(bytes).ok().flatten().unwrap_or_default();
            write_array_len(out, items.len() as u32).expect(SURE);
            items.into_iter().for_each(|item| standard(item, out));
        }
        Ok((Item::Map(_), _)) => match value::entries(bytes) {
            Ok(Some(mut entries)) => {
                entries.sort_by_key(|&(name, _)| name);
                write_map_len(out, entries.len() as u32).expect(SURE);
                for (name, bytes) in entries {
                    write_str(out, name).expect(SURE);
                    standard(bytes, out);
                }
            }
            _ => out.extend_from_slice(bytes),
        },
        Ok((Item::Int(number), _)) => {
            write_sint(out, number).expect(SURE);
        }
        Ok((Item::Float(number), _)) => write_f64(out, number).expect(SURE),
        Ok((Item::Str(text), _)) => write_str(out, text).expect(SURE),
        Ok((Item::Bytes(data), _)) => write_bin(out, data).expect(SURE),
        _ => out.extend_from_slice(bytes),
    }
}
