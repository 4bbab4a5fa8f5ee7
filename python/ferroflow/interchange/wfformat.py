"""WfFormat 1.5, the field's format of recorded executions of workflows: read, checked, written.

The format is that of WfCommons (https://github.com/wfcommons/WfFormat; Coleman et al., "WfCommons: A
framework for enabling scientific workflow research and development", 2022).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ferroflow.errors import InvalidInstance, Problem
from ferroflow.interchange.columns import Columns
from ferroflow.interchange.index import Index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ferroflow.define import Workflow
    from ferroflow.define.workflow import OnConflict
    from ferroflow.engine.policies import BuiltinPolicy, PolicyName
    from ferroflow.plan import Faults, Node, Platform, Simulation

VERSION = "1.5"

Number = int | float

MOST = 100
"""Problems that one error lists."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A part of an instance; what it does not have is None, and is not written."""


class RuntimeSystem(Record, frozen=True):
    """What ran the workflow."""

    name: str
    version: str | None = None
    url: str | None = None


class Author(Record, frozen=True):
    """Who recorded it."""

    name: str
    email: str | None = None
    institution: str | None = None
    country: str | None = None


class TaskSpecification(Record, frozen=True, omit_defaults=False):
    """A task and what it depends on.

    Parameters
    ----------
    name, id
        What it is called, and what others call it.
    parents, children
        Ids of tasks; an edge counts if one of its ends names it.
    input_files, output_files
        Ids of files. Who reads a file that one other task writes waits for that task.
    """

    name: str
    id: str
    parents: list[str] = []
    children: list[str] = []
    input_files: list[str] = []
    output_files: list[str] = []


class File(Record, frozen=True):
    """A file that tasks read or write."""

    id: str
    size_in_bytes: int


class Specification(Record, frozen=True):
    """What is to be done."""

    tasks: list[TaskSpecification]
    files: list[File] = []


class Command(Record, frozen=True):
    """What a task called."""

    program: str | None = None
    arguments: list[str] = []


class TaskExecution(Record, frozen=True):
    """What a task took.

    Parameters
    ----------
    id
        Of the task.
    runtime_in_seconds
        From its start to its end.
    avg_cpu
        Per cent of one processor: 200 means two of them.
    memory_in_bytes
        At the peak.
    machine, machines
        Names of the machines on which it ran.
    """

    id: str
    runtime_in_seconds: float
    executed_at: str | None = None
    command: Command | None = None
    core_count: Number | None = None
    avg_cpu: float | None = msgspec.field(default=None, name="avgCPU")
    read_bytes: Number | None = None
    written_bytes: Number | None = None
    memory_in_bytes: Number | None = None
    energy_in_kwh: float | None = msgspec.field(default=None, name="energyInKWh")
    avg_power_in_w: float | None = msgspec.field(default=None, name="avgPowerInW")
    priority: Number | None = None
    machine: str | None = None
    machines: list[str] = []


class Cpu(Record, frozen=True):
    """The processors of a machine."""

    core_count: int | None = None
    speed_in_mhz: int | None = msgspec.field(default=None, name="speedInMHz")
    vendor: str | None = None


class Machine(Record, frozen=True):
    """A machine on which tasks ran."""

    node_name: str
    system: str | None = None
    architecture: str | None = None
    release: str | None = None
    memory_in_bytes: int | None = None
    cpu: Cpu | None = None


class Execution(Record, frozen=True):
    """What happened when it was done."""

    makespan_in_seconds: float
    executed_at: str
    tasks: list[TaskExecution]
    machines: list[Machine] = []


class Recorded(Record, frozen=True):
    """What is to be done, and what happened when it was; the latter may be missing."""

    specification: Specification
    execution: Execution | None = None
    repo: str | None = None
    run_name: str | None = None


class Instance(Record, frozen=True, dict=True):
    """A workflow in WfFormat, with what one execution of it took.

    It has the parts and the names of the format; `read` has checked it. What the planners and the
    simulator need is in `columns`.

    Examples
    --------
    >>> from ferroflow import interchange
    >>> instance = interchange.read({
    ...     "name": "two", "schemaVersion": "1.5",
    ...     "workflow": {
    ...         "specification": {
    ...             "tasks": [
    ...                 {"name": "split", "id": "a", "parents": [], "children": ["b"], "outputFiles": ["x"]},
    ...                 {"name": "count", "id": "b", "parents": ["a"], "children": [], "inputFiles": ["x"]},
    ...             ],
    ...             "files": [{"id": "x", "sizeInBytes": 10}],
    ...         },
    ...         "execution": {
    ...             "makespanInSeconds": 3, "executedAt": "2026-01-01T00:00:00Z",
    ...             "tasks": [{"id": "a", "runtimeInSeconds": 1}, {"id": "b", "runtimeInSeconds": 2}],
    ...         },
    ...     },
    ... })
    >>> instance, instance.makespan, [*instance.columns.runtimes], [*instance.columns.bytes]
    (<instance two, 2 tasks>, 3.0, [1.0, 2.0], [10])
    """

    name: str
    schema_version: str
    workflow: Recorded
    description: str | None = None
    created_at: str | None = None
    runtime_system: RuntimeSystem | None = None
    author: Author | None = None

    def __repr__(self) -> str:
        count = len(self.tasks)
        return f"<instance {self.name}, {'1 task' if count == 1 else f'{count} tasks'}>"

    @property
    def tasks(self) -> list[TaskSpecification]:
        """The tasks, in the order of the file."""
        return self.workflow.specification.tasks

    @property
    def files(self) -> list[File]:
        """The files, in the order of the file."""
        return self.workflow.specification.files

    @cached_property
    def executions(self) -> dict[str, TaskExecution]:
        """What was recorded of tasks, by their ids."""
        execution = self.workflow.execution
        return {} if execution is None else {task.id: task for task in execution.tasks}

    @property
    def machines(self) -> list[Machine]:
        """The machines on which it ran."""
        return [] if self.workflow.execution is None else self.workflow.execution.machines

    @property
    def makespan(self) -> float | None:
        """Seconds that the recorded execution took; None if there was none."""
        execution = self.workflow.execution
        return None if execution is None else execution.makespan_in_seconds

    @cached_property
    def index(self) -> Index:
        """Tasks and files by number, and the edges; raises `InvalidInstance` with all problems."""
        index = Index(self)
        if index.problems:
            raise _invalid(self.name, index.problems)
        return index

    @cached_property
    def columns(self) -> Columns:
        """Tasks and edges as plain arrays, with the tasks in the order of the file."""
        return Columns.of(self)

    def to_json(self) -> bytes:
        """Return the instance as a WfFormat file holds it."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)

    def to_workflow(
        self,
        *,
        scale: float = 1.0,
        max_disk: int | str | None = "1GiB",
        processors: int | None = None,
        accesses: bool = True,
        on_conflict: OnConflict = "error",
    ) -> Workflow[..., Any]:
        """Return a workflow that does synthetic work as it was recorded.

        Each task becomes a step in a process of the engine's pool. It reads its input files, touches
        its memory, writes its output files, and computes or sleeps for the rest of its time, so
        that the share of processors is as recorded. Before the first a step measures how fast a
        processor is and writes the files that no task does; the last removes all files.

        Parameters
        ----------
        scale
            By what seconds and bytes are multiplied.
        max_disk
            The most that files may take in all, in bytes or as a text; None for any amount.
        processors
            At most so many does one task keep busy. Default: those of this machine.
        accesses
            Whether each step says which files it reads and writes, so that races are found.
        on_conflict
            What happens if they race as recorded; as for `ferroflow.workflow`.

        Raises
        ------
        InvalidInput
            If the scale is not a number from 0 on, or the files take more than `max_disk`.

        Examples
        --------
        >>> import ferroflow as ff
        >>> from ferroflow import interchange
        >>> one = {"name": "hello", "id": "hello", "parents": [], "children": []}
        >>> instance = interchange.read({
        ...     "name": "hello", "schemaVersion": "1.5", "workflow": {"specification": {"tasks": [one]}}
        ... })
        >>> with ff.Engine() as engine:
        ...     engine.run(instance.to_workflow())
        {'files': 0, 'bytes': 0}
        """
        from ferroflow.interchange.replay import to_workflow

        return to_workflow(
            self,
            scale=scale,
            max_disk=max_disk,
            processors=processors,
            accesses=accesses,
            on_conflict=on_conflict,
        )

    def platform(self, *, bandwidth: float | str = float("inf"), latency: float | str = 0.0) -> Platform:
        """Return the machines on which it ran, as planners and simulations take them.

        A node's speed is its clock over that of the slowest.

        Parameters
        ----------
        bandwidth, latency
            Of all links, of which WfFormat says nothing; as `ferroflow.plan.Platform` takes them.

        Raises
        ------
        PlanError
            If there are no machines.

        Examples
        --------
        >>> from ferroflow import interchange
        >>> clocks = {"n1": 3000, "n2": 2000}
        >>> machines = [{"nodeName": it, "cpu": {"speedInMHz": clock}} for it, clock in clocks.items()]
        >>> execution = {"makespanInSeconds": 0, "executedAt": "", "tasks": [], "machines": machines}
        >>> one = {"name": "hello", "id": "hello", "parents": [], "children": []}
        >>> instance = interchange.read({
        ...     "name": "hello", "schemaVersion": "1.5",
        ...     "workflow": {"specification": {"tasks": [one]}, "execution": execution},
        ... })
        >>> [(node.name, node.speed) for node in instance.platform().nodes]
        [('n1', 1.5), ('n2', 1.0)]
        """
        from ferroflow.interchange.elsewhere import platform

        return platform(self, bandwidth=bandwidth, latency=latency)

    def simulate(
        self,
        platform: Platform | Iterable[Node | str] | None = None,
        policy: PolicyName | BuiltinPolicy = "upward_rank",
        *,
        seeds: int | Iterable[int] = 1,
        deviation: float = 0.0,
        faults: Faults | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Simulation:
        """Simulate runs of it: tasks take what was recorded, and what they write has to get to their readers.

        Parameters
        ----------
        platform
            Where; its own machines if None.
        policy, seeds, faults, progress
            As `ferroflow.plan.simulate` takes them.
        deviation
            How much a task's seconds vary, as a share of those recorded; by a log-normal law.

        Raises
        ------
        PlanError
            If something makes no sense, or a task fits nowhere.

        Examples
        --------
        >>> from ferroflow import interchange
        >>> from ferroflow.plan import Node
        >>> tasks = [{"name": it, "id": it, "parents": [], "children": []} for it in "abc"]
        >>> ran = [{"id": it, "runtimeInSeconds": 5} for it in "abc"]
        >>> instance = interchange.read({
        ...     "name": "three", "schemaVersion": "1.5",
        ...     "workflow": {
        ...         "specification": {"tasks": tasks},
        ...         "execution": {"makespanInSeconds": 15, "executedAt": "", "tasks": ran},
        ...     },
        ... })
        >>> instance.simulate([Node("one", cores=2)]).makespans
        [10.0]
        """
        from ferroflow.interchange.elsewhere import simulated

        return simulated(
            self, platform, policy, seeds=seeds, deviation=deviation, faults=faults, progress=progress
        )


class _Head(msgspec.Struct, rename="camel"):
    """What tells the version, whatever else there is."""

    schema_version: Any = None


def read(source: str | os.PathLike[str] | bytes | Mapping[str, Any]) -> Instance:
    """Read a WfFormat 1.5 instance from a file, or from its bytes or object, and check it.

    Parameters
    ----------
    source
        A path; the text of a file as bytes; or the object that it holds.

    Raises
    ------
    InvalidInstance
        If it is none, with every problem and its place: tasks in a cycle, parents, children or files
        that do not exist, times and sizes that are negative or no numbers, ids that occur twice,
        another version.

    Examples
    --------
    >>> from ferroflow import interchange
    >>> interchange.read(b'{"name": "old", "schemaVersion": "1.3", "workflow": {}}')
    Traceback (most recent call last):
    ferroflow.errors.InvalidInstance: 'old' is not a WfFormat instance that can be read:
      [wrong-version] at $.schemaVersion: its version is '1.3' (convert it to 1.5, ...)
    """
    name, found = "the source", source
    if not isinstance(source, (bytes, Mapping)):
        name, found = os.fspath(source), Path(source).read_bytes()
    return _decoded(name, found)


def _decoded(name: str, source: Any) -> Instance:
    try:
        head = _of(source, _Head)
        if isinstance(source, Mapping):
            name = str(source.get("name", name))
        elif (told := _of(source, dict).get("name")) and name == "the source":
            name = str(told)
        if head.schema_version != VERSION:
            raise _invalid(name, [_version(head.schema_version)])
        instance: Instance = _of(source, Instance)
        if isinstance(source, Mapping):
            # A text of Python may be one that no file can hold.
            _ = msgspec.json.encode(instance)
    except msgspec.ValidationError as error:
        raise _invalid(name, [_shape(error)]) from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise _invalid(name, [_text(source, error)]) from None
    _ = instance.index
    return instance


def _of(source: Any, kind: type[Any]) -> Any:
    if isinstance(source, Mapping):
        return msgspec.convert(source, kind)
    return msgspec.json.decode(source, type=kind)


def _invalid(name: str, problems: Sequence[Problem]) -> InvalidInstance:
    message = f"{name!r} is not a WfFormat instance that can be read:"
    if len(problems) > MOST:
        message = f"{message[:-1]}; the first {MOST} of {len(problems)} problems:"
    return InvalidInstance(message, problems[:MOST])


def _version(found: object) -> Problem:
    what = "no version is given" if found is None else f"its version is {found!r}"
    return Problem(
        "wrong-version",
        "$.schemaVersion",
        what,
        f"convert it to {VERSION}, the version that is read: WfCommons has a tool for that",
    )


def _shape(error: msgspec.ValidationError) -> Problem:
    text, _, place = str(error).rpartition(" - at ")
    if not text:
        text, place = str(error), "`$`"
    return Problem("wrong-shape", place.strip("`"), text, "write what WfFormat has there")


def _text(source: object, error: Exception) -> Problem:
    """Say where a text stops being JSON; its most usual fault is a number that is none."""
    found = re.search(r"byte (\d+)", str(error))
    if isinstance(source, bytes) and found:
        at = int(found[1])
        line, column = source.count(b"\n", 0, at) + 1, at - source.rfind(b"\n", 0, at)
        place = f"line {line}, column {column}"
        if word := re.compile(rb"NaN|Infinity").match(source, at):
            return Problem(
                "not-a-number",
                place,
                f"{word[0].decode()} is no number",
                "write a number, or leave the field out",
            )
        return Problem("not-json", place, str(error), "write JSON")
    return Problem("not-json", "$", str(error) or type(error).__name__, "write JSON")


def write(instance: Instance, path: str | os.PathLike[str]) -> None:
    """Write an instance to a file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from ferroflow import interchange
    >>> one = {"name": "hello", "id": "hello", "parents": [], "children": []}
    >>> instance = interchange.read({
    ...     "name": "hello", "schemaVersion": "1.5", "workflow": {"specification": {"tasks": [one]}}
    ... })
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "hello.json")
    ...     interchange.write(instance, path)
    ...     interchange.read(path) == instance
    True
    """
    Path(path).write_bytes(instance.to_json() + b"\n")


def is_wfformat(text: bytes) -> bool:
    """Whether a text is meant to be a WfFormat instance, be it a right one or not.

    Examples
    --------
    >>> from ferroflow import interchange
    >>> interchange.is_wfformat(b'{"schemaVersion": "1.4"}'), interchange.is_wfformat(b'{"name": "nap"}')
    (True, False)
    """
    try:
        keys = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        # Numbers that are none are found where the whole is read.
        return b'"schemaVersion"' in text
    return "schemaVersion" in keys or ("workflow" in keys and "term" not in keys)
