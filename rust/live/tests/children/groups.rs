//! Control groups of commands, where this machine lets one make some.

use std::fs;
use std::path::{Path, PathBuf};

/// A control group for a test, which no process is in. It is removed at the end.
pub(super) struct Base(PathBuf);

impl Base {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        let removed = fs::remove_dir(&self.0);
        if !std::thread::panicking() {
            removed.expect("nothing is left of the control groups");
        }
    }
}

/// `None` where there can be none, and says so.
pub(super) fn base() -> Option<Base> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let made = mount.and_then(|line| {
        let path = Path::new(line.split(' ').nth(4)?).join(format!("test-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&path).ok().map(|()| Base(path))
    });
    if made.is_none() {
        eprintln!("skipped: no control group of version 2 can be made here");
    }
    made
}
