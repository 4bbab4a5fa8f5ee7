"""Ferroflow on the work it shares with its peers; databases are made in the folder it runs in."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ferroflow as ff
from ferroflow._core import build_profile
from http_server import running
from workloads import Measured, layered, measure, nothing, report

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


@ff.workflow
def each_item(items: list[int]) -> Any:
    return ff.each(items, pass_on)


@ff.workflow
def waiting_in_the_middle(items: list[int]) -> Any:
    done = ff.each(items, pass_on)
    return pass_on.options(after=[done, ff.signal("go")])(0)


@ff.workflow
def requests(urls: list[str]) -> Any:
    return ff.each(urls, ff.library.http)


def together(engine: ff.Engine, runs: int) -> None:
    """Start so many runs of one step, and wait for them all."""
    handles = [engine.start(one_step, number) for number in range(runs)]
    for handle in handles:
        handle.result()


def measured_requests(url: str, steps: int, repeats: int) -> Measured:
    """Time so many requests at a time: the engine has what all of them declare."""
    plenty: dict[str, float | str] = {"cpu": steps, "memory": "1TB", "disk": "1TB"}
    with ff.Engine(capacity=plenty, async_limit=steps) as engine:
        engine.run(requests, [url])

        def work() -> None:
            found = engine.run(requests, [url] * steps)
            assert all(one["body"]["ok"] for one in found)

        return measure(work, steps, repeats)


def half_done(engine: ff.Engine, steps: int) -> str:
    """Leave a run that has so many finished steps and waits for a signal; return its id."""
    handle = engine.start(waiting_in_the_middle, [*range(steps)])
    while sum(step.state == "completed" for step in handle.steps()) <= steps:
        time.sleep(0.05)
    return handle.id


def resident() -> int:
    """The resident memory of this process, in bytes."""
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=["memory", "strict", "chain", "runs", "http"], required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if build_profile != "release":
        raise SystemExit("measure a release build")
    if args.work == "http":
        with running() as url:
            report("ferroflow", measured_requests(url, args.steps, args.repeats))
        return
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = None if args.work == "memory" else Path(folder) / "runs.db"
        with ff.Engine(path, workers=args.threads) as engine:
            work: Callable[[], None]
            if args.work == "runs":

                def work() -> None:
                    together(engine, args.steps)

            else:
                flow = (chain if args.work == "chain" else layers)(args.steps)
                _ = flow.program

                def work() -> None:
                    engine.run(flow)

            report("ferroflow", measure(work, args.steps, args.repeats))


if __name__ == "__main__":
    main()
