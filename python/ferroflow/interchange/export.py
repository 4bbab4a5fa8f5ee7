"""A run that has ended as a WfFormat instance: what each task waited for, and what it took."""

from __future__ import annotations

import os
import platform
import re
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ferroflow import __version__
from ferroflow.engine import records
from ferroflow.errors import InvalidInput
from ferroflow.interchange import synthetic
from ferroflow.interchange.wfformat import (
    VERSION,
    Cpu,
    Execution,
    Instance,
    Machine,
    Recorded,
    RuntimeSystem,
    Specification,
    TaskExecution,
    TaskSpecification,
)

if TYPE_CHECKING:
    from ferroflow.engine import RunView, StepView

LEAVES = {"task", "sleep", "signal"}
"""Kinds of steps that take time by themselves."""

HELPERS = {synthetic.PREPARE, synthetic.CLEAR}
"""Tasks that only serve a run of an instance."""

MOST = 64
"""With more last steps than this, a composite is a task of its own, so that edges stay few."""

Ids = frozenset[str]
NONE: Ids = frozenset()

Inner = Generator[tuple[list["StepView"], Ids], Ids | None, Ids]
"""Asks for the last steps of a block in this one, with what its first steps wait for."""


def to_wfformat(view: RunView) -> Instance:
    """Return a run as a WfFormat 1.5 instance.

    The tasks are the steps that have begun, each with its last attempt. Composites (loops, for-each,
    choices) are left out, with their order in the parents of tasks; one with more than 64 last steps
    is a task that takes no time. Nothing is known of files.

    Parameters
    ----------
    view
        Of a run that has ended: `handle.view()`.

    Raises
    ------
    InvalidInput
        If the run has not ended, or none of its steps has begun.

    Examples
    --------
    >>> import ferroflow as ff
    >>> from ferroflow import interchange
    >>> @ff.task
    ... def double(n: int) -> int:
    ...     return 2 * n
    >>> @ff.workflow
    ... def twice(n: int) -> int:
    ...     return double(double(n))
    >>> with ff.Engine() as engine:
    ...     handle = engine.start(twice, 1)
    ...     _ = handle.result()
    ...     instance = interchange.to_wfformat(handle.view())
    >>> [(task.name, task.id, task.parents) for task in instance.tasks]
    [('double', 'double', []), ('double', 'double_2', ['double'])]
    """
    if view.state not in records.TERMINAL or view.started is None:
        raise InvalidInput(f"run {view.id} is {view.state}: only one that has run to its end can be written")
    order = _Order(view)
    if not order.tasks:
        raise InvalidInput(f"run {view.id} has begun no step: a WfFormat instance has at least one task")
    names = _ids(order.tasks)
    children: dict[str, list[str]] = defaultdict(list)
    for path, parents in order.parents.items():
        for parent in parents:
            children[parent].append(path)
    places = {path: at for at, path in enumerate(order.tasks)}
    tasks = [
        TaskSpecification(
            name=step.task or step.kind,
            id=names[path],
            parents=[names[it] for it in sorted(order.parents[path], key=places.__getitem__)],
            children=[names[it] for it in sorted(children[path], key=places.__getitem__)],
        )
        for path, step in order.tasks.items()
    ]
    hosts = {step.ran_on for step in order.tasks.values() if step.ran_on}
    execution = Execution(
        makespan_in_seconds=view.seconds or 0.0,
        executed_at=_instant(view.started),
        tasks=[_execution(names[path], step) for path, step in order.tasks.items()],
        machines=[_machine(host) for host in sorted(hosts)],
    )
    return Instance(
        name=view.workflow,
        description=f"Run {view.id} of {view.workflow} {view.version}, which ended {view.state}",
        created_at=_instant(view.ended or view.started),
        schema_version=VERSION,
        runtime_system=RuntimeSystem(name="ferroflow", version=__version__),
        workflow=Recorded(specification=Specification(tasks=tasks), execution=execution),
    )


class _Order:
    """Which tasks each task of a run waited for, found composite by composite."""

    def __init__(self, view: RunView) -> None:
        self.tasks: dict[str, StepView] = {}
        self.parents: dict[str, Ids] = {}
        self._view = view
        # The blocks of each composite in the order in which they began: iterations, items, branches.
        self._inner: dict[str, dict[tuple[str, int], list[StepView]]] = defaultdict(dict)
        by_path = {step.path: step for step in view.steps}
        for step in view.steps:
            prefix = step.path.rpartition("/")[0]
            composite = self._composite(prefix, step.block, by_path)
            self._inner[composite].setdefault((prefix, step.block), []).append(step)
        for steps in self._inner.pop("", {}).values():
            self._go_through(steps)
        # In the order in which they came to be.
        self.tasks = {step.path: step for step in view.steps if step.path in self.tasks}

    def _composite(self, prefix: str, block: int, by_path: Mapping[str, StepView]) -> str:
        """Return the path of the composite that a block belongs to."""
        base = re.sub(r"\[\d+\]$", "", prefix)
        known = [it for it in (base, base.removesuffix("/catch")) if it in by_path]
        for path in known:
            if self._view.blocks[block][0] == (by_path[path].block, by_path[path].node):
                return path
        # A workflow in itself has the block of the outermost.
        return known[0] if known else ""

    def _go_through(self, steps: list[StepView]) -> None:
        """Go through a block and those in it, however deeply they nest."""
        stack, ends = [self._block(steps, NONE)], None
        while stack:
            try:
                stack.append(self._block(*stack[-1].send(ends)))
                ends = None
            except StopIteration as done:
                stack.pop()
                ends = done.value

    def _block(self, steps: list[StepView], entry: Ids) -> Inner:
        """Go through the steps of a block; return the last ones."""
        by_node = {step.node: step for step in steps}
        before: dict[int, list[int]] = defaultdict(list)
        follows: dict[int, list[int]] = defaultdict(list)
        for source, target in self._view.blocks[steps[0].block][2]:
            if source in by_node and target in by_node:
                before[target].append(source)
                follows[source].append(target)
        waits = {node: len(before[node]) for node in by_node}
        free = [node for node in by_node if not waits[node]]
        ends: dict[int, Ids] = {}
        for node in free:
            parents = NONE.union(*(ends[it] for it in before[node])) if before[node] else entry
            ends[node] = yield from self._step(by_node[node], parents)
            for target in follows[node]:
                waits[target] -= 1
                if not waits[target]:
                    free.append(target)
        return NONE.union(*(ends[node] for node in by_node if not follows[node]))

    def _step(self, step: StepView, parents: Ids) -> Inner:
        """Take a step as a task, or go through what is in it; return what those after it wait for."""
        inner = self._inner.get(step.path)
        if inner is None:
            if step.kind not in LEAVES or step.task in HELPERS or step.started is None:
                return parents
            return self._task(step, parents)
        found, entry = NONE, parents
        for steps in inner.values():
            ends = yield steps, entry
            assert ends is not None
            if step.kind in ("loop", "try"):
                # An iteration follows the one before, a handler what has failed.
                found = entry = ends
            else:
                found |= ends
        return self._task(step, found) if len(found) > MOST else found

    def _task(self, step: StepView, parents: Ids) -> Ids:
        self.tasks[step.path] = step
        self.parents[step.path] = parents
        return frozenset([step.path])


def _execution(name: str, step: StepView) -> TaskExecution:
    used = step.used
    if step.kind not in LEAVES:
        return TaskExecution(id=name, runtime_in_seconds=0.0)
    wall = step.seconds if used is None else used.wall / 1e6
    machines = [step.ran_on] if step.ran_on else []
    if used is None:
        return TaskExecution(id=name, runtime_in_seconds=wall or 0.0, machines=machines)
    return TaskExecution(
        id=name,
        runtime_in_seconds=wall or 0.0,
        executed_at=None if step.started is None else _instant(step.started),
        avg_cpu=None if used.cpu is None or not used.wall else 100 * used.cpu / used.wall,
        memory_in_bytes=used.memory,
        read_bytes=used.read,
        written_bytes=used.written,
        machines=machines,
    )


def _ids(tasks: Mapping[str, StepView]) -> dict[str, str]:
    """Return ids of letters, digits, dots, dashes and underscores: those that the format has."""
    taken: set[str] = set()
    numbers: dict[str, int] = {}
    found: dict[str, str] = {}
    for path in tasks:
        base = name = re.sub(r"[^0-9A-Za-z_.-]", "_", path.replace("/", ".").replace("]", "")) or "_"
        while name in taken:
            numbers[base] = numbers.get(base, 1) + 1
            name = f"{base}_{numbers[base]}"
        taken.add(name)
        found[path] = name
    return found


def _instant(micros: int) -> str:
    when: datetime = records.moment(micros)
    return when.isoformat()


def _machine(host: str) -> Machine:
    """Return what is known of a machine: of this one, all that the system tells."""
    if host != os.uname().nodename:
        return Machine(node_name=host)
    memory = None
    with suppress(ValueError, OSError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    known = _first(_cpuinfo(), ("vendor_id", "cpu MHz"))
    return Machine(
        node_name=host,
        system={"Linux": "linux", "Darwin": "macos"}.get(platform.system()),
        architecture=platform.machine() or None,
        release=platform.release() or None,
        memory_in_bytes=memory,
        cpu=Cpu(
            core_count=os.cpu_count(),
            speed_in_mhz=round(float(known["cpu MHz"])) or None if "cpu MHz" in known else None,
            vendor=known.get("vendor_id"),
        ),
    )


def _cpuinfo() -> Iterable[str]:
    with suppress(OSError):
        return Path("/proc/cpuinfo").read_text().splitlines()
    return ()


def _first(lines: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, _, text = (part.strip() for part in line.partition(":"))
        if name in names and text:
            found.setdefault(name, text)
    return found
