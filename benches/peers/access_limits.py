"""Measures the borrow check of a million steps; fails where it misses a bar.

`access_limits.py` runs in the environment with ferroflow's own wheel.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time

import numpy as np

from access_data import SHAPES
from ferroflow import _core

STEPS, ASSETS = 1_000_000, 100_000
SECONDS, GIB = 2.0, 2.0
ROUNDS = 5


def measure(shape: str) -> None:
    """Check one workflow, and print what that took."""
    packed = SHAPES[shape](STEPS, ASSETS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    program = _core.Program(packed)
    compiled = time.perf_counter() - begun
    took = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        found = program.check()
        took.append(time.perf_counter() - begun)
        assert not found, found[:3]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**30
    # What no check that looks at each access can do without: to bring them together by asset.
    accesses = np.random.default_rng(7).integers(0, ASSETS, 3 * STEPS).astype(np.uint32)
    begun = time.perf_counter()
    np.argsort(accesses, kind="stable")
    sorting = time.perf_counter() - begun
    middle = statistics.median(took)
    good = middle < SECONDS and peak < GIB
    print(
        f"{shape}: {STEPS:,} steps, {3 * STEPS:,} accesses, {ASSETS:,} assets: "
        f"check {middle:.2f} s (bar {SECONDS}), peak {peak:.2f} GiB (bar {GIB}), "
        f"of which {before * 1024 / 2**30:.2f} before it was compiled, in {compiled:.1f} s; "
        f"numpy sorts the accesses by asset in {sorting:.2f} s: {'ok' if good else 'MISSED'}"
    )
    if not good:
        raise SystemExit(1)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1])
    else:
        # A process each, so that the peak of memory is that of one.
        codes = [
            subprocess.run([sys.executable, __file__, shape], check=False).returncode for shape in SHAPES
        ]
        raise SystemExit(max(codes))
