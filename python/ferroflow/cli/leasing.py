"""The command that shows who holds assets."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ferroflow import _core
from ferroflow.cli.ending import say
from ferroflow.cli.finding import clock
from ferroflow.cli.looking import table
from ferroflow.engine.records import Behind, Lease
from ferroflow.engine.records import leases as read


def leases(*, db: Path, as_json: bool) -> None:
    """Print what is held, and what is waited for."""
    found = read(_core.Reader(db).leases())
    if as_json:
        say({"leases": found})
        return
    if found:
        table(
            ("asset", "state", "since", "until", "run", "step", "behind"),
            [_row(lease, str(access)) for lease in found for access in lease.accesses],
        )
    held = sum(not lease.waits for lease in found)
    click.echo(f"{held} held, {len(found) - held} waiting")


def _row(lease: Lease, access: str) -> tuple[str, ...]:
    state = "waiting" if lease.waits else "locked" if lease.lock else "held" if lease.token else "granted"
    return (
        access,
        state,
        clock(lease.since),
        "" if lease.deadline is None else clock(lease.deadline),
        f"{_short(lease.run)} {lease.workflow}",
        lease.step,
        "; ".join(map(_behind, lease.behind)),
    )


def _behind(other: Behind) -> str:
    comes = ", which comes first" if other.waits else ""
    return f"{other.asset} ({other.mode}) of {other.step} in {_short(other.run)}{comes}"


def _short(run: str) -> str:
    return run[:18] if sys.stdout.isatty() else run
