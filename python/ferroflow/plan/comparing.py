"""Tables of methods by instances."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ferroflow.draw.page import table
from ferroflow.errors import PlanError
from ferroflow.plan.instance import Instance
from ferroflow.plan.planner import methods as known
from ferroflow.plan.planner import plan
from ferroflow.plan.platform import Platform


@dataclass(frozen=True, slots=True)
class Entry:
    """What one method made of one instance.

    Parameters
    ----------
    instance, method
        Their names.
    makespan
        Of the schedule, in seconds; None if the method refused.
    bound
        The best lower bound.
    seconds
        How long planning took.
    problem
        Why the method refused.
    """

    instance: str
    method: str
    makespan: float | None
    bound: float
    seconds: float
    problem: str = ""


class Comparison:
    """What methods made of instances; `compare` makes it.

    Parameters
    ----------
    entries
        By instance, then by method.

    Examples
    --------
    >>> from ferroflow.plan import Instance, Platform, compare
    >>> made = compare({"one": Instance([1.0])}, Platform(["a"]), ["heft", "olb"])
    >>> [(it.method, it.makespan) for it in made.entries]
    [('heft', 1.0), ('olb', 1.0)]
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = [*entries]
        self.instances = [*dict.fromkeys(it.instance for it in entries)]
        self.methods = [*dict.fromkeys(it.method for it in entries)]

    def ratios(self) -> dict[str, float]:
        """Return for each method its mean makespan over that of the best, best first.

        Examples
        --------
        >>> from ferroflow.plan import Instance, Platform, compare
        >>> compare({"one": Instance([1.0])}, Platform(["a"]), ["heft", "olb"]).ratios()
        {'heft': 1.0, 'olb': 1.0}
        """
        best: dict[str, float] = {}
        for it in self.entries:
            if it.makespan is not None:
                best[it.instance] = min(best.get(it.instance, it.makespan), it.makespan)
        found: dict[str, list[float]] = {}
        for it in self.entries:
            if it.makespan is not None:
                least = best[it.instance]
                found.setdefault(it.method, []).append(it.makespan / least if least > 0 else 1.0)
        means = {method: sum(all_) / len(all_) for method, all_ in found.items()}
        return dict(sorted(means.items(), key=lambda it: it[1]))

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return the columns and rows of a table: a row an instance, a column a method.

        Examples
        --------
        >>> from ferroflow.plan import Instance, Platform, compare
        >>> compare({"one": Instance([1.0])}, Platform(["a"]), ["heft"]).rows()
        (['instance', 'bound', 'heft'], [['one', '1', '1']])
        """
        at = {(it.instance, it.method): it for it in self.entries}
        columns = ["instance", "bound", *self.methods]
        rows = []
        for instance in self.instances:
            own = [at.get((instance, method)) for method in self.methods]
            bound = max((it.bound for it in own if it), default=0.0)
            cells = ["" if it is None or it.makespan is None else f"{it.makespan:.6g}" for it in own]
            rows.append([instance, f"{bound:.6g}", *cells])
        return columns, rows

    def __str__(self) -> str:
        columns, rows = self.rows()
        wide = [max(len(row[at]) for row in [columns, *rows]) for at in range(len(columns))]
        first = [row[0].ljust(wide[0]) for row in [columns, *rows]]
        rest = [
            [cell.rjust(width) for cell, width in zip(row[1:], wide[1:], strict=True)]
            for row in [columns, *rows]
        ]
        return "\n".join("  ".join([name, *cells]) for name, cells in zip(first, rest, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Return the entries as plain objects.

        Examples
        --------
        >>> from ferroflow.plan import Instance, Platform, compare
        >>> compare({"one": Instance([1.0])}, Platform(["a"]), ["heft"]).to_dict()["ratios"]
        {'heft': 1.0}
        """
        names = Entry.__slots__
        return {
            "ratios": self.ratios(),
            "entries": [{name: getattr(it, name) for name in names} for it in self.entries],
        }

    def svg(self) -> str:
        """Return a chart of how far each method is above the best on average.

        Examples
        --------
        >>> from ferroflow.plan import Instance, Platform, compare
        >>> compare({"one": Instance([1.0])}, Platform(["a"]), ["heft"]).svg().startswith("<svg")
        True
        """
        from ferroflow.draw import columns

        return columns([*self.ratios().items()], "mean makespan over the best")

    def _repr_html_(self) -> str:
        return self.svg() + table(*self.rows())


def compare(
    instances: Mapping[str, Instance | Any],
    platform: Platform,
    methods: Iterable[str] | None = None,
    *,
    budget: int | None = None,
    seconds: float | None = None,
    seed: int = 1,
) -> Comparison:
    """Plan instances with several methods.

    Parameters
    ----------
    instances
        By name.
    platform
        For where.
    methods
        Names out of `methods()`, or `"auto"`; all that take any instance if None.
    budget, seconds, seed
        As for `plan`.

    Examples
    --------
    >>> from ferroflow.plan import Instance, Node, Platform, compare
    >>> pair = Instance([4.0, 2.0])
    >>> print(compare({"pair": pair}, Platform([Node("a"), Node("b", speed=2)]), ["met", "olb"]))
    instance  bound  met  olb
    pair          2    3    4
    """
    chosen = [*methods] if methods is not None else [it.name for it in known() if it.name != "exact"]
    entries = []
    for name, instance in instances.items():
        for method in chosen:
            begun = time.perf_counter()
            try:
                made = plan(instance, platform, method, budget=budget, seconds=seconds, seed=seed)
            except PlanError as error:
                if method != "exact":
                    raise
                entries.append(Entry(name, method, None, 0.0, time.perf_counter() - begun, str(error)))
                continue
            took = time.perf_counter() - begun
            entries.append(Entry(name, method, made.makespan, made.bounds.best, took))
    return Comparison(entries)
