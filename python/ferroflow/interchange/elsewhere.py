"""An instance elsewhere: the platform that its machines are, and runs of it on others in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ferroflow.define import Workflow
from ferroflow.interchange.replay import ids
from ferroflow.plan import Faults, LogNormal, Node, Platform, Simulation, simulate

if TYPE_CHECKING:
    from ferroflow.engine.policies import BuiltinPolicy, PolicyName
    from ferroflow.interchange.wfformat import Cpu, Instance
    from ferroflow.plan import Amount

RECORDED = "wfformat.recorded"
"""The task of a step that stands for a recorded one."""


def platform(instance: Instance, *, bandwidth: float | str, latency: float | str) -> Platform:
    """Return the machines of an instance; see `Instance.platform`."""

    def mhz(cpu: Cpu | None) -> float:
        return float(cpu.speed_in_mhz or 0) if cpu is not None else 0.0

    slowest = min((clock for it in instance.machines if (clock := mhz(it.cpu))), default=1.0)
    nodes = []
    for it in instance.machines:
        labels = {"system": it.system, "architecture": it.architecture, "release": it.release}
        if it.cpu is not None:
            labels["vendor"] = it.cpu.vendor
        nodes.append(
            Node(
                it.node_name,
                cores=int((it.cpu.core_count if it.cpu is not None else None) or 1),
                speed=(mhz(it.cpu) or slowest) / slowest,
                memory=None if it.memory_in_bytes is None else int(it.memory_in_bytes),
                labels={name: text for name, text in labels.items() if text is not None},
            )
        )
    return Platform(nodes, bandwidth=bandwidth, latency=latency)


def simulated(
    instance: Instance,
    on: Platform | Iterable[Node | str] | None,
    policy: PolicyName | BuiltinPolicy,
    *,
    seeds: int | Iterable[int],
    deviation: float,
    faults: Faults | None,
    progress: Callable[[int], object] | None,
) -> Simulation:
    """Simulate runs of an instance; see `Instance.simulate`."""
    columns = instance.columns
    names = ids(columns.names)
    after: list[list[str]] = [[] for _ in names]
    for source, target in zip(columns.sources, columns.targets, strict=True):
        after[target].append(names[source])
    steps: list[dict[str, Any]] = []
    for name, waits, cores, memory in zip(names, after, columns.cores, columns.memory, strict=True):
        step: dict[str, Any] = {
            "task": RECORDED,
            "id": name,
            "options": {"resources": {"cpu": cores, **({"memory": memory} if memory else {})}},
        }
        if waits:
            step["after"] = waits
        steps.append(step)
    title = ids([instance.name])[0]
    workflow: Workflow[..., Any] = Workflow.from_definition({"name": title, "term": {"partial": steps}})
    durations: dict[str, Amount] = {
        name: LogNormal(seconds, seconds * deviation) if deviation and seconds else seconds
        for name, seconds in zip(names, columns.runtimes, strict=True)
    }
    edges = zip(columns.sources, columns.targets, columns.bytes, strict=True)
    transfers = {(names[source], names[target]): float(size) for source, target, size in edges if size}
    return simulate(
        workflow,
        instance.platform() if on is None else on,
        policy,
        seeds=seeds,
        durations=durations,
        transfers=transfers,
        faults=faults,
        progress=progress,
    )
