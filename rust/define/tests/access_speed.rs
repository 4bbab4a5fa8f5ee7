//! How long the borrow check takes of a workflow of so many steps; run with `--release -- --ignored --nocapture`.

use std::time::Instant;

use ferroflow_define::access::check::check;
use ferroflow_define::access::finding::findings;
use ferroflow_define::algebra::compile::Program;
use rmp::encode::{write_array_len, write_map_len, write_str};

/// Steps that each write one asset and read two, in the order that this needs.
fn definition(steps: u32, assets: u32) -> Vec<u8> {
    let mut state = 1u64;
    let mut random = move |below: u32| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 32) * u64::from(below) >> 32) as u32
    };
    let mut writer = vec![None; assets as usize];
    let mut readers: Vec<Vec<u32>> = vec![Vec::new(); assets as usize];
    let mut out = Vec::new();
    write_map_len(&mut out, 3).unwrap();
    write_str(&mut out, "name").unwrap();
    write_str(&mut out, "w").unwrap();
    write_str(&mut out, "result").unwrap();
    out.push(0);
    write_str(&mut out, "term").unwrap();
    write_map_len(&mut out, 1).unwrap();
    write_str(&mut out, "partial").unwrap();
    write_array_len(&mut out, steps).unwrap();
    let name = |asset: u32| format!("lake/{}/a{asset}", asset / 1000);
    for step in 0..steps {
        let write = random(assets);
        let mut reads = vec![random(assets), random(assets)];
        reads.sort_unstable();
        reads.dedup();
        reads.retain(|&it| it != write);
        let mut after: Vec<u32> = reads.iter().filter_map(|&it| writer[it as usize]).collect();
        after.extend(writer[write as usize].replace(step));
        after.append(&mut readers[write as usize]);
        reads.iter().for_each(|&it| readers[it as usize].push(step));
        after.sort_unstable();
        after.dedup();
        after.retain(|&it| it != step);
        write_map_len(&mut out, 5).unwrap();
        for (key, value) in [("task", "t".to_owned()), ("id", format!("s{step}")), ("writes", name(write))] {
            write_str(&mut out, key).unwrap();
            write_str(&mut out, &value).unwrap();
        }
        let mut list = |key: &str, items: Vec<String>| {
            write_str(&mut out, key).unwrap();
            write_array_len(&mut out, items.len() as u32).unwrap();
            items.iter().for_each(|it| write_str(&mut out, it).unwrap());
        };
        list("reads", reads.iter().map(|&it| name(it)).collect());
        list("after", after.iter().map(|it| format!("s{it}")).collect());
    }
    out
}

#[test]
#[ignore = "a measurement"]
fn how_long_the_check_takes() {
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        status.lines().find(|it| it.starts_with("VmHWM")).unwrap_or_default().to_owned()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for steps in [10_000, 100_000, 1_000_000] {
        let bytes = definition(steps, steps / 10);
        let begun = Instant::now();
        let program = Program::read(&bytes).unwrap().1;
        let compiled = begun.elapsed();
        let before = peak();
        for _ in 0..3 {
            let begun = Instant::now();
            let found = check(&program, 1000, threads);
            let checked = begun.elapsed();
            assert!(found.races.is_empty() && found.moved.is_empty());
            let begun = Instant::now();
            assert_eq!(findings(&program, 1000, threads).len(), 0);
            println!(
                "{steps}: compile {compiled:?}, check {checked:?}, findings {:?}, {before}, {}",
                begun.elapsed(),
                peak()
            );
        }
    }
}
