"""One step of a run as people look at it: its attempts, what they took, the whole error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from ferroflow.cli.ending import encoded, say
from ferroflow.cli.finding import clock
from ferroflow.cli.looking import COLOURS, line, print_events, seconds, table
from ferroflow.engine import records

_SHOWN = 10
"""Paths to choose from that an unknown one is answered with."""


def show(
    view: records.RunView,
    path: str,
    log: Sequence[dict[str, Any]],
    *,
    values: bool,
    events: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """Print a step, by its path."""
    number = _number(view, path)
    step, tries = view.steps[number], [it for it in records.attempts(view, log) if it.path == path]
    log = [event for event in log if event.get("step") == number]
    log = log if limit is None else log[-limit:]
    if as_json:
        more = {"events": log} if events else {}
        say({**msgspec.to_builtins(step), "tries": tries, **more})
        return
    _head(view, step, values=values)
    _tries(view, tries)
    if events:
        print_events(log)


def _number(view: records.RunView, path: str) -> int:
    paths = [step.path for step in view.steps if step.kind != "join"]
    if path not in paths:
        more = ", ..." if len(paths) > _SHOWN else ""
        there = f"it has {', '.join(paths[:_SHOWN])}{more}" if paths else "it has none yet"
        raise click.BadParameter(f"run {view.id} has no step {path!r}; {there}", param_hint="STEP")
    return next(number for number, step in enumerate(view.steps) if step.path == path)


def _head(view: records.RunView, step: records.StepView, *, values: bool) -> None:
    line("step", step.path)
    line("run", f"{view.id} of {view.workflow} {view.version}")
    line("what", step.task or step.kind)
    line("state", click.style(step.state, fg=COLOURS.get(step.state)))
    for name, at in (("scheduled", step.scheduled), ("began", step.started), ("ended", step.ended)):
        if at is not None:
            line(name, clock(at))
    if step.seconds is not None:
        line("took", seconds(step.seconds))
    if step.ran_on is not None:
        line("ran on", step.ran_on)
    if step.used is not None:
        line("used", used(step.used))
    if step.percent is not None:
        line("progress", f"{step.percent:.0f} %" + (f", {step.message}" if step.message else ""))
    if step.updated is not None:
        line("updated", clock(step.updated))
    if step.error is not None:
        line("error", step.error)
        if step.error.details:
            line("", step.error.details.rstrip())
    if values:
        line("result", encoded(step.result).decode())


def _tries(view: records.RunView, tries: Sequence[records.Attempt]) -> None:
    if not tries:
        return
    click.echo()
    rows = [
        (
            str(it.number),
            it.state,
            f"+{(it.started - view.created) / 1e6:.3f} s",
            seconds(it.seconds),
            "" if it.used is None else used(it.used),
        )
        for it in tries
    ]
    table(("try", "state", "began", "took", "used"), rows)


def used(it: records.Used) -> str:
    """Return in words what an attempt took."""
    parts = [] if it.cpu is None else [f"cpu {seconds(it.cpu / 1e6)}"]
    for name, amount in (("memory", it.memory), ("read", it.read), ("written", it.written)):
        if amount is not None:
            parts.append(f"{name} {size(amount)}")
    took = f"waited {seconds(it.queued / 1e6)}, ran {seconds(it.wall / 1e6)}"
    return f"{', '.join(parts)}; {took}" if parts else took


def size(amount: int) -> str:
    """Return bytes as people read them."""
    number, unit = float(amount), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 999.5:
            break
        number, unit = number / 1000, larger
    return f"{number:.1f} {unit}" if unit != "B" and number < 9.95 else f"{number:.0f} {unit}"
