"""Draining a graph of 1,000,000 nodes with the standard library's `graphlib`."""

from __future__ import annotations

import time
from graphlib import TopologicalSorter

from graph_data import scattered
from workloads import options, report, summary


def main() -> None:
    args = options(__doc__, 1_000_000)
    sources, targets = scattered(args.steps, 5 * args.steps)

    def drain() -> float:
        before: list[list[int]] = [[] for _ in range(args.steps)]
        for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
            before[target].append(source)
        sorter = TopologicalSorter(dict(enumerate(before)))
        begun = time.perf_counter()
        sorter.prepare()
        count = 0
        while sorter.is_active():
            ready = sorter.get_ready()
            count += len(ready)
            sorter.done(*ready)
        took = time.perf_counter() - begun
        assert count == args.steps
        return took

    report("graphlib", summary(args.steps, [drain() / args.steps for _ in range(args.repeats)]))


if __name__ == "__main__":
    main()
