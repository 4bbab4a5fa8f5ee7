"""Workflows: functions traced once, or terms with a name."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, update_wrapper
from typing import Any, Generic, Literal, ParamSpec, TypeVar, overload

import msgspec

from ferroflow import _core
from ferroflow.define.trace import (
    Block,
    Ref,
    Term,
    binding,
    emit,
    finished,
    opened,
    plain,
    quoted,
    tracing,
)
from ferroflow.define.units import Duration, written
from ferroflow.errors import DefinitionError, FerroflowError, InvalidInput, Problem

P = ParamSpec("P")
R = TypeVar("R")

Json = dict[str, Any]

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
    with reporting(definition.get("name", "?")):
        return _core.Program(msgspec.msgpack.encode(definition))


class Workflow(Generic[P, R]):
    """A workflow: run it with an engine; call it inside another workflow to inline it.

    Attributes
    ----------
    name, version : str
    fn
        The function it was traced from; None if it was built or loaded.
    """

    def __init__(self, name: str, version: str, make: Callable[[], Json]) -> None:
        self.name, self.version = name, version
        self.fn: Callable[P, R] | None = None
        self._make = make
        self._being_traced = False

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> Workflow[..., Any]:
        """Make a workflow of a definition object (see the definition format)."""
        kept = dict(definition)
        name, version = str(kept.get("name", "")), str(kept.get("version", "1"))
        made: Workflow[..., Any] = Workflow(name, version, lambda: kept)
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
        kept: Json = {"name": name, "version": version, "term": term.to_dict()}
        kept["inputs"] = dict(inputs) if isinstance(inputs, Mapping) else [*inputs]
        if result is not None:
            kept["result"] = binding(result)
        _settings(kept, on_error, timeout)
        return cls.from_definition(kept)

    def __repr__(self) -> str:
        return f"<workflow {self.name} {self.version}>"

    @cached_property
    def definition(self) -> Json:
        """The definition object; the function is traced when it is first needed."""
        if self._being_traced:
            raise DefinitionError(
                f"workflow {self.name!r} calls itself; a workflow can't contain itself: repeat with "
                "ff.loop, which has a bound"
            )
        self._being_traced = True
        try:
            return self._make()
        finally:
            self._being_traced = False

    @cached_property
    def program(self) -> _core.Program:
        """The compiled definition; raises `DefinitionError` with all problems."""
        return compiled(self.definition)

    @property
    def hash(self) -> str:
        """The content hash: equal for workflows that mean the same."""
        return self.program.hash

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs, in order."""
        return [*self.definition.get("inputs", {})]

    def bind(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return inputs by name, as a call of the function would bind them."""
        names = self.inputs
        if len(args) > len(names):
            raise InvalidInput(f"{self!r} has {len(names)} inputs, and {len(args)} were given")
        bound = dict(zip(names, args, strict=False))
        if twice := [name for name in kwargs if name in bound]:
            raise InvalidInput(f"{self!r}: the inputs {twice} are given twice")
        return bound | kwargs

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Inline the workflow in the one that is being traced."""
        if tracing() is None:
            raise FerroflowError(
                f"{self!r} is run by an engine: engine.run({self.name}, ...); to call the plain "
                "function, use .fn"
            )
        definition = self.definition
        inputs = self.bind(*args, **kwargs)
        declared = definition.get("inputs", {})
        if isinstance(declared, dict):
            for name, field in declared.items():
                if name not in inputs and isinstance(field, dict) and "default" in field:
                    inputs[name] = field["default"]
        if missing := [name for name in self.inputs if name not in inputs]:
            raise InvalidInput(f"{self!r}: the inputs {missing} are missing")
        inner = {"term": definition["term"]}
        if "result" in definition:
            inner["result"] = definition["result"]
        term: Json = {
            "workflow": self.name,
            "with": {name: binding(value) for name, value in inputs.items()},
            "do": inner,
        }
        if "timeout" in definition:
            term = {"timeout": definition["timeout"], "do": term}
        step: R = emit(term, self.name)
        return step

    def _repr_svg_(self) -> str:
        from ferroflow.draw import svg

        return svg(self.program.blocks(), title=f"{self.name} {self.version}")


def _settings(definition: Json, on_error: str, timeout: Duration | None) -> None:
    if on_error != "fail_fast":
        definition["on_error"] = on_error
    if timeout is not None:
        definition["timeout"] = written(timeout)


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
            default = binding(parameter.default)
            inputs[name]["default"] = default
            if default is None:
                inputs[name]["type"] = "any"
    root = Block(tracing(), closed=True)
    with opened(root):
        refs = {
            name: Ref(root, f"input.{name}" if plain(name) else f"input[{quoted(name)}]") for name in inputs
        }
        returned = fn(**refs)
        body = finished(root, returned)
    description = inspect.cleandoc(fn.__doc__ or "").split("\n\n")[0]
    definition: Json = {"name": workflow.name, "version": workflow.version}
    if description:
        definition["description"] = description
    definition["inputs"] = inputs
    _settings(definition, on_error, timeout)
    definition.update(body)
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
) -> Callable[[Callable[P, R]], Workflow[P, R]]: ...
def workflow(
    fn: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    version: str = "1",
    on_error: Literal["fail_fast", "continue"] = "fail_fast",
    timeout: Duration | None = None,
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
    """

    def decorate(fn: Callable[P, R]) -> Workflow[P, R]:
        made: Workflow[P, R] = Workflow(
            name or fn.__name__, version, lambda: _trace(made, fn, on_error, timeout)
        )
        made.fn = fn
        update_wrapper(made, fn)
        return made

    return decorate if fn is None else decorate(fn)
