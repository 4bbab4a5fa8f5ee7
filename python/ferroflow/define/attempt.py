"""What runs here: the attempt whose body this thread, or this asynchronous task, is in."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferroflow import _core

# The attempt, its arguments, and how to decode them. Only who asks for more pays for it.
attempt: ContextVar[tuple[_core.Job | _core.Call, bytes, Callable[[bytes], Any]] | None] = ContextVar(
    "ferroflow_attempt", default=None
)
