//! A flag that another thread raises, and that can be waited for with other descriptors.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// Asks a command to stop. Its clones are the same flag.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Flag>);

#[derive(Debug)]
struct Flag {
    set: AtomicBool,
    event: OwnedFd,
}

impl Stop {
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Flag { set: AtomicBool::new(false), event })))
    }

    /// Never blocks.
    pub fn set(&self) {
        if !self.0.set.swap(true, Ordering::SeqCst) {
            // It is written once, so that there is always room.
            let _ = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
        }
    }

    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::SeqCst)
    }
}

impl AsFd for Stop {
    /// Readable once it is set.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}
