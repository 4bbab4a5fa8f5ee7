"""Opens an engine that may send no signals: a filter of system calls refuses them, as a sandbox does.

`powerless.py DATABASE` prints one line of JSON: the error that opening raised, or which runs could not be
taken up and why, with the states of all. Where there are no such filters, it prints `null`.
"""

import contextlib
import ctypes
import json
import struct
import sys

import ferroflow as ff
import tests.crash.children_left  # noqa: F401 - an engine knows the tasks that are imported

_NO_NEW_PRIVILEGES, _SET_FILTER, _FILTER = 38, 22, 2
# The number is the same on all architectures.
_PIDFD_SEND_SIGNAL = 424
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _NOT_PERMITTED = 0x7FFF0000, 0x00050001


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_char_p)]


def refuse_signals() -> bool:
    """Let this thread, and those that it starts, send no signals by descriptors of processes."""
    steps = [
        (_LOAD, 0, 0, 0),
        (_IF_EQUAL, 0, 1, _PIDFD_SEND_SIGNAL),
        (_RETURN, 0, 0, _NOT_PERMITTED),
        (_RETURN, 0, 0, _ALLOW),
    ]
    program = _Program(len(steps), b"".join(struct.pack("=HBBI", *step) for step in steps))
    prctl = ctypes.CDLL(None).prctl
    refused = prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or prctl(
        _SET_FILTER, _FILTER, ctypes.byref(program), 0, 0
    )
    return not refused


def main(path: str) -> None:
    if not refuse_signals():
        print("null")
        return
    try:
        engine = ff.Engine(path)
    except ff.FerroflowError as error:
        print(json.dumps({"error": [type(error).__name__, str(error)]}))
        return
    with contextlib.closing(engine):
        left = {run: [type(error).__name__, str(error)] for run, error in engine.unresumed.items()}
        states = {run.id: run.state for run in engine.list()}
        print(json.dumps({"unresumed": left, "states": states, "active": engine.stats().active}))


if __name__ == "__main__":
    main(*sys.argv[1:])
