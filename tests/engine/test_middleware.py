"""What is called round runs and steps."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff


class Told(ff.Middleware):
    """Notes what it is told, and raises where it is told to."""

    def __init__(self, name: str, told: list[str], *, raises: str = "") -> None:
        self.name, self.told, self.raises = name, told, raises

    def note(self, hook: str, what: object) -> None:
        self.told.append(f"{self.name} {hook} {what}")
        if hook == self.raises:
            raise ValueError(f"{self.name} can't {hook}")

    def before_run(self, run: ff.RunInfo) -> None:
        self.note("before_run", run.workflow)

    def after_run(self, run: ff.RunInfo, state: ff.RunState) -> None:
        self.note("after_run", state)

    def before_step(self, step: ff.Context) -> None:
        self.note("before_step", step.step)

    def after_step(self, step: ff.Context, failure: ff.Failure | None) -> None:
        self.note("after_step", failure.code if failure else "ok")


@ff.task(name="mw.double")
def double(n: int) -> int:
    return 2 * n


@ff.task(name="mw.later")
async def later(n: int) -> int:
    await asyncio.sleep(0)
    return 2 * n


@ff.task(name="mw.broken", retry=1)
def broken() -> None:
    raise ff.Fail("BROKEN", "as told", retriable=True)


@ff.task(name="mw.sleeping")
async def sleeping() -> None:
    await asyncio.sleep(60)


@pytest.mark.req("P7.62", "P7.63", "P7.64")
@pytest.mark.parametrize("task", [double, later])
def test_before_hooks_run_in_order_and_after_hooks_in_reverse(task: Any) -> None:
    @ff.workflow
    def flow(n: int) -> Any:
        return task.options(id="it")(n)

    told: list[str] = []
    with ff.Engine(middleware=[Told("a", told), Told("b", told)]) as engine:
        assert engine.run(flow, 4) == 8
    assert told == [
        "a before_run flow",
        "b before_run flow",
        "a before_step it",
        "b before_step it",
        "b after_step ok",
        "a after_step ok",
        "b after_run completed",
        "a after_run completed",
    ]


@pytest.mark.req("P7.63", "P7.64")
@pytest.mark.parametrize("task", [double, later])
def test_a_before_hook_that_raises_fails_the_step_and_unwinds_what_was_entered(task: Any) -> None:
    @ff.workflow
    def flow(n: int) -> Any:
        return task.options(id="it")(n)

    told: list[str] = []
    hooks = [Told("a", told), Told("b", told, raises="before_step"), Told("c", told)]
    with ff.Engine(middleware=hooks) as engine, pytest.raises(ff.RunFailed) as caught:
        engine.run(flow, 4)
    assert caught.value.code == "MIDDLEWARE_FAILED"
    assert "Told: ValueError: b can't before_step" in str(caught.value)
    steps = [line for line in told if "step" in line]
    assert steps == ["a before_step it", "b before_step it", "a after_step MIDDLEWARE_FAILED"]
    assert told[-3:] == [f"{name} after_run failed" for name in "cba"]


@pytest.mark.req("P7.63")
def test_a_before_hook_that_raises_fails_the_run_before_any_step() -> None:
    @ff.workflow
    def flow(n: int) -> Any:
        return double(n)

    told: list[str] = []
    hooks = [Told("a", told), Told("b", told, raises="before_run"), Told("c", told)]
    with ff.Engine(middleware=hooks) as engine:
        run = engine.start(flow, 4)
        with pytest.raises(ff.RunFailed) as caught:
            run.result()
        view = run.view()
    assert caught.value.code == "MIDDLEWARE_FAILED"
    assert [step.attempts for step in view.steps] == [0]
    assert told == ["a before_run flow", "b before_run flow", "a after_run failed"]


@pytest.mark.req("P7.64")
def test_what_an_after_hook_raises_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    @ff.workflow
    def flow(n: int) -> Any:
        return double(n)

    told: list[str] = []
    hooks = [Told("a", told), Told("b", told, raises="after_step"), Told("c", told, raises="after_run")]
    with caplog.at_level(logging.WARNING, "ferroflow"), ff.Engine(middleware=hooks) as engine:
        assert engine.run(flow, 4) == 8
    assert [line for line in told if "after" in line] == [
        "c after_step ok",
        "b after_step ok",
        "a after_step ok",
        "c after_run completed",
        "b after_run completed",
        "a after_run completed",
    ]
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == 2
    assert all("can't after" in line for line in warned)


@pytest.mark.req("P7.64")
def test_after_hooks_see_each_failed_attempt_and_cancelled_ones() -> None:
    @ff.workflow
    def flow() -> Any:
        return broken.options(id="broken", retry=ff.Retry(1, delay="1ms"))()

    @ff.workflow
    def endless() -> Any:
        return sleeping()

    told: list[str] = []
    with ff.Engine(middleware=[Told("a", told)]) as engine:
        with pytest.raises(ff.RunFailed):
            engine.run(flow)
        assert [line for line in told if "step" in line] == [
            "a before_step broken",
            "a after_step BROKEN",
            "a before_step broken",
            "a after_step BROKEN",
        ]
        told.clear()
        run = engine.start(endless)
        while not any("before_step" in line for line in told):
            pass
        run.cancel("enough")
    assert "a after_step CANCELLED" in told
    assert "a after_run cancelled" in told


def test_a_run_that_goes_on_after_a_restart_is_begun_again(tmp_path: Path) -> None:
    @ff.workflow
    def flow() -> Any:
        return ff.signal("go")

    told: list[str] = []
    with ff.Engine(tmp_path / "runs.db", middleware=[Told("a", told)]) as engine:
        run = engine.start(flow).id
    assert told == ["a before_run flow"]
    with ff.Engine(tmp_path / "runs.db", middleware=[Told("b", told)]) as engine:
        engine.handle(run).signal("go", 3)
        assert engine.handle(run).result() == 3
    assert told[1:] == ["b before_run flow", "b after_run completed"]
    # One that is refused then fails.
    with ff.Engine(tmp_path / "runs.db") as engine:
        run = engine.start(flow).id
    with (
        ff.Engine(tmp_path / "runs.db", middleware=[Told("c", told, raises="before_run")]) as engine,
        pytest.raises(ff.RunFailed, match="c can't"),
    ):
        engine.handle(run).result()


def test_hooks_that_are_not_there_cost_nothing() -> None:
    class Runs(ff.Middleware):
        def before_run(self, run: ff.RunInfo) -> None: ...

    with ff.Engine(middleware=[Runs()]) as engine:
        assert engine._bodies.middleware == []
    with ff.Engine(middleware=[ff.Middleware()]) as engine:
        assert not engine._hooks


def test_a_start_that_is_refused_leaves_no_trace() -> None:
    @ff.workflow
    def flow(n: int) -> Any:
        return double(n)

    told: list[str] = []
    with ff.Engine(middleware=[Told("a", told)]) as engine:
        first = engine.start(flow, 1)
        with pytest.raises(ff.RunExists):
            engine.start(flow, 2, options=ff.RunOptions(id=first.id))
        first.result()
    assert told.count("a after_run completed") == 1
