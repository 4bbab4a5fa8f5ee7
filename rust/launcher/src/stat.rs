//! What `/proc/PID/stat` says of a process.

use std::fs::File;
use std::io::Read;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub state: u8,
    pub parent: u32,
    pub group: u32,
    pub session: u32,
    /// Clock ticks since the machine was booted.
    pub started: u64,
}

impl Stat {
    /// Of a process that exists, ended or not.
    pub fn of(pid: u32) -> Option<Self> {
        // All that is needed stands well within the first kilobyte.
        let mut buffer = [0; 1024];
        let length = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut buffer).ok()?;
        Self::parse(&buffer[..length])
    }

    fn parse(line: &[u8]) -> Option<Self> {
        // The name, in parentheses, may contain anything, parentheses too.
        let after = line.iter().rposition(|&byte| byte == b')')?;
        let text = std::str::from_utf8(&line[after + 1..]).ok()?;
        let mut fields = text.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        let started = fields.nth(15)?.parse().ok()?;
        Some(Self { state, parent, group, session, started })
    }

    /// It has ended, and only its parent has not yet asked for it.
    pub fn is_over(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// Calls `visit` with the id of every process.
pub fn each_process(mut visit: impl FnMut(u32)) {
    let Ok(folder) = std::fs::read_dir("/proc") else { return };
    for entry in folder.flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            visit(pid);
        }
    }
}

/// The value of a variable in the environment that a process was started with, as `/proc` shows it.
pub fn variable<'e>(environ: &'e [u8], name: &str) -> Option<&'e [u8]> {
    environ.split(|&byte| byte == 0).find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_contain_parentheses() {
        let rest = "S 7 42 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 2";
        let stat = Stat::parse(format!("12 (a) R 1 (b)) {rest}").as_bytes());
        assert_eq!(stat, Some(Stat { state: b'S', parent: 7, group: 42, session: 41, started: 98765 }));
        assert_eq!(Stat::parse(b"12 (a"), None);
        assert_eq!(Stat::parse(b"12 (a) S 7"), None);
    }

    #[test]
    fn processes_are_found() {
        let mine = Stat::of(std::process::id()).unwrap();
        assert!(!mine.is_over() && mine.started > 0);
        let mut found = false;
        each_process(|pid| found |= pid == std::process::id());
        assert!(found);
    }

    #[test]
    fn variables_are_found_by_their_whole_names() {
        let environ = b"AB=1\0A=2=3\0B";
        assert_eq!(variable(environ, "A"), Some(&b"2=3"[..]));
        assert_eq!(variable(environ, "B"), None);
    }
}
