"""A slow oracle of races and of uses after a move, from what a definition means: it looks at every execution.

`unfold` writes out choices, iterations and nested blocks. Here each way to go through what is left becomes
a finite set of steps under an order, and two of them may be open at the same time if neither is before the
other. An access conflicts with another if what they name surely meets and their modes exclude each other.

A body that fails, or a branch that is stopped, has begun a set of steps that holds with each all that is
before it. Only some of these sets count: none, and a step with all that is before it. What a smaller set
leaves out are writes that might have made anew what was moved, and two steps that are open together in
such a set are so where the body goes on to its end.

Where ways to understand the format differ, these are taken:

- A body may fail before any of its steps has begun (a binding can't be evaluated, its time is over).
- A write makes anew only what it surely contains. Any other write that meets a moved asset is a use of it.
- Within one step, uses come first, then what its writes make anew, then what it takes.
- A value can't be made anew: to write it, a step needs it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

from tests.property import names
from tests.property.unfold import Act, Alt, First, Par, Process, Try, Use, unfold

MOST = 3_000
"""Executions of one definition that are looked at."""

Place = tuple[str, int]
"""The path of a step, and which of its accesses."""


class TooMany(Exception):
    """A definition has more executions than can be looked at."""


class Execution(NamedTuple):
    """Steps, and for each the set of those before it, as bits."""

    acts: tuple[Act, ...] = ()
    before: tuple[int, ...] = ()


@dataclass(frozen=True)
class Findings:
    """Races by their two places, in order, with their codes; uses after a move: who moved, who uses."""

    races: dict[tuple[Place, Place], str]
    moves: set[tuple[Place, Place]]


def check(definition: dict[str, Any]) -> Findings:
    """All that is wrong with the accesses of a definition."""
    found = executions(unfold(definition))
    return Findings(
        {pair: code for it in found for pair, code in races(it)}, {pair for it in found for pair in moves(it)}
    )


# ------------------------------------------------------------------------------------- executions


def executions(process: Process, *, all_cuts: bool = False) -> list[Execution]:
    """All ways to go through a process."""

    def ways(process: Process) -> list[Execution]:
        match process:
            case Act():
                return [Execution((process,), (0,))]
            case Par(members, before):
                return product([ways(it) for it in members], before)
            case Alt(options):
                return once(it for option in options for it in ways(option))
            case Try(body, handler):
                whole = ways(body)
                return once([*whole, *product([cuts(whole, all_cuts), ways(handler)], {(0, 1)})])
            case First(count, branches):
                whole_ones = [ways(it) for it in branches]
                cut_ones = [cuts(it, all_cuts) for it in whole_ones]
                found = []
                for chosen in itertools.combinations(range(len(branches)), count):
                    found += product(
                        [(whole_ones if at in chosen else cut_ones)[at] for at in range(len(branches))], ()
                    )
                return once(found)

    return ways(process)


def once(found: Iterable[Execution]) -> list[Execution]:
    kept: dict[Execution, None] = {}
    for it in found:
        kept[it] = None
        if len(kept) > MOST:
            raise TooMany
    return [*kept]


def product(members: list[list[Execution]], before: Iterable[tuple[int, int]]) -> list[Execution]:
    """Each way with each: the members side by side, but for those that are before others."""
    if prod(map(len, members)) > MOST:
        raise TooMany
    return once(_together(them, [*before]) for them in itertools.product(*members))


def _together(members: tuple[Execution, ...], before: list[tuple[int, int]]) -> Execution:
    starts = [*itertools.accumulate((len(it.acts) for it in members), initial=0)]
    whole = [(1 << len(it.acts)) - 1 << start for it, start in zip(members, starts, strict=False)]
    outer = [sum(whole[a] for a, b in before if b == at) for at in range(len(members))]
    order = (mask << starts[at] | outer[at] for at, it in enumerate(members) for mask in it.before)
    return Execution(tuple(act for it in members for act in it.acts), tuple(order))


def cuts(whole: list[Execution], every: bool) -> list[Execution]:
    """What may have begun of a process when it is stopped."""
    found = []
    for it in whole:
        kept = [mask | 1 << last for last, mask in enumerate(it.before)]
        if every:
            some = range(1 << len(it.acts))
            kept = [
                sub
                for sub in some
                if all(not sub >> at & 1 or mask & ~sub == 0 for at, mask in enumerate(it.before))
            ]
        found += [_restricted(it, sub) for sub in [0, *kept]]
    return once(found)


def _restricted(whole: Execution, kept: int) -> Execution:
    steps = [at for at in range(len(whole.acts)) if kept >> at & 1]
    order = (sum(1 << new for new, old in enumerate(steps) if whole.before[at] >> old & 1) for at in steps)
    return Execution(tuple(whole.acts[at] for at in steps), tuple(order))


# ------------------------------------------------------------------------------------------ races


def compatible(a: Use, b: Use) -> bool:
    if a.mode == b.mode == "reduces":
        return a.operation == b.operation
    return a.mode == b.mode == "reads"


def code(a: Use, b: Use) -> str:
    modes = {a.mode, b.mode}
    if "takes" in modes:
        return "FF0505"
    if modes == {"writes"}:
        return "FF0499"
    return "FF0503" if modes == {"reduces"} else "FF0502"


def pair(a: Place, b: Place) -> tuple[Place, Place]:
    return (a, b) if a <= b else (b, a)


@lru_cache(100_000)
def conflicts(a: Act, b: Act) -> tuple[tuple[tuple[Place, Place], str], ...]:
    """What is wrong if two steps are open at the same time."""
    return tuple(
        (pair((a.path, one.index), (b.path, other.index)), code(one, other))
        for one in a.uses
        for other in b.uses
        if not compatible(one, other) and names.meets(one.name, other.name)
    )


def races(execution: Execution) -> Iterable[tuple[tuple[Place, Place], str]]:
    acts, before = execution
    for b, after in enumerate(acts):
        for a in range(b):
            if not (before[b] >> a & 1 or before[a] >> b & 1):
                yield from conflicts(acts[a], after)


# ------------------------------------------------------------------------------------------ moves


def is_use(moved: names.Name, use: Use) -> bool:
    """Whether a use is wrong once an asset was moved."""
    return names.meets(moved, use.name) and not makes_anew(use, moved)


def makes_anew(use: Use, moved: names.Name) -> bool:
    return use.mode == "writes" and names.contains(use.name, moved) and not names.is_value(moved)


@lru_cache(100_000)
def misuses(taker: Act, user: Act) -> tuple[tuple[Use, Use], ...]:
    return tuple(
        (taken, use)
        for taken in taker.uses
        if taken.mode == "takes"
        for use in user.uses
        if is_use(taken.name, use)
    )


def moves(execution: Execution) -> Iterable[tuple[Place, Place]]:
    acts, before = execution
    for a, taker in enumerate(acts):
        if not any(use.mode == "takes" for use in taker.uses):
            continue
        for b, user in enumerate(acts):
            if not before[b] >> a & 1:
                continue
            for taken, use in misuses(taker, user):
                between = (
                    acts[at] for at, mask in enumerate(before) if mask >> a & 1 and before[b] >> at & 1
                )
                if not any(makes_anew(it, taken.name) for act in between for it in act.uses):
                    yield (taker.path, taken.index), (user.path, use.index)
