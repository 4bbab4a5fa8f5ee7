"""Graphs that grow while they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ferroflow import _core

if TYPE_CHECKING:
    from ferroflow.define.graph.graph import Graph


class GrowingGraph:
    """A graph to which nodes and edges are added, and from which nodes are removed.

    Edges that would close a cycle are refused. A topological order is kept up to date as Pearce and Kelly
    (2006) do it: an edge that agrees with it costs nothing, another what hangs together with its ends
    between their places. `Graph.growing` makes one of a graph, which takes ids alone: names and weights stay
    behind.

    Examples
    --------
    >>> import ferroflow as ff
    >>> graph = ff.Graph(2, [0], [1]).growing()
    >>> graph.add_node(after=[1]), graph.add_node()
    (2, 3)
    >>> graph.add_edge(3, 0), graph.add_edge(3, 0)
    (True, False)
    >>> list(graph.order()), graph.leads(3, 2)
    ([3, 0, 1, 2], True)
    >>> graph.add_edge(2, 3)
    Traceback (most recent call last):
        ...
    ferroflow.errors.CyclicGraph: nodes wait for each other: 3 -> 0 -> 1 -> 2 -> 3; remove one of these edges
    >>> graph.remove(0)
    >>> list(graph.order()), graph.leads(3, 2)
    ([3, 1, 2], False)
    """

    def __init__(self, inner: _core.Growing, made: Callable[[_core.Graph], Graph]) -> None:
        self._inner, self._made = inner, made

    def __repr__(self) -> str:
        return f"<growing graph of {len(self)} nodes and {self.edge_count} edges>"

    def __len__(self) -> int:
        """How many ids were given, with those of removed nodes."""
        return len(self._inner)

    @property
    def edge_count(self) -> int:
        """How many edges there are."""
        return self._inner.edge_count()

    def add_node(self, after: Iterable[int] = ()) -> int:
        """Add a node that comes after others, and return its id."""
        return self._inner.add_node(after)

    def add_edge(self, source: int, target: int) -> bool:
        """Add an edge and say whether it is new. One that would close a cycle raises `CyclicGraph`."""
        return self._inner.add_edge(source, target)

    def remove(self, node: int) -> None:
        """Remove a node and the edges at it. Its id stays unused."""
        self._inner.remove(node)

    def leads(self, source: int, target: int) -> bool:
        """Whether there is a way from one node to another. None leads to itself."""
        return self._inner.leads(source, target)

    def order(self) -> memoryview[int]:
        """Return the nodes that are there, in topological order."""
        return self._inner.order()

    def successors(self, node: int) -> memoryview[int]:
        """Return the nodes that a node's edges lead to, ascending."""
        return self._inner.successors(node)

    def predecessors(self, node: int) -> memoryview[int]:
        """Return the nodes whose edges lead to a node, ascending."""
        return self._inner.predecessors(node)

    def graph(self) -> Graph:
        """Return the graph as it is now. Removed nodes are in it, without edges."""
        return self._made(self._inner.graph())
