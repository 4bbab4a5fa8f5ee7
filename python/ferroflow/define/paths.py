"""How names stand in the paths of CEL expressions."""

from __future__ import annotations

import msgspec

from ferroflow import _core


def plain(name: str) -> bool:
    """Whether a name can follow a dot in CEL."""
    return _core.is_plain(name)


def quoted(text: str) -> str:
    """Return a text as CEL writes it."""
    return msgspec.json.encode(text).decode()
