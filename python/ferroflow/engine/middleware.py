"""What a user has called round runs and steps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ferroflow import _core
from ferroflow.engine.logs import log
from ferroflow.engine.outcomes import Failed, Outcome, failure
from ferroflow.engine.records import Failure

if TYPE_CHECKING:
    from ferroflow.define import Workflow
    from ferroflow.engine.context import Context
    from ferroflow.engine.listening import Event
    from ferroflow.engine.records import RunRecord
    from ferroflow.engine.states import RunState

ENDS = ("RunCompleted", "RunFailed", "RunCancelled", "RunTimedOut")
"""The kinds of events after which a run is over."""


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A run, as middleware sees it.

    Parameters
    ----------
    id
        Of the run.
    workflow, version
        What it runs.
    inputs
        By name; None where the run goes on after a restart.

    Examples
    --------
    >>> import ferroflow as ff
    >>> class Small(ff.Middleware):
    ...     def before_run(self, run: ff.RunInfo) -> None:
    ...         if run.inputs["n"] > 10:
    ...             raise ValueError(f"{run.workflow} is for small numbers")
    >>> @ff.workflow
    ... def flow(n: int):
    ...     return ff.library.compute("sum", [n, 1])
    >>> with ff.Engine(middleware=[Small()]) as engine:
    ...     run = engine.start(flow, 12)
    ...     try:
    ...         run.result()
    ...     except ff.RunFailed as error:
    ...         error.code
    'MIDDLEWARE_FAILED'
    """

    id: str
    workflow: str
    version: str
    inputs: Mapping[str, Any] | None = None


class Middleware:
    """Is called before and after each run, and each attempt of a step; override what is wanted.

    The `before` of several are called in order, and the `after` in reverse order, of those alone whose
    `before` did not raise. What a `before` raises fails the step, or the run; what an `after` raises is
    logged. The hooks of steps run where the engine runs the body, or waits for it; for asynchronous
    tasks on the event loop, so that they should be short.

    Examples
    --------
    >>> import ferroflow as ff
    >>> class Told(ff.Middleware):
    ...     def before_step(self, step):
    ...         print("begins", step.task)
    ...     def after_step(self, step, failure):
    ...         print("ended", step.task, "well" if failure is None else failure.code)
    >>> @ff.task
    ... def double(n: int) -> int:
    ...     return 2 * n
    >>> @ff.workflow
    ... def flow(n: int):
    ...     return double(n)
    >>> with ff.Engine(middleware=[Told()]) as engine:
    ...     engine.run(flow, 4)
    begins double
    ended double well
    8
    """

    def before_run(self, run: RunInfo) -> None:
        """Take note that the engine begins a run, or takes it up again; its steps follow."""

    def after_run(self, run: RunInfo, state: RunState) -> None:
        """Take note that the run has ended, and that this is on record."""

    def before_step(self, step: Context) -> None:
        """Take note that an attempt of a step begins."""

    def after_step(self, step: Context, failure: Failure | None) -> None:
        """Take note that the attempt has ended, and with what it failed, if it did."""

    def overrides(self, *names: str) -> bool:
        """Whether the class has hooks of its own of these names."""
        return any(getattr(type(self), name) is not getattr(Middleware, name) for name in names)


class StepHooks:
    """The hooks round one attempt."""

    def __init__(self, middleware: Sequence[Middleware], step: Context) -> None:
        self._middleware = middleware
        self._step = step
        self._entered: list[Middleware] = []

    def before(self) -> Failed | None:
        """Call the hooks before the body; return the failure of the first that raises."""
        for it in self._middleware:
            try:
                it.before_step(self._step)
            except BaseException as error:
                return _refused(it, error)
            self._entered.append(it)
        return None

    def after(self, outcome: Outcome) -> Outcome:
        """Call the hooks after it, and return what the body came to."""
        told = None
        if isinstance(outcome, tuple):
            code, message, details, _ = outcome
            told = Failure(code=code, message=message, details=details)
        for it in reversed(self._entered):
            try:
                it.after_step(self._step, told)
            except BaseException as error:
                log().warning("%s.after_step of %s raised %r", type(it).__name__, self._step.task, error)
        return outcome


_Entry = tuple[RunInfo, list[Middleware]]


class RunHooks:
    """The hooks round the runs of an engine."""

    def __init__(self, middleware: Sequence[Middleware]) -> None:
        self._middleware = [it for it in middleware if it.overrides("before_run", "after_run")]
        self._entered: dict[str, _Entry] = {}

    def __bool__(self) -> bool:
        return bool(self._middleware)

    @contextlib.contextmanager
    def round(
        self, workflow: Workflow[..., Any], given: str | None, inputs: Mapping[str, Any]
    ) -> Iterator[tuple[str | None, Failed | None]]:
        """Call the hooks before a run; yields its id, and the failure of the first hook that raises."""
        if not self:
            yield given, None
            return
        run = RunInfo(
            id=_core.new_run(given), workflow=workflow.name, version=workflow.program.version, inputs=inputs
        )
        entry: _Entry = run, []
        # If there is a run of that id, this one is refused, and the end that comes is that of the other.
        self._entered.setdefault(run.id, entry)
        try:
            yield run.id, self._before(*entry)
        except BaseException:
            if self._entered.get(run.id) is entry:
                self._entered.pop(run.id, None)
            raise

    def again(self, runs: Iterable[RunRecord]) -> dict[str, Failed]:
        """Call the hooks before runs that are taken up; return the failures, by the ids of the runs."""
        if not self:
            return {}
        failed = {}
        for run in runs:
            entry: _Entry = RunInfo(id=run.id, workflow=run.workflow, version=run.version), []
            self._entered[run.id] = entry
            if (refused := self._before(*entry)) is not None:
                failed[run.id] = refused
        return failed

    def _before(self, run: RunInfo, entered: list[Middleware]) -> Failed | None:
        for it in self._middleware:
            try:
                it.before_run(run)
            except Exception as error:  # Ctrl-C is for whoever starts the run
                return _refused(it, error)
            entered.append(it)
        return None

    def ended(self, event: Event) -> None:
        """Call the hooks after a run."""
        found = self._entered.pop(event.run, None)
        if found is None:
            return
        run, entered = found
        for it in reversed(entered):
            try:
                it.after_run(run, event.state)
            except Exception as error:
                log().warning("%s.after_run of %s raised %r", type(it).__name__, run.id, error)


def _refused(middleware: Middleware, error: BaseException) -> Failed:
    code, message, details, retriable = failure(error)
    return (
        "MIDDLEWARE_FAILED" if code == "EXECUTION_FAILED" else code,
        f"{type(middleware).__name__}: {message}",
        details,
        retriable,
    )
