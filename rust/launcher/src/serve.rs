//! The main thread: hears the engine, and ends what commands have left behind.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use ferroflow_launcher::channel::Channel;
use ferroflow_launcher::message::{Malformed, Reply, Request, Stage};

use crate::family::Family;
use crate::line;

/// Bytes that are enough for what comes here.
const LARGEST: usize = 64;

/// Of the threads, beyond what a command is started on.
const STACK: usize = 64 << 10;

/// How often adopted processes that have ended are asked for, while there are commands.
const TICK: Duration = Duration::from_secs(1);

/// How often the last ones are killed once more, when everything ends.
const AGAIN: Duration = Duration::from_millis(5);

pub(crate) struct Launcher {
    /// Readable once the engine is no more.
    gone: OwnedFd,
    engine: Channel,
    family: Arc<Family>,
}

/// The engine is no more, or wants no more.
struct Gone;

impl From<Malformed> for Gone {
    fn from(_: Malformed) -> Self {
        Gone
    }
}

impl Launcher {
    pub(crate) fn new(gone: OwnedFd) -> io::Result<Self> {
        // SAFETY: standard input is the connection that the engine gives, and nobody else uses it.
        let engine = Channel::from(unsafe { OwnedFd::from_raw_fd(0) });
        Ok(Self { gone, engine, family: Arc::new(Family::new()?) })
    }

    pub(crate) fn run(self) {
        while self.turn().is_ok() {}
        self.end();
    }

    fn turn(&self) -> Result<(), Gone> {
        let timeout = self.family.rest(TICK);
        let sources = [self.engine.as_fd().as_raw_fd(), self.gone.as_raw_fd(), self.family.wake()];
        let [said, gone, _] = wait(sources, timeout);
        if gone {
            return Err(Gone);
        }
        self.family.look();
        if said { self.hear() } else { Ok(()) }
    }

    fn hear(&self) -> Result<(), Gone> {
        let mut buffer = [0; LARGEST];
        let (length, mut descriptors) = match self.engine.recv(&mut buffer) {
            Ok((0, _)) | Err(_) => return Err(Gone),
            Ok(message) => message,
        };
        match Request::decode(&buffer[..length])? {
            Request::Kill { id, signal } => self.family.signal(id, signal),
            // Where there was no room for the descriptor, the engine sees at once that nobody has it.
            Request::Open => descriptors.drain(..).for_each(|it| self.open(it.into())),
            Request::Spawn { .. } | Request::SpawnLarge { .. } => return Err(Gone),
        }
        Ok(())
    }

    fn open(&self, channel: Channel) {
        let channel = Arc::new(channel);
        let (family, theirs) = (Arc::clone(&self.family), Arc::clone(&channel));
        let thread = std::thread::Builder::new().stack_size(STACK);
        if let Err(error) = thread.spawn(move || line::serve(&family, &theirs)) {
            // What it was opened for is about to come, and has to be taken before it can be refused.
            let _ = channel.recv(&mut []);
            let errno = error.raw_os_error().unwrap_or(libc::EAGAIN);
            let _ = channel.send(&Reply::Refused { stage: Stage::Fork, errno }.encode(), &[]);
        }
    }

    /// Ends everything below.
    fn end(self) {
        while self.family.end() {
            wait([self.family.wake()], Some(AGAIN));
        }
    }
}

/// Waits until something has happened to one of the descriptors, and says to which.
fn wait<const N: usize>(descriptors: [libc::c_int; N], timeout: Option<Duration>) -> [bool; N] {
    let mut set = descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    // Rounded up: who wakes too early only waits again, but does so without sleeping.
    let millis = timeout.map_or(-1, |it| it.as_micros().div_ceil(1000).min(60_000) as i32);
    // SAFETY: the array outlives the call. When it fails, nothing is said to have happened.
    unsafe { libc::poll(set.as_mut_ptr(), N as libc::nfds_t, millis) };
    set.map(|it| it.revents != 0)
}
