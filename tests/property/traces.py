"""What a process may do, start by start and end by end: the oracle of races has to agree with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.property import names, races
from tests.property.unfold import NOTHING, Act, Alt, First, Par, Process, Try

MOST = 5_000
"""States of one process that are looked at."""


@dataclass(frozen=True)
class Begun(Act):
    """A step that has started and not ended."""


State = tuple[Process, frozenset[tuple[names.Name, races.Place]]]


def done(process: Process) -> bool:
    match process:
        case Par(members):
            return all(map(done, members))
        case Try(body):
            return done(body)
        case First(count, branches):
            return sum(map(done, branches)) >= count
    return False


def following(process: Process) -> Iterator[tuple[Act | None, Process]]:
    """What may happen next: the step that starts, if one does, and what is left then."""
    if done(process):
        return
    match process:
        case Begun():
            yield None, NOTHING
        case Act(path, uses):
            yield process, Begun(path, uses)
        case Par(members, before):
            for at, member in enumerate(members):
                if all(done(members[a]) for a, b in before if b == at):
                    for started, left in following(member):
                        yield started, Par((*members[:at], left, *members[at + 1 :]), before)
        case Alt(options):
            yield from ((None, it) for it in options)
        case Try(body, handler):
            yield None, handler
            yield from ((started, Try(left, handler)) for started, left in following(body))
        case First(count, branches):
            for at, branch in enumerate(branches):
                for started, left in following(branch):
                    yield started, First(count, (*branches[:at], left, *branches[at + 1 :]))


def open_steps(process: Process) -> list[Act]:
    match process:
        case Begun(path, uses):
            return [Act(path, uses)]
        case Par(members) | First(_, members):
            return [] if done(process) else [it for member in members for it in open_steps(member)]
        case Try(body):
            return open_steps(body)
    return []


def check(process: Process) -> races.Findings:
    """All that some trace shows."""
    found = races.Findings({}, set())
    waiting: list[State] = [(process, frozenset())]
    seen = {*waiting}
    while waiting:
        left, marks = waiting.pop()
        steps = open_steps(left)
        for at, a in enumerate(steps):
            for b in steps[:at]:
                found.races.update(races.conflicts(a, b))
        for started, after in following(left):
            state = after, marks if started is None else start(started, marks, found)
            if state not in seen:
                seen.add(state)
                waiting.append(state)
        if len(seen) > MOST:
            raise races.TooMany
    return found


def start(
    act: Act, marks: frozenset[tuple[names.Name, races.Place]], found: races.Findings
) -> frozenset[tuple[names.Name, races.Place]]:
    """The marks after a step has started; uses of what is marked are noted."""
    for use in act.uses:
        here = act.path, use.index
        found.moves.update((taker, here) for moved, taker in marks if races.is_use(moved, use))
    left = {it for it in marks if not any(races.makes_anew(use, it[0]) for use in act.uses)}
    return frozenset(left | {(use.name, (act.path, use.index)) for use in act.uses if use.mode == "takes"})
