//! Control groups as files, in folders that are none.

use super::*;

/// A folder with files, as a group may have them.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// It is of no process, so that nothing is ended.
fn group(folder: &tempfile::TempDir, memory: Option<u64>) -> Group {
    Group::at(folder.path().to_owned(), 0, memory).unwrap()
}

const WAITED: Usage = Usage { cpu_micros: 100, peak_bytes: 200, read_bytes: 300, written_bytes: 400 };

#[test]
fn memory_is_limited_where_there_is_the_controller() {
    let names = ["memory.max", "memory.swap.max", "memory.oom.group"];
    let written = |folder: &tempfile::TempDir| {
        names.map(|name| fs::read_to_string(folder.path().join(name)).unwrap_or_else(|_| "-".to_owned()))
    };
    let all = folder(&names.map(|name| (name, "")));
    assert!(group(&all, Some(1 << 30)).holds);
    assert_eq!(written(&all), ["1073741824", "0", "1"]);
    let no_swap = folder(&[("memory.max", ""), ("memory.oom.group", "")]);
    assert!(group(&no_swap, Some(5)).holds);
    assert_eq!(written(&no_swap), ["5", "-", "1"]);
    let none = folder(&[]);
    assert!(!group(&none, Some(5)).holds);
    assert_eq!(written(&none), ["-", "-", "-"]);
    let unlimited = folder(&[("memory.max", "max")]);
    assert!(!group(&unlimited, None).holds);
    assert_eq!(written(&unlimited)[0], "max");
}

#[test]
fn what_all_processes_have_used_is_read() {
    let files = folder(&[
        ("cpu.stat", "usage_usec 5000\nuser_usec 4000\n"),
        ("memory.peak", "1048576\n"),
        ("io.stat", "8:0 rbytes=500 wbytes=100 rios=1\n8:16 rbytes=1 wbytes=1\n"),
    ]);
    let used = Usage { cpu_micros: 5000, peak_bytes: 1 << 20, read_bytes: 501, written_bytes: 400 };
    assert_eq!(group(&files, None).finish(WAITED), (used, None));
    // Without the controllers, and with text that is none of the kernel's.
    assert_eq!(group(&folder(&[]), None).finish(WAITED), (WAITED, None));
    let odd = folder(&[("cpu.stat", "usage_usec\n"), ("memory.peak", "max"), ("io.stat", "=")]);
    assert_eq!(group(&odd, None).finish(WAITED), (WAITED, None));
}

#[test]
fn the_want_of_memory_is_that_of_this_group() {
    for (events, expected) in [
        ("low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 1\n", true),
        ("max 7\noom 0\noom_kill 0\n", false),
        ("max 0\noom 0\noom_kill 1\n", false),
        ("max 9\noom 1\noom_kill 0\n", false),
        ("", false),
    ] {
        let files = folder(&[("memory.max", ""), ("memory.events", events)]);
        assert_eq!(group(&files, Some(9)).finish(WAITED).1, Some(expected), "{events}");
        assert_eq!(group(&files, None).finish(WAITED).1, None, "it has no limit");
    }
}

#[test]
fn groups_of_engines_that_live_and_what_is_no_engines_are_left_alone() {
    let base = tempfile::tempdir().unwrap();
    let [dead, living] = [(); 2].map(|()| base.path().join(name(&crate::new_mark())));
    let others = ["ferroflow-main", "ferroflow-", "other"].map(|name| base.path().join(name));
    for path in others.iter().chain([&dead.join("1/of its own"), &dead.join("2")]) {
        fs::create_dir_all(path).unwrap();
    }
    let lock = make_locked(&living).unwrap();
    clear(base.path()).unwrap();
    assert!(!dead.exists() && living.exists() && others.iter().all(|it| it.exists()));
    drop(lock);
    clear(base.path()).unwrap();
    assert!(!living.exists() && others.iter().all(|it| it.exists()));
}

#[test]
fn an_engine_keeps_its_group_from_one_that_clears_up_at_the_time() {
    let base = tempfile::tempdir().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    clear(base.path()).unwrap();
                }
            });
        }
        let made = std::panic::catch_unwind(|| {
            for _ in 0..1000 {
                let directory = base.path().join(name(&crate::new_mark()));
                let lock = make_locked(&directory).unwrap();
                std::thread::yield_now();
                assert!(directory.exists());
                drop(lock);
            }
        });
        done.store(true, Ordering::Relaxed);
        made.unwrap();
    });
}
