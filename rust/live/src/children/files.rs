//! Files that a command writes: they have their names only once the command has succeeded.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A file under a temporary name beside the one that it is to have. It is removed unless it is kept.
pub(super) struct Part {
    name: PathBuf,
    part: PathBuf,
    file: Option<File>,
}

impl Part {
    pub(super) fn create(name: &Path) -> io::Result<Self> {
        let Some(last) = name.file_name() else { return Err(io::ErrorKind::IsADirectory.into()) };
        if name.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(last);
        hidden.push(format!(".{}.part", uuid::Uuid::now_v7()));
        let part = name.with_file_name(hidden);
        let file = OpenOptions::new().write(true).create_new(true).open(&part)?;
        Ok(Self { name: name.to_owned(), part, file: Some(file) })
    }

    /// One more descriptor of it, for the child.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        let file = self.file.as_ref().expect("it is there until it is kept");
        file.try_clone().map(Into::into)
    }

    pub(super) fn name(&self) -> &Path {
        &self.name
    }

    /// Gives it its name; with `sync`, it is on disk before that, and its name after.
    pub(super) fn keep(&mut self, sync: bool) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if sync {
            file.sync_all()?;
        }
        std::fs::rename(&self.part, &self.name)?;
        self.file = None;
        if sync {
            let folder = self.name.parent().filter(|it| !it.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.part);
        }
    }
}
