"""Blocking calls and event loops: the asynchronous form of a method, and who may not block."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from ferroflow.errors import FerroflowError

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")

LOOP = "ferroflow-loop"
"""The thread of an engine's event loop."""


def asynchronous(
    method: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Return the form of a method that is awaited; the method itself runs in a thread."""

    @wraps(method)
    async def form(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        import asyncio

        return await asyncio.to_thread(method, self, *args, **kwargs)

    form.__name__ = f"a{method.__name__}"
    form.__qualname__ = f"{method.__qualname__.rpartition('.')[0]}.{form.__name__}"
    form.__doc__ = f"Like `{method.__name__}`, for `await`."
    return form


def may_block(call: str, instead: str) -> None:
    """Explain a call that blocks an event loop.

    In an asynchronous task it would stop all others, and may wait for ever for one of them.
    """
    if threading.current_thread().name == LOOP:
        raise FerroflowError(
            f"{call} blocks the event loop that runs asynchronous tasks; write {instead}, or make "
            "the task a plain function"
        )
    running = getattr(sys.modules.get("asyncio"), "get_running_loop", None)
    if running is None:
        return  # nobody has a loop as long as the module is not there, or not all of it
    try:
        running()
    except RuntimeError:
        return
    # A notebook has a running loop under every cell.
    if "ipykernel" not in sys.modules:
        warnings.warn(
            f"{call} blocks the event loop that runs here; write {instead}", RuntimeWarning, stacklevel=3
        )
