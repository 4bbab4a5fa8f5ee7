"""Simulations: what a run would do, in virtual time."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from ferroflow.draw.histogram import histogram
from ferroflow.plan import (
    Amount,
    Exponential,
    Faults,
    Link,
    LogNormal,
    Loss,
    Node,
    Platform,
    Trace,
    recorded,
    simulate,
)


@ff.task(retry=3)
def load(n: int) -> int:
    return n


@ff.task(cpu=2)
def train(n: int) -> int:
    return n


@ff.task
def join(found: list[int]) -> int:
    return sum(found)


@ff.workflow
def flow(items: list[int]) -> int:
    return join(ff.each(items, lambda n: train(load(n))))


@ff.workflow
def chain() -> int:
    return train.options(id="last")(load.options(id="first")(1))


FOUR = [Node("four", cores=4)]


def test_a_run_takes_what_its_steps_take() -> None:
    found = simulate(chain, FOUR, durations={"first": 3, "train": 4.5})
    assert (found.states, found.makespans, found.attempts) == (["completed"], [7.5], [2])
    # One core for 3 s and two for 4.5 s, of four cores for 7.5 s.
    assert found.utilisations == [pytest.approx(12 / 30)]
    assert simulate(chain, FOUR).makespans == [120.0]


def test_items_share_the_cores() -> None:
    durations = {"load": 1, "train": 10, "join": 2}
    found = simulate(flow, FOUR, durations=durations, answers={"each": 8})
    # Two trainings at a time.
    assert found.makespans == [pytest.approx(1 + 40 + 2, abs=3)]
    fast = simulate(flow, [Node("m", cores=4, speed=2)], durations=durations, answers={"each": 8})
    assert fast.makespans[0] == pytest.approx(found.makespans[0] / 2)
    picky = [Node("m", cores=4, speeds={"train": 10})]
    assert simulate(flow, picky, durations=durations, answers={"each": 8}).makespans[0] < 10


def test_the_same_seed_gives_the_same_run_whatever_else_there_is() -> None:
    durations: dict[str, Amount] = {"load": LogNormal(3, 2), "train": LogNormal(20, 8), "join": 1}
    one = simulate(flow, FOUR, durations=durations, answers={"each": 5}, seeds=50)
    again = simulate(flow, FOUR, durations=durations, answers={"each": 5}, seeds=range(10, 20))
    assert one.makespans[10:20] == again.makespans
    assert len(set(one.makespans)) == 50
    run, same = one.run(12), again.run(12)
    assert run.bars == same.bars
    assert run.events == same.events
    assert max(bar.end for bar in run.bars) == one.makespans[12]
    # Other nodes, the same durations.
    many = simulate(flow, [Node("m", cores=100)], durations=durations, answers={"each": 5}, seeds=[12])
    lasts = {bar.step: bar.end - bar.start for bar in run.bars}
    assert {bar.step: bar.end - bar.start for bar in many.run(12).bars} == pytest.approx(lasts)


def test_durations_come_from_a_model() -> None:
    asked = []

    def model(path: str, task: str) -> Amount | None:
        asked.append((path, task))
        return LogNormal(5, 0) if task == "train" else None

    found = simulate(flow, FOUR, durations=model, default=1, answers={"each": 4})
    assert sorted(asked) == [("each/load", "load"), ("each/train", "train"), ("join", "join")]
    assert found.makespans == [1 + 2 * 5 + 1]


def test_what_goes_wrong_is_handled_by_the_workflow_itself() -> None:
    fragile = simulate(chain, FOUR, faults=Faults(failure=0.3), seeds=300)
    states = fragile.summary()["states"]
    # `load` is tried up to four times, `train` once.
    assert states["completed"] / 300 == pytest.approx(0.7, abs=0.1)
    slow = simulate(chain, FOUR, faults=Faults(stragglers=1.0, slowness=3))
    assert slow.makespans == [360.0]
    lost = Faults(losses=[Loss("four", at=30, until=100)])
    again = simulate(chain, FOUR, faults=lost)
    assert again.attempts == [3]
    assert again.makespans[0] == pytest.approx(100 + 120, abs=2)
    gone = simulate(chain, FOUR, faults=Faults(losses=[Loss("four", at=30)]), seeds=2)
    assert gone.states == ["running", "running"]
    assert "no node left" in gone.stuck[0]
    with pytest.raises(ff.FerroflowError, match="has not ended"):
        gone.run(0).save("never.db")
    coming = Faults(outages=(Exponential(300), 10))
    assert simulate(chain, FOUR, faults=coming, seeds=50).mean > 120


def test_policies_are_compared_by_the_same_luck() -> None:
    @ff.workflow
    def uneven() -> Any:
        short = [load.options(id=f"short{n}")(n) for n in range(6)]
        return [short, load.options(id="late")(load.options(id="early")(1))]

    nodes = [Node("m", cores=2)]
    durations = {"load": 2, "late": 10}
    policies: list[Any] = ["fifo", "upward_rank", ff.policy("shortest_first", ageing=0), "longest_first"]
    found = [simulate(uneven, nodes, it, durations=durations).makespans[0] for it in policies]
    # What is behind `early` takes longest.
    assert found[1] == min(found) < found[0]

    class Own(ff.Policy):
        def rank(self, steps: ff.ReadySteps) -> list[float]:
            return [0.0] * len(steps)

    with pytest.raises(TypeError, match="of your own"):
        simulate(uneven, nodes, Own())  # type: ignore[arg-type]


def test_data_travels() -> None:
    sent = {("first", "last"): 1e9}
    ones = {"load": 1, "train": 1}
    # Both steps go to the fast node, and nothing has to travel.
    apart = Platform([Node("slow", cores=1), Node("fast", cores=2, speed=2)], bandwidth=1e8)
    assert simulate(chain, apart, durations=ones, transfers=sent).makespans == [1.0]
    # `train` needs two cores, which only the quick node's neighbour has.
    nodes = [Node("quick", cores=1, speed=10), Node("wide", cores=2)]
    apart = Platform(nodes, bandwidth=1e8, latency=0.5)
    assert simulate(chain, apart, durations=ones, transfers=sent).makespans == [pytest.approx(0.1 + 10.5 + 1)]
    late = simulate(chain, apart, durations=ones, transfers=sent, faults=Faults(delay=2))
    assert late.makespans == [pytest.approx(0.1 + 12.5 + 1)]
    # A link of their own is ten times as fast.
    linked = Platform(nodes, bandwidth=1e8, links=[Link("quick", "wide", bandwidth=1e9)])
    assert simulate(chain, linked, durations=ones, transfers=sent).makespans == [pytest.approx(0.1 + 1 + 1)]


def test_devices_are_what_workflows_call_resources() -> None:
    @ff.task(name="sim.paint", resources={"gpu": 0.5, "disk": "1GiB"})
    def paint(n: int) -> int:
        return n

    @ff.workflow
    def flow() -> Any:
        return ff.each([1, 2, 3, 4], paint)

    node = Node("n", cores=8, devices={"gpu": 1})
    found = simulate(flow, [node], durations={"sim.paint": 1}, answers={"each": 4})
    assert found.makespans == [2.0]
    assert simulate(flow, [Node("n", cores=8, devices={"gpu": 2})], answers={"each": 4}).makespans == [60.0]
    # Disk is in bytes, and endless unless said.
    small = Node("n", cores=8, devices={"gpu": 1, "disk": 2**30})
    found = simulate(flow, [small], durations={"sim.paint": 1}, answers={"each": 4})
    assert found.makespans == [4.0]
    with pytest.raises(ValueError, match="no node has what step"):
        simulate(flow, [Node("n", cores=8)])


def test_many_nodes_with_all_the_memory_there_is() -> None:
    @ff.workflow
    def flow() -> Any:
        return ff.each([*range(640)], load)

    found = simulate(flow, [Node(f"n{n}") for n in range(64)], answers={"each": 640})
    assert found.makespans == [600.0]


def test_a_simulated_run_is_an_ordinary_run(tmp_path: Path) -> None:
    found = simulate(flow, FOUR, durations={"load": 1, "train": 2}, answers={"each": 3}, seeds=3)
    path = tmp_path / "runs.db"
    ids = [found.run(seed).save(path) for seed in range(3)]
    with pytest.raises(ff.FerroflowError, match="already"):
        found.run(0).save(path)
    with ff.Engine(path) as engine:
        assert {it.id for it in engine.list()} == set(ids)
        view = engine.handle(ids[1]).view()
        assert view.state == "completed"
        assert view.seconds == found.makespans[1]
        steps = {step.path: step.used.wall for step in view.steps if step.used}
        assert steps["each[2]/train"] == 2_000_000
    shown = subprocess.run(
        [sys.executable, "-m", "ferroflow", "verify-log", "--db", str(path)], capture_output=True, text=True
    )
    assert shown.returncode == 0
    assert "3 runs: valid" in shown.stdout


def test_durations_come_from_a_run_that_was() -> None:
    with ff.Engine() as engine:
        run = engine.start(flow, [1, 2, 3])
        run.result()
        durations = recorded(run.view())
    assert isinstance(durations["each/load"], Trace)
    assert len(durations["each/load"].values) == 3
    assert simulate(flow, FOUR, durations=durations, answers={"each": 3}).makespans[0] < 5


def test_branches_signals_and_loops_are_answered() -> None:
    @ff.workflow
    def deciding() -> Any:
        asked = load.options(id="ask")(1)
        first = ff.choose([(ff.expr("x > 3", x=asked), lambda: train(1))], lambda: join([1]))
        return [first, ff.signal("go")]

    nodes = [Node("m", cores=4)]
    kinds = {kind: name for name, kind, _ in deciding.program.blocks()[0][1]}
    choice, signal = kinds["choice"], kinds["signal"]
    durations = {"ask": 1, "train": 10, "join": 100}
    left = simulate(deciding, nodes, durations=durations, branches={choice: [1, 0]}, seeds=5)
    right = simulate(deciding, nodes, durations=durations, branches={choice: [0, 1]}, seeds=5)
    assert set(left.makespans) == {11.0}
    assert set(right.makespans) == {101.0}
    late = simulate(deciding, nodes, durations=durations, branches={choice: [1, 0]}, answers={signal: 500})
    assert late.makespans == [500.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"platform": []}, "no nodes"),
        ({"platform": [Node("m", cores=1)]}, "no node has what step"),
        ({"platform": [Node("m", cores=4, speed=0)]}, "speed"),
        ({"durations": {"lode": 1}}, "'lode'|\"lode\""),
        ({"durations": {"load": -1}}, "0 or more"),
        ({"durations": {"load": float("nan")}}, "finite"),
        ({"durations": {"load": []}}, "at least one value"),
        ({"default": LogNormal(1, float("inf"))}, "finite"),
        ({"seeds": []}, "no seeds"),
        ({"platform": Platform(["a", "b"], bandwidth=0)}, "bandwidth"),
        ({"transfers": {("first", "nobody"): 1}}, "nobody"),
        ({"transfers": {("first", "last"): -1}}, "0 or more"),
        ({"faults": Faults(failure=2)}, "from 0 to 1"),
        ({"faults": Faults(slowness=0.1)}, "1 or more"),
        ({"faults": Faults(losses=[Loss("other", at=1)])}, "other"),
        ({"branches": {"first": [1]}}, "only a choice"),
        ({"answers": {"first": 1}}, "takes an amount"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"platform": FOUR, **change}
    with pytest.raises(ValueError, match=message):
        simulate(chain, **arguments)
    with pytest.raises(TypeError, match="says no amount"):
        simulate(chain, FOUR, durations={"load": "long"})  # type: ignore[dict-item]


def test_progress_is_told_and_an_error_in_it_ends_all() -> None:
    told: list[int] = []
    simulate(chain, FOUR, seeds=40, progress=told.append)
    assert told[-1] == 40
    assert told == sorted(told)

    def fails(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(chain, FOUR, seeds=40, progress=fails)


def test_pictures() -> None:
    found = simulate(chain, FOUR, durations={"load": LogNormal(3, 1)}, seeds=200)
    assert ET.fromstring(found.svg()).tag.endswith("svg")
    assert ET.fromstring(found.run(0).gantt()).tag.endswith("svg")
    assert ">utilisation<" in found._repr_html_()
    assert ET.fromstring(found.svg("utilisation")).tag.endswith("svg")
    with pytest.raises(ValueError, match="none of makespan"):
        found.svg("price")  # type: ignore[arg-type]
    assert "200 runs" in repr(found)
    for values in ([], [1.0], [0.0, 0.0], [1.0, 2.0, 1e9]):
        assert ET.fromstring(histogram(values, "<&>", "s")).tag.endswith("svg")
    with pytest.raises(ValueError, match="0 to 1"):
        found.quantile(2)
