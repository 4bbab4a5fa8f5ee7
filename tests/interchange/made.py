"""Small instances that tests make up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from ferroflow import interchange

Json = dict[str, Any]


def instance(
    edges: Mapping[str, Sequence[str]],
    *,
    took: Mapping[str, Json] | None = None,
    reads: Mapping[str, Sequence[str]] | None = None,
    writes: Mapping[str, Sequence[str]] | None = None,
    sizes: Mapping[str, int] | None = None,
    makespan: float = 10.0,
) -> Json:
    """Return a WfFormat object: tasks with their children, and what they took."""
    parents: dict[str, list[str]] = {task: [] for task in edges}
    for task, children in edges.items():
        for child in children:
            parents.setdefault(child, []).append(task)
    tasks = [
        {
            "name": f"do_{task}",
            "id": task,
            "parents": parents[task],
            "children": [*children],
            "inputFiles": [*(reads or {}).get(task, ())],
            "outputFiles": [*(writes or {}).get(task, ())],
        }
        for task, children in edges.items()
    ]
    files = [{"id": name, "sizeInBytes": size} for name, size in (sizes or {}).items()]
    workflow: Json = {"specification": {"tasks": tasks, "files": files}}
    if took is not None:
        workflow["execution"] = {
            "makespanInSeconds": makespan,
            "executedAt": "2026-01-01T00:00:00Z",
            "tasks": [{"id": task, "runtimeInSeconds": 0.0, **fields} for task, fields in took.items()],
        }
    return {"name": "made", "schemaVersion": "1.5", "workflow": workflow}


def diamond() -> Json:
    """Four tasks, three files, two machines, and everything that a task may have taken."""
    made = instance(
        {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []},
        took={
            "a": {"runtimeInSeconds": 1.5, "avgCPU": 50, "memoryInBytes": 3_000_000},
            "b": {"runtimeInSeconds": 2, "avgCPU": 182.5, "machines": ["n1", "n2"], "coreCount": 4},
            "c": {"runtimeInSeconds": 0, "command": {"program": "c", "arguments": ["-x"]}, "priority": -3},
            "d": {"runtimeInSeconds": 0.25, "avgCPU": 104, "readBytes": 7, "writtenBytes": 8.0},
        },
        reads={"a": ["in"], "b": ["x"], "c": ["x", "in"], "d": ["x", "y"]},
        writes={"a": ["x"], "b": ["y"]},
        sizes={"in": 1000, "x": 200, "y": 30},
    )
    made["workflow"]["execution"]["machines"] = [
        {"nodeName": "n1", "memoryInBytes": 1 << 34, "cpu": {"coreCount": 8, "speedInMHz": 2400}},
        {"nodeName": "n2", "system": "linux", "cpu": {"vendor": "V"}},
    ]
    return made


def read(made: Json) -> interchange.Instance:
    return interchange.read(made)


@st.composite
def instances(draw: st.DrawFn) -> Json:
    """Any right instance: tasks in any order, edges that follow some order of them."""
    ids = draw(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=8, unique=True))
    files = draw(st.lists(st.text(min_size=1, max_size=8), max_size=6, unique=True))
    edges: dict[str, list[str]] = {
        task: draw(st.lists(st.sampled_from(ids[at + 1 :]), unique=True)) if ids[at + 1 :] else []
        for at, task in enumerate(ids)
    }
    seconds = st.floats(0, 1e6, allow_nan=False)
    size = st.integers(0, 1 << 40)
    took = {
        task: draw(
            st.fixed_dictionaries(
                {"runtimeInSeconds": st.one_of(seconds, st.integers(0, 1000))},
                optional={
                    "avgCPU": st.floats(0, 1e4, allow_nan=False),
                    "memoryInBytes": size,
                    "coreCount": st.integers(1, 64),
                    "readBytes": size,
                    "priority": st.integers(-100, 100),
                    "command": st.just({"program": "p", "arguments": ["a", ""]}),
                },
            )
        )
        for task in draw(st.permutations(ids))
        if draw(st.booleans())
    }
    # Who comes later reads what others have written, or what nobody has.
    writes: dict[str, list[str]] = {task: [] for task in ids}
    reads: dict[str, list[str]] = {task: [] for task in ids}
    for name in files:
        writer = draw(st.integers(-1, len(ids) - 1))
        if writer >= 0:
            writes[ids[writer]].append(name)
        for task in ids[writer + 1 :]:
            if draw(st.booleans()):
                reads[task].append(name)
    made = instance(
        {task: edges[task] for task in draw(st.permutations(ids))},
        took=took if draw(st.booleans()) else None,
        reads=reads,
        writes=writes,
        sizes={name: draw(size) for name in files},
    )
    made["name"] = draw(st.text(min_size=1, max_size=10))
    if draw(st.booleans()):
        made["author"] = {"name": "A", "email": "a@b.c"}
        made["unknown"] = draw(st.recursive(st.none() | st.integers(), st.lists, max_leaves=3))
    return made
