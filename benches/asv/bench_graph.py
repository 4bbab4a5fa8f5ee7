"""How the cost of graphs grows with their nodes and edges; `make bench` plots it."""

from __future__ import annotations

import random
from array import array
from functools import cache
from typing import NamedTuple

from . import common  # noqa: F401 - first: it refuses a debug build

import ferroflow as ff  # isort: skip

SEED = 7
WIDTH = 1_000
QUESTIONS = 100_000


class Edges(NamedTuple):
    """Where edges begin and end, and how long each node lasts."""

    sources: array[int]
    targets: array[int]
    weights: array[float]


@cache
def scattered(nodes: int, each: int) -> Edges:
    """Edges to random nodes from random ones before them."""
    draw = random.Random(SEED).random
    targets = array("I", (1 + int(draw() * (nodes - 1)) for _ in range(nodes * each)))
    sources = array("I", (int(draw() * target) for target in targets))
    return Edges(sources, targets, array("d", (draw() for _ in range(nodes))))


@cache
def layered(nodes: int, each: int) -> Edges:
    """Edges from nodes of each layer to random ones of the next."""
    draw = random.Random(SEED).random
    targets = array("I", (WIDTH + int(draw() * (nodes - WIDTH)) for _ in range(nodes * each)))
    sources = array("I", ((target // WIDTH - 1) * WIDTH + int(draw() * WIDTH) for target in targets))
    return Edges(sources, targets, array("d", (draw() for _ in range(nodes))))


class Graphs:
    """What is linear in nodes and edges, on graphs that were asked nothing before."""

    params = ([10_000, 100_000, 1_000_000], [2, 5])
    param_names = ("nodes", "edges a node")
    number = 1
    repeat = (3, 7, 5.0)
    warmup_time = 0.0
    timeout = 120

    def setup(self, nodes: int, each: int) -> None:
        self.edges = scattered(nodes, each)
        self.graph = ff.Graph(nodes, self.edges.sources, self.edges.targets)

    def time_make(self, nodes: int, _each: int) -> None:
        ff.Graph(nodes, self.edges.sources, self.edges.targets)

    def time_order(self, _nodes: int, _each: int) -> None:
        self.graph.order()

    def time_levels(self, _nodes: int, _each: int) -> None:
        self.graph.levels()

    def time_critical_path(self, _nodes: int, _each: int) -> None:
        self.graph.critical_path(self.edges.weights)

    def time_drain(self, _nodes: int, _each: int) -> None:
        sorter = self.graph.sorter()
        ready = sorter.take()
        while ready:
            ready = sorter.done(ready)

    def time_drain_by_rank(self, _nodes: int, _each: int) -> None:
        sorter = self.graph.sorter(self.edges.weights)
        ready = sorter.take()
        while ready:
            ready = sorter.done(ready)

    def time_grow(self, nodes: int, each: int) -> None:
        """Add a tenth as many nodes, each after some others."""
        growing = self.graph.growing()
        for node in range(nodes, nodes + nodes // 10):
            growing.add_node(after=range(node - each, node))


class Reach:
    """Whether one node comes before another, in layers of nodes: what the index takes, and a question."""

    params = ([10_000, 100_000, 1_000_000], [2, 5])
    param_names = ("nodes", "edges a node")
    number = 1
    repeat = (3, 5, 5.0)
    warmup_time = 0.0
    timeout = 120

    def setup(self, nodes: int, each: int) -> None:
        edges = layered(nodes, each)
        self.graph = ff.Graph(nodes, edges.sources, edges.targets)
        self.answering = ff.Graph(nodes, edges.sources, edges.targets)
        draw = random.Random(SEED).random
        self.pairs = [array("I", (int(draw() * nodes) for _ in range(QUESTIONS))) for _ in range(2)]
        _ = self.answering.reach

    def time_index(self, _nodes: int, _each: int) -> None:
        _ = self.graph.reach

    def time_100_000_questions(self, _nodes: int, _each: int) -> None:
        self.answering.reach.many(*self.pairs, threads=1)

    def track_bytes_a_node(self, nodes: int, _each: int) -> float:
        return self.answering.reach.bytes / nodes

    track_bytes_a_node.unit = "bytes"  # type: ignore[attr-defined]


class Closed:
    """What is exact up to 20,000 nodes, and takes more than linear time."""

    params = ([1_000, 5_000, 20_000], [2, 5])
    param_names = ("nodes", "edges a node")
    number = 1
    repeat = (2, 3, 5.0)
    warmup_time = 0.0
    timeout = 120

    def setup(self, nodes: int, each: int) -> None:
        edges = scattered(nodes, each)
        self.graph = ff.Graph(nodes, edges.sources, edges.targets)
        _ = self.graph.reach

    def time_width(self, _nodes: int, _each: int) -> None:
        self.graph.width()

    def time_closure_size(self, _nodes: int, _each: int) -> None:
        self.graph.closure_size()

    def time_transitive_reduction(self, _nodes: int, _each: int) -> None:
        self.graph.transitive_reduction()
