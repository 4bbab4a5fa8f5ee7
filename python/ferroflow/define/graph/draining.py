"""Draining graphs: which nodes may begin, while others are done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ferroflow import _core


class Sorter:
    """Hands out nodes whose predecessors are done; `Graph.sorter` makes it.

    First in, first out, or, with ranks, the largest rank first and of equals the smaller id.

    Examples
    --------
    A level a call:

    >>> import ferroflow as ff
    >>> sorter = ff.Graph(4, [0, 0, 1], [1, 2, 3]).sorter()
    >>> nodes = sorter.take()
    >>> while nodes:
    ...     print(list(nodes))
    ...     nodes = sorter.done(nodes)
    [0]
    [1, 2]
    [3]

    The best first, one at a time:

    >>> sorter = ff.Graph(4, [0, 0, 1], [1, 2, 3]).sorter(ranks=[0, 1, 2, 3])
    >>> nodes = sorter.take(1)
    >>> while nodes:
    ...     print(list(nodes))
    ...     nodes = sorter.done(nodes, 1)
    [0]
    [2]
    [1]
    [3]
    """

    def __init__(self, inner: _core.Drain, id_of: Callable[[Any], int]) -> None:
        self._inner, self._id = inner, id_of

    def __repr__(self) -> str:
        return f"<sorter of a graph: {self.left} to do, {self.ready} ready, {self.taken} taken>"

    @property
    def left(self) -> int:
        """How many nodes are not done."""
        return self._inner.counts()[0]

    @property
    def taken(self) -> int:
        """How many were handed out and are not done."""
        return self._inner.counts()[1]

    @property
    def ready(self) -> int:
        """How many can be taken."""
        return self._inner.counts()[2]

    def is_active(self) -> bool:
        """Whether there is more to do."""
        return self.left > 0

    def take(self, most: int | None = None) -> memoryview[int]:
        """Hand out the nodes that are ready, at most so many; each is handed out once."""
        return self._inner.take(most)

    def done(self, nodes: Iterable[int | str], most: int | None = None) -> memoryview[int]:
        """Say that nodes are done, and take what is ready then.

        Parameters
        ----------
        nodes
            Nodes that were taken: an array of ids, or ids and names.
        most
            How many to take at most.

        Raises
        ------
        InvalidGraph
            A node that was not taken, or is done already. Those before it are done.
        """
        ids: Any = [self._id(node) for node in nodes] if isinstance(nodes, list | tuple) else nodes
        return self._inner.done(ids, most)
