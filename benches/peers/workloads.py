"""The work that ferroflow and its peers are measured on, the same for all of them.

Uses the standard library alone, because it is imported in the peers' environments too.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

SEED = 20_260_101
LAYER = 100
DEPENDENCIES = 3

Measured = dict[str, Any]


def layered(steps: int = 100_000, *, seed: int = SEED) -> list[tuple[int, ...]]:
    """A graph in layers of 100: each step needs three distinct steps of the layer before.

    Parameters
    ----------
    steps
        Number of steps; the last layer may be shorter.
    seed
        Seed of the choice of dependencies.

    Returns
    -------
    list of tuple of int
        For each step the steps it needs; steps are numbered layer by layer, so that every
        dependency has a smaller number.
    """
    choice = random.Random(seed)
    graph: list[tuple[int, ...]] = [() for _ in range(min(LAYER, steps))]
    for number in range(LAYER, steps):
        first = number // LAYER * LAYER - LAYER
        picked = choice.sample(range(first, first + LAYER), DEPENDENCIES)
        graph.append(tuple(sorted(picked)))
    return graph


def nothing(*_needed: object) -> None:
    """The no-op body of every measured step."""


def measure(work: Callable[[], None], steps: int, repeats: int) -> Measured:
    """Time `work` as often as asked, in seconds per step."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) / steps)
    return summary(steps, times)


def summary(steps: int, times: list[float]) -> Measured:
    """What is reported of times per step."""
    return {
        "steps": steps,
        "per_step_seconds": times,
        "median": statistics.median(times),
        "best": min(times),
    }


def options(description: str | None, steps: int) -> argparse.Namespace:
    """The command line that all peer programs share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def report(peer: str, result: Measured) -> None:
    """Print one measurement as one line of JSON, the last line the program prints."""
    print(json.dumps({"peer": peer, **result}), flush=True)
