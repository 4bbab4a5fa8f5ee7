//! What is true of every planner's schedules, and of plans.

mod random;

use ferroflow_plan::{
    Budget, Instance, Method, Network, Node, Options, Platform, Schedule, Work, bounds, plan,
};
use proptest::prelude::*;
use std::sync::atomic::AtomicBool;

proptest! {
    #[test]
    fn every_schedule_is_valid_and_above_the_bounds(
        instance in random::instances(24), insertion in proptest::option::of(any::<bool>()), seed in any::<u64>()
    ) {
        let least = bounds(&instance).best();
        for &method in Method::ALL {
            let Ok(made) = method.run(&instance, Options { insertion, seed }) else {
                prop_assert!(method == Method::Exact);
                continue;
            };
            prop_assert_eq!(made.check(&instance), vec![], "{}", method.name());
            prop_assert!(made.makespan() >= least - 1e-9 * least, "{}: {} < {}", method.name(), made.makespan(), least);
            prop_assert_eq!(&made, &method.run(&instance, Options { insertion, seed }).unwrap());
        }
    }

    #[test]
    fn as_many_evaluations_give_the_same_plan(
        instance in random::instances(16), evaluations in 1usize..3000, seed in 0u64..9
    ) {
        let stop = AtomicBool::new(false);
        let options = Options { insertion: None, seed };
        let run = |evaluations| plan(&instance, None, options, Budget { evaluations, stop: &stop }).unwrap();
        let made = run(evaluations);
        prop_assert_eq!(made.schedule.check(&instance), vec![]);
        prop_assert_eq!(made.schedule.makespan(), made.makespan);
        prop_assert!(made.evaluations <= evaluations.max(1));
        prop_assert_eq!(&made, &run(evaluations));
        prop_assert!(run(2 * evaluations).makespan <= made.makespan);
    }

    #[test]
    fn nothing_beats_the_exact_schedule(instance in random::instances(6)) {
        let best = Method::Exact.run(&instance, Options::default()).unwrap().makespan();
        let stop = AtomicBool::new(false);
        let made = plan(&instance, None, Options::default(), Budget { evaluations: 2000, stop: &stop }).unwrap();
        prop_assert!(made.makespan >= best - 1e-9, "{} < {best}", made.makespan);
        prop_assert!(bounds(&instance).best() <= best + 1e-9);
    }
}

#[test]
fn a_plan_that_is_told_to_stop_ends_with_what_it_has() {
    let stop = AtomicBool::new(true);
    let platform = Platform::new(vec![Node::new("a", 1.0), Node::new("b", 2.0)], PLAIN).unwrap();
    let instance = Instance::new(Work { costs: vec![1.0; 40], ..Work::default() }, platform).unwrap();
    let made =
        plan(&instance, None, Options::default(), Budget { evaluations: usize::MAX, stop: &stop }).unwrap();
    assert_eq!(made.schedule.check(&instance), []);
    assert_eq!(made.evaluations, 4);
}

const PLAIN: Network = Network::Uniform { latency: 0.0, bandwidth: 1.0 };

#[test]
fn without_tasks_there_is_nothing_to_do() {
    let instance =
        Instance::new(Work::default(), Platform::new(vec![Node::new("a", 1.0)], PLAIN).unwrap()).unwrap();
    for &method in Method::ALL {
        let made = method.run(&instance, Options::default()).unwrap();
        assert_eq!(made, Schedule::default(), "{}", method.name());
    }
    let stop = AtomicBool::new(false);
    let made = plan(&instance, None, Options::default(), Budget { evaluations: 9, stop: &stop }).unwrap();
    assert_eq!((made.makespan, made.gap()), (0.0, 0.0));
}

/// A graph in layers, with costs and bytes that rarely tie.
fn layered(seed: u64) -> Instance {
    let mut state = seed;
    let mut draw = move |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let tasks = 40;
    let (mut sources, mut targets, mut bytes) = (vec![], vec![], vec![]);
    for task in 5..tasks {
        for _ in 0..1 + draw(3) {
            sources.push((task / 5 * 5 - 1 - draw(5)) as u32);
            targets.push(task as u32);
            bytes.push(1.0 + draw(1900) as f64 / 100.0);
        }
    }
    let costs = (0..tasks).map(|_| 1.0 + draw(1900) as f64 / 100.0).collect();
    let nodes = (0..4).map(|at| Node::new(format!("n{at}"), 0.5 + draw(150) as f64 / 100.0)).collect();
    let platform = Platform::new(nodes, PLAIN).unwrap();
    Instance::new(Work { costs, sources, targets, bytes, ..Work::default() }, platform).unwrap()
}

/// Duplex is by its definition one of two others, and where nodes differ by speed alone, minimum execution
/// time is by its definition the fastest node. No other pair may agree on more than half.
#[test]
fn no_two_methods_are_the_same() {
    let methods: Vec<Method> = Method::ALL.iter().copied().filter(|&it| it != Method::Exact).collect();
    let instances: Vec<Instance> = (0..60).map(layered).collect();
    let made: Vec<Vec<Schedule>> = methods
        .iter()
        .map(|method| instances.iter().map(|it| method.run(it, Options::default()).unwrap()).collect())
        .collect();
    let name = |at: usize| methods[at].name();
    println!("{:13}{}", "", (0..methods.len()).map(|at| format!("{:>6.5}", name(at))).collect::<String>());
    let mut same = Vec::new();
    for (at, own) in made.iter().enumerate() {
        let mut row = format!("{:13}", name(at));
        for (other, its) in made.iter().enumerate().take(at) {
            let equal = own.iter().zip(its).filter(|(a, b)| a == b).count();
            row += &format!("{equal:6}");
            if equal * 2 > instances.len() {
                same.push((name(other), name(at)));
            }
        }
        println!("{row}");
    }
    same.retain(|&pair| !matches!(pair, ("min_min" | "max_min", "duplex") | ("met", "fastest_node")));
    assert_eq!(same, []);
}
