//! A value's bytes: cheap to clone and to slice, on the heap or in a sealed file of memory.
//!
//! A *sealed file* is a memfd with the seals `WRITE`, `SHRINK` and `GROW`: neither this process nor any
//! other can change it any more, nor map it so that it could. So `&[u8]` into a mapping of it is sound,
//! whoever else has its descriptor; the seals are looked at before a file is mapped, wherever it comes
//! from. It is handed to another process by its descriptor, and whoever wants memory to write to maps it
//! privately and has pages of its own once it writes: neither copies what nobody changes.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::fmt;
use std::io;
use std::ops::{Deref, Range};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

use crate::digest;
use crate::store::INLINE;

/// From so many bytes on a file of memory costs less than the copies that it saves.
pub const LARGE: usize = 1 << 20;

/// Files that are kept open for passing on: of those whose bytes are mapped, the newest. Older ones
/// keep their bytes, and are written anew if they are passed on.
const OPEN: usize = 256;

const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW);

/// Bytes that nobody changes.
#[derive(Clone)]
pub struct Bytes(Kind);

#[derive(Clone)]
enum Kind {
    Short(Arc<[u8]>),
    Long(Arc<Slice>),
}

struct Slice {
    memory: Arc<Memory>,
    range: Range<usize>,
    hash: OnceLock<[u8; 32]>,
}

enum Memory {
    Heap(Vec<u8>),
    Sealed(Sealed),
}

struct Sealed {
    map: Mapping,
    /// None once there are too many newer ones.
    file: Mutex<Option<Arc<OwnedFd>>>,
}

impl Bytes {
    /// Puts pieces together: many of them in a sealed file, unless there are no more descriptors.
    pub fn gather(pieces: &[&[u8]]) -> Self {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        if len >= LARGE
            && let Ok(made) = Self::sealed(pieces)
        {
            return made;
        }
        let mut bytes = Vec::with_capacity(len);
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        bytes.into()
    }

    /// The bytes of a sealed file that somebody else has made.
    ///
    /// # Errors
    /// If it is not sealed, or shorter.
    pub fn open(file: OwnedFd, offset: usize, len: usize) -> io::Result<Self> {
        let seals = rustix::fs::fcntl_get_seals(&file)?;
        if !seals.contains(SEALS) {
            let message = "it is not sealed, so that it could be changed while it is read";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let size = rustix::fs::fstat(&file)?.st_size as usize;
        let Some(end) = offset.checked_add(len).filter(|&end| end <= size) else {
            let message = format!("it has {size} bytes, and {len} from {offset} on are asked for");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        if len == 0 {
            return Ok(Vec::new().into());
        }
        let map = Mapping::new(file.as_fd(), 0, size, ProtFlags::READ)?;
        let memory = Arc::new(Memory::Sealed(Sealed { map, file: Mutex::new(Some(Arc::new(file))) }));
        remember(&memory);
        Ok(Self::long(memory, offset..end))
    }

    /// Puts pieces together in a sealed file. Only the kernel looks into them.
    pub fn sealed(pieces: &[&[u8]]) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("ferroflow", flags)?;
        // Written, not mapped: a page fault a page costs as much again as the copy. One thread, as the
        // kernel lets only one at a time write to a file.
        let mut at = 0;
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(&file, rest, at))?;
                (at, rest) = (at + written as u64, &rest[written..]);
            }
        }
        rustix::fs::fcntl_add_seals(&file, SEALS | SealFlags::SEAL)?;
        Self::open(file, 0, at as usize)
    }

    fn long(memory: Arc<Memory>, range: Range<usize>) -> Self {
        Self(Kind::Long(Arc::new(Slice { memory, range, hash: OnceLock::new() })))
    }

    /// A part of the bytes; short ones are copied.
    ///
    /// # Panics
    /// If the range goes beyond the end.
    pub fn slice(&self, range: Range<usize>) -> Self {
        match &self.0 {
            _ if range == (0..self.len()) => self.clone(),
            Kind::Long(slice) if range.len() > INLINE => {
                assert!(range.end <= slice.range.len(), "{range:?} of {} bytes", slice.range.len());
                let start = slice.range.start;
                Self::long(slice.memory.clone(), start + range.start..start + range.end)
            }
            _ => self[range].into(),
        }
    }

    /// The part of the bytes that a reference into them shows.
    pub fn slice_of(&self, part: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(self.as_ptr() as usize);
        match start.checked_add(part.len()) {
            Some(end) if end <= self.len() => self.slice(start..end),
            _ => part.into(),
        }
    }

    /// The BLAKE3 hash; found once, by two threads where there is much to hash.
    pub fn hash(&self) -> [u8; 32] {
        match &self.0 {
            Kind::Short(bytes) => *blake3::hash(bytes).as_bytes(),
            Kind::Long(slice) => *slice.hash.get_or_init(|| digest::hash(self)),
        }
    }

    /// The sealed file that the bytes are in, and where they begin in it; `None` if they are on the heap,
    /// or if their file is closed already.
    pub fn file(&self) -> Option<(Arc<OwnedFd>, usize)> {
        match &self.0 {
            Kind::Long(slice) => match &*slice.memory {
                Memory::Sealed(sealed) => Some((sealed.open_file().clone()?, slice.range.start)),
                Memory::Heap(_) => None,
            },
            Kind::Short(_) => None,
        }
    }

    /// The same bytes in a sealed file, for passing on: these, if they are in one.
    pub fn to_file(&self) -> io::Result<Self> {
        if self.file().is_some() || self.is_empty() { Ok(self.clone()) } else { Self::sealed(&[self]) }
    }

    /// Memory of the caller's own that holds a part of the bytes, without copying what it won't change;
    /// `None` if a copy is cheaper, or nothing else is possible.
    pub fn private(&self, range: Range<usize>) -> Option<Private> {
        if range.len() < LARGE || range.end > self.len() {
            return None;
        }
        let (file, start) = self.file()?;
        let (from, to) = (start + range.start, start + range.end);
        let floor = from - from % rustix::param::page_size();
        let map = Mapping::new(file.as_fd(), floor, to - floor, ProtFlags::READ | ProtFlags::WRITE).ok()?;
        Some(Private { map, offset: from - floor })
    }

    /// The bytes as one allocation that is shared; those that are long are copied.
    pub fn to_arc(&self) -> Arc<[u8]> {
        match &self.0 {
            Kind::Short(bytes) => bytes.clone(),
            Kind::Long(_) => Arc::from(&**self),
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kind::Short(bytes) => bytes,
            Kind::Long(slice) => &slice.memory.bytes()[slice.range.clone()],
        }
    }
}

impl From<Arc<[u8]>> for Bytes {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self(Kind::Short(bytes))
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        if bytes.len() > INLINE { bytes.to_vec().into() } else { Self(Kind::Short(bytes.into())) }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() > INLINE {
            let range = 0..bytes.len();
            Self::long(Arc::new(Memory::Heap(bytes)), range)
        } else {
            Self(Kind::Short(bytes.into()))
        }
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Memory::Heap(bytes) => bytes,
            // SAFETY: the mapping is as long as it says, is there as long as it is borrowed, and can be
            // read. Nobody writes to it: `Bytes::open`, which alone makes a `Sealed`, has seen the seals
            // of its file. These can't be taken off; `WRITE` rules out writing, punching holes, and
            // mapping it so that it could be written to, by whichever process; `SHRINK` that the file
            // ends before the mapping.
            Memory::Sealed(Sealed { map, .. }) => unsafe {
                std::slice::from_raw_parts(map.start.as_ptr().cast::<u8>(), map.len)
            },
        }
    }
}

impl Sealed {
    fn open_file(&self) -> MutexGuard<'_, Option<Arc<OwnedFd>>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sees to it that only the newest files are open.
fn remember(memory: &Arc<Memory>) {
    static NEWEST: Mutex<VecDeque<Weak<Memory>>> = Mutex::new(VecDeque::new());
    let close = |memory: &Memory| {
        if let Memory::Sealed(sealed) = memory {
            *sealed.open_file() = None;
        }
    };
    // Not waited for: the child of a fork may find it locked for ever.
    let Ok(mut newest) = NEWEST.try_lock() else { return close(memory) };
    if newest.len() >= OPEN {
        newest.retain(|it| it.strong_count() > 0);
    }
    let oldest = if newest.len() >= OPEN { newest.pop_front() } else { None };
    newest.push_back(Arc::downgrade(memory));
    drop(newest);
    if let Some(oldest) = oldest.and_then(|it| it.upgrade()) {
        close(&oldest);
    }
}

/// A private mapping of a part of a sealed file: whoever writes to it changes it for nobody else.
pub struct Private {
    map: Mapping,
    offset: usize,
}

impl Private {
    /// Where it is, as long as this lives. It can be written to.
    pub fn as_ptr(&self) -> *mut u8 {
        self.map.start.as_ptr().cast::<u8>().wrapping_add(self.offset)
    }

    pub fn len(&self) -> usize {
        self.map.len - self.offset
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Pages of a file, private to the mapping.
struct Mapping {
    start: NonNull<c_void>,
    len: usize,
}

// SAFETY: it owns its pages, which no thread is tied to, and only tells where they are.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(file: BorrowedFd<'_>, offset: usize, len: usize, access: ProtFlags) -> io::Result<Self> {
        // SAFETY: where the mapping lies is for the kernel to say, so that it takes nobody's memory.
        let start = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), len, access, MapFlags::PRIVATE, file, offset as u64)
        }?;
        Ok(Self { start: NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped by `new`, as long as that, and borrows of it have ended.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open_files() -> usize {
        let files = std::fs::read_dir("/proc/self/fd").unwrap();
        files.filter_map(|it| std::fs::read_link(it.ok()?.path()).ok()).filter(|it| is_ours(it)).count()
    }

    fn is_ours(path: &std::path::Path) -> bool {
        path.to_string_lossy().contains("memfd:ferroflow")
    }

    fn many(seed: u8) -> Vec<u8> {
        (0..LARGE + 5000).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed)).collect()
    }

    #[test]
    fn pieces_end_up_in_a_sealed_file_if_they_are_many() {
        let bytes = many(1);
        let made = Bytes::gather(&[&bytes[..7], &bytes[7..7], &bytes[7..]]);
        assert_eq!(&*made, &bytes[..]);
        let (file, start) = made.file().unwrap();
        assert_eq!(start, 0);
        assert!(rustix::io::pwrite(&*file, b"x", 0).is_err(), "nobody writes to it");
        assert!(rustix::fs::ftruncate(&*file, 5).is_err(), "nobody shortens it");
        let few = Bytes::gather(&[&bytes[..9], &bytes[9..LARGE - 1]]);
        assert_eq!(&*few, &bytes[..LARGE - 1]);
        assert!(few.file().is_none());
        let (passed, _) = few.to_file().unwrap().file().unwrap();
        assert_eq!(Bytes::open(passed.try_clone().unwrap(), 0, few.len()).unwrap(), few);
    }

    #[test]
    fn a_file_that_could_change_is_refused() {
        let file = |flags| rustix::fs::memfd_create("test", flags).unwrap();
        let refused = |file: OwnedFd, len| Bytes::open(file, 0, len).unwrap_err().to_string();
        let plain = file(MemfdFlags::ALLOW_SEALING);
        rustix::io::pwrite(&plain, b"abc", 0).unwrap();
        for seals in [SealFlags::WRITE, SealFlags::SHRINK, SealFlags::WRITE | SealFlags::GROW] {
            let other = file(MemfdFlags::ALLOW_SEALING);
            rustix::fs::fcntl_add_seals(&other, seals).unwrap();
            assert!(refused(other, 0).contains("not sealed"));
        }
        assert!(refused(plain.try_clone().unwrap(), 3).contains("not sealed"));
        assert!(refused(tempfile::tempfile().unwrap().into(), 0).len() > 3, "no file of memory at all");
        rustix::fs::fcntl_add_seals(&plain, SEALS).unwrap();
        assert!(refused(plain.try_clone().unwrap(), 4).contains("it has 3 bytes"));
        assert!(Bytes::open(plain.try_clone().unwrap(), usize::MAX, 4).is_err());
        assert_eq!(Bytes::open(plain, 1, 2).unwrap(), Bytes::from(&b"bc"[..]));
    }

    #[test]
    fn private_memory_changes_for_nobody_else() {
        let bytes = many(2);
        let made = Bytes::gather(&[&bytes]);
        let part = made.slice(100..made.len());
        let (one, other) = (part.private(3..part.len()).unwrap(), part.private(3..part.len()).unwrap());
        assert_eq!(one.len(), part.len() - 3);
        // SAFETY: they are memory of their own, which lives, and nothing else refers to it.
        let [one, other] =
            [&one, &other].map(|it| unsafe { std::slice::from_raw_parts_mut(it.as_ptr(), it.len()) });
        assert_eq!(one, &bytes[103..]);
        one.fill(9);
        assert_eq!(other, &bytes[103..]);
        assert_eq!(&*made, &bytes[..]);
        assert!(part.private(0..100).is_none(), "a copy is cheaper");
        assert!(part.private(1..part.len() + 1).is_none());
        assert!(Bytes::from(bytes).private(0..LARGE).is_none(), "it is on the heap");
    }

    /// In a process of its own, as it counts descriptors: see `open_files`.
    #[test]
    fn descriptors_are_closed_and_few_are_open() {
        const CHILD: &str = "FERROFLOW_TEST_DESCRIPTORS";
        if std::env::var_os(CHILD).is_none() {
            let name = "bytes::tests::descriptors_are_closed_and_few_are_open";
            let this = std::env::current_exe().unwrap();
            let child =
                std::process::Command::new(this).args(["--exact", name]).env(CHILD, "1").output().unwrap();
            assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
            return;
        }
        let bytes = many(3);
        for _ in 0..1000 {
            let made = Bytes::gather(&[&bytes]);
            let slices = [made.slice(5..made.len()), made.clone()];
            drop(made);
            assert!(slices[0].private(0..LARGE).is_some());
        }
        assert_eq!(open_files(), 0);
        let first = Bytes::gather(&[&bytes]);
        let rest: Vec<Bytes> = (0..OPEN + 10).map(|_| Bytes::gather(&[&bytes])).collect();
        assert_eq!(open_files(), OPEN);
        assert!(first.file().is_none() && rest[OPEN].file().is_some());
        assert_eq!(&*first, &bytes[..], "the bytes stay");
        assert!(first.to_file().unwrap().file().is_some());
        drop((first, rest));
        assert_eq!(open_files(), 0);
        let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        limit.current = Some(3);
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        let made = Bytes::gather(&[&bytes]);
        assert!(made.file().is_none(), "without descriptors, bytes are on the heap");
        assert_eq!(&*made, &bytes[..]);
    }

    proptest! {
        #[test]
        fn slices_are_those_of_the_bytes(
            from in 0usize..200, len in 0usize..(INLINE + 3000), then in 0usize..200, rest in 0usize..(INLINE + 100),
            sealed in any::<bool>(),
        ) {
            let plain = many(4);
            let made = if sealed { Bytes::gather(&[&plain]) } else { plain.clone().into() };
            let (outer, range) = (made.slice(from..from + len), from..from + len);
            prop_assert_eq!(&*outer, &plain[range.clone()]);
            let then = then.min(len)..(then + rest).min(len);
            let inner = outer.slice(then.clone());
            prop_assert_eq!(&*inner, &plain[range.clone()][then.clone()]);
            prop_assert_eq!(&outer.slice_of(&outer[then.clone()]), &inner);
            prop_assert_eq!(&outer.slice_of(&plain[range][then]), &inner, "others' bytes are copied");
            prop_assert_eq!(inner.hash(), *blake3::hash(&inner).as_bytes());
            prop_assert_eq!(&*inner.to_arc(), &*inner);
        }
    }
}
