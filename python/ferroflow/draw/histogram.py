"""Histograms: how often values fall where, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ferroflow.draw.gantt import ticks
from ferroflow.draw.graph import FAINT, INK
from ferroflow.draw.svg import document, words

WIDTH = 560.0
HEIGHT = 180.0
PAD = 14.0
FOOT = 34.0
BAR = "#4c8bc8"


def _round(least: float, most: float) -> list[float]:
    """Return round numbers from one to another."""
    if most <= least:
        return [least]
    apart = ticks(most - least, 6)
    step = apart[1] if len(apart) > 1 else most - least
    first = math.ceil(least / step)
    return [number * step for number in range(first, math.floor(most / step) + 1)]


def histogram(values: Sequence[float], title: str = "", unit: str = "") -> str:
    """Return a histogram with a bar for each of some equal ranges, and lines at three quantiles.

    Parameters
    ----------
    values
        What is counted, in any order.
    title
        What the chart is called.
    unit
        Stands behind the numbers.

    Examples
    --------
    >>> from ferroflow.draw.histogram import histogram
    >>> histogram([1, 2, 2, 3, 9], "waits", "s")[:4]
    '<svg'
    """
    if not values:
        return document(WIDTH, HEIGHT, [f'<text x="{PAD}" y="30" fill="{INK}">nothing to show</text>'], title)
    ordered = sorted(values)
    least, most = ordered[0], ordered[-1]
    # As many ranges as the square root of how many values there are.
    ranges = max(1, min(60, round(len(ordered) ** 0.5))) if most > least else 1
    counts = [0] * ranges
    for value in ordered:
        at = int((value - least) / (most - least) * ranges) if most > least else 0
        counts[min(at, ranges - 1)] += 1
    inner, floor = WIDTH - 2 * PAD, HEIGHT - FOOT
    room, step = floor - 40, inner / ranges

    def x(value: float) -> float:
        return PAD + ((value - least) / (most - least) if most > least else 0.5) * inner

    body = [f'<text x="{PAD}" y="20" font-size="13" fill="{INK}">{words(title, 70)}</text>']
    for number, count in enumerate(counts):
        tall = count / max(counts) * room
        body.append(
            f'<rect x="{PAD + number * step + 0.5:.1f}" y="{floor - tall:.1f}" '
            f'width="{max(step - 1, 1):.1f}" height="{tall:.1f}" fill="{BAR}"><title>{count}</title></rect>'
        )
    body.append(f'<path d="M{PAD} {floor}H{PAD + inner}" stroke="{FAINT}"/>')
    for share in (0.05, 0.5, 0.95):
        value = ordered[round(share * (len(ordered) - 1))]
        body.append(
            f'<path d="M{x(value):.1f} 32V{floor}" stroke="{INK}" stroke-dasharray="3 3" opacity="0.6">'
            f"<title>{share:.0%}: {value:.4g} {words(unit)}</title></path>"
        )
    body.extend(
        f'<text x="{x(value):.1f}" y="{floor + 18}" font-size="11" text-anchor="middle" fill="{INK}">'
        f"{value:.4g}{words(' ' + unit) if unit else ''}</text>"
        for value in _round(least, most)
    )
    return document(WIDTH, HEIGHT, body, title)
