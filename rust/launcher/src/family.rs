//! The commands that run, what has left them, and their ends.

use std::time::{Duration, Instant};

use ferroflow_launcher::message::{COMMAND_MARK, Status, Usage};
use ferroflow_launcher::stat::{Stat, each_process, variable};

/// How soon after a command has ended what it left behind is looked for, while others run and while
/// none does.
const BUSY: Duration = Duration::from_millis(1000);
const QUIET: Duration = Duration::from_millis(10);

/// A command that runs.
struct Member {
    id: u64,
    pid: libc::pid_t,
    started: u64,
    /// By which its processes can be recognised, wherever they have gone.
    mark: Option<Box<[u8]>>,
}

pub(crate) struct Family {
    me: u32,
    members: Vec<Member>,
    /// When to look for what has been left behind.
    look: Option<Instant>,
}

/// What has ended.
pub(crate) enum Death {
    Member {
        id: u64,
        status: Status,
        usage: Usage,
    },
    /// Something that a command had left behind.
    Other,
    /// Nothing, of children that there are.
    None,
    /// There are no children.
    Childless,
}

impl Family {
    pub(crate) fn new() -> Self {
        Self { me: std::process::id(), members: Vec::new(), look: None }
    }

    pub(crate) fn add(&mut self, id: u64, pid: libc::pid_t, started: u64, mark: Option<&[u8]>) {
        self.members.push(Member { id, pid, started, mark: mark.map(Into::into) });
    }

    /// Sends a signal to all of a command that runs.
    pub(crate) fn signal(&self, id: u64, signal: i32) {
        if let Some(member) = self.members.iter().find(|it| it.id == id) {
            kill_group(member.pid, signal);
        }
    }

    /// Takes note of one process that has ended, if one has.
    pub(crate) fn bury(&mut self) -> Death {
        // SAFETY: all zeroes is a `siginfo_t`, and the kernel fills it in.
        let (found, pid) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            let found = libc::waitid(libc::P_ALL, 0, &raw mut info, flags);
            (found, info.si_pid())
        };
        if found < 0 {
            self.look = None;
            return Death::Childless;
        }
        if pid == 0 {
            return Death::None;
        }
        let member = self.members.iter().position(|it| it.pid == pid);
        if member.is_some() {
            // While it is not waited for, no other group can have its number.
            kill_group(pid, libc::SIGKILL);
        }
        let mut status = 0;
        // SAFETY: all zeroes is an `rusage`; the kernel fills in both.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::wait4(pid, &raw mut status, 0, &raw mut usage);
            usage
        };
        let Some(index) = member else { return Death::Other };
        let Member { id, .. } = self.members.swap_remove(index);
        self.look_in(if self.members.is_empty() { QUIET } else { BUSY });
        let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
        Death::Member {
            id,
            status: if libc::WIFEXITED(status) {
                Status::Code(libc::WEXITSTATUS(status))
            } else {
                Status::Signal { signal: libc::WTERMSIG(status), core: libc::WCOREDUMP(status) }
            },
            usage: Usage {
                cpu: micros(usage.ru_utime) + micros(usage.ru_stime),
                peak: usage.ru_maxrss as u64,
                read: usage.ru_inblock as u64,
                written: usage.ru_oublock as u64,
            },
        }
    }

    fn look_in(&mut self, delay: Duration) {
        let at = Instant::now() + delay;
        self.look = Some(self.look.map_or(at, |earlier| earlier.min(at)));
    }

    /// How long there is nothing to look for; `None`: until a command ends.
    pub(crate) fn rest(&self) -> Option<Duration> {
        self.look.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Ends what ended commands have left behind, if it is time to look for it.
    pub(crate) fn look(&mut self) {
        if self.rest().is_some_and(|rest| rest.is_zero()) {
            self.look = None;
            // What it leaves behind in turn comes to us when it has ended.
            if self.end_adopted(false) {
                self.look_in(QUIET);
            }
        }
    }

    /// Kills all of everything. What is killed hands over its children, so this has to be done until
    /// there are none left.
    pub(crate) fn end_all(&mut self) {
        for member in &self.members {
            kill_group(member.pid, libc::SIGKILL);
        }
        self.end_adopted(true);
    }

    /// Kills processes that have become our children; false if there are none. Those of commands that
    /// still run only if `all`.
    fn end_adopted(&self, all: bool) -> bool {
        let mut found = false;
        each_process(|pid| {
            let Some(stat) = Stat::of(pid) else { return };
            let ours = stat.parent == self.me && !self.members.iter().any(|it| it.pid as u32 == pid);
            if !ours || stat.is_over() || !all && self.is_needed(pid, &stat) {
                return;
            }
            found = true;
            // It is our child: until we wait for it, the numbers of it and its group stay theirs.
            if stat.group != self.me && !self.members.iter().any(|it| it.pid as u32 == stat.group) {
                kill_group(stat.group as libc::pid_t, libc::SIGKILL);
            }
            // SAFETY: plain system call.
            unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
        });
        found
    }

    /// It belongs to a command that still runs, or may do so.
    fn is_needed(&self, pid: u32, stat: &Stat) -> bool {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        match variable(&environ, COMMAND_MARK) {
            Some(mark) => self.members.iter().any(|it| it.mark.as_deref() == Some(mark)),
            // It has hidden its environment. A command that began later is not where it comes from.
            None => self.members.iter().any(|it| it.started <= stat.started),
        }
    }
}

fn kill_group(group: libc::pid_t, signal: i32) {
    // SAFETY: plain system call.
    unsafe { libc::kill(-group, signal) };
}
