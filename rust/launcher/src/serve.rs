//! The loop: carries out what the engine asks for, and tells it what has ended.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use ferroflow_launcher::channel::Channel;
use ferroflow_launcher::message::{
    COMMAND_MARK, LARGEST, LARGEST_SPEC, Malformed, Reply, Request, Spec, Stage,
};
use ferroflow_launcher::stat::Stat;

use crate::family::{Death, Family};
use crate::start::start;

/// Replies that the engine has not taken. When there are more, nothing more is asked of it.
const MOST_REPLIES: usize = 1024;

/// How often the last ones are killed once more, when everything ends.
const AGAIN: Duration = Duration::from_millis(5);

pub(crate) struct Launcher {
    engine: Channel,
    signals: OwnedFd,
    family: Family,
    replies: VecDeque<Vec<u8>>,
    buffer: Box<[u8]>,
}

/// The engine is no more, or wants no more.
struct Gone;

impl From<Malformed> for Gone {
    fn from(_: Malformed) -> Self {
        Gone
    }
}

impl Launcher {
    pub(crate) fn new(signals: OwnedFd) -> io::Result<Self> {
        // SAFETY: standard input is the connection that the engine gives, and nobody else uses it.
        let engine = Channel::from(unsafe { OwnedFd::from_raw_fd(0) });
        let buffer = vec![0; LARGEST].into_boxed_slice();
        Ok(Self { engine, signals, family: Family::new(), replies: VecDeque::new(), buffer })
    }

    pub(crate) fn run(mut self) {
        while self.turn().is_ok() {}
        self.end();
    }

    fn turn(&mut self) -> Result<(), Gone> {
        let mut events = 0;
        if self.replies.len() < MOST_REPLIES {
            events |= libc::POLLIN;
        }
        if !self.replies.is_empty() {
            events |= libc::POLLOUT;
        }
        let engine = libc::pollfd { fd: 0, events, revents: 0 };
        let [engine, signals] = wait([engine, readable(&self.signals)], self.family.rest());
        if signals.revents != 0 {
            self.hear()?;
            self.bury();
        }
        self.family.look();
        if engine.revents & (libc::POLLIN | libc::POLLHUP | libc::POLLERR) != 0 {
            self.read()?;
        }
        self.write()
    }

    /// Takes the signals that have come.
    fn hear(&mut self) -> Result<(), Gone> {
        // SAFETY: all zeroes is a `signalfd_siginfo`.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = size_of_val(&info);
        // SAFETY: the descriptor is a signalfd, and writes whole structures.
        while unsafe { libc::read(self.signals.as_raw_fd(), (&raw mut info).cast(), size) } > 0 {
            if info.ssi_signo == libc::SIGTERM as u32 {
                return Err(Gone);
            }
        }
        Ok(())
    }

    fn bury(&mut self) {
        loop {
            match self.family.bury() {
                Death::Member { id, status, usage } => self.say(Reply::Exited { id, status, usage }),
                Death::Other => {}
                Death::None | Death::Childless => return,
            }
        }
    }

    fn say(&mut self, reply: Reply) {
        self.replies.push_back(reply.encode());
    }

    fn write(&mut self) -> Result<(), Gone> {
        while let Some(reply) = self.replies.front() {
            match self.engine.send(reply, &[]) {
                Ok(()) => drop(self.replies.pop_front()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Gone),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), Gone> {
        let (length, descriptors) = match self.engine.recv(&mut self.buffer) {
            Ok((0, _)) => return Err(Gone),
            Ok(message) => message,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return Err(Gone),
        };
        let reply = match Request::decode(&self.buffer[..length])? {
            Request::Spawn { id, spec } => spawn(&mut self.family, id, &spec, &descriptors),
            Request::SpawnLarge { id } => {
                let reply = spawn_large(&mut self.family, id, descriptors);
                forget_peak();
                reply
            }
            Request::Kill { id, signal } => {
                self.family.signal(id, signal);
                Reply::Killed { id }
            }
        };
        self.say(reply);
        Ok(())
    }

    /// Ends everything below.
    fn end(mut self) {
        loop {
            self.family.end_all();
            loop {
                match self.family.bury() {
                    Death::Member { .. } | Death::Other => {}
                    Death::None => break,
                    Death::Childless => return,
                }
            }
            wait([readable(&self.signals)], Some(AGAIN));
            let _ = self.hear();
        }
    }
}

fn spawn(family: &mut Family, id: u64, spec: &Spec<'_>, descriptors: &[OwnedFd]) -> Reply {
    if descriptors.len() != spec.descriptors() {
        // The engine sends them all; for what is missing there was no room.
        return Reply::Refused { id, stage: Stage::Descriptors, errno: libc::EMFILE };
    }
    match start(spec, descriptors) {
        Err((stage, errno)) => Reply::Refused { id, stage, errno },
        Ok(pid) => {
            let started = Stat::of(pid as u32).map_or(0, |stat| stat.started);
            let mark = spec
                .env
                .iter()
                .find_map(|entry| entry.to_bytes().strip_prefix(COMMAND_MARK.as_bytes())?.strip_prefix(b"="));
            family.add(id, pid, started, mark);
            Reply::Spawned { id, pid: pid as u32, started }
        }
    }
}

/// The spec is in the first of the descriptors.
fn spawn_large(family: &mut Family, id: u64, mut descriptors: Vec<OwnedFd>) -> Reply {
    let refuse = |stage, errno| Reply::Refused { id, stage, errno };
    if descriptors.is_empty() {
        return refuse(Stage::Descriptors, libc::EMFILE);
    }
    let mut file = File::from(descriptors.remove(0)).take(LARGEST_SPEC as u64);
    let mut bytes = Vec::new();
    let read = file.get_mut().rewind().and_then(|()| file.read_to_end(&mut bytes));
    match read.map(|_| Spec::decode(&bytes)) {
        Ok(Ok(spec)) => spawn(family, id, &spec, &descriptors),
        Ok(Err(Malformed)) => refuse(Stage::Spec, libc::EINVAL),
        Err(error) => refuse(Stage::Spec, error.raw_os_error().unwrap_or(libc::EIO)),
    }
}

/// A child is said to have used at least what the launcher has at its peak: so that is kept low.
fn forget_peak() {
    // Kernels without this only measure small children less well.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn readable(descriptor: &OwnedFd) -> libc::pollfd {
    libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 }
}

/// Waits until something has happened to one of the descriptors.
fn wait<const N: usize>(mut descriptors: [libc::pollfd; N], timeout: Option<Duration>) -> [libc::pollfd; N] {
    // Rounded up: who wakes too early only waits again, but does so without sleeping.
    let millis = timeout.map_or(-1, |it| it.as_micros().div_ceil(1000).min(60_000) as i32);
    // SAFETY: the array outlives the call. When it fails, nothing is said to have happened.
    unsafe { libc::poll(descriptors.as_mut_ptr(), N as libc::nfds_t, millis) };
    descriptors
}
