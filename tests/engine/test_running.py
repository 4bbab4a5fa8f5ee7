"""What a user sees when workflows run."""

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff


@pytest.fixture(params=["memory", "sqlite"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ff.Engine]:
    path = None if request.param == "memory" else tmp_path / "runs.db"
    with ff.Engine(path) as made:
        yield made


@ff.task(name="t.double")
def double(n: int) -> int:
    return 2 * n


@ff.task(name="t.adouble")
async def adouble(n: int) -> int:
    await asyncio.sleep(0.001)
    return 2 * n


@ff.task(name="t.add")
def add(a: int, b: int) -> int:
    return a + b


@ff.task(name="t.total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@ff.task(name="t.broken")
def broken(message: str = "no") -> int:
    raise ValueError(message)


@ff.task(name="t.wait")
def wait(seconds: float) -> str:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ff.current().check()
        time.sleep(0.005)
    return "waited"


@ff.workflow
def diamond(n: int) -> Any:
    a = double(n)
    left, right = double(a), adouble(a)
    return {"sum": add(left, right), "parts": [left, right]}


@pytest.mark.req("P8.12")
def test_a_diamond_of_sync_and_async_tasks(engine: ff.Engine) -> None:
    assert engine.run(diamond, 3) == {"sum": 24, "parts": [12, 12]}
    assert engine.run(diamond, n=1) == {"sum": 8, "parts": [4, 4]}


def test_async_forms(engine: ff.Engine) -> None:
    async def main() -> Any:
        handle = await engine.astart(diamond, 2)
        return await handle.aresult(), await engine.arun(diamond, 2)

    assert asyncio.run(main()) == ({"sum": 16, "parts": [8, 8]},) * 2


def test_constructs(engine: ff.Engine) -> None:
    @ff.workflow
    def inner(n: int) -> int:
        return double(n)

    @ff.workflow
    def outer(n: int, items: list) -> Any:  # type: ignore[type-arg]
        return {
            "each": ff.each(items, lambda item: add(item, n)),
            "nested": ff.each(items, lambda x: ff.each(items, lambda y: add(x, y))),
            "index": ff.each(items, lambda item, index: add(item, index)),
            "loop": ff.loop(lambda s: add(s, n), init=0, while_=lambda s: ff.expr("s < 10", s=s), max=99),
            "choice": ff.choose([(ff.expr("n > 5", n=n), lambda: double(n))], lambda: "small"),
            "inlined": inner(n),
            "first": ff.first(1, lambda: wait(60), lambda: double(1)),
            "two": ff.first(2, lambda: double(1), lambda: double(2)),
            "timeout": ff.timeout("1m", lambda: double(n)),
            "handled": ff.on_error(lambda: broken("boom"), lambda error: error["message"]),
        }

    result = engine.run(outer, 3, [1, 2])
    assert result == {
        "each": [4, 5],
        "nested": [[2, 3], [3, 4]],
        "index": [1, 3],
        "loop": 12,
        "choice": "small",
        "inlined": 6,
        "first": 2,
        "two": [2, 4],
        "timeout": 6,
        "handled": "ValueError: boom",
    }


@pytest.mark.req("P8.76", "P8.92", "P8.93", "P7.88")
def test_variables_are_set_after_a_step_and_read_by_expressions(engine: ff.Engine) -> None:
    @ff.workflow
    def flow(n: int) -> Any:
        a = double.options(set={"seen": "result + 1"})(n)
        return double.options(after=[a])(ff.var("seen"))

    assert engine.run(flow, 3) == 14


@pytest.mark.req("P7.74", "P8.101")
def test_a_failed_step_fails_the_run_and_says_where_and_why(engine: ff.Engine) -> None:
    @ff.workflow
    def flow() -> Any:
        return double(broken("the reason"))

    with pytest.raises(ff.RunFailed) as caught:
        engine.run(flow)
    error = caught.value
    assert error.step == "t.broken"
    assert error.code == "EXECUTION_FAILED"
    assert "the reason" in str(error)
    assert "raise ValueError(message)" in error.details
    states = {step.path: step.state for step in engine.handle(error.run).steps()}
    assert states == {"t.broken": "failed", "t.double": "cancelled"}
    ends = [event for event in engine.handle(error.run).events() if event["kind"] == "RunFailed"]
    assert [(end["error"]["code"], end["error"]["message"]) for end in ends] == [
        ("EXECUTION_FAILED", "ValueError: the reason")
    ]


@pytest.mark.req("P8.102")
def test_continue_lets_independent_steps_go_on(engine: ff.Engine) -> None:
    @ff.workflow(on_error="continue")
    def flow() -> Any:
        return [double(broken()), double(add(1, 1))]

    handle = engine.start(flow)
    with pytest.raises(ff.RunFailed):
        handle.result()
    states = {step.path: step.state for step in handle.steps()}
    assert states["t.add"] == states["t.double_2"] == "completed"
    assert states["t.double"] == "skipped"


@pytest.mark.req("P4.141", "P7.75", "P7.76", "P8.87")
def test_a_step_that_is_not_critical_degrades_the_run(engine: ff.Engine) -> None:
    @ff.workflow
    def flow() -> Any:
        optional = broken.options(critical=False)()
        return total.options(on_upstream_failure="run")([optional, double(2)])

    handle = engine.start(flow)
    with pytest.raises(ff.RunFailed, match="unsupported operand"):
        handle.result()

    @ff.workflow
    def tolerant() -> Any:
        double(broken.options(critical=False)())
        return double(2)

    handle = engine.start(tolerant)
    assert handle.result() == 4
    view = handle.view()
    assert view.degraded
    assert {step.path: step.state for step in view.steps if step.task} == {
        "t.broken": "failed", "t.double": "skipped", "t.double_2": "completed",
    }  # fmt: skip


@pytest.mark.req("P4.136", "P4.139", "P8.103", "P6.99")
def test_retries_until_it_works(engine: ff.Engine) -> None:
    tries = []

    @ff.task(name="t.flaky", retry=ff.Retry(3, delay="5ms", backoff="fixed"))
    def flaky() -> int:
        tries.append(ff.current().attempt)
        if len(tries) < 3:
            raise OSError("not yet")
        return len(tries)

    @ff.workflow
    def flow() -> int:
        return flaky()

    handle = engine.start(flow)
    assert handle.result() == 3
    assert tries == [1, 2, 3]
    assert [event["kind"] for event in handle.events()].count("StepRetrying") == 2


def test_fail_gives_a_code_and_is_not_retried(engine: ff.Engine) -> None:
    @ff.task(name="t.refuse", retry=5)
    def refuse() -> None:
        raise ff.Fail("CARD_REFUSED", "no money")

    @ff.workflow
    def flow() -> Any:
        return refuse()

    with pytest.raises(ff.RunFailed, match="no money") as caught:
        engine.run(flow)
    assert caught.value.code == "CARD_REFUSED"


@pytest.mark.req("P1.27", "P6.130", "P8.8")
def test_timeouts_of_step_and_run(engine: ff.Engine) -> None:
    @ff.workflow
    def slow_step() -> Any:
        return wait.options(timeout="30ms")(60)

    with pytest.raises(ff.RunFailed) as caught:
        engine.run(slow_step)
    assert caught.value.code == "TIMEOUT"

    @ff.workflow
    def slow_run() -> Any:
        return wait(60)

    with pytest.raises(ff.RunTimedOut):
        engine.run(slow_run, options=ff.RunOptions(timeout=timedelta(milliseconds=30)))


@pytest.mark.req("P6.132", "P6.133", "P7.15", "P7.17", "P7.18", "P8.58", "P8.91", "P9.75", "P9.76")
def test_cancel_stops_bodies_and_keeps_the_reason(engine: ff.Engine) -> None:
    stopped = threading.Event()

    @ff.task(name="t.until_cancelled")
    def until_cancelled() -> None:
        try:
            while True:
                ff.current().progress(10, "waiting")
                time.sleep(0.005)
        except ff.Cancelled:
            stopped.set()
            raise

    @ff.workflow
    def flow() -> Any:
        return until_cancelled()

    handle = engine.start(flow)
    time.sleep(0.05)
    handle.cancel("changed my mind")
    with pytest.raises(ff.RunCancelled, match="changed my mind"):
        handle.result()
    assert stopped.wait(5)
    with pytest.raises(ff.RunEnded, match="cancelled"):
        handle.cancel()
    view = handle.view()
    assert (view.reason, view.steps[0].state) == ("changed my mind", "cancelled")


@pytest.mark.req("P8.109")
def test_pause_and_resume(engine: ff.Engine) -> None:
    @ff.workflow
    def chain() -> Any:
        first = wait(0.05)
        return add.options(after=[first])(1, 2)

    handle = engine.start(chain)
    handle.pause()
    assert handle.status() == "paused"
    with pytest.raises(TimeoutError):
        handle.result(timeout="150ms")
    handle.resume()
    assert handle.result(5) == 3


def test_signals_are_taken_in_order_and_may_come_early(engine: ff.Engine) -> None:
    @ff.workflow
    def flow() -> Any:
        wait_first = wait(0.05)
        return [
            ff.loop(lambda s: ff.signal("go"), while_="state_iteration < 2", max=5),
            wait_first,
        ]

    handle = engine.start(flow)
    handle.signal("go", "one")
    handle.signal("go", "two")
    assert handle.result(5) == ["two", "waited"]


@pytest.mark.req("P6.129", "P7.10")
def test_priorities_go_first(tmp_path: Path) -> None:
    order: list[str] = []

    @ff.task(name="t.note")
    def note(name: str) -> None:
        order.append(name)

    @ff.workflow
    def flow() -> None:
        gate = wait(0.1)
        note.options(after=[gate], priority="low")("low")
        note.options(after=[gate])("normal")
        note.options(after=[gate], priority="critical")("critical")

    with ff.Engine(workers=1) as engine:
        engine.run(flow)
    assert order == ["critical", "normal", "low"]


@pytest.mark.req("P1.25")
def test_capacity_is_never_exceeded(engine: ff.Engine) -> None:
    running, most, lock = 0, 0, threading.Lock()

    @ff.task(name="t.gpu", resources={"gpu": 1})
    def use_gpu(n: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1
        return n

    @ff.workflow
    def flow() -> Any:
        return ff.each(list(range(10)), use_gpu)

    with ff.Engine(workers=4, capacity={"gpu": 2}) as big:
        assert big.run(flow) == list(range(10))
    assert most == 2
    with pytest.raises(ff.DefinitionError, match="gpu"):
        engine.run(flow)


def test_large_values_spill_and_come_back(engine: ff.Engine) -> None:
    @ff.task(name="t.large")
    def large() -> bytes:
        return b"x" * 1_000_000

    @ff.task(name="t.length")
    def length(data: bytes) -> int:
        return len(data)

    @ff.workflow
    def flow() -> Any:
        data = large()
        return [length(data), data]

    handle = engine.start(flow)
    assert handle.result() == [1_000_000, b"x" * 1_000_000]


def test_annotated_arguments_are_converted(engine: ff.Engine) -> None:
    from dataclasses import dataclass

    @dataclass
    class Point:
        x: int
        y: int

    @ff.task(name="t.point")
    def point(x: int) -> Point:
        return Point(x, 1)

    @ff.task(name="t.norm")
    def norm(at: Point) -> int:
        assert isinstance(at, Point)
        return at.x + at.y

    point.fn.__annotations__["return"] = Point
    norm.fn.__annotations__["at"] = Point

    @ff.workflow
    def flow() -> Any:
        return norm(point(4))

    assert engine.run(flow) == 5


@pytest.mark.req("P8.69", "P9.73")
def test_runs_are_listed_newest_first_in_pages(engine: ff.Engine) -> None:
    runs = [engine.start(diamond, n, options=ff.RunOptions(correlation=f"c{n % 2}")) for n in range(5)]
    for handle in runs:
        handle.result()
    assert [run.id for run in engine.list()] == [handle.id for handle in reversed(runs)]
    page = engine.list(limit=2)
    rest = engine.list(before=page[-1].id)
    assert [run.id for run in [*page, *rest]] == [handle.id for handle in reversed(runs)]
    assert len(engine.list(correlation="c0")) == 3
    assert len(engine.list(state="completed", workflow="diamond")) == 5
    assert engine.list(state="failed") == []


def test_a_thousand_steps_over_a_list(engine: ff.Engine) -> None:
    @ff.workflow
    def flow(items: list) -> Any:  # type: ignore[type-arg]
        return total(ff.each(items, double))

    assert engine.run(flow, list(range(1000))) == 999_000


def test_several_engines_in_one_process() -> None:
    with ff.Engine() as one, ff.Engine() as two:
        assert one.run(diamond, 1) == two.run(diamond, 1)


def test_async_with() -> None:
    async def main() -> Any:
        async with ff.Engine() as engine:
            return await engine.arun(diamond, 1)

    assert asyncio.run(main())["sum"] == 8


def test_an_async_body_that_is_cancelled_before_it_begins_is_over() -> None:
    begun = threading.Event()

    @ff.task(name="t.stall")
    async def stall() -> None:
        begun.set()
        while not ff.current().cancelled():  # holds up the loop: no other body can begin
            time.sleep(0.001)
        time.sleep(0.02)  # the cancellation reaches the loop while it is held up

    @ff.task(name="t.trip")
    def trip() -> None:
        begun.wait(5)
        time.sleep(0.01)  # the other body reaches the loop
        raise ff.Fail("TRIPPED", "as told")

    @ff.workflow
    def flow() -> Any:
        return [stall(), adouble(1), trip()]

    with ff.Engine(async_limit=2) as engine:
        for _ in range(3):  # a body that never ended would keep its place
            begun.clear()
            with pytest.raises(ff.RunFailed, match="as told"):
                engine.run(flow)
        assert engine.start(diamond, 1).result(10) == {"sum": 8, "parts": [4, 4]}
