//! What is to be run, and how that is put to the launcher.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use ferroflow_launcher::message::{self, COMMAND_MARK, LARGEST, LARGEST_SPEC, Request};
use rustix::fs::{MemfdFlags, memfd_create};

use super::ENGINE_MARK;
use super::error::SpawnError;

/// What a child may use at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of data in memory (RLIMIT_DATA): beyond, allocations fail.
    pub data: Option<u64>,
    /// Seconds of processor time (RLIMIT_CPU): then SIGXCPU, and 3 seconds later SIGKILL.
    pub cpu: Option<u64>,
}

/// A command to be started.
#[derive(Debug)]
pub struct Spec {
    /// The program, looked for in the child's PATH unless it contains `/`, and its arguments.
    pub argv: Vec<OsString>,
    /// All that the child gets, but for the marks.
    pub env: Vec<(OsString, OsString)>,
    /// Relative to the engine's own, which is also where the child runs if there is none.
    pub cwd: Option<PathBuf>,
    pub limits: Limits,
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// The child's descriptor 3.
    pub extra: Option<OwnedFd>,
    /// The directory of the control group (v2) that the child is to begin in.
    pub cgroup: Option<OwnedFd>,
}

/// A spec as the launcher takes it.
pub(super) struct Prepared<'s> {
    pub(super) message: Vec<u8>,
    large: Option<OwnedFd>,
    spec: &'s Spec,
}

impl Prepared<'_> {
    /// The descriptors that go with the message.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let Spec { stdin, stdout, stderr, extra, cgroup, .. } = self.spec;
        let large = self.large.as_ref();
        large.into_iter().chain([stdin, stdout, stderr]).chain(extra).chain(cgroup).map(AsFd::as_fd).collect()
    }
}

impl Spec {
    /// Where the child runs.
    pub(super) fn directory(&self) -> std::io::Result<PathBuf> {
        match &self.cwd {
            Some(path) if path.is_absolute() => Ok(path.clone()),
            Some(path) => Ok(std::env::current_dir()?.join(path)),
            None => std::env::current_dir(),
        }
    }

    /// The name of the program.
    pub(super) fn program(&self) -> &OsStr {
        self.argv.first().map_or(OsStr::new(""), |it| it)
    }

    pub(super) fn prepare(&self, id: u64, mark: &str) -> Result<Prepared<'_>, SpawnError> {
        if self.argv.is_empty() {
            return Err(SpawnError::Empty);
        }
        let text = |bytes: Vec<u8>| {
            CString::new(bytes).map_err(|error| SpawnError::Nul {
                text: String::from_utf8_lossy(&error.into_vec()).into_owned(),
            })
        };
        let directory = self.directory().map_err(|error| SpawnError::Directory {
            path: self.cwd.clone().unwrap_or_else(|| ".".into()),
            error,
        })?;
        let cwd = text(directory.into_os_string().into_vec())?;
        let argv: Vec<CString> =
            self.argv.iter().map(|it| text(it.as_bytes().to_owned())).collect::<Result<_, _>>()?;
        let marks = [(ENGINE_MARK, mark.to_owned()), (COMMAND_MARK, format!("{mark}.{id}"))];
        let mut env = Vec::with_capacity(self.env.len() + marks.len());
        for (name, value) in &self.env {
            if name.is_empty() || name.as_bytes().contains(&b'=') {
                return Err(SpawnError::Variable { name: name.clone() });
            }
            if !marks.iter().any(|(mark, _)| name == mark) {
                env.push(text([name.as_bytes(), b"=", value.as_bytes()].concat())?);
            }
        }
        for (name, value) in marks {
            env.push(text(format!("{name}={value}").into_bytes())?);
        }
        let spec = message::Spec {
            argv: argv.iter().map(|it| &**it).collect(),
            env: env.iter().map(|it| &**it).collect(),
            cwd: &cwd,
            data: self.limits.data,
            cpu: self.limits.cpu,
            extra: self.extra.is_some(),
            cgroup: self.cgroup.is_some(),
        };
        let request = Request::Spawn { id, spec: spec.clone() };
        let message = request.encode();
        if message.len() <= LARGEST {
            return Ok(Prepared { message, large: None, spec: self });
        }
        let mut bytes = Vec::new();
        spec.encode(&mut bytes);
        if bytes.len() > LARGEST_SPEC {
            return Err(SpawnError::TooLong);
        }
        let large = in_memory("ferroflow-spec", &bytes).map_err(|error| SpawnError::Other {
            what: "hand over the arguments",
            program: self.program().to_owned(),
            error,
        })?;
        Ok(Prepared { message: Request::SpawnLarge { id }.encode(), large: Some(large), spec: self })
    }
}

/// A file in memory, at its beginning.
pub(super) fn in_memory(name: &str, bytes: &[u8]) -> std::io::Result<OwnedFd> {
    use std::io::{Seek, Write};
    let mut file = std::fs::File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}
