"""The graph of a WfFormat instance: tasks and files by number, edges, and everything that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import TYPE_CHECKING

from ferroflow.define.graph import Graph
from ferroflow.errors import Problem

if TYPE_CHECKING:
    from ferroflow.interchange.wfformat import Instance, TaskExecution

MOST_BYTES = 1 << 62
"""No size is as large."""

MOST_SECONDS = 1e12
"""No time is as long."""

MOST_CORES = 1 << 31
"""No machine has as many processors, or as many MHz."""

SHOWN = 12
"""Tasks of a cycle that are named."""

TASKS, FILES = "$.workflow.specification.tasks", "$.workflow.specification.files"
EXECUTION = "$.workflow.execution"


class Index:
    """Tasks and files by number, and the edges between tasks.

    An edge comes from `parents`, from `children`, or from a file that one task writes and another
    reads. A file with several writers makes none, as nothing says whose text is read.

    Attributes
    ----------
    problems : list of Problem
        What is wrong; where there is any, the rest is not complete.
    tasks, files : dict of str to int
        Numbers by id.
    edges : list of (int, int)
        Sorted: source, target.
    carried : dict of (int, int) to int
        Bytes in the files that go over an edge.
    reads, writes : list of list of int
        The files of each task, each once.
    writers, readers : list of list of int
        The tasks of each file.
    """

    def __init__(self, instance: Instance) -> None:
        self.problems: list[Problem] = []
        self._name(instance)
        self.tasks = self._numbered("task", TASKS, "id", (task.id for task in instance.tasks))
        self.files = self._numbered("file", FILES, "id", (file.id for file in instance.files))
        self.sizes = [file.size_in_bytes for file in instance.files]
        for at, size in enumerate(self.sizes):
            self._amount(size, f"{FILES}[{at}].sizeInBytes", MOST_BYTES)
        if not self.problems:
            self._amount(sum(self.sizes), FILES, MOST_BYTES)
        self._links(instance)
        self._executions(instance)
        if not self.problems and (cycle := _cycle(len(instance.tasks), self.edges)):
            self._cyclic([instance.tasks[at].id for at in cycle])

    def _problem(self, code: str, place: str, message: str, advice: str) -> None:
        self.problems.append(Problem(code, place, message, advice))

    def _name(self, instance: Instance) -> None:
        if not instance.name:
            self._problem("no-name", "$.name", "it has no name", "give it one")
        if not instance.tasks:
            self._problem("no-tasks", TASKS, "it has no tasks", "give it at least one")

    def _numbered(self, what: str, place: str, field: str, ids: Iterable[str]) -> dict[str, int]:
        numbers: dict[str, int] = {}
        for at, name in enumerate(ids):
            if not name:
                self._problem("no-id", f"{place}[{at}].{field}", f"this {what} has no id", "give it one")
            elif numbers.setdefault(name, at) != at:
                self._problem(
                    f"duplicate-{what}",
                    f"{place}[{at}].{field}",
                    f"there is another {what} {name!r}, at {place}[{numbers[name]}]",
                    "give each an id of its own",
                )
        return numbers

    def _number(self, what: str, numbers: dict[str, int], name: str, place: str) -> int | None:
        found = numbers.get(name)
        if found is None:
            self._problem(
                f"unknown-{what}",
                place,
                f"there is no {what} {name!r}",
                f"name one that there is, or list it among the {what}s",
            )
        return found

    def _amount(self, amount: float | None, place: str, most: float, least: float = 0) -> None:
        if amount is None or (isfinite(amount) and least <= amount < most):
            return
        if not isfinite(amount):
            code, message = "not-a-number", f"{amount} is no number"
        elif amount < 0 <= least:
            code, message = "negative", f"{amount} is negative"
        else:
            code, message = "out-of-range", f"{amount} is not from {least} to {most:g}"
        self._problem(code, place, message, "write what was measured, or leave the field out")

    def _links(self, instance: Instance) -> None:
        found: set[tuple[int, int]] = set()
        self.reads: list[list[int]] = []
        self.writes: list[list[int]] = []
        self.writers: list[list[int]] = [[] for _ in instance.files]
        self.readers: list[list[int]] = [[] for _ in instance.files]
        for at, task in enumerate(instance.tasks):
            for number, name in enumerate(task.parents):
                other = self._number("task", self.tasks, name, f"{TASKS}[{at}].parents[{number}]")
                if other is not None:
                    found.add((other, at))
            for number, name in enumerate(task.children):
                other = self._number("task", self.tasks, name, f"{TASKS}[{at}].children[{number}]")
                if other is not None:
                    found.add((at, other))
            for field, ids, of_task, of_file in (
                ("inputFiles", task.input_files, self.reads, self.readers),
                ("outputFiles", task.output_files, self.writes, self.writers),
            ):
                numbers = [
                    self._number("file", self.files, name, f"{TASKS}[{at}].{field}[{number}]")
                    for number, name in enumerate(ids)
                ]
                once = [number for number in dict.fromkeys(numbers) if number is not None]
                of_task.append(once)
                for file in once:
                    of_file[file].append(at)
        self.carried: dict[tuple[int, int], int] = {}
        before: list[list[int]] = [[] for _ in instance.tasks]
        for source, target in found:
            before[target].append(source)
        for size, writers, readers in zip(self.sizes, self.writers, self.readers, strict=True):
            among = {*writers}
            for reader in readers:
                for writer in writers if len(writers) == 1 else before[reader]:
                    if writer in among and writer != reader:
                        edge = writer, reader
                        self.carried[edge] = self.carried.get(edge, 0) + size
        self.edges = sorted(found | self.carried.keys())

    def _executions(self, instance: Instance) -> None:
        execution = instance.workflow.execution
        if execution is None:
            return
        self._amount(execution.makespan_in_seconds, f"{EXECUTION}.makespanInSeconds", MOST_SECONDS)
        names = (machine.node_name for machine in execution.machines)
        hosts = self._numbered("machine", f"{EXECUTION}.machines", "nodeName", names)
        for at, machine in enumerate(execution.machines):
            place = f"{EXECUTION}.machines[{at}]"
            self._amount(machine.memory_in_bytes, f"{place}.memoryInBytes", MOST_BYTES, 1)
            if machine.cpu is not None:
                self._amount(machine.cpu.core_count, f"{place}.cpu.coreCount", MOST_CORES, 1)
                self._amount(machine.cpu.speed_in_mhz, f"{place}.cpu.speedInMHz", MOST_CORES, 1)
        places = f"{EXECUTION}.tasks"
        self._numbered("execution", places, "id", (task.id for task in execution.tasks))
        for at, task in enumerate(execution.tasks):
            self._execution(task, f"{places}[{at}]", hosts)

    def _execution(self, task: TaskExecution, place: str, hosts: dict[str, int]) -> None:
        if task.id:
            self._number("task", self.tasks, task.id, f"{place}.id")
        for field, amount, most in (
            ("runtimeInSeconds", task.runtime_in_seconds, MOST_SECONDS),
            ("avgCPU", task.avg_cpu, 1e9),
            ("memoryInBytes", task.memory_in_bytes, MOST_BYTES),
            ("readBytes", task.read_bytes, MOST_BYTES),
            ("writtenBytes", task.written_bytes, MOST_BYTES),
            ("energyInKWh", task.energy_in_kwh, 1e18),
            ("avgPowerInW", task.avg_power_in_w, 1e18),
        ):
            self._amount(amount, f"{place}.{field}", most)
        self._amount(task.core_count, f"{place}.coreCount", MOST_CORES, 1)
        self._amount(task.priority, f"{place}.priority", MOST_BYTES, -MOST_BYTES)
        if hosts:
            for number, name in enumerate(task.machines):
                self._number("machine", hosts, name, f"{place}.machines[{number}]")

    def _cyclic(self, names: Sequence[str]) -> None:
        shown = [*names]
        if len(names) > SHOWN:
            half = SHOWN // 2
            shown[half:-half] = [f"({len(names) - SHOWN} more)"]
        path = " → ".join([*shown, names[0]])
        at = self.tasks[names[0]]
        self._problem(
            "cyclic-dependency",
            f"{TASKS}[{at}]",
            f"tasks wait for each other: {path}",
            "take one of these edges out: from parents, from children, or from the files",
        )


def _cycle(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Return the tasks of a cycle in its direction; nothing if there is none."""
    for source, target in edges:
        if source == target:
            return [source]
    return Graph(count, [source for source, _ in edges], [target for _, target in edges]).cycle() or []
