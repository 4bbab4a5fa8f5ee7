"""A plan: where each task runs and when; its check, pictures and files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ferroflow import _core, draw
from ferroflow.draw.page import block, table
from ferroflow.plan.instance import Instance
from ferroflow.plan.platform import Platform

if TYPE_CHECKING:
    from typing_extensions import Buffer

ROWS = 50
"""More placements than this are not shown in a notebook."""


class Placement(NamedTuple):
    """Where and when one task runs."""

    task: str
    node: str
    start: float
    finish: float


class Bounds(NamedTuple):
    """What no schedule can be shorter than, in seconds.

    Parameters
    ----------
    critical_path
        The longest way through the graph with each task on its fastest node and no messages.
    area
        All work over all capacity.
    messages
        The longest way with messages, each task choosing to its own advantage where others ran.
    windows
        The load of the fullest window of time.
    """

    critical_path: float
    area: float
    messages: float
    windows: float

    @property
    def best(self) -> float:
        """The greatest of them."""
        return max(self)


class Violation(NamedTuple):
    """One thing that is wrong with a schedule: what kind, and what is said of it."""

    kind: str
    message: str


class Movement(NamedTuple):
    """What one task sends to another on a different node."""

    source: str
    target: str
    from_node: str
    to_node: str
    bytes: float


class Schedule:
    """Where each task of an instance runs on a platform, and when.

    `plan` makes them. To check one of your own making, give its columns.

    Parameters
    ----------
    instance, platform
        What was planned, and for where.
    nodes
        The place of each task's node.
    starts, finishes
        Seconds from the beginning.
    method, improved, evaluations, bounds, core
        How it came about; `plan` fills these in.

    Examples
    --------
    >>> from ferroflow.plan import Instance, Platform, Schedule
    >>> pair = Instance([2.0, 2.0], sources=[0], targets=[1], bytes=[8.0])
    >>> late = Schedule(pair, Platform(["a", "b"], bandwidth=4.0), [0, 1], [0.0, 2.0], [2.0, 4.0])
    >>> late.check()[0].kind
    'communication'
    """

    def __init__(
        self,
        instance: Instance,
        platform: Platform,
        nodes: Sequence[int] | memoryview,
        starts: Sequence[float] | memoryview,
        finishes: Sequence[float] | memoryview,
        *,
        method: str = "",
        improved: bool = False,
        evaluations: int = 0,
        bounds: Bounds | None = None,
        core: _core.PlanInstance | None = None,
    ) -> None:
        self.instance, self.platform = instance, platform
        self.nodes, self.starts, self.finishes = nodes, starts, finishes
        self.method, self.improved, self.evaluations = method, improved, evaluations
        self._core = core or instance._on(platform)
        self.bounds = bounds or Bounds(*self._core.bounds())

    def __len__(self) -> int:
        return len(self.nodes)

    def __repr__(self) -> str:
        how = f" by {self.method}{' and search' if self.improved else ''}" if self.method else ""
        return (
            f"<Schedule of {len(self)} tasks on {len(self.platform.nodes)} nodes{how}: {self.makespan:g} s>"
        )

    @property
    def makespan(self) -> float:
        """When the last task ends, in seconds.

        Examples
        --------
        >>> from ferroflow.plan import Instance, Platform, plan
        >>> plan(Instance([2.0]), Platform(["a"])).makespan
        2.0
        """
        return max(self.finishes, default=0.0)

    @property
    def gap(self) -> float:
        """How far the makespan is above the best lower bound, as a part of the bound.

        Examples
        --------
        >>> from ferroflow.plan import Instance, Platform, plan
        >>> plan(Instance([2.0]), Platform(["a"])).gap
        0.0
        """
        least, makespan = self.bounds.best, self.makespan
        return 0.0 if makespan <= least else makespan / least - 1 if least > 0 else float("inf")

    def placements(self) -> Iterator[Placement]:
        """Yield where each task runs, by start.

        Examples
        --------
        >>> from ferroflow.plan import Instance, Platform, plan
        >>> [*plan(Instance([2.0], names=["load"]), Platform(["a"])).placements()]
        [Placement(task='load', node='a', start=0.0, finish=2.0)]
        """
        for task in sorted(range(len(self)), key=lambda it: (self.starts[it], self.nodes[it], it)):
            node = self.platform.nodes[self.nodes[task]].name
            yield Placement(self.instance.name(task), node, self.starts[task], self.finishes[task])

    def check(self) -> list[Violation]:
        """Return everything that is wrong with this schedule: nothing, if `plan` made it.

        Precedence, communication, overlap, capacity, fit, duration and missing tasks are looked at anew,
        by code that planners do not share.

        Examples
        --------
        >>> from ferroflow.plan import Instance, Platform, plan
        >>> plan(Instance([1.0, 1.0]), Platform(["a"])).check()
        []
        """
        nodes = self.nodes if isinstance(self.nodes, memoryview) else _column("q", self.nodes)
        starts = self.starts if isinstance(self.starts, memoryview) else _column("d", self.starts)
        finishes = self.finishes if isinstance(self.finishes, memoryview) else _column("d", self.finishes)
        return [Violation(*it) for it in self._core.check(nodes, starts, finishes)]

    def levels(self) -> list[int]:
        """Return how many dependencies the longest chain to each task has.

        Examples
        --------
        >>> from ferroflow.plan import Instance, Platform, plan
        >>> plan(Instance([1.0, 1.0], sources=[0], targets=[1]), Platform(["a"])).levels()
        [0, 1]
        """
        found = [0] * len(self)
        after: list[list[int]] = [[] for _ in found]
        for source, target in self._edges():
            after[source].append(target)
        for task in self._core.order():
            for target in after[task]:
                found[target] = max(found[target], found[task] + 1)
        return found

    def movements(self) -> list[Movement]:
        """Return what is sent from node to node.

        Examples
        --------
        >>> from ferroflow.plan import Instance, Platform, Schedule
        >>> pair = Instance([2.0, 2.0], sources=[0], targets=[1], bytes=[8.0])
        >>> apart = Schedule(pair, Platform(["a", "b"], bandwidth=4.0), [0, 1], [0.0, 4.0], [2.0, 6.0])
        >>> apart.movements()
        [Movement(source='t0', target='t1', from_node='a', to_node='b', bytes=8.0)]
        """
        sizes = [*self.instance.bytes] if len(self.instance.bytes) else None  # type: ignore[arg-type,misc]
        found = []
        for at, (source, target) in enumerate(self._edges()):
            here, there = (self.platform.nodes[self.nodes[it]].name for it in (source, target))
            if here != there:
                size = float(sizes[at]) if sizes else 0.0
                found.append(
                    Movement(self.instance.name(source), self.instance.name(target), here, there, size)
                )
        return found

    def _edges(self) -> Iterator[tuple[int, int]]:
        pairs: Any = zip(self.instance.sources, self.instance.targets, strict=True)  # type: ignore[arg-type]
        for source, target in pairs:
            yield int(source), int(target)

    def gantt(self) -> str:
        """Return a chart of what runs where and when: an SVG in one piece.

        Examples
        --------
        >>> from ferroflow.plan import Instance, Platform, plan
        >>> plan(Instance([1.0]), Platform(["a"])).gantt().startswith("<svg")
        True
        """
        bars = [(it.task, it.start, it.finish, "", it.node) for it in self.placements()]
        title = f"{self.makespan:g} s, at best {self.bounds.best:g} s"
        return draw.grouped(bars, [node.name for node in self.platform.nodes], title)

    def mermaid(self) -> str:
        """Return the graph as Mermaid, by level, with the node of each task and what moves between nodes.

        Examples
        --------
        >>> from ferroflow.plan import Instance, Platform, plan
        >>> print(plan(Instance([1.0], names=["load"]), Platform(["a"])).mermaid(), end="")
        graph TB
          subgraph level0["Level 0"]
            n0["load (a)"]
          end
        """
        levels = self.levels()
        sizes = [*self.instance.bytes] if len(self.instance.bytes) else None  # type: ignore[arg-type,misc]
        tasks = [
            (self.instance.name(it), self.platform.nodes[self.nodes[it]].name) for it in range(len(self))
        ]
        edges = []
        for at, (source, target) in enumerate(self._edges()):
            moves = self.nodes[source] != self.nodes[target]
            edges.append((source, target, _size(float(sizes[at])) if moves and sizes else None))
        return by_level(tasks, levels, edges)

    def to_dict(self) -> dict[str, Any]:
        """Return the schedule as plain objects.

        Examples
        --------
        >>> from ferroflow.plan import Instance, Platform, plan
        >>> plan(Instance([1.0]), Platform(["a"])).to_dict()["tasks"]
        [{'task': 't0', 'node': 'a', 'start': 0.0, 'finish': 1.0}]
        """
        return {
            "makespan": self.makespan,
            "gap": self.gap,
            "bounds": self.bounds._asdict(),
            "method": self.method,
            "improved": self.improved,
            "evaluations": self.evaluations,
            "platform": self.platform.to_dict(),
            "tasks": [it._asdict() for it in self.placements()],
            "movements": [it._asdict() for it in self.movements()],
        }

    def to_json(self) -> str:
        """Return the schedule as JSON.

        Examples
        --------
        >>> from ferroflow.plan import Instance, Platform, plan
        >>> "makespan" in plan(Instance([1.0]), Platform(["a"])).to_json()
        True
        """
        return msgspec.json.format(msgspec.json.encode(self.to_dict()), indent=2).decode()

    def to_wfformat(self, name: str = "plan") -> dict[str, Any]:
        """Return a WfFormat 1.5 document that says of each task where it would run, and for how long.

        Parameters
        ----------
        name
            What the workflow is called.

        Examples
        --------
        >>> from ferroflow.plan import Instance, Platform, plan
        >>> document = plan(Instance([1.0]), Platform(["a"])).to_wfformat()
        >>> document["workflow"]["execution"]["tasks"]
        [{'id': 't0', 'runtimeInSeconds': 1.0, 'machines': ['a']}]
        """
        sizes = [*self.instance.bytes] if len(self.instance.bytes) else None  # type: ignore[arg-type,misc]
        tasks: list[dict[str, Any]] = []
        for at in range(len(self)):
            task = self.instance.name(at)
            lists: dict[str, Any] = {it: [] for it in ("parents", "children", "inputFiles", "outputFiles")}
            tasks.append({"name": task, "id": task, **lists})
        files = []
        for at, (source, target) in enumerate(self._edges()):
            tasks[source]["children"].append(tasks[target]["id"])
            tasks[target]["parents"].append(tasks[source]["id"])
            if sizes and sizes[at] > 0:
                file = f"{tasks[source]['id']}.{tasks[target]['id']}.{at}"
                files.append({"id": file, "sizeInBytes": round(sizes[at])})
                tasks[source]["outputFiles"].append(file)
                tasks[target]["inputFiles"].append(file)
        nodes = self.platform.nodes
        machines = []
        for node in nodes:
            machine: dict[str, Any] = {"nodeName": node.name, "cpu": {"coreCount": node.cores}}
            if node.memory is not None:
                machine["memoryInBytes"] = node.memory
            machines.append(machine)
        executed = [
            {
                "id": tasks[at]["id"],
                "runtimeInSeconds": self.finishes[at] - self.starts[at],
                "machines": [nodes[self.nodes[at]].name],
            }
            for at in range(len(self))
        ]
        return {
            "name": name,
            "schemaVersion": "1.5",
            "workflow": {
                "specification": {"tasks": tasks, "files": files},
                "execution": {
                    "makespanInSeconds": self.makespan,
                    "executedAt": "1970-01-01T00:00:00Z",
                    "tasks": executed,
                    "machines": machines,
                },
            },
        }

    def _repr_html_(self) -> str:
        columns = ["task", "node", "start", "finish"]
        rows = [[it.task, it.node, f"{it.start:g}", f"{it.finish:g}"] for it in self.placements()]
        return block(repr(self)[1:-1], self.gantt(), table(columns, rows[:ROWS], max(len(rows) - ROWS, 0)))


def _column(code: str, values: Sequence[float]) -> Buffer:
    from array import array

    return array(code, values)


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def by_level(
    tasks: Sequence[tuple[str, str]],
    levels: Sequence[int],
    edges: Sequence[tuple[int, int, str | None]],
) -> str:
    """Return a Mermaid graph of tasks, each with its node, in boxes by level.

    Parameters
    ----------
    tasks
        What each is called, and its node.
    levels
        The level of each.
    edges
        Which waits for which, and what is said on the arrow, if anything.
    """
    lines = ["graph TB"]
    for level in range(max(levels, default=-1) + 1):
        lines.append(f'  subgraph level{level}["Level {level}"]')
        for at, (name, node) in enumerate(tasks):
            if levels[at] == level:
                lines.append(f'    n{at}["{draw.escaped(f"{name} ({node})")}"]')
        lines.append("  end")
    for source, target, said in edges:
        lines.append(
            f'  n{source} -- "{draw.escaped(said)}" --> n{target}' if said else f"  n{source} --> n{target}"
        )
    return "\n".join(lines) + "\n"
