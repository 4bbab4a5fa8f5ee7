//! One child process, from its start to its end.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, OnceLock};

pub use ferroflow_engine::event::Process;
use ferroflow_launcher::channel::Channel;
use ferroflow_launcher::message::{self, Reply, Stage};
use rustix::io::Errno;
use rustix::process::Signal;

use super::error::{LauncherGone, Refusal};
use super::link::Link;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Code(i32),
    Signal(i32),
}

/// What a process used, with those of its children that it waited for; or all processes of a control group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu_micros: u64,
    /// Of physical memory: of all processes, with their files that the system holds in memory, where the
    /// control group tells; else of the largest single process, and what the launcher itself has, about 2 MB,
    /// is the least that can be seen.
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
    /// Until it is taken back.
    line: Option<Channel>,
    process: Process,
    exit: Option<Result<Exit, LauncherGone>>,
}

impl Child {
    /// Waits until the launcher says that it runs.
    pub(super) fn begin(link: Arc<Link>, id: u64, line: Channel) -> Result<Self, Refusal> {
        match link.hear(&line)? {
            Reply::Spawned { pid, started } => {
                let process = Process { pid, started, boot: boot() };
                Ok(Self { link, id, line: Some(line), process, exit: None })
            }
            Reply::Refused { stage, errno } => {
                link.put(line);
                Err(Refusal::Refused(stage, errno))
            }
            // This can't be said of what does not run.
            Reply::Exited { .. } => Err(Refusal::Refused(Stage::Spec, Errno::PROTO.raw_os_error())),
        }
    }

    pub fn process(&self) -> Process {
        self.process
    }

    /// Sends a signal to the whole process group; nothing happens if the child has ended.
    pub fn signal(&self, signal: i32) {
        if self.exit.is_none() {
            self.link.kill(self.id, signal);
        }
    }

    /// Readable once the child has ended, or its launcher, until it is waited for.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.line.as_ref().expect("it is taken back when this is dropped").as_fd()
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> Result<Exit, LauncherGone> {
        let line = self.line.as_ref().expect("it is taken back when this is dropped");
        let exit = self.exit.get_or_insert_with(|| match self.link.hear(line) {
            Ok(Reply::Exited { status, usage }) => Ok(Exit::new(status, usage)),
            Err(Refusal::Gone(gone)) => Err(gone),
            other => Err(LauncherGone { how: format!("it says {other:?}") }),
        });
        exit.clone()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.link.is_ours() {
            return;
        }
        match (&self.exit, self.line.take()) {
            (Some(Ok(_)), Some(line)) => self.link.put(line),
            (Some(_), _) | (_, None) => {}
            (None, Some(_)) => self.link.kill(self.id, Signal::KILL.as_raw()),
        }
    }
}
