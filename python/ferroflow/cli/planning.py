"""`plan` and `compare`: what recorded workflows would take elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from ferroflow import interchange
from ferroflow.cli.ending import say
from ferroflow.cli.looking import table
from ferroflow.cli.picturing import write
from ferroflow.plan import Platform
from ferroflow.plan import compare as compare_methods
from ferroflow.plan import plan as make_plan


def platform(nodes: Path | None, instance: interchange.Instance | None = None) -> Platform:
    """Return the platform of a file, or else the machines of an instance, or else this one."""
    if nodes is not None:
        if nodes.suffix == ".json" and interchange.is_wfformat(nodes.read_bytes()):
            return interchange.read(nodes).platform()
        return Platform.load(nodes)
    return instance.platform() if instance is not None and instance.machines else Platform.here()


def plan(
    file: Path,
    *,
    nodes: Path | None,
    method: str,
    budget: int | None,
    seconds: float | None,
    seed: int,
    gantt: Path | None,
    mermaid: Path | None,
    wfformat: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Plan a recorded workflow."""
    instance = interchange.read(file)
    where = platform(nodes, instance)
    made = make_plan(instance.columns, where, method, budget=budget, seconds=seconds, seed=seed)
    if gantt is not None:
        write(gantt, made.gantt())
    if mermaid is not None:
        write(mermaid, made.mermaid())
    if wfformat is not None:
        text = msgspec.json.format(msgspec.json.encode(made.to_wfformat(file.stem)), indent=2).decode()
        write(wfformat, text + "\n")
    if output is not None:
        write(output, made.to_json() + "\n")
    if as_json:
        say({key: it for key, it in made.to_dict().items() if key not in ("platform", "tasks", "movements")})
        return
    how = f"{made.method}{', improved by search' if made.improved else ''}"
    click.echo(f"makespan {made.makespan:.3f} s by {how}")
    click.echo(f"at best  {made.bounds.best:.3f} s, so at most {made.gap:.1%} too long")
    click.echo(f"{len(made)} tasks on {len(made.platform.nodes)} nodes; {made.evaluations} schedules tried")


def compare(
    files: Sequence[Path],
    *,
    nodes: Path | None,
    methods: str | None,
    seconds: float | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Compare methods on recorded workflows."""
    instances = {file.stem: interchange.read(file) for file in files}
    given = {name: instance.columns for name, instance in instances.items()}
    chosen = [it.strip() for it in methods.split(",")] if methods is not None else None
    where = platform(nodes, next(iter(instances.values())))
    made = compare_methods(given, where, chosen, seconds=seconds)
    if plot is not None:
        write(plot, made.svg())
    if as_json:
        say(made.to_dict())
        return
    columns, rows = made.rows()
    # A row a method reads well on a terminal, however many methods there are.
    ratios = made.ratios()
    table(
        ["method", "mean over best", *(row[0] for row in rows)],
        [
            [method, f"{ratio:.4f}", *(row[columns.index(method)] for row in rows)]
            for method, ratio in ratios.items()
        ]
        + [["bound", "", *(row[1] for row in rows)]],
    )
