//! One launcher, as long as it lives, and the lines over which it is asked for commands.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child as Program, ExitStatus};
use std::sync::Arc;

use ferroflow_launcher::channel::Channel;
use ferroflow_launcher::message::{Reply, Request, Stage};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::error::{LauncherGone, Refusal, SpawnError};
use super::spec::Prepared;
use super::sweep::sweep;

/// How long the end of everything is waited for when the engine closes.
const FAREWELL: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// How long after it has hung up a launcher has certainly died, if it has.
const DYING: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Lines that are kept for later commands. Each is a thread of the launcher's.
const MOST_IDLE: usize = 64;

/// Bytes that are enough for every reply.
const REPLY: usize = 256;

pub(super) struct Link {
    channel: Channel,
    idle: Mutex<Vec<Channel>>,
    state: Mutex<State>,
    /// Readable once the launcher has ended.
    ended: OwnedFd,
    pub(super) launcher: u32,
    /// The process that has started it: in a fork of that, nothing must be asked for.
    owner: u32,
    mark: String,
}

enum State {
    Runs(Program),
    Over(LauncherGone),
}

impl Link {
    pub(super) fn start(mark: &str) -> Result<Arc<Self>, SpawnError> {
        let failed = |error| SpawnError::Launcher { error };
        let (program, channel) = super::image::launch().map_err(failed)?;
        let launcher = program.id();
        let pid = i32::try_from(launcher).ok().and_then(Pid::from_raw).expect("a process has a number");
        // It is our child, and not yet waited for: the number is its own.
        let ended = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| failed(error.into()))?;
        Ok(Arc::new(Self {
            channel,
            idle: Mutex::default(),
            state: Mutex::new(State::Runs(program)),
            ended,
            launcher,
            owner: std::process::id(),
            mark: mark.to_owned(),
        }))
    }

    /// Asks for a command over a line, of which nobody else knows; `None` if the launcher is dead, and
    /// has not heard it.
    pub(super) fn ask(&self, request: &Prepared<'_>) -> Result<Option<Channel>, SpawnError> {
        let idle = self.idle.lock().pop();
        let asked = idle.map_or_else(|| self.open(), Ok).and_then(|line| {
            line.send(&request.message, &request.descriptors())?;
            Ok(line)
        });
        match asked {
            Ok(line) => Ok(Some(line)),
            Err(error) if has_hung_up(&error) && self.lost().is_some() => Ok(None),
            Err(error) => Err(SpawnError::Launcher { error }),
        }
    }

    fn open(&self) -> io::Result<Channel> {
        use std::os::fd::AsFd;
        let (ours, theirs) = Channel::pair()?;
        self.channel.send(&Request::Open.encode(), &[theirs.as_fd()])?;
        Ok(ours)
    }

    /// Takes back a line over which all has been said.
    pub(super) fn put(&self, line: Channel) {
        let mut idle = self.idle.lock();
        if idle.len() < MOST_IDLE {
            idle.push(line);
        }
    }

    /// What the launcher says next over a line.
    pub(super) fn hear(&self, line: &Channel) -> Result<Reply, Refusal> {
        let mut buffer = [0; REPLY];
        if let Ok((length @ 1.., _)) = line.recv(&mut buffer)
            && let Ok(reply) = Reply::decode(&buffer[..length])
        {
            return Ok(reply);
        }
        Err(match self.lost() {
            Some(gone) => Refusal::Gone(gone),
            // It had no room for the line.
            None => Refusal::Refused(Stage::Descriptors, Errno::MFILE.raw_os_error()),
        })
    }

    /// Asks for a signal. A launcher that is dead has no children.
    pub(super) fn kill(&self, id: u64, signal: i32) {
        let _ = self.channel.send(&Request::Kill { id, signal }.encode(), &[]);
    }

    pub(super) fn is_ours(&self) -> bool {
        self.owner == std::process::id()
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(*self.state.lock(), State::Over(_))
    }

    /// How the launcher died, if it has, once what it has left is ended.
    fn lost(&self) -> Option<LauncherGone> {
        self.ends_within(DYING).then(|| self.bury())
    }

    /// Ends the launcher, which ends all children.
    pub(super) fn end(&self) {
        self.channel.shut();
        if !self.ends_within(FAREWELL)
            && let State::Runs(program) = &mut *self.state.lock()
        {
            let _ = program.kill();
        }
        self.bury();
    }

    fn ends_within(&self, most: Timespec) -> bool {
        let mut set = [PollFd::new(&self.ended, PollFlags::IN)];
        while poll(&mut set, Some(&most)) == Err(Errno::INTR) {}
        !set[0].revents().is_empty()
    }

    /// Waits for the launcher that has ended. Who comes second waits until the first has done it.
    fn bury(&self) -> LauncherGone {
        let mut state = self.state.lock();
        let program = match &mut *state {
            State::Over(gone) => return gone.clone(),
            State::Runs(program) => program,
        };
        let ended = program.wait();
        // One that ends by itself has seen the last of its children. Where it was killed, the commands
        // have died with it, but what they had started has not.
        if !ended.as_ref().is_ok_and(ExitStatus::success) {
            sweep(&self.mark);
        }
        let gone =
            LauncherGone { how: ended.map_or_else(|error| error.to_string(), |status| status.to_string()) };
        *state = State::Over(gone.clone());
        gone
    }
}

fn has_hung_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
