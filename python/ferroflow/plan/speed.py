"""How much sooner a workflow ends with no more order than it needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ferroflow.define.relaxing import Parallelised
from ferroflow.plan.platform import Node, Platform
from ferroflow.plan.simulation import Simulation, simulate


@dataclass(frozen=True, slots=True)
class SpeedUp:
    """Two simulations of the same seeds; `speed_up` makes it.

    Attributes
    ----------
    before, after
        Of the workflow as it was, and without the order that it does not need.

    Examples
    --------
    >>> import ferroflow as ff
    >>> from ferroflow.plan import speed_up
    >>> @ff.task(reads="lake")
    ... def look_once() -> None:
    ...     ...
    >>> two = ff.Workflow.from_term("two", look_once.term() >> look_once.term())
    >>> speed_up(two.parallelise(), ["one", "other"], durations={"look_once": 3}).factor
    2.0
    """

    before: Simulation
    after: Simulation

    @property
    def factor(self) -> float:
        """How many times as long it took before, in the mean; 1 if nothing takes any time."""
        return self.before.mean / self.after.mean if self.after.mean else 1.0

    def __repr__(self) -> str:
        return f"<speed-up {self.factor:.2f}: {self.before.mean:g} s -> {self.after.mean:g} s>"

    def _repr_html_(self) -> str:
        return f"<p>{repr(self)[1:-1]}</p>{self.before._repr_html_()}{self.after._repr_html_()}"


def speed_up(
    parallelised: Parallelised, platform: Platform | Iterable[Node | str], **scenario: Any
) -> SpeedUp:
    """Simulate a workflow before and after order was left out.

    Parameters
    ----------
    parallelised
        What `Workflow.parallelise` gave.
    platform
        Where it runs.
    **scenario
        As for `simulate`: policy, seeds, durations and so on, the same for both.

    Examples
    --------
    >>> import ferroflow as ff
    >>> from ferroflow.plan import Node, speed_up
    >>> @ff.task(writes="lake/{name}")
    ... def fill_table(name: str) -> None:
    ...     ...
    >>> a, b, c, d = (fill_table.term(name) for name in "abcd")
    >>> four = ff.Workflow.from_term("four", a >> b >> c >> d)
    >>> speed_up(four.parallelise(), [Node("here", cores=2)], durations={"fill_table": 10})
    <speed-up 2.00: 40 s -> 20 s>
    """
    nodes = platform if isinstance(platform, Platform) else [*platform]
    return SpeedUp(
        simulate(parallelised.before, nodes, **scenario), simulate(parallelised.workflow, nodes, **scenario)
    )
