"""Simulation: what a run would do, on machines one need not have, in time that need not pass."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from ferroflow import _core
from ferroflow.engine.policies import BuiltinPolicy, PolicyName, chosen
from ferroflow.errors import PlanError
from ferroflow.plan.instance import refused
from ferroflow.plan.laws import Amount, Constant, law
from ferroflow.plan.platform import Node, Platform

if TYPE_CHECKING:
    from ferroflow.define import Workflow
    from ferroflow.engine.records import RunView


Figure = Literal["makespan", "cost", "utilisation"]
"""What a simulated run comes to."""

FIGURES: tuple[Figure, ...] = get_args(Figure)


Model = Callable[[str, str], Amount | None]
"""Says how long a step takes, given its path and its task's name; None leaves it to the default."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A node that is lost, with all that runs on it, and perhaps comes back.

    Parameters
    ----------
    node
        Its name.
    at
        Seconds after the start.
    until
        When it is back; None: never.

    Examples
    --------
    >>> from ferroflow.plan import Loss
    >>> Loss("node-3", at=60, until=300).until
    300
    """

    node: str
    at: float
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong in a simulation. What follows is up to the workflow's own retries and handlers.

    Parameters
    ----------
    failure
        How likely an attempt is to fail, from 0 to 1, at a moment of its own.
    stragglers, slowness
        How likely an attempt is to be slow, and how many times as long it then takes.
    losses
        Nodes that are lost at given times. Attempts on them fail as those whose process dies.
    outages
        Seconds for which each node is up, and down, in turn, or None for nodes that stay.
    delay
        Seconds that what goes from one node to another is late, beyond the latency of the link.

    Examples
    --------
    >>> from ferroflow.plan import Exponential, Faults
    >>> Faults(failure=0.02, outages=(Exponential(3600), 120)).failure
    0.02
    """

    failure: float = 0.0
    stragglers: float = 0.0
    slowness: float = 5.0
    losses: Sequence[Loss] = ()
    outages: tuple[Amount, Amount] | None = None
    delay: Amount = 0.0


@dataclass(frozen=True, slots=True)
class Bar:
    """An attempt of a simulated step: where, and from when to when in seconds after the start."""

    step: str
    attempt: int
    node: str
    start: float
    end: float


class SimulatedRun:
    """One simulated run with all that happened in it; `Simulation.run` makes it.

    Examples
    --------
    >>> import ferroflow as ff
    >>> from ferroflow.plan import simulate
    >>> @ff.task
    ... def work(n: int) -> int:
    ...     return n
    >>> @ff.workflow
    ... def flow():
    ...     return work(work.options(id="first")(1))
    >>> run = simulate(flow, ["m"], durations={"work": 2, "first": 5}).run(0)
    >>> [(bar.step, bar.start, bar.end) for bar in run.bars]
    [('first', 0.0, 5.0), ('work', 5.0, 7.0)]
    """

    def __init__(self, core: _core.Simulated, platform: Platform, title: str) -> None:
        self._core, self._platform, self._title = core, platform, title

    @property
    def id(self) -> str:
        """The run's id: it says no more than the start and the seed."""
        return self._core.id

    @property
    def state(self) -> str:
        """The state that the run is in at the end."""
        return self._core.state

    @property
    def bars(self) -> list[Bar]:
        """Attempts, in the order in which they ended."""
        names = [node.name for node in self._platform.nodes]
        return [
            Bar(step, attempt, names[node], start / 1e6, end / 1e6)
            for step, attempt, node, start, end in self._core.placed()
        ]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events, as `Run.events` has those of a real run."""
        from ferroflow.engine import records

        return records.events(self._core.events())

    def save(self, path: str | os.PathLike[str]) -> str:
        """Add the run to a database, and return its id: whatever shows runs shows it.

        Parameters
        ----------
        path
            The database, which is made if there is none. No engine may have it open.

        Raises
        ------
        FerroflowError
            If the run has not ended, or is there already.

        Examples
        --------
        >>> import ferroflow as ff, tempfile, pathlib
        >>> from ferroflow.plan import simulate
        >>> flow = ff.Workflow.from_term("w", ff.library.condition.term("data", True))
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> id = simulate(flow, ["m"]).run(7).save(folder / "runs.db")
        >>> with ff.Engine(folder / "runs.db") as engine:
        ...     engine.handle(id).view().state
        'completed'
        """
        self._core.save(os.fspath(path))
        return self.id

    def gantt(self) -> str:
        """Return a picture of what ran where and when, as SVG: rows for each node."""
        from ferroflow import draw

        def name(bar: Bar) -> str:
            return bar.step if bar.attempt == 1 else f"{bar.step}, attempt {bar.attempt}"

        bars = [(name(bar), bar.start, bar.end, "completed", bar.node) for bar in self.bars]
        return draw.grouped(bars, [node.name for node in self._platform.nodes], self._title)

    def _repr_html_(self) -> str:
        return self.gantt()

    def __repr__(self) -> str:
        return f"<simulated run of {self._title}: {self.state}>"


@dataclass(frozen=True)
class Simulation:
    """What simulations of a workflow came to: lists with one entry for each seed.

    Attributes
    ----------
    seeds : list of int
    states : list of str
        "completed", "failed", …; a run that could not go on is still "running".
    makespans : list of float
        Seconds from the start to the end.
    costs : list of float
        What the busy cores cost.
    utilisations : list of float
        Which share of all cores was busy, from 0 to 1.
    attempts : list of int
    stuck : dict of int to str
        By seed: why a run could not go on.

    Examples
    --------
    >>> import ferroflow as ff
    >>> from ferroflow.plan import LogNormal, Node, simulate
    >>> @ff.task
    ... def fit(n: int) -> int:
    ...     return n
    >>> @ff.workflow
    ... def flow():
    ...     return ff.each([1, 2, 3, 4], fit)
    >>> nodes = [Node("a", cores=2), Node("b", cores=1, speed=2)]
    >>> found = simulate(flow, nodes, durations={"fit": LogNormal(10, 3)}, answers={"each": 4}, seeds=100)
    >>> 10 < found.quantile(0.5) < 25
    True
    """

    title: str
    seeds: list[int]
    states: list[str]
    makespans: list[float]
    costs: list[float]
    utilisations: list[float]
    attempts: list[int]
    stuck: dict[int, str]
    _core: _core.Simulator = field(repr=False)
    _platform: Platform = field(repr=False)

    @property
    def mean(self) -> float:
        """The mean makespan in seconds."""
        return sum(self.makespans) / len(self.makespans)

    def quantile(self, share: float, of: Figure = "makespan") -> float:
        """Return the makespan, cost or utilisation that a share of the runs, from 0 to 1, does not exceed.

        Raises
        ------
        ValueError
            If the share is not from 0 to 1.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"{share} is no share: give a number from 0 to 1")
        return sorted(self._of(of))[round(share * (len(self.seeds) - 1))]

    def _of(self, figure: Figure) -> list[float]:
        columns = {"makespan": self.makespans, "cost": self.costs, "utilisation": self.utilisations}
        if figure not in columns:
            raise ValueError(f"{figure!r} is none of {', '.join(columns)}")
        return columns[figure]

    def run(self, seed: int) -> SimulatedRun:
        """Simulate one seed again, and keep all that happens."""
        return SimulatedRun(self._core.one(seed), self._platform, f"{self.title}, seed {seed}")

    def summary(self) -> dict[str, Any]:
        """Return the figures that say most, for people and machines."""
        count = len(self.seeds)
        return {
            "runs": count,
            "states": dict(Counter(self.states)),
            **{figure: self._spread(figure) for figure in FIGURES},
            "attempts": sum(self.attempts) / count,
        }

    def _spread(self, figure: Figure) -> dict[str, float]:
        values = self._of(figure)
        return {
            "mean": sum(values) / len(values),
            "least": min(values),
            **{f"p{share}": self.quantile(share / 100, figure) for share in (5, 50, 95)},
            "most": max(values),
        }

    def svg(self, of: Figure = "makespan") -> str:
        """Return a histogram of the makespans, costs or utilisations."""
        from ferroflow.draw.histogram import histogram

        title = f"{of} of {self.title}, {len(self.seeds)} runs"
        return histogram(self._of(of), title, "s" if of == "makespan" else "")

    def _repr_html_(self) -> str:
        from ferroflow.draw import page

        found = self.summary()
        columns = ("", *found["makespan"])
        rows = [(figure, *(f"{it:.4g}" for it in found[figure].values())) for figure in FIGURES]
        ends = ", ".join(f"{count} {state}" for state, count in found["states"].items())
        tables = page.table(columns, rows) + page.table(
            ("runs", "attempts a run"), [(ends, f"{found['attempts']:.4g}")]
        )
        return page.block(f"simulation of {self.title}", self.svg(), tables)

    def __repr__(self) -> str:
        count = len(self.seeds)
        return f"<simulation of {self.title}: {count} runs, {self.mean:.4g} s in the mean>"


def simulate(
    workflow: Workflow[..., Any],
    platform: Platform | Iterable[Node | str],
    policy: PolicyName | BuiltinPolicy = "upward_rank",
    *,
    seeds: int | Iterable[int] = 1,
    durations: Mapping[str, Amount] | Model | None = None,
    default: Amount = 60.0,
    answers: Mapping[str, Amount] | None = None,
    branches: Mapping[str, Sequence[float]] | None = None,
    transfers: Mapping[tuple[str, str], float] | None = None,
    faults: Faults | None = None,
    start: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Simulation:
    """Let runs of a workflow happen in virtual time, with the engine's own kernel.

    Order, retries, timeouts, failure handlers and queues are decided by the code that decides them for
    real; durations come from laws, and where a real run would look at values (a condition, the items of
    an `each`), the scenario answers. The same seed gives the same run, whatever else differs: two
    policies or platforms see the same durations. Cost grows with steps and attempts; a million steps a
    second is usual.

    Parameters
    ----------
    workflow
        What runs.
    platform
        Where: a step goes to the node with room where it ends first. A platform, or nodes with nothing
        between them.
    policy
        How ready steps are ranked, as engines take it; it knows how long steps take in the mean.
    seeds
        How many runs (with the seeds 0, 1, …), or their seeds. They are simulated on all processors.
    durations
        Seconds on a node of speed 1, by the name of a task, or by a step's id, or its path for what
        is inside another (`each/train`). A number, a list of what was seen, or a law. Or a model: called once
        for each step of the workflow with its path and its task's name, it returns one of these, or None.
    default
        The same for all others.
    answers
        How many items an `each` has (else 1), how often a loop goes round (else once), how long a
        sleep takes (else nothing), after how many seconds a signal comes (else at once), by id or path.
    branches
        How likely each branch of a choice is, the else branch last (else all are as likely).
    transfers
        Bytes that go from one step to another, by their ids. A node that does not have them waits as long
        as the platform's link takes.
    faults
        What goes wrong.
    start
        When the run is created: microseconds since 1970.
    progress
        Called with how many runs are done.

    Raises
    ------
    PlanError
        If something makes no sense, or no step or task has a given name. It is a `ValueError`.

    Examples
    --------
    >>> import ferroflow as ff
    >>> from ferroflow.plan import Faults, Node, simulate
    >>> @ff.task(retry=3)
    ... def brew(n: int) -> int:
    ...     return n
    >>> @ff.workflow
    ... def flow():
    ...     return [brew.options(id=f"w{n}")(n) for n in range(8)]
    >>> found = simulate(flow, [Node("m", cores=4)], durations={"brew": 5}, seeds=20)
    >>> set(found.makespans), found.utilisations[0]
    ({10.0}, 1.0)
    >>> simulate(flow, [Node("m", cores=4)], faults=Faults(failure=0.2), seeds=20).mean > 120
    True
    """
    numbers = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not numbers:
        raise PlanError("no seeds: give at least one")
    ids = _ids(workflow, transfers or {})
    spelled, own = chosen(policy)
    if own is not None:
        raise TypeError(
            "a policy of your own can't be simulated: give a name, or what ff.policy(...) returns"
        )
    wrong = faults or Faults()
    where = platform if isinstance(platform, Platform) else Platform(platform)
    names = {node.name: number for number, node in enumerate(where.nodes)}
    for loss in wrong.losses:
        if loss.node not in names:
            raise PlanError(f"there is no node {loss.node!r} to be lost; there are {', '.join(names)}")
    known = _foreseen(workflow, durations) if callable(durations) else durations or {}
    core = _simulator(
        workflow.program,
        start,
        where._core(),
        law(default).parts(),
        {name: law(amount).parts() for name, amount in known.items()},
        {name: law(amount).parts() for name, amount in (answers or {}).items()},
        {name: [float(it) for it in weights] for name, weights in (branches or {}).items()},
        [(ids[a], ids[b], float(size)) for (a, b), size in (transfers or {}).items()],
        _core_faults(wrong, names),
        spelled,
    )
    rows = core.all(numbers, progress)
    cores = sum(node.cores for node in where.nodes)
    return Simulation(
        title=f"{workflow.name} {workflow.version}",
        seeds=numbers,
        states=[row[0] for row in rows],
        makespans=[row[1] / 1e6 for row in rows],
        costs=[row[2] for row in rows],
        utilisations=[sum(row[3]) / (row[1] * cores) if row[1] else 0.0 for row in rows],
        attempts=[row[5] for row in rows],
        stuck={seed: row[6] for seed, row in zip(numbers, rows, strict=True) if row[6] is not None},
        _core=core,
        _platform=where,
    )


def recorded(view: RunView) -> dict[str, Amount]:
    """Return how long the steps of a finished run took, as `simulate` takes durations.

    Parameters
    ----------
    view
        What `Run.view` returns.

    Examples
    --------
    >>> import ferroflow as ff
    >>> from ferroflow.plan import Node, recorded, simulate
    >>> @ff.task
    ... def tally(n: int) -> int:
    ...     return n
    >>> @ff.workflow
    ... def flow():
    ...     return ff.each([1, 2, 3], tally)
    >>> with ff.Engine() as engine:
    ...     run = engine.start(flow)
    ...     _ = run.result()
    ...     view = run.view()
    >>> again = simulate(flow, [Node("m", cores=3)], durations=recorded(view), answers={"each": 3})
    >>> again.makespans[0] < 1
    True
    """
    from ferroflow.plan.laws import Trace

    found: dict[str, list[float]] = {}
    for step in view.steps:
        if step.used is not None:
            found.setdefault(_plain(step.path), []).append(step.used.wall / 1e6)
    return {path: Constant(times[0]) if len(times) == 1 else Trace(times) for path, times in found.items()}


def _plain(path: str) -> str:
    """Return a step's path without what differs between copies."""
    import re

    return re.sub(r"\[\d+\](?=/|$)", "", path)


def _ids(workflow: Workflow[..., Any], transfers: Mapping[tuple[str, str], float]) -> dict[str, int]:
    """Return the numbers of the steps of the outermost block."""
    if not transfers:
        return {}
    found = {node[0]: number for number, node in enumerate(workflow.program.blocks()[0][1])}
    for name in (name for pair in transfers for name in pair):
        if name not in found:
            raise PlanError(
                f"no step of workflow {workflow.name!r} is called {name!r}: nothing goes from or to it"
            )
    return found


def _foreseen(workflow: Workflow[..., Any], model: Model) -> dict[str, Amount]:
    """Return what a model says of each step, by path."""
    paths: list[list[str]] = []
    found = {}
    for owner, nodes, _ in workflow.program.blocks():
        # An owner comes before what it owns.
        prefix = "" if owner is None else f"{paths[owner[0]][owner[1]]}/"
        paths.append([f"{prefix}{name}" for name, _, _ in nodes])
        for path, (_, _, task) in zip(paths[-1], nodes, strict=True):
            if task is not None and (amount := model(path, task)) is not None:
                found[path] = amount
    return found


def _simulator(*scenario: Any) -> _core.Simulator:
    try:
        return _core.Simulator(*scenario)
    except ValueError as error:
        raise refused(error) from None


CoreFaults = tuple[
    float,
    tuple[float, float],
    list[tuple[int, int, int | None]],
    tuple[tuple[str, list[float]], tuple[str, list[float]]] | None,
    tuple[str, list[float]],
]


def _core_faults(faults: Faults, names: Mapping[str, int]) -> CoreFaults:
    micros: Callable[[float], int] = lambda seconds: round(seconds * 1e6)  # noqa: E731 - said once
    losses = [
        (names[loss.node], micros(loss.at), None if loss.until is None else micros(loss.until))
        for loss in faults.losses
    ]
    outages = (
        None if faults.outages is None else (law(faults.outages[0]).parts(), law(faults.outages[1]).parts())
    )
    return faults.failure, (faults.stragglers, faults.slowness), losses, outages, law(faults.delay).parts()
