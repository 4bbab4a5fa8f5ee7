//! Ends what an earlier engine has left: processes that no launcher is responsible for any more.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ferroflow_launcher::stat::{Stat, each_process, variable};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::ENGINE_MARK;
use super::child::{Process, boot};

/// How long it is tried.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long what has been killed gets to die before it is looked for again.
const PAUSE: Duration = Duration::from_millis(5);

/// Ends what is left of the process group of a command of an earlier engine; false if something
/// still is after 5 seconds. A process that only has its number by chance is left alone.
pub fn kill_group(process: &Process) -> bool {
    if process.boot != boot() {
        return true;
    }
    until_none_is_left(|| {
        let marked = match Stat::of(process.pid) {
            // A number is given away only once its group has gone, too.
            Some(leader) if leader.started != process.started => return false,
            // It is still there: so all of this group is of the command.
            Some(_) => false,
            // This may be what is left of a later group, of whose leader we have never heard.
            None => true,
        };
        kill_where(|pid, stat| stat.group == process.pid && (!marked || engine_of(pid).is_some()))
    })
}

/// Ends all processes that an engine has started, directly or not; false if some are left after 5
/// seconds. Also those that hide their environment, beside one that does not.
pub fn sweep(mark: &str) -> bool {
    let marked = |pid| engine_of(pid).is_some_and(|it| it == mark.as_bytes());
    // Sessions of the engine's commands. All in a session come from who began it, and its number is not
    // given away while there are any.
    let mut sessions = BTreeSet::new();
    until_none_is_left(|| {
        let mut there = BTreeSet::new();
        each_process(|pid| {
            let Some(Stat { session, .. }) = Stat::of(pid) else { return };
            // 0: its leader is in another namespace, so that nothing is known of it.
            if session == 0 {
                return;
            }
            there.insert(session);
            // A daemon that has the mark from whoever asked it for something began a session for others, too.
            let began = || Stat::of(session).is_none_or(|leader| leader.is_over()) || marked(session);
            if !sessions.contains(&session) && marked(pid) && began() {
                sessions.insert(session);
            }
        });
        sessions.retain(|session| there.contains(session));
        kill_where(|pid, stat| sessions.contains(&stat.session) || marked(pid))
    })
}

/// Which engine has started a process: the last one, if there were several.
fn engine_of(pid: u32) -> Option<Vec<u8>> {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    variable(&environ, ENGINE_MARK).map(<[u8]>::to_owned)
}

/// Kills again and again, until none has been found twice: what is about to execute something has no
/// environment for a moment.
fn until_none_is_left(mut kill: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + PATIENCE;
    let mut clean = 0;
    while clean < 2 {
        if Instant::now() > until {
            return false;
        }
        clean = if kill() { 0 } else { clean + 1 };
        if clean < 2 {
            std::thread::sleep(PAUSE);
        }
    }
    true
}

/// Kills the living processes that are meant; false if there are none. One that can't be killed is there, too.
fn kill_where(meant: impl Fn(u32, &Stat) -> bool) -> bool {
    let mut found = false;
    each_process(|pid| {
        if pid == std::process::id() {
            return;
        }
        // Opened first: if the number goes to another process after that, the signal reaches nobody.
        let Some(process) = Pid::from_raw(pid as i32) else { return };
        let opened = pidfd_open(process, PidfdFlags::empty());
        if Stat::of(pid).is_some_and(|stat| !stat.is_over() && meant(pid, &stat)) {
            let killed = opened.and_then(|process| pidfd_send_signal(process, Signal::KILL));
            found |= killed != Err(Errno::SRCH);
        }
    });
    found
}
