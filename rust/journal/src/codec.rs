//! Events ↔ records. A record holds what one commit adds to one run:
//!
//! ```text
//! version u8 = 1 | crc32c u32 | previous link 32 | first sequence u64 | count u32 | MessagePack
//! ```
//!
//! Numbers are little-endian; the checksum covers all that follows it. A record's link is the
//! BLAKE3 hash of the whole record, so each link vouches for the whole run before it.

use ferroflow_engine::Event;

/// The hash over a run's records up to one of them; zeroes before the first.
pub type Link = [u8; 32];

const VERSION: u8 = 1;
const HEADER: usize = 1 + 4 + 32 + 8 + 4;

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("it is only {0} bytes long")]
    Short(usize),
    #[error("it has version {0}, and this program reads up to {VERSION}")]
    Version(u8),
    #[error("its checksum does not match: bytes were changed")]
    Checksum,
    #[error("it does not follow the record before it: a record was changed, removed or moved")]
    Chain,
    #[error("it begins with event {found}, and {expected} comes next")]
    Sequence { expected: u64, found: u64 },
    #[error("its events can't be read: {0}")]
    Events(String),
}

/// Makes the record of events, the first of which has this sequence number.
pub fn encode(previous: &Link, first: u64, events: &[Event]) -> (Vec<u8>, Link) {
    let mut bytes = Vec::with_capacity(HEADER + events.len() * 48);
    bytes.extend_from_slice(&[VERSION, 0, 0, 0, 0]);
    bytes.extend_from_slice(previous);
    bytes.extend_from_slice(&first.to_le_bytes());
    bytes.extend_from_slice(&(events.len() as u32).to_le_bytes());
    for event in events {
        rmp_serde::encode::write(&mut bytes, event).expect("memory takes what is written");
    }
    let crc = crc32c::crc32c(&bytes[5..]);
    bytes[1..5].copy_from_slice(&crc.to_le_bytes());
    let link = *blake3::hash(&bytes).as_bytes();
    (bytes, link)
}

/// The events of a record that has to follow the given link and sequence number.
pub fn decode(bytes: &[u8], previous: &Link, first: u64) -> Result<(Vec<Event>, Link), Damage> {
    if bytes.len() < HEADER {
        return Err(Damage::Short(bytes.len()));
    }
    if bytes[0] != VERSION {
        return Err(Damage::Version(bytes[0]));
    }
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    if crc32c::crc32c(&bytes[5..]) != number(1) {
        return Err(Damage::Checksum);
    }
    if bytes[5..37] != previous[..] {
        return Err(Damage::Chain);
    }
    let found = u64::from_le_bytes(bytes[37..45].try_into().expect("eight bytes"));
    if found != first {
        return Err(Damage::Sequence { expected: first, found });
    }
    let mut rest = &bytes[HEADER..];
    let mut events = Vec::new();
    for _ in 0..number(45) {
        let mut reader = rmp_serde::Deserializer::new(&mut rest);
        let event = serde::Deserialize::deserialize(&mut reader)
            .map_err(|error| Damage::Events(rmp_serde::decode::Error::to_string(&error)))?;
        events.push(event);
    }
    if !rest.is_empty() {
        return Err(Damage::Events(format!("{} bytes are left over", rest.len())));
    }
    Ok((events, *blake3::hash(bytes).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferroflow_engine::ids::Value;
    use ferroflow_engine::{Failure, Process, Used, What};
    use proptest::prelude::*;

    fn events() -> Vec<Event> {
        let value = || Value::Inline(b"\xa5hello".as_slice().into());
        vec![
            Event { at: 5, what: What::RunStarted { node: "here".into() } },
            Event { at: 6, what: What::StepStarted { step: 0, attempt: 1, token: 1 << 40 } },
            Event {
                at: 7,
                what: What::StepCompleted { step: 0, token: 1 << 40, value: value(), used: None },
            },
            Event {
                at: 8,
                what: What::Looped { step: 1, again: true, state: Value::Blob { hash: [9; 32], len: 7 } },
            },
            Event { at: 9, what: What::StepUsed { step: 0, token: 1 << 40, used: used() } },
            Event {
                at: 10,
                what: What::StepSpawned {
                    step: 2,
                    token: 3,
                    process: Process { pid: 4, started: 1 << 50, boot: u64::MAX },
                },
            },
            Event {
                at: 11,
                what: What::StepRetrying { step: 2, token: 3, error: error(), due: 9, used: Some(used()) },
            },
            Event { at: 12, what: What::StepTimedOut { step: 2, token: 4, error: error(), used: None } },
        ]
    }

    fn used() -> Used {
        Used { wall: 5, queued: 0, cpu: Some(4), memory: Some(1 << 35), read: None, written: Some(9) }
    }

    fn error() -> Failure {
        Failure { code: "BAD".into(), message: "as told".into(), details: "why".into() }
    }

    /// This record was written when outcomes did not tell what their attempts had used.
    #[test]
    fn records_without_later_fields_are_read() {
        let written = concat!(
            "012dc3fe64000000000000000000000000000000000000000000000000000000000000000001000000000000000400",
            "0000920781ad53746570436f6d706c657465649300cf000001000000000081a6496e6c696e65c406a568656c6c6f92",
            "0881ac537465705265747279696e6794010293a3424144a7617320746f6c64a377687909920981aa53746570466169",
            "6c656493010393a3424144a7617320746f6c64a3776879920a81ac5374657054696d65644f757493020493a3424144",
            "a7617320746f6c64a3776879",
        );
        let byte = |at| u8::from_str_radix(&written[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..written.len()).step_by(2).map(byte).collect();
        let value = Value::Inline(b"\xa5hello".as_slice().into());
        let events = [
            What::StepCompleted { step: 0, token: 1 << 40, value, used: None },
            What::StepRetrying { step: 1, token: 2, error: error(), due: 9, used: None },
            What::StepFailed { step: 1, token: 3, error: error(), used: None },
            What::StepTimedOut { step: 2, token: 4, error: error(), used: None },
        ];
        let events = events.into_iter().zip(7..).map(|(what, at)| Event { at, what }).collect();
        assert_eq!(decode(&bytes, &[0; 32], 1), Ok((events, *blake3::hash(&bytes).as_bytes())));
    }

    #[test]
    fn records_come_back_and_each_vouches_for_the_one_before() {
        let (one, link) = encode(&[0; 32], 1, &events());
        assert_eq!(decode(&one, &[0; 32], 1), Ok((events(), link)));
        let (two, _) = encode(&link, 9, &events());
        assert!(decode(&two, &link, 9).is_ok());
        assert_eq!(decode(&two, &[0; 32], 9), Err(Damage::Chain));
        assert_eq!(decode(&two, &link, 6), Err(Damage::Sequence { expected: 6, found: 9 }));
    }

    proptest! {
        #[test]
        fn every_flipped_bit_is_noticed(bit: prop::sample::Index) {
            let (mut record, _) = encode(&[3; 32], 1, &events());
            let bit = bit.index(record.len() * 8);
            record[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&record, &[3; 32], 1).is_err());
        }

        /// A decoder of hostile bytes ends in an error, never in a panic.
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 49..200)) {
            bytes[0] = 1;
            bytes[5..45].fill(0);
            let crc = crc32c::crc32c(&bytes[5..]).to_le_bytes();
            bytes[1..5].copy_from_slice(&crc);
            let _ = decode(&bytes, &[0; 32], 0);
        }
    }
}
