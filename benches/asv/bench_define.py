"""What a definition of 10,000 steps costs: to trace, to check and compile, to give it its hash."""

from __future__ import annotations

from . import common  # noqa: F401 - first: it finds the workloads

import ferroflow as ff  # isort: skip
import ferroflow_work as work  # isort: skip

STEPS = 10_000


class Definition:
    """The layered graph that the peers run."""

    number = 1
    repeat = (3, 7, 5.0)
    warmup_time = 0.0
    timeout = 60

    def setup(self) -> None:
        self.definition = work.layers(STEPS).definition
        self.compiled = ff.load(self.definition)
        _ = self.compiled.program

    def time_trace(self) -> None:
        assert work.layers(STEPS).definition

    def time_compile(self) -> None:
        _ = ff.load(self.definition).program

    def time_hash(self) -> None:
        assert self.compiled.hash
