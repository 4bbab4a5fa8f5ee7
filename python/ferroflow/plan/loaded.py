"""Plans by load: tasks level by level on the least loaded nodes, and what becomes of such plans."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ferroflow import _core
from ferroflow.errors import PlanError
from ferroflow.plan.instance import refused
from ferroflow.plan.schedule import by_level


@dataclass(frozen=True, slots=True)
class LoadNode:
    """A node as its load is known.

    Parameters
    ----------
    id, location
        What it is called, and where it stands.
    cpu, memory_mb, storage_mb
        What it has; 0 is not counted.
    used_cpu, used_memory_mb, used_storage_mb
        What of it is used already; None where nobody knows, and then half of it counts as used.
    tags
        Anything else that is known of it.
    """

    id: str
    location: str = ""
    cpu: float = 0.0
    memory_mb: float = 0.0
    storage_mb: float = 0.0
    used_cpu: float | None = 0.0
    used_memory_mb: float | None = 0.0
    used_storage_mb: float | None = 0.0
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a task is expected to take.

    Parameters
    ----------
    duration_ms, cpu, memory_mb, storage_mb
        Time, and what it takes of its node.
    network_priority
        How urgent what it reads is, from 0 to 3.
    """

    duration_ms: int = 1000
    cpu: float = 1.0
    memory_mb: float = 256.0
    storage_mb: float = 10.0
    network_priority: int = 0


@dataclass(frozen=True, slots=True)
class Read:
    """What a task reads of another's output.

    Parameters
    ----------
    source, output
        The other's id, and which output.
    size_mb
        How much it is; 10 MB if nobody knows.
    """

    source: str
    output: str = "result"
    size_mb: float | None = None


@dataclass(frozen=True, slots=True)
class LoadTask:
    """A task to be placed by load.

    Parameters
    ----------
    id, kind
        What it is called, and what kind of task it is.
    depends_on
        Ids of tasks that come first.
    reads
        What it reads of others' outputs; those come first too.
    location
        Where its input is: a node there counts as 0.2 less loaded.
    only_there
        Whether it may run nowhere else.
    estimate
        What it takes; asked for if None.
    timeout_ms
        How long it may take; None is for ever.
    """

    id: str
    kind: str = "other"
    depends_on: Sequence[str] = ()
    reads: Sequence[Read] = ()
    location: str | None = None
    only_there: bool = False
    estimate: Estimate | None = None
    timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Movement:
    """One output that goes to another node.

    Parameters
    ----------
    id
        `{task}.{output}@{node}`: an output goes to a node once, however many read it there.
    task, output, from_node, to_node, size_mb
        What goes where.
    priority
        The network priority of the most urgent reader.
    """

    id: str
    task: str
    output: str
    from_node: str
    to_node: str
    size_mb: float
    priority: int


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What whoever runs a task has to know.

    Parameters
    ----------
    run, task, node
        Which, and where.
    level, priority
        Its level, and how urgent it is: larger goes first.
    cpu, memory_mb, storage_mb, timeout_ms
        What it takes, and how long it may take.
    """

    run: str
    task: str
    node: str
    level: int
    priority: int
    cpu: float
    memory_mb: float
    storage_mb: float
    timeout_ms: int | None


@dataclass(frozen=True)
class LoadPlan:
    """Where each task goes; `plan_by_load` makes it.

    Parameters
    ----------
    run
        The run that it is for.
    tasks
        The tasks, with their estimates.
    nodes, levels, priorities
        By id of task. Earlier levels are more urgent, and tasks on the critical path by 10 more.
    movements
        What goes from node to node.
    critical, critical_ms, slack_ms
        The longest way through the graph, messages included; how long it is; and by how much each task
        could be late.
    barrier_ms
        How long it takes if a level waits for the one before it.
    peak_cpu, peak_memory_mb, peak_storage_mb
        The most that a level takes.
    seconds
        How long planning took.
    state
        A snapshot of the run when it was planned: whatever `state` returned.
    """

    run: str
    tasks: Mapping[str, LoadTask]
    nodes: Mapping[str, str]
    levels: Mapping[str, int]
    priorities: Mapping[str, int]
    movements: Sequence[Movement]
    critical: Sequence[str]
    critical_ms: float
    slack_ms: Mapping[str, float]
    barrier_ms: int
    peak_cpu: float
    peak_memory_mb: float
    peak_storage_mb: float
    seconds: float
    state: Any = None

    def __len__(self) -> int:
        return len(self.tasks)

    def at_level(self, level: int) -> list[str]:
        """Return the tasks of a level, in the order in which they were given."""
        return [task for task in self.tasks if self.levels[task] == level]

    def dispatch(self, task: str) -> Dispatch:
        """Return what whoever runs a task has to know."""
        it = self.tasks.get(task)
        if it is None or it.estimate is None or task not in self.nodes:
            raise PlanError(f"the plan of run {self.run!r} places no task {task!r}", kind="internal-error")
        own = it.estimate
        return Dispatch(
            self.run,
            task,
            self.nodes[task],
            self.levels[task],
            self.priorities[task],
            own.cpu,
            own.memory_mb,
            own.storage_mb,
            it.timeout_ms,
        )

    def waits_for(self, task: str) -> set[str]:
        """Return the tasks that come before one."""
        it = self.tasks[task]
        return {*it.depends_on, *(read.source for read in it.reads)} - {task}

    def ready(
        self,
        completed: Iterable[str] = (),
        active: Iterable[str] = (),
        ended: Iterable[str] = (),
    ) -> list[str]:
        """Return the tasks that may run now: the most urgent first, then in the order given.

        Parameters
        ----------
        completed
            Those that are done.
        active
            Those that run.
        ended
            Those that failed, were skipped, cancelled or timed out: nothing that waits for one is ready.
        """
        done = {*completed}
        out = done | {*active} | {*ended}
        found = [task for task in self.tasks if task not in out and self.waits_for(task) <= done]
        return sorted(found, key=lambda task: -self.priorities[task])

    def mermaid(self) -> str:
        """Return the graph as Mermaid by level, with nodes, all dependencies, and what moves."""
        place = {task: at for at, task in enumerate(self.tasks)}
        moved = {(it.task, it.output, it.to_node): it.size_mb for it in self.movements}
        edges = []
        for task, it in self.tasks.items():
            for before in sorted(self.waits_for(task), key=place.__getitem__):
                sizes = [
                    moved[read.source, read.output, self.nodes[task]]
                    for read in it.reads
                    if read.source == before and self.nodes[before] != self.nodes[task]
                ]
                edges.append((place[before], place[task], f"{sum(sizes):g}MB" if sizes else None))
        return by_level([*self.nodes.items()], [*self.levels.values()], edges)


def plan_by_load(
    tasks: Iterable[LoadTask],
    nodes: Iterable[LoadNode],
    *,
    run: str = "",
    bandwidth: float = float("inf"),
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
    estimate: Callable[[LoadTask], Estimate] | None = None,
    state: Callable[[str], Any] | None = None,
) -> LoadPlan:
    """Place tasks level by level, each on the node that is least loaded by what is known and planned.

    A node's load is the weighted mean of its used cores, memory and storage; tasks of a level see what those
    before them take. Nodes without room are left out.

    Parameters
    ----------
    tasks, nodes
        What is to be placed, and where.
    run
        The run that it is for.
    bandwidth
        Megabytes a second between nodes, for the critical path.
    weights
        How much cores, memory and storage count for a node's load.
    estimate
        Asked what a task takes that has no estimate of its own; 1 s, 1 core, 256 MB and 10 MB if None.
    state
        Asked once for a snapshot of the run, which is attached to the plan.

    Raises
    ------
    PlanError
        With its kind: `no-nodes`, `cyclic-dependency`, `insufficient-resources`, `invalid` (a task waits for
        an unknown one, two share an id), `state-access-failed`, `history-access-failed`.

    Examples
    --------
    >>> from ferroflow.plan import LoadNode, LoadTask, plan_by_load
    >>> nodes = [LoadNode("busy", cpu=8, used_cpu=6), LoadNode("idle", cpu=8)]
    >>> made = plan_by_load([LoadTask("a"), LoadTask("b", depends_on=["a"])], nodes)
    >>> made.nodes, made.ready(completed=["a"])
    ({'a': 'idle', 'b': 'idle'}, ['b'])
    """
    begun = time.perf_counter()
    given = [*tasks]
    known = [*nodes]
    place = {task.id: at for at, task in enumerate(given)}
    if len(place) < len(given):
        twice = next(task.id for at, task in enumerate(given) if place[task.id] != at)
        raise PlanError(f"two tasks are called {twice!r}: ids have to differ")
    snapshot = None
    if state is not None:
        try:
            snapshot = state(run)
        except Exception as error:
            raise PlanError(
                f"the state of run {run!r} can't be had: {error}", kind="state-access-failed"
            ) from error
    placed: dict[str, LoadTask] = {}
    core = []
    for task in given:
        own = task.estimate or Estimate()
        if task.estimate is None and estimate is not None:
            try:
                own = estimate(task)
            except Exception as error:
                what = f"what task {task.id!r} takes can't be estimated: {error}"
                raise PlanError(what, kind="history-access-failed") from error
        placed[task.id] = replace(task, estimate=own)
        for before in [*task.depends_on, *(read.source for read in task.reads)]:
            if before not in place:
                raise PlanError(f"task {task.id!r} waits for {before!r}, which is not there")
        core.append(
            (
                task.id,
                int(own.duration_ms),
                (own.cpu, own.memory_mb, own.storage_mb),
                int(own.network_priority),
                task.location,
                task.only_there,
                [place[it] for it in task.depends_on],
                [(place[it.source], it.output, it.size_mb) for it in task.reads],
            )
        )
    where = [
        (
            it.id,
            it.location,
            (it.cpu, it.memory_mb, it.storage_mb),
            (it.used_cpu, it.used_memory_mb, it.used_storage_mb),
        )
        for it in known
    ]
    try:
        (at, levels, priorities), moved, (critical, slack), (barrier, longest, peak) = _core.plan_by_load(
            core, where, weights, bandwidth
        )
    except ValueError as error:
        raise refused(error) from None
    ids = [*placed]
    movements = [
        Movement(name, ids[task], output, known[here].id, known[there].id, size, priority)
        for name, task, output, here, there, size, priority in moved
    ]
    return LoadPlan(
        run,
        placed,
        {task: known[node].id for task, node in zip(ids, at, strict=True)},
        dict(zip(ids, levels, strict=True)),
        dict(zip(ids, priorities, strict=True)),
        movements,
        [ids[task] for task in critical],
        longest,
        dict(zip(ids, slack, strict=True)),
        barrier,
        peak[0],
        peak[1],
        peak[2],
        seconds=time.perf_counter() - begun,
        state=snapshot,
    )


@dataclass
class Tracked:
    """A run that has a plan, and how far it is.

    Parameters
    ----------
    plan
        Its plan.
    active, completed
        Tasks that run, and that are done.
    failed
        Why tasks failed, by id.
    started, scheduled, updated
        When it was taken up, last given out from, and last changed.
    """

    plan: LoadPlan
    active: set[str] = field(default_factory=set)
    completed: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    scheduled: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))


class Plans:
    """Runs with plans by load: takes them up, says what comes next, and keeps track.

    Parameters
    ----------
    nodes
        Asked for the nodes whenever a run is taken up.
    options
        As for `plan_by_load`.

    Examples
    --------
    >>> from ferroflow.plan import LoadNode, LoadTask, Plans
    >>> plans = Plans(lambda: [LoadNode("a", cpu=2)])
    >>> _ = plans.submit("run-1", [LoadTask("load"), LoadTask("fit", depends_on=["load"])])
    >>> [(it.task, it.node) for it in plans.next("run-1")]
    [('load', 'a')]
    >>> plans.completed("run-1", "load")
    >>> [it.task for it in plans.next("run-1")]
    ['fit']
    """

    def __init__(self, nodes: Callable[[], Iterable[LoadNode]], **options: Any) -> None:
        self._nodes = nodes
        self._options = options
        self.runs: dict[str, Tracked] = {}

    def submit(self, run: str, tasks: Iterable[LoadTask]) -> LoadPlan:
        """Plan a run and take it up.

        Raises
        ------
        PlanError
            Of kind `already-active` if the run is there, or why it can't be planned.
        """
        if run in self.runs:
            raise PlanError(f"run {run!r} has a plan already", kind="already-active")
        made = plan_by_load(tasks, self._nodes(), run=run, **self._options)
        self.runs[run] = Tracked(made)
        return made

    def next(self, run: str, most: int | None = None) -> list[Dispatch]:
        """Return what may run now, most urgent first, at most so many; they count as active from now on."""
        it = self.runs[run]
        found = it.plan.ready(it.completed, it.active, it.failed)[:most]
        it.active |= {*found}
        it.scheduled = it.updated = datetime.now(UTC)
        return [it.plan.dispatch(task) for task in found]

    def completed(self, run: str, task: str) -> None:
        """Note that a task is done."""
        self._end(run, task).completed.add(task)

    def failed(self, run: str, task: str, why: str) -> None:
        """Note that a task failed; what waits for it will not run."""
        self._end(run, task).failed[task] = why

    def _end(self, run: str, task: str) -> Tracked:
        it = self.runs[run]
        if task not in it.active:
            raise PlanError(f"task {task!r} of run {run!r} does not run")
        it.active.remove(task)
        it.updated = datetime.now(UTC)
        return it
