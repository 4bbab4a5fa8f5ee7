"""The engine's own threads, which say when they are over."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferroflow.engine.engine import Engine


class Worker(threading.Thread):
    """A thread that says when it is over: a `join` that Ctrl-C interrupts takes it for ended.

    `engine` is that whose steps it runs.
    """

    def __init__(
        self, name: str, body: Callable[[], object], engine: weakref.ref[Engine] | None = None
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.over = threading.Event()
        self.engine = engine
        self._body = body

    def run(self) -> None:
        """Run the body."""
        try:
            self._body()
        finally:
            self.over.set()


def joined(threads: Iterable[Worker], until: float) -> bool:
    """Wait for threads until an instant; whether all have ended."""
    others = [thread for thread in threads if thread is not threading.current_thread()]
    return all(thread.over.wait(max(0.0, until - time.monotonic())) for thread in others)
