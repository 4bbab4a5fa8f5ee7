//! The end of an engine's process, however it comes, is the end of all that it has started.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::*;

/// Leaves processes in its group, out of it, and out of its sight.
const FAMILY: &str = "sleep 1000 & echo $!
setsid sleep 1000 & echo $!
sh -c 'trap \"\" TERM HUP; setsid sh -c \"sleep 1000 & echo \\$!; exec sleep 1000\" & echo $!' &
echo $$
wait; exec sleep 1000";
const MEMBERS: usize = 5;

#[test]
#[ignore = "a process for other tests"]
fn an_engine_to_be_killed() {
    if !is_helper() {
        return;
    }
    let children = children();
    let (mut text, mut told) = (Vec::new(), false);
    let _ = run(&children, shell(FAMILY), &Stop::new().unwrap(), &mut |happened| {
        if first_lines(&happened, &mut text, MEMBERS) && !told {
            told = true;
            let launcher = children.launcher().unwrap();
            let pids = pids(&text).iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
            println!("\npids {launcher} {pids}");
        }
    });
}

/// Starts an engine and its family: the engine's process, and all that it has started.
fn engine() -> (std::process::Child, Vec<u32>) {
    let mut engine = helper("engines::an_engine_to_be_killed").stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(engine.stdout.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|line| line.starts_with("pids ")).unwrap();
    let pids = pids(&line.as_bytes()[5..]);
    assert_eq!(pids.len(), MEMBERS + 1);
    assert!(pids.iter().all(|&pid| is_alive(pid)), "{pids:?}");
    (engine, pids)
}

#[test]
fn all_is_gone_when_the_engine_is_killed() {
    let (mut engine, pids) = engine();
    engine.kill().unwrap();
    engine.wait().unwrap();
    until("all are gone", || !pids.iter().any(|&pid| is_alive(pid)));
}

#[test]
fn all_is_gone_when_a_fork_of_the_engine_still_holds_the_connection() {
    let (mut engine, pids) = engine();
    // A copy of every descriptor of the engine's, as its fork would have them.
    let pid = rustix::process::Pid::from_raw(engine.id() as i32).unwrap();
    let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    let copies: Vec<OwnedFd> = std::fs::read_dir(format!("/proc/{}/fd", engine.id()))
        .unwrap()
        .filter_map(|entry| {
            let number: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let flags = rustix::process::PidfdGetfdFlags::empty();
            rustix::process::pidfd_getfd(&handle, number, flags).ok()
        })
        .collect();
    assert!(copies.len() > 3);
    engine.kill().unwrap();
    engine.wait().unwrap();
    until("all are gone", || !pids.iter().any(|&pid| is_alive(pid)));
    drop(copies);
}

#[test]
fn a_new_engine_sweeps_away_what_is_left_when_engine_and_launcher_are_killed() {
    let (mut engine, pids) = engine();
    let environ = std::fs::read(format!("/proc/{}/environ", pids[1])).unwrap();
    let mark = ferroflow_launcher::stat::variable(&environ, "FERROFLOW_ENGINE").unwrap();
    let pid = |pid: u32| rustix::process::Pid::from_raw(pid as i32).unwrap();
    // The engine must not see its launcher die, or it would do the sweeping itself.
    rustix::process::kill_process(pid(engine.id()), rustix::process::Signal::STOP).unwrap();
    rustix::process::kill_process(pid(pids[0]), rustix::process::Signal::KILL).unwrap();
    engine.kill().unwrap();
    engine.wait().unwrap();
    assert!(ferroflow_live::children::sweep(std::str::from_utf8(mark).unwrap()));
    until("all are gone", || !pids.iter().any(|&pid| is_alive(pid)));
}

#[test]
#[ignore = "a process for other tests"]
fn an_engine_that_counts_its_descriptors() {
    if !is_helper() {
        return;
    }
    let children = children();
    let folder = tempfile::tempdir().unwrap();
    let count = |pid: &str| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let turn = |turn: u32| {
        let mut command = shell(&format!("cat; echo x >&2; exit {}", turn % 2));
        command.stdin = ferroflow_live::children::Input::Bytes(b"hello".to_vec());
        command.heartbeat = turn.is_multiple_of(2);
        if turn.is_multiple_of(3) {
            command.stdout = ferroflow_live::children::Output::File(folder.path().join("output"));
        }
        if turn.is_multiple_of(5) {
            command.cwd = Some("/no/such/directory".into());
        }
        let _ = finish(&children, command);
    };
    (0..5).for_each(turn);
    let launcher = children.launcher().unwrap().to_string();
    let before = [count("self"), count(&launcher)];
    (0..200).for_each(turn);
    // What the last turn used, another thread may still be about to let go of.
    until("no more are open than before", || count("self") <= before[0] && count(&launcher) <= before[1]);
    println!("\ncounted");
}

#[test]
fn no_descriptors_are_lost() {
    let done = helper("engines::an_engine_that_counts_its_descriptors").output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("counted"), "{said}");
}
