//! Worked examples of the papers, to the unit.

use ferroflow_plan::{Instance, Method, Network, Node, Options, Platform, Schedule, Work, bounds};

fn example(times: &[[f64; 3]], edges: &[(u32, u32, f64)]) -> Instance {
    let nodes = ["P1", "P2", "P3"].map(|name| Node::new(name, 1.0)).to_vec();
    let platform = Platform::new(nodes, Network::Uniform { latency: 0.0, bandwidth: 1.0 }).unwrap();
    let work = Work {
        costs: vec![1.0; times.len()],
        sources: edges.iter().map(|it| it.0 - 1).collect(),
        targets: edges.iter().map(|it| it.1 - 1).collect(),
        bytes: edges.iter().map(|it| it.2).collect(),
        matrix: Some(times.concat()),
        ..Work::default()
    };
    Instance::new(work, platform).unwrap()
}

/// Figures 2 and 3 and table 1 of Topcuoglu, Hariri and Wu, 2002.
fn topcuoglu() -> Instance {
    let times = [
        [14.0, 16.0, 9.0],
        [13.0, 19.0, 18.0],
        [11.0, 13.0, 19.0],
        [13.0, 8.0, 17.0],
        [12.0, 13.0, 10.0],
        [13.0, 16.0, 9.0],
        [7.0, 15.0, 11.0],
        [5.0, 11.0, 14.0],
        [18.0, 12.0, 20.0],
        [21.0, 7.0, 16.0],
    ];
    let edges = [
        (1, 2, 18.0),
        (1, 3, 12.0),
        (1, 4, 9.0),
        (1, 5, 11.0),
        (1, 6, 14.0),
        (2, 8, 19.0),
        (2, 9, 16.0),
        (3, 7, 23.0),
        (4, 8, 27.0),
        (4, 9, 23.0),
        (5, 9, 13.0),
        (6, 8, 15.0),
        (7, 10, 17.0),
        (8, 10, 11.0),
        (9, 10, 13.0),
    ];
    example(&times, &edges)
}

/// The example of Arabnejad and Barbosa, 2014.
fn arabnejad() -> Instance {
    let times = [
        [22.0, 21.0, 36.0],
        [22.0, 18.0, 18.0],
        [32.0, 27.0, 43.0],
        [7.0, 10.0, 4.0],
        [29.0, 27.0, 35.0],
        [26.0, 17.0, 24.0],
        [14.0, 25.0, 30.0],
        [29.0, 23.0, 36.0],
        [15.0, 21.0, 8.0],
        [13.0, 16.0, 33.0],
    ];
    let edges = [
        (1, 2, 17.0),
        (1, 3, 31.0),
        (1, 4, 29.0),
        (1, 5, 13.0),
        (1, 6, 7.0),
        (2, 8, 3.0),
        (2, 9, 30.0),
        (3, 7, 16.0),
        (4, 8, 11.0),
        (4, 9, 7.0),
        (5, 9, 57.0),
        (6, 8, 5.0),
        (7, 10, 9.0),
        (8, 10, 42.0),
        (9, 10, 7.0),
    ];
    example(&times, &edges)
}

fn run(method: Method, instance: &Instance) -> Schedule {
    let schedule = method.run(instance, Options::default()).unwrap();
    assert_eq!(schedule.check(instance), [], "{}", method.name());
    schedule
}

#[test]
fn topcuoglu_hariri_and_wu() {
    let instance = topcuoglu();
    assert_eq!(run(Method::Heft, &instance).makespan(), 80.0);
    assert_eq!(run(Method::Cpop, &instance).makespan(), 86.0);
}

#[test]
fn arabnejad_and_barbosa() {
    let instance = arabnejad();
    assert_eq!(run(Method::Peft, &instance).makespan(), 122.0);
    assert_eq!(run(Method::Heft, &instance).makespan(), 133.0);
}

#[test]
fn no_method_beats_the_exact_one_or_the_bounds() {
    for instance in [topcuoglu(), arabnejad()] {
        let best = run(Method::Exact, &instance).makespan();
        let least = bounds(&instance).best();
        assert!(least <= best);
        for &method in Method::ALL {
            let makespan = run(method, &instance).makespan();
            println!("{} {makespan}", method.name());
            assert!(makespan >= best, "{}", method.name());
        }
        println!("{:?}", bounds(&instance));
    }
}
