//! One line: starts the commands that are asked for over it, each when the one before has ended.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;

use ferroflow_launcher::channel::Channel;
use ferroflow_launcher::message::{
    COMMAND_MARK, LARGEST, LARGEST_SPEC, Malformed, Reply, Request, Spec, Stage,
};

use crate::family::Family;
use crate::start::start;

/// Serves a line until the engine hangs up.
pub(crate) fn serve(family: &Family, engine: &Channel) {
    let mut buffer = vec![0; LARGEST];
    while let Ok((length @ 1.., descriptors)) = engine.recv(&mut buffer) {
        let begun = match Request::decode(&buffer[..length]) {
            Ok(Request::Spawn { id, spec }) => spawn(family, id, &spec, descriptors),
            Ok(Request::SpawnLarge { id }) => {
                let begun = spawn_large(family, id, descriptors);
                forget_peak();
                begun
            }
            Ok(Request::Open | Request::Kill { .. }) | Err(Malformed) => return,
        };
        let said = match begun {
            Ok((pid, started)) => {
                // Even if nobody hears it: the command is waited for.
                let _ = engine.send(&Reply::Spawned { pid: pid as u32, started }.encode(), &[]);
                family.wait(pid)
            }
            Err((stage, errno)) => Reply::Refused { stage, errno },
        };
        while family.is_ending() {
            // What was ended with the launcher, the end of that tells.
            std::thread::park();
        }
        if engine.send(&said.encode(), &[]).is_err() {
            return;
        }
    }
}

type Begun = Result<(libc::pid_t, u64), (Stage, libc::c_int)>;

/// Starts a command: its number and when it began. Its descriptors are then open in it alone.
fn spawn(family: &Family, id: u64, spec: &Spec<'_>, descriptors: Vec<OwnedFd>) -> Begun {
    if descriptors.len() != spec.descriptors() {
        // The engine sends them all; for what is missing there was no room.
        return Err((Stage::Descriptors, libc::EMFILE));
    }
    let mark = spec
        .env
        .iter()
        .find_map(|entry| entry.to_bytes().strip_prefix(COMMAND_MARK.as_bytes())?.strip_prefix(b"="));
    family.expect(id, mark)?;
    match start(spec, &descriptors) {
        Ok(pid) => Ok((pid, family.began(id, pid))),
        Err(refused) => {
            family.forget(id);
            Err(refused)
        }
    }
}

/// The spec is in the first of the descriptors.
fn spawn_large(family: &Family, id: u64, mut descriptors: Vec<OwnedFd>) -> Begun {
    if descriptors.is_empty() {
        return Err((Stage::Descriptors, libc::EMFILE));
    }
    let mut file = File::from(descriptors.remove(0)).take(LARGEST_SPEC as u64);
    let mut bytes = Vec::new();
    let read = file.get_mut().rewind().and_then(|()| file.read_to_end(&mut bytes));
    match read.map(|_| Spec::decode(&bytes)) {
        Ok(Ok(spec)) => spawn(family, id, &spec, descriptors),
        Ok(Err(Malformed)) => Err((Stage::Spec, libc::EINVAL)),
        Err(error) => Err((Stage::Spec, error.raw_os_error().unwrap_or(libc::EIO))),
    }
}

/// A child is said to have used at least what the launcher has at its peak: so that is kept low.
fn forget_peak() {
    // Kernels without this only measure small children less well.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
