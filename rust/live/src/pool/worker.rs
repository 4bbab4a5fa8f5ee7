//! The engine's end: a process of the pool, and the thread that waits for its bodies.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferroflow_engine::{Failure, event::WORKER_DIED};
use ferroflow_journal::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Down, Place, Up, in_file, post, take};
use crate::children::{Channel, Child, Children, Exit, Limits, SpawnError, Spec, Status, Stop};
use crate::engine::Engine;
use crate::taken::Taken;
use crate::types::Job;

/// How many files go along with a message; the kernel takes at most 253 (unix(7)).
const FILES: usize = 200;

/// How often the processor time is looked at of a body that may use only so much.
const LOOK: Duration = Duration::from_millis(200);

/// By how much a body may go over its processor time: until then it gets to know of it by a signal.
const LENIENCE: i64 = 1_500_000;

/// How long a process may take to end by itself once the engine hangs up.
const GOODBYE: Duration = Duration::from_secs(1);

/// A process that runs bodies.
pub struct PoolWorker {
    child: Child,
    channel: Channel,
    buffer: Vec<u8>,
    /// What it had used when the last body ended; unknown until it is ready.
    before: Option<Taken>,
    /// It takes no more bodies.
    gone: bool,
}

/// What a body came to.
pub enum Ran {
    Done(Bytes),
    Failed { error: Failure, retriable: bool },
}

/// Why the engine ends a body.
#[derive(Clone, Copy, PartialEq)]
enum Ending {
    Stopped { kill: Instant },
    Exceeded,
    Killed,
}

impl PoolWorker {
    /// Starts a process and greets it. What it prints goes where what this process prints goes.
    pub fn start(
        children: &Children,
        argv: Vec<OsString>,
        env: Vec<(OsString, OsString)>,
        cwd: Option<PathBuf>,
        hello: &[u8],
    ) -> Result<Self, SpawnError> {
        let failed = |error: io::Error| SpawnError::Other {
            what: "open what it is spoken to over",
            program: argv.first().cloned().unwrap_or_default(),
            error,
        };
        let (channel, theirs) = Channel::pair().map_err(failed)?;
        let spec = Spec {
            stdin: File::open("/dev/null").map_err(failed)?.into(),
            stdout: inherited(io::stdout().as_fd()).map_err(failed)?,
            stderr: inherited(io::stderr().as_fd()).map_err(failed)?,
            extra: Some(theirs.into()),
            cgroup: None,
            limits: Limits::default(),
            argv: argv.clone(),
            env,
            cwd,
        };
        let child = children.spawn(&spec)?;
        // Only the child has the other end from now on.
        drop(spec);
        // One that ends at once is not told; what has become of it, its first body gets to know.
        let _ = post(&channel, &Down::Hello(hello.into()), &[]);
        Ok(Self { child, channel, buffer: Vec::new(), before: None, gone: false })
    }

    /// Whether it can take another body: it may have died since the last one.
    pub fn is_alive(&self) -> bool {
        !self.gone && !self.has_ended(Duration::ZERO)
    }

    /// Whether the process has ended, or does so within a time.
    fn has_ended(&self, most: Duration) -> bool {
        let mut set = [PollFd::from_borrowed_fd(self.child.ended(), PollFlags::IN)];
        let _ = poll(&mut set, Some(&timespec(most)));
        !set[0].revents().is_empty()
    }

    /// Runs the body of an attempt, and says what it has taken, if that is known.
    pub fn run(
        &mut self,
        engine: &Engine,
        job: &Job,
        module: &str,
        arguments: &[u8],
    ) -> (Ran, Option<Taken>) {
        self.try_run(engine, job, module, arguments).unwrap_or_else(|error| {
            self.gone = true;
            let message = format!("what the process that ran the body says can't be heard: {error}");
            (Ran::Failed { error: Failure::new(WORKER_DIED, message), retriable: true }, None)
        })
    }

    fn try_run(
        &mut self,
        engine: &Engine,
        job: &Job,
        module: &str,
        arguments: &[u8],
    ) -> io::Result<(Ran, Option<Taken>)> {
        let stop = Stop::new()?;
        engine.spawned(&job.ticket, self.child.process());
        let (memory, cpu) = (job.limits.memory, job.limits.cpu);
        let (parts, files) = places(&job.parts)?;
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let told = post(
            &self.channel,
            &Down::Job {
                run: job.run.to_string(),
                step: job.ticket.step,
                token: job.ticket.token,
                attempt: job.attempt,
                task: Cow::Borrowed(&job.task),
                module: module.into(),
                memory,
                cpu,
                arguments: arguments.into(),
                parts,
            },
            &files,
        );
        if told.is_err() {
            return Ok(self.died(None));
        }
        let stopper = stop.clone();
        engine.on_stop(&job.ticket, Arc::new(move || stopper.set()));
        let before = cpu.and_then(|_| self.cpu());
        let mut ending: Option<Ending> = None;
        loop {
            let wait = match ending {
                Some(Ending::Stopped { kill }) => Some(kill.saturating_duration_since(Instant::now())),
                None if cpu.is_some() => Some(LOOK),
                _ => None,
            };
            let (said, over, stopped) = self.wait(&stop, ending.is_none(), wait)?;
            if said {
                let Some(files) = take(&self.channel, &mut self.buffer)? else {
                    return Ok(self.died(ending));
                };
                if let Some(found) = self.heard(engine, job, &files)? {
                    return Ok(found);
                }
                continue;
            }
            if over {
                return Ok(self.died(ending));
            }
            if stopped {
                self.child.signal(libc::SIGTERM);
                ending =
                    Some(Ending::Stopped { kill: Instant::now() + Duration::from_micros(job.grace as u64) });
            }
            if let Some(Ending::Stopped { kill }) = ending
                && kill <= Instant::now()
            {
                self.child.signal(libc::SIGKILL);
                ending = Some(Ending::Killed);
            }
            if ending.is_none()
                && let Some((most, before)) = cpu.zip(before)
                && self.cpu().is_some_and(|now| now - before > most + LENIENCE)
            {
                self.child.signal(libc::SIGKILL);
                ending = Some(Ending::Exceeded);
            }
        }
    }

    /// Waits for a message, the end of the process, or the word to stop: which of them came.
    fn wait(&self, stop: &Stop, stops: bool, most: Option<Duration>) -> io::Result<(bool, bool, bool)> {
        let interest = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let all: [BorrowedFd<'_>; 3] = [self.channel.as_fd(), self.child.ended(), stop.as_fd()];
        let mut set = all.map(interest);
        let set = if stops { &mut set[..] } else { &mut set[..2] };
        let most = most.map(timespec);
        match poll(set, most.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let came = |at: usize| set.get(at).is_some_and(|it| !it.revents().is_empty());
        Ok((came(0), came(1), came(2)))
    }

    /// Acts on what the process has said; some outcome once that is it.
    fn heard(
        &mut self,
        engine: &Engine,
        job: &Job,
        files: &[OwnedFd],
    ) -> io::Result<Option<(Ran, Option<Taken>)>> {
        let message = rmp_serde::from_slice(&self.buffer);
        let (ran, used) = match message.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            Up::Progress { percent, message } => {
                engine.progress(&job.ticket, percent, &message);
                return Ok(None);
            }
            Up::Beat => {
                engine.beat(&job.ticket);
                return Ok(None);
            }
            Up::Ask => {
                let around = engine.surroundings(&job.ticket).ok();
                post(
                    &self.channel,
                    &Down::Around(around.map(|it| Cow::Owned(serde_bytes::ByteBuf::from(it)))),
                    &[],
                )?;
                return Ok(None);
            }
            Up::Ready(used) => {
                self.before = Some(used.so_far);
                return Ok(None);
            }
            Up::Done { used, result } => (Ran::Done((&*result).into()), used),
            Up::DoneLong { used, place } => (Ran::Done(place.open(files)?), used),
            Up::Failed { used, code, message, details, retriable } => {
                let error =
                    Failure { code: (*code).into(), message: (*message).into(), details: (*details).into() };
                (Ran::Failed { error, retriable }, used)
            }
        };
        self.before = Some(used.so_far);
        Ok(Some((ran, Some(used.body))))
    }

    /// The process has ended, or hung up: it was told to, or something has killed it.
    fn died(&mut self, ending: Option<Ending>) -> (Ran, Option<Taken>) {
        self.gone = true;
        // Who closes what the engine speaks to it over need not end.
        let patience = match ending {
            Some(Ending::Stopped { kill }) => kill.saturating_duration_since(Instant::now()),
            _ => GOODBYE,
        };
        let hung_up = !self.has_ended(patience);
        if hung_up {
            self.child.signal(libc::SIGKILL);
        }
        let failed = |code: &str, message: String, retriable| Ran::Failed {
            error: Failure::new(code, message),
            retriable,
        };
        let Exit { status, usage } = match self.child.wait() {
            Ok(exit) => exit,
            Err(error) => return (failed(WORKER_DIED, error.to_string(), true), None),
        };
        let how = match status {
            Status::Signal(libc::SIGKILL) => {
                "was killed by SIGKILL: by somebody, or by the system for want of memory".to_owned()
            }
            Status::Signal(signal) => format!("was killed by {}", named(signal)),
            Status::Code(code) => format!("ended with exit status {code}"),
        };
        let ran = match (ending, status) {
            (Some(Ending::Exceeded), _) | (None, Status::Signal(libc::SIGXCPU)) => failed(
                "RESOURCE_EXCEEDED",
                "the body has used more processor time than it may use, and was ended".to_owned(),
                false,
            ),
            (Some(_), _) => {
                failed("CANCELLED", "the attempt was cancelled, and its process ended".to_owned(), false)
            }
            (None, _) if self.before.is_none() => failed(
                "WORKER_NOT_READY",
                format!("the process that was to run the body {how}, before it could take one"),
                true,
            ),
            (None, _) if hung_up => failed(
                WORKER_DIED,
                "the process that ran the body closed descriptor 3, over which the engine speaks to it, and was \
                 ended; leave that open"
                    .to_owned(),
                true,
            ),
            (None, Status::Code(_)) => {
                failed(WORKER_DIED, format!("the process that ran the body {how}, without a result"), true)
            }
            (None, Status::Signal(_)) => {
                failed(WORKER_DIED, format!("the process that ran the body {how}"), true)
            }
        };
        (ran, self.before.map(|before| Taken::from(usage).since(before)))
    }

    /// Processor time that the process has used, in microseconds.
    fn cpu(&self) -> Option<i64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.process().pid)).ok()?;
        // The name, in brackets, may hold anything; fields 14 and 15 are user and system time in ticks.
        let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<i64>().ok();
        Some((ticks()? + ticks()?) * 1_000_000 / rustix::param::clock_ticks_per_second() as i64)
    }

    /// Hangs up, and waits a moment for the process to end by itself; then it is killed.
    pub fn close(self) {
        self.channel.shut();
        if !self.gone {
            self.has_ended(GOODBYE);
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() }
}

/// Values in files that go along with a message. Each has one of its own, unless they are too many.
fn places(parts: &[Bytes]) -> io::Result<(Vec<Place>, Vec<Arc<OwnedFd>>)> {
    if parts.len() <= FILES {
        let files = parts.iter().map(in_file).collect::<io::Result<Vec<_>>>()?;
        let place = |(at, ((_, offset), part)): (usize, (&(Arc<OwnedFd>, usize), &Bytes))| Place {
            file: at as u32,
            offset: *offset as u64,
            len: part.len() as u64,
        };
        let places = files.iter().zip(parts).enumerate().map(place).collect();
        return Ok((places, files.into_iter().map(|(file, _)| file).collect()));
    }
    let together = Bytes::sealed(&parts.iter().map(|it| &**it).collect::<Vec<_>>())?;
    let (file, mut offset) = in_file(&together)?;
    let mut places = Vec::with_capacity(parts.len());
    for part in parts {
        places.push(Place { file: 0, offset: offset as u64, len: part.len() as u64 });
        offset += part.len();
    }
    Ok((places, vec![file]))
}

/// A copy of a descriptor of this process; nowhere, if it is closed.
fn inherited(descriptor: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    descriptor.try_clone_to_owned().or_else(|_| Ok(File::options().write(true).open("/dev/null")?.into()))
}

/// A signal as people know it.
fn named(signal: i32) -> String {
    let name = match signal {
        libc::SIGABRT => "SIGABRT, an abort",
        libc::SIGBUS => "SIGBUS, a bus error",
        libc::SIGFPE => "SIGFPE, an arithmetic error",
        libc::SIGHUP => "SIGHUP",
        libc::SIGILL => "SIGILL, an illegal instruction",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGSEGV => "SIGSEGV, a segmentation fault",
        libc::SIGTERM => "SIGTERM",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}
