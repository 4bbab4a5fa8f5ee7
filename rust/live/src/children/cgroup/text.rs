//! Reads what the kernel writes of control groups. Whatever the text is, reading it ends.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// The group of a process, from `/proc/PID/cgroup`.
pub(super) fn group(text: &[u8]) -> Option<&Path> {
    let path = lines(text).find_map(|line| line.strip_prefix(b"0::"))?;
    Some(Path::new(OsStr::from_bytes(path)))
}

/// Where a group is among the files, from `/proc/PID/mountinfo`.
pub(super) fn directory(mounts: &[u8], group: &Path) -> Option<PathBuf> {
    lines(mounts).find_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ');
        let (root, mount) = (plain(fields.nth(3)?), plain(fields.next()?));
        // Before this there are any number of optional fields.
        let kind = fields.skip_while(|&field| field != b"-").nth(1)?;
        let below = group.strip_prefix(root).ok().filter(|_| kind == b"cgroup2")?;
        below.components().all(|it| matches!(it, Component::Normal(_))).then(|| mount.join(below))
    })
}

/// A number from lines of a name and a number each, as in `cpu.stat`.
pub(super) fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim_end().parse().ok())
}

/// A number of all devices, from lines of `NAME=NUMBER` as in `io.stat`.
pub(super) fn sum(text: &str, name: &str) -> u64 {
    let numbers = text.split_whitespace().filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    numbers.filter_map(|it| it.parse::<u64>().ok()).fold(0, u64::saturating_add)
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n')
}

/// A path of which some bytes are written in octal.
fn plain(mut field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    while let [first, rest @ ..] = field {
        let code = rest.get(..3).filter(|_| *first == b'\\').and_then(|digits| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        });
        bytes.push(code.unwrap_or(*first));
        field = if code.is_some() { &rest[3..] } else { rest };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOUNTS: &[u8] = b"22 1 0:20 / /proc rw - proc proc rw
30 25 0:26 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory
31 25 0:27 /a /other/a\\040b rw,nosuid shared:4 master:7 - cgroup2 cgroup2 rw
32 25 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn the_group_of_a_process_is_found() {
        let text = b"4:memory:/x\n1:name=systemd:/y\n0::/system.slice/a b.service/main\n";
        assert_eq!(group(text), Some(Path::new("/system.slice/a b.service/main")));
        assert_eq!(group(b"4:memory:/x\n10::/y\n"), None);
    }

    #[test]
    fn its_directory_is_that_of_a_mount_from_which_it_is_seen() {
        let found = |path: &str| directory(MOUNTS, Path::new(path));
        assert_eq!(found("/b/c").as_deref(), Some(Path::new("/sys/fs/cgroup/b/c")));
        assert_eq!(found("/").as_deref(), Some(Path::new("/sys/fs/cgroup")));
        assert_eq!(found("/a/c").as_deref(), Some(Path::new("/other/a b/c")));
        assert_eq!(found("/ab").as_deref(), Some(Path::new("/sys/fs/cgroup/ab")));
        assert_eq!(found("/../outside"), None, "it is not seen from this namespace");
        assert_eq!(directory(b"1 2 3 / /x rw - cgroup cgroup rw\n1 2\n", Path::new("/")), None);
    }

    #[test]
    fn numbers_are_found_by_their_whole_names() {
        let text = "usage_usec_more 1\nusage_usec 250\nuser_usec 7\nbad x\n";
        assert_eq!((number(text, "usage_usec"), number(text, "user_usec")), (Some(250), Some(7)));
        assert_eq!((number(text, "bad"), number(text, "usage")), (None, None));
        let io = "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n253:0 rbytes=5 wbytes=1\n7:0 \n";
        assert_eq!((sum(io, "rbytes"), sum(io, "wbytes"), sum(io, "bytes")), (15, 21, 0));
        assert_eq!(sum("a=18446744073709551615 a=5 a=x", "a"), u64::MAX);
    }

    proptest! {
        #[test]
        fn whatever_is_read_reading_ends(
            bytes in prop::collection::vec(prop::sample::select(b"0:/a.-=\\7 \ncgroup2\xff".to_vec()), 0..200),
            path in "[/.a]{0,9}",
        ) {
            if let Some(path) = group(&bytes) {
                directory(&bytes, path);
            }
            if let Some(found) = directory(&bytes, Path::new(&path)) {
                prop_assert!(found.components().count() < 400);
            }
            let text = String::from_utf8_lossy(&bytes);
            number(&text, "c");
            sum(&text, "a");
        }

        #[test]
        fn paths_come_back_from_how_they_are_written(name in prop::collection::vec(1u8.., 1..20)) {
            let name: Vec<u8> = name.into_iter().filter(|&byte| byte != b'/').collect();
            let written: String = name.iter().map(|byte| format!("\\{byte:03o}")).collect();
            let line = format!("1 2 0:3 / /{written} rw - cgroup2 none rw");
            let expected = Path::new("/").join(OsStr::from_bytes(&name));
            prop_assert_eq!(directory(line.as_bytes(), Path::new("/")), Some(expected));
        }

        #[test]
        fn numbers_come_back(value: u64, before: u64) {
            let text = format!("x {before}\nname {value}\n8:0 name={value} y={before}\n");
            prop_assert_eq!((number(&text, "name"), sum(&text, "name")), (Some(value), value));
        }
    }
}
