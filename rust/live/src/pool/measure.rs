//! What a body takes of the process that runs it alone, and how it is held to its limits.

use std::fs::{File, OpenOptions};
use std::io::Write;

use super::Used;
use crate::taken::{Taken, Whose};

/// Measures one body after the other.
pub(super) struct Meter {
    /// Where the kernel is told to forget the most memory that the process has had.
    forget: Option<File>,
    before: Taken,
}

impl Meter {
    pub(super) fn new() -> Self {
        let forget = OpenOptions::new().write(true).open("/proc/self/clear_refs").ok();
        Self { forget, before: Taken::default() }
    }

    /// A body begins.
    pub(super) fn begin(&mut self) {
        if let Some(file) = &mut self.forget {
            // 5: the peak is what is there now (proc(5)). Where that can't be done, the peak is the process's.
            let _ = file.write_all(b"5");
        }
        self.before = taken();
    }

    /// It has ended.
    pub(super) fn end(&self) -> Used {
        let so_far = taken();
        Used { body: so_far.since(self.before), so_far }
    }
}

/// Of the process and of those it has waited for: what has been used so far.
fn taken() -> Taken {
    let (own, others) = (Taken::so_far(Whose::Process), Taken::so_far(Whose::Children));
    let sum = |a: Option<u64>, b: Option<u64>| Some(a? + b?);
    Taken {
        cpu: own.cpu.zip(others.cpu).map(|(a, b)| a + b),
        memory: own.memory,
        read: sum(own.read, others.read),
        written: sum(own.written, others.written),
    }
}

/// Lets the process have so much more data, and use so much more processor time, than it has now.
/// Microseconds count as whole seconds, rounded up.
pub(super) fn limit(memory: Option<u64>, cpu: Option<i64>) {
    if let Some(more) = memory {
        soft(libc::RLIMIT_DATA, data().saturating_add(more));
    }
    if let Some(more) = cpu {
        let used = Taken::so_far(Whose::Process).cpu.unwrap_or(0);
        soft(libc::RLIMIT_CPU, (used.saturating_add(more) as u64).div_ceil(1_000_000).max(1));
    }
}

/// Takes the limits away again.
pub(super) fn unlimit(memory: Option<u64>, cpu: Option<i64>) {
    if memory.is_some() {
        soft(libc::RLIMIT_DATA, libc::RLIM_INFINITY);
    }
    if cpu.is_some() {
        soft(libc::RLIMIT_CPU, libc::RLIM_INFINITY);
    }
}

/// Sets a soft limit, as far as the hard one allows.
fn soft(resource: libc::__rlimit_resource_t, most: u64) {
    let mut found = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a `rlimit` that lives for the call.
    unsafe {
        if libc::getrlimit(resource, &mut found) == 0 {
            found.rlim_cur = most.min(found.rlim_max);
            libc::setrlimit(resource, &found);
        }
    }
}

/// Bytes of data that count towards `RLIMIT_DATA`.
fn data() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        text.lines().find_map(|line| line.strip_prefix("VmData:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.map_or(0, |kib: u64| kib * 1024)
}
