//! Processes that run bodies for the engine, one after the other: what is said between the two, the
//! engine's end (`worker`), and the process's end (`service`).
//!
//! A message is MessagePack behind a byte that tells whether it is the message itself, or stands in a
//! file without a name that comes along: a long one, which no socket takes in one piece.

mod measure;
mod service;
mod worker;

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use ferroflow_journal::Bytes;
use serde::{Deserialize, Serialize};

use crate::children::Channel;
use crate::taken::Taken;

pub use self::service::{Call, Service};
pub use self::worker::{PoolWorker, Ran};

/// Bytes up to which a message goes through the socket itself.
const INLINE: usize = 64 << 10;

/// From the engine.
#[derive(Serialize, Deserialize)]
enum Down<'m> {
    /// What the program needs to know before the first body; it is not looked into here.
    Hello(#[serde(with = "serde_bytes", borrow)] Cow<'m, [u8]>),
    Job {
        run: String,
        step: u32,
        token: u64,
        attempt: u16,
        task: Cow<'m, str>,
        /// Where the function is imported from.
        module: Cow<'m, str>,
        /// Bytes of memory, and microseconds of processor time, that the body may use.
        memory: Option<u64>,
        cpu: Option<i64>,
        #[serde(with = "serde_bytes", borrow)]
        arguments: Cow<'m, [u8]>,
        /// Where the long values among these are.
        parts: Vec<Place>,
    },
    /// The answer to `Up::Ask`; none if the attempt no longer counts.
    Around(#[serde(borrow)] Option<Cow<'m, serde_bytes::Bytes>>),
}

/// From the process.
#[derive(Serialize, Deserialize)]
enum Up<'m> {
    /// It takes bodies from now on: what it has used by now is for none of them.
    Ready(Used),
    Progress {
        percent: f64,
        message: Cow<'m, str>,
    },
    Beat,
    /// Asks what surrounds the step.
    Ask,
    Done {
        used: Used,
        #[serde(with = "serde_bytes", borrow)]
        result: Cow<'m, [u8]>,
    },
    /// The same, with a result that is in a sealed file.
    DoneLong {
        used: Used,
        place: Place,
    },
    Failed {
        used: Used,
        code: Cow<'m, str>,
        message: Cow<'m, str>,
        details: Cow<'m, str>,
        retriable: bool,
    },
}

/// What the process has used: for the last body, and since it was started.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Used {
    body: Taken,
    so_far: Taken,
}

/// A value in a sealed file that comes with the message: which one of the files, and where in it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Place {
    file: u32,
    offset: u64,
    len: u64,
}

impl Place {
    fn open(self, files: &[OwnedFd]) -> io::Result<Bytes> {
        let file = files.get(self.file as usize).ok_or(io::ErrorKind::InvalidData)?;
        Bytes::open(file.try_clone()?, self.offset as usize, self.len as usize)
    }
}

/// Sends a message, with the files that it speaks of.
fn post(channel: &Channel, message: &impl Serialize, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut bytes = vec![0];
    rmp_serde::encode::write(&mut bytes, message).map_err(io::Error::other)?;
    if bytes.len() <= INLINE {
        return channel.send(&bytes, files);
    }
    let file = rustix::fs::memfd_create("ferroflow-message", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut rest = &bytes[1..];
    while !rest.is_empty() {
        rest = &rest[rustix::io::write(&file, rest)?..];
    }
    let mut all = vec![file.as_fd()];
    all.extend(files);
    channel.send(&[1], &all)
}

/// Waits for a message, puts it into the buffer, and returns its files; none once the other end is closed.
fn take(channel: &Channel, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<OwnedFd>>> {
    buffer.resize(INLINE, 0);
    let (len, mut files) = match channel.recv(buffer) {
        // It ended before it took all that it was sent.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
        received => received?,
    };
    match (len, buffer.first()) {
        (0, _) => return Ok(None),
        (_, Some(0)) => {
            buffer.truncate(len);
            buffer.remove(0);
        }
        (_, Some(1)) if !files.is_empty() => {
            let file = files.remove(0);
            let len = usize::try_from(rustix::fs::fstat(&file)?.st_size).map_err(io::Error::other)?;
            buffer.resize(len, 0);
            let mut at = 0;
            while at < len {
                match rustix::io::pread(&file, &mut buffer[at..], at as u64)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    more => at += more,
                }
            }
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }
    Ok(Some(files))
}

/// The sealed file that holds a value, and where in it; made if there is none.
fn in_file(bytes: &Bytes) -> io::Result<(Arc<OwnedFd>, usize)> {
    bytes.to_file()?.file().ok_or_else(|| io::Error::other("no file of memory can be kept open"))
}
