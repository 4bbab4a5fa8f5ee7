"""The tasks of a WfFormat document: no more than planning needs, until `interchange` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ferroflow.errors import PlanError
from ferroflow.plan.instance import Instance


def instance(document: Any) -> Instance:
    """Return what a WfFormat 1.5 document says of its tasks: runtimes, cores, memory, and files between them.

    Parameters
    ----------
    document
        The decoded document.

    Raises
    ------
    PlanError
        If it is no WfFormat document, or names a task that is not there.
    """
    workflow = document.get("workflow") if isinstance(document, Mapping) else None
    tasks = ((workflow or {}).get("specification") or {}).get("tasks")
    if not isinstance(tasks, list):
        raise PlanError("this is no WfFormat 1.5 document: it has no workflow.specification.tasks")
    assert workflow is not None
    place = {str(task["id"]): at for at, task in enumerate(tasks)}
    sizes = {
        it["id"]: float(it.get("sizeInBytes") or 0) for it in workflow["specification"].get("files") or []
    }
    took = {str(it["id"]): it for it in (workflow.get("execution") or {}).get("tasks") or []}
    sources, targets, sent = [], [], []
    for task in tasks:
        reads = {*(task.get("inputFiles") or ())}
        for parent in task.get("parents") or ():
            if parent not in place:
                raise PlanError(f"task {task['id']} waits for {parent}, which is not there")
            sources.append(place[parent])
            targets.append(place[str(task["id"])])
            shared = reads & {*(tasks[place[parent]].get("outputFiles") or ())}
            sent.append(sum(sizes.get(it, 0.0) for it in shared))

    def of(task: Any, name: str, otherwise: float) -> float:
        return float((took.get(str(task["id"])) or {}).get(name) or otherwise)

    return Instance(
        [of(task, "runtimeInSeconds", 0.0) for task in tasks],
        sources,
        targets,
        sent,
        names=[*place],
        cores=[max(int(of(task, "coreCount", 1.0)), 1) for task in tasks],
        memory=[int(of(task, "memoryInBytes", 0.0)) for task in tasks],
    )
