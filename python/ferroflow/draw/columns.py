"""Bar charts of a few named numbers, as SVG."""

from __future__ import annotations

from collections.abc import Sequence

from ferroflow.draw.graph import FAINT, PLAIN
from ferroflow.draw.svg import document, width_of, words

WIDTH = 720.0
ROW = 22.0
PAD = 14.0


def columns(numbers: Sequence[tuple[str, float]], title: str = "") -> str:
    """Return a chart with one bar for each number, from 0 on.

    Parameters
    ----------
    numbers
        (name, number), from the top down.
    title
        What the chart is called.

    Examples
    --------
    >>> from ferroflow.draw.columns import columns
    >>> columns([("heft", 1.0), ("olb", 1.5)]).count("<rect")
    2
    """
    left = PAD + max((width_of(name, 12) for name, _ in numbers), default=0.0) + 8
    most = max((number for _, number in numbers), default=0.0)
    scale = (WIDTH - left - 70) / most if most > 0 else 0.0
    fill, line = PLAIN
    body = [f'<text x="{PAD}" y="20" font-size="12" fill="{FAINT}">{words(title)}</text>']
    for at, (name, number) in enumerate(numbers):
        y = 32 + ROW * at
        wide = max(number * scale, 0.5)
        body.append(
            f'<text x="{PAD}" y="{y + 13:.1f}" font-size="12" fill="{FAINT}">{words(name)}</text>'
            f'<rect x="{left:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{ROW - 5:.1f}" rx="2" '
            f'fill="{fill}" stroke="{line}" stroke-width="0.8"/>'
            f'<text x="{left + wide + 6:.1f}" y="{y + 13:.1f}" font-size="11" fill="{FAINT}">'
            f"{number:.4g}</text>"
        )
    return document(WIDTH, 32 + ROW * len(numbers) + PAD, body, title)
