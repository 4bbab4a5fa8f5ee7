//! The process's end: takes bodies, and says what they came to.

use std::borrow::Cow;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ferroflow_journal::{Bytes, LARGE};
use parking_lot::Mutex;

use super::measure::{Meter, limit, unlimit};
use super::{Down, Place, Up, Used, in_file, post, take};
use crate::children::Channel;

/// What the program of a process in the pool talks to the engine with.
pub struct Service {
    channel: Channel,
    meter: Mutex<Meter>,
    buffer: Mutex<Vec<u8>>,
    /// It has said that it takes bodies.
    ready: AtomicBool,
}

/// A body to be run.
pub struct Call {
    service: Arc<Service>,
    pub run: String,
    pub step: u32,
    pub token: u64,
    pub attempt: u16,
    pub task: String,
    pub module: String,
    pub memory: Option<u64>,
    pub cpu: Option<i64>,
    /// The long values among the arguments.
    pub parts: Vec<Bytes>,
    stopped: AtomicBool,
}

fn garbled(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the engine said what can't be understood: {error}"))
}

impl Service {
    pub fn new(channel: Channel) -> Self {
        Self {
            channel,
            meter: Mutex::new(Meter::new()),
            buffer: Mutex::default(),
            ready: AtomicBool::new(false),
        }
    }

    /// What the engine says first.
    pub fn hello(&self) -> io::Result<Vec<u8>> {
        let mut buffer = self.buffer.lock();
        if take(&self.channel, &mut buffer)?.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match rmp_serde::from_slice(&buffer).map_err(garbled)? {
            Down::Hello(bytes) => Ok(bytes.into_owned()),
            _ => Err(garbled("a greeting comes first")),
        }
    }

    /// Waits for the next body, and its arguments; none once the engine is gone.
    pub fn receive(self: &Arc<Self>) -> io::Result<Option<(Call, Vec<u8>)>> {
        if !self.ready.swap(true, Ordering::Relaxed) {
            post(&self.channel, &Up::Ready(self.meter.lock().end()), &[])?;
        }
        let mut buffer = self.buffer.lock();
        loop {
            let Some(files) = take(&self.channel, &mut buffer)? else { return Ok(None) };
            match rmp_serde::from_slice(&buffer).map_err(garbled)? {
                Down::Job { run, step, token, attempt, task, module, memory, cpu, arguments, parts } => {
                    let call = Call {
                        service: self.clone(),
                        run,
                        step,
                        token,
                        attempt,
                        task: task.into_owned(),
                        module: module.into_owned(),
                        memory,
                        cpu,
                        parts: parts.into_iter().map(|it| it.open(&files)).collect::<io::Result<_>>()?,
                        stopped: AtomicBool::new(false),
                    };
                    let arguments = arguments.into_owned();
                    self.meter.lock().begin();
                    limit(memory, cpu);
                    return Ok(Some((call, arguments)));
                }
                // What a body asked that has ended meanwhile.
                Down::Around(_) => {}
                Down::Hello(_) => return Err(garbled("a greeting comes first, and once")),
            }
        }
    }
}

impl Call {
    /// Reports how far the body is; false if it should stop.
    pub fn progress(&self, percent: f64, message: &str) -> bool {
        self.tell(&Up::Progress { percent, message: message.into() })
    }

    /// Says that it is alive; false if it should stop.
    pub fn beat(&self) -> bool {
        self.tell(&Up::Beat)
    }

    fn tell(&self, message: &Up<'_>) -> bool {
        post(&self.service.channel, message, &[]).is_ok() && !self.is_stopped()
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// The attempt no longer counts.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// What surrounds the step, as the engine knows it; none if the attempt no longer counts.
    pub fn surroundings(&self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = self.service.buffer.lock();
        post(&self.service.channel, &Up::Ask, &[])?;
        if take(&self.service.channel, &mut buffer)?.is_none() {
            return Ok(None);
        }
        match rmp_serde::from_slice(&buffer).map_err(garbled)? {
            Down::Around(found) => Ok(found.map(|bytes| bytes.into_owned().into_vec())),
            _ => Err(garbled("that is no answer")),
        }
    }

    pub fn done(&self, result: &Bytes) -> io::Result<()> {
        let used = self.measured();
        if result.len() < LARGE {
            return post(&self.service.channel, &Up::Done { used, result: (&**result).into() }, &[]);
        }
        let (file, offset) = in_file(result)?;
        let place = Place { file: 0, offset: offset as u64, len: result.len() as u64 };
        post(&self.service.channel, &Up::DoneLong { used, place }, &[file.as_fd()])
    }

    pub fn failed(&self, code: &str, message: &str, details: &str, retriable: bool) -> io::Result<()> {
        let used = self.measured();
        let [code, message, details] = [code, message, details].map(Cow::Borrowed);
        post(&self.service.channel, &Up::Failed { used, code, message, details, retriable }, &[])
    }

    fn measured(&self) -> Used {
        unlimit(self.memory, self.cpu);
        self.service.meter.lock().end()
    }
}
