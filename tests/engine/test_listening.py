"""Hearing what happens, and waiting without blocking."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff


@pytest.fixture(params=["memory", "sqlite"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ff.Engine]:
    with ff.Engine(None if request.param == "memory" else tmp_path / "runs.db") as made:
        yield made


@ff.task(name="h.double")
def double(n: int) -> int:
    return 2 * n


@ff.task(name="h.broken")
def broken() -> None:
    raise ff.Fail("NO", "not today")


@ff.workflow
def twice(n: int) -> int:
    return double(double(n))


@ff.workflow
def failing() -> None:
    return broken()


@ff.workflow
def waiting() -> Any:
    return ff.signal("go")


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not holds() and time.monotonic() < end:
        time.sleep(0.002)
    assert holds()


@pytest.mark.req("P5.108", "P8.20", "P8.72", "P8.89", "P7.80", "P7.19")
def test_events_come_once_in_order_with_the_states_they_lead_to(engine: ff.Engine) -> None:
    seen: list[ff.Event] = []
    with engine.subscribe(seen.append):
        done = engine.start(twice, 3)
        done.result()
        lost = engine.start(failing)
        with pytest.raises(ff.RunFailed):
            lost.result()
        paused = engine.start(waiting)
        paused.pause("lunch")
        paused.resume()
        paused.cancel("enough")
        late = engine.start(waiting, options=ff.RunOptions(timeout="5ms"))
        with pytest.raises(ff.RunTimedOut):
            late.result()
        until(lambda: sum(event.state.is_terminal for event in seen) >= 4)

    def of(handle: ff.Handle[Any]) -> list[ff.Event]:
        return [event for event in seen if event.run == handle.id]

    def changes(handle: ff.Handle[Any]) -> list[tuple[Any, Any]]:
        return [(event.was, event.state) for event in of(handle) if event.was]

    assert [event.kind for event in of(done)] == [
        "RunCreated", "RunStarted", "StepStarted", "StepCompleted", "StepStarted", "StepCompleted",
        "RunCompleted",
    ]  # fmt: skip
    assert [event.sequence for event in of(done)] == [1, 2, 3, 4, 5, 6, 7]
    assert changes(done) == [("created", "running"), ("running", "completed")]
    assert changes(lost) == [("created", "running"), ("running", "failed")]
    assert [event.kind for event in of(lost)][-2:] == ["StepFailed", "RunFailed"]
    assert of(lost)[-1].fields["error"]["code"] == "NO"
    assert changes(paused) == [
        ("created", "running"), ("running", "paused"), ("paused", "running"), ("running", "cancelled"),
    ]  # fmt: skip
    assert changes(late)[-1] == ("running", "timed_out")
    # Exactly what the journal has.
    for handle in (done, lost, paused, late):
        kept = [(event["sequence"], event["kind"], event["at"]) for event in handle.events()]
        assert [(event.sequence, event.kind, event.at) for event in of(handle)] == kept
        assert sum(event.state.is_terminal for event in of(handle)) == 1


def test_filters_and_subscribers_that_raise_harm_nobody(engine: ff.Engine) -> None:
    ends: list[str] = []
    of_one: list[str] = []

    def raises(event: ff.Event) -> None:
        raise RuntimeError("mine")

    first = engine.start(waiting)
    until(lambda: bool(engine.list()))
    bad = engine.subscribe(raises)
    only_ends = engine.subscribe(lambda event: ends.append(event.run), kinds=["RunCompleted"])
    only_one = engine.subscribe(lambda event: of_one.append(event.kind), run=first.id)
    assert engine.run(twice, 1) == 4
    first.signal("go")
    first.result()
    until(lambda: len(ends) == 2 and "RunCompleted" in of_one)
    assert of_one == ["SignalReceived", "SignalTaken", "RunCompleted"]
    until(lambda: bad.failures == 10)
    for one in (bad, only_ends, only_one):
        one.close()
        one.close()
    engine.run(twice, 1)
    assert len(ends) == 2


def test_events_of_a_closed_engine_are_delivered_before_it_says_so() -> None:
    seen: list[str] = []
    engine = ff.Engine()
    subscription = engine.subscribe(lambda event: seen.append(event.kind))
    engine.run(twice, 1)
    engine.close()
    subscription.drain()
    assert seen[-1] == "RunCompleted"


def test_many_runs_are_awaited_together(engine: ff.Engine) -> None:
    """More than any pool of threads has: nothing may stand behind the runs that wait."""

    async def main() -> Any:
        handles = [await engine.astart(waiting) for _ in range(100)]
        results = [asyncio.create_task(handle.aresult()) for handle in handles]
        await asyncio.sleep(0)
        before = threading.active_count()
        for number, handle in enumerate(handles):
            await handle.asignal("go", number)
        assert await asyncio.gather(*results) == list(range(100))
        return before

    assert asyncio.run(main()) < 40


def test_awaiting_ends_with_its_time_and_the_run_goes_on(engine: ff.Engine) -> None:
    async def main() -> None:
        handle = await engine.astart(waiting)
        with pytest.raises(TimeoutError, match=r"within 0\.02 s"):
            await handle.aresult(0.02)
        await handle.apause("lunch")
        assert handle.status() == "paused"
        await handle.aresume()
        await handle.acancel("enough")
        with pytest.raises(ff.RunCancelled, match="enough"):
            await handle.aresult(5)
        assert (await handle.aview()).reason == "enough"
        assert [step.state for step in await handle.asteps()] == ["cancelled"]
        assert (await handle.aevents())[-1]["kind"] == "RunCancelled"
        assert [run.id for run in await engine.alist()] == [handle.id]
        assert (await engine.ahandle(handle.id)).id == handle.id

    asyncio.run(main())


def test_a_call_that_blocks_an_event_loop_says_what_to_write(engine: ff.Engine) -> None:
    async def main() -> None:
        with pytest.warns(RuntimeWarning, match=r"await engine\.arun"):
            engine.run(twice, 1)

    asyncio.run(main())

    @ff.task(name="h.nested")
    async def nested() -> int:
        return engine.run(twice, 1)

    @ff.workflow
    def flow() -> int:
        return nested()

    with pytest.raises(ff.RunFailed, match=r"await engine\.arun"):
        engine.run(flow)

    @ff.task(name="h.right")
    async def right() -> int:
        return await engine.arun(twice, 2)

    @ff.workflow
    def fine() -> int:
        return right()

    assert engine.run(fine) == 8


def test_a_function_that_exits_harms_nobody(engine: ff.Engine) -> None:
    seen: list[ff.Event] = []

    def leave(event: ff.Event) -> None:
        seen.append(event)
        sys.exit(1)

    with engine.subscribe(leave, kinds=["RunCompleted"]) as subscription:
        engine.run(twice, 1)
        engine.run(twice, 2)
        until(lambda: subscription.failures == 2)
    assert len(seen) == 2
