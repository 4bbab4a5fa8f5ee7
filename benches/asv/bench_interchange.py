"""What a recorded execution costs: to read it, and to run it without its work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from . import common  # first: it refuses builds that are not for release

import ferroflow as ff  # isort: skip
from ferroflow import interchange  # isort: skip

DATA = Path(os.environ.get("FERROFLOW_DATA", common.HERE.parents[2] / "shared" / "data")) / "wfinstances"
LARGEST = DATA / "pegasus" / "montage" / "montage-chameleon-2mass-05d-001.json"
TASKS = 1738


class Reading:
    """Montage with 1,738 tasks, 2,475 files and 4,698 edges: 3.5 MB."""

    def setup(self) -> None:
        if not LARGEST.exists():
            raise NotImplementedError("there are no recorded executions: set FERROFLOW_DATA")
        self.text = LARGEST.read_bytes()
        self.instance = interchange.read(self.text)

    def time_read(self) -> None:
        """Read and check it, and make its columns."""
        _ = interchange.read(self.text).columns

    def time_compile(self) -> None:
        """Make a workflow of it."""
        _ = self.instance.to_workflow(scale=0).program

    def time_write(self) -> None:
        self.instance.to_json()


class Running:
    """The same at scale 0: no seconds and no bytes, but all files."""

    number = 1
    repeat = (3, 5, 20.0)
    warmup_time = 0.0
    timeout = 120
    params = ("memory", "strict")
    param_names = ("durability",)

    def setup(self, durability: str) -> None:
        if not LARGEST.exists():
            raise NotImplementedError("there are no recorded executions: set FERROFLOW_DATA")
        self.folder = common.folder()
        path = None if durability == "memory" else Path(self.folder.name) / "runs.db"
        self.engine = ff.Engine(path, workers=2)
        self.flow = interchange.read(LARGEST).to_workflow(scale=0)
        _ = self.flow.program

    def teardown(self, *_: Any) -> None:
        self.engine.close()
        self.folder.cleanup()

    def track_a_step(self, durability: str) -> float:
        """From the start of the first task to the end of the last, by tasks."""
        handle = self.engine.start(self.flow)
        handle.result()
        steps = [step for step in handle.view().steps if step.task == "wfformat.work"]
        begun = min(step.started for step in steps if step.started is not None)
        ended = max(step.ended for step in steps if step.ended is not None)
        return (ended - begun) / TASKS

    track_a_step.unit = "us"  # type: ignore[attr-defined]
