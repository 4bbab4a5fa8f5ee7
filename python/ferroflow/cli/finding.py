"""Finds the run that a person names."""

from __future__ import annotations

import re
from pathlib import Path

from ferroflow import _core
from ferroflow.engine import records
from ferroflow.errors import RunNotFound

DIGITS = 32
SHOWN = 5


def find(reader: _core.Reader, text: str, db: Path) -> records.RunRecord:
    """Return the run with this id, or the only one whose id begins like this."""
    digits = text.replace("-", "").lower()
    if not re.fullmatch(f"[0-9a-f]{{1,{DIGITS}}}", digits):
        raise RunNotFound(f"{text!r} is not the id of a run, nor the beginning of one; see `ferroflow list`")
    # The list is sorted by id, newest first: what begins like this stands together.
    last = int(digits.ljust(DIGITS, "f"), 16)
    before = None if last == (1 << 128) - 1 else f"{last + 1:0{DIGITS}x}"
    rows = records.run_records(reader.runs(None, [], None, None, None, before, SHOWN + 1))
    found = [row for row in rows if row.id.replace("-", "").startswith(digits)]
    if not found:
        raise RunNotFound(f"there is no run {text} in {db}")
    if len(found) > 1:
        more = " and others" if len(found) > SHOWN else ""
        names = ", ".join(row.id for row in found[:SHOWN])
        raise RunNotFound(f"several runs begin with {text}: {names}{more}; give more of the id")
    return found[0]


def clock(micros: int | None) -> str:
    """Return an instant as local time."""
    return "" if micros is None else records.moment(micros).astimezone().strftime("%Y-%m-%d %H:%M:%S")
