//! Commits, timers and the inbox: what happens beside the workers.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferroflow_define::value;
use ferroflow_engine::{Command, RunId, RunState};
use ferroflow_journal::codec::Link;
use ferroflow_journal::{Store, StoreError};
use parking_lot::{Condvar, Mutex};

use crate::core::{Calls, Core, now};
use crate::lanes::LANES;

/// How often other processes' commands are looked for.
const INBOX: Duration = Duration::from_millis(50);

/// Where nobody waits, events gather for so long, so that one sync serves what comes at nearly the
/// same time.
const GATHER: Duration = Duration::from_millis(1);

/// What commits need. Whoever waits for a commit makes it, so that a chain of steps needs no
/// hand-over between threads; those who come meanwhile find it made, or make the next.
pub(crate) struct Committer {
    pub store: Box<dyn Store>,
    /// Of the runs that have not ended: the link of their last record.
    pub links: HashMap<RunId, Link>,
}

pub(crate) struct Shared {
    /// Taken before `core`, never after it.
    pub committer: Mutex<Option<Committer>>,
    pub core: Mutex<Core>,
    /// There may be work for a worker of a lane.
    pub work: [Condvar; LANES],
    /// There may be something to commit.
    pub write: Condvar,
    /// A commit is done, or a run has ended.
    pub done: Condvar,
    /// The next timer may be another one.
    pub timer: Condvar,
    /// There may be steps for a policy of the user's to rank.
    pub rank: Condvar,
    /// A body that waits for a lock may have it.
    pub locks: Condvar,
}

impl Shared {
    /// Wakes who has something to do.
    pub(crate) fn call(&self, calls: &Calls) {
        for (work, &count) in self.work.iter().zip(&calls.workers) {
            for _ in 0..count {
                work.notify_one();
            }
        }
        if calls.timer {
            self.timer.notify_one();
        }
        if calls.rank {
            self.rank.notify_one();
        }
        if calls.locks {
            self.locks.notify_all();
        }
    }

    /// Wakes everybody.
    pub(crate) fn wake(&self) {
        for work in &self.work {
            work.notify_all();
        }
        self.write.notify_one();
        self.timer.notify_one();
        self.rank.notify_all();
        self.locks.notify_all();
    }

    /// Makes commits until the given one is made; false if that can't be.
    pub(crate) fn until_durable(&self, number: u64) -> bool {
        loop {
            let core = self.core.lock();
            if core.durable >= number {
                return true;
            }
            if core.failed.is_some() {
                return false;
            }
            drop(core);
            self.commit_if(|core| core.durable < number);
        }
    }

    /// Commits what has been gathered; waits if a commit is under way.
    pub(crate) fn commit(&self) {
        self.commit_if(|_| true);
    }

    /// The same, if that is still wanted once no other commit is under way.
    fn commit_if(&self, wanted: impl Fn(&Core) -> bool) {
        let mut committer = self.committer.lock();
        let Some(Committer { store, links }) = &mut *committer else {
            // The engine is closed. Whoever waited for its last commit finds that made.
            if self.core.lock().gathered() {
                halt(self, "the engine is closed");
            }
            return;
        };
        let mut core = self.core.lock();
        if !core.gathered() || core.failed.is_some() || !wanted(&core) {
            return;
        }
        let mut gathered = core.gather();
        drop(core);
        // A panic here would lose what was gathered, and later commits would go on as if it were there.
        let committed = catch_unwind(AssertUnwindSafe(|| {
            gathered
                .blobs
                .iter()
                .try_for_each(|(hash, bytes)| store.put_blob(hash, bytes))
                .and_then(|()| store.commit(&gathered.batch(links)))
        }));
        match committed.unwrap_or_else(|_| Err(crashed())) {
            Ok(()) => {
                let mut core = self.core.lock();
                core.committed(&mut gathered);
                drop(core);
                // Workers have no news of it: those that wait for a commit make it themselves.
                if gathered.runs.iter().any(|part| part.ended) {
                    self.done.notify_all();
                }
            }
            // The state in memory is ahead of the disk now, and nothing can bring it back:
            // nobody is told of anything any more, and a new engine starts from the disk.
            Err(error) => halt(self, &error.to_string()),
        }
    }

    /// Carries out what other processes have left.
    fn read_inbox(&self) {
        let mut committer = self.committer.lock();
        let Some(Committer { store, .. }) = &mut *committer else { return };
        match store.inbox() {
            Ok(commands) if commands.is_empty() => {}
            Ok(commands) => {
                let mut core = self.core.lock();
                for command in commands {
                    carry_out(&mut core, command);
                }
                let calls = core.calls();
                drop(core);
                self.call(&calls);
            }
            Err(error) => halt(self, &error.to_string()),
        }
    }
}

/// The writing thread: commits what nobody waits for, and looks into the inbox.
pub(crate) fn write(shared: &Shared) {
    let mut looked = Instant::now() - INBOX;
    loop {
        let mut core = shared.core.lock();
        if core.failed.is_some() {
            return;
        }
        if !core.gathered() {
            if core.closing {
                return;
            }
            core.writer_idle = true;
            shared.write.wait_for(&mut core, INBOX);
            core.writer_idle = false;
        }
        let (gathered, closing) = (core.gathered(), core.closing);
        drop(core);
        if gathered {
            if !closing {
                std::thread::sleep(GATHER);
            }
            shared.commit();
        }
        if looked.elapsed() >= INBOX {
            looked = Instant::now();
            shared.read_inbox();
        }
    }
}

fn crashed() -> StoreError {
    StoreError::Io { path: Default::default(), message: "the commit crashed: this is a bug".to_owned() }
}

fn halt(shared: &Shared, message: &str) {
    shared.core.lock().failed = Some(message.to_owned());
    shared.done.notify_all();
    shared.wake();
}

/// A command from another process. One that can't be carried out is dropped: its sender looks.
fn carry_out(core: &mut Core, command: ferroflow_journal::Inbox) {
    let Some(&index) = core.by_id.get(&command.run) else {
        // One for a run that is still to be taken up stays; one for a run that has ended, or that
        // never was, is of no use to anybody.
        let state = command.state.as_deref().and_then(RunState::parse);
        if state.is_none_or(RunState::is_terminal) {
            core.taken.push(command.id);
        }
        return;
    };
    let reason = || Arc::from(String::from_utf8_lossy(&command.payload).as_ref());
    let decoded = match command.command.split_once(':') {
        Some(("signal", name)) => {
            let well_formed = value::skip(&command.payload, 0) == Ok(command.payload.len());
            let bytes = if well_formed { command.payload.clone() } else { vec![0xc0] };
            Some(Command::Signal { name: name.into(), value: core.value(index, bytes.into()) })
        }
        _ => match &*command.command {
            "cancel" => Some(Command::Cancel { reason: reason() }),
            "pause" => Some(Command::Pause { reason: reason() }),
            "resume" => Some(Command::Resume),
            _ => None,
        },
    };
    if let Some(decoded) = decoded {
        let _ = core.handle(index, decoded);
    }
    core.taken.push(command.id);
}

/// The timer thread.
pub(crate) fn time(shared: &Shared) {
    let mut core = shared.core.lock();
    loop {
        if core.stopping || core.failed.is_some() {
            return;
        }
        let news = core.news;
        let next = core.tick();
        core.timer_set = next;
        if core.gathered() {
            shared.write.notify_one();
        }
        if core.gathered() || core.news != news {
            let calls = core.calls();
            shared.call(&Calls { timer: false, ..calls });
        }
        match next {
            None => shared.timer.wait(&mut core),
            Some(at) => {
                let rest = Duration::from_micros((at - now()).max(0) as u64);
                shared.timer.wait_for(&mut core, rest);
            }
        }
    }
}
