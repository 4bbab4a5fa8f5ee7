//! The BLAKE3 hash of much at a time: subtrees of it by two threads.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};

/// From so many bytes on a second thread helps.
const MUCH: usize = 8 << 20;

/// Bytes of a subtree that one thread hashes at a time.
const LEAF: usize = 1 << 20;

/// The same as `blake3::hash`. Threads of its own, and no pool: that would not be there in the child of a
/// fork, which would wait for it for ever.
pub(crate) fn hash(bytes: &[u8]) -> [u8; 32] {
    if bytes.len() < MUCH {
        return *blake3::hash(bytes).as_bytes();
    }
    let mut leaves = Vec::new();
    split(0, bytes.len(), &mut leaves);
    let values: Vec<OnceLock<ChainingValue>> = leaves.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let which = next.fetch_add(1, Ordering::Relaxed);
            let Some(&(at, len)) = leaves.get(which) else { break };
            let mut hasher = Hasher::new();
            let hasher = hasher.set_input_offset(at as u64).update(&bytes[at..at + len]);
            let _ = values[which].set(hasher.finalize_non_root());
        }
    };
    std::thread::scope(|scope| {
        // If there can't be another thread, this one does all.
        let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        work();
    });
    let mut values = values.iter().map(|value| *value.get().expect("all leaves are hashed"));
    let left = left_subtree_len(bytes.len() as u64) as usize;
    let (left, right) = (merge(left, &mut values), merge(bytes.len() - left, &mut values));
    *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()
}

/// The subtrees of a range, from left to right.
fn split(at: usize, len: usize, leaves: &mut Vec<(usize, usize)>) {
    if len <= LEAF {
        leaves.push((at, len));
        return;
    }
    let left = left_subtree_len(len as u64) as usize;
    split(at, left, leaves);
    split(at + left, len - left, leaves);
}

/// What becomes of the subtrees of a range.
fn merge(len: usize, values: &mut impl Iterator<Item = ChainingValue>) -> ChainingValue {
    if len <= LEAF {
        return values.next().expect("one a leaf");
    }
    let left = left_subtree_len(len as u64) as usize;
    let (left, right) = (merge(left, values), merge(len - left, values));
    merge_subtrees_non_root(&left, &right, Mode::Hash)
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_threads_find_the_hash_that_one_finds() {
        let bytes: Vec<u8> =
            (0..(33 << 20)).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for len in [0, 1, (8 << 20) - 1, 8 << 20, (8 << 20) + 1, (11 << 20) + 12_345, 32 << 20, 33 << 20] {
            assert_eq!(super::hash(&bytes[..len]), *blake3::hash(&bytes[..len]).as_bytes(), "{len} bytes");
        }
    }
}
