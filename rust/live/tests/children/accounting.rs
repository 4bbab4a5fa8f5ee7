//! What a command is said to have used.

use ferroflow_live::children::Status;

use super::*;

/// Takes about 80 MB and half a second.
const WORK: &str = "import time
held = b'x' * 80_000_000
while time.process_time() < 0.5: pass";

#[test]
fn usage_is_what_time_says() {
    if !std::path::Path::new("/usr/bin/time").exists() {
        eprintln!("skipped: there is no /usr/bin/time");
        return;
    }
    // The program itself, so that no wrapper in between is measured.
    let python = finish(&children(), shell("python3 -c 'import sys; print(sys.executable)'")).unwrap().stdout;
    let python = String::from_utf8(python).unwrap();
    let python = python.trim();
    let peer = std::process::Command::new("/usr/bin/time")
        .args(["-f", "%M %U %S", python, "-c", WORK])
        .output()
        .unwrap();
    let text = String::from_utf8(peer.stderr).unwrap();
    let peer: Vec<f64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let mut command = Command::new([python, "-c", WORK].map(OsString::from).into());
    command.env = std::env::vars_os().collect();
    let done = finish(&children(), command).unwrap();
    assert_eq!(done.status, Status::Code(0));
    let near = |ours: f64, theirs: f64| assert!((ours / theirs - 1.0).abs() < 0.05, "{ours} and {theirs}");
    near(done.usage.peak_bytes as f64 / 1024.0, peer[0]);
    // `time` rounds down to hundredths.
    near(done.usage.cpu_micros as f64 / 1e6, peer[1] + peer[2] + 0.01);
    assert!(done.wall >= Duration::from_millis(400));
}

#[test]
fn a_small_command_is_not_said_to_be_as_large_as_the_engine() {
    let ballast = vec![1u8; 200 << 20];
    let done = finish(&children(), shell("true")).unwrap();
    assert!(done.usage.peak_bytes < 20 << 20, "{}", done.usage.peak_bytes);
    assert_eq!(ballast[ballast.len() / 2], 1);
}

#[test]
fn what_is_written_is_counted() {
    const TMPFS: rustix::fs::FsWord = 0x0102_1994;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    if rustix::fs::statfs(folder.path()).unwrap().f_type == TMPFS {
        eprintln!("skipped: {:?} is on no disk", folder.path());
        return;
    }
    let mut command = shell("head -c 3000000 /dev/zero > written; sync written");
    command.cwd = Some(folder.path().into());
    let done = finish(&children(), command).unwrap();
    assert_eq!(done.status, Status::Code(0));
    assert!(done.usage.written_bytes >= 2_900_000, "{}", done.usage.written_bytes);
}
