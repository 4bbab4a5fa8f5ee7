"""What an engine has of each resource, by default and as its user says."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from ferroflow.define.units import size


def capacity(given: Mapping[str, float | str], path: Path | None) -> dict[str, int]:
    """Return capacities in the core's units: bytes for memory and disk, thousandths for the rest."""
    amounts: dict[str, float | str] = {
        "cpu": float(os.cpu_count() or 1),
        "memory": _physical_memory(),
        "disk": _free_disk(path),
        **given,
    }
    return {name: _amount(name, amount) for name, amount in amounts.items()}


def _physical_memory() -> float:
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return float(1 << 40)


def _free_disk(path: Path | None) -> float:
    with contextlib.suppress(OSError):
        found = os.statvfs(path.absolute().parent if path else ".")
        return float(found.f_bavail * found.f_frsize)
    return float(1 << 40)


def _amount(name: str, amount: float | str) -> int:
    sized = name in ("memory", "disk")
    number = size(amount) if sized and isinstance(amount, str) else float(amount)
    if not 0 <= number <= 9e15:
        raise ValueError(f"capacity[{name!r}]={amount!r}: give a number from 0 to 9e15")
    return int(number) if sized else round(number * 1000)
