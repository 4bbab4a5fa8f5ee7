"""Graphs of steps: built from arrays, ordered, measured, searched, drained, grown."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ferroflow import _core
from ferroflow.define.graph.answers import Bounds, CriticalPath, Levels, Node, Reach, Reduction, Width
from ferroflow.define.graph.draining import Sorter
from ferroflow.define.graph.growing import GrowingGraph
from ferroflow.define.workflow import Workflow
from ferroflow.errors import CyclicGraph, InvalidGraph

if TYPE_CHECKING:
    from ferroflow.define.graph.answers import Ids, Numbers

DRAWN = 500
"""Graphs of more nodes are not drawn in notebooks."""


class Graph:
    """A directed graph of nodes 0, 1, …, without self-loops; parallel edges are one.

    Graphs don't change. Arrays of 32 or 64 bit integers, such as NumPy's, are read where they are; what
    comes back is a `memoryview`, which `numpy.asarray` takes without copying. A graph may have a cycle,
    which `cycle()` tells; what needs an order raises `CyclicGraph` then. Wherever the order of nodes is a
    choice, smaller ids go first.

    Parameters
    ----------
    nodes
        How many nodes there are.
    sources, targets
        An edge leads from each source to the target at the same place.
    names
        The nodes' names, all different. Where methods take a node, its name will do then.
    weights
        What `critical_path` takes a node to last; 1 by default.
    edge_weights
        What `critical_path` takes each edge to last, in the order of `sources`; 0 by default. Of parallel
        edges the largest counts.

    Raises
    ------
    InvalidGraph
        A node that is not there, a self-loop, names that are not distinct, weights that are negative,
        infinite or NaN: the message says where.

    Examples
    --------
    >>> import numpy as np
    >>> import ferroflow as ff
    >>> graph = ff.Graph(4, np.array([0, 0, 1, 2]), np.array([1, 2, 3, 3]))
    >>> graph
    <graph of 4 nodes and 4 edges>
    >>> np.asarray(graph.order()), list(graph.successors(0)), graph.reach(0, 3)
    (array([0, 1, 2, 3], dtype=uint32), [1, 2], True)
    """

    def __init__(
        self,
        nodes: int,
        sources: Ids,
        targets: Ids,
        *,
        names: Iterable[str] | None = None,
        weights: Numbers | None = None,
        edge_weights: Numbers | None = None,
    ) -> None:
        if nodes < 0:
            raise InvalidGraph(f"a graph has no {nodes} nodes: give 0 or more")
        inner, lengths = _core.Graph.build(min(nodes, sys.maxsize), sources, targets, edge_weights)
        self._set(inner, names, weights, lengths)

    def _set(
        self,
        inner: _core.Graph,
        names: Iterable[str] | None = None,
        weights: Numbers | None = None,
        lengths: memoryview[float] | None = None,
    ) -> None:
        self._inner = inner
        self._weights = None if weights is None else inner.weights(weights)
        self._lengths: Sequence[float] | None = lengths
        self.names: tuple[str, ...] | None = None if names is None else tuple(names)
        """The nodes' names, by id; None if they have none."""
        self._ids: Mapping[str, int] = {}
        if self.names is not None:
            if len(self.names) != len(inner):
                raise InvalidGraph(f"{len(self.names)} names for {len(inner)} nodes: give one for every node")
            self._ids = {name: node for node, name in enumerate(self.names)}
            if len(self._ids) < len(self.names):
                twice = next(name for node, name in enumerate(self.names) if self._ids[name] != node)
                raise InvalidGraph(f"two nodes have the name {twice!r}: give each a name of its own")

    @classmethod
    def _made(cls, inner: _core.Graph, names: Iterable[str] | None = None, weights: Any = None) -> Graph:
        made = cls.__new__(cls)
        made._set(inner, names, weights)
        return made

    @classmethod
    def from_edges(cls, edges: Iterable[tuple[str, str]], nodes: Iterable[str] = ()) -> Graph:
        """Make a graph of pairs of names, numbered as they come.

        Parameters
        ----------
        edges
            The name of each edge's source and target.
        nodes
            Names that come first, whether they have edges or not.

        Examples
        --------
        >>> import ferroflow as ff
        >>> graph = ff.Graph.from_edges([("load", "clean"), ("clean", "store")])
        >>> graph.named(graph.order()), graph.reach("load", "store")
        (['load', 'clean', 'store'], True)
        """
        ids: dict[str, int] = {}
        for name in nodes:
            if name in ids:
                raise InvalidGraph(f"two nodes have the name {name!r}: give each a name of its own")
            ids[name] = len(ids)
        sources, targets = [], []
        for number, (source, target) in enumerate(edges):
            if source == target:
                raise InvalidGraph(f"edge {number} leads from {source!r} to itself: leave it out")
            sources.append(ids.setdefault(source, len(ids)))
            targets.append(ids.setdefault(target, len(ids)))
        return cls(len(ids), sources, targets, names=ids)

    @classmethod
    def of(cls, workflow: Workflow[..., Any]) -> Graph:
        """Make the graph of a workflow's steps, from what they need and are to come after.

        A composite step, such as a loop, is one node. Where many steps follow many others, there is a node
        between them, called `$join_` and its number.

        Examples
        --------
        >>> import ferroflow as ff
        >>> @ff.task
        ... def half(n: float) -> float:
        ...     return n / 2
        >>> @ff.workflow
        ... def quarter(n: float) -> float:
        ...     return half(half(n))
        >>> graph = ff.Graph.of(quarter)
        >>> graph.names, list(graph.successors("half"))
        (('half', 'half_2'), [1])
        """
        return cls._made(*_core.Graph.of_block(workflow.program, 0))

    def __repr__(self) -> str:
        return f"<graph of {len(self)} nodes and {self.edge_count} edges>"

    def __len__(self) -> int:
        return len(self._inner)

    @property
    def edge_count(self) -> int:
        """How many distinct edges there are."""
        return self._inner.edge_count

    def edges(self) -> tuple[memoryview[int], memoryview[int]]:
        """Return where the edges begin and where they end, ascending, each edge once.

        Examples
        --------
        >>> import ferroflow as ff
        >>> [list(ends) for ends in ff.Graph(3, [1, 0, 1], [2, 1, 2]).edges()]
        [[0, 1], [1, 2]]
        """
        return self._inner.edges()

    def id(self, node: Node) -> int:
        """Return the id of a node that is given by id or name."""
        if isinstance(node, str):
            try:
                return self._ids[node]
            except KeyError:
                known = f"it has {len(self)} others" if self.names else "its nodes have no names"
                raise InvalidGraph(f"there is no node {node!r} in the graph: {known}") from None
        if not 0 <= node < len(self):
            raise InvalidGraph(f"there is no node {node}: the graph has {len(self)}, numbered from 0")
        return node

    def named(self, nodes: Iterable[int]) -> list[str]:
        """Return the names of nodes; their ids as text if they have none.

        Examples
        --------
        >>> import ferroflow as ff
        >>> ff.Graph(2, [0], [1], names=["load", "store"]).named([1, 0])
        ['store', 'load']
        """
        return [str(node) if self.names is None else self.names[node] for node in nodes]

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except CyclicGraph as error:
            if self.names is None:
                raise
            names = self.named(error.cycle)
            way = " -> ".join([*names, names[0]] if len(names) <= 20 else [*names[:20], "..."])
            raise CyclicGraph(
                f"nodes wait for each other: {way}; remove one of these edges", error.cycle
            ) from None

    def order(self) -> memoryview[int]:
        """Return a topological order.

        Where every edge leads to a larger id, it is that of ids. Else nodes follow as they become free,
        from the sources on, each node's successors by id.

        Raises
        ------
        CyclicGraph
            With the nodes of a cycle in `cycle`, in the order of its edges, from the smallest.

        Examples
        --------
        >>> import ferroflow as ff
        >>> list(ff.Graph(3, [2, 1], [1, 0]).order())
        [2, 1, 0]
        """
        with self._naming():
            return self._inner.order()

    def cycle(self) -> list[int] | None:
        """Return nodes that wait for each other, in the order of their edges; None if there are none.

        Examples
        --------
        >>> import ferroflow as ff
        >>> ff.Graph(4, [0, 1, 2, 3], [1, 2, 3, 1]).cycle(), ff.Graph(2, [0], [1]).cycle()
        ([1, 2, 3], None)
        """
        try:
            self._inner.order()
        except CyclicGraph as error:
            return error.cycle
        return None

    def levels(self) -> Levels:
        """Return the nodes by level: the number of edges on the longest way to them."""
        with self._naming():
            return Levels(*self._inner.levels())

    @property
    def depth(self) -> int:
        """How many nodes the longest path has.

        Examples
        --------
        >>> import ferroflow as ff
        >>> ff.Graph(4, [0, 0, 1], [1, 2, 3]).depth
        3
        """
        return len(self.levels())

    def sources(self) -> memoryview[int]:
        """Return the nodes that nothing leads to, ascending: where the graph is entered."""
        return self._inner.sources()

    def sinks(self) -> memoryview[int]:
        """Return the nodes that lead nowhere, ascending: where the graph is left."""
        return self._inner.sinks()

    def successors(self, node: Node) -> memoryview[int]:
        """Return the nodes that a node's edges lead to, ascending."""
        return self._inner.successors(self.id(node))

    def predecessors(self, node: Node) -> memoryview[int]:
        """Return the nodes whose edges lead to a node, ascending."""
        return self._inner.predecessors(self.id(node))

    def out_edges(self, node: Node) -> list[tuple[int, int]]:
        """Return the edges that begin at a node."""
        return [(self.id(node), target) for target in self.successors(node)]

    def in_edges(self, node: Node) -> list[tuple[int, int]]:
        """Return the edges that end at a node."""
        return [(source, self.id(node)) for source in self.predecessors(node)]

    def descendants(self, node: Node) -> memoryview[int]:
        """Return all nodes that come after a node, over any number of edges, ascending.

        Examples
        --------
        >>> import ferroflow as ff
        >>> graph = ff.Graph(4, [0, 1, 2], [1, 2, 3])
        >>> list(graph.descendants(1)), list(graph.ancestors(1))
        ([2, 3], [0])
        """
        return self._inner.descendants(self.id(node))

    def ancestors(self, node: Node) -> memoryview[int]:
        """Return all nodes that come before a node, over any number of edges, ascending."""
        return self._inner.ancestors(self.id(node))

    def ready(self, done: Iterable[Node]) -> memoryview[int]:
        """Return the nodes that are not done and whose predecessors all are, ascending.

        Examples
        --------
        >>> import ferroflow as ff
        >>> graph = ff.Graph.from_edges([("a", "c"), ("b", "c")])
        >>> graph.named(graph.ready([])), graph.named(graph.ready(["a", "b"]))
        (['a', 'b'], ['c'])
        """
        return self._inner.ready([self.id(node) for node in done])

    def critical_path(
        self, weights: Numbers | None = None, edge_weights: Numbers | None = None
    ) -> CriticalPath:
        """Return when each node can start, how late it may, and a longest path.

        Parameters
        ----------
        weights
            How long each node lasts; by default the graph's own weights.
        edge_weights
            How long each edge lasts, in the order of `edges()`; by default the graph's own.

        Raises
        ------
        InvalidGraph
            A weight that is negative, infinite or NaN; too few, or too many.
        CyclicGraph
            The graph has a cycle.

        Notes
        -----
        The critical path method of Kelley and Walker (1959), with delays on edges. A float of less than
        1e-9 of the whole length is rounding, and counts as none.

        Examples
        --------
        >>> import ferroflow as ff
        >>> graph = ff.Graph(3, [0, 0, 1], [1, 2, 2], weights=[1, 1, 1], edge_weights=[0, 5, 0])
        >>> found = graph.critical_path()
        >>> list(found.path), found.length, list(found.latest)
        ([0, 2], 7.0, [0.0, 5.0, 6.0])
        """
        weights = self._weights if weights is None else weights
        edge_weights = self._lengths if edge_weights is None else edge_weights
        with self._naming():
            return CriticalPath(*self._inner.critical(weights, edge_weights))

    def sorter(self, ranks: Numbers | None = None) -> Sorter:
        """Return what hands out nodes whose predecessors are done.

        Parameters
        ----------
        ranks
            A number for each node: of the ready ones the largest goes first, of equals the smaller id.
            None: first in, first out.
        """
        with self._naming():
            return Sorter(self._inner.drain(ranks), self.id)

    @cached_property
    def reach(self) -> Reach:
        """What answers whether one node comes before another: `graph.reach(a, b)`."""
        with self._naming():
            return Reach(self._inner.reach(), self.id)

    def closure_size(self) -> Bounds:
        """Return how many pairs of nodes there are of which the first leads to the second.

        Exact up to 20,000 nodes, and where `reach.exceptions` is a number; else bounds.

        Examples
        --------
        >>> import ferroflow as ff
        >>> ff.Graph(3, [0, 1], [1, 2]).closure_size()
        Bounds(low=3, high=3)
        """
        return Bounds(*self.reach._inner.pairs())

    def width(self) -> Width:
        """Return how many nodes may run at one time: the size of the largest antichain, and one.

        Exact up to 20,000 nodes (by Dilworth 1950, with the matching of Hopcroft and Karp 1973), and where
        `reach.exceptions` is 0; else bounds.

        Examples
        --------
        >>> import ferroflow as ff
        >>> found = ff.Graph(4, [0, 0, 1], [1, 2, 3]).width()
        >>> found.size.exact, found.size.low, len(found.antichain)
        (True, 2, 2)
        """
        size, antichain = self.reach._inner.width()
        return Width(Bounds(*size), antichain)

    def transitive_reduction(self) -> Reduction:
        """Return the graph without edges that follow from others.

        Up to 20,000 nodes all are gone; above, those that follow from two others.

        Examples
        --------
        >>> import ferroflow as ff
        >>> ff.Graph(3, [0, 1, 0], [1, 2, 2]).transitive_reduction()
        Reduction(graph=<graph of 3 nodes and 2 edges>, exact=True)
        """
        with self._naming():
            inner, exact = self._inner.reduced()
        return Reduction(self._made(inner, self.names, self._weights), exact)

    def without(self, *nodes: Node) -> Graph:
        """Return the graph without some nodes and the edges at them.

        The others keep their order, names and weights, and are numbered anew.

        Examples
        --------
        >>> import ferroflow as ff
        >>> graph = ff.Graph.from_edges([("a", "b"), ("b", "c"), ("a", "c")]).without("b")
        >>> graph.names, [list(ends) for ends in graph.edges()]
        (('a', 'c'), [[0], [1]])
        """
        inner, kept = self._inner.without([self.id(node) for node in nodes])
        names = None if self.names is None else [self.names[node] for node in kept]
        weights = None if self._weights is None else [self._weights[node] for node in kept]
        made = self._made(inner, names, weights)
        if self._lengths is not None:
            stays = set(kept)
            ends = zip(*self.edges(), self._lengths, strict=True)
            kept_lengths = [length for a, b, length in ends if a in stays and b in stays]
            made._lengths = kept_lengths
        return made

    def growing(self) -> GrowingGraph:
        """Return a copy to which nodes and edges can be added."""
        with self._naming():
            return GrowingGraph(self._inner.growing(), self._made)

    def blocks(self) -> list[tuple[None, list[tuple[str, str, None]], list[tuple[int, int]]]]:
        """Return what `ferroflow.draw` makes pictures of."""
        nodes: list[tuple[str, str, None]] = [(name, "node", None) for name in self.named(range(len(self)))]
        return [(None, nodes, [*zip(*self.edges(), strict=True)])]

    def _repr_svg_(self) -> str | None:
        from ferroflow.draw import svg

        return svg(self.blocks(), title=repr(self)) if len(self) <= DRAWN else None
