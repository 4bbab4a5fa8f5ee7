"""What runs at the same time in some simulation, and must not, the check has reported."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

import ferroflow as ff
from ferroflow import _core
from ferroflow.plan import Exponential, Faults, Node, simulate
from ferroflow.plan.simulation import Bar
from tests.property import accesses, names, races
from tests.property.layout import declared
from tests.property.unfold import Use

Json = dict[str, Any]

BOUNDED = settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
SOAK = settings(BOUNDED, max_examples=20_000, derandomize=False)

CODES = {"FF0499", "FF0502", "FF0503", "FF0505"}
POLICIES = ["fifo", "upward_rank", "longest_first"]


def parts(found: Any, path: str = "") -> Iterator[tuple[str, Json]]:
    """All terms that have ids, with their paths as the simulator asks for them; tasks among them."""
    if isinstance(found, list):
        for it in found:
            yield from parts(it, path)
    elif isinstance(found, dict):
        if "id" in found:
            path = f"{path}/{found['id']}".lstrip("/")
            yield path, found
        for key, it in found.items():
            if key not in ("args", "with", "set", "reduces"):
                yield from parts(it, path)


def without_accesses(found: Any) -> Any:
    """The same, with steps that say nothing of what they do: nothing keeps them apart."""
    if isinstance(found, list):
        return [without_accesses(it) for it in found]
    if isinstance(found, dict):
        kept = {key: it for key, it in found.items() if key not in ("reads", "writes", "takes", "reduces")}
        return {key: without_accesses(it) for key, it in kept.items()}
    return found


def uses(step: Json) -> list[Use]:
    return [
        Use(index, mode, names.parse(name, str), operation)
        for index, (mode, name, operation) in enumerate(declared(step))
    ]


def together(bars: list[Bar]) -> Iterator[tuple[str, str]]:
    """Which steps were open at the same time, by their ids."""
    for a, b in itertools.combinations(bars, 2):
        if a.start < b.end and b.start < a.end:
            yield a.step.rpartition("/")[2], b.step.rpartition("/")[2]


def seen(definition: Json, counts: st.DataObject | None, seeds: int) -> set[tuple[races.Place, races.Place]]:
    """Accesses that met in some simulation, and must not, by the ids of their steps."""
    tasks = {it["id"]: uses(it) for _, it in parts(definition["term"]) if "task" in it}
    answers: dict[str, Any] = {}
    for path, it in parts(definition["term"]):
        if isinstance(it.get("each"), list):
            answers[path] = len(it["each"])
        elif "each" in it or "loop" in it:
            answers[path] = counts.draw(st.integers(0, 3)) if counts else 2
    workflow = ff.load(without_accesses(definition))
    found = set()
    for at, policy in enumerate(POLICIES):
        simulation = simulate(
            workflow,
            [Node("all", cores=64), Node("one", cores=1, speed=3)],
            policy,  # type: ignore[arg-type]
            durations={"work": Exponential(10)},
            answers=answers,
            faults=Faults(failure=0.1),
            seeds=range(at * seeds, (at + 1) * seeds),
        )
        for seed in simulation.seeds:
            for a, b in together(simulation.run(seed).bars):
                for one, other in itertools.product(tasks[a], tasks[b]):
                    if not races.compatible(one, other) and names.meets(one.name, other.name):
                        found.add(races.pair((a, one.index), (b, other.index)))
    return found


def compare(definition: Json, counts: st.DataObject | None, seeds: int) -> None:
    told = [
        it
        for it in _core.Program(msgspec.msgpack.encode(definition)).check()
        if it["level"] == "error" and it["code"] in CODES
    ]
    try:
        known = races.check(definition).races
    except races.TooMany:
        reject()
    by_id = {races.pair(*((path.rpartition("/")[2], index) for path, index in it)) for it in known}
    tasks = {it["id"]: uses(it) for _, it in parts(definition["term"]) if "task" in it}
    places = [(place["step"].rpartition("/")[2], place["use"]) for it in told for place in it["places"]]
    reported = [tasks[step][index].name for step, index in places]
    for a, b in seen(definition, counts, seeds):
        assert (a, b) in by_id
        both = tasks[a[0]][a[1]].name, tasks[b[0]][b[1]].name
        # Where many steps race for one asset, some of them are told.
        assert any(names.meets(it, own) for it in reported for own in both), (a, b, told)


@pytest.mark.timeout(600)
@BOUNDED
@given(accesses.definitions(literal=True), st.data())
def test_what_meets_in_a_simulation_was_reported(definition: Json, data: st.DataObject) -> None:
    compare(definition, data, 4)


@pytest.mark.nightly
@pytest.mark.timeout(14_400)
@SOAK
@given(accesses.definitions(steps=10, literal=True), st.data())
def test_what_meets_in_many_simulations_was_reported(definition: Json, data: st.DataObject) -> None:
    compare(definition, data, 10)


def test_simulations_show_races_that_are_there() -> None:
    def step(name: str, *mode: str) -> Json:
        return {"task": "work", "id": name, mode[0]: mode[1]}

    found: Json = {
        "name": "w",
        "inputs": ["n"],
        "term": [
            {"parallel": [step("a", "writes", "lake"), step("b", "reads", "lake/x")]},
            {"each": {"$": "input.n"}, "id": "all", "do": step("c", "writes", "out")},
            {"first": 1, "id": "race", "of": [step("d", "takes", "x"), step("e", "takes", "x")]},
        ],
    }
    wanted = {(("a", 0), ("b", 0)), (("c", 0), ("c", 0)), (("d", 0), ("e", 0))}
    assert seen(found, None, 20) == wanted
    compare(found, None, 5)
