"""The engine: an event log, worker threads, and the runs on them."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar

import msgspec

from ferroflow import _core
from ferroflow._core import Bytes
from ferroflow.define import Task, Workflow, registry
from ferroflow.define.attempt import attempt
from ferroflow.define.units import Duration, micros, size
from ferroflow.define.workflow import reporting
from ferroflow.engine import opened, records
from ferroflow.engine.blocking import asynchronous, may_block
from ferroflow.engine.bodies import Bodies, unserialisable
from ferroflow.engine.capacity import capacity as amounts
from ferroflow.engine.executors import Executor, Executors
from ferroflow.engine.handle import Handle
from ferroflow.engine.listening import Ends, Event, Subscription
from ferroflow.engine.logs import log, tells_changes
from ferroflow.engine.middleware import ENDS, Middleware, RunHooks
from ferroflow.engine.options import PRIORITIES, Registration, RunOptions, Stats
from ferroflow.engine.policies import BuiltinPolicy, Policy, PolicyName, Ranker, chosen, thousandths
from ferroflow.engine.staff import Staff
from ferroflow.engine.values import Codec
from ferroflow.errors import DefinitionError, FerroflowError, InvalidInput, TaskNotFound

if TYPE_CHECKING:
    from ferroflow.engine.audit import Breach

P = ParamSpec("P")
R = TypeVar("R")


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
        What steps may use at a time: `cpu` (default: the processors), `memory` (the machine's),
        `disk` (what is free), or any name.
    async_limit
        Asynchronous bodies under way at a time.
    processes
        Bodies in processes of their own at a time: commands, and tasks with `executor="process"`.
        Default: the number of processors, at least 2.
    executors
        Executors of your own, by the names that tasks give.
    middleware
        What is called round runs and steps, in order.
    max_value
        Size that one value may have: a result, what is passed on, what a run yields.
    max_runs
        Unfinished runs that are accepted at a time; `start` raises `EngineBusy` beyond that.
    max_running_runs
        Runs under way at a time; others wait as created, by priority and then in the order of their start.
        A run that a body starts does not wait.
    max_running_steps
        Steps of a run that run at a time, if the run says nothing else.
    max_batch_size
        How many waiting runs are started in one turn, and how many steps an `ff.Policy` is shown at a time.
    batch_window
        How long steps that become ready gather before they are ranked and start, from the first one on. None:
        each starts as soon as it can.
    policy
        How ready steps are ranked: a name, `ff.policy(...)`, or an `ff.Policy` of your own.
    run_timeout, step_timeout
        Of runs, and of attempts, that have no timeout of their own.
    resume
        Whether to resume unfinished runs now: all, none, or those of which a function of their
        record says so. Later: `engine.resume()`.
    node
        What runs record as the place where they ran. Default: the host's name.
    cgroup
        Where commands get control groups of their own, which hold them to their memory, count what all
        their processes use, and end them all: a directory of cgroup v2 that this process may fill.
        None: where a service manager has delegated one. False: nowhere.
    audit
        Whether to look, before and after each body, at the files and directories that are declared assets
        with a path. A task that changes what it only reads, or does not declare, gets a warning in the log
        and an entry in `audits`; one that is the first of its run to use what has another content than its
        `fingerprint` says fails. That takes as long as reading all of them.

    Raises
    ------
    ValueError
        If an option makes no sense, or there can be no control groups below `cgroup`.

    Attributes
    ----------
    unresumed : dict of str to FerroflowError
        Runs that could not be resumed, and why: their tasks are not imported, or their records are
        damaged. The others go on.
    audits : sequence of Breach
        What tasks have changed that they should not; the newest 10,000, with `audit`.

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
        processes: int | None = None,
        executors: Mapping[str, Executor] | None = None,
        middleware: Iterable[Middleware] = (),
        max_value: int | str = "64MiB",
        max_runs: int | None = None,
        max_running_runs: int | None = None,
        max_running_steps: int | None = None,
        max_batch_size: int = 100,
        batch_window: Duration | None = None,
        policy: PolicyName | BuiltinPolicy | Policy = "upward_rank",
        run_timeout: Duration | None = None,
        step_timeout: Duration | None = None,
        resume: bool | Callable[[records.RunRecord], bool] = True,
        node: str | None = None,
        cgroup: str | os.PathLike[str] | Literal[False] | None = None,
        audit: bool = False,
    ) -> None:
        if path is not None and os.fspath(path) == ":memory:":
            path = None
        self.path = None if path is None or durability == "memory" else Path(path)
        durability = durability or ("memory" if self.path is None else "strict")
        if self.path is None and durability != "memory":
            raise ValueError(f"durability {durability!r} needs a path; give one, or use 'memory'")
        threads = max(2, os.cpu_count() or 2) if workers is None else workers
        processes = threads if processes is None else processes
        for name, least in (
            ("workers", threads),
            ("async_limit", async_limit),
            ("processes", processes),
            ("max_runs", max_runs),
            ("max_running_runs", max_running_runs),
            ("max_running_steps", max_running_steps),
            ("max_batch_size", max_batch_size),
        ):
            if least is not None and least < 1:
                raise ValueError(f"{name}={least}: at least one is needed")
        spelled, own = chosen(policy)
        self._process = os.getpid()
        self._native = _core.Engine(
            self.path,
            durability,
            amounts(capacity or {}, self.path),
            async_limit,
            size(max_value),
            max_runs,
            # 0 means no limit, like None.
            None if run_timeout is None else micros(run_timeout) or None,
            None if step_timeout is None else micros(step_timeout) or None,
            node or os.uname().nodename,
            cgroup,
            (spelled, max_running_runs, max_batch_size, max_running_steps, micros(batch_window or 0)),
        )
        self.workers = threads
        self.unresumed: dict[str, FerroflowError] = {}
        self._codec = Codec(None if self.path is None else Path(os.path.realpath(self.path)))
        middleware = [*middleware]
        self.audits: Sequence[Breach] = ()
        if audit:
            from ferroflow.engine.audit import Audit

            # Nearest to the bodies: what other middleware changes is no body's doing.
            looks = Audit()
            self.audits = looks.breaches
            middleware.append(looks)
        self._hooks = RunHooks(middleware)
        self._bodies = Bodies(self._codec, middleware)
        self._opening, self._closing = threading.Lock(), threading.Lock()
        self._closed = False
        self._ends: Ends | None = None
        self._staff = Staff(self._native, self._bodies.surrounded(self._bodies.execute), threads)
        self._executors = Executors(self._native, self._bodies, self._staff, processes, executors or {})
        self._batch = max_batch_size
        self._ranker: Ranker | None = None
        if own is not None:
            self._rank_by(own)
        opened.engines.add(self)
        self._changes = [self.subscribe(_log_change)] if tells_changes() else []
        if self._hooks:
            self._changes.append(self.subscribe(self._hooks.ended, kinds=ENDS))
        if resume and self.path is not None:
            try:
                self.resume(None if resume is True else resume)
            except BaseException as error:
                error.add_note(f"{self.path} was not opened, as its unfinished runs could not be resumed")
                self.close(drain=0)
                raise

    @classmethod
    def dev(cls, *, workers: int = 10) -> Self:
        """Open an engine for trying things out: in memory, ten workers, changes logged on the console.

        Examples
        --------
        >>> import ferroflow as ff
        >>> with ff.Engine.dev() as engine:
        ...     engine.workers
        10
        """
        import logging

        if not log().handlers:
            console = logging.StreamHandler()
            console.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
            log().addHandler(console)
        log().setLevel(logging.INFO)
        return cls(workers=workers, capacity={"cpu": workers})

    @property
    def _core(self) -> _core.Engine:
        if os.getpid() != self._process:
            raise FerroflowError(
                f"this engine belongs to process {self._process}, and a fork has carried it into "
                f"{os.getpid()}; open an engine here, or start processes by 'spawn'"
            )
        return self._native

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
        await self.aclose()

    def close(self, drain: Duration = 30.0) -> int:
        """Wait for the bodies that are running, start no others, and close the database.

        Runs that have not ended are resumed by the next engine on the database.

        Parameters
        ----------
        drain
            How long to wait for bodies. Those that still run then are told to stop, as by a
            cancellation, and their steps run again with their runs.

        Returns
        -------
        How many runs have not ended.
        """
        with self._closing:
            if self._closed:
                return 0
            core = self._core
            core.stop()
            until = time.monotonic() + micros(drain) / 1e6
            if self._staff.left(until):
                core.abandon()
                self._executors.abandon()
                if left := self._staff.left(time.monotonic() + 1.0):
                    where = self.path or "memory"
                    log().warning("closed the engine on %s although bodies do not stop: %s", where, left)
            self._executors.close()
            core.join()
            # Not before: what was interrupted here, by Ctrl-C, can be tried again.
            self._closed = True
            for changes in self._changes:
                changes.drain()
            opened.engines.discard(self)
            return core.remaining()

    aclose = asynchronous(close)

    def __del__(self) -> None:
        # Its threads would go on, and hold the database, as long as the process lives.
        if hasattr(self, "_staff") and not self._closed and os.getpid() == self._process:
            warnings.warn(f"{self!r} was never closed", ResourceWarning, stacklevel=2, source=self)
            self.close(drain=0)

    # ------------------------------------------------------------------------------- running

    def start(
        self,
        workflow: Workflow[P, R] | str,
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
            What to run: a workflow, or the name of a registered one.
        *args, **inputs
            Its inputs.
        options
            Priority, timeout, correlation id and id of the run.

        Raises
        ------
        BorrowError
            If its steps race for an asset, or use one that was taken; see `workflow`.
        InvalidInput
            If an input is missing, unknown or of the wrong type.
        TaskNotFound
            If the workflow uses a task that no imported module defines.
        WorkflowNotFound
            If no workflow is registered under the name.
        RunExists
            If there is a run of the id in the options.
        EngineBusy
            If the engine has `max_runs` unfinished runs.
        """
        options = options or RunOptions()
        if options.priority not in PRIORITIES:
            raise InvalidInput(f"priority={options.priority!r}: give one of {', '.join(PRIORITIES)}")
        found = self._registered(workflow, options.version) if isinstance(workflow, str) else workflow
        # What is registered was checked then.
        program = found.program if isinstance(workflow, str) else found.runnable
        lanes = self._lanes(program.tasks)
        bound = found.bind(*args, **inputs)
        with reporting(found.name), self._hooks.round(found, options.id, bound) as (name, refused):
            run = self._core.start(
                program,
                [lanes[name] for name in program.tasks],
                self._encoded(bound, "inputs"),
                PRIORITIES.index(options.priority),
                None if options.timeout is None else micros(options.timeout),
                options.correlation,
                (
                    options.tenant,
                    [*options.tags],
                    None if options.weight is None else thousandths(options.weight),
                    _instant(options.deadline),
                    options.max_running_steps,
                    [(it, None) if isinstance(it, str) else it for it in options.plan],
                    # A body that waits for a run can't wait for others to end.
                    attempt.get() is not None,
                ),
                name,
                refused,
            )
        return Handle(self, run)

    def run(
        self,
        workflow: Workflow[P, R] | str,
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
        may_block("engine.run()", "await engine.arun()")
        handle: Handle[R] = self.start(workflow, *args, options=options, **inputs)
        return handle._wait()

    async def astart(
        self,
        workflow: Workflow[P, R] | str,
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
        workflow: Workflow[P, R] | str,
        /,
        *args: Any,
        options: RunOptions | None = None,
        **inputs: Any,
    ) -> R:
        """Like `run`, for `await`."""
        handle: Handle[R] = await self.astart(workflow, *args, options=options, **inputs)
        return await handle.aresult()

    # ------------------------------------------------------------------------------- ranking

    def set_policy(self, policy: PolicyName | BuiltinPolicy | Policy) -> None:
        """Rank ready steps by another policy from now on, those that wait already too.

        Parameters
        ----------
        policy
            A name, what `ff.policy(...)` returns, or an `ff.Policy` of your own.

        Examples
        --------
        >>> import ferroflow as ff
        >>> with ff.Engine() as engine:
        ...     before = engine.stats().policy
        ...     engine.set_policy("shortest_first")
        ...     before, engine.stats().policy
        ('upward_rank', 'shortest_first')
        """
        spelled, own = chosen(policy)
        with self._opening:
            if self._ranker is not None:
                self._ranker.dismiss()
                self._ranker = None
            self._core.set_policy(spelled)
            if own is not None:
                self._rank_by(own)

    def _rank_by(self, policy: Policy) -> None:
        self._ranker = Ranker(self._native, policy, self._batch)
        self._staff.hire(self._ranker.work, "ferroflow-policy")

    def _encoded(self, value: object, what: str) -> bytes | Bytes:
        try:
            return self._codec.pack(value)
        except Exception as why:
            raise InvalidInput(
                f"{unserialisable(self._codec, value, what)}, which can't be recorded ({why})"
            ) from None

    def _listening(self) -> Ends:
        with self._opening:
            if self._ends is None:
                self._ends = Ends(self._core)
            return self._ends

    # --------------------------------------------------------------------------- registering

    def register(self, workflow: Workflow[..., Any]) -> Registration:
        """Make a workflow one that can be started by its name, also after a restart.

        The same workflow again, by its content, is no change.

        Raises
        ------
        DefinitionError
            If the workflow is not right, has no steps, or is not the one that is registered under
            its name and version.
        TaskNotFound
            If it uses a task that no imported module defines.

        Examples
        --------
        >>> import ferroflow as ff
        >>> @ff.task
        ... def double(n: int) -> int:
        ...     return 2 * n
        >>> @ff.workflow(version="7")
        ... def twice(n: int) -> int:
        ...     return double(n)
        >>> with ff.Engine() as engine:
        ...     _ = engine.register(twice)
        ...     engine.run("twice", 4), [it.version for it in engine.workflows()]
        (8, ['7'])
        """
        program = workflow.runnable
        if not any(nodes for _, nodes, _ in program.blocks()):
            raise DefinitionError(f"workflow {workflow.name!r} has no steps: give it at least one")
        self._lanes(program.tasks)
        since = self._core.register(program)
        return Registration(name=program.name, version=program.version, hash=program.hash, registered=since)

    def workflows(self) -> list[Registration]:
        """Return the registered workflows, the latest of each name first."""
        return [
            Registration(name=name, version=version, hash=content, registered=since)
            for name, version, content, since in self._core.registered()
        ]

    def _registered(self, name: str, version: str | None) -> Workflow[..., Any]:
        return Workflow.from_definition(msgspec.msgpack.decode(self._core.definition(name, version)))

    def handle(self, run: str) -> Handle[Any]:
        """Return a handle on a run by its id; raises `RunNotFound` if there is none."""
        self._core.status(run)
        return Handle(self, run)

    def resume(self, runs: Iterable[str] | Callable[[records.RunRecord], bool] | None = None) -> list[str]:
        """Take up runs that had not ended when the database was last used.

        Parameters
        ----------
        runs
            Their ids, or a function of a run's record that says whether it goes on; all of them
            by default.

        Returns
        -------
        The ids of those that go on. Of the others `unresumed` says why they do not; where ids
        were given, the first such reason is raised.
        """
        chosen = runs if callable(runs) else None
        wanted = None if runs is None or callable(runs) else set(runs)
        going: dict[str, records.RunRecord] = {}
        lanes: dict[str, int] = {}
        failed: dict[str, FerroflowError] = {}
        for row, tasks in self._core.unfinished():
            record = msgspec.convert(row, records.RunRecord)
            if (wanted is not None and record.id not in wanted) or (chosen and not chosen(record)):
                continue
            try:
                if isinstance(tasks, FerroflowError):
                    raise tasks
                lanes |= self._lanes(tasks)
            except FerroflowError as error:
                failed[record.id] = error
                continue
            going[record.id] = record
        if going:
            refused = self._hooks.again(going.values())
            failed |= dict(self._core.recover([*going], lanes, refused))
        self.unresumed = {run: why for run, why in self.unresumed.items() if run not in going}
        for run, why in failed.items():
            self.unresumed[run] = why
            log().error("run %s is not resumed: %s", run, why)
        if failed and wanted is not None:
            raise next(iter(failed.values()))
        return [run for run in going if run not in failed]

    def _lanes(self, tasks: Iterable[str]) -> dict[str, int]:
        """Make the tasks known to those who run them; say which lanes these serve."""
        lanes, unknown = {}, []
        for name in tasks:
            found: Task[..., Any] | None = registry.find(name)
            if found is None:
                unknown.append(name)
                continue
            self._bodies.add(name, found)
            lanes[name] = self._executors.lane(found)
        if unknown:
            raise TaskNotFound(
                f"no task is called {', '.join(map(repr, unknown))}: import the module that "
                "defines it with @ff.task, or correct the name"
            )
        return lanes

    # ------------------------------------------------------------------------------- looking

    def subscribe(
        self, callback: Callable[[Event], object], *, kinds: Iterable[str] = (), run: str | None = None
    ) -> Subscription:
        """Call a function with what happens from now on, once it is on record.

        Events come in order, each once, in a thread of the subscription's own. A function that
        raises is logged and counted, and harms nobody; one that is slow makes events queue up.

        Parameters
        ----------
        callback
            Gets an `Event`.
        kinds
            Only these kinds, such as "RunCompleted"; all by default.
        run
            Only this run.

        Examples
        --------
        >>> import ferroflow as ff
        >>> @ff.workflow
        ... def nothing() -> None: ...
        >>> seen = []
        >>> with ff.Engine() as engine:
        ...     changes = engine.subscribe(lambda event: seen.append((event.was, event.state)))
        ...     engine.run(nothing)
        >>> changes.drain()
        >>> [f"{was} to {state}" for was, state in seen if was]
        ['created to running', 'running to completed']
        """
        return Subscription(self._core.listen(), callback, kinds, run)

    def sql(self, query: str, *parameters: object, timeout: Duration = 30.0) -> list[dict[str, Any]]:
        """Run a query over the database; it can only read.

        The tables are those of `rust/journal/src/sqlite/schema_1.sql`. Don't open the file with
        another SQLite in this process, such as Python's: that would drop the engine's locks.

        Parameters
        ----------
        query
            One SELECT, with `?1`, `?2` for parameters.
        *parameters
            Numbers, texts, bytes or None.
        timeout
            The query is stopped after this time.

        Returns
        -------
        A dict a row, by the names of the columns.

        Raises
        ------
        QueryRefused
            If it fails or would do more than read, or if the engine has no database file.
        """
        packed = self._core.query(query, msgspec.msgpack.encode(parameters), micros(timeout) / 1e6)
        columns, rows = msgspec.msgpack.decode(packed)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def leases(self) -> list[records.Lease]:
        """Return who holds assets, as they were granted, and then who waits for them, as they come first.

        Examples
        --------
        >>> import ferroflow as ff
        >>> with ff.Engine() as engine:
        ...     engine.leases()
        []
        """
        return records.leases(self._core.leases())

    def stats(self) -> Stats:
        """Return what the engine has done since it was opened, and does now.

        Examples
        --------
        >>> import ferroflow as ff
        >>> @ff.workflow
        ... def nothing() -> None: ...
        >>> with ff.Engine() as engine:
        ...     engine.run(nothing)
        ...     engine.stats().runs["completed"]
        1
        """
        return msgspec.msgpack.decode(self._core.stats(), type=Stats)

    def list(
        self,
        *,
        workflow: str | None = None,
        state: str | Iterable[str] = (),
        correlation: str | None = None,
        since: datetime | int | None = None,
        until: datetime | int | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[records.RunRecord]:
        """Return runs, newest first, as far as they are committed.

        Parameters
        ----------
        workflow, state, correlation
            Only these.
        since, until
            Created at or after, and before: datetimes, or microseconds since 1970, UTC.
        before
            Only runs older than this one: pass the last id of a page to get the next.
        limit
            Runs to return at most.
        """
        states = [state] if isinstance(state, str) else [*state]
        rows = self._core.runs(
            workflow, states, correlation, records.instant(since), records.instant(until), before, limit
        )
        return records.run_records(rows)

    aset_policy = asynchronous(set_policy)
    aregister = asynchronous(register)
    aresume = asynchronous(resume)
    ahandle = asynchronous(handle)
    alist = asynchronous(list)  # noqa: A003 - the method
    asql = asynchronous(sql)


def _instant(deadline: datetime | Duration | None) -> int | None:
    if isinstance(deadline, datetime):
        if deadline.tzinfo is None:
            raise InvalidInput(f"deadline={deadline!r} has no time zone: give it one")
        return records.instant(deadline)
    return None if deadline is None else time.time_ns() // 1000 + micros(deadline)


def _log_change(event: Event) -> None:
    if event.kind == "RunCreated" or event.was is not None:
        log().info("%s %s is %s", event.workflow, event.run, event.state)
