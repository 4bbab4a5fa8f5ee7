"""What every picture of a workflow is drawn from: blocks, and how far their nodes are.

A block is (owner as (block, node) or None, nodes as (id, kind, task or None), edges as pairs). A
block's owner comes before it. States belong to nodes, named by (block, node).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Node = tuple[str, str, str | None]
Block = tuple[tuple[int, int] | None, Sequence[Node], Sequence[tuple[int, int]]]
Place = tuple[int, int]
States = Mapping[Place, str]

PLAIN = ("#ffffff", "#57606a")
"""Fill and line of what has no state. Text on a fill is dark, so that it reads on any page."""

INK = "#1f2328"
FAINT = "#7d7d7d"
"""Lines and text that stand on the page itself: as far from white as from black."""

COLOURS: Mapping[str, tuple[str, str]] = {
    "failed": ("#ffcecb", "#cf222e"),
    "compensation_failed": ("#ffb3ae", "#a40e26"),
    "timed_out": ("#ffd8b5", "#bc4c00"),
    "running": ("#b6e3ff", "#0969da"),
    "leased": ("#ddf4ff", "#0969da"),
    "compensating": ("#fbefff", "#8250df"),
    "waiting": ("#fff1a8", "#9a6700"),
    "ready": ("#e7f5ff", "#54aeff"),
    "pending": ("#f6f8fa", "#8c959f"),
    "cancelled": ("#d8dee4", "#57606a"),
    "compensated": ("#ecd8ff", "#8250df"),
    "skipped": ("#eaeef2", "#8c959f"),
    "completed": ("#c8f2d0", "#1a7f37"),
}
"""Fill and line of each state of a step, the most telling one first."""

_RANK = {state: rank for rank, state in enumerate(COLOURS)}


def telling(steps: Iterable[tuple[Place, str]]) -> dict[Place, str]:
    """Return one state for each node: the most telling one of its steps.

    A node inside a for-each or a loop has many steps. What went wrong goes before what is going
    on, that before what is still to come, and `completed` is said of a node only if all its
    steps are: the order is that of `COLOURS`.

    Examples
    --------
    >>> from ferroflow.draw.graph import telling
    >>> telling([((0, 0), "completed"), ((1, 0), "completed"), ((1, 0), "running")])
    {(0, 0): 'completed', (1, 0): 'running'}
    """
    found: dict[Place, str] = {}
    for place, state in steps:
        if place not in found or _RANK.get(state, len(_RANK)) < _RANK.get(found[place], len(_RANK)):
            found[place] = state
    return found


def kind_of(node: Node) -> str:
    """Return what stands in brackets after a node's name: its task, or its kind."""
    name, kind, task = node
    return kind if task in (None, name) else str(task)


def label(node: Node) -> str:
    """Return a node's name and type."""
    return f"{node[0]} ({kind_of(node)})"


def inner_blocks(blocks: Sequence[Block]) -> dict[Place, list[int]]:
    """Return the blocks inside each composite."""
    inner: dict[Place, list[int]] = {}
    for number, (owner, _, _) in enumerate(blocks):
        if owner is not None:
            inner.setdefault(owner, []).append(number)
    return inner


def block_name(kind: str, position: int, count: int) -> str:
    """Return what a block inside a composite is called; nothing if it is the only one."""
    if kind == "try":
        return ("body", "catch")[min(position, 1)]
    return f"branch {position + 1}" if count > 1 else ""
