"""Workflows: functions traced once, or terms with a name."""

from __future__ import annotations

import inspect
import types
import typing
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, get_args, overload

import msgspec

from ferroflow import _core
from ferroflow.define import sites
from ferroflow.define.assets import Asset, asset
from ferroflow.define.paths import plain, quoted
from ferroflow.define.refs import Ref
from ferroflow.define.sites import unmarked
from ferroflow.define.trace import Block, Term, binding, constant, emit, finished, opened, tracing, world
from ferroflow.define.units import Duration, written
from ferroflow.errors import BorrowError, DefinitionError, FerroflowError, InvalidInput, Problem

if TYPE_CHECKING:
    from ferroflow.define.findings import Report
    from ferroflow.define.relaxing import Parallelised

P = ParamSpec("P")
R = TypeVar("R")

Json = dict[str, Any]

OnConflict = Literal["error", "serialise", "warn"]

_KINDS: Mapping[Any, str] = {
    int: "int", float: "number", str: "str", bool: "bool", bytes: "bytes",
    list: "list", tuple: "list", set: "list", dict: "map", None: "null", type(None): "null",
}  # fmt: skip


@contextmanager
def reporting(name: object) -> Iterator[None]:
    """Turn the core's list of problems into one error."""
    try:
        yield
    except ValueError as error:
        if not error.args or not isinstance(error.args[0], list):
            raise
        problems = [Problem(*it) for it in error.args[0]]
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise DefinitionError(f"workflow {name!r} has {count}:", problems) from None


def compiled(definition: Mapping[str, Any]) -> _core.Program:
    """Compile a definition object, or report everything that is wrong with it."""
    name = definition.get("name", "?")
    try:
        packed = msgspec.msgpack.encode(definition)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DefinitionError(f"workflow {name!r} has a part that can't be recorded: {error}") from None
    with reporting(name):
        return _core.Program(packed)


class Workflow(Generic[P, R]):
    """A workflow: run it with an engine; call it inside another workflow to inline it.

    Attributes
    ----------
    name, version : str
    fn
        The function it was traced from; None if it was built or loaded.
    on_conflict : str
        What happens if its accesses race; see `workflow`.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.workflow
    ... def inner(n: int) -> int:
    ...     return ff.library.compute("sum", [n, 1])["result"]
    >>> @ff.workflow
    ... def outer(n: int) -> int:
    ...     return inner(inner(n))
    >>> outer, outer.inputs, outer.program.tasks
    (<workflow outer 1>, ['n'], ['compute'])
    >>> with ff.Engine() as engine:
    ...     engine.run(outer, 1)
    3
    """

    def __init__(
        self,
        name: str,
        version: str,
        make: Callable[[], Json],
        max_depth: int | None = None,
        on_conflict: OnConflict = "error",
        source: str | None = None,
    ) -> None:
        if on_conflict not in get_args(OnConflict):
            raise DefinitionError(
                f"on_conflict={on_conflict!r}: give one of {', '.join(get_args(OnConflict))}"
            )
        self.name, self.version, self.on_conflict = name, version, on_conflict
        self.fn: Callable[P, R] | None = None
        self._make = make
        self._max_depth = max_depth
        self._source = source
        self._definition: Json | None = None
        self._plain: tuple[Json, Json] | None = None
        self._runnable: _core.Program | None = None
        self._leans = False
        self._calls: set[object] = set()

    @classmethod
    def from_definition(
        cls, definition: Mapping[str, Any], *, on_conflict: OnConflict = "error", source: str | None = None
    ) -> Workflow[..., Any]:
        """Make a workflow of a definition object (see the definition format).

        Parameters
        ----------
        definition
            The object.
        on_conflict
            As for `workflow`.
        source
            Where it is from, to be told in reports: a file, say.

        Examples
        --------
        >>> import ferroflow as ff
        >>> ff.Workflow.from_definition({"name": "nap", "term": {"sleep": "1s"}})
        <workflow nap 1>
        """
        kept = dict(definition)
        name, version = str(kept.get("name", "")), str(kept.get("version", "1"))
        made: Workflow[..., Any] = Workflow(
            name, version, lambda: kept, on_conflict=on_conflict, source=source
        )
        return made

    @classmethod
    def from_term(
        cls,
        name: str,
        term: Term,
        *,
        version: str = "1",
        inputs: Iterable[str] | Mapping[str, Any] = (),
        result: object = None,
        on_error: Literal["fail_fast", "continue"] = "fail_fast",
        timeout: Duration | None = None,
        on_conflict: OnConflict = "error",
        assets: Iterable[Asset | str] | None = None,
    ) -> Workflow[..., Any]:
        """Make a workflow of a term that was built with operators.

        Examples
        --------
        >>> import ferroflow as ff
        >>> @ff.task
        ... def tick(n: int) -> int:
        ...     return n
        >>> ff.Workflow.from_term("ticks", tick.term(1) >> tick.term(2))
        <workflow ticks 1>
        """
        kept: Json = {"name": name, "version": version, "term": term._object}
        kept["inputs"] = dict(inputs) if isinstance(inputs, Mapping) else [*inputs]
        if result is not None:
            kept["result"] = binding(result)
        _settings(kept, on_error, timeout)
        kept |= _world(world(term._object), assets)
        return cls.from_definition(kept, on_conflict=on_conflict)

    def __repr__(self) -> str:
        return f"<workflow {self.name} {self.version}>"

    @property
    def definition(self) -> Json:
        """The definition object; the function is traced when it is first needed."""
        marked = self._marked
        if self._plain is None or self._plain[0] is not marked:
            self._plain = marked, unmarked(marked)
        return self._plain[1]

    @property
    def _marked(self) -> Json:
        """The definition object, whose steps know where they were made."""
        here = tracing()
        round_ = {block.workflow[0] for block in here.workflows() if block.workflow} if here else set()
        # One that calls a workflow round here is traced again, as if here were first.
        if self._definition is not None and not self._calls & round_:
            return self._definition
        made = self._make()
        if not self._leans:
            self._definition = made
        return made

    @cached_property
    def program(self) -> _core.Program:
        """The compiled definition; raises `DefinitionError` with all problems."""
        return compiled(self._marked)

    def check(self) -> Report:
        """Return what is found about its accesses: races, uses after a move, and what may be meant otherwise.

        Examples
        --------
        >>> import ferroflow as ff
        >>> @ff.task(writes="lake/orders")
        ... def clean() -> None:
        ...     ...
        >>> @ff.workflow
        ... def twice():
        ...     clean()
        ...     clean()
        >>> report = twice.check()
        >>> bool(report), report.errors[0].code, report.errors[0].asset
        (False, 'FF0499', 'lake/orders')
        """
        from ferroflow.define.findings import report

        return report(self.name, self._marked, self.program.check(), self._source, self.fn)

    def parallelise(self, *, version: str | None = None) -> Parallelised:
        """Return the workflow without the order that no access, value or promise needs.

        Kept is the order of steps of which one takes a value from the other, whose accesses conflict, or
        of one of which it is not known what it does: declare accesses, or `pure`, for what is to be moved.
        Runs that complete do the same as before; `Parallelised.proof` says why.

        Parameters
        ----------
        version
            That of the new workflow; default: `VERSION+parallel`.

        Raises
        ------
        BorrowError
            If its steps race as it is.

        Examples
        --------
        >>> import ferroflow as ff
        >>> @ff.task(reads="lake/orders")
        ... def count_orders() -> None:
        ...     ...
        >>> twice = ff.Workflow.from_term("twice", count_orders.term() >> count_orders.term())
        >>> [*twice.parallelise().workflow.definition["term"]]
        ['partial']
        """
        from ferroflow.define.relaxing import parallelise

        return parallelise(self, version)

    @property
    def runnable(self) -> _core.Program:
        """The program that runs: free of races, or as `on_conflict` says; raises `BorrowError`."""
        if self._runnable is None:
            self._runnable = self._mended()
        return self._runnable

    def _mended(self) -> _core.Program:
        if not any(it["level"] == "error" for it in self.program.check()):
            return self.program
        found = self.check()
        if self.on_conflict == "warn":
            warnings.warn(str(found), stacklevel=sites.depth())
            return self.program
        if self.on_conflict == "serialise":
            from ferroflow.define.findings import report

            definition, orders, limited = self.program.serialise()
            program = _core.Program(definition)
            # There are conflicts that no order mends.
            found = report(self.name, self._marked, program.check(), self._source, self.fn)
            if found:
                _tell(self.name, orders, limited)
                return program
        raise BorrowError(found)

    @property
    def hash(self) -> str:
        """The content hash: that of the normal form, equal for workflows that mean the same.

        Examples
        --------
        >>> import ferroflow as ff
        >>> one = ff.Workflow.from_term("one", ff.library.condition.term("data", True))
        >>> one.hash == ff.load(one.normal_form).hash
        True
        """
        return self.program.hash

    @property
    def normal_form(self) -> Json:
        """The definition object that all workflows with the same meaning have, up to ids of steps.

        In each block nested sequences, parallels and partials are one partial, whose order is
        reduced to what does not follow, and whose members are sorted by depth and content.

        Examples
        --------
        >>> import ferroflow as ff
        >>> a, b = (ff.Term({"task": "condition", "id": id, "args": [id]}) for id in "ab")
        >>> flow = ff.Workflow.from_term("w", a >> (ff.Term({"sequence": []}) & b))
        >>> flow.normal_form["term"]["partial"]  # doctest: +NORMALIZE_WHITESPACE
        [{'task': 'condition', 'id': 'a', 'args': ['a']},
         {'task': 'condition', 'id': 'b', 'args': ['b'], 'after': ['a']}]
        """
        found: Json = msgspec.msgpack.decode(self.program.normal())
        return found

    def equivalent(self, other: Workflow[..., Any]) -> bool:
        """Whether two workflows of one name and version mean the same, by laws that always hold.

        Examples
        --------
        >>> import ferroflow as ff
        >>> a, b = ff.library.condition.term("data", 1), ff.library.condition.term("data", 2)
        >>> def flow(term: ff.Term) -> ff.Workflow:
        ...     return ff.Workflow.from_term("w", term, result=0)
        >>> flow(a & b).equivalent(flow(b & a)), flow(a >> b).equivalent(flow(b >> a))
        (True, False)
        """
        return self.hash == other.hash

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs, in order."""
        return [*self._marked.get("inputs", {})]

    def bind(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return inputs by name, as a call of the function would bind them."""
        return self._bound(self.inputs, args, kwargs)

    def _bound(self, names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        if len(args) > len(names):
            raise InvalidInput(f"{self!r} has {len(names)} inputs, and {len(args)} were given")
        bound = dict(zip(names, args, strict=False))
        if twice := [name for name in kwargs if name in bound]:
            raise InvalidInput(f"{self!r}: the inputs {twice} are given twice")
        return bound | dict(kwargs)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Inline the workflow in the one that is being traced."""
        here = tracing()
        if here is None:
            raise FerroflowError(
                f"{self!r} is run by an engine: engine.run({self.name}, ...); to call the plain "
                "function, use .fn"
            )
        unfinished = self._unfinished(here)
        definition = self._marked if unfinished is None else unfinished
        for block in here.workflows():
            block.calls |= {self, *self._calls}
        if unfinished is None:
            for name, fields in definition.get("assets", {}).items():
                here.declare(name, fields)
        declared = definition.get("inputs", {})
        names = [*declared]
        inputs = self._bound(names, args, kwargs)
        if isinstance(declared, dict):
            for name, field in declared.items():
                if name not in inputs and isinstance(field, dict) and "default" in field:
                    inputs[name] = field["default"]
        if missing := [name for name in names if name not in inputs]:
            raise InvalidInput(f"{self!r}: the inputs {missing} are missing")
        term: Json = {
            "workflow": self.name,
            "with": {name: binding(value) for name, value in inputs.items()},
        }
        if unfinished is not None:
            term["max_depth"] = self._max_depth
        else:
            parts = ("term", "result", "locals")
            term["do"] = {part: definition[part] for part in parts if part in definition}
            if "timeout" in definition:
                term = {"timeout": definition["timeout"], "do": term}
        step: R = emit(term, self.name)
        return step

    def _unfinished(self, here: Block) -> Json | None:
        """Return the definition so far, if this workflow is being traced round here."""
        inner: list[Block] = []
        for block in here.workflows():
            assert block.workflow is not None
            workflow, definition = block.workflow
            if workflow is not self:
                inner.append(block)
                continue
            if self._max_depth is None:
                raise DefinitionError(
                    f"workflow {self.name!r} calls itself: say how deep it may nest in itself with "
                    "@ff.workflow(max_depth=...), or repeat with ff.loop"
                )
            for other in inner:
                if other.workflow and other.workflow[1]["name"] == self.name:
                    raise DefinitionError(
                        f"another workflow {self.name!r} stands between workflow {self.name!r} and its call "
                        "of itself; give one of them another name"
                    )
                other.leans = True
            return definition
        return None

    def _repr_svg_(self) -> str:
        from ferroflow.draw import svg

        return svg(self.program.blocks(), title=f"{self.name} {self.version}")


def _tell(name: str, orders: Sequence[tuple[str, str]], limited: Sequence[str]) -> None:
    """Log the order that a workflow got so that it does not race."""
    import logging

    log = logging.getLogger("ferroflow.accesses")
    for first, second in orders:
        log.info("workflow %r: %s waits for %s, because both use an asset", name, second, first)
    for each in limited:
        log.info("workflow %r: one iteration of %s at a time, because they use an asset", name, each)


def _settings(definition: Json, on_error: str, timeout: Duration | None) -> None:
    if on_error != "fail_fast":
        definition["on_error"] = on_error
    if timeout is not None:
        definition["timeout"] = written(timeout)


def _world(used: Json, more: Iterable[Asset | str] | None) -> Json:
    """Return the assets that a workflow declares: those it uses, and those besides that close it."""
    root = Block(None)
    for name, fields in used.items():
        root.declare(name, fields)
    for one in more or ():
        given = asset(one) if isinstance(one, str) else one
        if type(given) is not Asset or given._root is not None or given._block is not None:
            raise DefinitionError(
                f"assets: {one!r} is no name, and no ff.asset(...) that was made at the top of a module"
            )
        root.declare(given.name, given.to_dict())
    declared: Json = {"assets": root.world} if root.world else {}
    return declared if more is None else declared | {"closed": True}


def _kind(hint: Any) -> str:
    origin = typing.get_origin(hint) or hint
    if origin in (typing.Union, types.UnionType):
        kinds = {_kind(part) for part in typing.get_args(hint)}
        return kinds.pop() if len(kinds) == 1 else "any"
    try:
        return _KINDS.get(origin, "any")
    except TypeError:
        return "any"


def _trace(
    workflow: Workflow[..., Any],
    fn: Callable[..., Any],
    on_error: str,
    timeout: Duration | None,
    assets: Iterable[Asset | str] | None,
) -> Json:
    try:
        hints = typing.get_type_hints(fn)
    except Exception:  # an annotation that can't be resolved only means "any"
        hints = {}
    inputs: Json = {}
    for name, parameter in inspect.signature(fn).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise DefinitionError(f"workflow {workflow.name!r}: give its inputs names, not *{name}")
        inputs[name] = {"type": _kind(hints.get(name, object))}
        if parameter.default is not parameter.empty:
            default = constant(parameter.default)
            inputs[name]["default"] = default
            if default is None:
                inputs[name]["type"] = "any"
    definition: Json = {"name": workflow.name, "version": workflow.version}
    if description := inspect.cleandoc(fn.__doc__ or "").split("\n\n")[0]:
        definition["description"] = description
    definition["inputs"] = inputs
    _settings(definition, on_error, timeout)
    root = Block(tracing(), workflow=(workflow, definition))
    with opened(root):
        refs = {
            name: Ref(root, f"input.{name}" if plain(name) else f"input[{quoted(name)}]") for name in inputs
        }
        returned = fn(**refs)
        body = finished(root, returned)
    definition |= _world(root.world, assets)
    definition |= body
    workflow._leans, workflow._calls = root.leans, root.calls
    return definition


@overload
def workflow(fn: Callable[P, R], /) -> Workflow[P, R]: ...
@overload
def workflow(
    *,
    name: str | None = None,
    version: str = "1",
    on_error: Literal["fail_fast", "continue"] = "fail_fast",
    timeout: Duration | None = None,
    max_depth: int | None = None,
    on_conflict: OnConflict = "error",
    assets: Iterable[Asset | str] | None = None,
) -> Callable[[Callable[P, R]], Workflow[P, R]]: ...
def workflow(
    fn: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    version: str = "1",
    on_error: Literal["fail_fast", "continue"] = "fail_fast",
    timeout: Duration | None = None,
    max_depth: int | None = None,
    on_conflict: OnConflict = "error",
    assets: Iterable[Asset | str] | None = None,
) -> Workflow[P, R] | Callable[[Callable[P, R]], Workflow[P, R]]:
    """Make a function a workflow: it is traced once, with symbolic inputs.

    Parameters
    ----------
    fn
        A function that calls tasks. What it passes from one to another makes the order; what is
        independent runs in parallel.
    name
        Default: the function's name.
    version
        Runs stay at the version they began with.
    on_error
        "fail_fast": a failed step ends the run. "continue": what does not depend on it goes on.
    timeout
        A run may take no longer: seconds, timedelta or "5m".
    max_depth
        A call of the workflow inside itself is a recursion, and such calls may nest so deep (1 to
        200); a run that would go deeper fails with the code RECURSION_BOUND. None: no recursion.
    on_conflict
        What happens to a workflow whose steps race for an asset, or use one that was taken. "error": it
        does not start, and `BorrowError` shows why. "serialise": the order that is missing is added, and
        told to the logger `ferroflow.accesses`.
        "warn": it starts with a warning. See also `Workflow.check`.
    assets
        Assets of the world, `ff.asset(...)` or names. They and those `ff.asset(...)` that it uses are
        then all there is: a name that lies in none of them is refused.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.task
    ... def add(a: int, b: int) -> int:
    ...     return a + b
    >>> @ff.workflow
    ... def total(a: int, b: int = 1) -> int:
    ...     return add(add(a, b), b)
    >>> total.inputs
    ['a', 'b']

    A workflow that calls itself:

    >>> @ff.workflow(max_depth=20)
    ... def countdown(n: int) -> list:
    ...     return ff.choose([("input.n > 0", lambda: countdown(ff.expr("input.n - 1")))], lambda: "lift-off")
    >>> with ff.Engine() as engine:
    ...     engine.run(countdown, 3)
    'lift-off'
    """
    assets = None if assets is None else [*assets]
    if max_depth is not None and not 1 <= max_depth <= 200:
        raise DefinitionError(f"max_depth={max_depth}: give a whole number from 1 to 200")

    def decorate(fn: Callable[P, R]) -> Workflow[P, R]:
        made: Workflow[P, R] = Workflow(
            name or fn.__name__,
            version,
            lambda: _trace(made, fn, on_error, timeout, assets),
            max_depth,
            on_conflict,
        )
        made.fn = fn
        update_wrapper(made, fn)
        return made

    return decorate if fn is None else decorate(fn)
