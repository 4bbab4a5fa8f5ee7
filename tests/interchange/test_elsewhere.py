"""Recorded executions elsewhere: simulated on their own machines and on others."""

from pathlib import Path

import pytest

from ferroflow import PlanError, interchange
from ferroflow.plan import Faults, Node, Platform, plan
from tests.interchange import made, real


def test_tasks_take_what_was_recorded() -> None:
    instance = made.read(made.diamond())
    # a, b with four cores and c beside it, d; and all one after the other.
    assert instance.simulate().makespans == [1.5 + 2 + 0.25]
    slow = Platform([Node("n", cores=4, speed=0.5)])
    assert instance.simulate(slow).makespans == [2 * (1.5 + 2 + 0.25)]
    with pytest.raises(PlanError, match="no node has what step"):
        instance.simulate(["small"])


def test_files_have_to_get_to_their_readers() -> None:
    instance = made.read(made.diamond())
    apart = Platform([Node("a", cores=1), Node("b", cores=4)], bandwidth=100, latency="1s")
    bars = {bar.step: bar for bar in instance.simulate(apart).run(0).bars}
    # Only the second node has four cores, and the 200 bytes that the first task wrote are on the other.
    assert (bars["a"].node, bars["b"].node) == ("a", "b")
    assert bars["b"].end - bars["b"].start == pytest.approx(1 + 200 / 100 + 2)
    assert bars["d"].node == "a"
    assert bars["d"].end == pytest.approx(6.5 + 1 + 30 / 100 + 0.25)


def test_deviations_and_faults_come_from_seeds() -> None:
    instance = made.read(made.diamond())
    varied = instance.simulate(seeds=50, deviation=0.5)
    assert len(set(varied.makespans)) == 50
    assert varied.makespans == instance.simulate(seeds=50, deviation=0.5).makespans
    slow = instance.simulate(faults=Faults(stragglers=1, slowness=2))
    assert slow.makespans == [2 * (1.5 + 2 + 0.25)]


@real.each
def test_recorded_executions_are_simulated(path: Path) -> None:
    instance = interchange.read(path)
    found = instance.simulate()
    assert found.states == ["completed"]
    assert found.attempts == [len(instance.tasks)]
    # Whatever the order: no shorter than the longest way, as planners know it.
    assert found.makespans[0] >= plan(instance.columns, instance.platform(), "heft").bounds.best - 1e-3
