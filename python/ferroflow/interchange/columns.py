"""Tasks and edges of an instance as plain arrays: what planners and simulators take."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferroflow.define.graph import Graph
    from ferroflow.interchange.wfformat import Instance, TaskExecution

NOISE = 10.0
"""Per cent of a processor that measuring may add to what a task really takes."""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Tasks in the order of the file, and edges sorted by source and target.

    Everything but the names is an `array.array`, which other libraries read without copying:
    `numpy.asarray(columns.runtimes)`.

    Parameters
    ----------
    names
        Ids of the tasks.
    runtimes
        Seconds, as recorded; 0 where nothing is. Type "d".
    cores
        Processors that a task needs: as recorded, or as `cpu` says and a machine has. Type "I".
    cpu
        Per cent of one processor, as recorded; 100 where nothing is. Type "d".
    memory
        Bytes at the peak, as recorded; 0 where nothing is. Type "q".
    sources, targets
        Numbers of the tasks at the ends of the edges. Type "I".
    bytes
        How much the files hold that the source writes and the target reads. Type "q".

    Examples
    --------
    >>> from ferroflow import interchange
    >>> tasks = [
    ...     {"name": "make", "id": "make", "parents": [], "children": ["use", "see"], "outputFiles": ["f"]},
    ...     {"name": "use", "id": "use", "parents": ["make"], "children": [], "inputFiles": ["f"]},
    ...     {"name": "see", "id": "see", "parents": ["make"], "children": []},
    ... ]
    >>> files = [{"id": "f", "sizeInBytes": 7}]
    >>> columns = interchange.read({
    ...     "name": "three", "schemaVersion": "1.5",
    ...     "workflow": {"specification": {"tasks": tasks, "files": files}},
    ... }).columns
    >>> columns.names, [*zip(columns.sources, columns.targets, columns.bytes)]
    (['make', 'use', 'see'], [(0, 1, 7), (0, 2, 0)])
    """

    names: list[str]
    runtimes: array[float]
    cores: array[int]
    cpu: array[float]
    memory: array[int]
    sources: array[int]
    targets: array[int]
    bytes: array[int]

    def graph(self) -> Graph:
        """Return the graph of the tasks, which has their names, and their runtimes as weights.

        Examples
        --------
        >>> from ferroflow import interchange
        >>> tasks = [
        ...     {"name": "make", "id": "make", "parents": [], "children": ["use"]},
        ...     {"name": "use", "id": "use", "parents": ["make"], "children": []},
        ... ]
        >>> graph = interchange.read({
        ...     "name": "two", "schemaVersion": "1.5", "workflow": {"specification": {"tasks": tasks}},
        ... }).columns.graph()
        >>> graph, graph.reach("make", "use")
        (<graph of 2 nodes and 1 edges>, True)
        """
        from ferroflow.define.graph import Graph

        return Graph(len(self.names), self.sources, self.targets, names=self.names, weights=self.runtimes)

    @classmethod
    def of(cls, instance: Instance) -> Columns:
        """Return the columns of an instance."""
        index = instance.index
        took = [instance.executions.get(task.id) for task in instance.tasks]
        known = [it.cpu.core_count for it in instance.machines if it.cpu and it.cpu.core_count]
        return cls(
            names=[task.id for task in instance.tasks],
            runtimes=array("d", (it.runtime_in_seconds if it else 0.0 for it in took)),
            cores=array("I", (cores(it, max(known, default=None)) for it in took)),
            cpu=array("d", (cpu(it) for it in took)),
            memory=array("q", (int(it.memory_in_bytes or 0) if it else 0 for it in took)),
            sources=array("I", (source for source, _ in index.edges)),
            targets=array("I", (target for _, target in index.edges)),
            bytes=array("q", (index.carried.get(edge, 0) for edge in index.edges)),
        )


def cpu(took: TaskExecution | None) -> float:
    """Return the per cent of one processor that a task keeps busy."""
    return 100.0 if took is None or took.avg_cpu is None else took.avg_cpu


def cores(took: TaskExecution | None, most: float | None = None) -> int:
    """Return how many processors a task needs, as recorded or measured on machines with at most so many."""
    if took is not None and took.core_count is not None:
        return ceil(took.core_count)
    # Of tasks that end at once more is measured than can be.
    found = max(1, ceil((cpu(took) - NOISE) / 100))
    return found if most is None else min(found, ceil(most))
