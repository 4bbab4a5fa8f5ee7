"""A handle on a run: its state, its result, and commands to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from ferroflow.define.attempt import attempt
from ferroflow.define.units import Duration, micros
from ferroflow.engine import records
from ferroflow.engine.blocking import asynchronous, may_block
from ferroflow.engine.states import RunState
from ferroflow.errors import EngineClosed, FerroflowError, RunCancelled, RunFailed, RunTimedOut

if TYPE_CHECKING:
    from ferroflow import _core
    from ferroflow.engine.engine import Engine

T_co = TypeVar("T_co", covariant=True)

# State, degraded, packed result, its parts, (step, code, message, details), reason.
_Ended = tuple[str, bool, bytes, list["_core.Bytes"], tuple[str, str, str, str] | None, str | None]


def _seconds(duration: Duration | None) -> float | None:
    return None if duration is None else micros(duration) / 1e6


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """What a step does or waits for.

    Parameters
    ----------
    step
        Its path; empty for the run as a whole.
    what
        `running`, `queued`, `lease`, `signal`, `sleep`, `retry` or `paused`.
    detail
        The signal's name, the resource that is short, who has the asset that a step waits for, the reason of
        a pause.
    until
        Until when: microseconds since 1970, UTC.
    """

    step: str
    what: str
    detail: str
    until: int | None


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
    ...     handle.result(), handle.status()
    (20, <RunState.COMPLETED: 'completed'>)
    """

    def __init__(self, engine: Engine, run: str) -> None:
        self._engine = engine
        self.id = run

    @property
    def _core(self) -> _core.Engine:
        return self._engine._core

    def __repr__(self) -> str:
        return f"<Handle {self.id}>"

    def _repr_html_(self) -> str | None:
        try:
            return self.view()._repr_html_()
        except EngineClosed:
            return None  # a notebook then shows what `repr` says

    def status(self) -> RunState:
        """Return the state of the run."""
        return RunState(self._core.status(self.id))

    def result(self, timeout: Duration | None = None) -> T_co:
        """Wait for the end of the run and return what it yields.

        Parameters
        ----------
        timeout
            How long to wait at most: seconds, timedelta or "5m".

        Raises
        ------
        RunFailed, RunTimedOut, RunCancelled
            If the run did not complete.
        TimeoutError
            If it has not ended in time; the run goes on.
        """
        may_block("handle.result()", "await handle.aresult()")
        return self._wait(timeout)

    def _wait(self, timeout: Duration | None = None) -> T_co:
        self._not_from_within()
        found = self._core.wait(self.id, 0.0)
        if found is None:
            with self._engine._staff.standing_in():
                found = self._core.wait(self.id, _seconds(timeout))
        return self._yields(found, timeout)

    def _not_from_within(self) -> None:
        here = attempt.get()
        if here is not None and here[0].run == self.id:
            raise FerroflowError(f"a task of run {self.id} waits here for the end of its own run")

    async def aresult(self, timeout: Duration | None = None) -> T_co:
        """Like `result`, for `await`. However many runs are awaited, no thread waits for each."""
        import asyncio

        self._not_from_within()
        ends = self._engine._listening()
        ended = ends.expect(self.id)
        try:
            # It may have ended before anybody listened.
            found = self._core.wait(self.id, 0.0)
            if found is None:
                with self._engine._executors.lending():
                    async with asyncio.timeout(_seconds(timeout)):
                        await ended.wait()
                found = self._core.wait(self.id, 0.0)
        except TimeoutError:
            found = None
        finally:
            ends.forget(self.id, ended)
        return self._yields(found, timeout)

    def _yields(self, ended: _Ended | None, timeout: Duration | None) -> T_co:
        if ended is None:
            raise TimeoutError(f"run {self.id} has not ended within {_seconds(timeout)} s")
        state, _, packed, parts, error, reason = ended
        if state == "completed":
            codec = self._engine._codec
            value: T_co = codec.decode_with(packed, parts) if parts else codec.decode(packed)
            return value
        if state == "cancelled":
            raise RunCancelled(f"run {self.id} was cancelled: {reason}", run=self.id)
        step, code, message, details = error or ("", state.upper(), "", "")
        where = f" in step {step}" if step else ""
        text = f"run {self.id} {state}{where}: {message}"
        kind = RunTimedOut if state == "timed_out" else RunFailed
        raise kind(text, run=self.id, step=step or None, code=code, details=details)

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
        self._core.signal(self.id, name, self._engine._encoded(value, "value"))

    def explain(self, limit: int = 10) -> list[Reason]:
        """Return what the run does and waits for, at most so many steps of each kind.

        Examples
        --------
        >>> import ferroflow as ff
        >>> @ff.workflow
        ... def ask():
        ...     return ff.signal("answer")
        >>> with ff.Engine() as engine:
        ...     engine.start(ask).explain()
        [Reason(step='answer', what='signal', detail='answer', until=None)]
        """
        return msgspec.msgpack.decode(self._core.explain(self.id, limit), type=list[Reason])

    def progress(self, running: int = 10) -> records.Progress:
        """Return how far the run is; cheap while it is live, so ask as often as you like.

        Parameters
        ----------
        running
            How many of the steps that are running to name at most.

        Examples
        --------
        >>> import ferroflow as ff
        >>> term = {"task": "compute", "with": {"operation": "sum", "values": [1, 2]}}
        >>> with ff.Engine() as engine:
        ...     handle = engine.start(ff.load({"name": "one", "term": term}))
        ...     _ = handle.result()
        ...     handle.progress()
        Progress(ended=1, total=1, running=[])
        """
        ended, total, paths = self._core.progress_of(self.id, running)
        return records.Progress(ended=ended, total=total, running=paths)

    def view(self, *, values: bool = False) -> records.RunView:
        """Return the run with its steps, as far as it is committed.

        Parameters
        ----------
        values
            Whether to bring input, variables and all results too: of large runs they are many.

        Examples
        --------
        >>> import ferroflow as ff
        >>> @ff.task
        ... def halve(n: int) -> int:
        ...     return n // 2
        >>> @ff.workflow
        ... def quarter(n: int) -> int:
        ...     return halve(halve(n))
        >>> with ff.Engine() as engine:
        ...     handle = engine.start(quarter, 20)
        ...     _ = handle.result()
        ...     view = handle.view(values=True)
        >>> [(step.path, step.state, step.result) for step in view.steps]
        [('halve', 'completed', 10), ('halve_2', 'completed', 5)]
        """
        return records.run_view(self._core.inspect(self.id, values))

    def steps(self) -> list[records.StepView]:
        """Return the steps of the run, as far as they are committed."""
        return self.view().steps

    def events(self) -> list[dict[str, Any]]:
        """Return the events of the run, as far as they are committed."""
        return records.events(self._core.events(self.id))

    acancel = asynchronous(cancel)
    apause = asynchronous(pause)
    aresume = asynchronous(resume)
    asignal = asynchronous(signal)
    aview = asynchronous(view)
    asteps = asynchronous(steps)
    aevents = asynchronous(events)
