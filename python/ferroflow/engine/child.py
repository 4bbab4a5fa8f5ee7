"""The program of a process in the pool: takes bodies from the engine and runs them, until it is gone."""

from __future__ import annotations

import importlib
import runpy
import signal
import sys
import types
from typing import Any

import msgspec

from ferroflow import _core
from ferroflow.define import registry
from ferroflow.define.attempt import attempt
from ferroflow.engine.bodies import pack, prepare
from ferroflow.engine.outcomes import Outcome, failure
from ferroflow.engine.processes import Setup
from ferroflow.engine.values import Codec
from ferroflow.errors import Cancelled, Fail, ResourceExceeded

# The descriptor over which the engine speaks to this process.
_CHANNEL = 3


class Child:
    """Runs one body after the other."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._codec = Codec(key=setup.key)
        self._functions: dict[str, Any] = {}
        self._call: _core.Call | None = None
        sys.path[:] = setup.path or [*sys.path, *setup.after]
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGXCPU, self._exceeded)
        # The terminal's Ctrl-C is for the engine.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _stop(self, *_: object) -> None:
        """Interrupt the body: the attempt no longer counts."""
        if self._call is not None:
            self._call.stop()
            raise Cancelled(f"the attempt of task {self._call.task!r} in run {self._call.run} was cancelled")

    def _exceeded(self, *_: object) -> None:
        if self._call is not None:
            raise ResourceExceeded(f"task {self._call.task!r} has used the processor time that it may use")

    def run(self, call: _core.Call, arguments: bytes) -> Outcome:
        """Run a body, and return what it came to."""
        try:
            function = self._functions.get(call.task) or self._found(call)
            decode = self._codec.decoder(call.parts)
            *args, kwargs = decode(arguments)
            attempt.set((call, arguments, decode))
            self._call = call
            result = function(*args, **kwargs)
            self._call = None
            return pack(self._codec, result)
        except MemoryError as error:
            self._call = None
            if call.memory_limit is None:
                return failure(error)
            limit = call.memory_limit
            return failure(
                ResourceExceeded(f"task {call.task!r} wanted more than its {limit} bytes of memory")
            )
        except BaseException as error:
            self._call = None
            return failure(error)

    def _found(self, call: _core.Call) -> Any:
        """Return the function of a task, imported if that was not done yet."""
        if registry.find(call.task) is None:
            self._import(call)
        task = registry.find(call.task)
        if task is None:
            raise Fail(
                "NOT_IMPORTABLE",
                f"importing {call.module!r} in another process defines no task {call.task!r}; define it at "
                "the top of a module, not in a function, nor under `if __name__ == '__main__'`",
            )
        self._functions[call.task] = prepare(task, self._codec)
        return self._functions[call.task]

    def _import(self, call: _core.Call) -> None:
        if call.module != "__main__":
            try:
                importlib.import_module(call.module)
            except ModuleNotFoundError as error:
                if error.name is None or not f"{call.module}.".startswith(f"{error.name}."):
                    raise
                raise Fail(
                    "NOT_IMPORTABLE",
                    f"{sys.executable} finds no module {error.name!r}, and task {call.task!r} is defined in "
                    f"{call.module!r}; install it there, or add its folder to the PYTHONPATH of the "
                    "task's environment",
                ) from error
            return
        main = self._setup.main
        if main is None:
            raise Fail(
                "NOT_IMPORTABLE",
                f"task {call.task!r} is defined at a prompt, or in a notebook: another process can't "
                "have it; write it into a module",
            )
        # As `multiprocessing` does it: what is under `if __name__ == "__main__"` does not run.
        how, where = main
        run = runpy.run_module if how == "module" else runpy.run_path
        module = types.ModuleType("__mp_main__")
        module.__dict__.update(run(where, run_name="__mp_main__"))
        sys.modules["__main__"] = sys.modules["__mp_main__"] = module


def main() -> None:
    """Serve the engine until it hangs up."""
    service = _core.Service(_CHANNEL)
    setup = msgspec.msgpack.decode(service.hello(), type=Setup)
    if setup.version != _core.__version__:
        sys.exit(f"this is ferroflow {_core.__version__}, and the engine is {setup.version}")
    child = Child(setup)
    while (received := service.receive()) is not None:
        call, arguments = received
        call.finish(child.run(call, arguments))


if __name__ == "__main__":
    main()
