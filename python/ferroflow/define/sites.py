"""Where in a user's own source a step and its accesses are written.

A step remembers the instruction that made it, which costs next to nothing; files are read, and places
looked up, once there is something to tell about them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ferroflow.define.accesses import Declared
    from ferroflow.define.assets import Asset

OURS = str(Path(__file__).parents[1]) + "/"

Mark = tuple[CodeType, int]
"""An instruction: the code that it is in, and where there."""


class Step(dict[str, Any]):
    """A step as definitions hold it, which knows where it was made."""

    __slots__ = ("site",)

    site: Site

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        # Elsewhere, and in copies, it is plain data.
        return dict, (dict(self),)


class Site(NamedTuple):
    """Where a step was made, and where its accesses were declared."""

    called: Mark | None
    declared: Declared | None = None
    items: Sequence[int] = ()
    """For each access of the step: which one of those declared it comes from."""
    assets: Sequence[Asset] = ()
    """The assets that were made with `ff.asset` and that it uses."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line of source.

    Attributes
    ----------
    file
        As Python knows it.
    line, column
        Counted from 1; columns are characters.
    end
        The column after the last.
    text
        The whole line.
    """

    file: str
    line: int
    column: int
    end: int
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "end": self.end,
            "text": self.text,
        }


def caller() -> Mark | None:
    """Return the instruction of the user's that led here."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(OURS):
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def depth() -> int:
    """Return how many frames from the caller up the user's own is, counted as `warnings` does."""
    found, frame = 0, sys._getframe(1)
    while frame.f_code.co_filename.startswith(OURS) and frame.f_back is not None:
        found, frame = found + 1, frame.f_back
    return found + 1


class Region(NamedTuple):
    """Lines from 1, columns in bytes from 0."""

    line: int
    end_line: int
    column: int
    end: int


def region(mark: Mark) -> Region | None:
    """Return what of its file an instruction was compiled from."""
    code, at = mark
    positions = _positions(code)
    line, end_line, column, end = positions[at // 2] if 0 <= at // 2 < len(positions) else (None,) * 4
    if line is None:
        return None
    if end_line is None or column is None or end is None:
        # Python was told to keep no columns.
        return Region(line, line, 0, 0)
    return Region(line, end_line, column, end)


@lru_cache(maxsize=64)
def _positions(code: CodeType) -> list[tuple[int | None, int | None, int | None, int | None]]:
    return [*code.co_positions()]


def span(file: str, found: Region | None) -> Span | None:
    """Return the first line of a region, if its source is there to be read."""
    if found is None:
        return None
    import linecache

    line = linecache.getline(file, found.line).rstrip("\r\n")
    if not line.strip():
        return None
    last = found.end if found.end_line == found.line else len(line.encode())
    column = len(line.encode()[: found.column].decode(errors="replace"))
    end = len(line.encode()[:last].decode(errors="replace"))
    if end <= column:
        column, end = len(line) - len(line.lstrip()), len(line.rstrip())
    return Span(file, found.line, column + 1, end + 1, line)


def called(site: Site) -> Span | None:
    """Return where a step was made."""
    return None if site.called is None else span(site.called[0].co_filename, region(site.called))


def declared(site: Site, use: int) -> Span | None:
    """Return where an access of a step is declared."""
    if site.declared is None or not 0 <= use < len(site.items):
        return None
    item = site.declared.items[site.items[use]]
    if item.origin is None or (whole := region(item.origin)) is None:
        return None
    file = item.origin[0].co_filename
    return span(file, _argument(_text(file, whole), whole, item.mode, item.number) or whole)


def returned(fn: Callable[..., Any]) -> Span | None:
    """Return what a function returns at its end; of one that returns nothing, where it begins."""
    import ast
    import inspect

    try:
        lines, first = inspect.getsourcelines(fn)
        # A line before it makes one program of an indented function.
        indented = lines[0][:1].isspace()
        tree: ast.Module | ast.If = ast.parse("".join(["if 1:\n"] * indented + lines))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    inner = tree.body[0]
    made = inner.body[0] if isinstance(inner, ast.If) else inner
    if not isinstance(made, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    last = made.body[-1]
    node: ast.expr | ast.stmt = last.value or last if isinstance(last, ast.Return) else made
    shift = first - 1 - indented
    end = node.end_lineno if node is not made else node.lineno
    file = inspect.unwrap(fn).__code__.co_filename
    return span(
        file,
        Region(node.lineno + shift, (end or node.lineno) + shift, node.col_offset, node.end_col_offset or 0),
    )


def _text(file: str, found: Region) -> bytes:
    """Return the text of a region; some of it, if the file is no longer so long."""
    import linecache

    lines = [line.encode() for line in linecache.getlines(file)[found.line - 1 : found.end_line]]
    if lines:
        lines[-1] = lines[-1][: found.end]
        lines[0] = lines[0][found.column :]
    return b"".join(lines)


@lru_cache(maxsize=256)
def _argument(source: bytes, whole: Region, keyword: str, number: int) -> Region | None:
    """Return where, in a call, one of the things stands that an argument is a list of."""
    import ast

    try:
        # In brackets, its lines may begin where they like.
        call = ast.parse(b"(" + source + b"\n)", mode="eval").body
    except (SyntaxError, ValueError):
        # The file is no longer the one that was imported.
        return None
    if not isinstance(call, ast.Call):
        return None
    found = next((it.value for it in call.keywords if it.arg == keyword), None)
    if found is None:
        return None
    if isinstance(found, ast.Dict):
        parts: Sequence[ast.expr | None] = found.keys
    else:
        parts = found.elts if isinstance(found, ast.List | ast.Tuple | ast.Set) else [found]
    # Of a list that is computed, one can't tell which part is which.
    literal = not any(it is None or isinstance(it, ast.Starred) for it in parts)
    part = parts[number] if literal and number < len(parts) else None
    node = part or found

    def column(line: int, offset: int) -> int:
        return offset + whole.column - 1 if line == 1 else offset

    last = node.end_lineno or node.lineno
    return Region(
        node.lineno + whole.line - 1,
        last + whole.line - 1,
        column(node.lineno, node.col_offset),
        column(last, node.end_col_offset or 0),
    )


def steps(definition: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the terms of a definition by their paths: `load`, `days/clean`, `choice/else/mend`."""
    found: dict[str, Mapping[str, Any]] = {}
    _index(definition, "", found)
    return found


def _index(block: Any, path: str, found: dict[str, Mapping[str, Any]]) -> None:
    term = block["term"] if isinstance(block, Mapping) and "term" in block else block
    members = [*_members(term)]
    taken = {member["id"] for member in members if "id" in member}
    for member in members:
        name = member.get("id") or _fresh(_base(member), taken)
        taken.add(name)
        found[f"{path}{name}"] = member
        for part, inner in _inner(member):
            _index(inner, f"{path}{name}/{part}", found)


def _members(term: Any) -> Iterator[Mapping[str, Any]]:
    """Go through the steps of a block in order, whatever orders them."""
    if isinstance(term, Mapping):
        kind = next((it for it in ("sequence", "parallel", "partial") if it in term), None)
        if kind is None:
            yield term
            return
        term = term[kind]
    for member in term:
        yield from _members(member)


def _inner(term: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if "choice" in term:
        for at, branch in enumerate(term["choice"]):
            yield f"{at}/", branch["then"]
        if "else" in term:
            yield "else/", term["else"]
    elif "first" in term:
        for at, branch in enumerate(term["of"]):
            yield f"{at}/", branch
    elif "try" in term:
        yield "", term["try"]
        if "catch" in term:
            yield "catch/", term["catch"]
    elif "loop" in term:
        yield "", term["loop"]
    elif "do" in term:
        yield "", term["do"]


def _base(term: Mapping[str, Any]) -> str:
    for kind in ("task", "workflow", "signal"):
        if kind in term:
            return str(term[kind])
    kinds = ("choice", "loop", "each", "timeout", "try", "sleep", "first")
    return next((kind for kind in kinds if kind in term), "")


def _fresh(base: str, taken: set[str]) -> str:
    """Return the id that a step without one gets, as the core chooses it."""
    for mark in "/[]":
        base = base.replace(mark, "_")
    base = base.lstrip("$") or "step"
    if base not in taken:
        return base
    high = 2
    while f"{base}_{high}" in taken:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if f"{base}_{middle}" in taken else (low, middle)
    return f"{base}_{high}"


def unmarked(value: Any) -> Any:
    """Return a definition, or a part of one, as plain data."""
    kind = type(value)
    if kind is dict or kind is Step:
        return {key: unmarked(item) for key, item in value.items()}
    return [unmarked(item) for item in value] if kind is list else value
