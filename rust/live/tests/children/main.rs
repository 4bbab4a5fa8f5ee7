//! Child processes, by really running them.

mod accounting;
mod commands;
mod engines;
mod groups;
mod leftovers;
mod spawning;

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ferroflow_launcher::stat::Stat;
use ferroflow_live::children::{
    Children, Command, CommandError, Finished, Happened, Limits, Process, Spec, Stop, run,
};

/// Longer than anything takes on a machine that has much else to do.
const LONG: Duration = Duration::from_secs(20);

fn children() -> Children {
    Children::new(ferroflow_live::new_mark(), None)
}

fn null() -> OwnedFd {
    File::options().read(true).write(true).open("/dev/null").unwrap().into()
}

fn spec(argv: &[&str]) -> Spec {
    Spec {
        argv: argv.iter().map(OsString::from).collect(),
        env: vec![("PATH".into(), std::env::var_os("PATH").unwrap())],
        cwd: None,
        limits: Limits::default(),
        stdin: null(),
        stdout: null(),
        stderr: null(),
        extra: None,
        cgroup: None,
    }
}

fn shell(script: &str) -> Command {
    let mut command = Command::new(["/bin/sh", "-c", script].map(OsString::from).into());
    command.env = vec![("PATH".into(), std::env::var_os("PATH").unwrap())];
    command
}

fn finish(children: &Children, command: Command) -> Result<Finished, CommandError> {
    run(children, command, &Stop::new().unwrap(), &mut |_| {})
}

fn is_alive(pid: u32) -> bool {
    Stat::of(pid).is_some_and(|stat| !stat.is_over())
}

/// Waits until something holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LONG, "not in {LONG:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The process ids in a text, one a line.
fn pids(text: &[u8]) -> Vec<u32> {
    String::from_utf8_lossy(text).split_whitespace().map(|word| word.parse().unwrap()).collect()
}

/// Takes the lines that a command writes to its standard output, as soon as there are so many.
fn first_lines(happened: &Happened<'_>, text: &mut Vec<u8>, lines: usize) -> bool {
    if let Happened::Output(_, bytes) = happened {
        text.extend(*bytes);
    }
    text.iter().filter(|&&byte| byte == b'\n').count() >= lines
}

/// Runs one of the ignored tests of this program in a process of its own.
fn helper(name: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("FERROFLOW_TEST_HELPER", "1").stdin(Stdio::null());
    command
}

/// This process has been started by `helper`.
fn is_helper() -> bool {
    std::env::var_os("FERROFLOW_TEST_HELPER").is_some()
}

fn process_of(pid: u32) -> Process {
    let started = Stat::of(pid).unwrap().started;
    Process { pid, started, boot: ferroflow_live::children::boot() }
}
