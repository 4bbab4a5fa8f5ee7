//! One launcher, as long as it lives: what it is asked, and a thread that takes what it says.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use ferroflow_launcher::channel::Channel;
use ferroflow_launcher::message::{Reply, Request};
use parking_lot::{Condvar, Mutex};
use rustix::event::{EventfdFlags, eventfd};

use super::child::{Exit, Process, boot};
use super::error::{LauncherGone, Refusal, SpawnError};
use super::spec::Prepared;
use super::sweep::sweep;

/// How long the end of everything is waited for when the engine closes.
const FAREWELL: Duration = Duration::from_secs(5);

/// Bytes that are enough for every reply.
const REPLY: usize = 256;

/// What is known of one child.
pub(super) enum State {
    Asked,
    Refused(Refusal),
    Runs(Process),
    Ended(Process, Result<Exit, LauncherGone>),
}

pub(super) struct Known {
    pub(super) state: State,
    /// How many signals have been sent.
    pub(super) acknowledged: u64,
}

pub(super) struct Entry {
    pub(super) known: Mutex<Known>,
    pub(super) news: Condvar,
    /// Readable once it has ended.
    pub(super) ended: OwnedFd,
    /// How many signals have been asked for. Never taken while `known` is held.
    pub(super) asked: Mutex<u64>,
}

#[derive(Default)]
struct Entries {
    by_id: HashMap<u64, Arc<Entry>>,
    over: bool,
}

pub(super) struct Link {
    channel: Channel,
    entries: Mutex<Entries>,
    over: Condvar,
    pub(super) launcher: u32,
    /// The process that has started it: in a fork of that, nothing must be asked for.
    owner: u32,
}

impl Link {
    /// Starts a launcher and the thread that hears it. That thread starts it, too: a launcher lives no
    /// longer than the thread that has started it.
    pub(super) fn start(mark: &str) -> Result<Arc<Self>, SpawnError> {
        let (tell, told) = channel();
        let mark = mark.to_owned();
        std::thread::Builder::new()
            .name("ferroflow-child".to_owned())
            .spawn(move || live(&mark, &tell))
            .map_err(|error| SpawnError::Launcher { error })?;
        told.recv()
            .unwrap_or_else(|_| Err(std::io::Error::other("its thread has crashed: this is a bug")))
            .map_err(|error| SpawnError::Launcher { error })
    }

    /// Asks for a command; `None` if the launcher is dead, and has not heard it.
    pub(super) fn ask(&self, id: u64, request: &Prepared<'_>) -> Result<Option<Arc<Entry>>, SpawnError> {
        let ended = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| SpawnError::Launcher { error: error.into() })?;
        let entry = Arc::new(Entry {
            known: Mutex::new(Known { state: State::Asked, acknowledged: 0 }),
            news: Condvar::new(),
            ended,
            asked: Mutex::new(0),
        });
        let mut entries = self.entries.lock();
        if entries.over {
            return Ok(None);
        }
        entries.by_id.insert(id, Arc::clone(&entry));
        drop(entries);
        match self.channel.send(&request.message, &request.descriptors()) {
            Ok(()) => Ok(Some(entry)),
            Err(error) => {
                self.entries.lock().by_id.remove(&id);
                match error.kind() {
                    std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset => Ok(None),
                    _ => Err(SpawnError::Launcher { error }),
                }
            }
        }
    }

    /// Asks for a signal; the acknowledgement comes later. A launcher that is dead has no children.
    pub(super) fn kill(&self, id: u64, signal: i32) {
        let _ = self.channel.send(&Request::Kill { id, signal }.encode(), &[]);
    }

    pub(super) fn is_ours(&self) -> bool {
        self.owner == std::process::id()
    }

    pub(super) fn is_over(&self) -> bool {
        self.entries.lock().over
    }

    pub(super) fn wait_for_end(&self) {
        let mut entries = self.entries.lock();
        while !entries.over {
            self.over.wait(&mut entries);
        }
    }

    /// Ends the launcher, which ends all children.
    pub(super) fn end(&self) {
        self.channel.shut();
        let mut entries = self.entries.lock();
        if !entries.over {
            self.over.wait_for(&mut entries, FAREWELL);
        }
    }

    /// Takes what the launcher says until it says no more.
    fn listen(&self) {
        let mut buffer = [0; REPLY];
        while let Ok((length @ 1.., _)) = self.channel.recv(&mut buffer)
            && let Ok(reply) = Reply::decode(&buffer[..length])
        {
            self.take(reply);
        }
    }

    fn take(&self, reply: Reply) {
        let mut entries = self.entries.lock();
        let entry = match reply {
            Reply::Refused { id, .. } | Reply::Exited { id, .. } => entries.by_id.remove(&id),
            Reply::Spawned { id, .. } | Reply::Killed { id } => entries.by_id.get(&id).cloned(),
        };
        drop(entries);
        let Some(entry) = entry else { return };
        match reply {
            Reply::Spawned { pid, started, .. } => {
                entry.set(State::Runs(Process { pid, started, boot: boot() }));
            }
            Reply::Refused { stage, errno, .. } => {
                entry.set(State::Refused(Refusal::Refused(stage, errno)));
            }
            Reply::Killed { .. } => {
                entry.known.lock().acknowledged += 1;
                entry.news.notify_all();
            }
            Reply::Exited { status, usage, .. } => entry.end(Ok(Exit::new(status, usage))),
        }
    }

    /// Tells everybody who waits for something that it does not come.
    fn close(&self, gone: &LauncherGone) {
        let mut entries = self.entries.lock();
        entries.over = true;
        let left = std::mem::take(&mut entries.by_id);
        drop(entries);
        self.over.notify_all();
        for entry in left.into_values() {
            entry.end(Err(gone.clone()));
        }
    }
}

impl Entry {
    fn set(&self, state: State) {
        self.known.lock().state = state;
        self.news.notify_all();
    }

    fn end(&self, exit: Result<Exit, LauncherGone>) {
        let mut known = self.known.lock();
        known.state = match (&known.state, exit) {
            (State::Runs(process), exit) => State::Ended(*process, exit),
            (_, Err(gone)) => State::Refused(Refusal::Gone(gone)),
            (_, Ok(_)) => return,
        };
        drop(known);
        // A counter that has been added to can't be full.
        let _ = rustix::io::write(&self.ended, &1u64.to_ne_bytes());
        self.news.notify_all();
    }
}

type Told = std::io::Result<Arc<Link>>;

/// The life of a launcher.
fn live(mark: &str, tell: &Sender<Told>) {
    let (mut program, channel) = match super::image::launch() {
        Ok(started) => started,
        Err(error) => return drop(tell.send(Err(error))),
    };
    let link = Arc::new(Link {
        channel,
        entries: Mutex::default(),
        over: Condvar::new(),
        launcher: program.id(),
        owner: std::process::id(),
    });
    if tell.send(Ok(Arc::clone(&link))).is_ok() {
        link.listen();
    }
    // If it is not dead, it ends now: it has said what means nothing, or nobody waits for it.
    link.channel.shut();
    let ended = program.wait();
    // One that ends by itself has seen the last of its children. Where it was killed, the commands
    // have died with it, but what they had started has not.
    if !ended.as_ref().is_ok_and(ExitStatus::success) {
        sweep(mark);
    }
    link.close(&LauncherGone {
        how: ended.map_or_else(|error| error.to_string(), |status| status.to_string()),
    });
}
