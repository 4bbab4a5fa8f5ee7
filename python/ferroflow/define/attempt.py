"""What runs here: the attempt whose body this thread, or this asynchronous task, is in."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferroflow import _core

# The attempt and its arguments. Only who asks for more pays for it.
attempt: ContextVar[tuple[_core.Job, bytes] | None] = ContextVar("ferroflow_attempt", default=None)
