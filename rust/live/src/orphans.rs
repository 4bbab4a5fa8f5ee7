//! Processes of an engine that was killed: found by a mark in their environment, and ended before any
//! step runs again.
//!
//! They end by themselves in nearly all cases: the launcher ends them when the engine is gone, and the
//! kernel when the launcher is. What is left for the next engine is what both have missed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ferroflow_journal::StoreError;

use crate::children::{ENGINE_MARK, end_group, group_name, sweep};

/// The file beside a database that names the mark of its engine's processes, and in a second line their control
/// group if they have one, while there may be any.
pub(crate) struct Mark {
    path: Option<PathBuf>,
    pub mark: String,
}

impl Mark {
    /// Ends what an earlier engine on the database has left behind; fails if that can't be done, as no body
    /// may live twice.
    pub(crate) fn new(database: Option<&Path>) -> Result<Self, StoreError> {
        let path = database.map(|path| {
            let mut name = path.as_os_str().to_owned();
            name.push(".processes");
            PathBuf::from(name)
        });
        if let Some(path) = &path
            && let Ok(text) = std::fs::read(path)
        {
            let (mark, group) = read(&text);
            if is_mark(mark) && !(sweep(mark) && group.is_none_or(end_group)) {
                return Err(StoreError::Io {
                    path: path.clone(),
                    message: format!(
                        "processes of the engine before can't be ended; end those that have {ENGINE_MARK}={mark} \
                         in their environment, or are in a control group {:?}, then open the database again",
                        group_name(mark)
                    ),
                });
            }
            let _ = std::fs::remove_file(path);
        }
        Ok(Self { path, mark: new_mark() })
    }

    /// There may be processes from now on. Power failures end them too, so that nothing is synced.
    pub(crate) fn leave(&self, group: Option<&Path>) -> std::io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut text = self.mark.clone().into_bytes();
        if let Some(group) = group {
            text.push(b'\n');
            text.extend(group.as_os_str().as_bytes());
        }
        std::fs::write(path, text)
    }

    /// There are none any more.
    pub(crate) fn remove(&self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A mark that no engine has had.
pub fn new_mark() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// What the file says: a mark, and a group that is called after it.
fn read(text: &[u8]) -> (&str, Option<&Path>) {
    let mut lines = text.splitn(2, |&byte| byte == b'\n');
    let mark = std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let group = lines.next().map(|line| Path::new(OsStr::from_bytes(line)));
    (mark, group.filter(|it| it.file_name() == Some(group_name(mark).as_ref())))
}

/// Whether a text can be a mark: what the file says is used to choose processes that are killed.
pub(crate) fn is_mark(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|it| it.is_ascii_hexdigit())
}
