//! A connection between two processes for whole messages and descriptors.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Descriptors that go with one message at most.
pub const MOST_DESCRIPTORS: usize = 16;

// SAFETY: it computes, and touches nothing.
const SPACE: usize = unsafe { libc::CMSG_SPACE((MOST_DESCRIPTORS * size_of::<RawFd>()) as u32) } as usize;

/// Room for control messages, aligned as they have to be.
#[repr(C)]
union Control {
    bytes: [u8; SPACE],
    _align: libc::cmsghdr,
}

/// One end of a SOCK_SEQPACKET connection. The ends of `pair` are closed in programs that the
/// process executes, and blocking.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    pub fn pair() -> io::Result<(Self, Self)> {
        let mut ends = [-1; 2];
        // SAFETY: `ends` has room for both descriptors.
        check(unsafe {
            libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr())
        })?;
        // SAFETY: both have just been opened, and nobody else knows them.
        Ok(unsafe { (Self(OwnedFd::from_raw_fd(ends[0])), Self(OwnedFd::from_raw_fd(ends[1]))) })
    }

    /// Sends one message. It must not be empty: that is how the end is told.
    pub fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if bytes.is_empty() || descriptors.len() > MOST_DESCRIPTORS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let mut control = Control { bytes: [0; SPACE] };
        // SAFETY: all zeroes is a message header.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        if !descriptors.is_empty() {
            let length = size_of_val(descriptors) as u32;
            header.msg_control = (&raw mut control).cast();
            // SAFETY: they compute, and touch nothing.
            header.msg_controllen = unsafe { libc::CMSG_SPACE(length) } as _;
            // SAFETY: `control` is aligned and has room for the header and `length` bytes after it;
            // a BorrowedFd is laid out as its number.
            unsafe {
                let first = libc::CMSG_FIRSTHDR(&raw const header);
                (*first).cmsg_level = libc::SOL_SOCKET;
                (*first).cmsg_type = libc::SCM_RIGHTS;
                (*first).cmsg_len = libc::CMSG_LEN(length) as _;
                libc::CMSG_DATA(first).copy_from_nonoverlapping(descriptors.as_ptr().cast(), length as usize);
            }
        }
        // SAFETY: the header refers to `bytes` and `control`, which outlive the call.
        retry(|| unsafe { libc::sendmsg(self.0.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) })?;
        Ok(())
    }

    /// Takes the next message: how long it is, and what came with it. 0 is the end. A process that
    /// has no room for more descriptors gets fewer than were sent.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut control = Control { bytes: [0; SPACE] };
        // SAFETY: all zeroes is a message header.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut control).cast();
        header.msg_controllen = SPACE as _;
        // SAFETY: the header refers to `buffer` and `control`, which outlive the call.
        let length =
            retry(|| unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) })?;
        let mut descriptors = Vec::new();
        // SAFETY: the kernel has filled in `control`, and says in the header how far; the macros
        // walk within that. The numbers are those of descriptors that it has just opened for us.
        unsafe {
            let mut next = libc::CMSG_FIRSTHDR(&raw const header);
            while let Some(message) = next.as_ref() {
                if (message.cmsg_level, message.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                    let whole: usize = message.cmsg_len as _;
                    let size = whole - libc::CMSG_LEN(0) as usize;
                    let numbers = libc::CMSG_DATA(next).cast::<RawFd>();
                    for index in 0..size / size_of::<RawFd>() {
                        descriptors.push(OwnedFd::from_raw_fd(numbers.add(index).read_unaligned()));
                    }
                }
                next = libc::CMSG_NXTHDR(&raw const header, next);
            }
        }
        if header.msg_flags & libc::MSG_TRUNC != 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is longer than the buffer"));
        }
        Ok((length, descriptors))
    }

    /// Tells the other end, in whatever processes there are copies of this one, that no more comes.
    pub fn shut(&self) {
        // SAFETY: plain system call. It fails only if the other end is gone.
        unsafe { libc::shutdown(self.0.as_raw_fd(), libc::SHUT_WR) };
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Channel {
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Calls again what a signal has interrupted.
fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        if let Ok(count) = usize::try_from(call()) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn messages_stay_whole_and_bring_descriptors() {
        let (left, right) = Channel::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        left.send(b"one", &[]).unwrap();
        left.send(b"two", &[writer.as_fd(), writer.as_fd()]).unwrap();
        drop(writer);
        let mut buffer = [0; 16];
        assert!(matches!(right.recv(&mut buffer), Ok((3, none)) if none.is_empty()));
        assert_eq!(&buffer[..3], b"one");
        let (length, mut descriptors) = right.recv(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], descriptors.len()), (&b"two"[..], 2));
        // SAFETY: plain system call.
        let flags = unsafe { libc::fcntl(descriptors[0].as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        File::from(descriptors.pop().unwrap()).write_all(b"hello").unwrap();
        drop(descriptors);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        drop(left);
        assert_eq!(right.recv(&mut buffer).unwrap().0, 0);
        assert_eq!(right.send(b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let (left, right) = Channel::pair().unwrap();
        assert_eq!(left.send(b"", &[]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let many = [left.as_fd(); MOST_DESCRIPTORS + 1];
        assert_eq!(left.send(b"x", &many).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        left.send(b"longer", &many[1..]).unwrap();
        assert_eq!(right.recv(&mut [0; 2]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        left.send(b"next", &many[1..]).unwrap();
        assert_eq!(right.recv(&mut [0; 16]).unwrap().1.len(), MOST_DESCRIPTORS);
        left.shut();
        assert_eq!(right.recv(&mut [0; 2]).unwrap().0, 0);
    }
}
