"""Who runs the bodies of tasks: threads, the event loop, processes, and executors of the user's."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ferroflow import _core
from ferroflow.engine.bodies import pack
from ferroflow.engine.logs import log
from ferroflow.engine.loop import Loop
from ferroflow.engine.middleware import StepHooks
from ferroflow.engine.outcomes import Outcome, failure
from ferroflow.engine.processes import Processes
from ferroflow.errors import Cancelled, DefinitionError

if TYPE_CHECKING:
    from ferroflow.define import Task
    from ferroflow.engine.bodies import Bodies
    from ferroflow.engine.staff import Staff

GROUP = "ferroflow.executors"
"""The entry points by which packages bring executors."""


class Future(Protocol):
    """What `Work.settle` takes: a future of `concurrent.futures`, or anything like one."""

    def result(self) -> Any:
        """Return the result, or raise what the function raised."""
        ...


class Work:
    """One body that an executor is to run.

    Attributes
    ----------
    task : Task
        Whose body it is.
    args : list
    kwargs : dict
        What the function gets.
    context : Context
        What `ff.current()` yields in `run`.

    Examples
    --------
    >>> import ferroflow as ff
    >>> class Here:
    ...     slots = 1
    ...     def submit(self, work):
    ...         work.done(work.task.fn(*work.args, **work.kwargs) + work.context.attempt)
    ...     def cancel(self, work): ...
    ...     def close(self): ...
    >>> @ff.task(executor="here")
    ... def twofold(n: int) -> int:
    ...     return 2 * n
    >>> @ff.workflow
    ... def flow(n: int):
    ...     return twofold(n)
    >>> with ff.Engine(executors={"here": Here()}) as engine:
    ...     engine.run(flow, 4)
    9
    """

    def __init__(
        self,
        job: _core.Job,
        name: str,
        arguments: bytes,
        bodies: Bodies,
        ended: Callable[[int], None],
    ) -> None:
        self._job, self._name, self._arguments, self._bodies = job, name, arguments, bodies
        self._ended = ended
        self.task: Task[..., Any] = bodies.task(name)
        *self.args, self.kwargs = bodies.codec.decoder(job.parts)(arguments)
        self.context = bodies.context(job, arguments)
        self._hooks = StepHooks(bodies.middleware, self.context)
        self._lock, self._settled = threading.Lock(), False

    def __repr__(self) -> str:
        return f"<Work on {self.context.step} of run {self.context.run}>"

    def run(self) -> Any:
        """Call the function here, with `ff.current()` as in any other body, and return what it yields."""
        return self._bodies.bound(self._job, self._name, self._arguments)()

    def settle(self, future: Future) -> None:
        """Report what has become of the body, as a future says it."""
        try:
            result = future.result()
        except BaseException as error:
            self.fail(error)
        else:
            self.done(result)

    def done(self, result: Any) -> None:
        """Report the result."""
        self._finish(pack(self._bodies.codec, result))

    def fail(self, error: BaseException) -> None:
        """Report a failure, by the exception that says what it was."""
        if type(error).__name__ == "CancelledError":
            error = Cancelled("the attempt was cancelled")
        self._finish(failure(error))

    def _finish(self, outcome: Outcome) -> None:
        with self._lock:
            first, self._settled = not self._settled, True
        if first:
            self._job.finish(self._hooks.after(outcome))
            self._ended(self._job.token)

    def _begin(self, executor: Executor) -> None:
        refused = self._hooks.before()
        if refused is not None:
            self._finish(refused)
            return
        try:
            executor.submit(self)
        except BaseException as error:
            self.fail(error)


@runtime_checkable
class Executor(Protocol):
    """Runs bodies where the user wants them.

    An engine gets its executors as `Engine(executors={"name": executor})`, or from installed packages by
    the entry points `ferroflow.executors`, each a callable without arguments that makes one. A task
    names its own: `@ff.task(executor="name")`.

    Attributes
    ----------
    slots : int
        How many bodies it runs at a time.

    Examples
    --------
    >>> import concurrent.futures
    >>> import ferroflow as ff
    >>> class Pool:
    ...     slots = 4
    ...     def __init__(self):
    ...         self.pool, self.futures = concurrent.futures.ThreadPoolExecutor(self.slots), {}
    ...     def submit(self, work):
    ...         future = self.futures[work] = self.pool.submit(work.run)
    ...         future.add_done_callback(lambda future: (self.futures.pop(work), work.settle(future)))
    ...     def cancel(self, work):
    ...         if future := self.futures.get(work):
    ...             future.cancel()
    ...     def close(self):
    ...         self.pool.shutdown()
    >>> @ff.task(executor="pool")
    ... def double(n: int) -> int:
    ...     return 2 * n
    >>> @ff.workflow
    ... def flow(n: int):
    ...     return double(n)
    >>> with ff.Engine(executors={"pool": Pool()}) as engine:
    ...     engine.run(flow, 4)
    8
    """

    slots: int

    def submit(self, work: Work) -> None:
        """Begin a body, without waiting for it; say later, from any thread, what has become of it."""
        ...

    def cancel(self, work: Work) -> None:
        """Stop a body that no longer counts, if that can be done."""
        ...

    def close(self) -> None:
        """Let go of everything: the engine closes."""
        ...


class Executors:
    """The executors of an engine, each with its lane."""

    def __init__(
        self,
        core: _core.Engine,
        bodies: Bodies,
        staff: Staff,
        processes: int,
        given: Mapping[str, Executor],
    ) -> None:
        self._core, self._bodies, self._staff = core, bodies, staff
        self._given = dict(given)
        self._lock = threading.Lock()
        self._lanes: dict[str, int] = {"thread": _core.THREADS}
        self._served: list[_Served] = []
        self.loop = Loop(core, bodies)
        self.processes = Processes(core, bodies, processes)

    def lane(self, task: Task[..., Any]) -> int:
        """Return the lane of a task, with somebody who serves it.

        Raises
        ------
        DefinitionError
            If there is no executor of the name that the task gives.
        """
        found = self._lanes.get(task.executor)
        if found is not None:
            return found
        with self._lock:
            if task.executor not in self._lanes:
                self._lanes[task.executor] = self._opened(task)
            return self._lanes[task.executor]

    def _opened(self, task: Task[..., Any]) -> int:
        match task.executor:
            case "loop":
                self._staff.hire(self.loop.serve, "ferroflow-feeder")
                return _core.LOOP
            case "process" | "command":
                if not {"process", "command"} & self._lanes.keys():
                    for number in range(self.processes.slots):
                        self._staff.hire(self.processes.serve, f"ferroflow-process-{number}")
                return _core.CHILDREN
        lane = _core.CHILDREN + 1 + len(self._served)
        if lane >= _core.LANES:
            raise DefinitionError(f"an engine has at most {len(self._served)} executors of the user's")
        served = _Served(self._core, self._bodies, self._found(task), lane)
        self._core.limit(lane, served.executor.slots)
        self._served.append(served)
        self._staff.hire(served.serve, f"ferroflow-{task.executor}")
        return lane

    def _found(self, task: Task[..., Any]) -> Executor:
        if task.executor in self._given:
            return self._given[task.executor]
        from importlib.metadata import entry_points

        for point in entry_points(group=GROUP, name=task.executor):
            made: Executor = point.load()()
            return made
        known = ["thread", "process", *sorted(self._given), *sorted(entry_points(group=GROUP).names)]
        raise DefinitionError(
            f"task {task.name!r} wants the executor {task.executor!r}, and there are {', '.join(known)}; "
            "give it to the engine with executors={...}, or install the package that brings it"
        )

    @contextlib.contextmanager
    def lending(self) -> Iterator[None]:
        """While an asynchronous body waits for a run, let another one run in its place."""
        if not self.loop.here():
            yield
            return
        self._core.lend()
        try:
            yield
        finally:
            self._core.take_back()

    def abandon(self) -> None:
        """Stop bodies that still run, as the engine waits for them no longer."""
        self.loop.abandon()
        for served in self._served:
            served.abandon()

    def close(self) -> None:
        """Close the executors of the user's."""
        for served in self._served:
            try:
                served.executor.close()
            except Exception as error:
                log().warning("closing %r raised %r", served.executor, error)


class _Served:
    """An executor of the user's, and the bodies it runs."""

    def __init__(self, core: _core.Engine, bodies: Bodies, executor: Executor, lane: int) -> None:
        if executor.slots < 1:
            raise DefinitionError(f"{executor!r} has slots={executor.slots!r}: give a number from 1 on")
        self.executor = executor
        self._core, self._bodies, self._lane = core, bodies, lane
        self._running: dict[int, Work] = {}
        self._settled = threading.Condition()

    def serve(self) -> None:
        """Hand bodies over until the engine stops, and wait for those that run."""
        self._core.work(self._lane, self._submit, self._cancel)
        with self._settled:
            self._settled.wait_for(lambda: not self._running)

    def _submit(self, job: _core.Job, name: str, arguments: bytes) -> None:
        work = Work(job, name, arguments, self._bodies, self._ended)
        with self._settled:
            self._running[job.token] = work
        work._begin(self.executor)

    def _ended(self, token: int) -> None:
        with self._settled:
            del self._running[token]
            self._settled.notify_all()

    def _cancel(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            work = self._running.get(token)
            if work is not None:
                try:
                    self.executor.cancel(work)
                except Exception as error:
                    log().warning("%r could not cancel %r: %r", self.executor, work, error)

    def abandon(self) -> None:
        """Tell the bodies that run."""
        self._cancel([*self._running])
