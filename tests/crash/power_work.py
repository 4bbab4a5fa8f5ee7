"""What the sync test records: runs of small, large and very large values, under several clients.

Arguments: folder, durability, first and last number of the runs. What the program was told, or saw
because the engine let it go on, it writes into the file `told`:

    began RUN            `start` returned: the run is on disk
    needs RUN STEP       a body runs that depends on the step: its completion is on disk
    signalled RUN        `signal` returned: the signal is on disk
    ack RUN              `result` returned: the run is completed, on disk
"""

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Any

import ferroflow as ff
from tests.crash.power import TOLD

INLINE, BLOB = 60_000, 90_000
"""Bytes of a value that is kept in the log, and of one that gets a file of its own."""

_told: int | None = None


def tell(*words: str) -> None:
    if _told is not None:
        os.write(_told, (" ".join(words) + "\n").encode())


def needs(step: str) -> None:
    tell("needs", ff.current().run, step)


@ff.task(name="p.seed")
def seed(n: int) -> int:
    return n + 1


@ff.task(name="p.blow")
def blow(n: int, size: int, step: str) -> bytes:
    needs(step)
    return n.to_bytes(4, "big") * (size // 4)


@ff.task(name="p.read")
def read(value: bytes, step: str) -> int:
    needs(step)
    return int.from_bytes(value[-4:], "big") + len(value)


@ff.task(name="p.last")
def last(parts: Any, answer: Any, steps: list[str]) -> Any:
    for step in steps:
        needs(step)
    return [parts, answer]


@ff.workflow(name="p.chain")
def chain(n: int) -> Any:
    first = seed.options(id="seed")(n)
    inline = blow.options(id="inline")(first, INLINE, "seed")
    blob = blow.options(id="blob")(first, BLOB, "seed")
    parts = [read.options(id="left")(inline, "inline"), read.options(id="right")(blob, "blob")]
    return last(parts, ff.signal("go"), ["left", "right"])


def expected(n: int) -> Any:
    return [[n + 1 + INLINE, n + 1 + BLOB], n]


def client(engine: ff.Engine, numbers: range) -> None:
    for n in numbers:
        handle = engine.start(chain, n, options=ff.RunOptions(correlation=str(n)))
        tell("began", handle.id)
        handle.signal("go", n)
        tell("signalled", handle.id)
        assert handle.result(60) == expected(n)
        tell("ack", handle.id)


def finish(engine: ff.Engine) -> int:
    """Bring the runs of a process before to their end."""
    left = engine.list(state="running", limit=1000)
    for run in left:
        n = int(run.correlation or 0)
        handle = engine.handle(run.id)
        # Whether the signal was sent before is not known; one too many does no harm.
        with contextlib.suppress(ff.RunEnded):
            handle.signal("go", n)
        assert handle.result(30) == expected(n)
        tell("ack", run.id)
    return len(left)


def main(folder: Path, durability: Any, begin: int, end: int) -> None:
    global _told
    _told = os.open(folder / TOLD, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    with ff.Engine(folder / "runs.db", durability=durability, workers=3) as engine:
        finish(engine)
        threads = [
            threading.Thread(target=client, args=(engine, range(begin + lane, end, 3))) for lane in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
