"""Measures 10,000,000 questions of reachability a graph; fails where ferroflow misses a bar.

`graph_limits.py [WfFormat FILE]...` runs in the environment with ferroflow's own wheel.
"""

from __future__ import annotations

import itertools
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ferroflow as ff
from ferroflow import interchange
from graph_data import layered
from workloads import SEED

QUESTIONS = 10_000_000
Ids = NDArray[np.int64]


def term(nodes: int, partials: float, seed: int = SEED) -> dict[str, Any]:
    """A random term of about so many steps, in series and in parallel, some of them partial orders."""
    rng = random.Random(seed)
    number = itertools.count()

    def part(size: int) -> tuple[dict[str, Any], str]:
        """Return a term, and the id of a step in it."""
        if size == 1:
            name = f"s{next(number)}"
            return {"task": "condition", "id": name, "args": [1]}, name
        count = min(size, rng.randint(2, 8))
        cuts = sorted(rng.sample(range(1, size), count - 1))
        parts = [part(b - a) for a, b in itertools.pairwise([0, *cuts, size])]
        terms, name = [term for term, _ in parts], parts[0][1]
        if rng.random() >= partials:
            return {rng.choice(("sequence", "parallel")): terms}, name
        for at, it in enumerate(terms):
            it["after"] = [parts[before][1] for before in range(at) if rng.random() < 0.4]
        return {"partial": terms}, name

    return {"name": "w", "term": part(nodes)[0], "result": 0}


def halves(graph: ff.Graph, seed: int = SEED) -> tuple[Ids, Ids]:
    """Pairs of which half are reachable, drawn from random ones; small graphs have the same ones often."""
    rng = np.random.default_rng(seed)
    nodes = len(graph)
    sources, targets = rng.integers(0, nodes, QUESTIONS), rng.integers(0, nodes, QUESTIONS)
    found = np.asarray(graph.reach.many(sources, targets))
    yes, no = np.flatnonzero(found), np.flatnonzero(~found)
    half = QUESTIONS // 2
    picked = np.concatenate([rng.choice(yes, half), rng.choice(no, QUESTIONS - half)])
    rng.shuffle(picked)
    return sources[picked], targets[picked]


def near(nodes: int, width: int, levels: int, count: int, seed: int = SEED) -> tuple[Ids, Ids]:
    """Pairs in layers that are at most so many levels apart."""
    rng = np.random.default_rng(seed)
    sources = rng.integers(0, nodes - (levels + 1) * width, count)
    layer = sources // width + rng.integers(1, levels + 1, count)
    return sources, layer * width + rng.integers(0, width, count)


def main() -> int:
    missed = False

    def row(work: str, took: float, bar: float, unit: str, note: str = "") -> None:
        nonlocal missed
        kept = took <= bar
        missed = missed or not kept
        print(f"{work:70} {took:8.3f} {unit:3} bar {bar:g} {'ok' if kept else 'MISSED'} {note}", flush=True)

    def ask(graph: ff.Graph, sources: Ids, targets: Ids, threads: int) -> tuple[float, float]:
        times = []
        share = 0.0
        for _ in range(3):
            begun = time.perf_counter()
            found = graph.reach.many(sources, targets, threads=threads)
            times.append(time.perf_counter() - begun)
            share = float(np.asarray(found).mean())
        return statistics.median(times), share

    def index(work: str, graph: ff.Graph) -> str:
        begun = time.perf_counter()
        reach = graph.reach
        took = time.perf_counter() - begun
        # A small graph's index is a few cache lines, whatever it has.
        row(f"{work}: bytes a node", reach.bytes / len(graph), 64, "B")
        return f"built in {took:.2f} s, exceptions {reach.exceptions}, {graph}"

    for partials in (0.0, 0.05, 0.3):
        graph = ff.Graph.of(ff.Workflow.from_definition(term(1_000_000, partials)))
        work = f"terms, {partials:.0%} of them partial"
        note = index(work, graph)
        took, share = ask(graph, *halves(graph), threads=1)
        row(f"{work}: one thread", took, 2, "s", f"{share:.0%} reachable, {note}")
    for path in sys.argv[1:]:
        graph = interchange.read(path).columns.graph()
        work = Path(path).stem
        note = index(work, graph)
        took, share = ask(graph, *halves(graph), threads=1)
        row(f"{work}: one thread", took, 2, "s", f"{share:.0%} reachable, {note}")
    for nodes, edges, width in [
        (1_000_000, 5_000_000, 1000),
        (1_000_000, 3_000_000, 100),
        (1_000_000, 5_000_000, 100),
        (1_000_000, 2_000_000, 1000),
        (1_000_000, 5_000_000, 10_000),
        (1_000_000, 5_000_000, 50_000),
    ]:
        graph = ff.Graph(nodes, *layered(nodes, edges, width))
        work = f"layers of {width}, {edges // nodes} edges a node"
        note = index(work, graph)
        rng = np.random.default_rng(SEED)
        pairs = rng.integers(0, nodes, QUESTIONS), rng.integers(0, nodes, QUESTIONS)
        took, share = ask(graph, *pairs, threads=2)
        row(f"{work}: two threads", took, 4, "s", f"{share:.0%} reachable, {note}")
        count = 100_000
        took, share = ask(graph, *near(nodes, width, 10, count), threads=1)
        row(f"{work}: a pair at most 10 levels apart", took / count * 1e6, 20, "µs", f"{share:.0%} reachable")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
