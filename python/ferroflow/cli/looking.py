"""Commands that look at a database."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from ferroflow import _core
from ferroflow.cli.ending import encoded, say
from ferroflow.cli.finding import clock, find
from ferroflow.cli.tree import tree
from ferroflow.engine import records

COLOURS = {
    "completed": "green", "running": "cyan", "waiting": "yellow", "paused": "yellow",
    "failed": "red", "timed_out": "red", "compensation_failed": "red", "cancelled": "magenta",
}  # fmt: skip


WORDS = ("error", "error or progress", "used")
"""Columns that may be as long as they like."""


def seconds(time: float | None) -> str:
    """Return seconds as text; nothing for None."""
    return "" if time is None else f"{time:.3f} s"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table without its empty columns: in colour on a terminal, plain elsewhere."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    filled = [at for at in range(len(columns)) if any(row[at] for row in rows)]
    columns, rows = [columns[at] for at in filled], [[row[at] for at in filled] for row in rows]
    if sys.stdout.isatty():
        drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in columns:
            # Ids and times are of use only as a whole; a long message goes on below.
            drawn.add_column(column, no_wrap=column not in WORDS, overflow="fold")
        for row in rows:
            drawn.add_row(*(Text(cell, style=COLOURS.get(cell.partition(" ")[0], "")) for cell in row))
        Console().print(drawn)
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
    """Print a page of runs, newest first."""
    reader = _core.Reader(db)
    wanted = (workflow, list(states), correlation, records.instant(since), records.instant(until))
    oldest = None if before is None else find(reader, before, db).id
    # One more than is shown tells whether there is a next page.
    found = records.run_records(reader.runs(*wanted, oldest, limit + 1))
    total, more = reader.count(*wanted), len(found) > limit
    found = found[:limit]
    pages = -(-total // limit)
    if as_json:
        following = found[-1].id if more else None
        say({"runs": found, "total": total, "pages": pages, "next": following})
        return
    if found:
        ids = _abbreviated([run.id for run in found]) if sys.stdout.isatty() else [run.id for run in found]
        table(
            ("run", "workflow", "state", "created", "took", "error"),
            [
                (
                    name,
                    f"{run.workflow} {run.version}",
                    run.state + (" (degraded)" if run.degraded else ""),
                    clock(run.created),
                    seconds(run.seconds),
                    " ".join((run.error or "").split())[:60],
                )
                for name, run in zip(ids, found, strict=True)
            ],
        )
    noun = "run" if total == 1 else "runs"
    some = f"{len(found)} of {total} {noun}" if len(found) < total else f"{total} {noun}"
    click.echo(some + (f", {pages} pages; older ones: --before {found[-1].id}" if more else ""))


def _abbreviated(ids: Sequence[str]) -> list[str]:
    """Return as much of each id as tells them apart, and the instant in them."""
    length = 13
    while len({run[:length] for run in ids}) < len(ids):
        length += 1
    return [run[:length] for run in ids]


def show(
    *,
    run: str,
    step: str | None,
    values: bool,
    steps: int,
    events: bool,
    limit: int | None,
    gantt: Path | None,
    wfformat: Path | None,
    db: Path,
    as_json: bool,
) -> None:
    """Print a run with its steps, or one of these."""
    reader = _core.Reader(db)
    found = find(reader, run, db).id
    # Events first: the view then has all of them, even while the run goes on.
    log = records.events(reader.events(found)) if events or gantt or step is not None else []
    view = records.run_view(reader.inspect(found, values))
    if gantt is not None:
        from ferroflow.cli.picturing import gantt as chart
        from ferroflow.cli.picturing import write

        write(gantt, chart(view, log))
    if wfformat is not None:
        from ferroflow import interchange

        interchange.write(interchange.to_wfformat(view), wfformat)
        click.echo(f"wrote {wfformat}", err=True)
    if step is not None:
        from ferroflow.cli import stepping

        stepping.show(view, step, log, values=values, events=events, limit=limit, as_json=as_json)
        return
    log = log if limit is None else log[-limit:]
    if as_json:
        say({**msgspec.to_builtins(view), "events": log} if events else view)
        return
    _head(view, values=values)
    _steps(view, steps)
    if events:
        print_events(log)


def line(name: str, text: object) -> None:
    """Print a name and what it stands for; more lines of that go below its first."""
    click.echo(f"{name:<12} {str(text).replace(chr(10), chr(10) + ' ' * 13)}")


def _head(view: records.RunView, *, values: bool) -> None:
    line("run", view.id)
    line("workflow", f"{view.workflow} {view.version}")
    state = click.style(view.state, fg=COLOURS.get(view.state))
    line("state", state + (" (degraded)" if view.degraded else ""))
    if view.correlation is not None:
        line("correlation", view.correlation)
    line("created", clock(view.created))
    if view.seconds is not None:
        line("took", seconds(view.seconds))
    if view.recoveries:
        line("taken up", "once again" if view.recoveries == 1 else f"{view.recoveries} times again")
    if view.reason is not None:
        line("reason", view.reason)
    if view.error is not None:
        line("error", view.error)
        if view.error.step is not None:
            line("in step", view.error.step)
    counts = Counter(step.state for step in view.steps if step.kind != "join")
    line("steps", ", ".join(f"{count} {state}" for state, count in counts.most_common()) or "none yet")
    if values:
        for name in ("input", "variables", "result"):
            line(name, encoded(getattr(view, name)).decode())


def _steps(view: records.RunView, most: int) -> None:
    rows: list[tuple[str, ...]] = []
    shown = [step for step in view.steps if step.kind != "join"]
    for depth, name, step in tree(view.steps):
        if len(rows) >= most:
            break
        if step.kind == "join":
            continue
        what = step.task or step.kind
        begun = None if step.started is None else (step.started - view.created) / 1e6
        rows.append(
            (
                "  " * depth + name,
                # A step is called like its task unless somebody gave it another name.
                "" if name.rpartition(" ")[2].lstrip("$") == what else what,
                step.state,
                "" if begun is None else f"+{begun:.3f} s",
                seconds(step.seconds),
                "" if step.attempts < 2 else str(step.attempts),
                _detail(step),
            )
        )
    if rows:
        click.echo()
        table(("step", "what", "state", "began", "took", "tries", "error or progress"), rows)
    if len(rows) < len(shown):
        click.echo(f"… and {len(shown) - len(rows)} more steps: --steps {len(shown)}")


def _detail(step: records.StepView) -> str:
    if step.error is not None:
        return " ".join(str(step.error).split())[:100]
    if step.percent is None:
        return ""
    told = f"{step.percent:.0f} %"
    return f"{told}, {' '.join(step.message.split())[:80]}" if step.message else told


def print_events(log: Sequence[dict[str, Any]]) -> None:
    """Print events, a line each."""
    click.echo()
    if log and log[0]["sequence"] > 1:
        click.echo(f"… {log[0]['sequence'] - 1} earlier events")
    for event in log:
        fields = {key: it for key, it in event.items() if key not in ("sequence", "at", "kind")}
        text = " ".join(f"{key}={encoded(it).decode()[:120]}" for key, it in fields.items())
        click.echo(f"{event['sequence']:>6}  {clock(event['at'])}  {event['kind']}  {text}".rstrip())


def verify(*, db: Path, as_json: bool) -> None:
    """Check every record of every run, and that none is missing."""
    reader = _core.Reader(db)
    if sys.stderr.isatty() and not as_json:
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            shown = bar.add_task("runs checked")
            packed = reader.verify(lambda at, of: bar.update(shown, completed=at, total=of))
    else:
        packed = reader.verify()
    found = msgspec.msgpack.decode(packed)
    whole = found["complete"] and not found["broken"]
    if as_json:
        say({**found, "valid": whole})
    else:
        for it in found["broken"]:
            click.echo(f"run {it['run']}: record {it['record']} is damaged: {it['why']}")
        if not found["complete"]:
            click.echo("records, or whole runs, are missing: what is there is not all that was written")
        said = "valid" if whole else "damaged"
        click.echo(f"{found['records']} records of {found['runs']} runs: {said}")
    if not whole:
        raise click.exceptions.Exit(1)
