"""Planning: how long a schedule takes, by tasks and nodes."""

import random
from array import array
from typing import Any

from ferroflow.plan import Instance, Node, Platform, plan


def layered(tasks: int) -> Instance:
    draw = random.Random(1)
    sources, targets = array("I"), array("I")
    for task in range(1, tasks):
        for _ in range(draw.randint(1, 5)):
            sources.append(max(0, task - draw.randint(1, 3 * int(tasks**0.5))))
            targets.append(task)
    costs = array("d", [draw.uniform(1, 20) for _ in range(tasks)])
    return Instance(costs, sources, targets, array("d", [draw.uniform(1, 20) for _ in sources]))


def nodes(count: int) -> Platform:
    draw = random.Random(2)
    return Platform([Node(f"n{at}", speed=draw.uniform(0.5, 2)) for at in range(count)], bandwidth=1.0)


class Planning:
    params: Any = ([100, 1_000, 10_000], [8, 64], ["heft", "peft", "dps", "mct"])
    param_names = ("tasks", "nodes", "method")

    def setup(self, tasks: int, count: int, method: str) -> None:
        self.instance, self.platform = layered(tasks), nodes(count)

    def time_plan(self, tasks: int, count: int, method: str) -> None:
        plan(self.instance, self.platform, method)


class Nodes:
    params: Any = ([2, 8, 32, 128], ["heft", "peft", "dps", "mct"])
    param_names = ("nodes", "method")

    def setup(self, count: int, method: str) -> None:
        self.instance, self.platform = layered(1_000), nodes(count)

    def time_plan(self, count: int, method: str) -> None:
        plan(self.instance, self.platform, method)


class Searching:
    """The makespan that the portfolio comes to with so many evaluations."""

    params: Any = ([100, 10_000],)
    param_names = ("budget",)
    unit = "s"

    def setup(self, budget: int) -> None:
        self.instance, self.platform = layered(100), nodes(8)

    def track_makespan(self, budget: int) -> float:
        return plan(self.instance, self.platform, budget=budget).makespan

    def time_search(self, budget: int) -> None:
        plan(self.instance, self.platform, budget=budget)
