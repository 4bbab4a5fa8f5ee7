"""How runs are run, and what an engine says of its workflows and of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from ferroflow.define import Priority
from ferroflow.define.units import Duration

PRIORITIES: Sequence[str] = ("critical", "high", "normal", "low", "background")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is run.

    Parameters
    ----------
    priority
        Class of all its steps that have none of their own.
    timeout
        The run must end within this time: seconds, timedelta or "5m"; 0 for no limit. Goes before
        the workflow's own.
    correlation
        An id of the caller's, to find the run by.
    id
        The id of the run, a UUID, where the caller has to know it beforehand: a second start with
        it raises `RunExists`.
    version
        Of a workflow that is started by name; default: the version that was registered last.
    tenant, tags
        On whose behalf it is, and what it is about: a fair share may be theirs.
    weight
        Of the share that it has, where the policy names none.
    deadline
        By when it should have ended: an instant with a time zone, or a time from now. The policy
        "deadline" goes by it; the run goes on although it has passed.
    max_running_steps
        Steps of it that run at a time; default: the engine's.
    plan
        Paths of steps in the order in which the policy "plan" starts them, or pairs of a path and the
        number of the worker, from 0, that it is for. Copies and turns of a step have its path without
        their numbers.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.workflow
    ... def nothing() -> None: ...
    >>> with ff.Engine() as engine:
    ...     _ = engine.run(nothing, options=ff.RunOptions(priority="high", correlation="order 7"))
    ...     [run.correlation for run in engine.list()]
    ['order 7']
    """

    priority: Priority = "normal"
    timeout: Duration | None = None
    correlation: str | None = None
    id: str | None = None
    version: str | None = None
    tenant: str | None = None
    tags: Sequence[str] = ()
    weight: float | None = None
    deadline: datetime | Duration | None = None
    max_running_steps: int | None = None
    plan: Sequence[str | tuple[str, int]] = ()


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow that can be started by name.

    Parameters
    ----------
    name, version
        What it is called.
    hash
        The content hash of its normal form.
    registered
        Since when: microseconds since 1970, UTC.
    """

    name: str
    version: str
    hash: str
    registered: int


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine has done since it was opened, and does now.

    Parameters
    ----------
    runs
        How many runs have come into each state.
    active
        Runs that have not ended.
    ready, running
        Steps that wait for a worker, and bodies that run.
    commits
        Commits that were made.
    refused
        Results that came too late, as their attempts had been superseded.
    reclaimed
        Leases that were taken from superseded attempts, as their bodies did not end in time.
    policy
        How ready steps are ranked.
    unranked
        Steps that a policy of the user's has failed to rank.
    """

    runs: dict[str, int]
    active: int
    ready: int
    running: int
    commits: int
    refused: int
    reclaimed: int
    policy: str
    unranked: int
