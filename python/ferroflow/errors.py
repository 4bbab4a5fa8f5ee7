"""Every exception that ferroflow raises.

::

    FerroflowError
    ├── DefinitionError          a workflow that is not right; all problems at once
    │   ├── BorrowError          its steps race, or use what another has taken
    │   └── InvalidInstance      a WfFormat instance that is not right
    ├── InvalidGraph             a graph, or what is asked of one, that is not right
    │   └── CyclicGraph          nodes of a graph wait for each other
    ├── InvalidInput             inputs that do not fit the workflow
    │   ├── MissingValue         a task asked for a value that is not there
    │   └── WrongType            a task asked for a value of another type
    ├── PlanError                what there is no plan for
    ├── TaskNotFound             a task that no imported module defines
    ├── WorkflowNotFound         a name under which no workflow is registered
    ├── RunNotFound              an id that no run has
    ├── RunExists                an id that another run has
    ├── RunFailed                a run ended in failure
    │   └── RunTimedOut          it did not end in time
    ├── RunCancelled             a run was cancelled
    ├── ValueTooLarge            what a run yields is larger than a value may be
    ├── RunEnded                 a command to a run that has ended
    ├── EngineBusy               the engine has as many runs as it may have
    ├── EngineClosed             the engine was closed
    ├── QueryRefused             SQL that fails, or would do more than read
    ├── StorageError             the database can't be used
    │   ├── ForeignDatabase      it is no ferroflow database
    │   ├── NewerDatabase        a newer ferroflow wrote it
    │   ├── CorruptDatabase      bytes in it were changed
    │   ├── MissingTail          its end is missing
    │   └── DatabaseInUse        another engine has it open
    ├── ResourceExceeded         a task used more than it may
    ├── Deadlock                 runs wait for each other's locks, and this one gives up
    ├── LeaseTimeout             an asset could not be locked in time
    ├── LeaseLost                a lock was given back before, or has expired
    └── Fail                     raised by a task: this step failed, with a code
    Cancelled (BaseException)    raised in a task whose attempt no longer counts
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


class FerroflowError(Exception):
    """The root of all errors."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a definition.

    Parameters
    ----------
    code
        Stable, for programs: `unknown-reference`, `cyclic-dependency`, ...
    place
        Where: a path into the definition, or of a step.
    message, help
        What is wrong, and what to do.
    """

    code: str
    place: str
    message: str
    help: str

    def __str__(self) -> str:
        where = f" at {self.place}" if self.place else ""
        return f"[{self.code}]{where}: {self.message} ({self.help})"


class DefinitionError(FerroflowError):
    """A workflow that is not right.

    Attributes
    ----------
    problems : list of Problem
        Everything that is wrong with it.
    """

    def __init__(self, message: str, problems: Iterable[Problem] = ()) -> None:
        self.problems = [*problems]
        lines = [message, *(f"  {problem}" for problem in self.problems)]
        super().__init__("\n".join(lines))


class BorrowError(DefinitionError):
    """A workflow whose steps race for an asset, or use one that another has taken.

    The text is the rendered report; `ferroflow explain CODE` tells more about each code.

    Attributes
    ----------
    report : Report
        What is found about the workflow; see `Workflow.check`.
    """

    def __init__(self, report: Any) -> None:
        self.report = report
        super().__init__(f"workflow {report.workflow!r} can't run as it is\n\n{report}")

    def __reduce__(self) -> tuple[type[BorrowError], tuple[Any]]:
        return BorrowError, (self.report,)


class InvalidInstance(DefinitionError):
    """A WfFormat instance that is not right."""


class InvalidGraph(FerroflowError):
    """A graph, or what is asked of one, that is not right: the message says what, where, and what to do."""


class CyclicGraph(InvalidGraph):
    """Nodes of a graph wait for each other.

    Attributes
    ----------
    cycle : list of int
        These nodes in the order of their edges, from the smallest.
    """

    def __init__(self, message: str, cycle: Iterable[int]) -> None:
        self.cycle = [*cycle]
        super().__init__(message)

    def __reduce__(self) -> tuple[type[CyclicGraph], tuple[str, list[int]]]:
        return CyclicGraph, (str(self), self.cycle)


class InvalidInput(FerroflowError):
    """Inputs that do not fit the workflow."""


class MissingValue(InvalidInput):
    """A task asked for an input, variable or parameter that is not there."""


class WrongType(InvalidInput):
    """A task asked for an input, variable or parameter of another type than it has."""


class PlanError(FerroflowError, ValueError):
    """Something of which no plan can be made.

    Attributes
    ----------
    kind : str
        `invalid` (a graph, platform or argument that is not right), `cyclic-dependency`,
        `insufficient-resources` (something fits nowhere), `no-nodes`, `state-access-failed` and
        `history-access-failed` (what was asked for a state or an estimate raised), `already-active` (the
        run has a plan), or `internal-error`.
    """

    def __init__(self, message: str, *, kind: str = "invalid") -> None:
        super().__init__(message)
        self.kind = kind


class TaskNotFound(FerroflowError):
    """A task that no imported module defines."""


class WorkflowNotFound(FerroflowError):
    """A name under which no workflow is registered."""


class RunNotFound(FerroflowError):
    """An id that no run has."""


class RunExists(FerroflowError):
    """An id that another run has."""


class RunFailed(FerroflowError):
    """A run ended in failure.

    Attributes
    ----------
    run : str
        Its id.
    step : str or None
        Path of the step that failed first.
    code : str
        E.g. `EXECUTION_FAILED`, `TIMEOUT`, or what the task gave to `Fail`.
    details : str
        The traceback of the task.
    """

    def __init__(
        self,
        message: str,
        *,
        run: str = "",
        step: str | None = None,
        code: str = "",
        details: str = "",
    ) -> None:
        super().__init__(message)
        self.run, self.step, self.code, self.details = run, step, code, details
        if details:
            self.add_note(f"In the task:\n{details.rstrip()}")


class RunTimedOut(RunFailed):
    """A run did not end in time."""


class RunCancelled(FerroflowError):
    """A run was cancelled."""

    def __init__(self, message: str, *, run: str = "") -> None:
        super().__init__(message)
        self.run = run


class ValueTooLarge(FerroflowError):
    """What a run yields is larger than a value may be."""


class RunEnded(FerroflowError):
    """A command to a run that has ended."""


class EngineBusy(FerroflowError):
    """The engine has as many unfinished runs as it may have."""


class EngineClosed(FerroflowError):
    """The engine was closed."""


class QueryRefused(FerroflowError):
    """SQL that fails, or that would do more than read."""


class StorageError(FerroflowError):
    """The database can't be used."""


class ForeignDatabase(StorageError):
    """The file is no ferroflow database."""


class NewerDatabase(StorageError):
    """A newer ferroflow wrote the database."""


class CorruptDatabase(StorageError):
    """Bytes of the database were changed."""


class MissingTail(StorageError):
    """The end of the database is missing."""


class DatabaseInUse(StorageError):
    """Another engine has the database open."""


class ResourceExceeded(FerroflowError):
    """Raised in a task that uses more memory or processor time than its limits allow."""


class Deadlock(FerroflowError):
    """Runs wait for each other's locks in a circle, which the message names, and this one gives up."""


class LeaseTimeout(FerroflowError):
    """An asset could not be locked in time; the message says who has it."""


class LeaseLost(FerroflowError):
    """The run does not hold the lock any more: it was given back before, or has expired."""


class Fail(FerroflowError):
    """Raised by a task: this step failed.

    Parameters
    ----------
    code
        For programs and handlers, e.g. `CARD_REFUSED`.
    message
        For people.
    retriable
        Whether the step's retry policy may try again.
    """

    def __init__(self, code: str, message: str, *, retriable: bool = False) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.retriable = code, message, retriable


class Cancelled(BaseException):
    """The attempt no longer counts: its body should stop."""
