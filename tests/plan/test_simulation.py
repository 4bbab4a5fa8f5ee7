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
    LogNormal,
    Loss,
    Machine,
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


FOUR = [Machine("four", cores=4)]


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
    fast = simulate(flow, [Machine("m", cores=4, speed=2)], durations=durations, answers={"each": 8})
    assert fast.makespans[0] == pytest.approx(found.makespans[0] / 2)
    picky = [Machine("m", cores=4, speeds={"train": 10})]
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
    # Other machines, the same durations.
    many = simulate(flow, [Machine("m", cores=100)], durations=durations, answers={"each": 5}, seeds=[12])
    lasts = {bar.step: bar.end - bar.start for bar in run.bars}
    assert {bar.step: bar.end - bar.start for bar in many.run(12).bars} == pytest.approx(lasts)


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
    assert "no machine left" in gone.stuck[0]
    with pytest.raises(ff.FerroflowError, match="has not ended"):
        gone.run(0).save("never.db")
    coming = Faults(outages=(Exponential(300), 10))
    assert simulate(chain, FOUR, faults=coming, seeds=50).mean > 120


def test_policies_are_compared_by_the_same_luck() -> None:
    @ff.workflow
    def uneven() -> Any:
        short = [load.options(id=f"short{n}")(n) for n in range(6)]
        return [short, load.options(id="late")(load.options(id="early")(1))]

    machines = [Machine("m", cores=2)]
    durations = {"load": 2, "late": 10}
    policies: list[Any] = ["fifo", "upward_rank", ff.policy("shortest_first", ageing=0), "longest_first"]
    found = [simulate(uneven, machines, it, durations=durations).makespans[0] for it in policies]
    # What is behind `early` takes longest.
    assert found[1] == min(found) < found[0]

    class Own(ff.Policy):
        def rank(self, steps: ff.ReadySteps) -> list[float]:
            return [0.0] * len(steps)

    with pytest.raises(TypeError, match="of your own"):
        simulate(uneven, machines, Own())  # type: ignore[arg-type]


def test_data_travels() -> None:
    machines = [Machine("slow", cores=1), Machine("fast", cores=2, speed=2)]
    sent = {("first", "last"): 1e9}
    # Both steps go to the fast machine, and nothing has to travel.
    found = simulate(chain, machines, durations={"load": 1, "train": 1}, transfers=sent, bandwidth=1e8)
    assert found.makespans == [1.0]
    # `train` needs two cores, which only the slow machine's neighbour has.
    machines = [Machine("quick", cores=1, speed=10), Machine("wide", cores=2)]
    found = simulate(
        chain, machines, durations={"load": 1, "train": 1}, transfers=sent, bandwidth=1e8, latency=0.5
    )
    assert found.makespans == [pytest.approx(0.1 + 10.5 + 1)]


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

    machines = [Machine("m", cores=4)]
    kinds = {kind: name for name, kind, _ in deciding.program.blocks()[0][1]}
    choice, signal = kinds["choice"], kinds["signal"]
    durations = {"ask": 1, "train": 10, "join": 100}
    left = simulate(deciding, machines, durations=durations, branches={choice: [1, 0]}, seeds=5)
    right = simulate(deciding, machines, durations=durations, branches={choice: [0, 1]}, seeds=5)
    assert set(left.makespans) == {11.0}
    assert set(right.makespans) == {101.0}
    late = simulate(deciding, machines, durations=durations, branches={choice: [1, 0]}, answers={signal: 500})
    assert late.makespans == [500.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"machines": []}, "no machines"),
        ({"machines": [Machine("m", cores=1)]}, "no machine has what step"),
        ({"machines": [Machine("m", cores=4, speed=0)]}, "speed"),
        ({"durations": {"lode": 1}}, "'lode'|\"lode\""),
        ({"durations": {"load": -1}}, "0 or more"),
        ({"durations": {"load": float("nan")}}, "finite"),
        ({"durations": {"load": []}}, "at least one value"),
        ({"default": LogNormal(1, float("inf"))}, "finite"),
        ({"seeds": []}, "no seeds"),
        ({"bandwidth": 0}, "bandwidth"),
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
    arguments: dict[str, Any] = {"machines": FOUR, **change}
    machines = arguments.pop("machines")
    with pytest.raises(ValueError, match=message):
        simulate(chain, machines, **arguments)
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
    assert "makespan, p95" in found._repr_html_()
    assert "200 runs" in repr(found)
    for values in ([], [1.0], [0.0, 0.0], [1.0, 2.0, 1e9]):
        assert ET.fromstring(histogram(values, "<&>", "s")).tag.endswith("svg")
    with pytest.raises(ValueError, match="0 to 1"):
        found.quantile(2)
