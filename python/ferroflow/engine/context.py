"""What a task's body can learn about its attempt, and say while it runs."""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import msgspec

from ferroflow.define import models, registry
from ferroflow.define.attempt import attempt
from ferroflow.define.units import Duration, micros
from ferroflow.engine.blocking import may_block
from ferroflow.engine.staff import Staff
from ferroflow.errors import Cancelled, FerroflowError, LeaseLost, LeaseTimeout, MissingValue, WrongType

if TYPE_CHECKING:
    import asyncio

    from ferroflow import _core

T = TypeVar("T")


class Named(Mapping[str, Any]):
    """Values by name, with typed access.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.task
    ... def limit() -> int:
    ...     inputs = ff.current().inputs
    ...     return min(inputs.require("n", int), inputs.optional("most", int, 10))
    >>> @ff.workflow
    ... def limited(n: int, most: object = None) -> int:
    ...     return limit()
    >>> with ff.Engine() as engine:
    ...     engine.run(limited, 12), engine.run(limited, 12, 11)
    (10, 11)
    """

    def __init__(self, what: str, values: Mapping[str, Any]) -> None:
        self._what = what
        self._values = values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<{self._what}s {self._values!r}>"

    def require(self, name: str, kind: type[T]) -> T:
        """Return a value of a type.

        Raises
        ------
        MissingValue
            If there is none of the name.
        WrongType
            If it is of another type.
        """
        if name not in self._values:
            raise MissingValue(f"there is no {self._what} {name!r}; there is {sorted(self._values)}")
        return self._typed(name, kind)

    def optional(self, name: str, kind: type[T], default: T) -> T:
        """Return a value of a type, or the default if there is none, or None, of the name.

        Raises
        ------
        WrongType
            If it is of another type.
        """
        return default if self._values.get(name) is None else self._typed(name, kind)

    def _typed(self, name: str, kind: type[T]) -> T:
        try:
            return msgspec.convert(self._values[name], kind, dec_hook=models.made)
        except msgspec.ValidationError as error:
            raise WrongType(f"the {self._what} {name!r} is not of type {kind.__name__}: {error}") from None


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

    def __init__(self, job: _core.Job | _core.Call, arguments: bytes, decode: Callable[[bytes], Any]) -> None:
        self._job = job
        self._arguments = arguments
        self._decode = decode

    def __repr__(self) -> str:
        return f"<Context of attempt {self.attempt} of {self.step} in run {self.run}>"

    @property
    def run(self) -> str:
        """The id of the run."""
        return self._job.run

    @property
    def task(self) -> str:
        """The name of the task."""
        return self._job.task

    @property
    def step(self) -> str:
        """The path of the step: unique in the run, iterations included."""
        path: str = self._around["path"]
        return path

    @property
    def attempt(self) -> int:
        """Which attempt of the step this is, counted from 1."""
        return self._job.attempt

    @property
    def key(self) -> str:
        """The same for every attempt of this step of this run, iteration included.

        Hand it to whatever the task changes, as an idempotency key.
        """
        return f"{self._job.run}/{self._job.step}"

    @property
    def token(self) -> int:
        """The fencing token: larger than that of every attempt before."""
        return self._job.token

    @property
    def parameters(self) -> Named:
        """What the step was given, by the names of the function's parameters."""
        *args, kwargs = self._decode(self._arguments)
        found = registry.find(self.task)
        if found is not None:
            bound = inspect.signature(found.fn).bind(*args, **kwargs)
            bound.apply_defaults()
            kwargs = bound.arguments
        return Named("parameter", kwargs)

    @property
    def inputs(self) -> Named:
        """The inputs of the workflow, or of the sub-workflow, that the step belongs to."""
        return Named("input", self._around["inputs"] or {})

    @property
    def variables(self) -> Named:
        """The variables of the run as they are now."""
        return Named("variable", self._surroundings()["variables"])

    @property
    def upstream(self) -> Named:
        """The results of the steps that this one directly depends on, by id."""
        return Named("result", self._around["upstream"])

    @cached_property
    def _around(self) -> dict[str, Any]:
        return self._surroundings()

    def _surroundings(self) -> dict[str, Any]:
        found: dict[str, Any] = self._decode(self._job.surroundings())
        return found

    def remaining(self) -> float | None:
        """Return the seconds until the attempt times out; None if it has no timeout."""
        deadline = self._around["deadline"]
        return None if deadline is None else max(0.0, deadline / 1e6 - time.time())

    def cancelled(self) -> bool:
        """Whether the attempt was cancelled, timed out or superseded: stop soon."""
        return self._job.is_stopped()

    def check(self) -> None:
        """Raise `Cancelled` if the attempt no longer counts."""
        self._go_on(counts=not self.cancelled())

    def _go_on(self, *, counts: bool) -> None:
        if not counts:
            raise Cancelled(f"the attempt of task {self.task!r} in run {self.run} was cancelled")

    def progress(self, percent: float, message: str = "") -> None:
        """Report how far the body is, from 0 to 100; raises `Cancelled` if it should stop."""
        self._go_on(counts=self._job.progress(percent, message))

    def heartbeat(self) -> None:
        """Say that the body is alive; raises `Cancelled` if it should stop.

        A step with a `heartbeat` is timed out if it shows no sign of life for so long: call this, or
        `progress`, at least every half of that time. It may be called as often as one likes: about four signs
        a period are recorded.

        Examples
        --------
        >>> import ferroflow as ff
        >>> @ff.task(heartbeat="30s", retry=2)
        ... def total(numbers: list[int]) -> int:
        ...     found = 0
        ...     for number in numbers:
        ...         ff.current().heartbeat()
        ...         found += number
        ...     return found
        >>> @ff.workflow
        ... def adds(numbers: list[int]) -> int:
        ...     return total(numbers)
        >>> with ff.Engine() as engine:
        ...     engine.run(adds, [1, 2, 3])
        6
        """
        self._go_on(counts=self._job.beat())

    def hold(
        self,
        name: str,
        mode: Literal["reads", "writes"] = "writes",
        *,
        timeout: Duration | None = None,
        expires: Duration | None = None,
    ) -> int:
        """Lock an asset for the run, until it is released or the run ends.

        The lock is the run's, across its steps and also after a crash; its own steps are not held up by it.
        What other runs do to the asset, or to what contains it or is inside it, waits. A run that has the
        lock already keeps it, and its time begins anew. Who waits for whom is found out as if each lock were
        held until its run ends.

        Parameters
        ----------
        name
            The name of the asset, as accesses are declared: it contains what begins with it.
        mode
            "writes": alone. "reads": with others that read.
        timeout
            How long to wait for it. 0: not at all. Default: as long as it takes.
        expires
            After how long it is reclaimed, if it was not released. Default: when the run ends.

        Returns
        -------
        The fencing token: larger than that of every lease granted before.

        Raises
        ------
        LeaseTimeout
            If the lock did not come in time.
        Deadlock
            If runs wait for each other's locks in a circle, and this is the least urgent of them, or of those
            the last to wait.
        ValueError
            If that is no name of an asset.

        Examples
        --------
        >>> import ferroflow as ff
        >>> @ff.task
        ... def begin() -> None:
        ...     ff.current().hold("account/7")
        >>> @ff.task
        ... def end(_: None) -> None:
        ...     ff.current().release("account/7")
        >>> @ff.workflow
        ... def move():
        ...     return end(begin())
        >>> with ff.Engine() as engine:
        ...     engine.run(move)
        """
        may_block("ff.current().hold()", "await ff.current().ahold()")
        job, wanted = self._lockable(), self._lock(name, mode, expires)
        wait = None if timeout is None else micros(timeout) / 1e6
        try:
            return job.hold(*wanted[:2], 0.0, wanted[2])
        except LeaseTimeout:
            if wait == 0.0:
                raise
        # Whoever has it may need a thread to go on.
        with Staff.standing_in():
            return job.hold(*wanted[:2], wait, wanted[2])

    async def ahold(
        self,
        name: str,
        mode: Literal["reads", "writes"] = "writes",
        *,
        timeout: Duration | None = None,
        expires: Duration | None = None,
    ) -> int:
        """Like `hold`, for `await`."""
        import asyncio

        job, wanted = self._lockable(), self._lock(name, mode, expires)
        wait = None if timeout is None else micros(timeout) / 1e6
        try:
            return job.hold(*wanted[:2], 0.0, wanted[2])
        except LeaseTimeout:
            if wait == 0.0:
                raise
        waiting = asyncio.ensure_future(asyncio.to_thread(job.hold, *wanted[:2], wait, wanted[2]))
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            # Nobody wants it any more, and nobody would give it back.
            waiting.add_done_callback(partial(_unwanted, job, name))
            raise

    def release(self, name: str) -> None:
        """Give a lock of the run back.

        Raises
        ------
        LeaseLost
            If the run does not hold it any more: somebody else may have used the asset meanwhile.
        """
        self._lockable().unlock(name)

    def _lockable(self) -> _core.Job:
        unlock = getattr(self._job, "unlock", None)
        if unlock is None:
            raise FerroflowError(
                f"task {self.task!r} runs in a process of its own, where no locks can be had; let a task "
                "that runs in a thread take them"
            )
        return cast("_core.Job", self._job)

    @staticmethod
    def _lock(name: str, mode: str, expires: Duration | None) -> tuple[str, bool, int | None]:
        if mode not in ("reads", "writes"):
            raise ValueError(f"mode={mode!r}: a lock reads or writes")
        return name, mode == "writes", None if expires is None else micros(expires)


def _unwanted(job: _core.Job, name: str, waited: asyncio.Future[int]) -> None:
    if not waited.cancelled() and waited.exception() is None:
        with contextlib.suppress(LeaseLost, Cancelled):
            job.unlock(name)


def current() -> Context:
    """Return the context of the task that is running here.

    Raises
    ------
    LookupError
        Outside a task that an engine runs.

    Examples
    --------
    >>> import ferroflow as ff
    >>> ff.current()
    Traceback (most recent call last):
    LookupError: no task is running here: ff.current() works inside a task that an engine runs
    """
    here = attempt.get()
    if here is None:
        raise LookupError("no task is running here: ff.current() works inside a task that an engine runs")
    return Context(*here)
