"""Ferroflow's processes: no-op steps in the pool, commands, and an array there and back."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import ferroflow as ff
from ferroflow._core import build_profile
from workloads import Measured, measure, report, summary

ARRAY = 100_000_000
"""Bytes of the array."""


@ff.task(executor="process")
def nothing(_number: int) -> None:
    pass


@ff.task(executor="process")
def turned(array: Any) -> Any:
    return array


@ff.task
def made(size: int) -> Any:
    return np.arange(size // 8, dtype=np.float64)


@ff.command(name="true")
def true(_number: int) -> list[str]:
    return ["/bin/true"]


@ff.workflow
def pool(items: list[int]) -> Any:
    return ff.each(items, nothing)


@ff.workflow
def commands(items: list[int]) -> Any:
    return ff.each(items, true)


@ff.workflow
def array(size: int) -> Any:
    return turned.options(id="turned")(made(size))


def measured_array(repeats: int) -> Measured:
    """Time the step in the process: from when its body is begun to when its result is recorded.

    A journal in memory keeps all values, so that each time has an engine of its own: else ever more of
    the machine's memory would be touched for the first time, which takes longer than any copy.
    """
    times = []
    for _ in range(repeats):
        with ff.Engine(processes=1, max_value="1GiB") as engine:
            # This one starts the process.
            engine.run(array, 8)
            run = engine.start(array, ARRAY)
            assert run.result()[-1] == ARRAY // 8 - 1
            (step,) = (it for it in run.view().steps if it.path == "turned")
            assert step.used is not None
            times.append(step.used.wall / 1e6)
    return summary(1, times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=["pool", "commands", "array"], required=True)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    if build_profile != "release":
        raise SystemExit("measure a release build")
    if args.work == "array":
        report("ferroflow", measured_array(args.repeats))
        return
    with ff.Engine(processes=2, capacity={"cpu": 64}) as engine:
        flow = pool if args.work == "pool" else commands
        items = [*range(args.steps)]
        engine.run(flow, items[:8])
        report("ferroflow", measure(lambda: engine.run(flow, items), args.steps, args.repeats))


if __name__ == "__main__":
    main()
