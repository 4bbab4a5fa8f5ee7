//! The check finds each thing that can be wrong; what can't be planned is refused.

use ferroflow_plan::{Error, Input, Instance, Method, Network, Node, Options, Platform, Schedule, Work};
use std::collections::BTreeMap;

fn platform(cores: &[u32]) -> Platform {
    let nodes = cores.iter().enumerate().map(|(at, &cores)| {
        let mut node = Node::new(format!("n{at}"), 1.0);
        (node.cores, node.memory) = (cores, 100);
        node
    });
    Platform::new(nodes.collect(), Network::Uniform { latency: 1.0, bandwidth: 2.0 }).unwrap()
}

fn chain() -> Work {
    Work { costs: vec![2.0, 2.0], sources: vec![0], targets: vec![1], bytes: vec![4.0], ..Work::default() }
}

fn kinds(schedule: &Schedule, instance: &Instance) -> Vec<&'static str> {
    schedule.check(instance).iter().map(|it| it.kind()).collect()
}

fn schedule(rows: &[(u32, f64, f64)]) -> Schedule {
    Schedule {
        nodes: rows.iter().map(|it| it.0).collect(),
        starts: rows.iter().map(|it| it.1).collect(),
        finishes: rows.iter().map(|it| it.2).collect(),
    }
}

#[test]
fn each_violation_is_found() {
    let instance = Instance::new(chain(), platform(&[1, 1])).unwrap();
    let found = |rows: &[(u32, f64, f64)]| kinds(&schedule(rows), &instance);
    assert_eq!(found(&[(0, 0.0, 2.0), (0, 2.0, 4.0)]), [""; 0]);
    assert_eq!(found(&[(0, 0.0, 2.0), (1, 5.0, 7.0)]), [""; 0]);
    assert_eq!(found(&[(0, 0.0, 2.0), (1, 4.0, 6.0)]), ["communication"]);
    assert_eq!(found(&[(0, 0.0, 2.0), (1, 1.0, 3.0)]), ["precedence"]);
    assert_eq!(found(&[(0, 0.0, 2.0), (0, 1.0, 3.0)]), ["precedence", "overlap"]);
    assert_eq!(found(&[(0, 0.0, 2.0), (0, 2.0, 5.0)]), ["duration"]);
    assert_eq!(found(&[(0, 0.0, 2.0), (Schedule::NOWHERE, 2.0, 5.0)]), ["missing"]);
    assert_eq!(found(&[(0, 0.0, 2.0), (2, 9.0, 11.0)]), ["no-such-node"]);
    assert_eq!(found(&[(0, f64::NAN, 2.0), (1, 9.0, 11.0)]), ["no-time"]);
    assert_eq!(found(&[(0, -1.0, 1.0), (1, 9.0, 11.0)]), ["no-time"]);
}

#[test]
fn what_is_shared_is_counted() {
    let mut work =
        Work { costs: vec![4.0; 3], cores: vec![2, 1, 1], memory: vec![10, 60, 60], ..Work::default() };
    work.inputs = vec![Input { task: 0, bytes: 6.0, nodes: vec![1] }];
    work.labels = BTreeMap::from([(0, BTreeMap::from([("role".to_string(), "big".to_string())]))]);
    let refused = Instance::new(work.clone(), platform(&[4, 4])).unwrap_err();
    assert!(refused.to_string().contains("label role=big"), "{refused}");
    work.labels.clear();
    let instance = Instance::new(work, platform(&[3, 1])).unwrap();
    let at = |rows: &[(u32, f64, f64)]| {
        schedule(rows).check(&instance).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(at(&[(0, 4.0, 8.0), (0, 4.0, 8.0), (0, 8.0, 12.0)]), [""; 0]);
    assert_eq!(
        at(&[(0, 3.0, 7.0), (0, 0.0, 4.0), (1, 0.0, 4.0)]),
        ["task 0 starts at 3, before its input arrives at 4"]
    );
    let over = "node 0 has 100 of memory and 120 are used at 1, when task 2 starts";
    assert_eq!(at(&[(0, 8.0, 12.0), (0, 0.0, 4.0), (0, 1.0, 5.0)]), [over]);
    let many = "node 0 has 3 of cores and 4 are used at 4, when task 2 starts";
    assert!(at(&[(0, 4.0, 8.0), (0, 4.0, 8.0), (0, 4.0, 8.0)]).contains(&many.to_string()));
    let both =
        ["task 0 does not fit node 1", "node 1 has 1 of cores and 2 are used at 0, when task 0 starts"];
    assert_eq!(at(&[(1, 0.0, 4.0), (0, 0.0, 4.0), (0, 4.0, 8.0)]), both);
}

#[test]
fn what_can_not_be_planned_is_refused() {
    let refused = |change: &dyn Fn(&mut Work)| {
        let mut work = chain();
        change(&mut work);
        Instance::new(work, platform(&[1, 1])).unwrap_err()
    };
    assert_eq!(refused(&|it| it.targets[0] = 0), Error::Cycle(vec![0]));
    assert_eq!(refused(&|it| it.targets[0] = 7), Error::Dangling { edge: 0, task: 7, tasks: 2 });
    for value in [f64::NAN, f64::INFINITY, -1.0] {
        assert!(matches!(refused(&|it| it.costs[1] = value), Error::Number { at: 1, .. }));
        assert!(matches!(refused(&|it| it.bytes[0] = value), Error::Number { at: 0, .. }));
        assert!(matches!(refused(&|it| it.matrix = Some(vec![value; 4])), Error::Number { at: 0, .. }));
    }
    assert!(matches!(
        refused(&|it| it.matrix = Some(vec![1.0; 3])),
        Error::Length { found: 3, wanted: 4, .. }
    ));
    assert!(matches!(refused(&|it| it.cores = vec![1, 2]), Error::FitsNowhere { task: 1, .. }));
    assert!(matches!(refused(&|it| it.memory = vec![101, 1]), Error::FitsNowhere { task: 0, .. }));
    assert!(matches!(refused(&|it| it.cores = vec![0, 1]), Error::Number { at: 0, .. }));
    let device = BTreeMap::from([("gpu".to_string(), vec![0, 1])]);
    let lacking = refused(&|it| it.devices = device.clone());
    assert!(lacking.to_string().contains("gpu=1"), "{lacking}");
    let mut round = chain();
    round.costs.push(1.0);
    (round.sources, round.targets, round.bytes) = (vec![0, 1, 2], vec![1, 2, 0], vec![0.0; 3]);
    let error = Instance::new(round, platform(&[1])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tasks wait for each other: 0 -> 1 -> 2 -> 0; remove one of these dependencies"
    );
    let large = Instance::new(Work { costs: vec![1.0; 11], ..Work::default() }, platform(&[1])).unwrap();
    let refused = Method::Exact.run(&large, Options::default());
    assert!(matches!(refused, Err(Error::TooLarge { tasks: 11, .. })));
    assert!(matches!(Method::named("best"), Err(Error::UnknownMethod(..))));
}

#[test]
fn data_and_devices_draw_tasks_to_nodes() {
    let mut nodes = vec![Node::new("near", 1.0), Node::new("far", 1.0)];
    nodes[1].devices.insert("gpu".into(), 1);
    let platform = Platform::new(nodes, Network::Uniform { latency: 0.0, bandwidth: 1.0 }).unwrap();
    let mut work = Work { costs: vec![1.0], ..Work::default() };
    work.inputs = vec![Input { task: 0, bytes: 5.0, nodes: vec![0] }];
    let run = |work: &Work| {
        let instance = Instance::new(work.clone(), platform.clone()).unwrap();
        let made = Method::Heft.run(&instance, Options::default()).unwrap();
        (made.nodes[0], made.makespan())
    };
    assert_eq!(run(&work), (0, 1.0));
    work.devices.insert("gpu".into(), vec![1]);
    assert_eq!(run(&work), (1, 6.0));
}

#[test]
fn kinds_of_task_have_speeds_of_their_own() {
    let mut nodes = vec![Node::new("a", 2.0), Node::new("b", 1.0)];
    nodes[1].speeds.insert("matrix".into(), 8.0);
    let platform = Platform::new(nodes, Network::Uniform { latency: 0.0, bandwidth: 1.0 }).unwrap();
    let work = Work {
        costs: vec![8.0, 8.0],
        kinds: vec![0, 1],
        kind_names: vec!["text".into(), "matrix".into()],
        ..Work::default()
    };
    let instance = Instance::new(work, platform).unwrap();
    assert_eq!(
        [instance.exec(0, 0), instance.exec(0, 1), instance.exec(1, 0), instance.exec(1, 1)],
        [4.0, 8.0, 4.0, 1.0]
    );
}
