//! Processes that leave their command, and those that an earlier engine has left.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

use ferroflow_live::children::{Output, Status, kill_group, sweep};

use super::*;

/// A process that forgets its parent, its session and its group, and says who it is.
const DAEMON: &str = "import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
print(os.getpid(), flush=True)
time.sleep(1000)";

/// The process that has written its number to a file.
fn written(path: &std::path::Path) -> u32 {
    let read = || std::fs::read(path).ok().filter(|text| text.ends_with(b"\n"));
    until("the number is written", || read().is_some());
    pids(&read().unwrap())[0]
}

fn daemon(path: &std::path::Path, rest: &str) -> Command {
    let mut command = shell(&format!("python3 -c \"$1\" > \"$2\"; {rest}"));
    command.argv.extend(["sh".into(), DAEMON.into(), path.into()]);
    command.stdout = Output::Null;
    command
}

#[test]
fn a_daemon_ends_soon_after_its_command() {
    let children = children();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pid");
    let wait = "while ! [ -s \"$2\" ]; do sleep 0.01; done";
    assert_eq!(finish(&children, daemon(&path, wait)).unwrap().status, Status::Code(0));
    let pid = written(&path);
    until("the daemon is gone", || !is_alive(pid));
}

#[test]
fn a_daemon_lives_as_long_as_its_own_command_does() {
    let children = children();
    let folder = tempfile::tempdir().unwrap();
    let (mine, other) = (folder.path().join("mine"), folder.path().join("other"));
    let stop = Stop::new().unwrap();
    std::thread::scope(|scope| {
        let long = scope.spawn(|| run(&children, daemon(&mine, "exec sleep 1000"), &stop, &mut |_| {}));
        let pid = written(&mine);
        // The daemon of another command, which has ended, is found and ended; this one is not.
        let wait = "while ! [ -s \"$2\" ]; do sleep 0.01; done";
        finish(&children, daemon(&other, wait)).unwrap();
        let ended = written(&other);
        until("the other daemon is gone", || !is_alive(ended));
        assert!(is_alive(pid));
        stop.set();
        assert!(long.join().unwrap().unwrap().stopped);
        until("the daemon is gone", || !is_alive(pid));
    });
}

#[test]
fn a_daemon_that_hides_its_environment_ends_with_its_command() {
    let children = children();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pid");
    let mut hidden = daemon(&path, "while ! [ -s \"$2\" ]; do sleep 0.01; done");
    hidden.argv[2] =
        hidden.argv[2].to_str().unwrap().replace("python3", "env -i $(command -v python3)").into();
    finish(&children, hidden).unwrap();
    let pid = written(&path);
    until("the daemon is gone", || !is_alive(pid));
}

/// A shell in a group of its own, with a child, as an engine that crashed may have left them.
fn left(mark: Option<&str>, leader_ends: bool) -> (Child, u32) {
    let rest = if leader_ends { "" } else { "wait" };
    let mut command = std::process::Command::new("/bin/sh");
    command.arg("-c").arg(format!("sleep 1000 > /dev/null & echo $!; {rest}"));
    command.process_group(0).stdout(Stdio::piped()).env_remove("FERROFLOW_ENGINE");
    if let Some(mark) = mark {
        command.env("FERROFLOW_ENGINE", mark);
    }
    let mut child = command.spawn().unwrap();
    let mut text = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut text).unwrap();
    (child, text.trim().parse().unwrap())
}

#[test]
fn a_group_with_its_leader_is_ended() {
    let (mut leader, member) = left(None, false);
    let process = process_of(leader.id());
    for wrong in
        [Process { started: process.started + 1, ..process }, Process { boot: process.boot ^ 1, ..process }]
    {
        assert!(kill_group(&wrong), "there is nothing left of it");
    }
    assert!(is_alive(leader.id()) && is_alive(member));
    assert!(kill_group(&process));
    assert!(!is_alive(leader.id()) && !is_alive(member));
    leader.wait().unwrap();
    assert!(kill_group(&process));
}

#[test]
fn of_a_group_without_its_leader_only_marked_processes_are_ended() {
    for mark in [Some("00000000000000000000000000000001"), None] {
        let (mut leader, member) = left(mark, true);
        let process = process_of(leader.id());
        leader.wait().unwrap();
        assert!(is_alive(member));
        assert!(kill_group(&process));
        assert_eq!(is_alive(member), mark.is_none());
        if mark.is_none() {
            let pid = rustix::process::Pid::from_raw(member as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
    }
}

#[test]
fn all_that_an_engine_has_left_is_swept_away() {
    let mark = |number: u128| format!("{:032x}", uuid::Uuid::now_v7().as_u128() ^ number);
    let (mine, other) = (mark(0), mark(1));
    let mut swept = [left(Some(&mine), false), left(Some(&mine), true)];
    let (mut spared, member) = left(Some(&other), false);
    assert!(sweep(&mine));
    for (leader, member) in &mut swept {
        assert!(!is_alive(leader.id()) && !is_alive(*member));
        leader.wait().unwrap();
    }
    assert!(is_alive(spared.id()) && is_alive(member));
    assert!(sweep(&other));
    spared.wait().unwrap();
    assert!(!is_alive(member));
}
