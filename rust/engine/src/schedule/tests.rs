//! The queue: order, fit, patience, limits, shares.

use super::*;

fn demand(name: &str, amount: u64) -> Resources {
    Resources { amounts: [(name.to_owned(), amount)].into() }
}

fn two_cpus() -> Schedule {
    Schedule::new([("cpu".into(), 2000)].into(), 1)
}

/// Req: P1.25
#[test]
fn a_misfit_at_the_head_does_not_block_and_capacity_is_never_exceeded() {
    let mut schedule = two_cpus();
    let one = schedule.class(0, &demand("cpu", 1000)).unwrap();
    let two = schedule.class(0, &demand("cpu", 2000)).unwrap();
    schedule.offer(0, 0, 2, one, 0, 0);
    schedule.offer(0, 1, 2, two, 0, 0);
    schedule.offer(0, 2, 2, one, 0, 0);
    let mut take = || schedule.take(0, 0, false, |_| true).map(|(entry, _)| entry.step);
    assert_eq!((take(), take(), take()), (Some(0), Some(2), None));
    assert_eq!(schedule.free("cpu"), Some(0));
    schedule.release(0, one);
    assert!(schedule.take(0, 0, false, |_| true).is_none(), "one cpu is still held");
    schedule.release(0, one);
    assert_eq!(schedule.take(0, 0, false, |_| true).unwrap().0.step, 1);
}

/// Req: P6.129, P7.10
#[test]
fn priority_first_then_arrival() {
    let mut schedule = two_cpus();
    let class = schedule.class(0, &Resources::default()).unwrap();
    for (step, priority) in [(0, 2), (1, 0), (2, 4), (3, 0)] {
        schedule.offer(0, step, priority, class, 0, 0);
    }
    let order: Vec<_> =
        std::iter::from_fn(|| schedule.take(0, 0, false, |_| true).map(|(entry, _)| entry.step)).collect();
    assert_eq!(order, [1, 3, 0, 2]);
}

/// Req: P8.37
#[test]
fn a_stream_of_small_steps_does_not_hold_up_a_large_one_for_ever() {
    let mut schedule = Schedule::new([("cpu".into(), 2000), ("gpu".into(), 1000)].into(), 2);
    let small = schedule.class(0, &demand("cpu", 1000)).unwrap();
    let large = schedule.class(1, &demand("cpu", 2000)).unwrap();
    let other = schedule.class(0, &demand("gpu", 1000)).unwrap();
    schedule.offer(0, 0, 2, small, 0, 0);
    assert!(schedule.take(0, 0, false, |_| true).is_some());
    schedule.offer(1, 0, 2, large, 0, 0);
    // One small step always runs and another is always ready.
    let mut overtaken = 0;
    loop {
        schedule.offer(0, 0, 2, small, 0, 0);
        if schedule.take(0, 0, false, |_| true).is_none() {
            break;
        }
        schedule.release(0, small);
        overtaken += 1;
    }
    assert_eq!(overtaken, PATIENCE - 1);
    schedule.offer(2, 0, 2, other, 0, 0);
    assert_eq!(schedule.take(0, 0, false, |_| true).unwrap().0.run, 2, "what it doesn't need goes on");
    schedule.offer(3, 0, 0, small, 0, 0);
    assert_eq!(schedule.take(0, 0, false, |_| true).unwrap().0.run, 3, "what is more urgent goes first");
    schedule.release(0, small);
    schedule.release(0, small);
    assert_eq!(schedule.take(1, 0, false, |_| true).unwrap().0.run, 1);
}

/// A step that is cancelled while it waits leaves nothing kept.
#[test]
fn nothing_is_kept_for_what_no_longer_counts() {
    let mut schedule = two_cpus();
    let small = schedule.class(0, &demand("cpu", 1000)).unwrap();
    let large = schedule.class(0, &demand("cpu", 2000)).unwrap();
    schedule.offer(0, 0, 2, small, 0, 0);
    assert!(schedule.take(0, 0, false, |_| true).is_some());
    schedule.offer(1, 0, 2, large, 0, 0);
    (0..2 * PATIENCE).for_each(|step| schedule.offer(0, step as Step, 2, small, 0, 0));
    assert!(schedule.take(0, 0, false, |_| true).is_none());
    assert!(schedule.take(0, 0, false, |entry| entry.run != 1).is_some());
}

#[test]
fn what_can_never_fit_is_refused_at_once() {
    let mut schedule = two_cpus();
    assert_eq!(schedule.class(0, &demand("cpu", 3000)).unwrap_err().capacity, 2000);
    assert_eq!(schedule.class(0, &demand("gpu", 1)).unwrap_err().capacity, 0);
}

#[test]
fn a_gated_step_waits_for_its_commit_unless_asked_for() {
    let mut schedule = two_cpus();
    let class = schedule.class(0, &Resources::default()).unwrap();
    schedule.offer(0, 7, 2, class, 5, 0);
    assert!(schedule.take(0, 4, false, |_| true).is_none());
    assert_eq!(schedule.take(0, 4, true, |_| true).unwrap().0.gate, 5);
}
