"""`plan` and `compare`: what recorded workflows would take elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from ferroflow.cli.ending import say
from ferroflow.cli.looking import table
from ferroflow.cli.picturing import write
from ferroflow.errors import PlanError
from ferroflow.plan import Instance, Platform
from ferroflow.plan import compare as compare_methods
from ferroflow.plan import plan as make_plan
from ferroflow.plan.recorded import instance


def read(path: Path) -> tuple[dict[str, Any], Instance]:
    """Return a WfFormat document and its tasks."""
    try:
        document = msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError as error:
        raise PlanError(f"{path} is not JSON: {error}") from None
    try:
        return document, instance(document)
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from None


def platform(nodes: Path | None, document: dict[str, Any]) -> Platform:
    """Return the platform of a file, or else the machines that a document names."""
    if nodes is not None:
        return Platform.load(nodes)
    try:
        return Platform.from_wfformat(document)
    except PlanError:
        return Platform.here()


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
    document, tasks = read(file)
    made = make_plan(tasks, platform(nodes, document), method, budget=budget, seconds=seconds, seed=seed)
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
    read_files = [read(file) for file in files]
    given = {file.stem: tasks for file, (_, tasks) in zip(files, read_files, strict=True)}
    chosen = [it.strip() for it in methods.split(",")] if methods is not None else None
    where = platform(nodes, read_files[0][0])
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
