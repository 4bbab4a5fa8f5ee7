"""Hearing what happens in an engine: subscriptions, and who waits for the end of a run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from ferroflow.engine import records
from ferroflow.engine.logs import log
from ferroflow.engine.states import RunState
from ferroflow.errors import EngineClosed

if TYPE_CHECKING:
    import asyncio

    from ferroflow import _core


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a run, and is on record.

    Parameters
    ----------
    run, workflow
        The run's id and its workflow's name.
    sequence
        Its number among the events of the run, from 1.
    at
        When it happened: microseconds since 1970, UTC.
    kind
        `RunStarted`, `StepCompleted`, ...
    state
        The run's state since this event.
    was
        The state before, if this event changed it.
    fields
        What the kind of event holds.
    """

    run: str
    workflow: str
    sequence: int
    at: int
    kind: str
    state: RunState
    was: RunState | None
    fields: dict[str, Any]


class Subscription:
    """Calls a function with what happens, in order, each event once, until it is closed.

    `Engine.subscribe` makes one.

    Attributes
    ----------
    failures : int
        How often the function has raised; it is called with the next event all the same.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.workflow
    ... def nothing() -> None: ...
    >>> ended = []
    >>> with ff.Engine() as engine:
    ...     subscription = engine.subscribe(lambda event: ended.append(event.run), kinds=["RunCompleted"])
    ...     run = engine.start(nothing).id
    >>> subscription.drain()
    >>> ended == [run], subscription.failures
    (True, 0)
    """

    def __init__(
        self,
        listener: _core.Listener,
        callback: Callable[[Event], object],
        kinds: Iterable[str],
        run: str | None,
    ) -> None:
        self.failures = 0
        self._callback = callback
        self._kinds = frozenset(kinds)
        self._run = run
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._deliver, args=(listener,), name="ferroflow-events", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Call the function no more; one call that is under way ends first."""
        self._closed.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def drain(self) -> None:
        """Wait until all is delivered that happened before the engine was closed."""
        self._thread.join()

    def _deliver(self, listener: _core.Listener) -> None:
        # Nobody else has the listener: once this is over, no more events queue up for it.
        while not self._closed.is_set():
            try:
                packed = listener.next(0.1)
            except EngineClosed:
                return
            for event in [] if packed is None else unpacked(packed):
                if self._closed.is_set():
                    return
                if (self._run in (None, event.run)) and (not self._kinds or event.kind in self._kinds):
                    self._call(event)

    def _call(self, event: Event) -> None:
        try:
            self._callback(event)
        except BaseException:  # a `sys.exit()` too would end this thread and nothing else
            self.failures += 1
            log().exception("a subscriber raised on %s of run %s", event.kind, event.run)


def unpacked(packed: bytes) -> Iterable[Event]:
    """Decode what one commit added to a run."""
    run, workflow, first, before, raw, states = msgspec.msgpack.decode(packed)
    state = RunState(before)
    for event, leads_to in zip(records.flat(raw, first), states, strict=True):
        was = state
        state = state if leads_to is None else RunState(leads_to)
        changed = leads_to is not None and event["kind"] != "RunCreated"
        yield Event(
            run=run,
            workflow=workflow,
            sequence=event.pop("sequence"),
            at=event.pop("at"),
            kind=event.pop("kind"),
            state=state,
            was=was if changed else None,
            fields=event,
        )


class Ends:
    """Tells event loops of runs that have ended: one thread for all that wait, however many."""

    def __init__(self, core: _core.Engine) -> None:
        self._ends = core.ends()
        self._lock = threading.Lock()
        self._waiting: dict[str, list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}
        self._over = False
        threading.Thread(target=self._tell, name="ferroflow-ends", daemon=True).start()

    def expect(self, run: str) -> asyncio.Event:
        """Return an event of the running loop that is set once the run has ended."""
        import asyncio

        waiter = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            if self._over:
                waiter[1].set()
            else:
                self._waiting.setdefault(run, []).append(waiter)
        return waiter[1]

    def forget(self, run: str, ended: asyncio.Event) -> None:
        """Drop one that waits no longer."""
        with self._lock:
            left = [waiter for waiter in self._waiting.pop(run, []) if waiter[1] is not ended]
            if left:
                self._waiting[run] = left

    def _tell(self) -> None:
        while (run := self._ends.next()) is not None:
            with self._lock:
                waiters = self._waiting.pop(run, [])
            self._set(waiters)
        with self._lock:
            self._over = True
            waiters = [waiter for all_of_run in self._waiting.values() for waiter in all_of_run]
            self._waiting.clear()
        self._set(waiters)

    @staticmethod
    def _set(waiters: Iterable[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
        for loop, ended in waiters:
            # A loop that is closed has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(ended.set)
