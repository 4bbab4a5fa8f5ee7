"""Graphs of 1,000,000 nodes in ferroflow: built, ordered, measured, drained."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import ferroflow as ff
from ferroflow import _core
from graph_data import scattered, weights
from workloads import report, summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=["path", "shuffled", "drain", "ranked"], required=True)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    if _core.build_profile != "release":
        raise SystemExit("this is a debug build")
    nodes = args.steps
    sources, targets = scattered(nodes, 5 * nodes, shuffled=args.work == "shuffled")
    lasts = weights(nodes)

    def path() -> float:
        begun = time.perf_counter()
        graph = ff.Graph(nodes, sources, targets)
        order = graph.order()
        found = graph.critical_path(lasts)
        took = time.perf_counter() - begun
        assert len(order) == len(found.float) == nodes
        return took

    def drain() -> float:
        graph = ff.Graph(nodes, sources, targets)
        ranks = lasts if args.work == "ranked" else None
        begun = time.perf_counter()
        sorter = graph.sorter(ranks)
        ready = sorter.take()
        count = 0
        while ready:
            count += len(ready)
            ready = sorter.done(ready)
        took = time.perf_counter() - begun
        assert count == nodes
        return took

    work: Callable[[], float] = path if args.work in ("path", "shuffled") else drain
    assert np.isfinite(lasts).all()
    times = [work() / nodes for _ in range(args.repeats)]
    report("ferroflow" if args.work != "ranked" else "ferroflow, ranked", summary(nodes, times))


if __name__ == "__main__":
    main()
