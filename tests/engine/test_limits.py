"""What holds steps and runs up besides their ranks, and what holds whatever the policy."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from tests.engine.held import PATIENCE, Busy, asking, emptied, gates, hold, note, noted, one_worker, order


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield from emptied()


@pytest.mark.req("P8.6")
def test_a_run_is_held_to_its_limit_and_others_go_on() -> None:
    @ff.workflow
    def wide() -> Any:
        return [hold(name) for name in ("w0", "w1", "w2")]

    with ff.Engine(workers=4, capacity={"cpu": 8}, max_running_steps=3) as engine:
        limited = engine.start(wide, options=ff.RunOptions(max_running_steps=1))
        assert gates["w0 begins"].wait(PATIENCE)
        assert engine.run(noted, "other") == "other"
        assert not gates["w1 begins"].is_set()
        assert not gates["w2 begins"].is_set()
        details = {reason.step: reason.detail for reason in limited.explain() if reason.what == "queued"}
        assert details["pol.hold_2"] == "its run may have 1 steps running, and has them"
        gates["w0"].set()
        assert gates["w1 begins"].wait(PATIENCE)
        assert not gates["w2 begins"].is_set()
        gates["w1"].set()
        gates["w2"].set()
        assert limited.result(PATIENCE) == ["w0", "w1", "w2"]


@pytest.mark.req("P8.11")
def test_steps_of_a_window_start_together() -> None:
    with one_worker("shortest_first", batch_window=0.4) as engine:
        runs = []
        for name, expected in (("long", "3s"), ("middle", "2s"), ("short", "1s")):
            step = note.options(id=name, expected=expected)
            runs.append(engine.start(ff.Workflow.from_term(name, step.term(name))))
        (why,) = runs[0].explain()
        assert why.detail == "it gathers with others, until their window ends"
        assert engine.stats().ready == 3
        for run in runs:
            run.result(PATIENCE)
        assert order == ["short", "middle", "long"]
        # A chain waits at each of its steps.
        view = runs[0].view()
        assert view.steps[0].used is not None
        assert view.steps[0].used.queued >= 0.4e6
    with pytest.raises(ValueError, match="duration"):
        ff.Engine(batch_window=-1)


def test_a_limit_outlives_the_engine(tmp_path: Path) -> None:
    @ff.task(name="pol.tell")
    def tell(name: str) -> int:
        with lock:
            running.append(name)
            most.append(len(running))
        threading.Event().wait(0.02)
        with lock:
            running.remove(name)
        return 0

    @ff.workflow
    def flow() -> Any:
        first = ff.signal("go")
        return [tell.options(after=[first])(name) for name in "abcde"]

    lock, running, most = threading.Lock(), list[str](), list[int]()
    with ff.Engine(tmp_path / "runs.db", workers=4) as engine:
        run = engine.start(flow, options=ff.RunOptions(max_running_steps=2, tenant="t", tags=["x"])).id
    with ff.Engine(tmp_path / "runs.db", workers=4) as engine:
        handle = engine.handle(run)
        handle.signal("go")
        handle.result(PATIENCE)
        terms = next(event for event in handle.events() if event["kind"] == "RunTerms")
    assert (terms["tenant"], terms["tags"], terms["limit"]) == ("t", ["x"], 2)
    assert max(most) == 2


@pytest.mark.req("P6.138", "P6.139", "P7.23", "P7.34", "P8.7")
def test_runs_beyond_the_limit_wait_by_priority_and_then_as_they_came(tmp_path: Path) -> None:
    with ff.Engine(tmp_path / "runs.db", workers=4, max_running_runs=1, max_batch_size=1) as engine:
        busy = Busy(engine)
        for name, priority in [("a", "low"), ("b", "normal"), ("c", "high"), ("d", "normal"), ("e", "high")]:
            busy.start(noted, name, priority=priority)
        assert {run.status() for run in busy.runs} == {ff.RunState.CREATED}
        (reason,) = busy.runs[3].explain()
        assert reason.what == "queued"
        assert reason.detail == "1 runs are under way, and 3 others come before it"
        busy.runs.pop(1).cancel("not needed")
        assert busy.order() == ["c", "e", "d", "a"]


def test_runs_that_wait_are_taken_up_and_wait_again(tmp_path: Path) -> None:
    with ff.Engine(tmp_path / "runs.db", max_running_runs=1) as engine:
        first = engine.start(asking)
        second = engine.start(noted, "second")
    with ff.Engine(tmp_path / "runs.db", max_running_runs=1) as engine:
        assert engine.handle(first.id).status() == "running"
        assert engine.handle(second.id).status() == "created"
        engine.handle(first.id).signal("go")
        assert engine.handle(second.id).result(PATIENCE) == "second"


def test_a_run_that_a_body_waits_for_does_not_wait_for_others() -> None:
    with ff.Engine(workers=2, max_running_runs=1) as engine:

        @ff.task(name="pol.outer")
        def outer() -> str:
            return engine.run(noted, "inner")

        @ff.workflow
        def flow() -> str:
            return outer()

        assert engine.start(flow).result(PATIENCE) == "inner"


@pytest.mark.req("P1.24", "P6.144", "P7.35")
def test_what_is_kept_for_a_large_step_is_said() -> None:
    @ff.task(name="pol.large", cpu=2)
    def large() -> str:
        return "large"

    @ff.workflow
    def big() -> str:
        return large()

    @ff.workflow
    def small(name: str) -> str:
        return hold.options(cpu=1)(name)

    with ff.Engine(workers=4, policy="fifo", capacity={"cpu": 2}) as engine:
        engine.start(small, "one")
        assert gates["one begins"].wait(PATIENCE)
        waits = engine.start(big)
        assert waits.explain()[0].detail == "not enough cpu is free"
        # So many come after it that what it needs is kept for it.
        later = [engine.start(noted_small, str(number)) for number in range(100)]
        assert waits.explain()[0].detail == "not enough cpu is free"
        barred = [run for run in later if run.status() == "running"]
        assert barred
        assert barred[-1].explain()[0].detail == (
            "the cpu that is free is kept for a step that has waited for long"
        )
        gates["one"].set()
        assert waits.result(PATIENCE) == "large"
        for run in later:
            run.result(PATIENCE)


@ff.workflow
def noted_small(name: str) -> str:
    return note.options(cpu=1)(name)


# --------------------------------------------------------------- what every policy builds on


@pytest.mark.req("P6.135", "P7.20")
def test_steps_start_when_they_can_and_not_at_intervals() -> None:
    """Had each of them to wait for its turn of even a tenth of a second, this took minutes."""

    @ff.workflow
    def chain() -> Any:
        ref: Any = note("0")
        for number in range(1, 1000):
            ref = note.options(after=[ref])(str(number))
        return ref

    with one_worker("upward_rank") as engine:
        assert engine.start(chain).result(PATIENCE) == "999"
    assert order == [str(number) for number in range(1000)]


def test_steps_that_have_timed_out_or_were_cancelled_have_ended() -> None:
    @ff.task(name="pol.late", timeout="50ms", critical=False)
    def late() -> None:
        gates["the end"].wait(PATIENCE)

    @ff.task(name="pol.gives_up", critical=False)
    def gives_up() -> None:
        raise ff.Cancelled("as told")

    @ff.workflow
    def flow() -> Any:
        return [late(), gives_up(), note("on")]

    with ff.Engine(workers=3) as engine:
        handle = engine.start(flow)
        handle.result(PATIENCE)
        gates["the end"].set()
        view = handle.view()
        states = {step.path: step.state for step in view.steps if step.kind == "task"}
        assert handle.explain() == []
    assert states == {"pol.late": "timed_out", "pol.gives_up": "cancelled", "pol.note": "completed"}
    assert (view.state, view.degraded) == ("completed", True)


def test_what_depends_on_a_failed_step_is_skipped_and_nothing_runs_twice() -> None:
    @ff.task(name="pol.fails", critical=False)
    def fails() -> None:
        raise ff.Fail("NO", "as told")

    @ff.workflow
    def flow() -> Any:
        bad = fails()
        after = note.options(id="after", after=[bad])("after")
        last = note.options(id="last", after=[after])("last")
        return [last, note.options(id="on", after=[note.options(id="other")("other")])("on")]

    with ff.Engine() as engine:
        handle = engine.start(flow)
        handle.result(PATIENCE)
        states = {step.path: (step.state, step.attempts) for step in handle.steps() if step.kind == "task"}
    assert states == {
        "pol.fails": ("failed", 1),
        "after": ("skipped", 0),
        "last": ("skipped", 0),
        "other": ("completed", 1),
        "on": ("completed", 1),
    }
    assert order == ["other", "on"]


def test_to_take_a_run_up_and_to_resume_a_paused_one_are_two_things(tmp_path: Path) -> None:
    with ff.Engine(tmp_path / "runs.db") as engine:
        running, paused = engine.start(asking), engine.start(asking)
        paused.pause()
        with pytest.raises(ff.FerroflowError, match="running"):
            running.resume()
        assert engine.resume() == [], "both are here already"
    with ff.Engine(tmp_path / "runs.db") as engine:
        # Both are taken up, and the paused one is as paused as before.
        assert engine.handle(running.id).status() == "running"
        assert engine.handle(paused.id).status() == "paused"
        engine.handle(paused.id).resume()
        for run in (running, paused):
            engine.handle(run.id).signal("go", 1)
            assert engine.handle(run.id).result(PATIENCE) == 1


def test_of_an_engine_that_was_closed_nothing_goes_on(tmp_path: Path) -> None:
    class AsTheyCome(ff.Policy):
        def rank(self, steps: ff.ReadySteps) -> list[float]:
            return [0.0] * len(steps)

    names = ("ferroflow-worker-0", "ferroflow-policy")

    def left() -> list[str]:
        return sorted(thread.name for thread in threading.enumerate() if thread.name in names)

    for _ in range(3):
        with one_worker(AsTheyCome(), path=tmp_path / "runs.db") as engine:
            engine.run(noted, "a")
            assert left() == ["ferroflow-policy", "ferroflow-worker-0"]
        assert left() == []
    assert order == ["a"] * 3
