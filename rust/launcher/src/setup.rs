//! What the launcher does to itself before it starts anything.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// The last of the real-time signals.
const LAST_SIGNAL: libc::c_int = 64;

/// Leaves the engine's session, and gives back a descriptor that is readable once the engine is no
/// more.
pub(crate) fn prepare(engine: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: plain system calls. A `sigaction` of the kernel's that is all zeroes, 32 bytes at most,
    // stands for the default. Nothing of this program holds one of the descriptors that are closed: it
    // has just begun.
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
        // One more arena of memory for each thread would make the launcher larger, and with it all that
        // its children are said to have used.
        #[cfg(target_env = "gnu")]
        libc::mallopt(libc::M_ARENA_MAX, 1);
        // Now the first that is free, 3: no descriptor that comes later has a number that a child uses.
        let engine_descriptor = libc::syscall(libc::SYS_pidfd_open, engine, 0) as libc::c_int;
        check(engine_descriptor)?;
        let ended = OwnedFd::from_raw_fd(engine_descriptor);
        // It may have died before, and its number gone to another process.
        if libc::getppid() != engine {
            return Err(io::ErrorKind::NotConnected.into());
        }
        libc::prctl(libc::PR_SET_NAME, c"ferroflow-launcher".as_ptr());
        check(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1))?;
        Ok(ended)
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
