"""Tasks: functions that workflows are made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, update_wrapper
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, cast, overload

from ferroflow.define import registry
from ferroflow.define.accesses import MODES, Accesses, Declared, Reductions, declared
from ferroflow.define.environment import Environment
from ferroflow.define.refs import Ref
from ferroflow.define.sites import Mark, Site, Step, caller
from ferroflow.define.trace import Term, binding, check, emit, tracing
from ferroflow.define.units import Duration, size, written
from ferroflow.errors import DefinitionError

P = ParamSpec("P")
R = TypeVar("R")

Priority = Literal["critical", "high", "normal", "low", "background"]


@dataclass(frozen=True, slots=True)
class Retry:
    """What follows a failed attempt.

    Parameters
    ----------
    max_retries
        Attempts after the first.
    delay
        Before the first retry: seconds, timedelta or text.
    backoff
        "fixed": always `delay`; "linear": `delay * n`; "exponential": `delay * factor ** (n-1)`.
    factor
        Of "exponential".
    cap
        No delay is longer.
    jitter
        By which share a delay varies at most, up or down: 0 to 1.

    Examples
    --------
    >>> import ferroflow as ff
    >>> ff.Retry(5, delay="200ms", cap="10s").max_retries
    5
    """

    max_retries: int = 3
    delay: Duration = 1.0
    backoff: Literal["fixed", "linear", "exponential"] = "exponential"
    factor: float = 2.0
    cap: Duration | None = None
    jitter: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the policy as definitions hold it."""
        fields = asdict(self)
        fields["delay"] = written(self.delay)
        fields["cap"] = None if self.cap is None else written(self.cap)
        return {name: value for name, value in fields.items() if value is not None}


class Limits(TypedDict, total=False):
    """What a body in a process of its own may use; see `task`."""

    memory: int | str
    cpu: Duration


class Options(TypedDict, total=False):
    """How a step is run; see `task`."""

    retry: int | Retry
    timeout: Duration
    expected: Duration
    heartbeat: Duration
    limits: Limits
    grace: Duration
    priority: Priority
    critical: bool
    on_upstream_failure: Literal["skip", "run"]
    cpu: float
    memory: int | str
    resources: Mapping[str, float | str]
    pure: bool
    idempotent: bool
    commutes_with: Sequence[str]
    share: bool
    reads: Accesses
    writes: Accesses
    takes: Accesses
    reduces: Reductions


class StepOptions(Options, total=False):
    """Options of one occurrence of a task in a workflow."""

    id: str
    after: Sequence[Any]
    set: Mapping[str, str]


class Task(Generic[P, R]):
    """A task. Called in a workflow it becomes a step; called elsewhere it simply runs.

    Attributes
    ----------
    fn
        The undecorated function.
    name : str
    is_async : bool
    executor : str
        Where it runs: "thread", "loop" (what is asynchronous), "process", "command", or the name of an
        executor of the user's.
    environment : Environment
        What surrounds it, if that is a process of its own.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.task
    ... def triple(n: int) -> int:
    ...     return 3 * n
    >>> triple, triple(2), triple.is_async
    (<task triple>, 6, False)
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        name: str,
        options: StepOptions,
        *,
        pickle: bool = False,
        executor: str | None = None,
        environment: Environment | None = None,
        origin: Mark | None = None,
    ) -> None:
        self.fn = fn
        self.pickles = pickle
        self.name = name
        self.is_async = inspect.iscoroutinefunction(fn)
        self.executor = executor or ("loop" if self.is_async else "thread")
        self.environment = environment or Environment()
        if self.is_async != (self.executor == "loop"):
            raise TypeError(
                f"task {name!r}: what is asynchronous runs on the event loop, and nothing else does; "
                f"it can't have executor={executor!r}"
            )
        if environment is not None and self.executor in ("thread", "loop"):
            raise TypeError(
                f"task {name!r}: an environment is that of a process of its own; add executor='process'"
            )
        self._options = options
        # Named mistakes are found here, not when the first workflow is compiled.
        _written(options)
        self._declared: Declared | None = declared(name, fn, options, origin, None)
        update_wrapper(self, fn)

    def __repr__(self) -> str:
        return f"<task {self.name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function; in a workflow, become a step."""
        if tracing() is None:
            result: R = self.fn(*args, **kwargs)
            return result
        step: R = emit(self._activity(args, kwargs), self.name)
        return step

    def term(self, *args: Any, **kwargs: Any) -> Term:
        """Return a step of this task as a term, for `a >> b` and `a & b`.

        Examples
        --------
        >>> import ferroflow as ff
        >>> ff.library.compute.term("sum", [1, 2]).to_dict()["args"]
        ['sum', [1, 2]]
        """
        return Term(self._activity(args, kwargs))

    def options(self, **options: Unpack[StepOptions]) -> Task[P, R]:
        """Return the task with other options, for use in one place.

        Parameters
        ----------
        **options
            Those of `task`, and `id` of the step, `after` (Refs of steps it waits for although it
            takes nothing from them), `set` (variable: CEL over `result`).

        Examples
        --------
        >>> import ferroflow as ff
        >>> @ff.workflow
        ... def flow():
        ...     total = ff.library.compute.options(id="total", set={"total": "result.result"})
        ...     done = total("sum", [1, 2])
        ...     return ff.library.condition.options(after=[done])("data > 1", ff.var("total"))
        >>> with ff.Engine() as engine:
        ...     engine.run(flow)
        {'result': True}
        """
        changed = Task.__new__(Task)
        changed.__dict__.update(self.__dict__)
        changed._options = {**self._options, **options}
        _written(changed._options)
        if not MODES.isdisjoint(options):
            changed._declared = declared(self.name, self.fn, options, caller(), self._declared)
        return changed

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema (draft 2020-12) of the task's parameters.

        It says what `with` of a definition may have: those without a default are required, and there
        are no others. A type that JSON Schema has no words for may be anything.

        Examples
        --------
        >>> import ferroflow as ff
        >>> @ff.task
        ... def rounded(n: float, digits: int = 2) -> float:
        ...     "Round a number."
        ...     return round(n, digits)
        >>> rounded.schema()  # doctest: +NORMALIZE_WHITESPACE
        {'$schema': 'https://json-schema.org/draft/2020-12/schema', 'title': 'rounded',
         'description': 'Round a number.', 'type': 'object',
         'properties': {'n': {'type': 'number'}, 'digits': {'type': 'integer', 'default': 2}},
         'required': ['n'], 'additionalProperties': False}
        """
        from ferroflow.define.parameters import schema

        return schema(self.fn, self.name)

    @cached_property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self.fn)

    def _activity(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Step:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"task {self.name!r}: {error}") from None
        step = Step(task=self.name)
        options = self._options
        if "id" in options:
            step["id"] = options["id"]
        if args:
            step["args"] = [binding(value) for value in args]
        if kwargs:
            step["with"] = {name: binding(value) for name, value in kwargs.items()}
        if "set" in options:
            step["set"] = dict(options["set"])
        if self._declared is None:
            step.site = Site(caller())
        else:
            here = tracing()
            accesses, items, assets = self._declared.filled(bound, here)
            step.update(accesses)
            step.site = Site(caller(), self._declared, items, assets)
            if here is not None:
                here.uses(assets)
        if after := options.get("after"):
            step["after"] = [_step_of(ref) for ref in after]
        if fields := _written(options):
            step["options"] = fields
        return step


def _step_of(ref: object) -> str:
    if isinstance(ref, Ref) and ref._step is not None and ref._block is tracing():
        check(ref)
        return ref._step
    if isinstance(ref, str):
        return ref
    raise DefinitionError(f"after={ref!r}: name steps of the same block, by their Refs")


def _written(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as definitions hold them."""
    known = {*Options.__annotations__, *StepOptions.__annotations__}
    if unknown := [name for name in options if name not in known]:
        raise TypeError(f"unknown options {unknown}; known are {sorted(known)}")
    fields: dict[str, Any] = {}
    retry = options.get("retry")
    if retry is not None:
        if not isinstance(retry, (int, Retry)):
            raise TypeError(f"retry={retry!r}: give a number of retries, or ff.Retry(...)")
        fields["retry"] = Retry(retry).to_dict() if isinstance(retry, int) else retry.to_dict()
    for name in ("timeout", "expected", "heartbeat", "grace"):
        if options.get(name) is not None:
            fields[name] = written(options[name])
    if limits := _limits(options.get("limits")):
        fields["limits"] = limits
    for name in ("priority", "critical", "on_upstream_failure", "pure", "idempotent", "share"):
        if name in options:
            fields[name] = options[name]
    if "commutes_with" in options:
        if isinstance(options["commutes_with"], str):
            raise TypeError(f"commutes_with={options['commutes_with']!r}: give a list of names of tasks")
        fields["commutes_with"] = list(options["commutes_with"])
    resources: dict[str, Any] = dict(options.get("resources", {}))
    if "cpu" in options:
        resources["cpu"] = options["cpu"]
    if "memory" in options:
        resources["memory"] = options["memory"]
    for name in ("memory", "disk"):
        if name in resources:
            resources[name] = size(resources[name])
    if resources:
        fields["resources"] = resources
    return fields


def _limits(limits: Any) -> dict[str, Any]:
    if limits is None:
        return {}
    if not isinstance(limits, Mapping) or not {*limits} <= {*Limits.__annotations__}:
        raise TypeError(f"limits={limits!r}: give a dict of memory and cpu")
    fields: dict[str, Any] = {}
    if limits.get("memory") is not None:
        fields["memory"] = size(limits["memory"])
    if limits.get("cpu") is not None:
        fields["cpu"] = written(limits["cpu"])
    return fields


class _Decorator(Protocol):
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Task[P, R]: ...


@overload
def task(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
@overload
def task(fn: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
    *,
    name: str | None = None,
    pickle: bool = False,
    executor: str | None = None,
    environment: Environment | None = None,
    **options: Unpack[Options],
) -> _Decorator: ...
def task(
    fn: Callable[P, Any] | None = None,
    /,
    *,
    name: str | None = None,
    pickle: bool = False,
    executor: str | None = None,
    environment: Environment | None = None,
    **options: Unpack[Options],
) -> Any:
    """Make a function a task.

    Parameters
    ----------
    fn
        A function or coroutine function; its arguments and result are recorded, so they are
        numbers, texts, bytes, lists, dicts, enums, dataclasses, msgspec structs, pydantic models, or
        (with the extra `arrow`) NumPy arrays, Arrow tables, pandas DataFrames and Series. What an
        annotation names is made again for the function: `list[Point]` gives it points, not dicts.
    name
        Default: the function's name. It is how a resumed run finds the function.
    pickle
        True: the result is recorded as a pickle, whatever it is. Pickles are signed with a key
        beside the database, and only those whose signature is right are read.
    executor
        Where it runs. "thread": in one of the engine's worker threads, the default. "process": in a
        process of its own, for what computes in Python, crashes, or has to be held to limits; the
        function must be one that another process can import. Else the name of an executor that the
        engine was given, or that an installed package brings.
    environment
        Of the process: interpreter, packages, variables, directory.
    retry
        Retries after a failure: a number or a `Retry`.
    timeout
        An attempt may take no longer: seconds, timedelta or "5m".
    expected
        How long an attempt is expected to take: policies and planners rank by it. Default: by the name of
        the task where that is a usual one, else a minute, or its `timeout` if that is shorter.
    heartbeat
        An attempt that shows no sign of life for so long is timed out, with the code
        `HEARTBEAT_TIMEOUT`. Signs are `ff.current().heartbeat()` and `progress(...)`: give one at least
        every half of that time.
    limits
        What a body in a process of its own may use: `{"memory": "1GB", "cpu": "30s"}`, where `cpu` is time
        of processors. Other bodies can't be held to limits.
    grace
        How long a body in a process of its own may take to end once it is told to (SIGTERM), before it is
        ended (SIGKILL); 5 s if nothing is said.
    priority
        "critical", "high", "normal", "low" or "background".
    critical
        False: a failure of the step is tolerated, and what depends on it is skipped.
    on_upstream_failure
        "skip" (default), or "run" although a step it depends on failed: it gets None for it.
    cpu, memory, resources
        What the step holds while it runs.
    pure, idempotent, commutes_with
        Promises that the algebra may use.
    share
        True: the result is immutable, so that all who take it may have the same object. Otherwise
        each has one of its own, decoded from what is recorded.
    reads, writes, takes
        The assets that it borrows: shared, alone, or for good. Each is a name, such as
        `"lake/{day}/orders"` with parameters of the task in its holes, an `ff.asset(...)`, or
        `ff.value("parameter")` for what a parameter is given; or a list of these. A workflow in which
        they race is refused before it runs.
    reduces
        The assets that it updates by an operation that commutes with itself: {"totals": "sum"}.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.task(retry=2, timeout="1m")
    ... def halve(n: float) -> float:
    ...     return n / 2
    >>> halve(3)
    1.5
    """
    origin = None if MODES.isdisjoint(options) else caller()

    def decorate(fn: Callable[P, Any]) -> Task[P, Any]:
        called = name or getattr(fn, "__name__", None)
        if called is None:
            raise TypeError(f"{fn!r} has no name of its own: give it one with @ff.task(name=...)")
        made: Task[P, Any] = Task(
            fn,
            called,
            cast(StepOptions, options),
            pickle=pickle,
            executor=executor,
            environment=environment,
            origin=origin,
        )
        registry.add(made)
        return made

    return decorate if fn is None else decorate(fn)
