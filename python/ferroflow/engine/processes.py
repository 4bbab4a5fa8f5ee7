"""Bodies in processes of their own: tasks in the pool, and commands."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ferroflow import _core
from ferroflow.define.command import CommandTask
from ferroflow.engine.bodies import pack
from ferroflow.engine.outcomes import Failed, Outcome, failure
from ferroflow.errors import Fail

if TYPE_CHECKING:
    from ferroflow.define import Environment, Launch, Task
    from ferroflow.engine.bodies import Bodies

# Of how many environments a thread keeps a process at hand.
_KEPT = 4


# Tells which ferroflow an interpreter has.
_VERSION = "import ferroflow; print(ferroflow.__version__)"


class Setup(msgspec.Struct):
    """What a process of the pool is told first."""

    version: str
    # Where it imports from, instead of where its interpreter does; and where after that.
    path: list[str]
    after: list[str]
    main: tuple[str, str] | None
    key: bytes


class Processes:
    """Runs the bodies of one lane, each in a process, each waited for by a thread."""

    def __init__(self, core: _core.Engine, bodies: Bodies, slots: int) -> None:
        self._core, self._bodies, self.slots = core, bodies, slots
        self._execute = bodies.surrounded(self._run)
        self._here = threading.local()

    def serve(self) -> None:
        """Run bodies until the engine stops."""
        pool = self._here.pool = _Pool(self._core, self._bodies)
        try:
            self._core.work(_core.CHILDREN, self._execute)
        finally:
            pool.close()

    def _run(self, job: _core.Job, name: str, arguments: bytes) -> Outcome:
        try:
            task = self._bodies.task(name)
            if isinstance(task, CommandTask):
                line = task.defaults.complete(self._bodies.bound(job, name, arguments)())
                return pack(self._bodies.codec, task.run(line, job))
            pool: _Pool = self._here.pool
            return pool.run(task, job, arguments)
        except BaseException as error:
            return failure(error)


class _Pool:
    """The processes of one thread: one for each environment that its tasks name."""

    def __init__(self, core: _core.Engine, bodies: Bodies) -> None:
        self._core, self._bodies = core, bodies
        self._workers: dict[str, _core.PoolWorker] = {}

    def run(self, task: Task[..., Any], job: _core.Job, arguments: bytes) -> Outcome:
        key = repr(task.environment)
        worker = self._workers.get(key)
        if worker is None or not worker.alive:
            self._workers.pop(key, None)
            if len(self._workers) >= _KEPT:
                self._workers.pop(next(iter(self._workers))).close()
            worker = self._workers[key] = self._started(task.environment)
        outcome = worker.run(job, task.fn.__module__, arguments)
        if isinstance(outcome, tuple) and outcome[0] == "WORKER_NOT_READY":
            return _explained(task.environment, outcome)
        return outcome

    def _started(self, environment: Environment) -> _core.PoolWorker:
        launch = environment.launch([environment.interpreter(), "-m", "ferroflow.engine.child"])
        path, after = _path(environment, launch)
        setup = Setup(
            version=_core.__version__,
            path=path,
            after=after,
            main=_main(),
            key=self._bodies.codec.key(),
        )
        try:
            return _core.PoolWorker(
                self._core,
                launch.args,
                launch.variables,
                launch.directory,
                msgspec.msgpack.encode(setup),
            )
        except Fail as error:
            message = f"the interpreter of its environment can't be started: {error.message}"
            raise Fail(error.code, message, retriable=error.retriable) from None

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()


def _path(environment: Environment, launch: Launch) -> tuple[list[str], list[str]]:
    """Return where a process imports from, instead of where its interpreter does, and where after that."""
    if environment.python is not None:
        # The other interpreter has packages of its own. The program's modules are the engine's.
        own = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
        found = [Path(entry).absolute() for entry in sys.path]
        return [], [str(entry) for entry in found if not any(entry.is_relative_to(prefix) for prefix in own)]
    # What the engine has added to its path is there; the environment's packages go before it.
    packages = launch.variables["PYTHONPATH"].split(os.pathsep)[:1] if environment.packages else []
    return [*packages, *sys.path], []


def _explained(environment: Environment, outcome: Failed) -> Failed:
    """Return the failure of a process that ended before it took a body, with what can be told of why."""
    python, version = environment.interpreter(), _core.__version__
    launch = environment.launch([python, "-c", _VERSION])
    line = (launch.args, launch.variables, launch.directory)
    try:
        found = _core.run_command(*line, None, None, None, 1 << 20, 1 << 20, {0}, None, None)
    except Fail as error:
        return failure(error)
    code, message, details, _ = outcome
    there = found.stdout.decode("utf-8", "replace").strip()
    said = found.stderr.decode("utf-8", "replace").strip()
    install = f"install it: {python} -m pip install ferroflow=={version}"
    if "No module named 'ferroflow'" in said:
        why = f"{python} has no ferroflow; {install}"
    elif found.status or found.signal:
        last = said.splitlines()[-1][:500] if said else "it does not say why"
        why = f"{python} can't import ferroflow {version}: {last}"
    elif not there:
        why = f"{python} is no interpreter of Python; give another one"
    elif there != version:
        why = f"{python} has ferroflow {there[:50]}, and the engine has {version}; {install}"
    else:
        return code, f"{message}; what it said is where the engine's standard error goes", details, True
    return code, f"{message}: {why}", said, False


def _main() -> tuple[str, str] | None:
    """Return how another process can have what the main program defines: by module, or by file."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return "module", spec.name
    path = getattr(main, "__file__", None)
    return None if path is None else ("file", path)
