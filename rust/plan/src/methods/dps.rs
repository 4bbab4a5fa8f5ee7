//! DPS, dynamic priority scheduling: a task's priority is how much longer the way from it is than the way
//! to it, and the way to it becomes exact as tasks are placed.
//!
//! The rule is as `anrg-saga` has it, which names no paper: a message counts by its size until both its ends
//! are placed.

use crate::builder::{Builder, Ready};
use crate::instance::Instance;
use crate::ranks::{mean_execs, upward};
use crate::schedule::Schedule;

/// By priority, each task where it ends first.
///
/// What follows a free task is not placed, and what it waits for is, so that its priority is known once
/// it is free.
pub(super) fn dps(instance: &Instance, insertion: bool) -> Schedule {
    let below = upward(instance, &mean_execs(instance), |bytes| bytes);
    let mut builder = Builder::new(instance, insertion);
    let mut arrivals = Vec::new();
    // The longest way to each placed task, with the times and messages that it got.
    let mut above = vec![0.0f64; instance.len()];
    let mut ready = Ready::new(instance, |task| below[task as usize]);
    while let Some(task) = ready.pop() {
        let spot = builder.earliest_finish(task, &mut arrivals);
        builder.place(task, spot);
        let time = |task: u32| instance.exec(task, builder.nodes[task as usize]);
        let ways = instance.received(task).map(|(before, bytes)| {
            let sending = instance.transfer(builder.nodes[before as usize], spot.node, bytes);
            above[before as usize] + time(before) + sending
        });
        above[task as usize] = ways.fold(0.0, f64::max);
        ready.taken(task, |next| {
            let ways = instance.received(next);
            let ways = ways.map(|(before, bytes)| above[before as usize] + time(before) + bytes);
            below[next as usize] - ways.fold(0.0, f64::max)
        });
    }
    builder.finish()
}
