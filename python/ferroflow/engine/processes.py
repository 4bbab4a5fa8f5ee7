"""Bodies in processes of their own: tasks in the pool, and commands."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from ferroflow import _core
from ferroflow.define.command import CommandTask
from ferroflow.engine.bodies import pack
from ferroflow.engine.outcomes import Outcome, failure

if TYPE_CHECKING:
    from ferroflow.define import Environment, Launch, Task
    from ferroflow.engine.bodies import Bodies

# Of how many environments a thread keeps a process at hand.
_KEPT = 4


class Setup(msgspec.Struct):
    """What a process of the pool is told first."""

    path: list[str]
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
        return worker.run(job, task.fn.__module__, arguments)

    def _started(self, environment: Environment) -> _core.PoolWorker:
        launch = environment.launch([environment.interpreter(), "-m", "ferroflow.engine.child"])
        setup = Setup(
            path=_path(environment, launch),
            main=_main(),
            key=self._bodies.codec.key(),
        )
        return _core.PoolWorker(
            self._core,
            launch.args,
            launch.variables,
            launch.directory,
            msgspec.msgpack.encode(setup),
        )

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()


def _path(environment: Environment, launch: Launch) -> list[str]:
    """Return where a process imports from; nothing if it is to find that out by itself."""
    if environment.python is not None:
        return []
    # What the engine has added to its path is there; the environment's packages go before it.
    packages = launch.variables["PYTHONPATH"].split(os.pathsep)[:1] if environment.packages else []
    return [*packages, *sys.path]


def _main() -> tuple[str, str] | None:
    """Return how another process can have what the main program defines: by module, or by file."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return "module", spec.name
    path = getattr(main, "__file__", None)
    return None if path is None else ("file", path)
