"""Simulation: what a run would do, on machines one need not have, in time that need not pass."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ferroflow import _core
from ferroflow.engine.policies import BuiltinPolicy, PolicyName, chosen
from ferroflow.plan.laws import Amount, Constant, law

if TYPE_CHECKING:
    from ferroflow.define import Workflow
    from ferroflow.engine.records import RunView


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that simulated steps run on.

    Parameters
    ----------
    name
        What it is called.
    cores
        How many steps of one core it takes at a time.
    speed
        How much faster it works than what durations were measured on.
    speeds
        The same for single tasks, by name.
    memory, disk
        Bytes; as good as endless unless said.
    resources
        Further resources: name and amount.
    price
        What an hour of one core costs.

    Examples
    --------
    >>> from ferroflow.plan import Machine
    >>> Machine("fast", cores=8, speed=2.0).cores
    8
    """

    name: str
    cores: float = 1
    speed: float = 1.0
    speeds: Mapping[str, float] = field(default_factory=dict)
    memory: int = 1 << 60
    disk: int = 1 << 60
    resources: Mapping[str, float] = field(default_factory=dict)
    price: float = 0.0


@dataclass(frozen=True, slots=True)
class Loss:
    """A machine that is lost, with all that runs on it, and perhaps comes back.

    Parameters
    ----------
    machine
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

    machine: str
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
        Machines that are lost at given times. Attempts on them fail as those whose process dies.
    outages
        Seconds for which each machine is up, and down, in turn, or None for machines that stay.

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


@dataclass(frozen=True, slots=True)
class Bar:
    """An attempt of a simulated step: where, and from when to when in seconds after the start."""

    step: str
    attempt: int
    machine: str
    start: float
    end: float


class SimulatedRun:
    """One simulated run with all that happened in it; `Simulation.run` makes it.

    Examples
    --------
    >>> import ferroflow as ff
    >>> from ferroflow.plan import Machine, simulate
    >>> @ff.task
    ... def work(n: int) -> int:
    ...     return n
    >>> @ff.workflow
    ... def flow():
    ...     return work(work.options(id="first")(1))
    >>> run = simulate(flow, [Machine("m")], durations={"work": 2, "first": 5}).run(0)
    >>> [(bar.step, bar.start, bar.end) for bar in run.bars]
    [('first', 0.0, 5.0), ('work', 5.0, 7.0)]
    """

    def __init__(self, core: _core.Simulated, machines: Sequence[Machine], title: str) -> None:
        self._core, self._machines, self._title = core, machines, title

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
        names = [machine.name for machine in self._machines]
        return [
            Bar(step, attempt, names[machine], start / 1e6, end / 1e6)
            for step, attempt, machine, start, end in self._core.placed()
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
        >>> from ferroflow.plan import Machine, simulate
        >>> flow = ff.Workflow.from_term("w", ff.library.condition.term("data", True))
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> id = simulate(flow, [Machine("m")]).run(7).save(folder / "runs.db")
        >>> with ff.Engine(folder / "runs.db") as engine:
        ...     engine.handle(id).view().state
        'completed'
        """
        self._core.save(os.fspath(path))
        return self.id

    def gantt(self) -> str:
        """Return a picture of what ran where and when, as SVG."""
        from ferroflow import draw

        bars = [(f"{bar.step} @ {bar.machine}", bar.start, bar.end, "completed") for bar in self.bars]
        return draw.gantt(bars, self._title)

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
    >>> from ferroflow.plan import LogNormal, Machine, simulate
    >>> @ff.task
    ... def fit(n: int) -> int:
    ...     return n
    >>> @ff.workflow
    ... def flow():
    ...     return ff.each([1, 2, 3, 4], fit)
    >>> machines = [Machine("a", cores=2), Machine("b", cores=1, speed=2)]
    >>> found = simulate(flow, machines, durations={"fit": LogNormal(10, 3)}, answers={"each": 4}, seeds=100)
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
    _machines: Sequence[Machine] = field(repr=False)

    @property
    def mean(self) -> float:
        """The mean makespan in seconds."""
        return sum(self.makespans) / len(self.makespans)

    def quantile(self, share: float) -> float:
        """Return the makespan that a share of the runs, from 0 to 1, does not exceed.

        Raises
        ------
        ValueError
            If the share is not from 0 to 1.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"{share} is no share: give a number from 0 to 1")
        return sorted(self.makespans)[round(share * (len(self.makespans) - 1))]

    def run(self, seed: int) -> SimulatedRun:
        """Simulate one seed again, and keep all that happens."""
        return SimulatedRun(self._core.one(seed), self._machines, f"{self.title}, seed {seed}")

    def summary(self) -> dict[str, Any]:
        """Return the figures that say most, for people and machines."""
        count = len(self.seeds)
        return {
            "runs": count,
            "states": dict(Counter(self.states)),
            "makespan": {
                "mean": self.mean,
                **{f"p{share}": self.quantile(share / 100) for share in (5, 50, 95)},
                "least": min(self.makespans),
                "most": max(self.makespans),
            },
            "cost": sum(self.costs) / count,
            "utilisation": sum(self.utilisations) / count,
            "attempts": sum(self.attempts) / count,
        }

    def svg(self) -> str:
        """Return a histogram of the makespans."""
        from ferroflow.draw.histogram import histogram

        return histogram(self.makespans, f"makespan of {self.title}, {len(self.seeds)} runs", "s")

    def _repr_html_(self) -> str:
        from ferroflow.draw import page

        found = self.summary()
        rows = [
            ("states", ", ".join(f"{count} {state}" for state, count in found["states"].items())),
            *((f"makespan, {name}", f"{value:.4g} s") for name, value in found["makespan"].items()),
            ("cost", f"{found['cost']:.4g}"),
            ("utilisation", f"{found['utilisation']:.1%}"),
            ("attempts", f"{found['attempts']:.4g}"),
        ]
        return page.block(f"simulation of {self.title}", self.svg(), page.table(("what", "figure"), rows))

    def __repr__(self) -> str:
        count = len(self.seeds)
        return f"<simulation of {self.title}: {count} runs, {self.mean:.4g} s in the mean>"


def simulate(
    workflow: Workflow[..., Any],
    machines: Sequence[Machine],
    policy: PolicyName | BuiltinPolicy = "upward_rank",
    *,
    seeds: int | Iterable[int] = 1,
    durations: Mapping[str, Amount] | None = None,
    default: Amount = 60.0,
    answers: Mapping[str, Amount] | None = None,
    branches: Mapping[str, Sequence[float]] | None = None,
    transfers: Mapping[tuple[str, str], float] | None = None,
    latency: Amount = 0.0,
    bandwidth: float = float("inf"),
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
    machines
        Where: a step goes to the machine with room where it ends first.
    policy
        How ready steps are ranked, as engines take it; it knows how long steps take in the mean.
    seeds
        How many runs (with the seeds 0, 1, …), or their seeds. They are simulated on all processors.
    durations
        Seconds on a machine of speed 1, by the name of a task, or by a step's id, or its path for what
        is inside another (`each/train`). A number, a list of what was seen, or a law.
    default
        The same for all others.
    answers
        How many items an `each` has (else 1), how often a loop goes round (else once), how long a
        sleep takes (else nothing), after how many seconds a signal comes (else at once), by id or path.
    branches
        How likely each branch of a choice is, the else branch last (else all are as likely).
    transfers
        Bytes that go from one step to another, by their ids.
    latency, bandwidth
        Seconds before the first byte arrives on another machine, and bytes a second after that. The
        step's machine waits for its data.
    faults
        What goes wrong.
    start
        When the run is created: microseconds since 1970.
    progress
        Called with how many runs are done.

    Raises
    ------
    ValueError
        If something makes no sense, or no step or task has a given name.

    Examples
    --------
    >>> import ferroflow as ff
    >>> from ferroflow.plan import Faults, Machine, simulate
    >>> @ff.task(retry=3)
    ... def brew(n: int) -> int:
    ...     return n
    >>> @ff.workflow
    ... def flow():
    ...     return [brew.options(id=f"w{n}")(n) for n in range(8)]
    >>> found = simulate(flow, [Machine("m", cores=4)], durations={"brew": 5}, seeds=20)
    >>> set(found.makespans), found.utilisations[0]
    ({10.0}, 1.0)
    >>> simulate(flow, [Machine("m", cores=4)], faults=Faults(failure=0.2), seeds=20).mean > 120
    True
    """
    numbers = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not numbers:
        raise ValueError("no seeds: give at least one")
    ids = _ids(workflow, transfers or {})
    spelled, own = chosen(policy)
    if own is not None:
        raise TypeError(
            "a policy of your own can't be simulated: give a name, or what ff.policy(...) returns"
        )
    wrong = faults or Faults()
    names = {machine.name: number for number, machine in enumerate(machines)}
    for loss in wrong.losses:
        if loss.machine not in names:
            raise ValueError(f"there is no machine {loss.machine!r} to be lost; there are {', '.join(names)}")
    core = _core.Simulator(
        workflow.program,
        start,
        [_machine(machine) for machine in machines],
        law(latency).parts(),
        bandwidth,
        law(default).parts(),
        {name: law(amount).parts() for name, amount in (durations or {}).items()},
        {name: law(amount).parts() for name, amount in (answers or {}).items()},
        {name: [float(it) for it in weights] for name, weights in (branches or {}).items()},
        [(ids[a], ids[b], float(size)) for (a, b), size in (transfers or {}).items()],
        _core_faults(wrong, names),
        spelled,
    )
    rows = core.all(numbers, progress)
    cores = sum(machine.cores for machine in machines)
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
        _machines=tuple(machines),
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
    >>> from ferroflow.plan import Machine, recorded, simulate
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
    >>> again = simulate(flow, [Machine("m", cores=3)], durations=recorded(view), answers={"each": 3})
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
            raise ValueError(
                f"no step of workflow {workflow.name!r} is called {name!r}: nothing goes from or to it"
            )
    return found


def _machine(machine: Machine) -> tuple[str, dict[str, int], float, dict[str, float], float]:
    amounts = {name: round(amount * 1000) for name, amount in machine.resources.items()}
    capacity = {**amounts, "cpu": round(machine.cores * 1000), "memory": machine.memory, "disk": machine.disk}
    return machine.name, capacity, machine.speed, dict(machine.speeds), machine.price


CoreFaults = tuple[
    float,
    tuple[float, float],
    list[tuple[int, int, int | None]],
    tuple[tuple[str, list[float]], tuple[str, list[float]]] | None,
]


def _core_faults(faults: Faults, names: Mapping[str, int]) -> CoreFaults:
    micros: Callable[[float], int] = lambda seconds: round(seconds * 1e6)  # noqa: E731 - said once
    losses = [
        (names[loss.machine], micros(loss.at), None if loss.until is None else micros(loss.until))
        for loss in faults.losses
    ]
    outages = (
        None if faults.outages is None else (law(faults.outages[0]).parts(), law(faults.outages[1]).parts())
    )
    return faults.failure, (faults.stragglers, faults.slowness), losses, outages
