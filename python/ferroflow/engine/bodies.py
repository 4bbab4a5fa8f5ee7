"""Runs the body of an attempt: decodes its arguments, calls the function, encodes the result."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
import typing
from collections import abc
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from ferroflow.define import models
from ferroflow.define.attempt import attempt
from ferroflow.engine.context import Context
from ferroflow.engine.middleware import Middleware, StepHooks
from ferroflow.engine.outcomes import Outcome, failure
from ferroflow.engine.values import Long

if TYPE_CHECKING:
    from ferroflow import _core
    from ferroflow.define import Task
    from ferroflow.engine.staff import Execute
    from ferroflow.engine.values import Codec

# What is looked into for what it holds; a tuple or a set is not what MessagePack carries in any case.
_HOLDERS = {list, dict, typing.Union, types.UnionType, abc.Sequence, abc.Mapping}


def _differs(hint: Any) -> bool:
    """Whether an annotation says more than what MessagePack carries."""
    origin = typing.get_origin(hint) or hint
    if origin in _HOLDERS:
        return any(_differs(part) for part in typing.get_args(hint))
    return isinstance(origin, type) and (
        issubclass(origin, (msgspec.Struct, enum.Enum, tuple, set, frozenset))
        or dataclasses.is_dataclass(origin)
        or models.is_model(origin)
        or origin.__module__ in ("datetime", "uuid", "decimal")
    )


def _converters(function: Callable[..., Any]) -> dict[str, Any]:
    """Parameters that a decoded value has to be converted for."""
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # an annotation that can't be resolved is no reason not to run
        return {}
    found = {}
    for name, hint in hints.items():
        if name == "return" or not _differs(hint):
            continue
        try:
            msgspec.msgpack.Decoder(hint, dec_hook=models.made)
        except TypeError:  # a choice of two dataclasses, say: nobody can know which
            continue
        found[name] = hint
    return found


def prepare(task: Task[..., Any], codec: Codec) -> Callable[..., Any]:
    """Return the task's function, with arguments and result converted where the task asks for it."""
    function = task.fn
    hints = _converters(function)
    if hints:
        function = _converting(function, hints)
    if not task.pickles:
        return function
    if task.is_async:

        async def pickled(*args: Any, **kwargs: Any) -> Any:
            return codec.pickled(await function(*args, **kwargs))

        return pickled
    return lambda *args, **kwargs: codec.pickled(function(*args, **kwargs))


def _converting(function: Callable[..., Any], hints: dict[str, Any]) -> Callable[..., Any]:
    signature = inspect.signature(function)

    def call(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        for name, hint in hints.items():
            if name in bound.arguments:
                bound.arguments[name] = msgspec.convert(bound.arguments[name], hint, dec_hook=models.made)
        return function(*bound.args, **bound.kwargs)

    return call


def unserialisable(codec: Codec, value: Any, path: str = "result", seen: frozenset[int] = frozenset()) -> str:
    """Say where in a value the first thing is that can't be recorded."""
    if id(value) in seen or len(seen) > 50:
        return f"{path} contains itself or nests too deeply"
    seen |= {id(value)}

    def encodes(part: Any) -> bool:
        try:
            codec.encode(part)
        except Exception:
            return False
        return True

    if isinstance(value, dict):
        for key, item in value.items():
            if not encodes(item):
                return unserialisable(codec, item, f"{path}[{key!r}]", seen)
            if not encodes(key):
                return f"{path} has a key of type {type(key).__name__}"
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, item in enumerate(value):
            if not encodes(item):
                return unserialisable(codec, item, f"{path}[{index}]", seen)
    if type(value) is int:
        return f"{path} is a whole number of more than 64 bits"
    if type(value) is str:
        return f"{path} is a text with half a character: a surrogate without the other"
    return f"{path} is a {type(value).__module__}.{type(value).__qualname__}"


def pack(codec: Codec, result: Any) -> Outcome:
    """Encode a result, or say which part of it can't be recorded."""
    try:
        if type(result) is bytes:
            return codec.pack(result)
        try:
            return codec.encode_short(result)
        except Long as first:
            return codec.encode_apart(result, first)
    except Exception as error:
        message = (
            f"{unserialisable(codec, result)}, which can't be recorded ({error}); return numbers, texts, "
            "bytes, lists, dicts, dataclasses, msgspec structs, arrays or tables, or make the task one "
            "with pickle=True"
        )
        return "UNSERIALISABLE_RESULT", message, "", False


class Bodies:
    """The functions of an engine's tasks by name, and what is called round them."""

    def __init__(self, codec: Codec, middleware: Sequence[Middleware]) -> None:
        self.codec = codec
        self._decode = codec.decode
        self.middleware = [it for it in middleware if it.overrides("before_step", "after_step")]
        self._functions: dict[str, Callable[..., Any]] = {}
        self._tasks: dict[str, Task[..., Any]] = {}

    def add(self, name: str, task: Task[..., Any]) -> None:
        """Make known what a definition calls by a name; another task may take its place."""
        if self._tasks.get(name) is not task:
            self._functions[name] = prepare(task, self.codec)
            self._tasks[name] = task

    def task(self, name: str) -> Task[..., Any]:
        """Return the task that a definition calls by a name."""
        return self._tasks[name]

    def bound(self, job: _core.Job, name: str, arguments: bytes) -> Callable[[], Any]:
        """Return the call of a body's function; this thread, or asynchronous task, is now in the attempt."""
        decode = self.codec.decoder(job.parts)
        *args, kwargs = decode(arguments)
        attempt.set((job, arguments, decode))
        return partial(self._functions[name], *args, **kwargs)

    def execute(self, job: _core.Job, name: str, arguments: bytes) -> Outcome:
        """Run a body in this thread."""
        try:
            parts = job.parts
            decode = self._decode if parts is None else self.codec.decoder(parts)
            *args, kwargs = decode(arguments)
            attempt.set((job, arguments, decode))
            result = self._functions[name](*args, **kwargs)
        except BaseException as error:
            # Whatever a task raises is the step's failure, never the engine's.
            return failure(error)
        return pack(self.codec, result)

    def context(self, job: _core.Job, arguments: bytes) -> Context:
        """Return what `ff.current()` is in a body."""
        return Context(job, arguments, self.codec.decoder(job.parts))

    def surrounded(self, run: Execute) -> Execute:
        """Return what runs a body, with the middleware round it."""
        if not self.middleware:
            return run

        def execute(job: _core.Job, name: str, arguments: bytes) -> Outcome:
            hooks = StepHooks(self.middleware, self.context(job, arguments))
            refused = hooks.before()
            return hooks.after(run(job, name, arguments) if refused is None else refused)

        return execute
