//! Runs one command from its start to its end, and takes what it writes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::files::Part;
use super::pump::{Keep, Pipe};
use super::spec::in_memory;
use super::watch::Watch;
use super::{Children, CommandError, Limits, Process, Spec, Status, Stop, Usage, cgroup};

/// The child's descriptor for signs of life, and the variable that tells it.
const BEATS: &str = "3";
const BEATS_VARIABLE: &str = "FERROFLOW_FD";

/// What a command reads.
#[derive(Clone, Debug)]
pub enum Input {
    Null,
    Bytes(Vec<u8>),
    File(PathBuf),
}

/// What becomes of what a command writes.
#[derive(Clone, Debug)]
pub enum Output {
    Null,
    /// Of the output all is kept, and more than `most` bytes are an error; of errors the last.
    Capture {
        most: usize,
    },
    /// It gets its name when the command has ended: the output only if that was a success.
    File(PathBuf),
}

/// What becomes of what a command writes to its standard error.
#[derive(Clone, Debug)]
pub enum Errors {
    /// It goes where the output goes.
    Merge,
    Own(Output),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stream::Stdout => "its standard output",
            Stream::Stderr => "its standard error",
        })
    }
}

/// A command to be run to its end.
#[derive(Debug)]
pub struct Command {
    pub argv: Vec<OsString>,
    /// All that the child gets, but for what is ferroflow's own.
    pub env: Vec<(OsString, OsString)>,
    pub cwd: Option<PathBuf>,
    /// Where it has a control group that can do that, this holds it to the memory.
    pub limits: Limits,
    pub stdin: Input,
    pub stdout: Output,
    pub stderr: Errors,
    /// Give it a descriptor 3, named in FERROFLOW_FD, for signs of life.
    pub heartbeat: bool,
    /// How long it has between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// The exit codes that are a success.
    pub success: BTreeSet<i32>,
    /// Files that it writes are on disk before it is said to have ended.
    pub sync: bool,
}

impl Command {
    /// One that reads nothing, and of whose output and errors 1 MiB is kept.
    pub fn new(argv: Vec<OsString>) -> Self {
        let output = Output::Capture { most: 1 << 20 };
        Self {
            argv,
            env: Vec::new(),
            cwd: None,
            limits: Limits::default(),
            stdin: Input::Null,
            stdout: output.clone(),
            stderr: Errors::Own(output),
            heartbeat: false,
            grace: Duration::from_secs(10),
            success: BTreeSet::from([0]),
            sync: false,
        }
    }
}

/// What happens while a command runs.
#[derive(Debug)]
pub enum Happened<'h> {
    Spawned(Process),
    Output(Stream, &'h [u8]),
    /// A sign of life.
    Beat {
        percent: Option<f64>,
        message: String,
    },
}

/// A command that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    pub status: Status,
    pub usage: Usage,
    /// Whether it was killed for want of memory; `None` where its control group does not tell.
    pub out_of_memory: Option<bool>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// It was told to stop; it may have succeeded all the same.
    pub stopped: bool,
    pub wall: Duration,
}

/// Runs a command to its end. `events` is called by this thread.
pub fn run(
    children: &Children,
    command: Command,
    stop: &Stop,
    events: &mut dyn FnMut(Happened<'_>),
) -> Result<Finished, CommandError> {
    if stop.is_set() {
        return Err(CommandError::Stopped);
    }
    let stdin = match &command.stdin {
        Input::Null => File::open("/dev/null")?.into(),
        Input::Bytes(bytes) => in_memory("ferroflow-input", bytes)?,
        Input::File(path) => match File::open(path) {
            Ok(file) => file.into(),
            Err(error) => return Err(CommandError::Input { path: path.clone(), error }),
        },
    };
    let (mut output, stdout) = Sink::open(&command.stdout, Keep::all)?;
    let (mut errors, stderr) = match &command.stderr {
        Errors::Merge => (Sink::default(), stdout.try_clone()?),
        Errors::Own(own) => Sink::open(own, Keep::last)?,
    };
    let (beats, extra) = if command.heartbeat {
        let (reader, writer) = Pipe::new()?;
        (reader, Some(writer))
    } else {
        (Pipe::default(), None)
    };
    let mut env = command.env;
    if command.heartbeat {
        env.retain(|(name, _)| name != BEATS_VARIABLE);
        env.push((BEATS_VARIABLE.into(), BEATS.into()));
    }
    let spec = Spec {
        argv: command.argv,
        env,
        cwd: command.cwd,
        limits: command.limits,
        stdin,
        stdout,
        stderr,
        extra,
        cgroup: None,
    };
    let began = Instant::now();
    let (group, mut child) = cgroup::spawn(children, spec)?;
    events(Happened::Spawned(child.process()));
    let pipes = [&mut output.pipe, &mut errors.pipe].map(std::mem::take);
    let keeps = [&mut output.keep, &mut errors.keep].map(std::mem::take);
    let mut watch = Watch::new(&child, pipes, beats, keeps, command.grace);
    watch.run(stop, events)?;
    let Watch { ended, stopped, excess, keeps, .. } = watch;
    let exit = child.wait()?;
    let wall = ended.map_or_else(|| began.elapsed(), |ended| ended - began);
    let (usage, out_of_memory) = group.map_or((exit.usage, None), |group| group.finish(exit.usage));
    // What was said of a failure is wanted then above all.
    errors.keep_file(command.sync)?;
    if let Some((stream, most)) = excess {
        return Err(CommandError::TooMuchOutput { stream, most });
    }
    if matches!(exit.status, Status::Code(code) if command.success.contains(&code)) {
        output.keep_file(command.sync)?;
    }
    let [stdout, stderr] = keeps.map(Keep::into_bytes);
    let stopped = stopped.is_some();
    Ok(Finished { status: exit.status, usage, out_of_memory, stdout, stderr, stopped, wall })
}

/// Where a stream goes.
#[derive(Default)]
struct Sink {
    pipe: Pipe,
    keep: Keep,
    part: Option<Part>,
}

impl Sink {
    /// One, and the descriptor for the child.
    fn open(output: &Output, keep: fn(usize) -> Keep) -> Result<(Self, OwnedFd), CommandError> {
        let mut sink = Self::default();
        let theirs = match output {
            Output::Null => File::options().write(true).open("/dev/null")?.into(),
            Output::Capture { most } => {
                let (pipe, theirs) = Pipe::new()?;
                (sink.pipe, sink.keep) = (pipe, keep(*most));
                theirs
            }
            Output::File(path) => {
                let error = |error| CommandError::Output { path: path.clone(), error };
                let part = Part::create(path).map_err(error)?;
                let theirs = part.descriptor().map_err(error)?;
                sink.part = Some(part);
                theirs
            }
        };
        Ok((sink, theirs))
    }

    fn keep_file(&mut self, sync: bool) -> Result<(), CommandError> {
        let Some(part) = &mut self.part else { return Ok(()) };
        part.keep(sync).map_err(|error| CommandError::Output { path: part.name().to_owned(), error })
    }
}
