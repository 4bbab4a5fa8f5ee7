"""`plan`: a schedule for an instance on a platform."""

from __future__ import annotations

from typing import Any, NamedTuple

from ferroflow import _core
from ferroflow.errors import PlanError
from ferroflow.plan.instance import Instance, refused
from ferroflow.plan.platform import Platform
from ferroflow.plan.schedule import Bounds, Schedule

SECONDS = 1.0
"""How long `auto` searches if nobody says otherwise."""


class Method(NamedTuple):
    """A planner: its name, and what it is called in the field."""

    name: str
    title: str


def methods() -> list[Method]:
    """Return all planners.

    Examples
    --------
    >>> from ferroflow.plan import methods
    >>> [it.title for it in methods() if it.name == "peft"]
    ['PEFT, Predict Earliest Finish Time']
    """
    return [Method(*it) for it in _core.plan_methods()]


def plan(
    graph: Instance | Any,
    platform: Platform,
    method: str = "auto",
    *,
    budget: int | None = None,
    seconds: float | None = None,
    insertion: bool | None = None,
    seed: int = 1,
) -> Schedule:
    """Return where and when each task of a graph is to run on a platform.

    Parameters
    ----------
    graph
        An `Instance`; anything with its columns, `costs` (or `runtimes`), `sources`, `targets`, `bytes`; or
        a graph as `Instance.of` takes it, with tasks of 1 s.
    platform
        Where they run.
    method
        A name out of `methods()`, or `"auto"`: all that are quick enough, then a search that improves the
        best of them where its critical path runs, until the budget is used or a schedule as short as a
        lower bound is found.
    budget
        How many schedules `auto` may lay out. The same number gives the same schedule.
    seconds
        How long `auto` may take; 1 s if there is no budget either. How far it comes depends on the machine:
        `Schedule.evaluations` tells the budget that gives this schedule again.
    insertion
        Whether a task may start before what was placed earlier, in a gap. As the method's paper has it if
        None.
    seed
        What random choices come from.

    Returns
    -------
    Schedule
        With its makespan, lower bounds and the gap to them.

    Raises
    ------
    PlanError
        If the graph or platform is not right; the message says what, where, and what to do.

    Examples
    --------
    >>> from ferroflow.plan import Instance, Node, Platform, plan
    >>> chain = Instance([6.0, 6.0], sources=[0], targets=[1], bytes=[100.0])
    >>> made = plan(chain, Platform([Node("slow"), Node("fast", speed=2.0)], bandwidth=10.0), "heft")
    >>> made.makespan, made.gap
    (6.0, 0.0)
    """
    given = graph if isinstance(graph, Instance) else _columns(graph)
    if budget is not None and budget < 1:
        raise PlanError(f"a budget is a number of schedules, at least one, and not {budget}")
    if seconds is not None and not seconds > 0:
        raise PlanError(f"seconds have to be above zero, and not {seconds}")
    if not 0 <= seed < 1 << 64:
        raise PlanError(f"a seed is a whole number of 64 bits, and not {seed}")
    if budget is None and seconds is None:
        seconds = SECONDS
    core = given._on(platform)
    try:
        columns, told, bounds = core.plan(method, insertion, seed, budget, seconds)
    except ValueError as error:
        raise refused(error) from None
    _, evaluations, improved, used = told
    nodes, starts, finishes = columns
    return Schedule(
        given,
        platform,
        nodes,
        starts,
        finishes,
        method=used,
        improved=improved,
        evaluations=evaluations,
        bounds=Bounds(*bounds),
        core=core,
    )


def _columns(graph: Any) -> Instance:
    """Return the columns of something that has them."""
    if callable(getattr(graph, "edges", None)):
        return Instance.of(graph)
    costs = getattr(graph, "costs", getattr(graph, "runtimes", None))
    if costs is None or not hasattr(graph, "sources") or not hasattr(graph, "targets"):
        raise PlanError(f"{type(graph).__name__} has no costs, sources and targets: give an Instance")
    optional = ("bytes", "names", "kinds", "cores", "memory", "times")
    more = {name: getattr(graph, name) for name in optional if getattr(graph, name, None) is not None}
    return Instance(costs, graph.sources, graph.targets, **more)
