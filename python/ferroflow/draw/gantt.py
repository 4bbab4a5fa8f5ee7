"""Gantt charts: bars in lanes over time, as SVG."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from ferroflow.draw.graph import COLOURS, FAINT, INK, PLAIN
from ferroflow.draw.svg import document, legend, width_of, words

Bar = tuple[str, float, float, str]
"""What it is, its start and its end in seconds, and the state it ended in."""

BARS = 1000
"""More bars than this are not drawn; the chart says so."""

WIDTH = 1100.0
LANE = 22.0
PAD = 14.0


def lanes(bars: Sequence[Bar]) -> list[int]:
    """Return a lane for each bar, as few as there are bars at one time.

    Examples
    --------
    >>> from ferroflow.draw.gantt import lanes
    >>> lanes([("a", 0, 2, ""), ("b", 1, 3, ""), ("c", 2, 4, "")])
    [0, 1, 0]
    """
    found = [0] * len(bars)
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    count = 0
    for number in sorted(range(len(bars)), key=lambda it: (bars[it][1], bars[it][2])):
        _, start, end, _ = bars[number]
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if free:
            lane = heapq.heappop(free)
        else:
            lane, count = count, count + 1
        found[number] = lane
        heapq.heappush(busy, (end, lane))
    return found


def ticks(seconds: float, most: int = 10) -> list[float]:
    """Return round instants from 0 on, at most so many steps apart that they fit.

    Examples
    --------
    >>> from ferroflow.draw.gantt import ticks
    >>> ticks(7.3, 5)
    [0.0, 2.0, 4.0, 6.0]
    """
    if seconds <= 0:
        return [0.0]
    step = 10.0**-6
    while seconds / step > most:
        for factor in (2.0, 5.0, 10.0):
            if seconds / (step * factor) <= most:
                break
        step *= factor
    return [round(step * at, 9) for at in range(int(seconds / step) + 1)]


def gantt(bars: Sequence[Bar], title: str = "") -> str:
    """Return a chart with one bar for each piece of work, coloured by how it ended.

    Parameters
    ----------
    bars
        (label, start, end, state), in seconds from the same origin.
    title
        What the chart is called.

    Examples
    --------
    >>> from ferroflow.draw.gantt import gantt
    >>> gantt([("load", 0.0, 1.5, "completed")]).startswith("<svg")
    True
    """
    return grouped([(*bar, "") for bar in bars], [""], title)


def grouped(
    bars: Sequence[tuple[str, float, float, str, str]], groups: Sequence[str], title: str = ""
) -> str:
    """Return a chart whose bars stand in groups one below the other, each with its name.

    Parameters
    ----------
    bars
        (label, start, end, state, group), in seconds from the same origin.
    groups
        The groups from the top down, shown or not. A single one without a name is not told.
    title
        What the chart is called.

    Examples
    --------
    >>> from ferroflow.draw.gantt import grouped
    >>> "node-1" in grouped([("load", 0.0, 1.5, "", "node-1")], ["node-1", "node-2"])
    True
    """
    shown = sorted(bars, key=lambda it: (it[1], it[2]))[:BARS]
    if not shown:
        return document(
            200, 30, [f'<text x="4" y="18" font-size="12" fill="{FAINT}">nothing has run</text>'], title
        )
    origin = shown[0][1]
    span = max(max(bar[2] for bar in shown) - origin, 1e-6)
    rows = [0] * len(shown)
    named = [*groups] != [""]
    left = PAD + (min(width_of(max(groups, key=len), 11), 180.0) + 8 if named else 0)
    top = PAD + 18
    body = []
    count = 0
    for group in groups:
        own = [number for number, bar in enumerate(shown) if bar[4] == group]
        found = lanes([shown[number][:4] for number in own])
        for number, lane in zip(own, found, strict=True):
            rows[number] = count + lane
        if named:
            y = top + LANE * count
            body.append(
                f'<path d="M{PAD} {y:.1f}H{WIDTH - PAD}" stroke="{FAINT}" stroke-opacity="0.35"/>'
                f'<text x="{PAD}" y="{y + 15:.1f}" font-size="11" fill="{FAINT}">{words(group, 24)}</text>'
            )
        count += max(found, default=0) + 1
    bottom = top + LANE * count
    scale = (WIDTH - PAD - left) / span
    for tick in ticks(span):
        x = left + tick * scale
        body.append(
            f'<path d="M{x:.1f} {top - 4:.1f}V{bottom:.1f}" stroke="{FAINT}" stroke-opacity="0.35"/>'
            f'<text x="{x:.1f}" y="{top - 9:.1f}" font-size="10" fill="{FAINT}">{tick:g} s</text>'
        )
    for (label, start, end, state, _), row in zip(shown, rows, strict=True):
        fill, line = COLOURS.get(state, PLAIN)
        x, wide = left + (start - origin) * scale, max(1.0, (end - start) * scale)
        y = top + LANE * row + 2
        said = f"{label}: {end - start:.3f} s" + (f", {state}" if state else "")
        body.append(
            f'<g><title>{words(said)}</title><rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" '
            f'height="{LANE - 4:.1f}" rx="2" fill="{fill}" stroke="{line}" stroke-width="0.8"/>'
        )
        letters = int((wide - 8) / (10 * 0.62))
        if letters >= 3:
            body.append(
                f'<text x="{x + 4:.1f}" y="{y + 12.5:.1f}" font-size="10" fill="{INK}">'
                f"{words(label, letters)}</text>"
            )
        body.append("</g>")
    height = bottom + 10
    if len(shown) < len(bars):
        height += 18
        note = f"the first {len(shown)} of {len(bars)} bars are drawn"
        body.append(
            f'<text x="{PAD}" y="{height - 6:.1f}" font-size="12" fill="{FAINT}">{words(note)}</text>'
        )
    key, wide = legend(PAD, height, [bar[3] for bar in shown])
    body += key
    return document(max(WIDTH, wide + 2 * PAD, width_of(title, 12)), height + 20, body, title)
