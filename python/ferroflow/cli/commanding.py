"""Commands for a run: left in the database for the engine that has it open, or opens it next."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import click

from ferroflow import _core
from ferroflow.cli.ending import say
from ferroflow.cli.finding import find
from ferroflow.engine import records
from ferroflow.errors import RunEnded


def post(command: str, payload: bytes, *, run: str, wait: float, db: Path, as_json: bool) -> None:
    """Leave a command, wait a little for an engine to take it, and say what came of it."""
    reader = _core.Reader(db)
    found = find(reader, run, db)
    if found.state in records.TERMINAL:
        raise RunEnded(f"run {found.id} is {found.state}: it takes no commands any more")
    number = _core.post(db, found.id, command, payload)
    until = time.monotonic() + wait
    while waiting := reader.is_waiting(number):
        if time.monotonic() >= until:
            break
        time.sleep(0.02)
    state = find(reader, found.id, db).state
    if as_json:
        word = "continue" if command == "resume" else command
        say({"run": found.id, "command": word, "taken": not waiting, "state": state})
    elif waiting:
        click.echo(
            f"left for run {found.id}, which is {state}: no engine has taken it within {wait:g} s.\n"
            "It takes effect when one takes the run up, for example: "
            f"ferroflow resume TARGET --db {shlex.quote(str(db))} --run {found.id}"
        )
    else:
        sent = f" got the signal {command.partition(':')[2]!r} and" if command.startswith("signal:") else ""
        click.echo(f"run {found.id}{sent} is {state}")
