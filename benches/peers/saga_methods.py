"""Runs anrg-saga's schedulers on instances read from a file; see `plan_quality.py`."""

from __future__ import annotations

import itertools
import json
import logging
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from saga import Network, TaskGraph, schedulers

logging.disable(logging.WARNING)

METHODS = {
    "heft": schedulers.HeftScheduler,
    "cpop": schedulers.CpopScheduler,
    "bil": schedulers.BILScheduler,
    "dps": schedulers.DPSScheduler,
    "gdl": schedulers.GDLScheduler,
    "etf": schedulers.ETFScheduler,
    "fcp": schedulers.FCPScheduler,
    "flb": schedulers.FLBScheduler,
    "hbmct": schedulers.HbmctScheduler,
    "mct": schedulers.MCTScheduler,
    "met": schedulers.METScheduler,
    "olb": schedulers.OLBScheduler,
    "min_min": schedulers.MinMinScheduler,
    "max_min": schedulers.MaxMinScheduler,
    "duplex": schedulers.DuplexScheduler,
    "sufferage": schedulers.SufferageScheduler,
    "msbc": schedulers.MsbcScheduler,
    "wba": schedulers.WBAScheduler,
    "fastest_node": schedulers.FastestNodeScheduler,
    "mst": schedulers.MSTScheduler,
}


class TooSlow(Exception):
    """A method took longer than it may."""


def too_slow(*_: object) -> None:
    raise TooSlow


def network_of(instance: dict[str, Any]) -> Any:
    speeds = instance["speeds"]
    nodes = [(f"n{i:04}", speed) for i, speed in enumerate(speeds)]
    edges = [
        (nodes[i][0], nodes[j][0], instance["bandwidth"][i][j])
        for i in range(len(nodes))
        for j in range(i + 1, len(nodes))
    ]
    return Network.create(nodes, edges)


def problems(schedule: Any, graph: Any, network: Any) -> str | None:
    """Return what is wrong with one of SAGA's schedules, if anything."""
    at = {it.name: it for tasks in schedule.mapping.values() for it in tasks}
    if len(at) != len(graph.tasks):
        return f"{len(graph.tasks) - len(at)} tasks are missing"
    speed = {(e.source, e.target): e.speed for e in network.edges}
    speed |= {(b, a): it for (a, b), it in speed.items()}
    for edge in graph.dependencies:
        a, b = at[edge.source], at[edge.target]
        if b.start < a.end + edge.size / speed[a.node, b.node] - 1e-6:
            return f"{edge.target} starts before the data of {edge.source} are there"
    for tasks in schedule.mapping.values():
        for left, right in itertools.pairwise(tasks):
            if right.start < left.end - 1e-6:
                return f"{left.name} and {right.name} overlap"
    return None


def main() -> None:
    given, written, limit = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    signal.signal(signal.SIGALRM, too_slow)
    sys.setrecursionlimit(100_000)
    out = []
    for instance in json.loads(given.read_text()):
        names = [f"t{i:06}" for i in range(len(instance["costs"]))]
        graph = TaskGraph.create(
            [*zip(names, instance["costs"], strict=True)],
            [(names[a], names[b], size) for a, b, size in instance["edges"]],
        )
        network = network_of(instance)
        order = [it.name for it in graph.topological_sort()]
        place = {name: at for at, name in enumerate(order)}
        costs = {it.name: it.cost for it in graph.tasks}
        nodes = [it.name for it in network.nodes]
        result = {
            "name": instance["name"],
            "costs": [costs[name] for name in order],
            "edges": [(place[e.source], place[e.target], e.size) for e in graph.dependencies],
            "nodes": [int(name[1:]) for name in nodes],
            "methods": {},
        }
        for name in instance.get("methods") or METHODS:
            random.seed(1)
            begun = time.perf_counter()
            try:
                signal.setitimer(signal.ITIMER_REAL, limit)
                schedule = METHODS[name]().schedule(network, graph)
                signal.setitimer(signal.ITIMER_REAL, 0)
                seconds = time.perf_counter() - begun
                found = {
                    "makespan": schedule.makespan,
                    "seconds": seconds,
                    "wrong": problems(schedule, graph, network),
                }
            except TooSlow:
                found = {"error": f"more than {limit:g} s"}
            except Exception as error:
                found = {"error": f"{type(error).__name__}: {str(error)[:200]}"}
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            result["methods"][name] = found
        out.append(result)
        written.write_text(json.dumps(out))
        print(instance["name"], flush=True)


if __name__ == "__main__":
    main()
