"""Prints what `make bench-peers` measured as a table; fails where ferroflow misses a bar."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

US = "ferroflow"


def main() -> int:
    """Compare within each kind of work; the exit code is 1 if a bar is missed."""
    report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    measured: list[dict[str, Any]] = [entry["extra_info"] for entry in report["benchmarks"]]
    table = Table("work", "program", "per step", "ferroflow takes", "bar")
    missed = False
    for entry in measured:
        ours = next((e["median"] for e in measured if e["peer"] == US and e["work"] == entry["work"]), None)
        share, bar = "", ""
        if ours is not None and entry["bar"] is not None:
            ratio = ours / entry["median"]
            kept = ratio <= entry["bar"]
            missed = missed or not kept
            share, bar = f"{ratio:.3f} of it", f"{entry['bar']:.3f} {'ok' if kept else 'MISSED'}"
        table.add_row(entry["work"], entry["peer"], f"{entry['median'] * 1e6:,.2f} µs", share, bar)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
