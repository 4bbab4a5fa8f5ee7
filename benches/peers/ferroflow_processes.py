"""Ferroflow's processes: no-op steps in the pool, commands, and an array there and back."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import ferroflow as ff
from ferroflow._core import build_profile
from workloads import Measured, measure, report

ARRAY = 100_000_000
"""Bytes of the array."""


@ff.task(executor="process")
def nothing(_number: int) -> None:
    pass


@ff.task(executor="process")
def turned(array: Any) -> Any:
    return array


@ff.task
def made() -> Any:
    return np.arange(ARRAY // 8, dtype=np.float64)


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
def array() -> Any:
    return turned.options(id="turned")(made())


def measured_array(engine: ff.Engine, repeats: int) -> Measured:
    """Time the step in the process: from when its body is begun to when its result is recorded."""
    times = []
    for _ in range(repeats + 1):
        run = engine.start(array)
        assert run.result()[-1] == ARRAY // 8 - 1
        (step,) = (it for it in run.view().steps if it.path == "turned")
        assert step.used is not None
        times.append(step.used.wall / 1e6)
    # The first one starts the process.
    times = times[1:]
    return {
        "steps": 1,
        "per_step_seconds": times,
        "median": sorted(times)[len(times) // 2],
        "best": min(times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=["pool", "commands", "array"], required=True)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    if build_profile != "release":
        raise SystemExit("measure a release build")
    with ff.Engine(processes=2, capacity={"cpu": 64}, max_value="1GiB") as engine:
        if args.work == "array":
            report("ferroflow", measured_array(engine, args.repeats))
            return
        flow = pool if args.work == "pool" else commands
        items = [*range(args.steps)]
        engine.run(flow, items[:8])
        report("ferroflow", measure(lambda: engine.run(flow, items), args.steps, args.repeats))


if __name__ == "__main__":
    main()
