//! Control groups of commands, where this machine lets one make some.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferroflow_live::children::{Base, CgroupError, Cgroups, SpawnError, Status};

use super::*;

/// A control group for a test, which no process is in. Nothing of an engine's may be in it at the end.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn base(&self) -> Base {
        Base::At(self.0.clone())
    }

    /// The groups below it.
    fn names(&self) -> Vec<String> {
        groups_in(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.0.join("main"));
        let removed = fs::remove_dir(&self.0);
        if !std::thread::panicking() {
            removed.expect("nothing is left of the control groups");
        }
    }
}

fn groups_in(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
    let groups = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    groups.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// `None` where there can be none, and says so.
pub(super) fn folder() -> Option<Folder> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let made = mount.and_then(|line| {
        let path = Path::new(line.split(' ').nth(4)?).join(format!("test-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&path).ok().map(|()| Folder(path))
    });
    if made.is_none() {
        eprintln!("skipped: no control group of version 2 can be made here");
    }
    made
}

fn cgroups(base: &Base) -> Result<Option<Cgroups>, CgroupError> {
    Cgroups::open(base, &ferroflow_live::new_mark())
}

/// What starts commands in groups, and where these are.
fn grouped(base: &Base) -> (Children, PathBuf) {
    let cgroups = Arc::new(cgroups(base).unwrap().unwrap());
    let directory = cgroups.directory().to_owned();
    (Children::new(ferroflow_live::new_mark(), Some(cgroups)), directory)
}

/// A process that has left its command, its session and its environment says who it is.
const HIDDEN: &str = r#"setsid env -i /bin/sh -c 'sh -c "echo \$\$; exec sleep 1000" &' | {
    read -r pid
    echo $pid
}"#;

#[test]
fn what_has_hidden_from_its_command_ends_with_it() {
    let Some(folder) = folder() else { return };
    let (children, directory) = grouped(&folder.base());
    let mut alive = None;
    let (mut text, stop) = (Vec::new(), Stop::new().unwrap());
    let done = run(&children, shell(HIDDEN), &stop, &mut |happened| {
        if first_lines(&happened, &mut text, 1) {
            alive = Some(is_alive(pids(&text)[0]) && groups_in(&directory).len() == 1);
        }
    });
    assert_eq!((done.unwrap().status, alive), (Status::Code(0), Some(true)));
    // Not soon after: at once.
    assert!(!is_alive(pids(&text)[0]));
    assert!(groups_in(&directory).is_empty());
}

#[test]
fn processors_are_counted_that_children_used_who_were_not_waited_for() {
    let Some(folder) = folder() else { return };
    let burn = "import time
while time.process_time() < 0.4: pass
print(flush=True)
time.sleep(1000)";
    let command = || {
        let mut command = shell("mkfifo \"$2\"; python3 -c \"$1\" > \"$2\" & read -r line < \"$2\"");
        let path = tempfile::tempdir().unwrap().keep();
        command.argv.extend(["sh".into(), burn.into(), path.join("pipe").into()]);
        (command, path)
    };
    let used = |children: &Children| {
        let (command, path) = command();
        let done = finish(children, command).unwrap();
        fs::remove_dir_all(path).unwrap();
        assert_eq!(done.status, Status::Code(0));
        done.usage.cpu_micros
    };
    let (with, without) = (used(&grouped(&folder.base()).0), used(&children()));
    assert!(with >= 380_000, "{with}");
    assert!(without < 300_000, "{without}: the command itself does nearly nothing");
}

#[test]
fn memory_is_limited_by_the_group_where_there_is_the_controller() {
    let Some(folder) = folder() else { return };
    let (children, directory) = grouped(&folder.base());
    let with = |code: &str| {
        let mut command = shell("python3 -c \"$1\"; true");
        command.argv.extend(["sh".into(), code.into()]);
        command.limits.data = Some(100 << 20);
        finish(&children, command).unwrap()
    };
    let enabled = fs::read_to_string(directory.join("cgroup.subtree_control")).unwrap();
    if !enabled.contains("memory") {
        // The limit of each process is the one that holds.
        let done = with("b'x' * (300 << 20)");
        assert!(String::from_utf8_lossy(&done.stderr).contains("MemoryError"));
        assert_eq!(done.out_of_memory, None);
        eprintln!("skipped the rest: no control group can be limited here");
        return;
    }
    // What is only reserved counts for nothing.
    let done = with("import mmap; mmap.mmap(-1, 1 << 30)");
    assert_eq!((done.status, done.out_of_memory), (Status::Code(0), Some(false)));
    assert!(done.usage.peak_bytes < 100 << 20, "{}", done.usage.peak_bytes);
    let done = with("b'x' * (300 << 20)");
    assert_eq!((done.status, done.out_of_memory), (Status::Signal(9), Some(true)));
    assert!(done.usage.peak_bytes > 90 << 20, "{}", done.usage.peak_bytes);
}

#[test]
fn nothing_is_left_where_a_command_does_not_start_or_is_stopped() {
    let Some(folder) = folder() else { return };
    let (children, directory) = grouped(&folder.base());
    let mut absent = shell("true");
    absent.argv = vec!["no-such-command".into()];
    assert!(matches!(finish(&children, absent), Err(CommandError::Spawn(SpawnError::NotInPath { .. }))));
    assert!(groups_in(&directory).is_empty());
    let stop = Stop::new().unwrap();
    let mut command =
        shell("trap '' TERM; mkdir -p \"$1/$(ls \"$1\")/its own\"; echo; while :; do sleep 1; done");
    command.argv.extend(["sh".into(), directory.clone().into()]);
    command.grace = Duration::from_millis(50);
    let done = run(&children, command, &stop, &mut |happened| {
        if let Happened::Output(..) = happened {
            stop.set();
        }
    });
    assert!(done.unwrap().stopped);
    assert!(groups_in(&directory).is_empty());
    drop(children);
    assert!(folder.names().is_empty());
}

#[test]
#[ignore = "a process for other tests"]
fn an_engine_with_groups_to_be_killed() {
    if !is_helper() {
        return;
    }
    let (children, _) = grouped(&Base::At(std::env::var_os("BASE").unwrap().into()));
    let (mut text, mut told) = (Vec::new(), false);
    let script = format!("{HIDDEN}; exec sleep 1000");
    let _ = run(&children, shell(&script), &Stop::new().unwrap(), &mut |happened| {
        if first_lines(&happened, &mut text, 1) && !told {
            told = true;
            println!("\npids {} {}", children.launcher().unwrap(), pids(&text)[0]);
        }
    });
}

#[test]
fn the_next_engine_ends_what_a_crash_has_left() {
    let Some(folder) = folder() else { return };
    let (_living, living) = grouped(&folder.base());
    let mut engine = helper("groups::an_engine_with_groups_to_be_killed");
    let mut engine = engine.env("BASE", folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(engine.stdout.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|line| line.starts_with("pids ")).unwrap();
    let pids = pids(&line.as_bytes()[5..]);
    assert!(is_alive(pids[1]));
    // It lives, and so what it has is left alone.
    drop(grouped(&folder.base()));
    assert!(is_alive(pids[1]) && folder.names().len() == 2);
    // With its launcher, which would end all; and it must not see that die.
    let pid = |pid: u32| rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid(engine.id()), rustix::process::Signal::STOP).unwrap();
    rustix::process::kill_process(pid(pids[0]), rustix::process::Signal::KILL).unwrap();
    engine.kill().unwrap();
    engine.wait().unwrap();
    assert!(is_alive(pids[1]), "only the group knows of it");
    drop(grouped(&folder.base()));
    assert!(!is_alive(pids[1]));
    assert_eq!(folder.names(), [living.file_name().unwrap().to_str().unwrap()]);
}

#[test]
fn a_base_that_can_not_be_one_says_why() {
    let opened = |path: &Path| cgroups(&Base::At(path.into())).map(|_| ()).unwrap_err();
    let plain = tempfile::tempdir().unwrap();
    for path in [plain.path(), &plain.path().join("absent")] {
        let error = opened(path);
        assert!(matches!(error, CgroupError::Foreign { .. }), "{error}");
    }
    assert!(cgroups(&Base::Nowhere).unwrap().is_none());
    let Some(folder) = folder() else { return };
    let file = opened(&folder.path().join("cgroup.procs"));
    assert!(matches!(file, CgroupError::Foreign { .. }), "{file}");
    let mut inhabitant = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    fs::write(folder.path().join("cgroup.procs"), inhabitant.id().to_string()).unwrap();
    let error = opened(folder.path());
    inhabitant.kill().unwrap();
    inhabitant.wait().unwrap();
    assert!(matches!(error, CgroupError::Inhabited { .. }), "{error}");
    assert!(error.to_string().contains("DelegateSubgroup"));
    assert!(folder.names().is_empty());
}

#[test]
#[ignore = "a process for other tests"]
fn an_engine_of_somebody_else() {
    if !is_helper() {
        return;
    }
    let error = cgroups(&Base::At(std::env::var_os("BASE").unwrap().into())).map(|_| ()).unwrap_err();
    println!("\nrefused: {error}");
}

#[test]
fn a_base_of_somebody_else_says_so() {
    let Some(folder) = folder() else { return };
    let refused = |path: &str| {
        let mut engine = helper("groups::an_engine_of_somebody_else");
        let Ok(done) = engine.env("BASE", folder.path()).uid(65534).gid(65534).output() else {
            eprintln!("skipped: nobody else can run this program");
            return;
        };
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(
            said.contains(&format!("{path:?} is not writable")) && said.contains("Delegate=yes"),
            "{said}"
        );
    };
    let base = folder.path().to_str().unwrap();
    refused(base);
    std::os::unix::fs::chown(base, Some(65534), None).unwrap();
    refused(&format!("{base}/cgroup.subtree_control"));
    std::os::unix::fs::chown(format!("{base}/cgroup.subtree_control"), Some(65534), None).unwrap();
    // It is theirs now, but not what it has in common with where their processes are.
    let above = folder.path().parent().unwrap().to_str().unwrap();
    refused(&format!("{above}/cgroup.procs"));
}

#[test]
fn an_engine_whose_base_is_gone_starts_nothing() {
    let Some(folder) = folder() else { return };
    let (children, directory) = grouped(&folder.base());
    fs::remove_dir(&directory).unwrap();
    let outcome = finish(&children, shell("true"));
    assert!(matches!(outcome, Err(CommandError::Spawn(SpawnError::Cgroup { .. }))), "{outcome:?}");
}

#[test]
#[ignore = "a process for other tests"]
fn an_engine_in_a_delegated_group() {
    if !is_helper() {
        return;
    }
    let base = PathBuf::from(std::env::var_os("BASE").unwrap());
    let main = base.join("main");
    fs::create_dir(&main).unwrap();
    fs::write(main.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    let found = || cgroups(&Base::Delegated).unwrap();
    assert!(found().is_none(), "nobody has delegated it");
    let set = |value: &[u8]| {
        rustix::fs::setxattr(&base, "user.delegate", value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    set(b"0");
    assert!(found().is_none(), "it is said not to be delegated");
    set(b"1");
    fs::write(base.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    assert!(found().is_none(), "what is above this process is not what was delegated");
    fs::write(main.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    let mut other = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    fs::write(base.join("cgroup.procs"), other.id().to_string()).unwrap();
    assert!(found().is_none(), "it holds processes");
    other.kill().unwrap();
    other.wait().unwrap();
    let (children, directory) = grouped(&Base::Delegated);
    assert_eq!(directory.parent(), Some(&*base));
    let mine = || fs::read_to_string("/proc/self/cgroup").unwrap();
    let before = mine();
    let where_it_runs = || {
        let done = finish(&children, shell("cat /proc/self/cgroup")).unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    assert!(where_it_runs().contains(directory.file_name().unwrap().to_str().unwrap()));
    // What nobody has asked for stands in no command's way.
    fs::remove_dir(&directory).unwrap();
    assert_eq!((where_it_runs(), mine()), (before.clone(), before));
    println!("\ndone");
}

#[test]
fn what_a_service_manager_has_delegated_is_used_and_nothing_else() {
    let Some(folder) = folder() else { return };
    let done = helper("groups::an_engine_in_a_delegated_group").env("BASE", folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("done"), "{said}");
}
