"""What bodies come to, as the engine takes it."""

from __future__ import annotations

import traceback

import msgspec

from ferroflow import _core
from ferroflow.errors import (
    Cancelled,
    Deadlock,
    Fail,
    InvalidInput,
    LeaseLost,
    LeaseTimeout,
    ResourceExceeded,
)

Failed = tuple[str, str, str, bool]
"""(code, message, details, whether a retry may help)"""

Outcome = bytes | _core.Bytes | Failed
"""A result as MessagePack, or a failure."""


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
    if isinstance(error, ResourceExceeded):
        return "RESOURCE_EXCEEDED", _text(error, 10_000), details, False
    if isinstance(error, Deadlock):
        return "DEADLOCK", _text(error, 10_000), details, True
    if isinstance(error, LeaseTimeout):
        return "LEASE_TIMEOUT", _text(error, 10_000), details, True
    if isinstance(error, LeaseLost):
        return "LEASE_LOST", _text(error, 10_000), details, True
    if isinstance(error, SystemExit):
        message = f"the task called sys.exit({_text(error.code, 1000)}); return or raise instead"
        return "EXIT", message, details, False
    message = f"{type(error).__name__}: {_text(error, 10_000)}"
    if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
        return "EXECUTION_FAILED", message, details, False
    if isinstance(error, (InvalidInput, msgspec.ValidationError)):
        return "INVALID_INPUT", message, details, False
    return "EXECUTION_FAILED", message, details, True
