//! Child processes: commands that are started, watched and ended through the launcher.
//!
//! Linux only: 5.10 and later.
//!
//! An engine never forks. It starts one small program, the launcher, and that starts all else; what
//! goes between them is defined in `ferroflow-launcher`. Every command is the leader of a session and
//! a process group of its own. It is over when its main process has ended; what it leaves behind is
//! ended with it. When the engine's process dies, however, all commands die with it; those that a
//! crash of both engine and launcher has left are found by the mark in their environment. Where it can be,
//! a command also has a control group, and all that is in that is ended with it.
//!
//! A program that is executed with another user's rights (set-user-id) is not told of the launcher's
//! death, and can hide its environment; while the launcher lives, it too is ended with its command.

mod beat;
mod cgroup;
mod child;
mod command;
mod error;
mod files;
mod image;
mod link;
mod pump;
mod spec;
mod stop;
mod sweep;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use ferroflow_launcher::channel::Channel;
use parking_lot::Mutex;

pub use self::cgroup::{Base, CgroupError, Cgroups};
pub(crate) use self::cgroup::{end as end_group, name as group_name};
pub use self::child::{Child, Exit, Process, Status, Usage, boot};
pub use self::command::{Command, Errors, Finished, Happened, Input, Output, Stream, run};
pub use self::error::{CommandError, LauncherGone, SpawnError};
use self::link::Link;
pub use self::spec::{Limits, Spec};
pub use self::stop::Stop;
pub use self::sweep::{kill_group, sweep};

/// The variable that every child has in its environment: which engine it belongs to.
pub const ENGINE_MARK: &str = "FERROFLOW_ENGINE";

/// All children of one engine.
pub struct Children {
    mark: String,
    cgroups: Option<Arc<Cgroups>>,
    /// The process that may use this: a fork of it may not.
    owner: u32,
    next: AtomicU64,
    link: Mutex<Option<Arc<Link>>>,
}

impl Children {
    /// `mark` is what children are recognised by: 32 hexadecimal digits, never used before; commands get
    /// their control groups from `cgroups`. Nothing is started yet.
    pub fn new(mark: String, cgroups: Option<Arc<Cgroups>>) -> Self {
        Self { mark, cgroups, owner: std::process::id(), next: AtomicU64::new(1), link: Mutex::new(None) }
    }

    pub fn mark(&self) -> &str {
        &self.mark
    }

    fn cgroups(&self) -> Option<&Cgroups> {
        self.cgroups.as_deref()
    }

    /// The process that starts the others, if there is one.
    pub fn launcher(&self) -> Option<u32> {
        self.link.lock().as_ref().map(|link| link.launcher)
    }

    /// Starts a command, and returns once it runs.
    pub fn spawn(&self, spec: &Spec) -> Result<Child, SpawnError> {
        if std::process::id() != self.owner {
            return Err(SpawnError::Forked);
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let request = spec.prepare(id, &self.mark)?;
        loop {
            let link = self.link()?;
            if let Some(line) = link.ask(&request)? {
                return Child::begin(link, id, line).map_err(|refusal| refusal.explain(spec));
            }
            // That launcher is dead, and nothing has reached it: another one may do it.
        }
    }

    fn link(&self) -> Result<Arc<Link>, SpawnError> {
        let mut link = self.link.lock();
        match &*link {
            Some(present) if !present.is_over() => Ok(Arc::clone(present)),
            _ => Ok(Arc::clone(link.insert(Link::start(&self.mark)?))),
        }
    }
}

impl Children {
    /// Ends all children.
    pub fn end(&self) {
        let link = self.link.lock().take();
        if std::process::id() == self.owner
            && let Some(link) = link
        {
            link.end();
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.end();
    }
}
