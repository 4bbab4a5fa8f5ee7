"""Ferroflow on the work it shares with its peers; databases are made in the folder it runs in."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ferroflow as ff
from ferroflow._core import build_profile
from workloads import layered, measure, nothing, report

noop = ff.task(name="nothing")(nothing)


@ff.task
def pass_on(value: int) -> int:
    return value


def layers(steps: int) -> ff.Workflow[..., Any]:
    """The layered graph as a workflow."""
    graph = layered(steps)

    @ff.workflow
    def flow() -> None:
        refs: list[Any] = []
        for needed in graph:
            refs.append(noop(*(refs[number] for number in needed)))

    return flow


def chain(steps: int) -> ff.Workflow[..., Any]:
    """Steps one after another."""

    @ff.workflow
    def flow() -> Any:
        ref: Any = 0
        for _ in range(steps):
            ref = pass_on(ref)
        return ref

    return flow


@ff.workflow
def one_step(value: int) -> int:
    return pass_on(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=["memory", "strict", "chain", "runs"], required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if build_profile != "release":
        raise SystemExit("measure a release build")
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = None if args.work == "memory" else Path(folder) / "runs.db"
        with ff.Engine(path, workers=args.threads) as engine:
            work: Callable[[], None]
            if args.work == "runs":

                def work() -> None:
                    handles = [engine.start(one_step, number) for number in range(args.steps)]
                    for handle in handles:
                        handle.result()

            else:
                flow = (chain if args.work == "chain" else layers)(args.steps)
                _ = flow.program

                def work() -> None:
                    engine.run(flow)

            report("ferroflow", measure(work, args.steps, args.repeats))


if __name__ == "__main__":
    main()
