"""`simulate`: what a workflow, or a recorded one, would take, told by many runs in virtual time."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ferroflow.cli import instances, running
from ferroflow.cli.ending import say
from ferroflow.cli.looking import table
from ferroflow.cli.picturing import write
from ferroflow.cli.planning import platform
from ferroflow.engine.policies import PolicyName
from ferroflow.errors import InvalidInput
from ferroflow.plan import Faults, simulate


def amounts(pairs: Sequence[str], option: str) -> dict[str, float]:
    """Return what a person typed as NAME=NUMBER."""
    found = {}
    for pair in pairs:
        name, _, text = pair.rpartition("=")
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not name or not math.isfinite(number):
            raise InvalidInput(f"{option} {pair!r}: write NAME=NUMBER")
        found[name] = number
    return found


@contextmanager
def bar(runs: int) -> Iterator[Callable[[int], object] | None]:
    """Yield what draws how many runs are done; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("simulating", total=runs)
        yield lambda done: shown.update(task, completed=done)


def run(
    target: str,
    *,
    nodes: Path | None,
    policy: PolicyName,
    runs: int,
    seed: int,
    deviation: float,
    durations: Sequence[str],
    default: float | None,
    answers: Sequence[str],
    failure: float,
    stragglers: float,
    plot: Path | None,
    gantt: Path | None,
    save: Path | None,
    as_json: bool,
) -> None:
    """Simulate runs of a workflow or of a recorded execution."""
    seeds = range(seed, seed + runs)
    faults = Faults(failure=failure, stragglers=stragglers)
    instance = instances.found(target)
    where = platform(nodes, instance)
    with bar(runs) as progress:
        if instance is not None:
            if durations or answers or default is not None:
                raise click.UsageError("--duration, --default and --answer are not for recorded workflows")
            found = instance.simulate(
                where, policy, seeds=seeds, deviation=deviation, faults=faults, progress=progress
            )
        else:
            workflow = running.workflow(target)
            if deviation:
                raise click.UsageError("--deviation is for recorded workflows")
            found = simulate(
                workflow,
                where,
                policy,
                seeds=seeds,
                durations=amounts(durations, "--duration"),
                default=60.0 if default is None else default,
                answers=amounts(answers, "--answer"),
                faults=faults,
                progress=progress,
            )
    if plot is not None:
        write(plot, found.svg())
    if gantt is not None or save is not None:
        first = found.run(seed)
        if gantt is not None:
            write(gantt, first.gantt())
        if save is not None:
            first.save(save)
    summary: dict[str, Any] = found.summary()
    recorded = instance.makespan if instance is not None else None
    if as_json:
        say({**summary, "policy": policy, "recorded": recorded})
        return
    figures = ("makespan", "cost", "utilisation")
    columns = [*summary["makespan"]]
    table(["", *columns], [[it, *(f"{summary[it][column]:.6g}" for column in columns)] for it in figures])
    ends = ", ".join(f"{count} {state}" for state, count in sorted(summary["states"].items()))
    count = len(where.nodes)
    click.echo(
        f"{runs} runs: {ends}; {summary['attempts']:.6g} attempts each, on {count} node{'s' * (count != 1)}"
    )
    if recorded is not None:
        click.echo(f"recorded {recorded:.3f} s")
    for text in sorted({*found.stuck.values()})[:3]:
        click.echo(f"stuck: {text}", err=True)
