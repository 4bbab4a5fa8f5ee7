"""What is to be planned, as columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from ferroflow import _core
from ferroflow.errors import PlanError
from ferroflow.plan.platform import Platform

if TYPE_CHECKING:
    from typing_extensions import Buffer

Numbers: TypeAlias = "Sequence[float] | Buffer"
"""Floats or whole numbers of 32 or 64 bits: an array, or a list."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Data that a task reads and that lie on nodes already.

    Parameters
    ----------
    task
        The place of the task.
    bytes
        How much it is.
    nodes
        The names of the nodes that have a copy.

    Examples
    --------
    >>> from ferroflow.plan import Placed
    >>> Placed(0, 1e9, ["a"]).nodes
    ['a']
    """

    task: int
    bytes: float
    nodes: Sequence[str]


@dataclass(frozen=True)
class Instance:
    """Tasks and dependencies to be planned, column by column.

    Parameters
    ----------
    costs
        Work of each task: seconds on a node of speed 1.
    sources, targets
        For each dependency the task that comes first and the one that waits, as places in `costs`.
    bytes
        How much each dependency sends; nothing if empty.
    names
        What the tasks are called; `t0`, `t1`, … if empty.
    kinds
        The kind of each task, for nodes whose speed depends on it.
    cores, memory
        What each task takes of its node while it runs; one core and no memory if empty.
    devices
        By name, how much of a device each task takes.
    labels
        Labels that a task's node must have, by place.
    placed
        Data that lie on nodes already.
    times
        Seconds of each task on each node, a row a task, in place of cost and speed.

    Raises
    ------
    PlanError
        When it is planned: if a number is not what it has to be, tasks wait for each other, or a task
        fits no node.

    Examples
    --------
    >>> from ferroflow.plan import Instance, Platform, plan
    >>> diamond = Instance([1.0, 4.0, 4.0, 1.0], sources=[0, 0, 1, 2], targets=[1, 2, 3, 3])
    >>> plan(diamond, Platform(["a", "b"])).makespan
    6.0
    """

    costs: Numbers
    sources: Numbers = ()
    targets: Numbers = ()
    bytes: Numbers = ()
    names: Sequence[str] = ()
    kinds: Sequence[str] = ()
    cores: Numbers = ()
    memory: Numbers = ()
    devices: Mapping[str, Numbers] = field(default_factory=dict)
    labels: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    placed: Iterable[Placed] = ()
    times: Numbers | Sequence[Numbers] | None = None

    @classmethod
    def of(cls, graph: Any, costs: Numbers | None = None, **columns: Any) -> Instance:
        """Return the tasks of a graph as an instance.

        Parameters
        ----------
        graph
            Anything with a length, and `edges()` that returns where edges begin and end, such as
            `ferroflow.Graph`.
        costs
            Work of each task; 1 s each if None.
        columns
            More columns; `bytes` in the order of `edges()`.

        Examples
        --------
        >>> from ferroflow.plan import Instance
        >>> class Pair:
        ...     def __len__(self): return 2
        ...     def edges(self): return [0], [1]
        >>> Instance.of(Pair(), [1.0, 2.0]).targets
        [1]
        """
        sources, targets = graph.edges()
        names = columns.pop("names", None) or getattr(graph, "names", None) or ()
        work = array("d", [1.0]) * len(graph) if costs is None else costs
        return cls(work, sources, targets, names=names, **columns)

    def name(self, task: int) -> str:
        """Return what a task is called.

        Examples
        --------
        >>> from ferroflow.plan import Instance
        >>> Instance([1.0], names=["load"]).name(0)
        'load'
        """
        return str(self.names[task]) if len(self.names) else f"t{task}"

    def _on(self, platform: Platform) -> _core.PlanInstance:
        """Return the checked form of this on a platform."""
        if len(self.names) and len(self.names) != _length(self.costs):
            raise PlanError(f"there are {len(self.names)} names and {_length(self.costs)} tasks")
        names = sorted({*self.kinds})
        place = {kind: at for at, kind in enumerate(names)}
        sources = whole(self.sources, "sources")
        columns: dict[str, Any] = {
            "costs": real(self.costs),
            "sources": sources,
            "targets": whole(self.targets, "targets"),
            "bytes": real(self.bytes) if _length(self.bytes) else array("d", bytes(8 * _length(sources))),
        }
        if len(self.kinds):
            columns["kinds"] = array("I", [place[kind] for kind in self.kinds])
        if _length(self.cores):
            columns["cores"] = whole(self.cores, "cores")
        if _length(self.memory):
            columns["memory"] = whole(self.memory, "memory")
        if self.times is not None:
            columns["times"] = _flat(self.times)
        at = {node.name: number for number, node in enumerate(platform.nodes)}
        inputs = []
        for it in self.placed:
            for name in it.nodes:
                if name not in at:
                    raise PlanError(f"data of task {it.task} lie on node {name!r}, which is not there")
            inputs.append((it.task, float(it.bytes), [at[name] for name in it.nodes]))
        devices = {name: whole(column, name) for name, column in self.devices.items()}
        labels = {task: dict(wanted) for task, wanted in self.labels.items()}
        try:
            return _core.PlanInstance(platform._core(), columns, names, devices, labels, inputs)
        except OverflowError as error:
            raise PlanError(f"a number is out of range: {error}") from None
        except ValueError as error:
            raise refused(error, self.names) from None


def _length(column: Any) -> int:
    return len(column)


def refused(error: ValueError, names: Sequence[str] = ()) -> PlanError:
    """Return what the extension said as our own error, with tasks by name."""
    if len(error.args) != 3:
        return PlanError(str(error))
    message, kind, cycle = error.args
    if cycle and len(names):
        path = [str(names[task]) for task in [*cycle, cycle[0]]]
        if len(path) > 12:
            path[5:-5] = [f"… {len(path) - 10} more …"]
        message = f"tasks wait for each other: {' -> '.join(path)}; remove one of these dependencies"
    return PlanError(message, kind=kind)


def _flat(times: Any) -> Any:
    if isinstance(times, Sequence) and times and isinstance(times[0], Sequence):
        return array("d", [float(it) for row in times for it in row])
    return real(times)


def real(column: Any) -> Any:
    """Return a column of floats as a buffer."""
    if isinstance(column, (list, tuple)):
        return array("d", [float(it) for it in column])
    return column


def whole(column: Any, what: str) -> Any:
    """Return a column of whole numbers as a buffer."""
    if isinstance(column, (list, tuple)):
        try:
            return array("q", column)
        except (OverflowError, TypeError) as error:
            raise PlanError(f"{what} has to hold whole numbers of at most 64 bits: {error}") from None
    return column
