//! What bodies take of the machine, as the system measures it.

use ferroflow_engine::Micros;
use serde::{Deserialize, Serialize};

use crate::children::Usage;

/// What a body has taken, as far as that can be told of it alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Processor time in microseconds; of a process, with those that it has waited for.
    pub cpu: Option<Micros>,
    /// The most memory that its process had, in bytes.
    pub memory: Option<u64>,
    /// Bytes that came from, and went to, disks.
    pub read: Option<u64>,
    pub written: Option<u64>,
}

impl Taken {
    /// What the system says of a thread, a process, or its children so far.
    pub fn so_far(who: Whose) -> Self {
        let of = match who {
            Whose::Thread => libc::RUSAGE_THREAD,
            Whose::Process => libc::RUSAGE_SELF,
            Whose::Children => libc::RUSAGE_CHILDREN,
        };
        let mut found = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the pointer is to a `rusage` that lives for the call; zeroes are a valid one, so that it
        // may be read even if the call failed.
        let found = unsafe {
            libc::getrusage(of, found.as_mut_ptr());
            found.assume_init()
        };
        let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
        let cpu = match who {
            // `getrusage` knows only of what a thread had used at the last tick of the system's clock.
            Whose::Thread => thread_micros(),
            Whose::Process | Whose::Children => micros(found.ru_utime) + micros(found.ru_stime),
        };
        Self {
            cpu: Some(cpu),
            memory: Some(found.ru_maxrss as u64 * 1024),
            // Blocks are of 512 bytes, whatever the disk's are (getrusage(2)).
            read: Some(found.ru_inblock as u64 * 512),
            written: Some(found.ru_oublock as u64 * 512),
        }
    }

    /// What has come since then. The most memory is no sum, and stays what it is.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        let less = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        Self {
            cpu: self.cpu.zip(before.cpu).map(|(now, then)| now - then),
            memory: self.memory,
            read: less(self.read, before.read),
            written: less(self.written, before.written),
        }
    }
}

/// Processor time of this thread so far.
fn thread_micros() -> Micros {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a `timespec` that lives for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

impl From<Usage> for Taken {
    fn from(usage: Usage) -> Self {
        Self {
            cpu: Some(usage.cpu_micros as Micros),
            memory: Some(usage.peak_bytes),
            read: Some(usage.read_bytes),
            written: Some(usage.written_bytes),
        }
    }
}

/// Whose use of the machine is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Thread,
    Process,
    /// The children of this process that have ended.
    Children,
}
