"""The recorded executions that tests read, if they are there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("FERROFLOW_DATA", ROOT.parent / "shared" / "data")) / "wfinstances"
FILES = sorted(DATA.rglob("*.json"))

needed = pytest.mark.skipif(
    not FILES, reason=f"there are no recorded executions in {DATA}: set FERROFLOW_DATA"
)

each = pytest.mark.parametrize(
    "path", FILES or [pytest.param(DATA, marks=needed)], ids=lambda path: path.stem
)
"""Gives a test each file as `path`."""


def find(name: str) -> Path:
    return next(path for path in FILES if path.stem == name)
