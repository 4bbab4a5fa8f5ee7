"""How ready steps are ranked: the engine's own policies, and those of users."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from ferroflow.define.units import Duration, micros
from ferroflow.engine.logs import log
from ferroflow.errors import EngineClosed

if TYPE_CHECKING:
    from ferroflow import _core

PolicyName = Literal[
    "fifo",
    "priority",
    "upward_rank",
    "shortest_first",
    "longest_first",
    "fair_share",
    "round_robin",
    "best_fit",
    "deadline",
    "min_memory",
    "min_cpu",
    "data_locality",
    "plan",
]
ShareOf = Literal["tenant", "tag", "workflow", "priority"]

AGEING = 4
"""What a second of a rank is worth, in seconds of waiting, where nothing is said."""

CLASS = 60.0
"""What a priority class is worth, in seconds of waiting, where nothing is said."""

_AGED = ("upward_rank", "shortest_first", "longest_first", "data_locality")

Spelled = tuple[str, int, str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class BuiltinPolicy:
    """One of the engine's own policies; `policy` makes it.

    Examples
    --------
    >>> import ferroflow as ff
    >>> ff.policy("shortest_first", ageing=2).name
    'shortest_first'
    """

    name: PolicyName
    ageing: float = 0.0
    by: ShareOf = "tenant"
    weights: Mapping[str, float] = field(default_factory=dict)

    def spelled(self) -> Spelled:
        """Return it as the core takes it."""
        ageing = micros(self.ageing) if self.name == "priority" else int(self.ageing)
        return self.name, ageing, self.by, {name: thousandths(it) for name, it in self.weights.items()}


def policy(
    name: PolicyName,
    *,
    ageing: Duration | None = None,
    by: ShareOf | None = None,
    weights: Mapping[str, float] | None = None,
) -> BuiltinPolicy:
    """Return one of the engine's own policies, with options.

    Parameters
    ----------
    name
        Which; `docs/policies.md` says what each does.
    ageing
        With "priority": how much waiting is worth a class, a minute if nothing is said. With
        "upward_rank", "shortest_first", "longest_first" and "data_locality": how many seconds of waiting a
        second of rank is worth, a whole number, 4 if nothing is said. With 0, waiting is worth nothing:
        a step may be overtaken for ever.
    by, weights
        With "fair_share": what the shares are of, and their weights by name; 1 if nothing is said, and
        for the priority classes 16, 8, 4, 2 and 1.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.workflow
    ... def flow():
    ...     return ff.library.compute("sum", [1, 2])
    >>> fair = ff.policy("fair_share", by="tenant", weights={"research": 3})
    >>> with ff.Engine(policy=fair) as engine:
    ...     engine.run(flow, options=ff.RunOptions(tenant="research"))
    {'result': 3}
    """
    if name not in get_args(PolicyName):
        raise ValueError(f"there is no policy {name!r}; there are {', '.join(get_args(PolicyName))}")
    if (by is not None or weights is not None) and name != "fair_share":
        raise ValueError(f"{name!r} has no shares: `by` and `weights` go with 'fair_share'")
    if ageing is not None and name != "priority" and name not in _AGED:
        raise ValueError(
            f"{name!r} has no `ageing`: that goes with 'priority', {', '.join(map(repr, _AGED))}"
        )
    if by is not None and by not in get_args(ShareOf):
        raise ValueError(f"by={by!r}: give one of {', '.join(get_args(ShareOf))}")
    if name == "priority":
        worth = CLASS if ageing is None else micros(ageing) / 1e6
    elif name not in _AGED:
        worth = 0.0
    elif ageing is None:
        worth = AGEING
    elif isinstance(ageing, (int, float)) and float(ageing).is_integer() and 0 <= ageing <= 1e6:
        worth = float(ageing)
    else:
        raise ValueError(f"ageing={ageing!r}: give a whole number from 0 on")
    return BuiltinPolicy(name, worth, by or "tenant", dict(weights or {}))


def thousandths(weight: float) -> int:
    """Return a weight as the core counts it."""
    if not 0.001 <= weight <= 1e6:
        raise ValueError(f"{weight!r} is no weight: give a number from 0.001 to 1,000,000")
    return round(weight * 1000)


class ReadySteps(msgspec.Struct, frozen=True, kw_only=True):
    """Steps that are ready, as columns of the same length.

    Parameters
    ----------
    run, workflow, path, task
        Ids of their runs, names of their workflows, their paths, names of their tasks.
    priority
        From 0, critical, to 4, background.
    expected, upward
        Seconds that each is expected to take, and on the longest way from its beginning to the end of its
        run.
    since, deadline
        When each became ready, and its run should have ended: microseconds since 1970, UTC, or None.
    attempt
        How many attempts were made before.
    tenant, tags
        Of its run.
    resources
        What it holds while it runs.
    """

    batch: int
    run: list[str]
    workflow: list[str]
    path: list[str]
    task: list[str]
    priority: list[int]
    expected: list[float]
    upward: list[float]
    since: list[int]
    deadline: list[int | None]
    attempt: list[int]
    tenant: list[str | None]
    tags: list[list[str]]
    resources: list[dict[str, float]]

    def __len__(self) -> int:
        return len(self.path)


class Policy:
    """A policy of your own: override `rank`.

    The engine calls it in a thread of its own, with up to `max_batch_size` ready steps at a time. The ranks
    are recorded (`StepsRanked`), so that nobody has to call it again to see why a run went as it did. While
    it raises, returns something else, or takes longer than a second, steps go by upward rank.

    Examples
    --------
    >>> import ferroflow as ff
    >>> class ByName(ff.Policy):
    ...     def rank(self, steps):
    ...         order = sorted(steps.path)
    ...         return [order.index(path) for path in steps.path]
    >>> @ff.workflow
    ... def flow():
    ...     return ff.library.compute("sum", [1, 2])
    >>> with ff.Engine(policy=ByName()) as engine:
    ...     engine.run(flow)
    {'result': 3}
    """

    def rank(self, steps: ReadySteps) -> Sequence[float]:
        """Return a number for each step: the smallest starts first, and of equals the oldest."""
        raise NotImplementedError


class Ranker:
    """Shows ready steps to a policy of the user's for as long as the engine wants that."""

    def __init__(self, core: _core.Engine, policy: Policy, most: int) -> None:
        self._core = core
        self._policy = policy
        self._most = most
        self._dismissed = threading.Event()

    def dismiss(self) -> None:
        """Rank nothing more: another policy was chosen."""
        self._dismissed.set()

    def work(self) -> None:
        """Rank what is ready until another policy is chosen or the engine is closed."""
        with contextlib.suppress(EngineClosed):
            while not self._dismissed.is_set() and self._core.ranks_outside():
                packed = self._core.rankable(self._most, 0.2)
                if packed is None:
                    continue
                steps = msgspec.msgpack.decode(packed, type=ReadySteps)
                if self._dismissed.is_set():
                    self._core.unasked(steps.batch)
                else:
                    self._core.ranked(steps.batch, self._ranks(steps))

    def _ranks(self, steps: ReadySteps) -> list[float] | None:
        name = type(self._policy).__name__
        try:
            ranks = [float(rank) for rank in self._policy.rank(steps)]
        except BaseException:  # a `sys.exit()` too would end this thread, and steps would wait
            log().exception("the policy %s raised; %d steps go by upward rank", name, len(steps))
            return None
        if len(ranks) != len(steps) or any(math.isnan(rank) for rank in ranks):
            log().error(
                "the policy %s returned %d ranks for %d steps, or one that is NaN; they go by upward rank",
                name,
                len(ranks),
                len(steps),
            )
            return None
        return ranks


def chosen(given: PolicyName | BuiltinPolicy | Policy) -> tuple[Spelled, Policy | None]:
    """Return a policy as the core takes it, and the user's own, if it is one."""
    if isinstance(given, Policy):
        return ("custom", 0, "tenant", {}), given
    if isinstance(given, str):
        given = policy(given)
    if not isinstance(given, BuiltinPolicy):
        raise TypeError(f"policy={given!r}: give a name, what ff.policy(...) returns, or an ff.Policy")
    return given.spelled(), None
