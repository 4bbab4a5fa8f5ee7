"""Instances for the comparison of planners: random graphs and recorded workflows, from seeds."""

from __future__ import annotations

import itertools
import json
import os
import random
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("FERROFLOW_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def platform(rng: random.Random, nodes: int, *, uniform: bool, rate: float) -> dict[str, Any]:
    """Return speeds, and bandwidths about `rate`."""
    speeds = [round(rng.uniform(0.5, 2.0), 6) for _ in range(nodes)]
    pairs = [[rate if uniform else rate * rng.uniform(0.5, 2.0) for _ in range(nodes)] for _ in range(nodes)]
    for i in range(nodes):
        for j in range(i):
            pairs[i][j] = pairs[j][i]
    return {"speeds": speeds, "bandwidth": pairs, "uniform": uniform}


def layered(seed: int, tasks: int, nodes: int, ratio: float, *, uniform: bool) -> dict[str, Any]:
    """Return a layered graph in which messages take `ratio` times as long as tasks."""
    rng = random.Random(seed)
    costs = [rng.uniform(1, 20) for _ in range(tasks)]
    width = max(2, round(tasks**0.5 * rng.uniform(0.6, 1.6)))
    layers: list[list[int]] = [[0]]
    while sum(map(len, layers)) < tasks:
        first = sum(map(len, layers))
        layers.append([*range(first, min(tasks, first + rng.randint(1, 2 * width)))])
    edges = []
    for before, layer in itertools.pairwise(layers):
        for task in layer:
            for other in sorted(rng.sample(before, min(len(before), rng.randint(1, 4)))):
                edge = (other, task, rng.uniform(1, 20))
                edges.append(edge)
    made = {"costs": costs, "edges": edges} | platform(rng, nodes, uniform=uniform, rate=1 / ratio)
    links = "alike" if uniform else "unlike"
    return made | {"name": f"layered-{tasks}x{nodes}-ccr{ratio:g}-{links}-{seed}"}


def recorded(path: Path, nodes: int, seed: int, ratio: float | None = None) -> dict[str, Any]:
    """Return a WfFormat instance on random nodes; links of 100 MB/s, or so that messages take `ratio`."""
    workflow = json.loads(path.read_text())["workflow"]
    tasks = workflow["specification"]["tasks"]
    sizes = {it["id"]: it.get("sizeInBytes", 0) for it in workflow["specification"].get("files", [])}
    runtime = {it["id"]: it.get("runtimeInSeconds", 0.0) for it in workflow["execution"]["tasks"]}
    place = {task["id"]: at for at, task in enumerate(tasks)}
    edges = []
    for task in tasks:
        for parent in task.get("parents", []):
            files = {*tasks[place[parent]].get("outputFiles", [])} & {*task.get("inputFiles", [])}
            edges.append((place[parent], place[task["id"]], float(sum(sizes.get(it, 0) for it in files))))
    rng = random.Random(seed)
    costs = [float(runtime.get(task["id"], 0.0)) for task in tasks]
    rate = 1e8
    if ratio is not None and sum(it[2] for it in edges) > 0:
        message = sum(it[2] for it in edges) / len(edges)
        rate = message / (ratio * sum(costs) / len(costs))
    made = {"costs": costs, "edges": edges} | platform(rng, nodes, uniform=True, rate=rate)
    return made | {"name": f"{path.stem}-x{nodes}"}


def workflows(most: int) -> list[Path]:
    """Return the recorded workflows of at most so many tasks."""
    found = sorted((DATA / "wfinstances").rglob("*.json"))
    return [
        it for it in found if len(json.loads(it.read_text())["workflow"]["specification"]["tasks"]) <= most
    ]
