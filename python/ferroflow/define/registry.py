"""Tasks by name: how a run that is taken up again finds the functions it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ferroflow.errors import DefinitionError

if TYPE_CHECKING:
    from ferroflow.define.task import Task

_tasks: dict[str, Task[..., Any]] = {}


def add(task: Task[..., Any]) -> None:
    """Make a task known; another function of the same name is refused."""
    before = _tasks.get(task.name)
    if before is not None and _origin(before) != _origin(task):
        raise DefinitionError(
            f"two tasks are called {task.name!r}: {'.'.join(_origin(before))} and "
            f"{'.'.join(_origin(task))}; give one of them another name with @ff.task(name=...)"
        )
    _tasks[task.name] = task


def find(name: str) -> Task[..., Any] | None:
    """Return the task of a name; `double:left` is the task `double` in a role of its own."""
    return _tasks.get(name) or _tasks.get(name.partition(":")[0])


def _origin(task: Task[..., Any]) -> tuple[str, str]:
    # A partial, or an object that can be called, has neither.
    module, name = getattr(task.fn, "__module__", ""), getattr(task.fn, "__qualname__", repr(task.fn))
    return module, name
