"""A handle on a run: its state, its result, and commands to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from ferroflow.engine import records
from ferroflow.errors import RunCancelled, RunFailed, RunTimedOut

if TYPE_CHECKING:
    from ferroflow import _core

T_co = TypeVar("T_co", covariant=True)


class Handle(Generic[T_co]):
    """A run of an engine, live or past.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.task
    ... def double(n: int) -> int:
    ...     return 2 * n
    >>> @ff.workflow
    ... def twice(n: int) -> int:
    ...     return double(double(n))
    >>> with ff.Engine() as engine:
    ...     handle = engine.start(twice, 5)
    ...     handle.result()
    20
    """

    def __init__(self, core: _core.Engine, run: str) -> None:
        self._core = core
        self.id = run

    def __repr__(self) -> str:
        return f"<Handle {self.id}>"

    def status(self) -> str:
        """Return the state of the run: `running`, `paused`, `completed`, ..."""
        return self._core.status(self.id)

    def result(self, timeout: float | None = None) -> T_co:
        """Wait for the end of the run and return what it yields.

        Parameters
        ----------
        timeout
            Seconds to wait at most.

        Raises
        ------
        RunFailed, RunTimedOut, RunCancelled
            If the run did not complete.
        TimeoutError
            If it has not ended in time; the run goes on.
        """
        ended = self._core.wait(self.id, timeout)
        if ended is None:
            raise TimeoutError(f"run {self.id} has not ended within {timeout} s")
        state, _, packed, error, reason = ended
        if state == "completed":
            value: T_co = msgspec.msgpack.decode(packed)
            return value
        if state == "cancelled":
            raise RunCancelled(f"run {self.id} was cancelled: {reason}", run=self.id)
        step, code, message, details = error or ("", state.upper(), "", "")
        where = f" in step {step}" if step else ""
        text = f"run {self.id} {state}{where}: {message}"
        kind = RunTimedOut if state == "timed_out" else RunFailed
        raise kind(text, run=self.id, step=step or None, code=code, details=details)

    async def aresult(self, timeout: float | None = None) -> T_co:
        """Like `result`, for `await`."""
        import asyncio

        return await asyncio.to_thread(self.result, timeout)

    def cancel(self, reason: str = "cancelled by its user") -> None:
        """End the run; bodies that are running are told to stop."""
        self._core.command(self.id, "cancel", reason)

    def pause(self, reason: str = "paused by its user") -> None:
        """Start no more steps until the run is resumed."""
        self._core.command(self.id, "pause", reason)

    def resume(self) -> None:
        """Go on after a pause."""
        self._core.command(self.id, "resume", "")

    def signal(self, name: str, value: object = None) -> None:
        """Send a named signal; signals of one name are taken in the order they came."""
        self._core.signal(self.id, name, msgspec.msgpack.encode(value))

    async def acancel(self, reason: str = "cancelled by its user") -> None:
        """Like `cancel`, for `await`."""
        import asyncio

        await asyncio.to_thread(self.cancel, reason)

    async def asignal(self, name: str, value: object = None) -> None:
        """Like `signal`, for `await`."""
        import asyncio

        await asyncio.to_thread(self.signal, name, value)

    def view(self) -> records.RunView:
        """Return the run with its steps, as far as it is committed."""
        return records.run_view(self._core.inspect(self.id))

    def steps(self) -> list[records.StepView]:
        """Return the steps of the run, as far as they are committed."""
        return self.view().steps

    def events(self) -> list[dict[str, Any]]:
        """Return the events of the run, as far as they are committed."""
        return records.events(self._core.events(self.id))
