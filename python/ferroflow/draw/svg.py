"""Workflows as SVG: boxes from left to right, composites as boxes round their blocks.

The picture has no scripts, styles or references, so that it can stand inside any page; its
colours read on light and dark ones.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from ferroflow.draw.graph import (
    COLOURS,
    FAINT,
    INK,
    PLAIN,
    Block,
    Place,
    States,
    block_name,
    inner_blocks,
    kind_of,
)
from ferroflow.draw.layout import Layout, arrange, layers

NODES = 400
"""More nodes than this are not drawn; the picture says so."""

EDGES = 4000
LETTERS = 36
PAD = 14.0
HEAD = 24.0


def words(text: str, most: int = 0) -> str:
    """Return text as it may stand in XML, shortened if it is longer than `most`."""
    if most and len(text) > most:
        text = text[: most - 1] + "…"
    kept = (it if it.isprintable() else "�" for it in text.replace("\n", " "))
    return escape("".join(kept))


def width_of(text: str, size: float) -> float:
    """Estimate how wide a text is, rather too wide than too narrow."""
    wide = sum(unicodedata.east_asian_width(it) in "WF" for it in text)
    return size * (0.62 * len(text) + 0.45 * wide)


def document(width: float, height: float, body: Sequence[str], title: str) -> str:
    """Return a whole SVG picture."""
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    family = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
    name = f"<title>{words(title)}</title>" if title else ""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{family}">{name}'
    return "\n".join([head, *body, "</svg>"]) + "\n"


def legend(x: float, y: float, states: Sequence[str]) -> tuple[list[str], float]:
    """Return the key of colours at a place, and how wide it is."""
    drawn, start = [], x
    for state in (it for it in COLOURS if it in states):
        fill, line = COLOURS[state]
        drawn.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="12" height="12" rx="3" fill="{fill}" stroke="{line}"/>'
            f'<text x="{x + 17:.1f}" y="{y + 10:.1f}" font-size="11" fill="{FAINT}">{words(state)}</text>'
        )
        x += 17 + width_of(state, 11) + 14
    return drawn, x - start


def svg(blocks: Sequence[Block], states: States | None = None, title: str = "") -> str:
    """Return a picture of a workflow.

    Parameters
    ----------
    blocks
        What to draw; see `ferroflow.draw.graph`.
    states
        The states of nodes, by (block, node).
    title
        What the picture is called.

    Examples
    --------
    >>> from ferroflow.draw.svg import svg
    >>> svg([(None, [("load", "task", "read_csv")], [])]).startswith("<svg")
    True
    """
    picture = _Picture(blocks, states or {})
    return picture.document(title)


@dataclass
class _Picture:
    blocks: Sequence[Block]
    states: States
    kept: dict[int, list[int]] = field(default_factory=dict)
    layouts: dict[int, Layout] = field(default_factory=dict)
    body: list[str] = field(default_factory=list)
    edges_left: int = EDGES
    edges_cut: int = 0

    def document(self, title: str) -> str:
        self.choose()
        if not self.kept:
            return document(120, 30, [_note(0, 18, "nothing to do")], title)
        self.measure()
        self.place()
        whole = self.layouts[0]
        width, height = whole.width + 2 * PAD, whole.height + 2 * PAD
        total = sum(len(nodes) for _, nodes, _ in self.blocks)
        drawn = sum(map(len, self.kept.values()))
        notes = []
        if drawn < total:
            notes.append(f"{drawn} of {total} nodes are drawn")
        if self.edges_cut:
            notes.append(f"{self.edges_cut} edges are not drawn")
        if notes:
            height += 20
            self.body.append(_note(PAD, height - 10, "; ".join(notes)))
            width = max(width, 2 * PAD + width_of("; ".join(notes), 12))
        if self.states:
            height += 22
            key, wide = legend(PAD, height - 20, [*self.states.values()])
            self.body += key
            width = max(width, 2 * PAD + wide)
        return document(width, height, self.body, title)

    def choose(self) -> None:
        """Choose what is drawn: whole blocks from the outside in, as long as there is room."""
        if not self.blocks or not self.blocks[0][1]:
            return
        _, nodes, edges = self.blocks[0]
        layer = layers(len(nodes), edges)
        self.kept[0] = sorted(sorted(range(len(nodes)), key=lambda node: layer[node])[:NODES])
        room = NODES - len(self.kept[0])
        drawn = set(self.kept[0])
        self.inner: dict[Place, list[int]] = {}
        for owner, numbers in inner_blocks(self.blocks).items():
            block, node = owner
            numbers = [number for number in numbers if self.blocks[number][1]]
            count = sum(len(self.blocks[number][1]) for number in numbers)
            visible = block in self.kept and (block != 0 or node in drawn)
            if numbers and visible and count <= room:
                room -= count
                self.inner[owner] = numbers
                self.kept.update((number, [*range(len(self.blocks[number][1]))]) for number in numbers)

    def size(self, block: int, node: int) -> tuple[float, float]:
        name, kind, _ = about = self.blocks[block][1][node]
        if kind == "join":
            return 9.0, 9.0
        wide = max(width_of(shortened(name), 12), width_of(shortened(kind_of(about)), 10), 40.0) + 2 * 10.0
        inner = self.inner.get((block, node))
        if inner is None:
            return wide, 38.0
        wide = max(wide, width_of(shortened(f"{name} ({kind_of(about)})"), 12) + 2 * PAD)
        high = HEAD
        for position, number in enumerate(inner):
            caption = 16.0 if block_name(kind, position, len(inner)) else 0.0
            wide = max(wide, self.layouts[number].width + 2 * PAD)
            high += caption + self.layouts[number].height + PAD
        return wide, high

    def measure(self) -> None:
        """Lay out every block, the inner ones first: an owner comes before what it owns."""
        for number in sorted(self.kept, reverse=True):
            kept = self.kept[number]
            at = {node: position for position, node in enumerate(kept)}
            edges = [(at[v], at[w]) for v, w in self.blocks[number][2] if v in at and w in at]
            self.edges_cut += max(0, len(edges) - self.edges_left)
            edges = edges[: self.edges_left]
            self.edges_left -= len(edges)
            self.layouts[number] = arrange([self.size(number, node) for node in kept], edges)

    def place(self) -> None:
        """Draw every block where its owner has room for it."""
        corners = {0: (PAD, PAD)}
        for number in sorted(self.kept):
            left, top = corners[number]
            layout = self.layouts[number]
            self.body += [_way([(left + x, top + y) for x, y in points]) for points in layout.edges]
            for node, (x, y) in zip(self.kept[number], layout.boxes, strict=True):
                self.node((number, node), left + x, top + y, corners)

    def node(self, place: Place, x: float, y: float, corners: dict[int, tuple[float, float]]) -> None:
        block, node = place
        name, kind, _ = about = self.blocks[block][1][node]
        wide, high = self.size(block, node)
        state = self.states.get(place, "")
        fill, line = COLOURS.get(state, PLAIN)
        said = f"{name} ({kind_of(about)})" + (f": {state}" if state else "")
        tip = f"<title>{words(said)}</title>"
        if kind == "join":
            self.body.append(f'<circle cx="{x + 4.5:.1f}" cy="{y + 4.5:.1f}" r="4" fill="{FAINT}"/>')
            return
        box = f'x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="6"'
        inner = self.inner.get(place)
        if inner is None:
            middle = x + wide / 2
            dashes = ' stroke-dasharray="4 3"' if state in ("skipped", "cancelled") else ""
            more = self.hidden(place)
            self.body.append(
                f'<g>{tip}<rect {box} fill="{fill}" stroke="{line}" stroke-width="1.3"{dashes}/>'
                f'<text x="{middle:.1f}" y="{y + 16:.1f}" font-size="12" font-weight="600" '
                f'text-anchor="middle" fill="{INK}">{words(name, LETTERS)}</text>'
                f'<text x="{middle:.1f}" y="{y + 30:.1f}" font-size="10" text-anchor="middle" '
                f'fill="#57606a">{words(kind_of(about) + more, LETTERS)}</text></g>'
            )
            return
        # Without an id of its own a composite is called what it is.
        kind_said = "" if name == kind else f" ({words(kind)})"
        tint, outline = (fill, line) if state in COLOURS else (FAINT, FAINT)
        self.body.append(
            f'<g>{tip}<rect {box} fill="{tint}" fill-opacity="0.08" stroke="{outline}"/>'
            f'<text x="{x + PAD:.1f}" y="{y + 16:.1f}" font-size="12" fill="{FAINT}">'
            f'<tspan font-weight="600">{words(name, LETTERS)}</tspan>{kind_said}</text></g>'
        )
        down = y + HEAD
        for position, number in enumerate(inner):
            if caption := block_name(kind, position, len(inner)):
                if position:
                    self.body.append(
                        f'<path d="M{x:.1f} {down - PAD / 2:.1f}h{wide:.1f}" stroke="{outline}" '
                        'stroke-dasharray="3 3" stroke-opacity="0.6"/>'
                    )
                self.body.append(
                    f'<text x="{x + PAD:.1f}" y="{down + 8:.1f}" font-size="10" fill="{FAINT}">'
                    f"{words(caption)}</text>"
                )
                down += 16
            corners[number] = (x + PAD, down)
            down += self.layouts[number].height + PAD

    def hidden(self, place: Place) -> str:
        """Say how much a composite holds that is not drawn."""
        numbers = [number for number, (owner, _, _) in enumerate(self.blocks) if owner == place]
        count = sum(len(self.blocks[number][1]) for number in numbers)
        return f", {count} inside" if count else ""


def shortened(text: str) -> str:
    """Return what of a label is drawn, for its width."""
    return text[:LETTERS]


def _note(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" fill="{FAINT}">{words(text)}</text>'


def _way(points: Sequence[tuple[float, float]]) -> str:
    """Return an edge: straight through its layers, curved between them, with an arrow's head."""
    (x, y), *rest = points
    path = [f"M{x:.1f} {y:.1f}"]
    for at, (x1, y1) in enumerate(rest):
        if at % 2 == 0 or y == y1:
            path.append(f"L{x1:.1f} {y1:.1f}")
        else:
            bend = (x1 - x) / 2
            path.append(f"C{x + bend:.1f} {y:.1f} {x1 - bend:.1f} {y1:.1f} {x1:.1f} {y1:.1f}")
        x, y = x1, y1
    line = f'<path d="{"".join(path)}" fill="none" stroke="{FAINT}" stroke-width="1.2"/>'
    return line + f'<path d="M{x:.1f} {y:.1f}l-7 -3.5v7z" fill="{FAINT}"/>'
