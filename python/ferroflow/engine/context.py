"""What a task's body can learn about its attempt, and say while it runs."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from ferroflow.errors import Cancelled

if TYPE_CHECKING:
    from ferroflow import _core


class Context:
    """The attempt that is running.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.task
    ... def attempt() -> int:
    ...     return ff.current().attempt
    >>> @ff.workflow
    ... def one():
    ...     return attempt()
    >>> with ff.Engine() as engine:
    ...     engine.run(one)
    1
    """

    __slots__ = ("_core", "_job")

    def __init__(self, core: _core.Engine, job: _core.Job) -> None:
        self._core = core
        self._job = job

    @property
    def run(self) -> str:
        """The id of the run."""
        return self._job.run

    @property
    def task(self) -> str:
        """The name of the task."""
        return self._job.task

    @property
    def attempt(self) -> int:
        """Which attempt of the step this is, counted from 1."""
        return self._job.attempt

    @property
    def key(self) -> str:
        """The same for every attempt of this step of this run: an idempotency key."""
        return f"{self._job.run}/{self._job.step}"

    @property
    def token(self) -> int:
        """The fencing token: larger than that of every attempt before."""
        return self._job.token

    def cancelled(self) -> bool:
        """Whether the attempt was cancelled, timed out or superseded: stop soon."""
        return self._core.is_stopped(self._job)

    def check(self) -> None:
        """Raise `Cancelled` if the attempt no longer counts."""
        if self.cancelled():
            raise Cancelled(f"the attempt of task {self.task!r} in run {self.run} was cancelled")

    def progress(self, percent: float, message: str = "") -> None:
        """Report how far the body is, from 0 to 100; raises `Cancelled` if it should stop."""
        if not self._core.progress(self._job, percent, message):
            raise Cancelled(f"the attempt of task {self.task!r} in run {self.run} was cancelled")


attempt: ContextVar[Context] = ContextVar("ferroflow_attempt")


def current() -> Context:
    """Return the context of the task that is running here.

    Raises
    ------
    LookupError
        Outside a task that an engine runs.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.task(name="examples.whoami")
    ... def whoami() -> str:
    ...     return ff.current().task
    >>> @ff.workflow
    ... def asking() -> str:
    ...     return whoami()
    >>> with ff.Engine() as engine:
    ...     engine.run(asking)
    'examples.whoami'
    """
    try:
        return attempt.get()
    except LookupError:
        message = "no task is running here: ff.current() works inside a task that an engine runs"
        raise LookupError(message) from None
