"""The engines that are open in this process: what its end, and a fork, mean for them."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferroflow.engine.engine import Engine

engines: weakref.WeakSet[Engine] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    # Worker threads must be out of the interpreter before it is torn down.
    for engine in [*engines]:
        engine.close()


def _forked() -> None:
    # The child of a fork has neither the threads nor the right to the database; holding the descriptors
    # of locks, it would keep others out when the parent is gone.
    for engine in [*engines]:
        for lock in engine._native.locks:
            os.close(lock)
    engines.clear()


os.register_at_fork(after_in_child=_forked)
