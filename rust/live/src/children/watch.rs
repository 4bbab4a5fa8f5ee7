//! The loop that watches one command: its streams, its signs of life, its end, and the wish to stop.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;

use super::beat::{Beat, Lines};
use super::command::{Happened, Stream};
use super::pump::{Keep, Pipe, Read};
use super::{Child, CommandError, Stop};

/// How long pipes are still read after the command has ended: what it has left behind may hold them.
const LEFTOVERS: Duration = Duration::from_millis(200);

/// How long only the end is waited for once a stream is at its own: a program that ends closes one after
/// the other, and we would wake for each.
const CLOSING: Duration = Duration::from_millis(1);

/// Bytes that are read at a time.
const READ: usize = 64 << 10;

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

/// What a wait has been for.
#[derive(Clone, Copy)]
enum Source {
    Stream(usize),
    Beats,
    End,
    Stop,
}

pub(super) struct Watch<'w> {
    child: &'w Child,
    streams: [Pipe; 2],
    beats: Pipe,
    lines: Lines,
    buffer: Vec<u8>,
    grace: Duration,
    killed: bool,
    /// A stream has just come to its end.
    closing: bool,
    pub(super) keeps: [Keep; 2],
    /// When it was told to stop.
    pub(super) stopped: Option<Instant>,
    pub(super) ended: Option<Instant>,
    /// The stream to which it has written too much, and how much it may.
    pub(super) excess: Option<(Stream, usize)>,
}

impl<'w> Watch<'w> {
    pub(super) fn new(
        child: &'w Child,
        streams: [Pipe; 2],
        beats: Pipe,
        keeps: [Keep; 2],
        grace: Duration,
    ) -> Self {
        Self {
            child,
            streams,
            beats,
            lines: Lines::default(),
            buffer: vec![0; READ],
            grace,
            killed: false,
            closing: false,
            keeps,
            stopped: None,
            ended: None,
            excess: None,
        }
    }

    pub(super) fn run(
        &mut self,
        stop: &Stop,
        events: &mut dyn FnMut(Happened<'_>),
    ) -> Result<(), CommandError> {
        loop {
            let timeout = match (self.ended, self.stopped) {
                (Some(ended), _) => Some(LEFTOVERS.saturating_sub(ended.elapsed())),
                (None, Some(stopped)) if !self.killed => Some(self.grace.saturating_sub(stopped.elapsed())),
                _ => None,
            };
            let due = timeout.is_some_and(|timeout| timeout.is_zero());
            if self.ended.is_some() && (due || self.at_end()) {
                self.lines.end(&mut told(events));
                return Ok(());
            }
            if due {
                self.kill();
                continue;
            }
            for source in self.wait(stop, timeout)? {
                match source {
                    Source::Stream(index) => self.read(index, events)?,
                    Source::Beats => match self.beats.read(&mut self.buffer)? {
                        Read::Bytes(bytes) => self.lines.add(bytes, &mut told(events)),
                        Read::Later => {}
                        Read::End => self.closing = true,
                    },
                    Source::End => self.ended = Some(Instant::now()),
                    Source::Stop => {
                        self.stopped = Some(Instant::now());
                        self.child.signal(Signal::TERM.as_raw());
                    }
                }
            }
        }
    }

    /// Waits until something happens, and says what.
    fn wait(&mut self, stop: &Stop, timeout: Option<Duration>) -> io::Result<Vec<Source>> {
        let closing = std::mem::take(&mut self.closing) && self.ended.is_none();
        let timeout = if closing { Some(timeout.map_or(CLOSING, |it| it.min(CLOSING))) } else { timeout };
        let mut sources = Vec::with_capacity(5);
        let mut descriptors = Vec::with_capacity(5);
        let streams = self.streams.iter().enumerate();
        let pipes = streams.map(|(index, pipe)| (Source::Stream(index), pipe));
        for (source, descriptor) in pipes
            .chain([(Source::Beats, &self.beats)])
            .filter(|_| !closing)
            .filter_map(|(source, pipe)| Some((source, pipe.descriptor()?)))
            .chain(self.ended.is_none().then(|| (Source::End, self.child.ended())))
            .chain(self.stopped.is_none().then(|| (Source::Stop, stop.as_fd())))
        {
            sources.push(source);
            descriptors.push(PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
        }
        let timeout = timeout.map(|it| Timespec {
            tv_sec: i64::try_from(it.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: it.subsec_nanos().into(),
        });
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let happened = descriptors.iter().map(|it| !it.revents().is_empty());
        Ok(sources.into_iter().zip(happened).filter_map(|(source, it)| it.then_some(source)).collect())
    }

    fn at_end(&self) -> bool {
        self.streams.iter().chain([&self.beats]).all(|pipe| pipe.descriptor().is_none())
    }

    fn read(&mut self, index: usize, events: &mut dyn FnMut(Happened<'_>)) -> Result<(), CommandError> {
        let pipe = &mut self.streams[index];
        let bytes = match pipe.read(&mut self.buffer)? {
            Read::Bytes(bytes) => bytes,
            Read::Later => return Ok(()),
            Read::End => {
                self.closing = true;
                return Ok(());
            }
        };
        match self.keeps[index].add(bytes) {
            Ok(()) => events(Happened::Output(STREAMS[index], bytes)),
            Err(most) => {
                self.excess = Some((STREAMS[index], most));
                pipe.close();
                self.kill();
            }
        }
        Ok(())
    }

    fn kill(&mut self) {
        self.killed = true;
        self.child.signal(Signal::KILL.as_raw());
    }
}

fn told<'e>(events: &'e mut dyn FnMut(Happened<'_>)) -> impl FnMut(Beat) + 'e {
    |Beat { percent, message }| events(Happened::Beat { percent, message })
}
