"""What ferroflow says that a program and a body in its pool have used, as one line of JSON.

A program is a pair of seconds and bytes; a body is one too, and behind it what it knows of itself: the
processor time that it has seen go by, and what its process had before it, with what it has filled.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import accuracy_work
import ferroflow as ff


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) * 1024


@ff.command
def program() -> list[str]:
    return [sys.executable, accuracy_work.__file__]


@ff.task(executor="process")
def body() -> list[float]:
    begun, before = time.process_time(), resident()
    accuracy_work.work()
    return [time.process_time() - begun, before + accuracy_work.SIZE]


@ff.workflow
def alone() -> Any:
    return program()


@ff.workflow
def pooled() -> Any:
    return body()


def used(run: ff.Handle[Any]) -> list[float]:
    found = run.view().steps[0].used
    assert found is not None
    assert found.cpu is not None
    assert found.memory is not None
    return [found.cpu / 1e6, found.memory]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    programs, bodies = [], []
    with ff.Engine(processes=1) as engine:
        for _ in range(repeats):
            run = engine.start(alone)
            run.result()
            programs.append(used(run))
            run = engine.start(pooled)
            known = run.result()
            bodies.append([*used(run), *known])
    print(json.dumps({"programs": programs, "bodies": bodies}))


if __name__ == "__main__":
    main()
