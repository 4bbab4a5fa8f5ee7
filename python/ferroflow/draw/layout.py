"""Layered layout of one graph: where its boxes stand, and by which points its edges pass.

Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical system structures"
(1981): layers by longest paths, order within a layer by barycentres, and positions by least
squares under that order. Everything is worked off lists, so that a long chain is no deep call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

GAP = 14.0
"""Space between boxes of one layer."""

STRIDE = 46.0
"""Space between layers."""

SWEEPS = 4
BENDS = 2000
"""Edges over many layers go round boxes while they need no more bends than this."""


@dataclass
class Layout:
    """Where everything is: x to the right, y down, from (0, 0) to (width, height).

    Attributes
    ----------
    boxes : list of (x, y)
        The upper left corners, in the order of the sizes.
    edges : list of points
        The way of each edge, in the order of the edges.
    """

    width: float = 0.0
    height: float = 0.0
    boxes: list[tuple[float, float]] = field(default_factory=list)
    edges: list[list[tuple[float, float]]] = field(default_factory=list)


def layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Return the layer of each node: the length of the longest path to it.

    Examples
    --------
    >>> from ferroflow.draw.layout import layers
    >>> layers(4, [(0, 1), (1, 2), (0, 2)])
    [0, 1, 2, 0]
    """
    after: list[list[int]] = [[] for _ in range(count)]
    waits = [0] * count
    for v, w in edges:
        after[v].append(w)
        waits[w] += 1
    found = [0] * count
    order = [node for node in range(count) if not waits[node]]
    for node in order:
        for other in after[node]:
            found[other] = max(found[other], found[node] + 1)
            waits[other] -= 1
            if not waits[other]:
                order.append(other)
    before = {w for _, w in edges}
    for node in range(count):
        # What waits for nothing stands next to what waits for it.
        if node not in before and after[node]:
            found[node] = min(found[other] for other in after[node]) - 1
    return found


def arrange(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Layout:
    """Lay a graph without cycles out from left to right.

    Parameters
    ----------
    sizes
        Width and height of each node.
    edges
        Pairs of nodes.

    Examples
    --------
    >>> from ferroflow.draw.layout import arrange
    >>> arrange([(60, 30), (60, 30)], [(0, 1)]).boxes
    [(0.0, 0.0), (106.0, 0.0)]
    """
    if not sizes:
        return Layout()
    layer = layers(len(sizes), edges)
    heights = [height for _, height in sizes]
    ways = _bend(layer, heights, edges)
    rows: list[list[int]] = [[] for _ in range(max(layer) + 1)]
    for node, at in enumerate(layer):
        rows[at].append(node)
    before: list[list[int]] = [[] for _ in layer]
    after: list[list[int]] = [[] for _ in layer]
    for way in ways:
        for v, w in pairwise(way):
            after[v].append(w)
            before[w].append(v)
    _order(rows, before, after)
    centres = _centres(rows, heights, before, after)
    top = min(centres[node] - heights[node] / 2 for node in range(len(heights)))
    made = Layout()
    lefts, widths, x = [], [], 0.0
    for row in rows:
        widths.append(max((sizes[node][0] for node in row if node < len(sizes)), default=0.0))
        lefts.append(x)
        x += widths[-1] + STRIDE
    made.width = x - STRIDE
    made.height = max(centres[node] + heights[node] / 2 for node in range(len(heights))) - top
    for node, (width, height) in enumerate(sizes):
        left = lefts[layer[node]] + (widths[layer[node]] - width) / 2
        made.boxes.append((left, centres[node] - top - height / 2))
    for way in ways:
        points = []
        for node in way:
            y, at = centres[node] - top, layer[node]
            x0, x1 = lefts[at], lefts[at] + widths[at]
            if node == way[0]:
                points += [(made.boxes[node][0] + sizes[node][0], y), (x1, y)]
            elif node == way[-1]:
                points += [(x0, y), (made.boxes[node][0], y)]
            else:
                points += [(x0, y), (x1, y)]
        made.edges.append(points)
    return made


def _bend(layer: list[int], heights: list[float], edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return the nodes by which each edge passes, with a new one in each layer between its ends."""
    bends = sum(max(0, layer[w] - layer[v] - 1) for v, w in edges)
    ways = []
    for v, w in edges:
        way = [v]
        if bends <= BENDS:
            for at in range(layer[v] + 1, layer[w]):
                way.append(len(layer))
                layer.append(at)
                heights.append(4.0)
        ways.append([*way, w])
    return ways


def _order(rows: list[list[int]], before: list[list[int]], after: list[list[int]]) -> None:
    """Order each layer by where its neighbours in the layer before or after stand."""
    place: dict[int, float] = {}
    for row in rows:
        place.update((node, at) for at, node in enumerate(row))

    def towards(row: list[int], near: list[list[int]]) -> None:
        def middle(node: int) -> float:
            return sum(place[it] for it in near[node]) / len(near[node]) if near[node] else place[node]

        row.sort(key=middle)
        place.update((node, at) for at, node in enumerate(row))

    for _ in range(SWEEPS):
        for row in rows:
            towards(row, before)
        for row in reversed(rows):
            towards(row, after)


def _centres(
    rows: list[list[int]], heights: list[float], before: list[list[int]], after: list[list[int]]
) -> list[float]:
    """Return the middle of each node: close to those of its neighbours, in the order of its layer."""
    centres = [0.0] * len(heights)

    def settle(row: list[int], near: list[list[int]]) -> None:
        offsets, y = [], 0.0
        for at, node in enumerate(row):
            y += 0.0 if at == 0 else (heights[row[at - 1]] + heights[node]) / 2 + GAP
            offsets.append(y)
        # Pools of nodes that touch: (sum of wishes, how many); each stands at its mean.
        pools: list[tuple[float, int]] = []
        for node, offset in zip(row, offsets, strict=True):
            around = [centres[it] for it in near[node]] or [centres[node]]
            total, count = sum(around) / len(around) - offset, 1
            while pools and pools[-1][0] * count >= total * pools[-1][1]:
                more, members = pools.pop()
                total, count = total + more, count + members
            pools.append((total, count))
        spread = [total / count for total, count in pools for _ in range(count)]
        for node, offset, base in zip(row, offsets, spread, strict=True):
            centres[node] = offset + base

    alone: list[list[int]] = [[] for _ in heights]
    for row in rows:
        settle(row, alone)
    for _ in range(SWEEPS):
        for row in rows:
            settle(row, before)
        for row in reversed(rows):
            settle(row, after)
    return centres
