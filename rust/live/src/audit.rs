//! Whether bodies keep to what their steps declare: fingerprints of the files and directories that are assets.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use ferroflow_define::access::name::{Written, overlap};
use ferroflow_define::access::{Kind, Mode};
use serde::Serialize;

use crate::engine::Engine;
use crate::types::Ticket;

/// An asset that a body must not change.
#[derive(Clone, Debug, Serialize)]
pub struct Guarded {
    pub asset: String,
    pub path: String,
    /// Whether the step reads it; else it has not declared it at all.
    pub reads: bool,
    /// Whether others are changing it, and how many leases have been granted so far under which one may.
    pub changing: bool,
    pub changes: u64,
}

/// What an attempt is held to.
#[derive(Clone, Debug, Serialize)]
pub struct Audited {
    pub guarded: Vec<Guarded>,
    /// Asset, path and fingerprint of what the step accesses and whose content is known.
    pub expected: Vec<(String, String, String)>,
}

impl Engine {
    /// What an attempt whose body is about to run, or has just run, is held to.
    pub fn audited(&self, ticket: &Ticket) -> Audited {
        let mut found = Audited { guarded: Vec::new(), expected: Vec::new() };
        let mut core = self.core();
        let core = &mut *core;
        let Some(Some(live)) = core.runs.get(ticket.run as usize) else { return found };
        let lease = core.lanes.lease(ticket.token).and_then(|(_, lease)| lease);
        let accesses = lease.map_or_else(Vec::new, |lease| core.leases.accesses(lease));
        for (name, declared) in &live.run.program.accesses.declared {
            let Some(path) = &declared.path else { continue };
            if !matches!(declared.kind, None | Some(Kind::File | Kind::Directory)) {
                continue;
            }
            let asset = Written(name).to_string();
            let own = || accesses.iter().filter(|(other, _)| overlap(name, other));
            if let Some(fingerprint) = declared.fingerprint.as_ref().filter(|_| own().next().is_some()) {
                found.expected.push((asset.clone(), path.clone(), fingerprint.clone()));
            }
            if own().any(|(_, mode)| *mode != Mode::Reads) {
                continue;
            }
            let (changing, changes) = core.leases.changing(name);
            let reads = own().next().is_some();
            found.guarded.push(Guarded { asset, path: path.clone(), reads, changing, changes });
        }
        found
    }
}

/// The BLAKE3 hash of a file's content, or of all that is in a directory, by its names in order; none if nothing is
/// there. Of a directory, memory is taken for the names in it and in those round it, and of a file, for a buffer.
pub fn fingerprint(path: &Path) -> io::Result<Option<[u8; 32]>> {
    match fs::metadata(path) {
        Ok(it) if it.is_dir() => directory(path).map(Some),
        Ok(_) => content(path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn content(path: &Path) -> io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(*hasher.finalize().as_bytes())
}

fn directory(path: &Path) -> io::Result<[u8; 32]> {
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut hasher = blake3::Hasher::new();
    for entry in entries {
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        let (mark, hash) = if kind.is_dir() {
            (b'd', directory(&entry.path())?)
        } else if kind.is_file() {
            (b'f', content(&entry.path())?)
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path())?;
            (b'l', *blake3::hash(target.as_os_str().as_encoded_bytes()).as_bytes())
        } else {
            // A socket or the like has no content.
            (b'o', [0; 32])
        };
        let name = name.as_encoded_bytes();
        hasher.update(&[mark]).update(&(name.len() as u64).to_le_bytes()).update(name).update(&hash);
    }
    Ok(*hasher.finalize().as_bytes())
}
