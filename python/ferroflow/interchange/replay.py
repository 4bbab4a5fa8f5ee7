"""An instance as a workflow of synthetic work, and how a run of it compares with the recorded one."""

from __future__ import annotations

import os
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any

import msgspec

from ferroflow.define import Workflow
from ferroflow.define.paths import quoted
from ferroflow.define.units import size as parsed
from ferroflow.errors import InvalidInput
from ferroflow.interchange import columns
from ferroflow.interchange.accesses import Accesses
from ferroflow.interchange.synthetic import CLEAR, PREPARE, WORK, Load

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ferroflow.define.workflow import OnConflict
    from ferroflow.engine import RunView
    from ferroflow.interchange.index import Index
    from ferroflow.interchange.wfformat import Instance

PLACE = "wfformat"
"""The variable of the run that says where the files are."""

MOST_SCALE = 1e6

LONGEST = 180
"""Bytes of an id that a step takes over."""


def to_workflow(
    instance: Instance,
    *,
    scale: float = 1.0,
    max_disk: int | str | None = "1GiB",
    processors: int | None = None,
    accesses: bool = True,
    on_conflict: OnConflict = "error",
) -> Workflow[..., Any]:
    """Return a workflow that does synthetic work as it was recorded; see `Instance.to_workflow`."""
    if not 0 <= scale <= MOST_SCALE:
        raise InvalidInput(f"scale={scale}: give a number from 0 to {MOST_SCALE:g}")
    index = instance.index
    sizes = [round(size * scale) for size in index.sizes]
    used = [number for number, size in enumerate(sizes) if index.readers[number] or index.writers[number]]
    needed = sum(sizes[number] for number in used)
    if max_disk is not None and needed > (most := parsed(max_disk)):
        fits = _fits(index, used, most)
        raise InvalidInput(
            f"the files of {instance.name!r} take {_bytes(needed)} at scale {scale:g}, and may take "
            f"{_bytes(most)}: allow more (max_disk, --max-disk), or scale down to {fits:g}"
        )
    cores = processors or os.cpu_count() or 1
    names = ids(task.id for task in instance.tasks)
    first, last = ids(["prepare", "clear"], names)
    after: list[list[str]] = [[] for _ in names]
    leaves = [True] * len(names)
    for source, target in index.edges:
        after[target].append(names[source])
        leaves[source] = False
    staged = [(number, sizes[number]) for number in used if _staged(index, number)]
    steps: list[dict[str, Any]] = [
        {"task": PREPARE, "id": first, "with": {"files": staged, "needed": needed}, "set": {PLACE: "result"}}
    ]
    files = Accesses(instance.files, index) if accesses else None
    place = {"$": f"vars.{PLACE}"}
    for number, name in enumerate(names):
        load, cpu = _load(instance, number, sizes, scale, cores)
        resources = {"cpu": cpu, "memory": load.memory}
        steps.append(
            {
                "task": WORK,
                "id": name,
                "with": {"load": msgspec.to_builtins(load), "place": place},
                "after": after[number] or [first],
                "options": {"resources": {kind: amount for kind, amount in resources.items() if amount}},
                **(files.of(number) if files else {}),
            }
        )
    ends = [name for name, leaf in zip(names, leaves, strict=True) if leaf]
    steps.append({"task": CLEAR, "id": last, "with": {"place": place}, "after": ends})
    definition: dict[str, Any] = {
        "name": ids([instance.name])[0],
        "term": {"partial": steps},
        "result": {"$": f"steps[{quoted(last)}]"},
    }
    if files and files.roots:
        steps[0]["writes"] = steps[-1]["takes"] = files.roots
        definition["locals"] = files.locals()
    return Workflow.from_definition(definition, on_conflict=on_conflict)


def _load(instance: Instance, number: int, sizes: list[int], scale: float, cores: int) -> tuple[Load, float]:
    """Return what a task does, and how many processors it holds."""
    index = instance.index
    took = instance.executions.get(instance.tasks[number].id)
    seconds = scale * (took.runtime_in_seconds if took else 0.0)
    share = columns.cpu(took) / 100
    threads = max(1, min(cores, columns.cores(took), ceil(share - columns.NOISE / 100)))
    share = min(share, threads)
    load = Load(
        seconds=seconds,
        busy=seconds * share,
        threads=threads,
        memory=round(scale * ((took.memory_in_bytes or 0) if took else 0)),
        reads=index.reads[number],
        writes=[(file, sizes[file]) for file in index.writes[number]],
    )
    return load, round(share, 3)


def _staged(index: Index, number: int) -> bool:
    """Whether a file has to be there from the beginning: no other task writes it before it is read."""
    writers, readers = index.writers[number], index.readers[number]
    return bool(readers) and (len(writers) != 1 or writers[0] in readers)


def ids(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return ids that steps may have, each once and none that is taken."""
    known = {*taken}
    numbers: dict[str, int] = {}
    found = []
    for name in names:
        base = "".join("_" if it in "/[]" or not it.isprintable() else it for it in name).lstrip("$")
        base = unique = base.encode()[:LONGEST].decode(errors="ignore") or "_"
        while unique in known:
            numbers[base] = numbers.get(base, 1) + 1
            unique = f"{base}_{numbers[base]}"
        known.add(unique)
        found.append(unique)
    return found


def _bytes(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"


def _fits(index: Index, used: list[int], most: int) -> float:
    """Return a scale, of two digits, at which the files fit."""
    fits = 0.99 * most / sum(index.sizes[number] for number in used)
    digit = 10.0 ** (floor(log10(fits)) - 1) if fits else 1.0
    return floor(fits / digit) * digit


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A run of an instance beside the recorded execution; times in seconds.

    Parameters
    ----------
    makespan
        From the start of its first task to the end of its last; None if none has ended.
    recorded, scaled
        The recorded one, which may count waiting and transfers, and that times the scale; None if
        nothing was recorded.
    work
        What its tasks take one after the other, at the scale.
    tasks, scale
        How many tasks there are, and by what seconds and bytes were multiplied.
    """

    makespan: float | None
    recorded: float | None
    scaled: float | None
    work: float
    tasks: int
    scale: float


def compared(view: RunView, instance: Instance, scale: float = 1.0) -> Comparison:
    """Compare a run of an instance with the recorded execution.

    Parameters
    ----------
    view
        Of a run of `instance.to_workflow(scale=scale)`.
    instance, scale
        What was run.

    Examples
    --------
    >>> import ferroflow as ff
    >>> from ferroflow import interchange
    >>> one = {"name": "hello", "id": "hello", "parents": [], "children": []}
    >>> ran = {"makespanInSeconds": 4, "executedAt": "", "tasks": [{"id": "hello", "runtimeInSeconds": 3}]}
    >>> instance = interchange.read({
    ...     "name": "hello", "schemaVersion": "1.5",
    ...     "workflow": {"specification": {"tasks": [one]}, "execution": ran},
    ... })
    >>> with ff.Engine() as engine:
    ...     handle = engine.start(instance.to_workflow(scale=0.01))
    ...     _ = handle.result()
    ...     found = interchange.compared(handle.view(), instance, 0.01)
    >>> found.scaled, found.makespan >= 0.02
    (0.04, True)
    """
    steps = [step for step in view.steps if step.task == WORK]
    begun = [step.started for step in steps if step.started is not None]
    ended = [step.ended for step in steps if step.ended is not None]
    recorded = instance.makespan
    return Comparison(
        makespan=(max(ended) - min(begun)) / 1e6 if begun and ended else None,
        recorded=recorded,
        scaled=None if recorded is None else recorded * scale,
        work=scale * sum(instance.columns.runtimes),
        tasks=len(instance.tasks),
        scale=scale,
    )
