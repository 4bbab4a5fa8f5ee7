"""Laws of durations and other quantities: how they vary from one simulated attempt to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

Parts = tuple[str, list[float]]


@dataclass(frozen=True, slots=True)
class Law:
    """How a quantity varies. All are never negative: samples below 0 count as 0.

    Examples
    --------
    >>> from ferroflow.plan import Law, Normal
    >>> isinstance(Normal(10, deviation=2), Law)
    True
    """

    kind: ClassVar[str]

    def parts(self) -> Parts:
        """Return the law as its kind and its parameters."""
        found: list[float] = []
        for each in fields(self):
            value: float | Sequence[float] = getattr(self, each.name)
            found.extend([value] if isinstance(value, (int, float)) else map(float, value))
        return self.kind, found


@dataclass(frozen=True, slots=True)
class Constant(Law):
    """Always the same; a plain number stands for it, too.

    Examples
    --------
    >>> from ferroflow.plan import Constant
    >>> Constant(3).parts()
    ('constant', [3])
    """

    kind: ClassVar[str] = "constant"

    value: float


@dataclass(frozen=True, slots=True)
class Uniform(Law):
    """Each value between two as likely.

    Examples
    --------
    >>> from ferroflow.plan import Uniform
    >>> Uniform(1, 2).parts()
    ('uniform', [1, 2])
    """

    kind: ClassVar[str] = "uniform"

    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Normal(Law):
    """The normal distribution.

    Examples
    --------
    >>> from ferroflow.plan import Normal
    >>> Normal(10, deviation=2).parts()
    ('normal', [10, 2])
    """

    kind: ClassVar[str] = "normal"

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class LogNormal(Law):
    """The log-normal distribution, by mean and standard deviation of the quantity itself.

    Durations of programs are mostly like this: never far below, and sometimes far above the mean.

    Examples
    --------
    >>> from ferroflow.plan import LogNormal
    >>> LogNormal(10, deviation=5).parts()
    ('lognormal', [10, 5])
    """

    kind: ClassVar[str] = "lognormal"

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Exponential(Law):
    """The exponential distribution: what may happen at any moment, whatever has gone before.

    Examples
    --------
    >>> from ferroflow.plan import Exponential
    >>> Exponential(3600).parts()
    ('exponential', [3600])
    """

    kind: ClassVar[str] = "exponential"

    mean: float


@dataclass(frozen=True, slots=True)
class Weibull(Law):
    """The Weibull distribution: times to failure of what ages (shape above 1) or settles (below).

    Examples
    --------
    >>> from ferroflow.plan import Weibull
    >>> Weibull(scale=100, shape=1.5).parts()
    ('weibull', [100, 1.5])
    """

    kind: ClassVar[str] = "weibull"

    scale: float
    shape: float


@dataclass(frozen=True, slots=True)
class Observed(Law):
    """One of the values that were seen, each as likely; a plain list stands for it, too.

    Examples
    --------
    >>> from ferroflow.plan import Observed
    >>> Observed([1.5, 1.7, 9.2]).parts()
    ('observed', [1.5, 1.7, 9.2])
    """

    kind: ClassVar[str] = "observed"

    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Trace(Law):
    """What was seen of each copy of a step in an `each`: the first value is that of the first item.

    Examples
    --------
    >>> from ferroflow.plan import Trace
    >>> Trace([1.5, 1.7, 9.2]).parts()
    ('trace', [1.5, 1.7, 9.2])
    """

    kind: ClassVar[str] = "trace"

    values: Sequence[float]


Amount = float | Sequence[float] | Law
"""What may stand where a law is wanted."""


def law(amount: Amount) -> Law:
    """Return the law that a number, a list of numbers or a law stands for.

    Raises
    ------
    TypeError
        If it is something else.
    """
    if isinstance(amount, Law):
        return amount
    if isinstance(amount, (int, float)) and not isinstance(amount, bool):
        return Constant(amount)
    if isinstance(amount, Sequence) and not isinstance(amount, (str, bytes)):
        return Observed(amount)
    raise TypeError(
        f"{amount!r} says no amount: give a number, a list of numbers, or a law such as Normal(3, 1)"
    )
