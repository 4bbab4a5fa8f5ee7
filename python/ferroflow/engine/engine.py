"""The engine: an event log, worker threads, and the runs on them."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, ParamSpec, Self, TypeVar

import msgspec

from ferroflow import _core
from ferroflow.define import Priority, Task, Workflow, registry
from ferroflow.define.units import micros, size
from ferroflow.define.workflow import reporting
from ferroflow.engine import records
from ferroflow.engine.bodies import Bodies, prepare
from ferroflow.engine.handle import Handle
from ferroflow.errors import TaskNotFound

P = ParamSpec("P")
R = TypeVar("R")

PRIORITIES: Sequence[str] = ("critical", "high", "normal", "low", "background")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is run.

    Parameters
    ----------
    priority
        Class of all its steps that have none of their own.
    timeout
        The run must end within this time: seconds, timedelta or "5m". Goes before the
        workflow's own.
    correlation
        An id of the caller's, to find the run by.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.workflow
    ... def nothing():
    ...     return None
    >>> with ff.Engine() as engine:
    ...     engine.run(nothing, options=ff.RunOptions(correlation="order 7"))
    ...     [run.workflow for run in engine.list(correlation="order 7")]
    ['nothing']
    """

    priority: Priority = "normal"
    timeout: float | str | timedelta | None = None
    correlation: str | None = None


_open: weakref.WeakSet[Engine] = weakref.WeakSet()


class Engine:
    """Runs workflows durably.

    Opening a database resumes the runs that had not ended, if their tasks are known; finished
    steps are not run again.

    Parameters
    ----------
    path
        The database file, created if absent. None keeps the log in memory.
    workers
        Threads that run synchronous tasks. Default: the number of processors, at least 2.
    durability
        "strict" (default with a path): what was reported done outlives a power failure.
        "relaxed": it outlives the process. "memory" (default without a path).
    capacity
        What steps may use at a time: `cpu` (default: the processors), `memory`, or any name.
    async_limit
        Asynchronous bodies under way at a time.
    max_value
        Size that one result may have.
    resume
        Whether to resume unfinished runs now. Later: `engine.resume()`.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.task
    ... def greet(name: str) -> str:
    ...     return f"Hello {name}"
    >>> @ff.workflow
    ... def hello(name: str) -> str:
    ...     return greet(name)
    >>> with ff.Engine() as engine:
    ...     engine.run(hello, "world")
    'Hello world'
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        workers: int | None = None,
        durability: Literal["strict", "relaxed", "memory"] | None = None,
        capacity: Mapping[str, float | str] | None = None,
        async_limit: int = 1000,
        max_value: int | str = "64MiB",
        resume: bool = True,
    ) -> None:
        if path is not None and os.fspath(path) == ":memory:":
            path = None
        self.path = None if path is None or durability == "memory" else Path(path)
        durability = durability or ("memory" if self.path is None else "strict")
        if self.path is None and durability != "memory":
            raise ValueError(f"durability {durability!r} needs a path; give one, or use 'memory'")
        threads = max(2, os.cpu_count() or 2) if workers is None else workers
        if threads < 1:
            raise ValueError(f"workers={threads}: at least one is needed")
        amounts = {"cpu": float(os.cpu_count() or 1), "memory": _physical_memory()}
        amounts |= dict(capacity or {})  # type: ignore[arg-type]
        self._core = _core.Engine(
            self.path,
            durability,
            {name: _amount(name, amount) for name, amount in amounts.items()},
            async_limit,
            size(max_value),
        )
        self.workers = threads
        self._bodies = Bodies(self._core)
        self._closing = threading.Lock()
        self._closed = False
        self._loop_thread: threading.Thread | None = None
        self._threads = [
            threading.Thread(
                target=self._core.work,
                args=(0, self._bodies.execute),
                name=f"ferroflow-worker-{number}",
                daemon=True,
            )
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()
        _open.add(self)
        if resume and self.path is not None:
            self.resume()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Engine {str(self.path) if self.path else 'in memory'}, {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        import asyncio

        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Wait for the bodies that are running, start no others, and close the database.

        Runs that have not ended are resumed by the next engine on the database.
        """
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._core.stop()
            for thread in self._threads:
                if thread is not threading.current_thread():
                    thread.join()
            if self._loop_thread is not None:
                self._loop_thread.join()
            self._core.join()
            _open.discard(self)

    # ------------------------------------------------------------------------------- running

    def start(
        self,
        workflow: Workflow[P, R],
        /,
        *args: Any,
        options: RunOptions | None = None,
        **inputs: Any,
    ) -> Handle[R]:
        """Start a run and return a handle on it.

        With `strict` durability the run is on disk when this returns.

        Parameters
        ----------
        workflow
            What to run.
        *args, **inputs
            Its inputs.
        options
            Priority, timeout and correlation id of the run.

        Raises
        ------
        InvalidInput
            If an input is missing, unknown or of the wrong type.
        TaskNotFound
            If the workflow uses a task that no imported module defines.
        """
        options = options or RunOptions()
        program = workflow.program
        lanes = self._lanes(program.tasks)
        with reporting(workflow.name):
            run = self._core.start(
                program,
                [lanes[name] for name in program.tasks],
                msgspec.msgpack.encode(workflow.bind(*args, **inputs)),
                PRIORITIES.index(options.priority),
                None if options.timeout is None else micros(options.timeout),
                options.correlation,
            )
        return Handle(self._core, run)

    def run(
        self,
        workflow: Workflow[P, R],
        /,
        *args: Any,
        options: RunOptions | None = None,
        **inputs: Any,
    ) -> R:
        """Start a run, wait for its end and return what it yields.

        Raises
        ------
        RunFailed, RunTimedOut, RunCancelled
            If the run did not complete.
        """
        return self.start(workflow, *args, options=options, **inputs).result()

    async def astart(
        self,
        workflow: Workflow[P, R],
        /,
        *args: Any,
        options: RunOptions | None = None,
        **inputs: Any,
    ) -> Handle[R]:
        """Like `start`, for `await`."""
        import asyncio

        return await asyncio.to_thread(self.start, workflow, *args, options=options, **inputs)

    async def arun(
        self,
        workflow: Workflow[P, R],
        /,
        *args: Any,
        options: RunOptions | None = None,
        **inputs: Any,
    ) -> R:
        """Like `run`, for `await`."""
        handle = await self.astart(workflow, *args, options=options, **inputs)
        return await handle.aresult()

    def handle(self, run: str) -> Handle[Any]:
        """Return a handle on a run by its id; raises `RunNotFound` if there is none."""
        self._core.status(run)
        return Handle(self._core, run)

    def resume(self, runs: Iterable[str] | None = None) -> list[str]:
        """Take up runs that had not ended when the database was last used.

        Parameters
        ----------
        runs
            Their ids; all of them by default.

        Returns
        -------
        The ids of those that go on. Runs whose tasks are not imported stay as they are.
        """
        wanted = None if runs is None else set(runs)
        going = []
        lanes: dict[str, int] = {}
        for run, _, tasks in self._core.unfinished():
            if wanted is not None and run not in wanted:
                continue
            try:
                lanes |= self._lanes(tasks)
            except TaskNotFound:
                if wanted is not None:
                    raise
                continue
            going.append(run)
        if going:
            self._core.recover(going, lanes)
        return going

    def _lanes(self, tasks: Iterable[str]) -> dict[str, int]:
        """Make the tasks known to the workers; say which of them are asynchronous."""
        lanes, unknown = {}, []
        for name in tasks:
            found: Task[..., Any] | None = registry.find(name)
            if found is None:
                unknown.append(name)
                continue
            self._bodies.functions[name] = prepare(found)
            lanes[name] = int(found.is_async)
        if unknown:
            raise TaskNotFound(
                f"no task is called {', '.join(map(repr, unknown))}: import the module that "
                "defines it with @ff.task, or correct the name"
            )
        if any(lanes.values()) and self._loop_thread is None:
            self._loop_thread = threading.Thread(
                target=self._bodies.serve, name="ferroflow-feeder", daemon=True
            )
            self._loop_thread.start()
        return lanes

    # ------------------------------------------------------------------------------- looking

    def list(
        self,
        *,
        workflow: str | None = None,
        state: str | Iterable[str] = (),
        correlation: str | None = None,
        since: int | None = None,
        until: int | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[records.RunRecord]:
        """Return runs, newest first, as far as they are committed.

        Parameters
        ----------
        workflow, state, correlation
            Only these.
        since, until
            Created at or after, and before: microseconds since 1970, UTC.
        before
            Only runs older than this one: pass the last id of a page to get the next.
        limit
            Runs to return at most.
        """
        states = [state] if isinstance(state, str) else [*state]
        rows = self._core.runs(workflow, states, correlation, since, until, before, limit)
        return records.run_records(rows)


def _physical_memory() -> float:
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return float(1 << 40)


def _amount(name: str, amount: float | str) -> int:
    """Return the core's unit: bytes for memory and disk, thousandths for the rest."""
    if name in ("memory", "disk"):
        return size(amount if isinstance(amount, str) else int(amount))
    return round(float(amount) * 1000)


@atexit.register
def _close_all() -> None:
    # Worker threads must be out of the interpreter before it is torn down.
    for engine in [*_open]:
        engine.close()
