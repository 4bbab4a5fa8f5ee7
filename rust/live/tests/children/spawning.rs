//! Starting, signalling and waiting, and what stands in the way of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ferroflow_launcher::stat::Stat;
use ferroflow_live::children::{Child, Exit, LauncherGone, SpawnError, Status};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;

fn exit(children: &Children, spec: Spec) -> Exit {
    children.spawn(&spec).unwrap().wait().unwrap()
}

fn refusal(children: &Children, spec: Spec) -> SpawnError {
    match children.spawn(&spec) {
        Ok(_) => panic!("it was started"),
        Err(error) => error,
    }
}

#[test]
fn exit_codes_and_signals_are_told() {
    let children = children();
    for code in [0, 1, 7, 255] {
        assert_eq!(exit(&children, spec(&["sh", "-c", &format!("exit {code}")])).status, Status::Code(code));
    }
    assert_eq!(exit(&children, spec(&["sh", "-c", "kill -11 $$"])).status, Status::Signal(11));
}

#[test]
fn children_are_sessions_of_their_own_with_nothing_inherited() {
    let children = children();
    let launcher = || children.launcher().unwrap();
    let child = children.spawn(&spec(&["sleep", "100"])).unwrap();
    let process = child.process();
    let stat = Stat::of(process.pid).unwrap();
    assert_eq!((stat.parent, stat.group, stat.started), (launcher(), process.pid, process.started));
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
    for mask in ["SigBlk", "SigIgn", "SigCgt"] {
        assert!(status.contains(&format!("{mask}:\t0000000000000000")), "{status}");
    }
    // It opens libraries first.
    let open = || fs::read_dir(format!("/proc/{}/fd", process.pid)).unwrap().count();
    until("it has three descriptors", || open() == 3);
    // While it is being executed there is nothing to read.
    let environ = || fs::read_to_string(format!("/proc/{}/environ", process.pid)).unwrap();
    until("it has the mark", || environ().contains(&format!("FERROFLOW_ENGINE={}\0", children.mark())));
    let comm = fs::read_to_string(format!("/proc/{}/cmdline", launcher())).unwrap();
    assert!(comm.starts_with("ferroflow-launcher\0"), "{comm}");
    assert_eq!(Stat::of(launcher()).unwrap().group, launcher());
}

#[test]
fn the_launcher_stays_small() {
    let children = children();
    for _ in 0..20 {
        exit(&children, spec(&["true"]));
    }
    let status = fs::read_to_string(format!("/proc/{}/status", children.launcher().unwrap())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let peak: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak < 4096, "{line}");
}

#[test]
fn a_signal_reaches_the_group() {
    let children = children();
    let mut child = children.spawn(&spec(&["sh", "-c", "sleep 100 & wait"])).unwrap();
    let group = child.process().pid;
    let members = || {
        let mut members = Vec::new();
        ferroflow_launcher::stat::each_process(|pid| {
            if Stat::of(pid).is_some_and(|stat| stat.group == group && !stat.is_over()) {
                members.push(pid);
            }
        });
        members
    };
    until("the shell has started sleep", || members().len() == 2);
    let ends_within = |child: &Child, seconds| {
        let mut polled = [PollFd::from_borrowed_fd(child.ended(), PollFlags::IN)];
        poll(&mut polled, Some(&Timespec { tv_sec: seconds, tv_nsec: 0 })).unwrap() == 1
    };
    assert!(!ends_within(&child, 0));
    child.signal(15);
    assert!(ends_within(&child, 20));
    assert_eq!(child.wait().unwrap().status, Status::Signal(15));
    until("all of the group are gone", || members().is_empty());
    child.signal(15);
}

#[test]
fn who_drops_a_child_kills_it() {
    let children = children();
    let child = children.spawn(&spec(&["sleep", "100"])).unwrap();
    let pid = child.process().pid;
    drop(child);
    until("it is gone", || Stat::of(pid).is_none());
}

#[test]
fn who_drops_all_children_ends_them_and_the_launcher() {
    let children = children();
    let mut child = children.spawn(&spec(&["sh", "-c", "setsid sleep 100 & sleep 100"])).unwrap();
    let launcher = children.launcher().unwrap();
    drop(children);
    assert!(!is_alive(child.process().pid) && !is_alive(launcher));
    assert!(matches!(child.wait(), Err(LauncherGone { .. })));
}

#[test]
fn what_cannot_be_executed_is_explained() {
    let children = children();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let missing = refusal(&children, spec(&["no-such-command", "x"]));
    assert!(matches!(&missing, SpawnError::NotInPath { program, .. } if program == "no-such-command"));
    assert!(missing.to_string().contains("no-such-command") && missing.to_string().contains("PATH"));
    let path = folder.path().join("absent");
    let absent = refusal(&children, spec(&[path.to_str().unwrap()]));
    assert!(matches!(absent, SpawnError::NotFound { .. }), "{absent}");
    let plain = refusal(&children, spec(&[&file("plain", "#!/bin/sh\n", 0o600)]));
    assert!(matches!(plain, SpawnError::NotExecutable { .. }), "{plain}");
    let text = refusal(&children, spec(&[&file("text", "no program", 0o700)]));
    assert!(matches!(text, SpawnError::Format { .. }), "{text}");
    let script = file("script", "#!/no/such/interpreter\n", 0o700);
    let orphan = refusal(&children, spec(&[&script]));
    assert!(matches!(orphan, SpawnError::NoInterpreter { .. }), "{orphan}");
    let mut found = spec(&["script"]);
    found.env[0].1 = folder.path().into();
    assert!(matches!(refusal(&children, found), SpawnError::NoInterpreter { .. }));
    assert!(matches!(refusal(&children, spec(&[])), SpawnError::Empty));
    assert!(matches!(refusal(&children, spec(&["a\0b"])), SpawnError::Nul { .. }));
    let mut named = spec(&["true"]);
    named.env.push(("A=B".into(), "".into()));
    assert!(matches!(refusal(&children, named), SpawnError::Variable { .. }));
    // The launcher is none the worse for it.
    assert_eq!(exit(&children, spec(&["true"])).status, Status::Code(0));
}

#[test]
fn a_program_is_looked_for_in_the_childs_path() {
    let children = children();
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("mine");
    fs::write(&script, "#!/bin/sh\nexit 9\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    let mut found = spec(&["mine"]);
    found.env[0].1 = format!("/no/such/folder:{}", folder.path().display()).into();
    assert_eq!(exit(&children, found).status, Status::Code(9));
    // An empty part of PATH is the working directory, as everywhere.
    let mut here = spec(&["mine"]);
    here.env[0].1 = "/no/such/folder:".into();
    here.cwd = Some(folder.path().into());
    assert_eq!(exit(&children, here).status, Status::Code(9));
}

#[test]
fn a_directory_that_cannot_be_entered_is_named() {
    let children = children();
    for (path, kind) in [
        ("/no/such/directory", std::io::ErrorKind::NotFound),
        ("/etc/passwd", std::io::ErrorKind::NotADirectory),
    ] {
        let mut elsewhere = spec(&["true"]);
        elsewhere.cwd = Some(path.into());
        let refused = refusal(&children, elsewhere);
        assert!(refused.to_string().contains(path), "{refused}");
        assert!(matches!(refused, SpawnError::Directory { error, .. } if error.kind() == kind));
    }
}

#[test]
fn long_arguments_pass_and_too_long_ones_are_refused() {
    let children = children();
    let long = "x".repeat(100_000);
    let mut many: Vec<&str> = vec!["sh", "-c", "[ $# = 9 ] && [ ${#9} = 100000 ]", "sh"];
    many.extend([&*long; 9]);
    assert_eq!(exit(&children, spec(&many)).status, Status::Code(0));
    let longer = "x".repeat(200_000);
    assert!(matches!(refusal(&children, spec(&["true", &longer])), SpawnError::TooLong));
    let endless = "x".repeat(17 << 20);
    assert!(matches!(refusal(&children, spec(&["true", &endless])), SpawnError::TooLong));
}

#[test]
fn limits_hold() {
    let children = children();
    let mut busy = spec(&["sh", "-c", "while :; do :; done"]);
    busy.limits.cpu = Some(1);
    let status = exit(&children, busy).status;
    assert!(matches!(status, Status::Signal(24 | 9)), "{status:?}");
    let mut large = spec(&["python3", "-c", "bytearray(1 << 30)"]);
    large.limits.data = Some(256 << 20);
    assert_eq!(exit(&children, large).status, Status::Code(1));
    let mut small = spec(&["python3", "-c", "bytearray(1 << 20)"]);
    small.limits.data = Some(256 << 20);
    assert_eq!(exit(&children, small).status, Status::Code(0));
    // Who asks for more than there is gets what there is.
    let mut more = spec(&["sh", "-c", "[ \"$(ulimit -t)\" = unlimited ]"]);
    more.limits.cpu = Some(u64::MAX);
    assert_eq!(exit(&children, more).status, Status::Code(0));
}

#[test]
fn a_child_begins_in_its_control_group() {
    let children = children();
    let folder = tempfile::tempdir().unwrap();
    let mut refused = spec(&["true"]);
    refused.cgroup = Some(fs::File::open(folder.path()).unwrap().into());
    assert!(matches!(refusal(&children, refused), SpawnError::Cgroup { .. }));
    let Some(base) = groups::folder() else { return };
    let group = fs::File::open(base.path()).unwrap();
    let output = tempfile::NamedTempFile::new().unwrap();
    let mut grouped = spec(&["cat", "/proc/self/cgroup"]);
    grouped.cgroup = Some(group.try_clone().unwrap().into());
    grouped.stdout = output.reopen().unwrap().into();
    assert_eq!(exit(&children, grouped).status, Status::Code(0));
    let name = base.path().file_name().unwrap().to_str().unwrap();
    let said = fs::read_to_string(output.path()).unwrap();
    assert!(said.lines().any(|line| line.starts_with("0::") && line.ends_with(name)), "{said}");
    // What fails there is said as precisely as elsewhere.
    let mut absent = spec(&["/no/such/program"]);
    absent.cgroup = Some(group.try_clone().unwrap().into());
    assert!(matches!(refusal(&children, absent), SpawnError::NotFound { .. }));
    let mut lost = spec(&["true"]);
    (lost.cgroup, lost.cwd) = (Some(group.into()), Some("/no/such/directory".into()));
    assert!(matches!(refusal(&children, lost), SpawnError::Directory { .. }));
}

#[test]
fn a_killed_launcher_takes_all_with_it_and_is_replaced() {
    let children = children();
    let script = "sleep 100 & echo $!; setsid sleep 100 & echo $!; echo $$; wait";
    let mut text = Vec::new();
    let mut launcher = 0;
    let outcome = run(&children, shell(script), &Stop::new().unwrap(), &mut |happened| {
        if launcher == 0 && first_lines(&happened, &mut text, 3) {
            launcher = children.launcher().unwrap();
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(launcher as i32).unwrap(),
                rustix::process::Signal::KILL,
            )
            .unwrap();
        }
    });
    let Err(CommandError::Gone(gone)) = outcome else { panic!("{outcome:?}") };
    assert!(gone.to_string().contains("the launcher was killed"), "{gone}");
    assert_eq!(pids(&text).len(), 3);
    for pid in pids(&text) {
        assert!(!is_alive(pid), "{pid}");
    }
    assert_eq!(exit(&children, spec(&["true"])).status, Status::Code(0));
    assert_ne!(children.launcher(), Some(launcher));
}

#[test]
fn many_are_started_at_a_time() {
    let children = children();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let children = &children;
            scope.spawn(move || {
                for turn in 0..20 {
                    let code = (thread * 20 + turn) % 200;
                    let script = format!("exit {code}");
                    let status = exit(children, spec(&["sh", "-c", &script])).status;
                    assert_eq!(status, Status::Code(code));
                }
            });
        }
    });
}
