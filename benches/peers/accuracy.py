"""Compares what ferroflow says that steps have used with what is known of it; fails where it is off.

`accuracy.py PYTHON` measures the installation of that interpreter. A program that takes 0.7 s of processor
time and 200 MB runs alone under `/usr/bin/time -v`, and as a command of ferroflow's; the same work runs in a
process of the pool, where the body knows what it took. Figures are medians.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
TIME = Path("/usr/bin/time")
REPEATS = 5
BAR = 0.05
"""The share by which a figure may be off."""

# Where there is no `time`: what the system says of the one child of a small program.
WAIT = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
found = resource.getrusage(resource.RUSAGE_CHILDREN)
print(found.ru_utime + found.ru_stime, found.ru_maxrss * 1024)
"""


def bare(python: str) -> list[float]:
    """Seconds and bytes that the program takes alone."""
    program = [python, str(HERE / "accuracy_work.py")]
    if not TIME.exists():
        waited = subprocess.run([python, "-c", WAIT, *program], capture_output=True, text=True, check=True)
        return [float(word) for word in waited.stdout.split()]
    said = subprocess.run([TIME, "-v", *program], capture_output=True, text=True, check=True).stderr
    user, system, peak = (
        float(found)
        for name in ("User time", "System time", "Maximum resident set size")
        for found in re.findall(rf"{name} \(\w+\): (\S+)", said)
    )
    return [user + system, peak * 1024]


def main() -> int:
    python = sys.argv[1]
    alone = [bare(python) for _ in range(REPEATS)]
    ours = subprocess.run(
        [python, HERE / "ferroflow_accuracy.py", f"--repeats={REPEATS}"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured = json.loads(ours.stdout)
    missed = False
    table = Table("work", "known from", "known", "ferroflow says", "off by", "bar")

    def rows(
        work: str, source: str, known: Sequence[Sequence[float]], said: Sequence[Sequence[float]]
    ) -> None:
        nonlocal missed
        for at, (what, unit, scale) in enumerate([("processor time", "s", 1.0), ("memory", "MB", 1e-6)]):
            right, found = (statistics.median(it[at] for it in them) * scale for them in (known, said))
            off = found / right - 1
            kept = abs(off) <= BAR
            missed = missed or not kept
            table.add_row(
                f"{work}: {what}", source, f"{right:,.3f} {unit}", f"{found:,.3f} {unit}", f"{off:+.2%}",
                f"{BAR:.0%} {'ok' if kept else 'MISSED'}",
            )  # fmt: skip

    source = f"{TIME} -v" if TIME.exists() else f"getrusage, as there is no {TIME}"
    rows("a command", source, alone, measured["programs"])
    bodies = measured["bodies"]
    rows("a body in the pool", "the body itself", [it[2:] for it in bodies], bodies)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
