"""Commands: tasks that start a program, with arguments or as shell text."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, Unpack, cast, overload

import msgspec

from ferroflow import _core
from ferroflow.define import registry
from ferroflow.define.accesses import MODES
from ferroflow.define.attempt import attempt
from ferroflow.define.environment import Environment
from ferroflow.define.sites import Mark, caller
from ferroflow.define.task import Options, StepOptions, Task
from ferroflow.define.trace import tracing
from ferroflow.define.units import size
from ferroflow.errors import Fail

P = ParamSpec("P")
R = TypeVar("R")

Output = Literal["text", "lines", "json", "bytes", "all"]
Argument = str | bytes | int | float | os.PathLike[str]

# Of what a program says on standard error, the end is kept.
STDERR = 64 << 10


@dataclass(frozen=True, slots=True)
class Command:
    r"""A program to be started, where its arguments are not all there is to say.

    Parameters
    ----------
    args
        The program and its arguments; or a text, which `/bin/sh` gets.
    stdin
        What it reads from standard input: a text, bytes, or the path of a file. Default: nothing.
    stdout
        A file for its standard output, which then is not captured. It appears under its name, or
        replaces what was there, once the command has succeeded.
    stderr
        The same for standard error; "stdout" for the same place as standard output.
    variables
        Further environment variables.
    directory
        Where it starts.
    output, ok, max_output
        As for `command`; they go before what is said there.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.command
    ... def ordered(text: str) -> ff.Command:
    ...     return ff.Command(["sort", "-n"], stdin=text)
    >>> ordered("10\n9\n")
    '9\n10'
    """

    args: str | Sequence[Argument]
    stdin: str | bytes | Path | None = None
    stdout: str | os.PathLike[str] | None = None
    stderr: str | os.PathLike[str] | None = None
    variables: Mapping[str, str] | None = None
    directory: str | os.PathLike[str] | None = None
    output: Output | None = None
    ok: Collection[int] | None = None
    max_output: int | str | None = None

    def words(self) -> list[str | bytes]:
        """Return the program and its arguments, the shell's included.

        Raises
        ------
        Fail
            If they are not texts, bytes, numbers or paths, or hold a zero byte.
        """
        if isinstance(self.args, str):
            words: Sequence[object] = ["/bin/sh", "-c", self.args]
        elif isinstance(self.args, (list, tuple)):
            words = self.args
        else:
            raise _invalid(f"{self.args!r} is no command: give a text for the shell, or a list of arguments")
        if not words:
            raise _invalid("a command needs at least the name of a program")
        return [_word(at, word) for at, word in enumerate(words)]

    def __str__(self) -> str:
        import shlex

        shown = self.args if isinstance(self.args, str) else shlex.join(map(str, self.args))
        return shown if len(shown) <= 200 else f"{shown[:197]}…"


Made = str | Sequence[Argument] | Command


def _word(at: int, word: object) -> str | bytes:
    if isinstance(word, os.PathLike):
        word = os.fspath(word)
    elif isinstance(word, (int, float)) and not isinstance(word, bool):
        word = str(word)
    if not isinstance(word, (str, bytes)):
        raise _invalid(
            f"argument {at} of the command is a {type(word).__name__}: give a text, bytes, a number or a path"
        )
    if (b"\0" if isinstance(word, bytes) else "\0") in word:  # type: ignore[operator]
        raise _invalid(f"argument {at} of the command holds a zero byte, which no argument can")
    return word


def _invalid(message: str) -> Fail:
    return Fail("INVALID_INPUT", message)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a command says once for all its steps."""

    output: Output
    ok: frozenset[int]
    permanent: frozenset[int]
    max_output: int
    stream: bool

    def complete(self, made: object) -> Command:
        """Return the command that a function has made, with what it left open."""
        if not isinstance(made, Command):
            # The same as below, at a third of the time.
            return Command(cast(Any, made), output=self.output, ok=self.ok, max_output=self.max_output)
        return replace(
            made,
            output=made.output or self.output,
            ok=self.ok if made.ok is None else frozenset(made.ok),
            max_output=self.max_output if made.max_output is None else size(made.max_output),
        )


class CommandTask(Task[P, R], Generic[P, R]):
    """A task that starts a program; made by `command`.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.command
    ... def hello(name: str) -> list[str]:
    ...     return ["echo", "hello", name]
    >>> hello.line("you").args, hello("you")
    (['echo', 'hello', 'you'], 'hello you')
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        name: str,
        options: StepOptions,
        defaults: Defaults,
        environment: Environment | None,
        origin: Mark | None = None,
    ) -> None:
        super().__init__(fn, name, options, executor="command", environment=environment, origin=origin)
        self.defaults = defaults

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the program; in a workflow, become a step."""
        if tracing() is not None:
            return super().__call__(*args, **kwargs)
        result: R = self.run(self.line(*args, **kwargs), None)
        return result

    def line(self, *args: P.args, **kwargs: P.kwargs) -> Command:
        """Return the command that arguments come to, without running it."""
        return self.defaults.complete(self.fn(*args, **kwargs))

    def run(self, line: Command, job: _core.Job | None) -> Any:
        """Start a program, wait until it has ended, and return what it yields.

        Parameters
        ----------
        line
            What to start.
        job
            The attempt that it is for, if it is for one.

        Raises
        ------
        Fail
            If it can't be started, does not end well, or says what can't be read.
        Cancelled
            If the attempt no longer counts.
        """
        launch = self.environment.launch(line.words(), line.variables)
        directory = launch.directory if line.directory is None else os.fspath(line.directory)
        lines = _Streamed() if self.defaults.stream else None
        try:
            found = _core.run_command(
                launch.args,
                launch.variables,
                directory,
                line.stdin.encode() if isinstance(line.stdin, str) else line.stdin,
                None if line.stdout is None else os.fspath(line.stdout),
                None if line.stderr is None else os.fspath(line.stderr),
                cast(int, line.max_output),
                STDERR,
                set(line.ok or ()),
                None if lines is None else lines.take,
                job,
            )
        finally:
            if lines is not None:
                lines.end()
        if found.signal or found.status not in (line.ok or ()):
            raise self._failed(line, found)
        return _output(line, found)

    def _failed(self, line: Command, found: _core.Finished) -> Fail:
        import signal

        said = found.stderr.decode("utf-8", "replace").strip()
        last = said.splitlines()[-1][:500] if said else ""
        if found.signal:
            code, name = "KILLED", signal.Signals(found.signal).name
            message = f"{line} was killed by {name} ({signal.strsignal(found.signal)})"
        elif found.status == 127 and isinstance(line.args, str):
            code, message = "COMMAND_NOT_FOUND", f"the shell found no such command: {line}"
        else:
            code, message = "EXIT_STATUS", f"{line} ended with exit status {found.status}"
        if found.exceeded:
            code, message = "RESOURCE_EXCEEDED", f"{message}: it went over its limit of {found.exceeded}"
        error = Fail(
            code,
            f"{message}: {last}" if last else message,
            retriable=code in ("KILLED", "EXIT_STATUS") and found.status not in self.defaults.permanent,
        )
        error.add_note(
            f"standard error, the end of it:\n{said[-10_000:]}" if said else "standard error is empty"
        )
        return error


# Of a line that does not end, so much is passed on at a time.
_LINE = 64 << 10


class _Streamed:
    """Passes on what a program says while it runs, line by line, however it comes."""

    def __init__(self) -> None:
        import logging

        here = attempt.get()
        self._where = f"{here[0].task}: " if here else ""
        self._logger = logging.getLogger("ferroflow.output")
        self._rest = {"stdout": b"", "stderr": b""}

    def take(self, stream: str, chunk: bytes) -> None:
        *lines, rest = (self._rest[stream] + chunk).split(b"\n")
        if len(rest) >= _LINE:
            lines, rest = [*lines, rest], b""
        self._rest[stream] = rest
        for line in lines:
            self._tell(stream, line)

    def end(self) -> None:
        for stream, rest in self._rest.items():
            if rest:
                self._tell(stream, rest)

    def _tell(self, stream: str, line: bytes) -> None:
        text = line.removesuffix(b"\r").decode("utf-8", "replace")
        self._logger.info("%s%s", self._where, text, extra={"stream": stream})


def _output(line: Command, found: _core.Finished) -> Any:
    """Return what a program has written, as the command says it is to be understood."""
    if line.output == "all":
        return {
            "code": found.status,
            "stdout": None if line.stdout is not None else _lenient(found.stdout),
            "stderr": None if line.stderr is not None else _lenient(found.stderr),
        }
    if line.stdout is not None:
        return os.fspath(line.stdout)
    if line.output == "bytes":
        return found.stdout
    try:
        text = found.stdout.decode()
    except UnicodeDecodeError as error:
        raise Fail(
            "UNDECODABLE_OUTPUT",
            f"byte {error.start} of what {line} wrote is not UTF-8; take it with output='bytes'",
        ) from None
    if line.output == "json":
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise Fail("UNDECODABLE_OUTPUT", f"what {line} wrote is not JSON: {error}") from None
    return text.splitlines() if line.output == "lines" else text.rstrip("\n")


def _lenient(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


class _Text(Protocol):
    def __call__(self, fn: Callable[P, Made], /) -> CommandTask[P, str]: ...


class _Lines(Protocol):
    def __call__(self, fn: Callable[P, Made], /) -> CommandTask[P, list[str]]: ...


class _Bytes(Protocol):
    def __call__(self, fn: Callable[P, Made], /) -> CommandTask[P, bytes]: ...


class _Any(Protocol):
    def __call__(self, fn: Callable[P, Made], /) -> CommandTask[P, Any]: ...


class How(Options, total=False):
    """How a command is run, whatever its output."""

    name: str | None
    ok: Collection[int]
    permanent: Collection[int]
    max_output: int | str
    stream: bool
    environment: Environment | None


@overload
def command(fn: Callable[P, Made], /) -> CommandTask[P, str]: ...
@overload
def command(*, output: Literal["text"] = "text", **how: Unpack[How]) -> _Text: ...
@overload
def command(*, output: Literal["lines"], **how: Unpack[How]) -> _Lines: ...
@overload
def command(*, output: Literal["bytes"], **how: Unpack[How]) -> _Bytes: ...
@overload
def command(*, output: Literal["json", "all"], **how: Unpack[How]) -> _Any: ...
def command(fn: Callable[P, Made] | None = None, /, *, output: Output = "text", **how: Unpack[How]) -> Any:
    """Make a function a task that starts a program.

    The function says what to start: a list of arguments, a text for the shell, or a `Command`. It runs
    in the engine; the program runs in a process group of its own, which ends with the step, whatever
    happens. Put values into shell text with `shlex.quote`.

    Parameters
    ----------
    fn
        Returns the command.
    output
        What the step yields. "text": standard output without the line ends at its end. "lines", "json",
        "bytes": the same, split, decoded, or as it is. "all": {"code", "stdout", "stderr"}. Where
        standard output goes into a file, all but "all" yield its path.
    ok
        Exit statuses that are a success. Default: 0.
    permanent
        Exit statuses after which trying again is of no use.
    max_output
        How much standard output is taken; a command that writes more is ended, and fails. Of standard
        error the last 64 KiB are kept.
    stream
        True: what the program writes goes, line by line, to the logger `ferroflow.output` too.
    environment
        Variables and the working directory of the program.
    name, **how
        As for `task`: the name, retries, limits, resources.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.command(output="json", retry=2, timeout="1m")
    ... def numbers(most: int) -> str:
    ...     return f"echo [1, 2, {most}]"
    >>> @ff.workflow
    ... def flow():
    ...     return numbers(3)
    >>> with ff.Engine() as engine:
    ...     engine.run(flow)
    [1, 2, 3]
    """
    if output not in ("text", "lines", "json", "bytes", "all"):
        raise TypeError(f"output={output!r}: give 'text', 'lines', 'json', 'bytes' or 'all'")
    options = dict(how)
    name = cast("str | None", options.pop("name", None))
    environment = cast("Environment | None", options.pop("environment", None))
    defaults = Defaults(
        output=output,
        ok=frozenset(cast(Any, options.pop("ok", (0,)))),
        permanent=frozenset(cast(Any, options.pop("permanent", ()))),
        max_output=size(cast(Any, options.pop("max_output", "10MiB"))),
        stream=bool(options.pop("stream", False)),
    )

    origin = None if MODES.isdisjoint(options) else caller()

    def decorate(fn: Callable[P, Made]) -> CommandTask[P, Any]:
        called = name or getattr(fn, "__name__", None)
        if called is None:
            raise TypeError(f"{fn!r} has no name of its own: give it one with @ff.command(name=...)")
        made: CommandTask[P, Any] = CommandTask(
            fn, called, cast(StepOptions, options), defaults, environment, origin
        )
        registry.add(made)
        return made

    return decorate if fn is None else decorate(fn)
