"""A run as people look at it, while it goes on and afterwards."""

import threading
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from ferroflow import _core
from ferroflow.engine import records


@ff.task(name="v.add")
def add(a: int, b: int = 1) -> int:
    return a + b


@ff.task(name="v.broken")
def broken() -> int:
    raise ff.Fail("NO_LUCK", "it never works", retriable=True)


@ff.task(name="v.flaky", retry=ff.Retry(1, delay=0.001))
def flaky() -> str:
    if ff.current().attempt == 1:
        raise ff.Fail("NO_LUCK", "not yet", retriable=True)
    return "at last"


_gate = threading.Event()
_told = threading.Event()


@ff.task(name="v.telling")
def telling() -> int:
    ff.current().progress(40, "two of five")
    _told.set()
    assert _gate.wait(30)
    return 5


def _committed(view: Any, holds: Any) -> Any:
    """Ask until what was told is committed: the view shows no more than that."""
    while not holds(found := view()):
        threading.Event().wait(0.002)
    return found


@ff.workflow
def everything(n: int) -> Any:
    chosen = ff.choose([("input.n > 0", lambda: add(n))], lambda: add(0))
    caught = ff.on_error(lambda: broken(), lambda error: add(1))
    timed = ff.timeout("1m", lambda: add(chosen))
    raced = ff.first(1, lambda: add(2), lambda: add(2))
    items = ff.each([1, 2, 3], lambda item: add(item))
    rounds = ff.loop(lambda state: add(state), init=0, while_="state < 2", max=5)
    nap = ff.sleep(0.001)
    return [chosen, caught, timed, raced, items, rounds, nap]


@pytest.mark.req("P8.98", "P8.99", "P9.124")
def test_every_kind_of_step_has_its_times() -> None:
    with ff.Engine() as engine:
        handle = engine.start(everything, 3)
        handle.result()
        view = handle.view()
    kinds = {step.kind for step in view.steps}
    assert {"task", "choice", "try", "timeout", "first", "each", "loop", "sleep"} <= kinds
    composites = {step.path: step for step in view.steps if step.kind not in ("task", "join", "result")}
    for step in view.steps:
        if step.state != "completed":
            continue
        assert step.scheduled is not None, step
        assert step.started is not None, step
        assert step.ended is not None, step
        assert view.started is not None
        assert view.ended is not None
        assert view.started <= step.scheduled <= step.started <= step.ended <= view.ended
        outer = composites.get(step.path.rpartition("/")[0].partition("[")[0])
        if outer is not None:
            assert outer.started is not None
            assert outer.ended is not None
            assert outer.started <= step.started
            assert step.ended <= outer.ended or outer.kind == "first"
    for step in view.steps:
        name, kind, task = view.blocks[step.block][1][step.node]
        assert step.path.rpartition("/")[2].partition("[")[0] == name
        assert (step.kind, step.task) == (kind, task)


@pytest.mark.req("P8.98")
def test_values_are_shown_on_request(tmp_path: Path) -> None:
    definition = {
        "name": "valued",
        "inputs": ["n", "big"],
        "term": [
            {"task": "v.add", "args": [{"$": "input.n"}], "set": {"seen": "result"}},
            {"signal": "go"},
        ],
    }
    big = "x" * 100_000
    with ff.Engine(tmp_path / "runs.db") as engine:
        handle = engine.start(
            ff.load(definition), 4, big=big, options=ff.RunOptions(correlation="order-7", priority="high")
        )
        before = _committed(lambda: handle.view(values=True), lambda view: view.steps[0].state == "completed")
        assert before.result is None
        assert before.input == {"n": 4, "big": big}
        assert before.variables == {"seen": 5}
        assert [step.result for step in before.steps] == [5, None]
        assert before.correlation == "order-7"
        handle.signal("go", {"answer": 42})
        handle.result()
        plain = handle.view()
        assert (plain.input, plain.result, plain.variables) == (None, None, None)
        assert plain.steps[1].result is None
        view = handle.view(values=True)
        assert view.result == {"answer": 42}
        assert view.steps[1].result == {"answer": 42}


@pytest.mark.req("P6.100", "P8.98", "P8.104")
def test_errors_are_structured() -> None:
    inner = broken.options(retry=ff.Retry(1, delay=0.001))

    @ff.workflow
    def fails() -> Any:
        return add(inner())

    with ff.Engine() as engine:
        handle = engine.start(fails)
        with pytest.raises(ff.RunFailed):
            handle.result()
        view = handle.view()
    failed, skipped = view.steps
    assert (failed.state, failed.attempts) == ("failed", 2)
    assert failed.error is not None
    assert (failed.error.code, failed.error.message) == ("NO_LUCK", "it never works (after 1 retries)")
    assert "raise ff.Fail" in failed.error.details
    assert str(failed.error) == "NO_LUCK: it never works (after 1 retries)"
    assert view.error is not None
    assert (view.error.code, view.error.step) == ("NO_LUCK", failed.path)
    assert (skipped.started, skipped.error) == (None, None)
    assert skipped.ended == failed.ended


def test_a_retry_that_goes_well_leaves_no_error() -> None:
    @ff.workflow
    def once_more() -> Any:
        return flaky()

    with ff.Engine() as engine:
        handle = engine.start(once_more)
        assert handle.result() == "at last"
        (step,) = handle.view().steps
    assert (step.attempts, step.error, step.state) == (2, None, "completed")
    assert step.scheduled is not None
    assert step.started is not None
    assert view_order(step)


def view_order(step: ff.StepView) -> bool:
    """Whether the times belong to one attempt."""
    times = [step.scheduled or 0, step.started or 0, step.ended or 0]
    return times == sorted(times)


@pytest.mark.req("P8.24")
def test_progress_is_seen_while_a_step_runs(tmp_path: Path) -> None:
    @ff.workflow
    def tells() -> Any:
        return add(telling())

    path = tmp_path / "runs.db"
    _gate.clear()
    _told.clear()
    with ff.Engine(path) as engine:
        try:
            handle = engine.start(tells)
            assert _told.wait(30)
            progress = handle.progress()
            assert (progress.ended, progress.total, progress.running) == (0, 2, ["v.telling"])
            assert handle.progress(running=0).running == []
            reader = _core.Reader(path)
            view = _committed(
                lambda: records.run_view(reader.inspect(handle.id, False)),
                lambda view: view.steps[0].percent is not None,
            )
        finally:
            _gate.set()
        step = view.steps[0]
        assert (step.state, step.percent, step.message) == ("running", 40.0, "two of five")
        assert step.updated >= step.started
        assert step.ended is None
        assert handle.result() == 6
        progress = handle.progress()
        assert (progress.ended, progress.total, progress.running) == (2, 2, [])
