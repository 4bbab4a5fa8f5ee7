"""What every store does alike: the list of runs, their records, large values, commands left behind."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

import ferroflow as ff
from ferroflow import _core
from ferroflow.engine import records

LARGE = "x" * 100_000
"""More than what is kept in the log itself."""


@dataclass
class Place:
    """An engine, and a way to look at its runs."""

    engine: ff.Engine
    path: Path | None
    list: Callable[..., list[ff.RunRecord]]


def read_from_outside(path: Path) -> Callable[..., list[ff.RunRecord]]:
    """List runs as another process does, without the engine."""

    def listing(
        workflow: str | None = None,
        state: list[str] | None = None,
        correlation: str | None = None,
        since: int | None = None,
        until: int | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[ff.RunRecord]:
        rows = _core.Reader(path).runs(workflow, state or [], correlation, since, until, before, limit)
        return records.run_records(rows)

    return listing


@pytest.fixture(params=["memory", "sqlite", "sqlite from outside"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    path = None if request.param == "memory" else tmp_path / "runs.db"
    with ff.Engine(path) as engine:
        outside = path is not None and request.param == "sqlite from outside"
        yield Place(engine, path, read_from_outside(path) if outside and path else engine.list)


@ff.workflow(name="k.quick")
def quick(n: int) -> Any:
    return n


@ff.workflow(name="k.waiting")
def waiting(n: int) -> Any:
    return [n, ff.signal("go")]


@ff.task(name="k.fail")
def fail() -> None:
    raise ff.Fail("NO", "as told")


@ff.workflow(name="k.failing")
def failing() -> Any:
    return fail()


@ff.task(name="k.large")
def large(of: Any) -> Any:
    return [of, LARGE]


@ff.task(name="k.pick")
def pick(of: Any) -> int:
    return len(of[-1])


@pytest.fixture
def runs(place: Place) -> dict[str, list[str]]:
    """Runs of three workflows in three states, by workflow, oldest first."""
    found: dict[str, list[str]] = {}
    for n in range(4):
        options = ff.RunOptions(correlation=f"order {n % 2}")
        found.setdefault("k.quick", []).append(place.engine.start(quick, n, options=options).id)
        found.setdefault("k.waiting", []).append(place.engine.start(waiting, n, options=options).id)
    handle = place.engine.start(failing)
    with pytest.raises(ff.RunFailed):
        handle.result(30)
    for run in found["k.quick"]:
        place.engine.handle(run).result(30)
    found["k.failing"] = [handle.id]
    # A record is in the list once it is committed, which without a disk nobody waits for.
    while len(place.list(state=["completed"])) < 4 or not place.list(state=["failed"]):
        time.sleep(0.001)
    return found


def ids(found: list[ff.RunRecord]) -> list[str]:
    return [run.id for run in found]


def test_runs_are_listed_newest_first(place: Place, runs: dict[str, list[str]]) -> None:
    everything = sorted(itertools.chain(*runs.values()), reverse=True)
    assert ids(place.list()) == everything
    assert ids(place.list(limit=3)) == everything[:3]
    assert place.list(limit=0) == []


def test_each_filter_keeps_what_it_names(place: Place, runs: dict[str, list[str]]) -> None:
    newest = {workflow: found[::-1] for workflow, found in runs.items()}
    assert ids(place.list(workflow="k.waiting")) == newest["k.waiting"]
    assert ids(place.list(workflow="k.wait")) == []
    assert ids(place.list(state=["running"])) == newest["k.waiting"]
    assert {*ids(place.list(state=["completed", "failed"]))} == {*newest["k.quick"], *newest["k.failing"]}
    second = sorted([*runs["k.quick"][1::2], *runs["k.waiting"][1::2]], reverse=True)
    assert ids(place.list(correlation="order 1")) == second
    assert ids(place.list(correlation="order")) == []


def test_filters_together_keep_what_all_of_them_keep(place: Place, runs: dict[str, list[str]]) -> None:
    found = place.list(workflow="k.quick", state=["completed"], correlation="order 0")
    assert ids(found) == runs["k.quick"][0::2][::-1]
    assert place.list(workflow="k.quick", state=["running"]) == []


def test_since_is_included_and_until_is_not(place: Place, runs: dict[str, list[str]]) -> None:
    everything = place.list()
    middle = everything[4].created
    later, earlier = place.list(since=middle), place.list(until=middle)
    assert {run.id for run in later} == {run.id for run in everything if run.created >= middle}
    assert {run.id for run in earlier} == {run.id for run in everything if run.created < middle}
    assert ids(place.list(since=middle, until=middle)) == []


@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_pages_show_every_run_once(place: Place, runs: dict[str, list[str]], size: int) -> None:
    seen: list[str] = []
    page = place.list(limit=size)
    while page:
        assert len(page) <= size
        seen += ids(page)
        page = place.list(limit=size, before=seen[-1])
    assert seen == sorted(itertools.chain(*runs.values()), reverse=True)


def test_a_record_says_what_became_of_its_run(place: Place, runs: dict[str, list[str]]) -> None:
    by_id = {run.id: run for run in place.list()}
    done, open_, failed = (by_id[runs[name][0]] for name in ("k.quick", "k.waiting", "k.failing"))
    assert (done.workflow, done.version, done.state, done.error) == ("k.quick", "1", "completed", None)
    assert done.started is not None
    assert done.ended is not None
    assert done.created <= done.started <= done.ended
    assert (open_.state, open_.ended, open_.correlation) == ("running", None, "order 0")
    assert (failed.state, failed.error, failed.correlation) == ("failed", "NO: as told", None)


def test_the_events_of_a_run_are_whole_and_in_order(place: Place, runs: dict[str, list[str]]) -> None:
    handle = place.engine.handle(runs["k.failing"][0])
    events = handle.events()
    assert [event["sequence"] for event in events] == [*range(1, len(events) + 1)]
    kinds = [event["kind"] for event in events]
    assert kinds == ["RunCreated", "RunStarted", "StepStarted", "StepFailed", "RunFailed"]
    assert all(earlier["at"] <= later["at"] for earlier, later in itertools.pairwise(events))
    assert handle.view().state == "failed"
    with pytest.raises(ff.RunNotFound):
        place.engine.handle("00000000-0000-7000-8000-000000000000")


def test_large_values_everywhere(place: Place) -> None:
    """An input, a result, a variable, a signal, the items of an each and the state of a loop."""

    @ff.workflow(name="k.everywhere")
    def everywhere(text: str) -> Any:
        made = large.options(id="made", set={"kept": "result[1]"})(text)
        told = ff.signal("go")
        fan = ff.each([text, "short"], lambda item: pick([item]))
        rounds = ff.loop(large, init=text, while_="state_iteration < 2", max=3)
        after = pick.options(after=[made])([ff.var("kept")])
        return [pick(made), pick([told]), fan, pick(rounds), after]

    handle = place.engine.start(everywhere, LARGE + "y")
    handle.signal("go", LARGE)
    size = len(LARGE)
    assert handle.result(30) == [size, size, [size + 1, 5], size, size]
    # What is read back from the store says the same.
    events = handle.events()
    carried = [event for event in events for field in event.values() if _is_blob(field)]
    assert {event["kind"] for event in carried} >= {
        "RunCreated", "StepCompleted", "VariableSet", "SignalReceived", "Expanded", "Looped"
    }  # fmt: skip
    if place.path is not None:
        blobs = {event["value"]["blob"] for event in carried if event["kind"] == "StepCompleted"}
        assert {
            f"{name.parent.name}{name.name}" for name in place.path.with_name("runs.db.blobs").rglob("*/*")
        } > blobs


def _is_blob(field: object) -> bool:
    return isinstance(field, dict) and set(field) == {"blob", "bytes"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


def test_commands_of_other_processes_are_carried_out_in_order(path: Path) -> None:
    with ff.Engine(path) as engine:
        handle = engine.start(waiting, 1)
        _core.post(path, handle.id, "pause", b"lunch")
        _until(lambda: handle.status() == "paused")
        _core.post(path, handle.id, "signal:go", msgspec.msgpack.encode("first"))
        _core.post(path, handle.id, "signal:go", msgspec.msgpack.encode("second"))
        _core.post(path, handle.id, "resume", b"")
        assert handle.result(30) == [1, "first"]


def test_commands_that_were_left_while_no_engine_ran_are_carried_out_once(path: Path) -> None:
    with ff.Engine(path) as engine:
        run, other = engine.start(waiting, 1).id, engine.start(waiting, 2).id
    _core.post(path, run, "cancel", b"no longer wanted")
    _core.post(path, other, "signal:go", msgspec.msgpack.encode(7))
    with ff.Engine(path) as engine:
        with pytest.raises(ff.RunCancelled, match="no longer wanted"):
            engine.handle(run).result(30)
        assert engine.handle(other).result(30) == [2, 7]
    with ff.Engine(path, resume=False) as engine:
        kinds = [event["kind"] for event in engine.handle(other).events()]
        assert kinds.count("SignalReceived") == 1


def test_a_command_that_makes_no_sense_is_dropped(path: Path) -> None:
    with ff.Engine(path) as engine:
        handle = engine.start(waiting, 1)
        _core.post(path, "00000000-0000-7000-8000-000000000000", "cancel", b"")
        _core.post(path, handle.id, "dance", b"")
        _core.post(path, handle.id, "cancel", b"\xff\xfe")
        with pytest.raises(ff.RunCancelled):
            handle.result(30)


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)
