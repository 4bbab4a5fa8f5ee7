"""Graphs of 1,000,000 nodes in rustworkx: built, ordered, measured, drained."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import rustworkx as rx

from graph_data import scattered, weights
from workloads import report, summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=["path", "shuffled", "drain"], required=True)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    nodes = args.steps
    sources, targets = scattered(nodes, 5 * nodes, shuffled=args.work == "shuffled")
    lasts = weights(nodes)

    def build() -> Any:
        graph: Any = rx.PyDiGraph()
        graph.add_nodes_from(range(nodes))
        # Its paths weigh edges: each has the weight of the node that it leaves.
        edges = zip(sources.tolist(), targets.tolist(), lasts[sources].tolist(), strict=True)
        graph.extend_from_weighted_edge_list([*edges])
        return graph

    def path() -> float:
        begun = time.perf_counter()
        graph = build()
        order = rx.topological_sort(graph)
        found = rx.dag_weighted_longest_path(graph, lambda _from, _to, weight: weight)
        took = time.perf_counter() - begun
        assert len(order) == nodes
        assert found
        return took

    def drain() -> float:
        graph = build()
        begun = time.perf_counter()
        sorter = rx.TopologicalSorter(graph, check_cycle=True)
        count = 0
        while sorter.is_active():
            ready = sorter.get_ready()
            count += len(ready)
            sorter.done(ready)
        took = time.perf_counter() - begun
        assert count == nodes
        return took

    work: Callable[[], float] = drain if args.work == "drain" else path
    report("rustworkx", summary(nodes, [work() / nodes for _ in range(args.repeats)]))


if __name__ == "__main__":
    main()
