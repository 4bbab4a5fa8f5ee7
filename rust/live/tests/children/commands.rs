//! Whole commands: what they read and write, how they are stopped, what they leave behind.

use std::fs;

use ferroflow_live::children::{Errors, Input, Output, Status, Stream};

use super::*;

#[test]
fn output_and_errors_are_captured() {
    let children = children();
    let done = finish(&children, shell("echo out; echo err >&2; exit 3")).unwrap();
    assert_eq!((&*done.stdout, &*done.stderr), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!((done.status, done.stopped), (Status::Code(3), false));
    let mut merged = shell("echo out; echo err >&2");
    merged.stderr = Errors::Merge;
    let done = finish(&children, merged).unwrap();
    assert_eq!((&*done.stdout, &*done.stderr), (&b"out\nerr\n"[..], &b""[..]));
    let mut nothing = shell("echo out; echo err >&2");
    (nothing.stdout, nothing.stderr) = (Output::Null, Errors::Own(Output::Null));
    let done = finish(&children, nothing).unwrap();
    assert!(done.stdout.is_empty() && done.stderr.is_empty());
    let done = finish(&children, shell("printf '\\377\\000\\n'")).unwrap();
    assert_eq!(done.stdout, b"\xff\0\n");
}

#[test]
fn output_arrives_while_the_command_runs() {
    let children = children();
    let (stop, mut seen) = (Stop::new().unwrap(), Vec::new());
    let done = run(&children, shell("echo one; exec sleep 100"), &stop, &mut |happened| match happened {
        Happened::Output(Stream::Stdout, bytes) => {
            seen.extend(bytes);
            stop.set();
        }
        Happened::Spawned(process) => assert!(is_alive(process.pid)),
        other => panic!("{other:?}"),
    });
    let done = done.unwrap();
    assert_eq!((&*seen, &*done.stdout), (&b"one\n"[..], &b"one\n"[..]));
    assert_eq!((done.status, done.stopped), (Status::Signal(15), true));
}

#[test]
fn too_much_output_ends_the_command() {
    let children = children();
    let bounded = |bytes: &str| {
        let mut command = shell(&format!("head -c {bytes} /dev/zero"));
        command.stdout = Output::Capture { most: 1 << 20 };
        command
    };
    assert_eq!(finish(&children, bounded("1048576")).unwrap().stdout.len(), 1 << 20);
    let outcome = finish(&children, bounded("10000000"));
    let Err(CommandError::TooMuchOutput { stream: Stream::Stdout, most }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(most, 1 << 20);
    // One that would never end, and hides from signals.
    let endless = shell("trap '' TERM PIPE; while :; do head -c 100000 /dev/zero; done");
    assert!(matches!(finish(&children, endless), Err(CommandError::TooMuchOutput { .. })));
}

#[test]
fn the_last_of_many_errors_is_kept() {
    let mut command = shell("for i in 1 2 3 4 5 6 7 8; do head -c 100000 /dev/zero >&2; done; echo end >&2");
    command.stderr = Errors::Own(Output::Capture { most: 1000 });
    let done = finish(&children(), command).unwrap();
    assert_eq!((done.status, done.stderr.len()), (Status::Code(0), 1000));
    assert!(done.stderr.ends_with(b"\0end\n"));
}

#[test]
fn input_is_given_as_bytes_or_as_a_file() {
    let children = children();
    let long = vec![b'x'; 1 << 20];
    let mut command = shell("wc -c");
    command.stdin = Input::Bytes(long);
    assert_eq!(finish(&children, command).unwrap().stdout.trim_ascii(), b"1048576");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    fs::write(&path, "from a file").unwrap();
    let mut command = shell("cat");
    command.stdin = Input::File(path);
    assert_eq!(finish(&children, command).unwrap().stdout, b"from a file");
    let mut command = shell("cat");
    command.stdin = Input::File(folder.path().join("absent"));
    let outcome = finish(&children, command).unwrap_err();
    assert!(matches!(outcome, CommandError::Input { .. }));
    assert!(outcome.to_string().contains("absent"), "{outcome}");
    assert_eq!(finish(&children, shell("cat")).unwrap().stdout, b"");
}

#[test]
fn a_file_gets_its_name_after_a_success_only() {
    let children = children();
    let folder = tempfile::tempdir().unwrap();
    let names = || {
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let writing = |script: &str| {
        let mut command = shell(script);
        command.stdout = Output::File(folder.path().join("output"));
        command.cwd = Some(folder.path().into());
        command
    };
    fs::write(folder.path().join("output"), "before").unwrap();
    let done = finish(&children, writing("echo new; cat output >&2; exit 1")).unwrap();
    assert_eq!((done.status, &*done.stderr), (Status::Code(1), &b"before"[..]));
    assert_eq!(fs::read(folder.path().join("output")).unwrap(), b"before");
    assert_eq!(names(), ["output"]);
    let mut accepted = writing("echo new; echo why >&2; exit 1");
    accepted.success.insert(1);
    accepted.sync = true;
    accepted.stderr = Errors::Own(Output::File(folder.path().join("errors")));
    finish(&children, accepted).unwrap();
    assert_eq!(fs::read(folder.path().join("output")).unwrap(), b"new\n");
    assert_eq!(fs::read(folder.path().join("errors")).unwrap(), b"why\n");
    assert_eq!(names(), ["errors", "output"]);
    for path in ["/no/such/folder/output", "/tmp", "/"] {
        let mut nowhere = shell("true");
        nowhere.stdout = Output::File(path.into());
        let outcome = finish(&children, nowhere).unwrap_err();
        assert!(matches!(&outcome, CommandError::Output { path: it, .. } if it.as_os_str() == path));
    }
    let absent = finish(&children, {
        let mut command = writing("true");
        command.argv = vec!["no-such-command".into()];
        command
    });
    assert!(matches!(absent, Err(CommandError::Spawn(_))));
    assert_eq!(names(), ["errors", "output"]);
}

#[test]
fn a_command_that_ignores_the_wish_to_stop_is_killed_after_its_grace() {
    let children = children();
    let script = "trap '' TERM; sleep 1000 & echo $!; while :; do sleep 1; done";
    let mut command = shell(script);
    command.grace = Duration::from_millis(300);
    let stop = Stop::new().unwrap();
    let mut text = Vec::new();
    let mut told = None;
    let done = run(&children, command, &stop, &mut |happened| {
        if first_lines(&happened, &mut text, 1) && told.is_none() {
            told = Some(Instant::now());
            stop.clone().set();
            stop.set();
        }
    });
    let done = done.unwrap();
    assert_eq!((done.status, done.stopped), (Status::Signal(9), true));
    assert!(told.unwrap().elapsed() >= Duration::from_millis(300));
    assert!(stop.is_set());
    until("its background process is gone", || !is_alive(pids(&text)[0]));
    assert!(matches!(run(&children, shell("true"), &stop, &mut |_| {}), Err(CommandError::Stopped)));
}

#[test]
fn a_command_may_end_in_its_own_way_when_it_is_stopped() {
    let stop = Stop::new().unwrap();
    let script = "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.05; done";
    let done = run(&children(), shell(script), &stop, &mut |happened| {
        if let Happened::Output(..) = happened {
            stop.set();
        }
    });
    let done = done.unwrap();
    assert_eq!((done.status, done.stopped), (Status::Code(5), true));
    assert_eq!(done.stdout, b"up\nbye\n");
}

#[test]
fn signs_of_life_are_read() {
    let children = children();
    let mut command = shell("echo >&$FERROFLOW_FD; echo 40 loading >&3; printf 'half\\377' >&3");
    command.heartbeat = true;
    let mut beats = Vec::new();
    let done = run(&children, command, &Stop::new().unwrap(), &mut |happened| {
        if let Happened::Beat { percent, message } = happened {
            beats.push((percent, message));
        }
    });
    assert_eq!(done.unwrap().status, Status::Code(0));
    let expected = [(None, ""), (Some(40.0), "loading"), (None, "half\u{fffd}")];
    assert_eq!(beats, expected.map(|(percent, message)| (percent, message.to_owned())));
    let done = finish(&children, shell("echo x >&3")).unwrap();
    assert_ne!(done.status, Status::Code(0), "without the wish there is no descriptor 3");
}

#[test]
fn what_is_left_behind_does_not_hold_up_the_end() {
    let children = children();
    let began = Instant::now();
    // Both hold the pipe. The second has left the group, but not the command's care.
    let script = "sleep 1000 & echo $!; setsid sleep 1000 & echo $!; exit 0";
    let done = finish(&children, shell(script)).unwrap();
    assert_eq!(done.status, Status::Code(0));
    assert!(began.elapsed() < Duration::from_secs(100));
    let left = pids(&done.stdout);
    assert_eq!(left.len(), 2);
    for pid in left {
        until("it is ended, too", || !is_alive(pid));
    }
}
