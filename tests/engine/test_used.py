"""What each attempt used is on record, whatever has become of it and of its run by the time its body ends."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

import ferroflow as ff
from ferroflow import _core
from tests.engine import process_tasks
from tests.engine.test_processes import eventually, flow_of

_ENDS: dict[str, tuple[type[ff.FerroflowError], str]] = {
    "cancelled": (ff.RunCancelled, "RunCancelled"),
    "failed": (ff.RunFailed, "RunFailed"),
    "timed_out": (ff.RunTimedOut, "RunTimedOut"),
}


@ff.command(name="used.deaf", grace="200ms")
def deaf(log: str) -> str:
    count = "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done"
    return f"trap '' TERM; {count}; touch {log}; while :; do sleep 0.05; done"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ff.Engine]:
    with ff.Engine(tmp_path / "it.db", durability="relaxed", processes=2, workers=3) as made:
        yield made


def used_by(run: ff.Handle[Any], step: int = 0) -> ff.Used:
    """What a step used, once that is known."""
    assert eventually(lambda: run.view().steps[step].used is not None)
    found = run.view().steps[step].used
    assert found is not None
    return found


def kinds(run: ff.Handle[Any]) -> list[str]:
    return [event["kind"] for event in run.events()]


@pytest.mark.parametrize(
    ("task", "how"),
    [
        *((deaf, how) for how in _ENDS),
        *((process_tasks.stubborn, how) for how in ("cancelled", "failed")),
    ],
    ids=lambda it: it if isinstance(it, str) else it.name,
)
def test_a_process_that_is_ended_after_its_run_is_measured(
    engine: ff.Engine, tmp_path: Path, task: Any, how: str
) -> None:
    log = tmp_path / "begun"
    go = threading.Event()

    @ff.task(name="used.fails")
    def fails() -> None:
        assert go.wait(30)
        raise ff.Fail("BAD", "as told")

    @ff.workflow
    def flow() -> Any:
        return task.options(id="it")(str(log)), fails()

    run = engine.start(flow, options=ff.RunOptions(timeout="4s" if how == "timed_out" else None))
    assert eventually(log.exists)
    if how == "cancelled":
        run.cancel("enough")
    elif how == "failed":
        go.set()
    raised, ended = _ENDS[how]
    with pytest.raises(raised):
        run.result(30)
    go.set()
    used = used_by(run)
    assert used.cpu is not None
    assert used.cpu >= 10_000
    assert used.memory is not None
    assert used.memory >= (80 << 20 if task is process_tasks.stubborn else 100_000)
    assert used.wall >= 200_000
    assert used.queued >= 0
    assert (run.status(), run.view().steps[0].state) == (how, "cancelled")
    late = kinds(run)[kinds(run).index(ended) + 1 :]
    assert set(late) == {"StepUsed"}


def test_what_a_thread_used_is_recorded_when_it_lets_go_and_its_result_is_not(engine: ff.Engine) -> None:
    begun, go = threading.Event(), threading.Event()

    @ff.task(name="used.thread")
    def body() -> str:
        begun.set()
        assert go.wait(30)
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass
        with pytest.raises(ff.InvalidInput, match="no longer counts"):
            _ = ff.current().inputs
        return "x" * 100_000

    run = engine.start(flow_of(body))
    assert begun.wait(30)
    run.cancel("enough")
    with pytest.raises(ff.RunCancelled):
        run.result(30)
    # Nothing that is asked of the run, or of the engine, waits for the body.
    assert (run.status(), engine.stats().active, engine.stats().running) == ("cancelled", 0, 1)
    with pytest.raises(ff.RunEnded):
        run.cancel("again")
    before = engine.stats().refused
    go.set()
    used = used_by(run)
    assert used.cpu is not None
    assert 0.05e6 <= used.cpu <= used.wall
    assert (used.memory, engine.stats().refused) == (None, before + 1)
    assert kinds(run)[-2:] == ["RunCancelled", "StepUsed"]


@pytest.mark.parametrize("durability", ["strict", "relaxed"])
def test_bodies_of_one_thread_are_measured_each_for_itself_and_without_the_engine(
    tmp_path: Path, durability: Literal["strict", "relaxed"]
) -> None:
    @ff.task(name="used.burn")
    def burn() -> None:
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass

    @ff.task(name="used.long")
    def long() -> bytes:
        return bytes(50 << 20)

    @ff.task(name="used.nothing")
    def nothing() -> None:
        pass

    @ff.workflow
    def flow() -> None:
        done: list[Any] = []
        bodies: list[ff.Task[[], Any]] = [burn, nothing, nothing, burn, long, *[nothing] * 50]
        for body in bodies:
            done = [body.options(after=done)()]

    with ff.Engine(tmp_path / "it.db", workers=1, durability=durability) as engine:
        run = engine.start(flow)
        run.result(30)
        steps = [step for step in run.view().steps if step.task]
    assert len(steps) == 55
    for step in steps:
        used = step.used
        assert used is not None
        assert used.cpu is not None
        assert used.cpu <= used.wall + 50
        if step.task == "used.burn":
            assert 0.05e6 <= used.cpu < 0.1e6
        elif step.task == "used.nothing":
            # To record 50 MiB takes more.
            assert (used.cpu < 5_000, used.written) == (True, 0)


def test_what_a_coroutine_took_is_recorded_after_its_run(engine: ff.Engine) -> None:
    begun = threading.Event()

    @ff.task(name="used.coroutine")
    async def body() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)

    run = engine.start(flow_of(body))
    assert begun.wait(30)
    run.cancel("enough")
    with pytest.raises(ff.RunCancelled):
        run.result(30)
    used = used_by(run)
    assert (used.cpu, used.wall >= 100_000) == (None, True)


def test_attempts_out_of_time_are_measured_each_for_itself(engine: ff.Engine) -> None:
    @ff.command(name="used.slow", grace="200ms", timeout="300ms", retry=ff.Retry(1, delay="1ms"))
    def slow() -> str:
        return "trap '' TERM; while :; do sleep 0.05; done"

    run = engine.start(flow_of(slow))
    with pytest.raises(ff.RunFailed) as caught:
        run.result(30)
    assert caught.value.code == "TIMEOUT"
    assert eventually(lambda: kinds(run).count("StepUsed") == 2)
    started = [event["token"] for event in run.events() if event["kind"] == "StepStarted"]
    told = [(event["token"], event["used"]) for event in run.events() if event["kind"] == "StepUsed"]
    assert [token for token, _ in told] == started
    for _, used in told:
        assert used["wall"] >= 400_000
        assert used["memory"] > 0
    assert kinds(run)[-2:] == ["RunFailed", "StepUsed"]
    view = run.view()
    assert view.steps[0].state == "timed_out"
    assert view.steps[0].used is not None
    assert view.steps[0].used.wall == told[1][1]["wall"]


def test_a_process_of_the_pool_that_dies_is_measured_too(engine: ff.Engine) -> None:
    # What the process used before, for itself and for other bodies, does not count.
    engine.run(flow_of(process_tasks.burn, 0.5, 1))
    run = engine.start(flow_of(process_tasks.burn_and_die))
    with pytest.raises(ff.RunFailed) as caught:
        run.result(30)
    assert caught.value.code == "WORKER_DIED"
    used = used_by(run)
    assert used.cpu is not None
    assert used.memory is not None
    assert 0.2e6 <= used.cpu <= 0.45e6
    assert 80 << 20 <= used.memory <= 300 << 20


def test_the_log_is_whole_and_the_end_is_the_end_to_whoever_reads_it_later(tmp_path: Path) -> None:
    path, log = tmp_path / "it.db", tmp_path / "begun"
    heard: list[ff.Event] = []
    with ff.Engine(path, processes=1) as engine:
        subscription = engine.subscribe(heard.append)
        run = engine.start(flow_of(deaf, str(log)))
        assert eventually(log.exists)
        run.cancel("enough")
        # Closing waits for the body, as for any.
    subscription.drain()
    late = [event for event in heard if event.kind == "StepUsed"]
    assert [(event.state, event.was) for event in late] == [("cancelled", None)]
    with ff.Engine(path, processes=1) as engine:
        assert not engine.unresumed
        again = engine.handle(run.id)
        assert again.status() == "cancelled"
        with pytest.raises(ff.RunCancelled):
            again.result(1)
        used = again.view().steps[0].used
        assert used is not None
        assert used.wall >= 200_000
        (record,) = engine.list()
        assert (record.state, record.ended) == ("cancelled", again.view().ended)
    verified = msgspec.msgpack.decode(_core.Reader(path).verify())
    assert (verified["complete"], verified["broken"]) == (True, [])


def test_what_a_body_used_that_a_closing_engine_ends_is_recorded_and_its_step_runs_again(
    tmp_path: Path,
) -> None:
    path, log = tmp_path / "it.db", tmp_path / "begun"
    with ff.Engine(path, processes=1) as engine:
        run = engine.start(flow_of(deaf.options(grace="20ms"), str(log)))
        assert eventually(log.exists)
        assert engine.close(drain=0.05) == 1
    with ff.Engine(path, resume=False) as engine:
        again = engine.handle(run.id)
        assert kinds(again)[-1] == "StepUsed"
        assert used_by(again).wall >= 50_000
        assert again.view().steps[0].state == "running"
