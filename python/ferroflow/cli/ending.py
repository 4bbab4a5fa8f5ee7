"""How commands end: exit codes, messages for people, and JSON for machines."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click
import msgspec

INTERRUPTED = 130
UNREAD = 141


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what it left behind."""

    def __init__(self, message: str, *, run: str) -> None:
        super().__init__(message)
        self.run = run


class Group(click.Group):
    """Turns what commands raise into messages and exit codes."""

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        """Run the command line and end the process."""
        arguments = [*(sys.argv[1:] if args is None else args)]
        self._as_json = "--json" in arguments
        extra["standalone_mode"] = False
        try:
            code = super().main(arguments, *more, **extra)
        except click.ClickException as error:
            code = error.exit_code
            if self._as_json:
                say({"error": described(error)})
            else:
                error.show()
        except click.Abort:
            code = INTERRUPTED
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> None:
        """Run a command."""
        from ferroflow.errors import FerroflowError

        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is still to be written has nowhere to go, at exit neither.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(UNREAD)
        except (FerroflowError, OSError, KeyboardInterrupt) as error:
            self._tell(error)
            ctx.exit(code_of(error))

    def _tell(self, error: BaseException) -> None:
        from ferroflow.errors import BorrowError

        if self._as_json:
            say({"error": described(error)})
            return
        if isinstance(error, BorrowError):
            click.echo(error.report.render(colour=sys.stderr.isatty()), err=True)
            return
        word = "interrupted" if isinstance(error, KeyboardInterrupt) else "error"
        message = f": {error}" if str(error) else ""
        click.echo(click.style(word, fg="red", bold=True) + message, err=True)
        for note in getattr(error, "__notes__", ()):
            click.echo(note, err=True)


def say(value: object) -> None:
    """Print one JSON value."""
    click.echo(encoded(value).decode())


def encoded(value: object) -> bytes:
    """Return a value as JSON; what JSON has no keys for is shown as text."""
    try:
        return msgspec.json.encode(value)
    except TypeError:
        return msgspec.json.encode(_textual(msgspec.to_builtins(value, builtin_types=(bytes,))))


def _textual(value: Any) -> Any:
    if isinstance(value, dict):
        return {key if isinstance(key, str) else repr(key): _textual(it) for key, it in value.items()}
    return [_textual(it) for it in value] if isinstance(value, list | tuple) else value


def described(error: BaseException) -> dict[str, Any]:
    """Return an error as JSON: its kind, its message, and what else it knows."""
    message = error.format_message() if isinstance(error, click.ClickException) else str(error)
    found: dict[str, Any] = {"kind": type(error).__name__, "message": message}
    for name in ("run", "step", "code", "details"):
        if isinstance(known := getattr(error, name, None), str) and known:
            found[name] = known
    if (report := getattr(error, "report", None)) is not None:
        found["report"] = report.to_dict()
    if problems := getattr(error, "problems", None):
        found["problems"] = [msgspec.to_builtins(problem) for problem in problems]
    return found


def code_of(error: BaseException) -> int:
    """Return the exit code of an error."""
    from ferroflow import errors

    codes: Sequence[tuple[type[BaseException], int]] = (
        (errors.RunTimedOut, 5),
        (errors.RunCancelled, 5),
        (errors.RunFailed, 1),
        (errors.DefinitionError, 3),
        (errors.InvalidInput, 3),
        (errors.PlanError, 3),
        (errors.TaskNotFound, 3),
        (errors.StorageError, 4),
        (KeyboardInterrupt, INTERRUPTED),
    )
    return next((code for kind, code in codes if isinstance(error, kind)), 1)
