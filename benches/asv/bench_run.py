"""What a step costs: in layers, in a chain, in many runs, over a long list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import common  # first: it finds the workloads

import ferroflow as ff  # isort: skip
import ferroflow_work as work  # isort: skip


class Running:
    """An engine on a file, or in memory, for each measurement."""

    number = 1  # every round runs workflows that are not warm
    repeat = (3, 7, 5.0)
    warmup_time = 0.0
    timeout = 60

    def open(self, durability: str) -> None:
        self.folder = common.folder()
        path = None if durability == "memory" else Path(self.folder.name) / "runs.db"
        self.engine = ff.Engine(path, workers=2)

    def teardown(self, *_: Any) -> None:
        self.engine.close()
        self.folder.cleanup()


class Layers(Running):
    """10,000 no-op steps in layers of 100; each needs three of the layer before."""

    params = ("memory", "strict")
    param_names = ("durability",)

    def setup(self, durability: str) -> None:
        self.open(durability)
        self.flow = work.layers(10_000)
        _ = self.flow.program

    def time_layers(self, durability: str) -> None:
        self.engine.run(self.flow)


class Chain(Running):
    """500 steps one after another: each waits until the one before is on disk."""

    def setup(self) -> None:
        self.open("strict")
        self.flow = work.chain(500)
        _ = self.flow.program

    def time_chain(self) -> None:
        self.engine.run(self.flow)


class Together(Running):
    """500 runs of one step that share commits."""

    def setup(self) -> None:
        self.open("strict")

    def time_together(self) -> None:
        work.together(self.engine, 500)


class Each(Running):
    """A step for each of 100,000 items."""

    params = ("memory", "strict")
    param_names = ("durability",)
    items = 100_000

    def setup(self, durability: str) -> None:
        self.open(durability)
        self.engine.run(work.one_step, 0)

    def time_each(self, durability: str) -> None:
        self.engine.run(work.each_item, [*range(self.items)])

    def track_memory_a_step(self, durability: str) -> float:
        """Growth of the resident memory for a step of a run that is under way or has just ended."""
        items = [*range(self.items)]
        before = work.resident()
        self.engine.run(work.each_item, items)
        return (work.resident() - before) / self.items

    track_memory_a_step.unit = "bytes"  # type: ignore[attr-defined]
