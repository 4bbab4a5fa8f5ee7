"""Shows how far a run is until it ends: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import click

from ferroflow.engine import Handle, Progress
from ferroflow.errors import FerroflowError


def follow(handle: Handle[Any], begins: str) -> None:
    """Show how far a run is until it ends: a bar on a terminal, plain lines elsewhere.

    `begins` is what is said of it first: that it has started, or goes on.
    """
    if sys.stderr.isatty():
        _bar(handle)
    else:
        _lines(handle, begins)


def _bar(handle: Handle[Any]) -> None:
    from rich import progress
    from rich.console import Console
    from rich.table import Column

    columns = (
        progress.BarColumn(bar_width=30),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[left]}", markup=False),
        progress.TextColumn("{task.fields[doing]}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
    )
    left = Left()
    with progress.Progress(*columns, console=Console(stderr=True), transient=True, expand=True) as bar:
        shown = bar.add_task("", left="", doing="", total=None)
        pause = 0.1
        while not _ended(handle, pause):
            far, pause = handle.progress(running=3), 0.2
            bar.update(
                shown, completed=far.ended, total=far.total, left=left.said(far), doing=_doing(handle, far)
            )


def _lines(handle: Handle[Any], begins: str) -> None:
    click.echo(f"run {handle.id} {begins}", err=True)
    left, said, pause = Left(), -1, 0.5
    while not _ended(handle, pause):
        far = handle.progress(running=3)
        if far.ended != said:
            text = f"{far.ended}/{far.total} steps {left.said(far)}".rstrip()
            click.echo(f"{text}; {_doing(handle, far)}", err=True)
            said, pause = far.ended, min(10.0, pause * 1.5)


def _ended(handle: Handle[Any], seconds: float) -> bool:
    """Wait so long for the end of a run; how it ended is told later."""
    try:
        handle.result(seconds)
    except TimeoutError:
        return False
    except FerroflowError:
        return True
    return True


def _doing(handle: Handle[Any], far: Progress) -> str:
    if far.running:
        return f"running: {', '.join(far.running)}"
    state = handle.status()
    return "waiting for a timer, a retry or a signal" if state == "running" else state


class Left:
    """How long a run will take from now on, if it goes on as since it was first looked at."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, int] | None = None

    def seconds(self, far: Progress) -> float | None:
        """Return the seconds left; None as long as nothing can be said."""
        now = self._clock()
        if self._first is None:
            self._first = (now, far.ended)
        since, before = self._first
        if far.ended <= before or now <= since:
            return None
        return (far.total - far.ended) * (now - since) / (far.ended - before)

    def said(self, far: Progress) -> str:
        """Return it in words."""
        seconds = self.seconds(far)
        if seconds is None:
            return ""
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{rest:02} left" if hours else f"{minutes}:{rest:02} left"
