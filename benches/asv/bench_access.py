"""How the borrow check grows with the steps of a workflow; `make bench` plots it."""

from __future__ import annotations

from . import common  # noqa: F401 - first: it refuses a debug build

from access_data import SHAPES  # isort: skip
from ferroflow import _core  # isort: skip


class Check:
    """Three accesses a step, ten steps an asset."""

    params = ([10_000, 100_000, 1_000_000], list(SHAPES))
    param_names = ("steps", "shape")
    number = 1
    repeat = (3, 5, 20.0)
    warmup_time = 0.0
    timeout = 300

    def setup(self, steps: int, shape: str) -> None:
        self.program = _core.Program(SHAPES[shape](steps, steps // 10))

    def time_check(self, _steps: int, _shape: str) -> None:
        assert not self.program.check()
