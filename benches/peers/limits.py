"""Measures what has an absolute bar, each in fresh processes; fails where ferroflow misses one.

`limits.py PYTHON` measures the installation of that interpreter.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

COMMON = """
import sys, time
begun = time.perf_counter()
import ferroflow as ff
imported = time.perf_counter() - begun
def rss():
    return int(open('/proc/self/status').read().split('VmRSS:')[1].split()[0]) * 1024
@ff.task
def same(n: int) -> int:
    return n
"""

IMPORT = "print(imported)"

FIRST = """
@ff.workflow
def flow(n: int):
    return same(same(n))
with ff.Engine(sys.argv[1] + '/first.db') as engine:
    assert engine.run(flow, 3) == 3
"""

IDLE = """
engine = ff.Engine(sys.argv[1] + '/idle.db')
time.sleep(0.5)
print(rss())
engine.close()
"""

FILL = """
@ff.workflow
def flow(done: list, left: list):
    ff.each(done, same)
    return ff.each(left, lambda item: same.options(after=[ff.signal('never')])(item))
with ff.Engine(sys.argv[1] + '/reopen.db') as engine:
    handle = engine.start(flow, list(range(100_000)), list(range(1000)))
    while handle.progress().ended < 100_000 or handle.progress().running:
        time.sleep(0.1)
"""

REOPEN = """
@ff.workflow
def flow(done: list, left: list):
    pass
before = time.perf_counter()
engine = ff.Engine(sys.argv[1] + '/reopen.db')
print(time.perf_counter() - before)
(run,) = engine.list()
progress = engine.handle(run.id).progress()
assert engine.stats().active == 1 and progress.ended >= 100_000 and progress.total >= 102_000, progress
engine.close()
"""

EACH = """
first = []
@ff.task
def stamp(n: int) -> int:
    if not first:
        first.append(time.perf_counter())
    return n
@ff.workflow
def flow(n: list):
    ff.each(n, stamp)
def peak():
    return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) * 1024
items = list(range(1_000_000))
engine = ff.Engine(sys.argv[1] + '/each.db')
engine.run(ff.Workflow.from_term('warm', same.term(1)))
before = rss()
begun = time.perf_counter()
handle = engine.start(flow, items)
handle.result()
took = time.perf_counter() - begun
print((rss() - before) / 1e6, (peak() - before) / 1e6, first[0] - begun, took)
assert handle.progress().ended == 1_000_001
engine.close()
"""

SIMULATE = """
from ferroflow.plan import Node, simulate
steps = []
for at in range(1_000_000):
    layer = (at // 100 - 1) * 100
    after = sorted({f's{layer + (at * 7 + 13 * it) % 100}' for it in (0, 1)}) if layer >= 0 else []
    steps.append({'task': 'work', 'id': f's{at}', 'after': after})
wide = ff.Workflow.from_definition({'name': 'wide', 'term': {'partial': steps}})
nodes = [Node(f'n{at}', speed=1 + at % 4 / 4) for at in range(64)]
found = simulate(wide, nodes, sys.argv[2], durations={f's{at}': 1 + at % 17 for at in range(1_000_000)})
for _ in range(5):
    begun = time.perf_counter()
    run = found.run(0)
    print(time.perf_counter() - begun)
    assert run.state == 'completed'
"""


def main() -> int:
    python = sys.argv[1]
    missed = False
    table = Table("work", "figure", "bar")

    def run(script: str, *arguments: str) -> list[float]:
        command = [python, "-c", COMMON + script, *arguments]
        out = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
        if out.returncode:
            raise SystemExit(out.stderr)
        return [float(word) for word in out.stdout.split()]

    def row(work: str, figure: float, bar: float, unit: str) -> None:
        nonlocal missed
        kept = figure <= bar
        missed = missed or not kept
        table.add_row(work, f"{figure:,.3g} {unit}", f"{bar:,.3g} {unit} {'ok' if kept else 'MISSED'}")

    with tempfile.TemporaryDirectory(dir=Path(python).parents[1]) as folder:
        row("import ferroflow", statistics.median(run(IMPORT, folder)[0] for _ in range(7)) * 1e3, 100, "ms")
        times = []
        for at in range(7):
            place = Path(folder) / str(at)
            place.mkdir()
            begun = time.perf_counter()
            run(FIRST, str(place))
            times.append(time.perf_counter() - begun)
        row("first workflow done in a fresh process", statistics.median(times) * 1e3, 300, "ms")
        row("idle engine", run(IDLE, folder)[0] / 1e6, 40, "MB")
        run(FILL, folder)
        reopened = statistics.median(run(REOPEN, folder)[0] for _ in range(3))
        row("reopening 100,000 finished and 1,000 unfinished steps", reopened, 1, "s")
        memory, peak, first, whole = run(EACH, folder)
        row("each over a million: resident memory a step", memory, 300, "bytes")
        table.add_row("each over a million: at its peak", f"{peak:.3g} bytes a step", "")
        row("each over a million: first step starts", first, 3, "s")
        table.add_row("each over a million: all done", f"{whole:.3g} s", "")
        for policy, bar in (("upward_rank", 1.0), ("fifo", 1.0)):
            work = f"simulating a million steps on 64 nodes, {policy}, events kept: a step"
            row(work, statistics.median(run(SIMULATE, folder, policy)), bar, "µs")
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
