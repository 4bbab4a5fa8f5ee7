"""The threads of an engine: workers, those that stand in for workers which wait, and the feeder."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferroflow import _core
    from ferroflow.engine.bodies import Bodies


class _Thread(threading.Thread):
    """Says itself when it is done: a `join` that Ctrl-C interrupts takes the thread for ended."""

    def __init__(self, target: Callable[[], None], name: str, staff: Staff | None = None) -> None:
        super().__init__(name=name, daemon=True)
        self.done = threading.Event()
        self.staff = staff
        self._work = target

    def run(self) -> None:
        try:
            self._work()
        finally:
            self.done.set()


class Staff:
    """Starts threads where they are needed, and knows which of them are still there."""

    def __init__(self, core: _core.Engine, bodies: Bodies, workers: int) -> None:
        self._core = core
        self._bodies = bodies
        self._hiring = threading.Lock()
        self._threads: Sequence[_Thread] = ()
        self._feeder: _Thread | None = None
        for number in range(workers):
            self._hire(f"ferroflow-worker-{number}")

    def _hire(self, name: str) -> None:
        worker = _Thread(partial(self._core.work, 0, self._bodies.execute), name, self)
        with self._hiring:
            self._threads = [*(it for it in self._threads if not it.done.is_set()), worker]
            worker.start()

    def feed(self) -> None:
        """See to it that asynchronous bodies get to their event loop."""
        with self._hiring:
            if self._feeder is None:
                self._feeder = _Thread(self._bodies.serve, "ferroflow-feeder")
                self._feeder.start()

    @staticmethod
    @contextlib.contextmanager
    def standing_in() -> Iterator[None]:
        """While a body waits for a run, of whichever engine, let another thread work in its place.

        Nobody might be left to run what it waits for.
        """
        here = threading.current_thread()
        staff = here.staff if isinstance(here, _Thread) else None
        if staff is None:
            yield
            return
        staff._hire("ferroflow-stand-in")
        try:
            yield
        finally:
            staff._core.retire()

    @contextlib.contextmanager
    def lending(self) -> Iterator[None]:
        """While an asynchronous body waits for a run, let another one run in its place."""
        if not self._bodies.here():
            yield
            return
        self._core.lend()
        try:
            yield
        finally:
            self._core.take_back()

    def left(self, until: float) -> list[str]:
        """Wait for all threads until an instant; return the names of those that are still there."""
        threads = [*self._threads, *([self._feeder] if self._feeder else [])]
        others = [thread for thread in threads if thread is not threading.current_thread()]
        for thread in others:
            thread.done.wait(max(0.0, until - time.monotonic()))
        return [thread.name for thread in others if not thread.done.is_set()]
