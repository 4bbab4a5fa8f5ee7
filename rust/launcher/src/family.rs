//! The commands that run, what has left them, and their ends.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ferroflow_launcher::message::{COMMAND_MARK, Reply, Stage, Status, Usage};
use ferroflow_launcher::stat::{Stat, each_process, variable};

/// How soon after a command has ended what it left behind is looked for, while others run and while
/// none does.
const BUSY: Duration = Duration::from_millis(1000);
const QUIET: Duration = Duration::from_millis(10);

/// A command that runs, or is being started.
struct Member {
    id: u64,
    /// 0 while it is being started.
    pid: libc::pid_t,
    /// In clock ticks since the machine was booted; before all else while it is being started.
    started: u64,
    /// By which its processes can be recognised, wherever they have gone.
    mark: Option<Box<[u8]>>,
}

pub(crate) struct Family {
    me: u32,
    state: Mutex<State>,
    /// Readable once the main thread has to look earlier than it thinks.
    wake: OwnedFd,
}

#[derive(Default)]
struct State {
    members: Vec<Member>,
    /// When to look for what has been left behind.
    look: Option<Instant>,
    /// Everything is to end, and nothing more begins.
    ending: bool,
}

impl Family {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: plain system call.
        let wake = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if wake < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it has just been opened, and nobody else knows it.
        let wake = unsafe { OwnedFd::from_raw_fd(wake) };
        Ok(Self { me: std::process::id(), state: Mutex::default(), wake })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command is about to be started. From now on what bears its mark is left alone.
    pub(crate) fn expect(&self, id: u64, mark: Option<&[u8]>) -> Result<(), (Stage, libc::c_int)> {
        let mut state = self.lock();
        if state.ending {
            return Err((Stage::Fork, libc::ECANCELED));
        }
        state.members.push(Member { id, pid: 0, started: 0, mark: mark.map(Into::into) });
        Ok(())
    }

    /// It runs; says since when.
    pub(crate) fn began(&self, id: u64, pid: libc::pid_t) -> u64 {
        let started = Stat::of(pid as u32).map_or(0, |stat| stat.started);
        let mut state = self.lock();
        if state.ending {
            kill_group(pid, libc::SIGKILL);
        }
        if let Some(member) = state.members.iter_mut().find(|it| it.id == id) {
            (member.pid, member.started) = (pid, started);
        }
        started
    }

    /// It was not started.
    pub(crate) fn forget(&self, id: u64) {
        self.lock().members.retain(|it| it.id != id);
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.lock().ending
    }

    /// Sends a signal to all of a command that runs.
    pub(crate) fn signal(&self, id: u64, signal: i32) {
        let state = self.lock();
        if let Some(member) = state.members.iter().find(|it| it.id == id && it.pid != 0) {
            kill_group(member.pid, signal);
        }
    }

    /// Waits for the end of a command, of which then nothing is left in its group.
    pub(crate) fn wait(&self, pid: libc::pid_t) -> Reply {
        // SAFETY: all zeroes is a `siginfo_t`, and the kernel fills it in.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let flags = libc::WEXITED | libc::WNOWAIT;
            while libc::waitid(libc::P_PID, pid as libc::id_t, &raw mut info, flags) < 0
                && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
            {}
        }
        let mut state = self.lock();
        // While it is not waited for, no other group can have its number.
        kill_group(pid, libc::SIGKILL);
        let mut status = 0;
        // SAFETY: all zeroes is an `rusage`; the kernel fills in both.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::wait4(pid, &raw mut status, 0, &raw mut usage);
            usage
        };
        state.members.retain(|it| it.pid != pid);
        let delay = if state.members.is_empty() { QUIET } else { BUSY };
        if state.look_in(delay) || state.ending {
            self.rouse();
        }
        drop(state);
        let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
        Reply::Exited {
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
}

impl State {
    /// True if that is earlier than what was planned.
    fn look_in(&mut self, delay: Duration) -> bool {
        let at = Instant::now() + delay;
        let earlier = self.look.is_none_or(|planned| at < planned);
        if earlier {
            self.look = Some(at);
        }
        earlier
    }
}

/// What the main thread does. Only that adopts: children of other threads it neither sees nor waits for.
impl Family {
    /// Readable once there is something earlier to do than there was.
    pub(crate) fn wake(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    fn rouse(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: plain system call on a local.
        unsafe { libc::write(self.wake.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// How long there is nothing to do, at most `tick` if there are commands; `None`: for ever.
    pub(crate) fn rest(&self, tick: Duration) -> Option<Duration> {
        let state = self.lock();
        let look = state.look.map(|at| at.saturating_duration_since(Instant::now()));
        if state.members.is_empty() { look } else { Some(look.map_or(tick, |it| it.min(tick))) }
    }

    /// Ends what ended commands have left behind, if it is time to look for it, and takes note of what
    /// has ended of what was adopted.
    pub(crate) fn look(&self) {
        let mut count = [0; 8];
        // SAFETY: plain system call on a local.
        unsafe { libc::read(self.wake.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        let some = bury();
        let mut state = self.lock();
        if state.look.is_some_and(|at| at <= Instant::now()) {
            state.look = None;
            // What it leaves behind in turn comes to us when it has ended.
            if some && self.end_adopted(&state) {
                state.look_in(QUIET);
            }
        }
    }

    /// Kills all of everything; false once there is nothing left. What is killed hands over its children,
    /// so this has to be done until then.
    pub(crate) fn end(&self) -> bool {
        let mut state = self.lock();
        state.ending = true;
        for member in state.members.iter().filter(|it| it.pid != 0) {
            kill_group(member.pid, libc::SIGKILL);
        }
        self.end_adopted(&state);
        // Children of the last commands are adopted before these are waited for.
        let none = state.members.is_empty();
        drop(state);
        bury() || !none
    }

    /// Kills processes that have become our children; false if there are none. Those of commands that
    /// still run only when all ends.
    fn end_adopted(&self, state: &State) -> bool {
        let mut found = false;
        each_process(|pid| {
            let Some(stat) = Stat::of(pid) else { return };
            let is_member = |pid: u32| state.members.iter().any(|it| it.pid as u32 == pid);
            let ours = stat.parent == self.me && !is_member(pid);
            if !ours || stat.is_over() || !state.ending && state.needs(pid, &stat) {
                return;
            }
            found = true;
            // It is our child: until we wait for it, the numbers of it and its group stay theirs.
            if stat.group != self.me && !is_member(stat.group) {
                kill_group(stat.group as libc::pid_t, libc::SIGKILL);
            }
            // SAFETY: plain system call.
            unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
        });
        found
    }
}

impl State {
    /// A process belongs to a command that still runs, or may do so.
    fn needs(&self, pid: u32, stat: &Stat) -> bool {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        match variable(&environ, COMMAND_MARK) {
            Some(mark) => self.members.iter().any(|it| it.mark.as_deref() == Some(mark)),
            // It is about to execute its program, or has hidden its environment. A command that began
            // later is not where it comes from.
            None => self.members.iter().any(|it| it.started <= stat.started),
        }
    }
}

/// Takes note of adopted processes that have ended; false if there are no others.
fn bury() -> bool {
    loop {
        // SAFETY: all zeroes is a `siginfo_t`, and the kernel fills it in.
        let (found, pid) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let flags = libc::WEXITED | libc::WNOHANG | libc::__WNOTHREAD;
            (libc::waitid(libc::P_ALL, 0, &raw mut info, flags), info.si_pid())
        };
        if found < 0 {
            return false;
        }
        if pid == 0 {
            return true;
        }
    }
}

fn kill_group(group: libc::pid_t, signal: i32) {
    // SAFETY: plain system call.
    unsafe { libc::kill(-group, signal) };
}
