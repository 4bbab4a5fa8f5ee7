"""The threads of an engine: those that run bodies or wait for them, and those that stand in for others."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from ferroflow import _core
from ferroflow.engine.outcomes import Outcome

Execute = Callable[[_core.Job, str, bytes], Outcome]


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

    def __init__(self, core: _core.Engine, execute: Execute, workers: int) -> None:
        self._core = core
        self._execute = execute
        self._hiring = threading.Lock()
        self._threads: Sequence[_Thread] = ()
        for number in range(workers):
            self._hire_worker(f"ferroflow-worker-{number}")

    def _hire_worker(self, name: str) -> None:
        self._start(_Thread(partial(self._core.work, _core.THREADS, self._execute), name, self))

    def hire(self, work: Callable[[], None], name: str) -> None:
        """Start a thread that does something until the engine stops."""
        self._start(_Thread(work, name))

    def _start(self, thread: _Thread) -> None:
        with self._hiring:
            self._threads = [*(it for it in self._threads if not it.done.is_set()), thread]
            thread.start()

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
        staff._hire_worker("ferroflow-stand-in")
        try:
            yield
        finally:
            staff._core.retire()

    def left(self, until: float) -> list[str]:
        """Wait for all threads until an instant; return the names of those that are still there."""
        others = [thread for thread in self._threads if thread is not threading.current_thread()]
        for thread in others:
            thread.done.wait(max(0.0, until - time.monotonic()))
        return [thread.name for thread in others if not thread.done.is_set()]
