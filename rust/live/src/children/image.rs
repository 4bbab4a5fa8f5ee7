//! Starts the launcher, whose program is part of this library.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ferroflow_launcher::channel::Channel;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ferroflow-launcher"));
const NAME: &str = "ferroflow-launcher";

/// How often a program that somebody still writes is tried again: a fork of another thread may hold
/// a copy of our descriptor until it executes something.
const TRIES: u32 = 20;

/// Starts a launcher. The calling thread has to live as long as the launcher is to.
pub(super) fn launch() -> io::Result<(Child, Channel)> {
    match in_memory().and_then(|program| begin(&as_path(&program))) {
        Ok(started) => Ok(started),
        // Some machines execute nothing that is not in a file system.
        Err(refused) => in_folders()
            .map_err(|error| io::Error::new(error.kind(), format!("{error}; and from memory: {refused}"))),
    }
}

fn as_path(program: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", program.as_raw_fd()).into()
}

fn begin(program: &Path) -> io::Result<(Child, Channel)> {
    let (ours, theirs) = Channel::pair()?;
    let child = Command::new(program)
        .arg0(NAME)
        .arg(std::process::id().to_string())
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok((child, ours))
}

/// A file in memory that nobody can change.
fn in_memory() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know EXEC: there everything can be executed.
    let memory = memfd_create(NAME, flags | MemfdFlags::EXEC).or_else(|_| memfd_create(NAME, flags))?;
    let mut file = File::from(memory);
    file.write_all(PROGRAM)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file.into())
}

fn in_folders() -> io::Result<(Child, Channel)> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for folder in [std::env::temp_dir(), "/var/tmp".into(), "/dev/shm".into()] {
        match in_folder(&folder) {
            Ok(started) => return Ok(started),
            Err(error) => failed = io::Error::new(error.kind(), format!("from {folder:?}: {error}")),
        }
    }
    Err(failed)
}

/// Starts it from a file that is removed at once.
fn in_folder(folder: &Path) -> io::Result<(Child, Channel)> {
    let path = folder.join(format!("{NAME}-{}", uuid::Uuid::now_v7()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o700).open(&path)?;
    let written = file.write_all(PROGRAM).and_then(|()| {
        // Whatever the mask says.
        file.set_permissions(Permissions::from_mode(0o700))
    });
    drop(file);
    let started = written.and_then(|()| {
        let mut tries = 0;
        loop {
            match begin(&path) {
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < TRIES => {
                    tries += 1;
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                started => return started,
            }
        }
    });
    let _ = std::fs::remove_file(&path);
    started
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_serves_where_memory_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, channel) = in_folder(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        drop(channel);
        assert!(child.wait().unwrap().success());
        assert!(in_folder(&folder.path().join("absent")).is_err());
    }
}
