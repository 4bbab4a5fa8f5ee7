//! One child process, from its start to its end.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, OnceLock};

pub use ferroflow_engine::event::Process;
use ferroflow_launcher::message;
use rustix::process::Signal;

use super::error::{LauncherGone, Refusal};
use super::link::{Entry, Link, State};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Code(i32),
    Signal(i32),
}

/// What a process used, with those of its children that it waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu_micros: u64,
    /// Of physical memory, of the largest single process. What the launcher itself has, about 2 MB, is
    /// the least that can be seen.
    pub peak_bytes: u64,
    /// From and to disks.
    pub read_bytes: u64,
    pub written_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    pub status: Status,
    pub usage: Usage,
}

impl Exit {
    pub(super) fn new(status: message::Status, usage: message::Usage) -> Self {
        Self {
            status: match status {
                message::Status::Code(code) => Status::Code(code),
                message::Status::Signal { signal, .. } => Status::Signal(signal),
            },
            usage: Usage {
                cpu_micros: usage.cpu,
                peak_bytes: usage.peak.saturating_mul(1024),
                read_bytes: usage.read.saturating_mul(512),
                written_bytes: usage.written.saturating_mul(512),
            },
        }
    }
}

/// Which boot of the machine this is: the first bytes of the BLAKE3 hash of its id.
pub fn boot() -> u64 {
    static BOOT: OnceLock<u64> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let id = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let hash = blake3::hash(id.trim_ascii());
        u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    })
}

/// A command that was started. It is killed, with its group, if this is dropped before it has ended.
pub struct Child {
    link: Arc<Link>,
    id: u64,
    entry: Arc<Entry>,
    process: Process,
}

impl Child {
    /// Waits until the launcher says that it runs.
    pub(super) fn begin(link: Arc<Link>, id: u64, entry: Arc<Entry>) -> Result<Self, Refusal> {
        let mut known = entry.known.lock();
        let process = loop {
            match &known.state {
                State::Asked => entry.news.wait(&mut known),
                State::Runs(process) | State::Ended(process, _) => break *process,
                State::Refused(refusal) => return Err(refusal.clone()),
            }
        };
        drop(known);
        Ok(Self { link, id, entry, process })
    }

    pub fn process(&self) -> Process {
        self.process
    }

    /// Sends a signal to the whole process group, and returns when it has been sent. Nothing happens
    /// if the child has ended.
    pub fn signal(&self, signal: i32) -> Result<(), LauncherGone> {
        let number = {
            // Held until it is sent, so that acknowledgements come in the order of the numbers.
            let mut asked = self.entry.asked.lock();
            *asked += 1;
            self.link.kill(self.id, signal);
            *asked
        };
        let mut known = self.entry.known.lock();
        loop {
            match &known.state {
                State::Ended(_, exit) => return exit.as_ref().map(drop).map_err(Clone::clone),
                _ if known.acknowledged >= number => return Ok(()),
                _ => self.entry.news.wait(&mut known),
            }
        }
    }

    /// Readable once the child has ended, or its launcher.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.entry.ended.as_fd()
    }

    /// Waits for the end.
    pub fn wait(&self) -> Result<Exit, LauncherGone> {
        let mut known = self.entry.known.lock();
        loop {
            match &known.state {
                State::Ended(_, exit) => return exit.clone(),
                _ => self.entry.news.wait(&mut known),
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.link.is_ours() && !matches!(self.entry.known.lock().state, State::Ended(..)) {
            self.link.kill(self.id, Signal::KILL.as_raw());
        }
    }
}
