//! Control groups of commands (cgroup v2): what they may use, what they have used, and an end for all of them.
//!
//! An engine has one group below its base, and that has one for each command. The engine's is locked as long
//! as the engine lives: so the next one tells which of those that it finds there are left over.

mod text;

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{Access, FlockOperation, access, flock, getxattr, statfs};
use rustix::io::Errno;

use super::{Child, Children, SpawnError, Spec, Usage};
use crate::orphans::is_mark;

/// What the kernel calls the file system (statfs(2)).
const CGROUP2: u64 = 0x6367_7270;

const PREFIX: &str = "ferroflow-";

/// Those that are needed, and after them those that only keep commands from each other.
const CONTROLLERS: [&str; 4] = ["memory", "io", "cpu", "pids"];

/// How long it is tried to end what is in a group, and how long that gets to die before the next try.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(1);

/// Below which group an engine makes its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    Nowhere,
    /// Where a service manager lets it, if that is anywhere.
    Delegated,
    At(PathBuf),
}

/// Why there can be no control groups below a path.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("cgroup={path:?} is no directory of cgroup v2; give one, such as /sys/fs/cgroup/NAME")]
    Foreign { path: PathBuf },
    #[error(
        "cgroup={base:?} can't be used, as {path:?} is not writable: {error}; have the group delegated to \
         this user, as `systemd-run --user -p Delegate=yes` does"
    )]
    Protected { base: PathBuf, path: PathBuf, error: io::Error },
    #[error(
        "cgroup={path:?} holds processes, so that groups below it can have no limits; move them into a group \
         below it (systemd: DelegateSubgroup=main), or give an empty one"
    )]
    Inhabited { path: PathBuf },
    #[error("cgroup={path:?} can't be used: its groups can't be ended at once; that needs Linux 5.14")]
    Old { path: PathBuf },
    #[error("cgroup={path:?} can't be used: {error}")]
    Other { path: PathBuf, error: io::Error },
}

/// The control groups of an engine's commands.
pub struct Cgroups {
    directory: PathBuf,
    /// Its lock. It is held until this is dropped, so that its number is that of no other file.
    lock: File,
    /// Without a group, no command is started.
    required: bool,
    next: AtomicU64,
    owner: u32,
}

impl Cgroups {
    /// `None` if there are to be none, or if nobody has asked for them and there can be none. Ends what
    /// engines have left below the base that are no more.
    pub fn open(base: &Base, mark: &str) -> Result<Option<Self>, CgroupError> {
        match base {
            Base::Nowhere => Ok(None),
            Base::Delegated => Ok(delegated().and_then(|path| Self::below(&path, mark, false).ok())),
            Base::At(path) => Self::below(path, mark, true).map(Some),
        }
    }

    fn below(base: &Path, mark: &str, required: bool) -> Result<Self, CgroupError> {
        let foreign = || CgroupError::Foreign { path: base.to_owned() };
        let path = base.canonicalize().map_err(|_| foreign())?;
        if !statfs(&path).is_ok_and(|it| it.f_type as u64 == CGROUP2) || !path.is_dir() {
            return Err(foreign());
        }
        may_fill(&path)?;
        let failed = |error| CgroupError::Other { path: path.clone(), error };
        enable(&path).map_err(failed)?;
        clear(&path).map_err(failed)?;
        let directory = path.join(name(mark));
        let lock = make_locked(&directory).map_err(failed)?;
        let owner = std::process::id();
        let cgroups = Self { directory, lock, required, next: AtomicU64::new(1), owner };
        enable(&cgroups.directory).map_err(failed)?;
        if !cgroups.directory.join("cgroup.kill").exists() {
            return Err(CgroupError::Old { path });
        }
        Ok(cgroups)
    }

    /// The group of the engine.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The descriptor that a fork must close, as it is not the engine.
    pub fn lock(&self) -> &File {
        &self.lock
    }

    /// Ends all commands.
    pub fn end(&self) {
        if self.owner == std::process::id() {
            end(&self.directory);
        }
    }

    fn group(&self, memory: Option<u64>) -> io::Result<Group> {
        let path = self.directory.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&path)?;
        Group::at(path, self.owner, memory)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        self.end();
    }
}

/// The control group of one command. When this is dropped, all that is in it is ended.
pub(super) struct Group {
    path: PathBuf,
    owner: u32,
    /// It holds its processes to their limit of memory.
    holds: bool,
}

impl Group {
    fn at(path: PathBuf, owner: u32, memory: Option<u64>) -> io::Result<Self> {
        let mut group = Self { path, owner, holds: false };
        if let Some(memory) = memory {
            group.holds = put(&group.path, "memory.max", &memory.to_string())?;
            // Without a limit of its own, swap would only put off the end; and half a command is of no use.
            put(&group.path, "memory.swap.max", "0")?;
            put(&group.path, "memory.oom.group", "1")?;
        }
        Ok(group)
    }

    /// Ends what is left, and says what all processes have used, where `waited` is what those have that were
    /// waited for; and whether they were killed for want of memory, if the kernel tells.
    pub(super) fn finish(self, waited: Usage) -> (Usage, Option<bool>) {
        let read = |name: &str| fs::read_to_string(self.path.join(name)).ok();
        let number = |name: &str, key: &str| text::number(&read(name)?, key);
        let io = read("io.stat").unwrap_or_default();
        let peak = read("memory.peak").and_then(|it| it.trim().parse().ok());
        // A group counts what has gone to disks, a process what is to go there later, too.
        let used = Usage {
            cpu_micros: number("cpu.stat", "usage_usec").unwrap_or(0).max(waited.cpu_micros),
            peak_bytes: peak.unwrap_or(waited.peak_bytes),
            read_bytes: text::sum(&io, "rbytes").max(waited.read_bytes),
            written_bytes: text::sum(&io, "wbytes").max(waited.written_bytes),
        };
        // The second alone tells that something above this group, or the machine, had no more.
        let events = ["oom", "oom_kill"].map(|key| number("memory.events", key).unwrap_or(0));
        (used, self.holds.then(|| events.iter().all(|&count| count > 0)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            end(&self.path);
        }
    }
}

/// Starts a command, in a control group if it can have one.
pub(super) fn spawn(children: &Children, mut spec: Spec) -> Result<(Option<Group>, Child), SpawnError> {
    let Some(cgroups) = children.cgroups() else { return Ok((None, children.spawn(&spec)?)) };
    let data = spec.limits.data;
    let made = cgroups.group(data).and_then(|group| Ok((OwnedFd::from(File::open(&group.path)?), group)));
    let started = match made {
        Ok((directory, group)) => {
            spec.cgroup = Some(directory);
            spec.limits.data = data.filter(|_| !group.holds);
            children.spawn(&spec).map(|child| (Some(group), child))
        }
        Err(error) => Err(SpawnError::Cgroup { program: spec.program().to_owned(), error }),
    };
    match started {
        Err(SpawnError::Cgroup { .. }) if !cgroups.required => {
            (spec.cgroup, spec.limits.data) = (None, data);
            Ok((None, children.spawn(&spec)?))
        }
        other => other,
    }
}

/// What the group of an engine is called.
pub(crate) fn name(mark: &str) -> String {
    format!("{PREFIX}{mark}")
}

/// Ends all that is in a group or below it, and removes that; false if that can't be done within 5 seconds.
pub(crate) fn end(group: &Path) -> bool {
    let until = Instant::now() + PATIENCE;
    while !remove(group) {
        if Instant::now() > until {
            return false;
        }
        let _ = put(group, "cgroup.kill", "1");
        std::thread::sleep(PAUSE);
    }
    true
}

/// Removes a group and those below it; false if there is something in them.
fn remove(group: &Path) -> bool {
    let removed = || match fs::remove_dir(group) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if removed() {
        return true;
    }
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            remove(&entry.path());
        }
    }
    removed()
}

/// The group directly above that of this process, if a service manager has delegated it.
fn delegated() -> Option<PathBuf> {
    let base = own()?.parent()?.to_owned();
    let says = |name| {
        let mut value = [0; 2];
        getxattr(&base, name, &mut value).is_ok_and(|length| value[..length] == *b"1")
    };
    ["user.delegate", "trusted.delegate"].into_iter().any(says).then_some(base)
}

/// The group of this process.
fn own() -> Option<PathBuf> {
    let read = |file: &str| fs::read(Path::new("/proc/self").join(file)).ok();
    text::directory(&read("mountinfo")?, text::group(&read("cgroup")?)?)
}

/// Whether groups can be made below one, and processes be started in them.
fn may_fill(base: &Path) -> Result<(), CgroupError> {
    // To bring a process from one group into another takes the right to what both are in.
    let own = own().unwrap_or_default();
    let both = base.components().zip(own.components()).take_while(|(one, other)| one == other);
    let both: PathBuf = both.map(|(one, _)| one).collect();
    for path in [base.to_owned(), base.join("cgroup.subtree_control"), both.join("cgroup.procs")] {
        if let Err(error @ (Errno::ACCESS | Errno::ROFS | Errno::PERM)) = access(&path, Access::WRITE_OK) {
            return Err(CgroupError::Protected { base: base.to_owned(), path, error: error.into() });
        }
    }
    // The one group that may have both processes and groups with limits is the first, which has no type.
    let processes = fs::read(base.join("cgroup.procs"));
    match processes.map_err(|error| CgroupError::Other { path: base.to_owned(), error })? {
        some if !some.is_empty() && base.join("cgroup.type").exists() => {
            Err(CgroupError::Inhabited { path: base.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Lets groups below one be held to limits, and measured, as far as it is so itself.
fn enable(group: &Path) -> io::Result<()> {
    let present = fs::read_to_string(group.join("cgroup.controllers"))?;
    for name in CONTROLLERS.into_iter().filter(|name| present.split_whitespace().any(|it| it == *name)) {
        // What can't be enabled is as what the machine does not have.
        let _ = put(group, "cgroup.subtree_control", &format!("+{name}"));
    }
    Ok(())
}

/// Ends what engines have left that are no more.
fn clear(base: &Path) -> io::Result<()> {
    for entry in fs::read_dir(base)?.flatten() {
        let name = entry.file_name();
        let mark = name.to_str().and_then(|it| it.strip_prefix(PREFIX));
        if mark.is_some_and(is_mark)
            && let Ok(_lock) = lock(&entry.path())
        {
            end(&entry.path());
        }
    }
    Ok(())
}

/// Makes a group and locks it. Until it is locked, another engine may take it for one that is left over.
fn make_locked(directory: &Path) -> io::Result<File> {
    let until = Instant::now() + PATIENCE;
    loop {
        let made = match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => lock(directory),
        };
        match made {
            Ok(lock) => return Ok(lock),
            Err(error) if Instant::now() > until => return Err(error),
            _ => std::thread::sleep(PAUSE),
        }
    }
}

/// Locks a group that is there: not one that somebody had locked before, and has removed.
fn lock(directory: &Path) -> io::Result<File> {
    let file = File::open(directory)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    let same = fs::metadata(directory)?.ino() == file.metadata()?.ino();
    if same { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Writes to a file of a group; false if it has no such file.
fn put(group: &Path, name: &str, value: &str) -> io::Result<bool> {
    use std::io::Write;
    match File::options().write(true).open(group.join(name)) {
        Ok(mut file) => file.write_all(value.as_bytes()).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
