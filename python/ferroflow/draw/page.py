"""Pieces of HTML for notebooks: tables of plain text."""

from __future__ import annotations

from collections.abc import Sequence

from ferroflow.draw.graph import COLOURS, INK
from ferroflow.draw.svg import words


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], left_out: int = 0) -> str:
    """Return an HTML table; a cell that is a state gets that state's colour.

    Parameters
    ----------
    columns, rows
        Plain text.
    left_out
        How many more rows there would be, to be told below.

    Examples
    --------
    >>> from ferroflow.draw.page import table
    >>> table(["step"], [["a<b"]])
    '<table><thead><tr><th>step</th></tr></thead><tbody><tr><td>a&lt;b</td></tr></tbody></table>'
    """

    def cell(text: str) -> str:
        if text not in COLOURS:
            return f"<td>{words(text)}</td>"
        fill, line = COLOURS[text]
        style = f"background:{fill};color:{INK};border:1px solid {line};border-radius:4px;padding:0 6px"
        return f'<td><span style="{style}">{words(text)}</span></td>'

    head = "".join(f"<th>{words(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    more = f"<p>… and {left_out} more</p>" if left_out else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def block(title: str, picture: str, below: str) -> str:
    """Return a title, a picture that scrolls if it is too wide, and what stands below it."""
    scrolling = f'<div style="overflow-x:auto">{picture}</div>'
    return f"<div><p>{words(title)}</p>{scrolling}{below}</div>"
