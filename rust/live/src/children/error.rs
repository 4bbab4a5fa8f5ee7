//! What goes wrong with children, and what to do about it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use ferroflow_launcher::message::{DEFAULT_PATH, Stage};
use rustix::io::Errno;

use super::command::Stream;
use super::spec::Spec;

/// The launcher has ended before its commands.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the launcher was killed ({how}), and all commands with it; the next command gets a new launcher. If \
     nobody has killed it, look for what the system log says of \"ferroflow-launcher\""
)]
pub struct LauncherGone {
    pub how: String,
}

/// Why a command did not start.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("the command is empty: it needs at least a program")]
    Empty,
    #[error("{text:?} contains a NUL character, which no argument, variable or path can")]
    Nul { text: String },
    #[error("{name:?} can't be the name of an environment variable: it is empty or contains `=`")]
    Variable { name: OsString },
    #[error("command {program:?} was not found in PATH ({path:?}); install it, or give its full path")]
    NotInPath { program: OsString, path: OsString },
    #[error("command {program:?} does not exist, seen from {directory:?}; correct its path")]
    NotFound { program: OsString, directory: PathBuf },
    #[error(
        "command {program:?} exists, but not the interpreter that its first line names, or the loader that \
         it needs; install that, or correct the line"
    )]
    NoInterpreter { program: PathBuf },
    #[error("command {program:?} can't be executed: permission denied; make it executable (chmod +x)")]
    NotExecutable { program: OsString },
    #[error(
        "command {program:?} is no program for this machine: exec format error; a script needs a first line \
         such as #!/bin/sh"
    )]
    Format { program: OsString },
    #[error(
        "the arguments and the environment are too long for Linux (128 KiB each, in all about 2 MiB); pass \
         what is large through standard input or a file"
    )]
    TooLong,
    #[error("the working directory {path:?} can't be entered: {error}; create it, or give another one")]
    Directory { path: PathBuf, error: io::Error },
    #[error("the limits of command {program:?} can't be set: {error}; raise or leave out its limits")]
    Limit { program: OsString, error: io::Error },
    #[error(
        "command {program:?} can't be started in a control group: {error}; correct what the engine is given as \
         cgroup, or give False"
    )]
    Cgroup { program: OsString, error: io::Error },
    #[error("can't {what} for command {program:?}: {error}")]
    Other { what: &'static str, program: OsString, error: io::Error },
    #[error("can't start the launcher of child processes: {error}")]
    Launcher { error: io::Error },
    #[error(
        "this process is a fork of the engine's, and can't start children through it; open an engine here"
    )]
    Forked,
    #[error(transparent)]
    Gone(#[from] LauncherGone),
}

/// Why there is no outcome of a command.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error(transparent)]
    Gone(#[from] LauncherGone),
    #[error(
        "the command wrote more than the {most} bytes to {stream} that are kept, and was killed; have it \
         write to a file, or raise the limit"
    )]
    TooMuchOutput { stream: Stream, most: usize },
    #[error("can't read the input {path:?}: {error}")]
    Input { path: PathBuf, error: io::Error },
    #[error("can't write the output {path:?}: {error}")]
    Output { path: PathBuf, error: io::Error },
    #[error("can't watch the command: {0}")]
    Io(#[from] io::Error),
    #[error("the command was stopped before it began")]
    Stopped,
}

/// Why the launcher did not start a command, or could not be asked.
#[derive(Debug)]
pub(super) enum Refusal {
    Refused(Stage, i32),
    Gone(LauncherGone),
}

impl Refusal {
    pub(super) fn explain(self, spec: &Spec) -> SpawnError {
        let (stage, errno) = match self {
            Refusal::Gone(gone) => return gone.into(),
            Refusal::Refused(stage, errno) => (stage, errno),
        };
        let error = io::Error::from_raw_os_error(errno);
        let program = spec.program().to_owned();
        let other = |what, error| SpawnError::Other { what, program: program.clone(), error };
        match stage {
            Stage::Directory => {
                SpawnError::Directory { path: spec.directory().unwrap_or_else(|_| ".".into()), error }
            }
            Stage::Limit => SpawnError::Limit { program, error },
            Stage::Cgroup => SpawnError::Cgroup { program, error },
            Stage::Fork => other("create a process", error),
            Stage::Session => other("create a session", error),
            Stage::Descriptors => other("hand over descriptors", error),
            Stage::Spec => other("hand over the arguments", error),
            Stage::Execute => match Errno::from_raw_os_error(errno) {
                Errno::NOENT => missing(spec),
                Errno::ACCESS => SpawnError::NotExecutable { program },
                Errno::NOEXEC => SpawnError::Format { program },
                Errno::TOOBIG => SpawnError::TooLong,
                _ => other("execute the program", error),
            },
        }
    }
}

/// What is missing, where something is.
fn missing(spec: &Spec) -> SpawnError {
    let program = spec.program();
    let directory = spec.directory().unwrap_or_else(|_| ".".into());
    if program.as_bytes().contains(&b'/') {
        return match directory.join(program) {
            there if there.is_file() => SpawnError::NoInterpreter { program: there },
            _ => SpawnError::NotFound { program: program.to_owned(), directory },
        };
    }
    let path = spec.env.iter().find(|(name, _)| name == "PATH");
    let path = path.map_or(OsStr::new(DEFAULT_PATH), |(_, value)| value).to_owned();
    let exists = |folder: PathBuf| Some(directory.join(folder).join(program)).filter(|it| it.is_file());
    match std::env::split_paths(&path).find_map(exists) {
        Some(program) if !program.as_os_str().is_empty() => SpawnError::NoInterpreter { program },
        _ => SpawnError::NotInPath { program: program.to_owned(), path },
    }
}
