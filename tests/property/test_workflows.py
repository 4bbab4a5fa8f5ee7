"""Random workflows give what a naive interpreter says, on every store, and over a restart."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ferroflow as ff
from tests.property import reference, strategies

BOUNDED = settings(
    max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
SOAK = settings(BOUNDED, max_examples=4_000, derandomize=False)

Outcome = tuple[str, Any]


def expected(definition: dict[str, Any], n: int) -> Outcome:
    try:
        return "completed", reference.run(definition, {"n": n})
    except reference.Failed as failed:
        return "failed", failed.codes


def outcome(handle: ff.Handle[Any]) -> Outcome:
    try:
        return "completed", handle.result(30)
    except ff.RunFailed as failed:
        return "failed", failed.code


def agree(found: Outcome, wanted: Outcome) -> None:
    assert found[0] == wanted[0], (found, wanted)
    if wanted[0] == "failed":
        assert found[1] in wanted[1]
    else:
        assert found[1] == wanted[1]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ff.Engine]]:
    path = tmp_path_factory.mktemp("property") / "runs.db"
    with ff.Engine() as memory, ff.Engine(path, durability="relaxed") as sqlite:
        yield [memory, sqlite]


@pytest.fixture(scope="module")
def restarts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("restarts") / "runs.db"


def check_engines(engines: list[ff.Engine], definition: dict[str, Any], n: int) -> None:
    wanted = expected(definition, n)
    workflow = ff.load(definition)
    for handle in [engine.start(workflow, n) for engine in engines]:
        agree(outcome(handle), wanted)


class Interruption:
    """Stops an engine while the so many-th body runs, or once the run has ended."""

    def __init__(self, engine: ff.Engine, bodies: int) -> None:
        self.engine, self.bodies = engine, bodies
        self.calls = itertools.count(1)
        self.reached, self.stopped = threading.Event(), threading.Event()
        strategies.hook = self.body

    def body(self) -> None:
        if next(self.calls) == self.bodies:
            self.reached.set()
            self.stopped.wait(30)

    def wait(self, handle: ff.Handle[Any]) -> None:
        with contextlib.suppress(ff.FerroflowError):
            handle.result(30)
        self.reached.set()

    def stop(self, handle: ff.Handle[Any]) -> None:
        waiter = threading.Thread(target=self.wait, args=(handle,))
        waiter.start()
        assert self.reached.wait(30)
        self.engine._core.stop()
        self.stopped.set()
        self.engine.close()
        waiter.join()
        strategies.hook = lambda: None


def check_restarts(path: Path, definition: dict[str, Any], n: int, bodies: int) -> None:
    """Stop the engine during every so many-th body, and open the next."""
    wanted = expected(definition, n)
    run: str | None = None
    for _ in range(100):
        with ff.Engine(path, workers=2, durability="relaxed", resume=False) as engine:
            cut = Interruption(engine, bodies)
            if run is None:
                run = engine.start(ff.load(definition), n).id
            else:
                engine.resume()
            cut.stop(engine.handle(run))
        with ff.Engine(path, resume=False) as engine:
            if engine.handle(run).status() != "running":
                agree(outcome(engine.handle(run)), wanted)
                return
    pytest.fail("the run does not end")


@pytest.mark.timeout(240)
@BOUNDED
@given(strategies.definitions(), st.integers(0, 9))
def test_every_store_gives_what_the_definition_means(
    engines: list[ff.Engine], definition: dict[str, Any], n: int
) -> None:
    check_engines(engines, definition, n)


@pytest.mark.timeout(240)
@settings(BOUNDED, max_examples=200)
@given(strategies.definitions(), st.integers(0, 9), st.integers(2, 6))
def test_a_restart_changes_nothing(restarts: Path, definition: dict[str, Any], n: int, bodies: int) -> None:
    check_restarts(restarts, definition, n, bodies)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@SOAK
@given(strategies.definitions(steps=30), st.integers(0, 9))
def test_many_workflows(engines: list[ff.Engine], definition: dict[str, Any], n: int) -> None:
    check_engines(engines, definition, n)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@settings(SOAK, max_examples=1_000)
@given(strategies.definitions(steps=30), st.integers(0, 9), st.integers(2, 12))
def test_many_restarts(restarts: Path, definition: dict[str, Any], n: int, bodies: int) -> None:
    check_restarts(restarts, definition, n, bodies)
