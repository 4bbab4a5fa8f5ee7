"""Draws findings as a compiler does: the source, what in it is meant, how it comes about, and ways out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unicodedata import category, east_asian_width

if TYPE_CHECKING:
    from ferroflow.define.findings import Finding, Place, Report
    from ferroflow.define.sites import Span

WIDTH = 100
NARROWEST = 40
TAB = 4

Line = list[tuple[str, str]]
"""Pieces of a line: what they are, and the text."""

_TERMINAL = {
    "error": "1;31", "warning": "1;33", "gutter": "1;34", "other": "1;34",
    "strong": "1", "help": "1;36", "quiet": "2",
}  # fmt: skip
_PAGE = {
    "error": "#cf222e", "warning": "#9a6700", "gutter": "#0969da", "other": "#0969da",
    "strong": "#1f2328", "help": "#1a7f37", "quiet": "#656d76",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Mark:
    """What is underlined, and what stands there."""

    span: Span
    first: bool
    label: str


def text(report: Report, *, colour: bool | None, width: int | None, most: int) -> str:
    """Return a report as text, in colour if it is for a terminal."""
    import sys

    if colour is None:
        colour = sys.stdout.isatty()
    if width is None:
        import shutil

        width = shutil.get_terminal_size((WIDTH, 0)).columns
    lines = _whole(report, max(width, NARROWEST), most)
    return coloured(lines) if colour else plain(lines)


def page(report: Report) -> str:
    """Return a report as HTML."""
    from html import escape

    def piece(style: str, text: str) -> str:
        if style not in _PAGE:
            return escape(text)
        weight = "" if style == "quiet" else ";font-weight:600"
        return f'<span style="color:{_PAGE[style]}{weight}">{escape(text)}</span>'

    lines = ("".join(piece(style, text) for style, text in line) for line in _whole(report, WIDTH, 20))
    style = (
        "margin:0;padding:12px 16px;background:#f6f8fa;color:#1f2328;border:1px solid #d1d9e0;"
        "border-radius:6px;font:13px/1.45 ui-monospace,Menlo,Consolas,monospace;"
        "overflow-x:auto;white-space:pre"
    )
    body = "\n".join(lines)
    return f'<pre style="{style}">{body}</pre>'


def plain(lines: Iterable[Line]) -> str:
    """Return lines as text."""
    return "\n".join("".join(text for _, text in line).rstrip() for line in lines)


def coloured(lines: Iterable[Line]) -> str:
    """Return lines as text for a terminal that shows colours."""

    def piece(style: str, text: str) -> str:
        code = _TERMINAL.get(style)
        return f"\x1b[{code}m{text}\x1b[0m" if code and text else text

    return "\n".join("".join(piece(style, text) for style, text in line) for line in lines)


def _whole(report: Report, width: int, most: int) -> Iterator[Line]:
    if not report.errors and not report.warnings:
        yield [("", f"workflow {report.workflow!r}: {report.summary()}")]
        return
    shown = [*report.errors, *report.warnings]
    for finding in shown[:most]:
        yield from rendered(finding, width)
        yield []
    if len(shown) > most:
        yield [("quiet", f"… and {len(shown) - most} more")]
        yield []
    level = "error" if report.errors else "warning"
    yield [(level, level), ("strong", f": workflow {report.workflow!r} has {report.summary()}")]
    codes = [*dict.fromkeys(it.code for it in shown[:most])]
    others = f", or {', '.join(codes[1:])}" if codes[1:] else ""
    yield [("quiet", f"for more about it, try `ferroflow explain {codes[0]}`{others}")]


def rendered(finding: Finding, width: int = WIDTH) -> Iterator[Line]:
    """Go through the lines that show a finding."""
    yield [(finding.level, f"{finding.level}[{finding.code}]"), ("strong", f": {finding.message}")]
    marks, bare = _marks(finding)
    gutter = max((len(str(mark.span.line)) for mark in marks), default=1)
    files = [*dict.fromkeys(mark.span.file for mark in marks)]
    for file in files:
        here = [mark for mark in marks if mark.span.file == file]
        head = next((mark for mark in here if mark.first), here[0]).span
        arrow = "-->" if file == files[0] else ":::"
        place = f"{_shortened(file)}:{head.line}:{head.column}"
        yield [("gutter", f"{'':{gutter}}{arrow} "), ("", place)]
        yield [("gutter", f"{'':{gutter}} |")]
        yield from _source(here, gutter, width, finding.level)
    for at, unseen in bare:
        arrow = "-->" if at == 0 and not files else ":::"
        yield from _bare(unseen, gutter, arrow, "^" if at == 0 else "-", finding.level)
    notes = [("note", finding.meeting)] if finding.meeting else []
    notes += [("help", it) for it in finding.help]
    if notes:
        yield [("gutter", f"{'':{gutter}} |")]
    for word, said in notes:
        yield from _note(word, said, gutter, width)


def _marks(finding: Finding) -> tuple[list[_Mark], list[tuple[int, Place]]]:
    """Return what of the source there is to show, and the places of which there is none."""
    marks: dict[tuple[str, int, int, int], _Mark] = {}
    bare = []

    def add(span: Span, first: bool, label: str) -> None:
        key = span.file, span.line, span.column, span.end
        if (known := marks.get(key)) is None:
            marks[key] = _Mark(span, first, label)
        elif label not in known.label.split("; "):
            marks[key] = _Mark(span, known.first, f"{known.label}; {label}")

    for at, place in enumerate(finding.places):
        main = place.declared or place.called
        if main is None:
            bare.append((at, place))
            continue
        # A declaration tells whose it is; what else is underlined may make several steps.
        inner = place.declared is None and place.step
        add(main, at == 0, f"{place.label}, in step `{place.step}`" if inner else place.label)
        called = place.called
        if called is not None and (called.file, called.line) != (main.file, main.line):
            add(called, False, f"step `{place.step}`")
    return [*marks.values()], bare


def _source(marks: Sequence[_Mark], gutter: int, width: int, level: str) -> Iterator[Line]:
    """Go through lines of a file in order, with what is to be said of them below each."""
    import linecache

    numbers = sorted({mark.span.line for mark in marks})
    room = max(width - gutter - 3, NARROWEST // 2)
    before = numbers[0]
    for number in numbers:
        if number == before + 2:
            between = linecache.getline(marks[0].span.file, number - 1).rstrip("\r\n")
            yield from _numbered(number - 1, _Row(between).cut(room, 0), gutter)
        elif number > before + 2:
            yield [("gutter", "...")]
        before = number
        here = sorted((it for it in marks if it.span.line == number), key=lambda it: it.span.column)
        row = _Row(here[0].span.text)
        # As much of a long line as the first mark needs, and what follows.
        row = row.cut(room, row.cells[here[0].span.column - 1])
        yield from _numbered(number, row, gutter)
        for line in _labels(here, row, level):
            yield [("gutter", f"{'':{gutter}} | "), *line]


def _numbered(number: int, row: _Row, gutter: int) -> Iterator[Line]:
    yield [("gutter", f"{number:>{gutter}} | "), ("", row.shown)]


class _Row:
    """A line of source as it is shown: where in columns of the screen each character begins."""

    def __init__(self, text: str) -> None:
        self.pieces = [_piece(char) for char in text]
        self.cells = [0]
        for shown in self.pieces:
            self.cells.append(self.cells[-1] + columns(shown))
        self.first, self.last = 0, len(self.pieces)
        self.shift = 0

    @property
    def shown(self) -> str:
        text = "".join(self.pieces[self.first : self.last])
        return f"{'…' if self.first else ''}{text}{'…' if self.last < len(self.pieces) else ''}"

    def cut(self, room: int, start: int) -> _Row:
        """Keep what fits, from a little before a column on."""
        if self.cells[-1] <= room:
            return self
        from bisect import bisect_left, bisect_right

        if start > room * 2 // 3:
            self.first = bisect_left(self.cells, min(start - room // 3, self.cells[-1] - room + 1))
        room -= self.first > 0
        if self.cells[-1] - self.cells[self.first] > room:
            self.last = bisect_right(self.cells, self.cells[self.first] + room - 1) - 1
        self.shift = self.cells[self.first] - (self.first > 0)
        return self

    def at(self, column: int) -> int:
        """Return where on the screen a character, counted from 1, begins."""
        inside = min(max(column - 1, self.first), self.last)
        return self.cells[inside] - self.shift


def _labels(marks: Sequence[_Mark], row: _Row, level: str) -> Iterator[Line]:
    """Go through the lines below a line of source: underlines, and what is said of them."""
    drawn = []
    for mark in marks:
        start = row.at(mark.span.column)
        drawn.append((start, max(row.at(mark.span.end), start + 1), mark))
    canvas: dict[int, tuple[str, str]] = {}
    # The one that matters is drawn last, over the others.
    for start, end, mark in sorted(drawn, key=lambda it: it[2].first):
        canvas |= dict.fromkeys(range(start, end), (level, "^") if mark.first else ("other", "-"))
    last = max(drawn, key=lambda it: (it[0], it[1]))
    hanging = [it for it in drawn if it is not last]
    # What reaches further to the right than the last leaves no room beside it.
    beside = all(end <= last[1] for _, end, _ in hanging)
    if not beside:
        hanging = drawn
    line = _painted(canvas)
    if beside:
        line += [(level if last[2].first else "other", f" {last[2].label}")]
    yield line
    stems = {start: (level if mark.first else "other", "|") for start, _, mark in hanging}
    if stems:
        yield _painted(stems)
    for start, _, mark in reversed(hanging):
        left = {at: stem for at, stem in stems.items() if at < start}
        yield [
            *_painted(left, up_to=start),
            (level if mark.first else "other", mark.label),
        ]


def _painted(canvas: dict[int, tuple[str, str]], up_to: int | None = None) -> Line:
    line: Line = []
    end = max(canvas, default=-1) + 1 if up_to is None else up_to
    for at in range(end):
        style, char = canvas.get(at, ("", " "))
        if line and line[-1][0] == style:
            line[-1] = style, line[-1][1] + char
        else:
            line.append((style, char))
    return line


def _bare(place: Place, gutter: int, arrow: str, under: str, level: str) -> Iterator[Line]:
    """Go through the lines that show a place of which there is no source."""
    field = f"{place.mode}: " if place.mode else ""
    shown = "".join(map(_piece, f'"{place.access}"'))
    style = level if under == "^" else "other"
    where = f"step `{place.step}`" if place.step else "the result of the workflow"
    source = f"{_shortened(place.source)}: " if place.source else ""
    yield [("gutter", f"{'':{gutter}}{arrow} "), ("", f"{source}{where}")]
    yield [("gutter", f"{'':{gutter}} |")]
    yield [("gutter", f"{'':{gutter}} | "), ("quiet", field), ("", shown)]
    space, marks = " " * len(field), under * columns(shown)
    yield [("gutter", f"{'':{gutter}} | "), ("", space), (style, f"{marks} {place.label}")]


def _note(word: str, said: str, gutter: int, width: int) -> Iterator[Line]:
    room = max(width - gutter - len(word) - 5, NARROWEST // 2)
    wrap = textwrap.TextWrapper(room, break_long_words=False, break_on_hyphens=False)
    first, *more = [part for line in said.splitlines() for part in wrap.wrap(line) or [""]] or [""]
    style = "help" if word == "help" else "strong"
    yield [("gutter", f"{'':{gutter}} = "), (style, word), ("", f": {first}")]
    for part in more:
        yield [("", f"{'':{gutter + 5 + len(word)}}{part}")]


def _shortened(file: str) -> str:
    """Return a path as seen from here, if it is below."""
    import os

    here = os.getcwd() + os.sep  # noqa: PTH109 - texts, not paths
    return file.removeprefix(here)


def _piece(char: str) -> str:
    if char == "\t":
        return " " * TAB
    return char if category(char) not in ("Cc", "Cs", "Zl", "Zp") else "\N{REPLACEMENT CHARACTER}"


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(
        0 if category(char) in ("Mn", "Me", "Cf") else 2 if east_asian_width(char) in "WF" else 1
        for char in text
    )
