"""Runs over scarce resources, while several threads pause, resume, signal and cancel them: all end."""

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

import ferroflow as ff


@ff.task(name="w.plain")
def plain(n: int) -> int:
    return n


@ff.task(name="w.a", resources={"a": 1})
def needs_a(n: int) -> int:
    time.sleep(0.0005)
    return n


@ff.task(name="w.ab", resources={"a": 1, "b": 1}, priority="high")
def needs_both(n: int) -> int:
    return n


@ff.task(name="w.b", resources={"b": 2}, priority="low")
def needs_all_b(n: int) -> int:
    return n


@ff.task(name="w.async")
async def asynchronous(n: int) -> int:
    await asyncio.sleep(0.001)
    return n


@ff.task(name="w.async_a", resources={"a": 1})
async def asynchronous_a(n: int) -> int:
    await asyncio.sleep(0.001)
    return n


@ff.task(name="w.flaky", retry=ff.Retry(2, delay="1ms"))
def flaky(n: int) -> int:
    if ff.current().attempt < 2:
        raise OSError("once")
    return n


TASKS: list[Any] = [plain, needs_a, needs_both, needs_all_b, asynchronous, asynchronous_a, flaky]


def flow(dice: random.Random, number: int) -> ff.Workflow[..., Any]:
    def traced() -> Any:
        first = [dice.choice(TASKS)(dice.randrange(9)) for _ in range(dice.randrange(1, 6))]
        last = [dice.choice(TASKS)(ref) for ref in first]
        ff.each(list(range(dice.randrange(5))), dice.choice(TASKS), limit=dice.choice([None, 1, 2]))
        if dice.random() < 0.3:
            ff.sleep(0.002)
        if dice.random() < 0.3:
            ff.signal("go")
        return last

    return ff.workflow(name=f"storm{number}")(traced)


def storm(seed: int, path: Path | None, durability: Literal["strict", "relaxed"] | None, runs: int) -> None:
    dice = random.Random(seed)
    flows = [flow(dice, number) for number in range(12)]
    handles: list[ff.Handle[Any]] = []
    over = threading.Event()

    def start(seed: int) -> None:
        own = random.Random(seed)
        for _ in range(runs):
            options = own.choice([ff.RunOptions(priority="high"), ff.RunOptions(priority="low")])
            handles.append(engine.start(own.choice(flows), options=options))

    def disturb(seed: int) -> None:
        own = random.Random(seed)
        while not over.is_set():
            if handles:
                handle = own.choice(handles)
                does: list[Callable[[], object]] = [
                    handle.pause, handle.resume, partial(handle.signal, "go"), handle.cancel, handle.view,
                ]  # fmt: skip
                # It may have ended, or be in no state for that.
                with contextlib.suppress(ff.FerroflowError):
                    own.choices(does, [4, 6, 4, 0.4, 1])[0]()
            if own.random() < 0.3:
                over.wait(0.001)

    with ff.Engine(
        path,
        durability=durability,
        workers=dice.choice([1, 2, 5]),
        capacity={"a": 2, "b": 2},
        async_limit=dice.choice([1, 3, 1000]),
    ) as engine:
        starters = [threading.Thread(target=start, args=(seed * 10 + n,)) for n in range(2)]
        others = [threading.Thread(target=disturb, args=(seed * 10 + n,)) for n in range(5, 8)]
        for thread in [*starters, *others]:
            thread.start()
        for thread in starters:
            thread.join()
        over.wait(0.2)
        over.set()
        for thread in others:
            thread.join()
        for handle in handles:
            for do in (handle.resume, partial(handle.signal, "go")):
                with contextlib.suppress(ff.FerroflowError):
                    do()
        for handle in handles:
            try:
                handle.result(30)
            except ff.RunCancelled:
                pass
            except TimeoutError:
                pytest.fail(f"stuck: {handle.status()}, {handle.explain()}, {engine.stats()}")
        for handle in handles[:50]:
            steps = handle.steps()
            progress = handle.progress()
            assert progress.total == progress.ended == len(steps), Counter(step.state for step in steps)
        stats = engine.stats()
        assert (stats.active, stats.running) == (0, 0)


MODES = pytest.mark.parametrize("durability", [None, "relaxed", "strict"])


@MODES
@pytest.mark.parametrize("seed", [1, 2])
def test_no_run_is_left_behind(seed: int, durability: Any, tmp_path: Path) -> None:
    storm(seed, tmp_path / "runs.db" if durability else None, durability, 40)


@pytest.mark.nightly
@MODES
@pytest.mark.parametrize("seed", range(100, 112))
def test_no_run_is_left_behind_in_long_storms(seed: int, durability: Any, tmp_path: Path) -> None:
    storm(seed, tmp_path / "runs.db" if durability else None, durability, 300)
