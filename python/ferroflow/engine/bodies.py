"""Runs the body of an attempt: decodes its arguments, calls the function, encodes the result."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import threading
import traceback
import types
import typing
from collections import abc
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from ferroflow.define import models
from ferroflow.define.attempt import attempt
from ferroflow.engine.blocking import LOOP
from ferroflow.errors import Cancelled, Fail, InvalidInput

if TYPE_CHECKING:
    import asyncio

    from ferroflow import _core
    from ferroflow.define import Task
    from ferroflow.engine.values import Codec

Failed = tuple[str, str, str, bool]

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


def _text(what: object, most: int) -> str:
    """Return a text as it can be recorded, whatever an exception does when it is asked for one."""
    try:
        text = str(what)
    except BaseException as error:
        text = f"<its text can't be made: {type(error).__name__}>"
    if len(text) > most:
        text = f"{text[: most // 2]} … {text[-(most // 2) :]}"
    return text.encode("utf-8", "backslashreplace").decode()


def failure(error: BaseException) -> Failed:
    """Return (code, message, details, retriable) of what a body raised."""
    details = _text("".join(traceback.format_exception(error)), 100_000)
    if isinstance(error, Fail):
        return _text(error.code, 200), _text(error.message, 10_000), details, bool(error.retriable)
    if isinstance(error, Cancelled):
        return "CANCELLED", _text(error, 10_000), "", False
    if isinstance(error, SystemExit):
        message = f"the task called sys.exit({_text(error.code, 1000)}); return or raise instead"
        return "EXIT", message, details, False
    message = f"{type(error).__name__}: {_text(error, 10_000)}"
    if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
        return "EXECUTION_FAILED", message, details, False
    if isinstance(error, (InvalidInput, msgspec.ValidationError)):
        return "INVALID_INPUT", message, details, False
    return "EXECUTION_FAILED", message, details, True


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


def pack(codec: Codec, result: Any) -> bytes | Failed:
    """Encode a result, or say which part of it can't be recorded."""
    try:
        return codec.encode(result)
    except Exception as error:
        message = (
            f"{unserialisable(codec, result)}, which can't be recorded ({error}); return numbers, texts, "
            "bytes, lists, dicts, dataclasses, msgspec structs, arrays or tables, or make the task one "
            "with pickle=True"
        )
        return "UNSERIALISABLE_RESULT", message, "", False


class Bodies:
    """The functions of an engine's tasks by name, and the loop that runs asynchronous ones."""

    def __init__(self, core: _core.Engine, codec: Codec) -> None:
        self._core = core
        self._codec = codec
        self._decode = codec.decode
        self._functions: dict[str, Callable[..., Any]] = {}
        self._tasks: dict[str, Task[..., Any]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: dict[int, asyncio.Task[bytes | Failed]] = {}

    def add(self, name: str, task: Task[..., Any]) -> None:
        """Make known what a definition calls by a name; another task may take its place."""
        if self._tasks.get(name) is not task:
            self._functions[name] = prepare(task, self._codec)
            self._tasks[name] = task

    def execute(self, job: _core.Job, task: str, arguments: bytes) -> bytes | Failed:
        """Run a synchronous body in this thread."""
        try:
            *args, kwargs = self._decode(arguments)
            attempt.set((job, arguments, self._decode))
            result = self._functions[task](*args, **kwargs)
        except BaseException as error:
            # Whatever a task raises is the step's failure, never the engine's.
            return failure(error)
        return pack(self._codec, result)

    def serve(self) -> None:
        """Hand asynchronous bodies to an event loop of their own until the engine stops."""
        import asyncio

        loop = asyncio.new_event_loop()
        self._loop = loop
        thread = threading.Thread(target=loop.run_forever, name=LOOP, daemon=True)
        thread.start()
        try:
            self._core.work(1, self._submit, self._cancel)
        finally:
            asyncio.run_coroutine_threadsafe(self._drain(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _submit(self, job: _core.Job, task: str, arguments: bytes) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._begin, job, task, arguments)

    def _begin(self, job: _core.Job, task: str, arguments: bytes) -> None:
        assert self._loop is not None
        body: Coroutine[Any, Any, bytes | Failed] = self._await(job, task, arguments)
        running = self._running[job.token] = self._loop.create_task(body)
        running.add_done_callback(partial(self._ended, job))

    async def _await(self, job: _core.Job, task: str, arguments: bytes) -> bytes | Failed:
        from asyncio import CancelledError

        try:
            *args, kwargs = self._decode(arguments)
            attempt.set((job, arguments, self._decode))
            return pack(self._codec, await self._functions[task](*args, **kwargs))
        except CancelledError:
            raise
        except BaseException as error:
            return failure(error)

    def _ended(self, job: _core.Job, task: asyncio.Task[bytes | Failed]) -> None:
        del self._running[job.token]
        if task.cancelled():
            # One that is cancelled before its first step never gets to say so itself.
            job.finish(("CANCELLED", "the attempt was cancelled", "", False))
        else:
            error = task.exception()
            job.finish(task.result() if error is None else failure(error))

    def _cancel(self, tokens: list[int]) -> None:
        assert self._loop is not None
        for token in tokens:
            self._loop.call_soon_threadsafe(self._stop, token)

    def _stop(self, token: int) -> None:
        if task := self._running.get(token):
            task.cancel()

    def here(self) -> bool:
        """Whether this is the thread of the event loop."""
        import asyncio

        return self._loop is not None and asyncio.get_running_loop() is self._loop

    def abandon(self) -> None:
        """Cancel asynchronous bodies that still run."""
        if self._loop is not None:
            for token in [*self._running]:
                self._loop.call_soon_threadsafe(self._stop, token)

    async def _drain(self) -> None:
        import asyncio

        while self._running:
            await asyncio.gather(*self._running.values(), return_exceptions=True)
