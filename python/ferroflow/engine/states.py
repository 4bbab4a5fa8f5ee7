"""The states of runs and steps, as the kernel's transition table names them."""

from __future__ import annotations

from enum import StrEnum


class RunState(StrEnum):
    """What a run is doing; `docs/states.md` says what may follow what.

    Examples
    --------
    >>> import ferroflow as ff
    >>> ff.RunState.RUNNING == "running", ff.RunState.FAILED.is_terminal
    (True, True)
    """

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    BLOCKED = "blocked"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"

    @property
    def is_terminal(self) -> bool:
        """Whether the engine leaves a run in this state alone."""
        return self.value in _TERMINAL


class StepState(StrEnum):
    """What a step is doing.

    Examples
    --------
    >>> import ferroflow as ff
    >>> ff.StepState("waiting").is_terminal
    False
    """

    PENDING = "pending"
    READY = "ready"
    LEASED = "leased"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"

    @property
    def is_terminal(self) -> bool:
        """Whether the step has ended."""
        return self.value in _TERMINAL


_TERMINAL = frozenset({
    "completed", "failed", "skipped", "cancelled", "timed_out", "compensated", "compensation_failed",
})  # fmt: skip
