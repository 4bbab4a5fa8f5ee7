//! Pipes that never make their reader wait, and what is kept of what comes out of them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;

/// The end of a pipe that we read.
#[derive(Default)]
pub(super) struct Pipe(Option<OwnedFd>);

/// What one reading has brought.
pub(super) enum Read<'b> {
    Bytes(&'b [u8]),
    /// Nothing for now.
    Later,
    /// Nothing any more.
    End,
}

impl Pipe {
    /// A pipe, and the end for the child.
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = io::pipe()?;
        let reader = OwnedFd::from(reader);
        // A new pipe has no other flags.
        fcntl_setfl(&reader, OFlags::NONBLOCK)?;
        Ok((Self(Some(reader)), writer.into()))
    }

    /// What to wait for; `None` after the end.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    /// Whoever writes more is told that nobody reads.
    pub(super) fn close(&mut self) {
        self.0 = None;
    }

    pub(super) fn read<'b>(&mut self, buffer: &'b mut [u8]) -> io::Result<Read<'b>> {
        let Some(reader) = &self.0 else { return Ok(Read::End) };
        loop {
            return match rustix::io::read(reader, &mut *buffer) {
                Ok(0) => {
                    self.0 = None;
                    Ok(Read::End)
                }
                Ok(length) => Ok(Read::Bytes(&buffer[..length])),
                Err(Errno::AGAIN) => Ok(Read::Later),
                Err(Errno::INTR) => continue,
                Err(error) => Err(error.into()),
            };
        }
    }
}

/// What is kept of a stream.
#[derive(Default)]
pub(super) enum Keep {
    #[default]
    Nothing,
    /// All, which must be no more than so many bytes.
    All { most: usize, bytes: Vec<u8> },
    /// The last bytes.
    Last { most: usize, bytes: VecDeque<u8> },
}

impl Keep {
    pub(super) fn all(most: usize) -> Self {
        Keep::All { most, bytes: Vec::new() }
    }

    pub(super) fn last(most: usize) -> Self {
        Keep::Last { most, bytes: VecDeque::new() }
    }

    /// Fails, with how many bytes may come, if it is too much.
    pub(super) fn add(&mut self, more: &[u8]) -> Result<(), usize> {
        match self {
            Keep::Nothing => {}
            Keep::All { most, bytes } => {
                if more.len() > *most - bytes.len() {
                    return Err(*most);
                }
                bytes.extend(more);
            }
            Keep::Last { most, bytes } => {
                let more = &more[more.len().saturating_sub(*most)..];
                let surplus = (bytes.len() + more.len()).saturating_sub(*most);
                bytes.drain(..surplus);
                bytes.extend(more);
            }
        }
        Ok(())
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        match self {
            Keep::Nothing => Vec::new(),
            Keep::All { bytes, .. } => bytes,
            Keep::Last { bytes, .. } => bytes.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_kept_up_to_the_limit() {
        let mut keep = Keep::all(4);
        assert_eq!([&b"abc"[..], b"d", b"e"].map(|it| keep.add(it)), [Ok(()), Ok(()), Err(4)]);
        assert_eq!(keep.into_bytes(), b"abcd");
    }

    #[test]
    fn the_last_is_kept() {
        let mut keep = Keep::last(4);
        assert_eq!([&b"abc"[..], b"de", b""].map(|it| keep.add(it)), [Ok(()); 3]);
        assert_eq!(keep.into_bytes(), b"bcde");
        let mut keep = Keep::last(2);
        assert_eq!(keep.add(b"abcde"), Ok(()));
        assert_eq!(keep.into_bytes(), b"de");
    }
}
