//! What the launcher does to itself before it starts anything.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// The last of the real-time signals.
const LAST_SIGNAL: libc::c_int = 64;

/// Leaves the engine's session, and gives back the descriptor that tells of SIGCHLD and SIGTERM.
pub(crate) fn prepare(engine: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: plain system calls. The signal sets are initialised by `sigemptyset` before they are
    // used; a
    // `sigaction` of the kernel's that is all zeroes, 32 bytes at most, stands for the default. Nothing of this program holds one of the descriptors that are closed: it has just begun.
    unsafe {
        check(libc::close_range(3, libc::c_uint::MAX, 0))?;
        check(libc::setsid())?;
        check(libc::chdir(c"/".as_ptr()))?;
        // The engine may ignore signals, as Python does SIGPIPE, and ignored signals stay ignored
        // in what is executed. Children find all as it is by default.
        // The C library would leave out the two signals that it uses itself.
        let default = [0u64; 4];
        for signal in 1..=LAST_SIGNAL {
            let none = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, size_of::<u64>());
        }
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()))?;
        // Now the first that is free, 3: no descriptor that comes later has a number that a child uses.
        let signals = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(signals)?;
        let signals = OwnedFd::from_raw_fd(signals);
        libc::prctl(libc::PR_SET_NAME, c"ferroflow-launcher".as_ptr());
        check(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1))?;
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM))?;
        // The engine may have died before it said that.
        if libc::getppid() != engine {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let flags = libc::fcntl(0, libc::F_GETFL);
        check(flags)?;
        check(libc::fcntl(0, libc::F_SETFL, flags | libc::O_NONBLOCK))?;
        Ok(signals)
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
