"""Plans: platforms, columns, schedules and what becomes of them."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ferroflow as ff
from ferroflow import PlanError, interchange
from ferroflow.plan import Instance, Link, Node, Placed, Platform, Schedule, compare, methods, plan
from tests.interchange import real

TWO = Platform([Node("slow"), Node("fast", speed=2.0)], bandwidth=10.0)


def layered(tasks: int = 60, seed: int = 1) -> Instance:
    draw = random.Random(seed)
    sources, targets = [], []
    for task in range(6, tasks):
        for before in draw.sample(range(max(task - 9, 0), task - 3), 2):
            sources.append(before)
            targets.append(task)
    costs = [draw.uniform(1, 20) for _ in range(tasks)]
    return Instance(costs, sources, targets, [draw.uniform(1, 20) for _ in sources])


def test_every_method_makes_schedules_that_check() -> None:
    instance = layered(10)
    assert len(methods()) == 25
    for method in methods():
        made = plan(instance, TWO, method.name)
        assert made.check() == []
        assert made.method == method.name
        assert made.makespan >= made.bounds.best * (1 - 1e-12)
        assert made.gap >= 0
        assert method.title


def test_auto_is_at_least_as_good_as_every_method_and_the_same_each_time() -> None:
    instance = layered()
    platform = Platform([Node(f"n{at}", speed=1 + at / 3) for at in range(4)], bandwidth=5.0)
    made = plan(instance, platform, budget=4000)
    assert made.check() == []
    assert made.evaluations <= 4000
    for method in methods():
        if method.name != "exact":
            assert made.makespan <= plan(instance, platform, method.name).makespan + 1e-9
    again = plan(instance, platform, budget=4000)
    assert [*again.starts] == [*made.starts]
    assert [*again.nodes] == [*made.nodes]


def test_as_many_evaluations_as_some_seconds_took_give_the_same() -> None:
    instance = layered(80, seed=2)
    platform = Platform([Node(f"n{at}", speed=1 + at / 3) for at in range(4)], bandwidth=5.0)
    timed = plan(instance, platform, seconds=0.2)
    counted = plan(instance, platform, budget=timed.evaluations)
    assert [*counted.starts] == [*timed.starts]


def test_columns_may_be_arrays_of_many_kinds() -> None:
    sources, targets = [0, 0, 1, 2], [1, 2, 3, 3]
    kinds: list[tuple[Any, Any, Any]] = [
        ([1, 4, 4, 1], sources, targets),
        (np.array([1.0, 4, 4, 1]), np.array(sources), np.array(targets)),
        (np.array([1, 4, 4, 1], np.float32), np.array(sources, np.int32), np.array(targets, np.uint32)),
        (array("d", [1, 4, 4, 1]), array("q", sources), np.array(targets, np.uint64)),
        (np.array([1, 4, 4, 1]), np.array(sources * 2)[:4], np.array(targets)[::1]),
    ]
    made = [plan(Instance(costs, a, b), TWO, "heft").makespan for costs, a, b in kinds]
    assert made == [made[0]] * 5
    assert np.asarray(plan(layered(), TWO, "heft").starts).dtype == np.float64


def test_anything_with_columns_or_edges_can_be_planned() -> None:
    class Columns:
        runtimes = array("d", [2.0, 2.0])
        sources = array("I", [0])
        targets = array("I", [1])
        names = ("a", "b")

    class Graph:
        names = None

        def __len__(self) -> int:
            return 3

        def edges(self) -> tuple[Any, Any]:
            return np.array([0, 1]), np.array([1, 2])

    made = plan(Columns(), Platform(["x"]))
    assert [it.task for it in made.placements()] == ["a", "b"]
    assert plan(Graph(), Platform(["x"])).makespan == 3
    assert plan(Instance.of(Graph(), [1.0, 2.0, 4.0]), Platform(["x"])).makespan == 7
    with pytest.raises(PlanError, match="object has no costs"):
        plan(object(), Platform(["x"]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"costs": [1.0, float("nan")]}, "the cost of task 1 is NaN"),
        ({"costs": [1.0, -1.0]}, "the cost of task 1 is -1"),
        ({"bytes": [float("inf")]}, "the bytes of dependency 0 is inf"),
        ({"targets": [7]}, "names task 7"),
        ({"targets": [-1]}, "out of range"),
        ({"targets": [2**32]}, "out of range"),
        ({"targets": [2**70]}, "at most 64 bits"),
        ({"targets": [0]}, "wait for each other: load -> load"),
        ({"bytes": [1.0, 2.0]}, "2 entries and there are 1"),
        ({"cores": [1, 9]}, "task 1 demands cores=9"),
        ({"names": ["load"]}, "1 names and 2 tasks"),
        ({"placed": [Placed(0, 1.0, ["nowhere"])]}, "nowhere"),
        ({"devices": {"gpu": [0, 1]}}, "gpu=1"),
        ({"labels": {1: {"role": "db"}}}, "label role=db"),
        ({"costs": "tx"}, "buffer"),
    ],
)
def test_what_is_not_right_is_told(change: dict[str, Any], said: str) -> None:
    columns: dict[str, Any] = {"costs": [1.0, 1.0], "sources": [0], "targets": [1], "names": ["load", "fit"]}
    with pytest.raises((PlanError, TypeError), match=said):
        plan(Instance(**(columns | change)), TWO)


def test_a_cycle_is_told_by_name() -> None:
    round_ = Instance([1.0] * 3, [0, 1, 2], [1, 2, 0], names=["a", "b", "c"])
    with pytest.raises(PlanError, match="a -> b -> c -> a") as caught:
        plan(round_, TWO)
    assert caught.value.kind == "cyclic-dependency"


def test_arguments_are_checked() -> None:
    pair = Instance([1.0, 1.0])
    for wrong in (
        {"budget": 0},
        {"seconds": 0.0},
        {"seconds": float("nan")},
        {"seed": -1},
        {"method": "best"},
    ):
        with pytest.raises(PlanError):
            plan(pair, TWO, **wrong)
    with pytest.raises(PlanError, match="at most 10 tasks"):
        plan(layered(), TWO, "exact")


def test_nothing_one_task_and_parts_without_edges() -> None:
    empty = plan(Instance([]), TWO)
    assert (len(empty), empty.makespan, empty.gap, empty.check()) == (0, 0.0, 0.0, [])
    assert empty.gantt().startswith("<svg")
    assert empty.mermaid() == "graph TB\n"
    assert plan(Instance([3.0]), TWO).makespan == 1.5
    assert plan(Instance([2.0, 2.0, 2.0]), Platform(["a", "b", "c"])).makespan == 2.0


@pytest.mark.req("P7.46", "P7.147")
def test_a_platform_says_what_nodes_have() -> None:
    text = """
    nodes:
      - {name: cpu, cores: 8, memory: 16GiB, location: region-1, labels: {role: worker}}
      - {name: gpu, speeds: {train: 10}, devices: {gpu: 1, gpu_memory: 16GiB}}
    bandwidth: 100MiB
    latency: 1ms
    links:
      - {from: cpu, to: gpu, bandwidth: 1GiB, both_ways: false}
    """
    platform = Platform.from_yaml(text)
    cpu, gpu = platform.nodes
    assert (cpu.cores, cpu.memory, cpu.location, cpu.labels) == (8, 16 << 30, "region-1", {"role": "worker"})
    assert gpu.devices == {"gpu": 1, "gpu_memory": 16 << 30}
    assert platform.links == (Link("cpu", "gpu", bandwidth=2**30, both_ways=False),)
    assert Platform.from_dict(platform.to_dict()).to_dict() == platform.to_dict()
    assert Platform.from_json(json.dumps(platform.to_dict())).nodes == platform.nodes
    tasks = Instance(
        [10.0, 10.0],
        kinds=["load", "train"],
        devices={"gpu_memory": [0, 8 << 30]},
        labels={0: {"role": "worker"}},
    )
    made = plan(tasks, platform, "heft")
    assert [(it.task, it.node, it.finish) for it in made.placements()] == [
        ("t0", "cpu", 10.0),
        ("t1", "gpu", 1.0),
    ]
    # A megabyte one way on the link of its own, the other way on the common one.
    there = Instance([0.0, 0.0], [0], [1], [2.0**20], labels={0: {"role": "worker"}}, devices={"gpu": [0, 1]})
    assert plan(there, platform).makespan == pytest.approx(2**20 / 2**30)
    back = Instance([0.0, 0.0], [1], [0], [2.0**20], labels={0: {"role": "worker"}}, devices={"gpu": [0, 1]})
    assert plan(back, platform).makespan == pytest.approx(0.011)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, 'list of "nodes"'),
        ({"nodes": []}, "no nodes"),
        ({"nodes": ["a", "a"]}, "'a'"),
        ({"nodes": [{"name": "a", "speed": 0}]}, "speed"),
        ({"nodes": [{"name": "a", "cores": 0}]}, "no cores"),
        ({"nodes": [{"name": "a", "colour": 1}]}, "colour"),
        ({"nodes": [{"name": "a", "memory": "16 quarks"}]}, "memory of node a"),
        ({"nodes": [5]}, "node 0"),
        ({"nodes": ["a", "b"], "bandwidth": 0}, "bandwidth"),
        ({"nodes": ["a", "b"], "latency": "soon"}, "latency"),
        ({"nodes": ["a", "b"], "links": [{"from": "a", "to": "c"}]}, "'c'"),
        ({"nodes": ["a", "b"], "links": [{"from": "a", "to": "b", "bandwidth": 0}]}, "bandwidth 0"),
        ({"nodes": ["a"], "speed": 1}, "no speed"),
    ],
)
def test_a_platform_that_is_not_right_is_told(given: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        plan(Instance([1.0]), Platform.from_dict(given))


def test_a_schedule_of_ones_own_is_checked() -> None:
    pair = Instance([2.0, 2.0], [0], [1], [8.0])
    platform = Platform(["a", "b"], bandwidth=4.0)

    def kinds(nodes: list[int], starts: list[float], finishes: list[float]) -> list[str]:
        return [it.kind for it in Schedule(pair, platform, nodes, starts, finishes).check()]

    assert kinds([0, 1], [0.0, 4.0], [2.0, 6.0]) == []
    assert kinds([0, 0], [0.0, 1.0], [2.0, 3.0]) == ["precedence", "overlap"]
    assert kinds([0, 1], [0.0, 3.0], [2.0, 5.0]) == ["communication"]
    assert kinds([0, 0xFFFFFFFF], [0.0, 3.0], [2.0, 5.0]) == ["missing"]
    with pytest.raises(ValueError, match="1 nodes and 2 tasks"):
        kinds([0], [0.0], [2.0])


def test_a_schedule_is_drawn_and_written() -> None:
    instance = Instance([2.0, 2.0, 2.0], [0, 1], [1, 2], [8.0, 0.0], names=['lo"ad', "<fit>", "save"])
    platform = Platform(["a", "b"], bandwidth=4.0)
    made = Schedule(instance, platform, [0, 1, 1], [0.0, 4.0, 6.0], [2.0, 6.0, 8.0])
    assert made.levels() == [0, 1, 2]
    assert made.mermaid().splitlines() == [
        "graph TB",
        '  subgraph level0["Level 0"]',
        '    n0["lo#34;ad (a)"]',
        "  end",
        '  subgraph level1["Level 1"]',
        '    n1["#60;fit#62; (b)"]',
        "  end",
        '  subgraph level2["Level 2"]',
        '    n2["save (b)"]',
        "  end",
        '  n0 -- "8 B" --> n1',
        "  n1 --> n2",
    ]
    picture = ET.fromstring(made.gantt())
    assert "<fit>" in "".join(picture.itertext())
    shown = json.loads(made.to_json())
    assert shown["makespan"] == 8.0
    assert shown["movements"] == [
        {"source": 'lo"ad', "target": "<fit>", "from_node": "a", "to_node": "b", "bytes": 8.0}
    ]
    again = interchange.read(made.to_wfformat()).columns
    assert ([*again.runtimes], [*again.sources], [*again.targets], [*again.bytes]) == (
        [2.0, 2.0, 2.0],
        [0, 1],
        [1, 2],
        [8.0, 0.0],
    )
    assert "<table>" in made._repr_html_()


def test_a_plan_can_be_interrupted() -> None:
    code = (
        "from ferroflow.plan import *\n"
        "print('go', flush=True)\n"
        "plan(Instance([1.0 + t % 7 for t in range(300)]), Platform(['a', 'b', 'c']), seconds=300)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert b"KeyboardInterrupt" in said or child.returncode == 0


@real.each
def test_recorded_workflows_are_planned(path: Path) -> None:
    instance = interchange.read(path)
    platform = Platform(
        [Node(f"n{at}", cores=4, speed=1 + at / 4) for at in range(8)], bandwidth="100MiB", latency="1ms"
    )
    assert plan(instance.columns, platform, "heft").check() == []
    assert plan(instance.columns, instance.platform(), "heft").check() == []


def test_a_comparison_ranks_methods() -> None:
    made = compare({"x": layered(20), "y": layered(30, 2)}, TWO, ["olb", "heft", "exact"])
    assert next(iter(made.ratios())) == "heft"
    assert [it.makespan for it in made.entries if it.method == "exact"] == [None, None]
    assert len(made.to_dict()["entries"]) == 6
    assert str(made).splitlines()[0].split() == ["instance", "bound", "olb", "heft", "exact"]
    assert "<svg" in made._repr_html_()
    with pytest.raises(PlanError, match="best"):
        compare({"x": layered(20)}, TWO, ["best"])


def test_the_machine_here_is_a_platform() -> None:
    here = Platform.here()
    assert here.nodes[0].memory is not None
    assert plan(Instance([1.0, 1.0], cores=[1, 1]), here).check() == []


def test_a_graph_is_planned() -> None:
    graph = ff.Graph.from_edges([("load", "fit"), ("fit", "show"), ("load", "show")])
    made = plan(graph, TWO, "heft")
    assert made.makespan == 1.5
    assert [it.task for it in made.placements()] == ["load", "fit", "show"]
