"""An engine starts and stops layer by layer, and leaves nothing behind."""

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from ferroflow.engine import loop


@ff.workflow
def waiting() -> Any:
    return ff.signal("go")


def alive() -> Counter[str]:
    """How many threads of ours there are, by name."""
    names = [thread.name for thread in threading.enumerate()]
    with contextlib.suppress(FileNotFoundError):  # where there is no /proc, Rust's are not looked at
        names += [it.read_text().strip() for it in Path("/proc/self/task").glob("*/comm")]
    return Counter(name for name in names if name.startswith("ferroflow"))


def gone(before: Counter[str]) -> bool:
    until = time.monotonic() + 10
    while alive() != before and time.monotonic() < until:
        time.sleep(0.01)
    return alive() == before


@pytest.mark.req("P1.46", "P7.2", "P8.2")
def test_an_engine_that_is_closed_or_could_not_open_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    before = alive()
    with ff.Engine(path) as engine:
        run = engine.start(waiting).id
        with engine.subscribe(lambda event: None):
            engine.run(ff.Workflow.from_term("nap", ff.library.delay.term(delay_ms=1)))
        assert (alive() - before).total() >= 4, "workers, commits, timers, asynchronous bodies"
    assert gone(before)

    def broken(record: object) -> bool:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        ff.Engine(path, resume=broken)
    assert "could not be resumed" in caught.value.__notes__[0]
    assert gone(before)
    with ff.Engine(path) as engine:
        engine.handle(run).signal("go", "on")
        assert engine.handle(run).result(5) == "on"
    assert gone(before)


def test_what_asynchronous_tasks_leave_open_is_closed_with_the_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "_CLOSING", 0.2)
    kept: list[AsyncGenerator[int]] = []
    closed: list[float] = []

    async def numbers(seconds: float) -> AsyncGenerator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(seconds)
            closed.append(seconds)

    @ff.task(name="l.begin")
    async def begin(seconds: float) -> int:
        kept.append(numbers(seconds))
        return await anext(kept[-1])

    with ff.Engine() as engine:
        for seconds in (0, 3600):
            assert engine.run(ff.Workflow.from_term("w", begin.term(seconds))) == 1
        assert closed == []
    # One that takes for ever keeps nobody waiting.
    assert closed == [0]
