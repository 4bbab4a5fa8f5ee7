"""Steps that do synthetic work: they read, write, hold memory, compute and sleep as they are told.

They run in processes of the engine's pool. What they compute with lets go of the interpreter, so that
several threads of one process keep several processors busy.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import msgspec

from ferroflow.define import task
from ferroflow.engine import current
from ferroflow.errors import Fail

PREPARE, WORK, CLEAR = "wfformat.prepare", "wfformat.work", "wfformat.clear"

BLOCK = bytes(range(256)) * 256
"""What is hashed, 64 KiB at a time: some 50 µs, for which the interpreter is let go of."""

CHUNK = BLOCK * 16
"""What is written at a time."""

SLICE = 0.02
"""Seconds in which a body both computes and sleeps, if it does both."""

PAGE = 4096

ROUNDS, ROUND = 9, 0.01
"""How often, and for how many seconds, the speed of a processor is measured."""


class Place(msgspec.Struct):
    """Where the files of a run are, and how many bytes a processor hashes in a second."""

    directory: str
    rate: float


class Load(msgspec.Struct, omit_defaults=True):
    """What one step has to do.

    Parameters
    ----------
    seconds
        How long it takes in all.
    busy
        For how many seconds it keeps one processor busy, all its threads together.
    threads
        How many these are.
    memory
        Bytes that it touches.
    reads
        Numbers of the files that it reads.
    writes
        Numbers and sizes of those that it writes.
    """

    seconds: float = 0.0
    busy: float = 0.0
    threads: int = 1
    memory: int = 0
    reads: list[int] = []
    writes: list[tuple[int, int]] = []


class Moved(msgspec.Struct):
    """Bytes that a step has read and written."""

    read: int
    written: int


class Left(msgspec.Struct):
    """What there was at the end."""

    files: int
    bytes: int


def directory(run: str) -> Path:
    """Return where the files of a run are."""
    return Path(tempfile.gettempdir(), f"ferroflow-wfformat-{run}")


def sweep(run: str) -> None:
    """Remove the files of a run, if there are any."""
    shutil.rmtree(directory(run), ignore_errors=True)


@task(name=PREPARE, executor="process")
def prepare(files: list[tuple[int, int]], needed: int) -> Place:
    """Make the directory, write the files that no step writes, and measure the processor."""
    place = directory(current().run)
    # An attempt that was interrupted may have left one.
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    if (free := shutil.disk_usage(place).free) < needed:
        place.rmdir()
        raise Fail("DISK_FULL", f"the files take {needed} bytes, and {place.parent} has {free} left")
    for number, size in files:
        _write(place / str(number), size)
    return Place(str(place), rate())


@task(name=WORK, executor="process")
def work(load: Load, place: Place) -> Moved:
    """Do what a task did: files and memory first, and what is left of its time after that."""
    begun, used = time.perf_counter(), time.thread_time()
    try:
        read = sum(_read(Path(place.directory, str(number))) for number in load.reads)
        held = _touched(load.memory)
        for number, size in load.writes:
            _write(Path(place.directory, str(number)), size)
    except FileNotFoundError as error:
        raise Fail("FILE_MISSING", f"{error.filename} is gone: start a run of its own") from None
    took, used = time.perf_counter() - begun, time.thread_time() - used
    share = load.busy / load.threads
    stop = threading.Event()
    others = [
        threading.Thread(target=_spend, args=(share, load.seconds - took - share, place.rate, stop))
        for _ in range(load.threads - 1)
    ]
    try:
        for other in others:
            other.start()
        busy = max(0.0, share - used)
        _spend(busy, load.seconds - took - busy, place.rate, stop)
    finally:
        stop.set()
        for other in others:
            other.join()
    del held
    return Moved(read, sum(size for _, size in load.writes))


@task(name=CLEAR, executor="process")
def clear(place: Place) -> Left:
    """Count the files and remove them."""
    sizes: list[int] = []
    # An attempt that was interrupted may have begun with it.
    if (there := Path(place.directory)).exists():
        sizes = [entry.stat().st_size for entry in os.scandir(there)]
        shutil.rmtree(there)
    return Left(len(sizes), sum(sizes))


def rate() -> float:
    """Measure how many bytes a processor hashes in a second of its time."""
    found = []
    for _ in range(ROUNDS):
        blocks, begun = 0, time.thread_time()
        digest = hashlib.blake2b()
        while (used := time.thread_time() - begun) < ROUND:
            digest.update(BLOCK)
            blocks += 1
        found.append(blocks * len(BLOCK) / used)
    return statistics.median(found)


def _spend(busy: float, idle: float, rate: float, stop: threading.Event) -> None:
    """Compute for so many seconds and sleep for so many, by turns."""
    idle = max(0.0, idle)
    turns = max(1, round((busy + idle) / SLICE)) if busy and idle else 1
    digest = hashlib.blake2b()
    owed_bytes = owed_seconds = 0.0
    for _ in range(turns):
        owed_bytes += busy * rate / turns
        while owed_bytes >= 1 and not stop.is_set():
            part = min(len(BLOCK), int(owed_bytes))
            digest.update(BLOCK if part == len(BLOCK) else BLOCK[:part])
            owed_bytes -= part
        owed_seconds += idle / turns
        if owed_seconds > 0:
            begun = time.perf_counter()
            stop.wait(owed_seconds)
            owed_seconds -= time.perf_counter() - begun
        if stop.is_set():
            return


def _touched(size: int) -> bytearray:
    """Return memory, every page of which has been written to."""
    memory = bytearray(size)
    memory[::PAGE] = b"\1" * len(range(0, size, PAGE))
    return memory


def _read(path: Path) -> int:
    """Read a file to its end."""
    total, buffer = 0, bytearray(1 << 20)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            total += count
    return total


def _write(path: Path, size: int) -> None:
    """Write a file of so many bytes."""
    with path.open("wb", buffering=0) as file:
        for start in range(0, size, len(CHUNK)):
            file.write(CHUNK[: size - start] if size - start < len(CHUNK) else CHUNK)
