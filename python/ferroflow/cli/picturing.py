"""Pictures: a workflow as a graph, a run as a Gantt chart."""

from __future__ import annotations

import re
from pathlib import Path

import click

from ferroflow import _core, draw
from ferroflow.cli.finding import find
from ferroflow.engine import records
from ferroflow.errors import InvalidInput


def graph(*, target: str | None, run: str | None, form: str, output: Path | None, db: Path) -> None:
    """Draw a workflow, coloured by how far a run of it is."""
    from ferroflow.cli import running

    if target is None and run is None:
        raise click.UsageError("give a TARGET, or a run with --run")
    blocks, states, title = None, None, ""
    if run is not None:
        reader = _core.Reader(db)
        view = records.run_view(reader.inspect(find(reader, run, db).id, False))
        blocks, states, title = view.blocks, view.states(), f"{view.workflow} {view.version}: {view.state}"
    if target is not None:
        workflow = running.workflow(target)
        drawn = workflow.program.blocks()
        if blocks is not None and blocks != drawn:
            raise InvalidInput(
                f"run {run} is not one of {target} as it is now; leave TARGET out to draw the run"
            )
        blocks, title = drawn, title or f"{workflow.name} {workflow.version}"
    assert blocks is not None
    text = (
        draw.svg(blocks, states, title)
        if form == "svg"
        else draw.dot(blocks, states)
        if form == "dot"
        else draw.mermaid(blocks, states)
    )
    if output is None:
        click.echo(text, nl=False)
    else:
        write(output, text)


def gantt(view: records.RunView, log: list[dict[str, object]]) -> str:
    """Return a chart of a run: a bar for each attempt of a task's step."""
    found = records.attempts(view, log)
    origin = min((it.started for it in found), default=0)
    # What has not ended is drawn up to the last thing that is known.
    last = max((it.ended or it.started for it in found), default=0)
    bars = [
        (_label(it), (it.started - origin) / 1e6, ((it.ended or last) - origin) / 1e6, it.state)
        for it in found
    ]
    return draw.gantt(bars, f"run {view.id} of {view.workflow} {view.version}")


def _label(attempt: records.Attempt) -> str:
    """Return positions first, since a short bar shows only the beginning: `[2][0] fit, try 2`."""
    positions = "".join(re.findall(r"\[\d+\]", attempt.path))
    name = attempt.path.rpartition("/")[2]
    tries = f", try {attempt.number}" if attempt.number > 1 else ""
    return f"{positions} {name}{tries}".strip()


def write(path: Path, text: str) -> None:
    """Write a picture to a file and say so."""
    path.write_text(text, encoding="utf-8")
    click.echo(f"wrote {path}", err=True)
