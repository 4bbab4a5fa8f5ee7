"""The steps of a run as a tree: what a composite holds stands below it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ferroflow.engine import StepView

_INDEX = re.compile(r"^(.*)\[(\d+)\]$", re.DOTALL)


def tree(steps: Sequence[StepView]) -> Iterator[tuple[int, str, StepView]]:
    """Yield (depth, name, step), composites before what they hold, in order of appearance."""
    numbers = {step.path: number for number, step in enumerate(steps)}
    children: dict[int, list[tuple[int, int, str]]] = {}
    for number, step in enumerate(steps):
        parent, index, name = place(step.path, numbers)
        children.setdefault(parent, []).append((index, number, name))
    todo = [(0, number, name) for _, number, name in reversed(children.get(-1, []))]
    while todo:
        depth, number, name = todo.pop()
        yield depth, name, steps[number]
        below = sorted(children.get(number, []), reverse=True)
        todo += [
            (depth + 1, child, name if index < 0 else f"[{index}] {name}") for index, child, name in below
        ]


def place(path: str, numbers: dict[str, int]) -> tuple[int, int, str]:
    """Return where a step is: the composite's number, which copy or iteration, the step's own name.

    At the outermost level the composite is -1; so is the copy where there is only one.
    """
    outer, slash, name = path.rpartition("/")
    if not slash:
        return -1, -1, name
    index = -1
    if found := _INDEX.match(outer):
        outer, index = found[1], int(found[2])
    elif outer.endswith("/catch") and outer not in numbers:
        outer, name = outer.removesuffix("/catch"), f"catch: {name}"
    return numbers.get(outer, -1), index, name
