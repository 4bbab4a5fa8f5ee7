"""The chain of dependent steps that kept a run from ending sooner."""

from __future__ import annotations

from collections.abc import Sequence

from ferroflow.cli.tree import place
from ferroflow.engine import RunView, StepView

Chain = tuple[float, list[StepView]]

_IN_TURN = frozenset({"loop", "try"})
"""Composites whose blocks follow each other; those of the others run side by side."""


def longest_chain(view: RunView) -> Chain:
    """Return the tasks' steps of the chain of dependencies that took longest, and its seconds.

    Every copy of a block is looked at by itself, along the edges of its graph.
    """
    numbers = {step.path: number for number, step in enumerate(view.steps)}
    frames: dict[int, dict[tuple[int, int], list[int]]] = {}
    for number, step in enumerate(view.steps):
        outer, index, _ = place(step.path, numbers)
        frames.setdefault(outer, {}).setdefault((index, step.block), []).append(number)
    found: dict[int, Chain] = {}
    # What is inside a composite began after it, so from the last step on all inner ones are known.
    for number in reversed(range(len(view.steps))):
        step = view.steps[number]
        if step.kind == "task":
            found[number] = (step.seconds or 0.0, [step])
        else:
            inner = [_along(view, members, found) for members in frames.get(number, {}).values()]
            if step.kind in _IN_TURN:
                found[number] = (sum(it for it, _ in inner), [one for _, steps in inner for one in steps])
            else:
                found[number] = max(inner, key=lambda it: it[0], default=(0.0, []))
    return max(
        (_along(view, members, found) for members in frames.get(-1, {}).values()),
        key=lambda it: it[0],
        default=(0.0, []),
    )


def _along(view: RunView, members: Sequence[int], found: dict[int, Chain]) -> Chain:
    """Return the longest chain of one copy of a block."""
    block = view.steps[members[0]].block
    at = {view.steps[number].node: number for number in members}
    _, nodes, edges = view.blocks[block]
    after: list[list[int]] = [[] for _ in nodes]
    waits = [0] * len(nodes)
    for v, w in edges:
        after[v].append(w)
        waits[w] += 1
    # To each node the seconds of the longest chain that ends there, and the node before it.
    ends: dict[int, tuple[float, int]] = {}
    order = [node for node in range(len(nodes)) if not waits[node]]
    best: dict[int, tuple[float, int]] = dict.fromkeys(order, (0.0, -1))
    for node in order:
        before, via = best[node]
        ends[node] = (before + (found[at[node]][0] if node in at else 0.0), via)
        for other in after[node]:
            best[other] = max(best.get(other, (-1.0, -1)), (ends[node][0], node))
            waits[other] -= 1
            if not waits[other]:
                order.append(other)
    last = max(ends, key=lambda node: ends[node][0])
    total = ends[last][0]
    steps: list[StepView] = []
    while last >= 0:
        steps = (found[at[last]][1] if last in at else []) + steps
        last = ends[last][1]
    return total, steps
