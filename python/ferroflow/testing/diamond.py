"""A workflow to try things with: two steps one after the other, two side by side, and one that merges."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal, ParamSpec, TypedDict, TypeVar, Unpack

from ferroflow.define import Retry, Task, Workflow, task, workflow
from ferroflow.define.attempt import attempt
from ferroflow.define.task import Options
from ferroflow.engine import current
from ferroflow.errors import Fail

P = ParamSpec("P")
R = TypeVar("R")


class Report(TypedDict):
    """What the diamond yields: the sums of the smaller half, of the larger half, and of all."""

    low: float
    high: float
    total: float


def _body(step: str, seconds: float, fail: str) -> None:
    """Take time as a body does that can be stopped, then fail if this is the step that is to."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.01))
        if attempt.get() is not None:
            current().check()
    if fail == step:
        raise Fail("AS_TOLD", f"step {step} was told to fail")


def _prepare(numbers: list[float], seconds: float, fail: str) -> list[float]:
    _body("prepare", seconds, fail)
    return [float(number) for number in numbers]


def _process(numbers: list[float], seconds: float, fail: str, batch_size: int) -> list[list[float]]:
    _body("process", seconds, fail)
    ordered = sorted(numbers)
    return [ordered[at : at + batch_size] for at in range(0, len(ordered), batch_size)]


def _analyse(batches: list[list[float]], half: Literal["low", "high"], seconds: float, fail: str) -> float:
    _body(half, seconds, fail)
    numbers = [number for batch in batches for number in batch]
    middle = len(numbers) // 2
    return sum(numbers[:middle] if half == "low" else numbers[middle:])


def _merge(low: float, high: float, seconds: float, fail: str) -> Report:
    _body("merge", seconds, fail)
    return Report(low=low, high=high, total=low + high)


def diamond(executor: str = "thread") -> Workflow[..., Report]:
    """Return a workflow with a parallel diamond: `prepare`, `process`, `low` beside `high`, `merge`.

    It yields the sums of the smaller and of the larger half of some numbers. Its steps have what steps may
    have: timeouts, retries, resources, a failure that is tolerated (of `process`), and a variable that is set
    (`final_result`, by `merge`). Its inputs are `numbers`, 1 to 8 by default; `seconds`, which each step
    takes, or stops within 10 ms of being told to; and `fail`, the step that is to fail, with the code
    `AS_TOLD`. What it is to yield, `expected` says.

    Parameters
    ----------
    executor
        Where its steps run: "thread", "process", or the name of an executor of yours. With such a name, an
        engine that is to take up a run of it needs the same call before.

    Examples
    --------
    >>> import ferroflow as ff
    >>> from ferroflow.testing import diamond, expected
    >>> with ff.Engine() as engine:
    ...     engine.run(diamond("process"), [4, 1, 3, 2]) == expected([4, 1, 3, 2])
    ...     try:
    ...         engine.run(diamond(), fail="low")
    ...     except ff.RunFailed as failed:
    ...         failed.step, failed.code
    True
    ('low', 'AS_TOLD')
    """

    def step(name: str, fn: Callable[P, R], **options: Unpack[Options]) -> Task[P, R]:
        called = f"testing.{name}" if executor == "thread" else f"testing.{name}.{executor}"
        made: Task[P, R] = task(name=called, executor=executor, **options)(fn)
        return made

    patient = Retry(3, delay=1, cap=10)
    prepare = step("prepare", _prepare, timeout=10, retry=patient, cpu=1, memory="64MB")
    process = step("process", _process, timeout=15, retry=2, critical=False, cpu=1, memory="128MB")
    analyse = step("analyse", _analyse, timeout=20)
    merge = step("merge", _merge, timeout=10)

    @workflow(name="diamond", timeout=60)
    def flow(
        numbers: list[float] = [1, 2, 3, 4, 5, 6, 7, 8],  # noqa: B006 - it is recorded, not changed
        seconds: float = 0.0,
        fail: str = "",
    ) -> Report:
        prepared = prepare.options(id="prepare")(numbers, seconds, fail)
        batches = process.options(id="process")(prepared, seconds, fail, batch_size=100)
        low = analyse.options(id="low")(batches, "low", seconds, fail)
        high = analyse.options(id="high")(batches, "high", seconds, fail)
        return merge.options(id="merge", set={"final_result": "result.total"})(low, high, seconds, fail)

    return flow


def expected(numbers: Sequence[float]) -> Report:
    """Return what `diamond` yields of numbers.

    Examples
    --------
    >>> from ferroflow.testing import expected
    >>> expected([4, 1, 3, 2])
    {'low': 3.0, 'high': 7.0, 'total': 10.0}
    """
    ordered = sorted(map(float, numbers))
    middle = len(ordered) // 2
    low, high = sum(ordered[:middle]), sum(ordered[middle:])
    return Report(low=low, high=high, total=low + high)


# What is known once this is imported: to an engine that takes up a run, and to a process of the pool.
for known in ("thread", "process"):
    diamond(known)
