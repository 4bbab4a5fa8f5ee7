"""Commands that look at a database, or leave a command for its engine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from ferroflow import _core
from ferroflow.engine import records
from ferroflow.errors import RunEnded, RunNotFound


def _clock(micros: int | None) -> str:
    return "" if micros is None else records.moment(micros).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3f} s"


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp() * 1e6)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: drawn on a terminal, columns of text elsewhere."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if sys.stdout.isatty():
        table = Table(*columns)
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        Console().print(table)
        return
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def list_runs(
    *,
    workflow: str | None,
    states: tuple[str, ...],
    correlation: str | None,
    since: datetime | None,
    until: datetime | None,
    before: str | None,
    limit: int,
    db: Path,
    as_json: bool,
) -> None:
    """Print runs, newest first."""
    rows = _core.Reader(db).runs(
        workflow, list(states), correlation, _micros(since), _micros(until), before, limit
    )
    found = records.run_records(rows)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    _table(
        ("run", "workflow", "state", "created", "took", "error"),
        [
            (
                run.id,
                f"{run.workflow} {run.version}",
                run.state + (" (degraded)" if run.degraded else ""),
                _clock(run.created),
                _seconds(run.seconds),
                (run.error or "")[:60],
            )
            for run in found
        ],
    )
    if len(found) == limit and not as_json:
        click.echo(f"older ones: --before {found[-1].id}")


def show(*, run: str, events: bool, db: Path, as_json: bool) -> None:
    """Print a run with its steps."""
    reader = _core.Reader(db)
    view = records.run_view(reader.inspect(run, False))
    log = records.events(reader.events(run)) if events else []
    if as_json:
        answer = msgspec.to_builtins(view)
        if events:
            answer["events"] = log
        click.echo(msgspec.json.encode(answer).decode())
        return
    click.echo(f"run       {view.id}")
    click.echo(f"workflow  {view.workflow} {view.version}")
    click.echo(f"state     {view.state}{' (degraded)' if view.degraded else ''}")
    click.echo(f"created   {_clock(view.created)}")
    if view.seconds is not None:
        click.echo(f"took      {_seconds(view.seconds)}")
    if view.recoveries:
        click.echo(f"resumed   {view.recoveries} times")
    for name, text in (("reason", view.reason), ("error", view.error)):
        if text is not None:
            click.echo(f"{name:<9} {text}")
    rows = []
    # The tree: a step's path says what it is in.
    for step in sorted(view.steps, key=lambda step: _order(step.path)):
        if step.kind == "join":
            continue
        depth = step.path.count("/")
        name = "  " * depth + step.path.rpartition("/")[2]
        if depth and "[" in step.path.rpartition("/")[0].rpartition("/")[2]:
            index = step.path.rpartition("/")[0].rpartition("[")[2].rstrip("]")
            name = "  " * depth + f"[{index}] " + step.path.rpartition("/")[2]
        tries = "" if step.attempts < 2 else str(step.attempts)
        progress = "" if step.percent is None else f"{step.percent:.0f} %"
        detail = progress if step.error is None else str(step.error)
        rows.append((name, step.task or step.kind, step.state, _seconds(step.seconds), tries, detail[:80]))
    _table(("step", "what", "state", "took", "tries", "error or progress"), rows)
    for event in log:
        fields = {key: it for key, it in event.items() if key not in ("sequence", "at", "kind")}
        click.echo(f"{event['sequence']:>6}  {_clock(event['at'])}  {event['kind']}  {fields}")


def _order(path: str) -> list[tuple[str, int]]:
    parts = []
    for part in path.split("/"):
        name, _, index = part.partition("[")
        parts.append((name, int(index.rstrip("]")) if index else -1))
    return parts


def post(db: Path, run: str, command: str, payload: bytes) -> None:
    """Leave a command for the engine that has the database open, or opens it next."""
    states = [
        found["state"]
        for found in _core.Reader(db).runs(None, [], None, None, None, None, 1 << 30)
        if found["id"] == run
    ]
    if not states:
        raise RunNotFound(f"there is no run {run} in {db}")
    if states[0] in records.TERMINAL:
        raise RunEnded(f"run {run} is {states[0]}: it takes no commands any more")
    _core.post(db, run, command, payload)
    click.echo(f"left for the engine of {db}")


def verify(db: Path, *, as_json: bool) -> None:
    """Check every record of every run."""
    reader = _core.Reader(db)
    checked, damaged, before = 0, [], None
    while True:
        page = reader.runs(None, [], None, None, None, before, 1000)
        for row in page:
            run = str(row["id"])
            whole, problem = reader.verify(run)
            checked += whole
            if problem is not None:
                damaged.append({"run": run, "record": whole, "problem": problem})
        if len(page) < 1000:
            break
        before = str(page[-1]["id"])
    if as_json:
        answer = {"commits": reader.commits(), "records": checked, "damaged": damaged}
        click.echo(msgspec.json.encode(answer).decode())
    else:
        for found in damaged:
            click.echo(f"run {found['run']}: record {found['record']} is damaged: {found['problem']}")
        verdict = "valid" if not damaged else f"{len(damaged)} runs are damaged"
        click.echo(f"{checked} records: {verdict}")
    if damaged:
        sys.exit(1)
