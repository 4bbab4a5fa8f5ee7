//! Processes of an engine that was killed: found by a mark in their environment, and ended before any
//! step runs again.
//!
//! They end by themselves in nearly all cases: the launcher ends them when the engine is gone, and the
//! kernel when the launcher is. What is left for the next engine is what both have missed.

use std::io::Write;
use std::path::{Path, PathBuf};

use ferroflow_journal::StoreError;

use crate::children::{ENGINE_MARK, sweep};

/// The file beside a database that names the mark of its engine's processes, while there may be any.
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
            && let Ok(text) = std::fs::read_to_string(path)
        {
            let mark = text.trim();
            if is_mark(mark) && !sweep(mark) {
                return Err(StoreError::Io {
                    path: path.clone(),
                    message: format!(
                        "processes of the engine before can't be ended; end those that have {ENGINE_MARK}={mark} \
                         in their environment, then open the database again"
                    ),
                });
            }
            let _ = std::fs::remove_file(path);
        }
        Ok(Self { path, mark: new_mark() })
    }

    /// There may be processes from now on. Power failures end them too, so that nothing is synced.
    pub(crate) fn leave(&self) -> std::io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut file = std::fs::File::create(path)?;
        file.write_all(self.mark.as_bytes())
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

/// Whether a text can be a mark: what the file says is used to choose processes that are killed.
fn is_mark(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|it| it.is_ascii_hexdigit())
}
