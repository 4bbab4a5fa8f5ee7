"""What a log costs to take up again: to open a database, to replay a run, to check it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import common  # first: it finds the workloads

import ferroflow as ff  # isort: skip
import ferroflow_work as work  # isort: skip
from ferroflow import _core  # isort: skip

STEPS = 20_000


class Journal:
    """A database with one run that waits for a signal after 20,000 finished steps."""

    number = 1
    repeat = (3, 7, 5.0)
    warmup_time = 0.0
    timeout = 60

    def setup(self) -> None:
        self.folder = common.folder()
        self.path = Path(self.folder.name) / "runs.db"
        with ff.Engine(self.path, workers=2) as engine:
            self.run = work.half_done(engine, STEPS)

    def teardown(self, *_: Any) -> None:
        self.folder.cleanup()

    def time_reopening(self) -> None:
        """Open the database, take the run up again, and close."""
        ff.Engine(self.path).close()

    def time_replay(self) -> None:
        """Rebuild the run from its records, and describe its steps."""
        _core.Reader(self.path).inspect(self.run, False)

    def time_verify(self) -> None:
        """Check every record against its checksum and the chain."""
        _core.Reader(self.path).verify()
