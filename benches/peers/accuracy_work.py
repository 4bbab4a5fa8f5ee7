"""A program of known use: it fills memory, and computes until so much processor time has gone by."""

from __future__ import annotations

import time

SECONDS = 0.7
SIZE = 200_000_000


def work() -> None:
    """Use `SECONDS` of processor time, and `SIZE` bytes of memory."""
    until = time.process_time() + SECONDS
    held = b"\x01" * SIZE
    while time.process_time() < until:
        pass
    assert held[-1] == 1


if __name__ == "__main__":
    work()
