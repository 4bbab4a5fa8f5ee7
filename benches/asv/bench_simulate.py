"""What a simulation costs, by steps, nodes and policy; all events are kept."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

from . import common  # noqa: F401 - first: it refuses a debug build

import ferroflow as ff  # isort: skip
from ferroflow.plan import Node, simulate  # isort: skip


@cache
def scenario(steps: int, nodes: int, policy: Any) -> Any:
    """Return simulations of a graph of two edges a step, of which about a hundred can run at a time."""
    draw = random.Random(1)
    terms = []
    for at in range(steps):
        layer = (at // 100 - 1) * 100
        after = sorted({layer + draw.randrange(100) for _ in range(2)}) if layer >= 0 else []
        terms.append({"task": "work", "id": f"s{at}", "after": [f"s{it}" for it in after]})
    flow = ff.Workflow.from_definition({"name": "wide", "term": {"partial": terms}})
    platform = [Node(f"n{at}", speed=1 + at % 4 / 4) for at in range(nodes)]
    return simulate(flow, platform, policy, durations={f"s{at}": 1 + at % 17 for at in range(steps)})


class Steps:
    params: Any = ([1_000, 10_000, 100_000, 1_000_000], ["fifo", "upward_rank", "fair_share"])
    param_names = ("steps", "policy")
    number = 1
    repeat = (3, 5, 5.0)
    warmup_time = 0.0

    def setup(self, steps: int, policy: str) -> None:
        self.found = scenario(steps, 64, policy)

    def time_simulate(self, _steps: int, _policy: str) -> None:
        self.found.run(0)


class Nodes:
    params: Any = ([4, 16, 64, 256], ["upward_rank"])
    param_names = ("nodes", "policy")
    number = 1
    repeat = (3, 5, 5.0)
    warmup_time = 0.0

    def setup(self, nodes: int, policy: str) -> None:
        self.found = scenario(100_000, nodes, policy)

    def time_simulate(self, _nodes: int, _policy: str) -> None:
        self.found.run(0)
