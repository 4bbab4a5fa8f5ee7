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

/// A session as a command begins one, in which a process has hidden its environment; its members.
fn session(mark: &str, leader_ends: bool) -> (Child, Vec<u32>) {
    let rest = if leader_ends { "" } else { "wait" };
    let mut command = std::process::Command::new("setsid");
    let text = "sleep 1000 > /dev/null & echo $!; env -i sleep 1000 > /dev/null & echo $!;";
    command
        .args(["sh", "-c", &format!("{text} {rest}")])
        .stdout(Stdio::piped())
        .env("FERROFLOW_ENGINE", mark);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let members: Vec<u32> = (0..2).map(|_| lines.next().unwrap().unwrap().parse().unwrap()).collect();
    let name = |pid| std::fs::read(format!("/proc/{pid}/comm")).unwrap();
    until("both are what they are to be", || members.iter().all(|&it| name(it) == b"sleep\n"));
    (child, members)
}

#[test]
fn what_hides_its_environment_is_swept_away_with_what_does_not() {
    let mark = format!("{:032x}", uuid::Uuid::now_v7().as_u128());
    for leader_ends in [false, true] {
        let (mut leader, members) = session(&mark, leader_ends);
        if leader_ends {
            // Nobody knows its number any more.
            leader.wait().unwrap();
        }
        assert!(members.iter().all(|&it| is_alive(it)));
        assert!(sweep(&mark));
        assert!(!members.iter().any(|&it| is_alive(it)));
        leader.wait().unwrap();
    }
}

/// As what a daemon runs that has kept the environment of whoever asked for it.
#[test]
fn a_session_that_others_began_is_spared_but_for_what_is_marked_in_it() {
    let mark = format!("{:032x}", uuid::Uuid::now_v7().as_u128());
    let mut command = std::process::Command::new("setsid");
    let text = "FERROFLOW_ENGINE=$1 sleep 1000 > /dev/null & echo $!; sleep 1000 > /dev/null & echo $!; wait";
    command.args(["sh", "-c", text, "sh", &mark]).stdout(Stdio::piped()).env_remove("FERROFLOW_ENGINE");
    let mut leader = command.spawn().unwrap();
    let mut lines = BufReader::new(leader.stdout.take().unwrap()).lines();
    let [marked, other]: [u32; 2] = std::array::from_fn(|_| lines.next().unwrap().unwrap().parse().unwrap());
    let environment = || std::fs::read_to_string(format!("/proc/{marked}/environ")).unwrap();
    until("it has its environment", || environment().contains(&mark));
    assert!(sweep(&mark));
    assert!(!is_alive(marked) && is_alive(other) && is_alive(leader.id()));
    for pid in [other, leader.id()] {
        let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    leader.wait().unwrap();
}
