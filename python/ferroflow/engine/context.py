"""What a task's body can learn about its attempt, and say while it runs."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ferroflow.define import models, registry
from ferroflow.define.attempt import attempt
from ferroflow.errors import Cancelled, MissingValue, WrongType

if TYPE_CHECKING:
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
