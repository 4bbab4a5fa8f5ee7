"""What graphs answer: bounds, levels, the critical path, what comes before what."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ferroflow import _core

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ferroflow.define.graph.graph import Graph

    Ids = Iterable[int] | Buffer
    """Node ids: an array of integers, or anything else that yields whole numbers."""

    Numbers = Iterable[float] | Buffer
    """Numbers: an array, or a list of them."""

Node = int | str
"""A node: its id, or its name if the graph has names."""


class Bounds(NamedTuple):
    """What a number lies between; both ends are the number itself if it is known.

    Examples
    --------
    >>> from ferroflow.define.graph import Bounds
    >>> Bounds(3, 3).exact, Bounds(3, 5).exact
    (True, False)
    """

    low: int
    high: int

    @property
    def exact(self) -> bool:
        """Whether the number is known."""
        return self.low == self.high


class Width(NamedTuple):
    """How many nodes may run at one time.

    Attributes
    ----------
    size
        The size of the largest set of nodes of which none leads to another.
    antichain
        Such a set, of `size.low` nodes, ascending.
    """

    size: Bounds
    antichain: memoryview[int]


class Reduction(NamedTuple):
    """A graph without edges that follow from others.

    Attributes
    ----------
    graph
        The same nodes, and what leads to what is the same.
    exact
        Whether all edges that follow from others are gone.
    """

    graph: Graph
    exact: bool


class CriticalPath(NamedTuple):
    """When each node can start, how late it may, and a longest path.

    Attributes
    ----------
    earliest, latest
        When each node can start, and when it must, so that nothing ends later.
    float
        How long each may be put off: the total float, exactly 0 where nothing may be.
    path
        A longest path; of several the one of the smallest ids from its start on.
    length
        How long it is: the least time in which everything can be done.

    Examples
    --------
    >>> import ferroflow as ff
    >>> found = ff.Graph(4, [0, 0, 1, 2], [1, 2, 3, 3]).critical_path([1, 5, 2, 1])
    >>> list(found.path), found.length, list(found.float), list(found.critical)
    ([0, 1, 3], 7.0, [0.0, 0.0, 3.0, 0.0], [0, 1, 3])
    """

    earliest: memoryview[float]
    latest: memoryview[float]
    float: memoryview[float]
    path: memoryview[int]
    length: builtins.float

    @property
    def critical(self) -> list[int]:
        """The nodes that can't be put off, ascending: more than the path, if several are as long."""
        return [node for node, spare in enumerate(self.float) if spare == 0]


class Levels(Sequence["memoryview[int]"]):
    """Nodes by level, which is the number of edges on the longest way to them.

    Attributes
    ----------
    of
        The level of each node.
    nodes
        All nodes by level, ascending within each.

    Examples
    --------
    >>> import ferroflow as ff
    >>> levels = ff.Graph(4, [0, 0, 1], [1, 2, 3]).levels()
    >>> len(levels), [list(level) for level in levels], list(levels.of)
    (3, [[0], [1, 2], [3]], [0, 1, 1, 2])
    """

    def __init__(self, of: memoryview[int], nodes: memoryview[int], starts: memoryview[int]) -> None:
        self.of, self.nodes, self._starts = of, nodes, starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, level: Any) -> Any:
        if isinstance(level, slice):
            return [self[at] for at in range(*level.indices(len(self)))]
        at = range(len(self))[level]
        return self.nodes[self._starts[at] : self._starts[at + 1]]


class Reach:
    """Answers whether one node comes before another; `Graph.reach` makes it.

    A graph that can be drawn in two orders, with few exceptions (`exceptions` tells how many), is answered
    from its drawing; series-parallel graphs, and those that nearly are, are of that kind. Others have
    64 bytes a node, and are searched where those don't tell.

    Attributes
    ----------
    bytes : int
        The size of the index.
    exceptions : int or None
        How many pairs the two orders have wrong; None if the index is of the other kind.

    Examples
    --------
    >>> import ferroflow as ff
    >>> reach = ff.Graph(3, [0, 1], [1, 2]).reach
    >>> reach(0, 2), reach(2, 0), reach(1, 1)
    (True, False, False)
    >>> list(reach.many([0, 2], [2, 1]))
    [True, False]
    """

    def __init__(self, inner: _core.Reach, id_of: Callable[[Node], int]) -> None:
        self._inner, self._id = inner, id_of
        self.bytes, self.exceptions = inner.bytes, inner.exceptions

    def __call__(self, source: Node, target: Node) -> bool:
        """Whether there is a way from one node to another. None leads to itself."""
        return self._inner.leads(self._id(source), self._id(target))

    def many(self, sources: Ids, targets: Ids, *, threads: int | None = None) -> memoryview[bool]:
        """Return for each pair whether the first leads to the second.

        Parameters
        ----------
        sources, targets
            Ids, as many of one as of the other.
        threads
            Default: as many as there are processors.
        """
        return self._inner.many(sources, targets, threads or os.cpu_count() or 1)
