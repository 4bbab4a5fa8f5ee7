"""Names of assets as the oracle reads them: segments of text and holes, and which names surely meet.

A name is a tuple of segments. A segment is one of

- `("text", pieces)`: pieces are texts and holes; a hole is a tuple that says whose value it is;
- `("range", from, to)` and `("part", number, of)`, whose parts are numbers, or pieces with holes;
- `("value", key)`: what a step (or an item, a state, an input) holds, then `("field", name)` inside it, and
  `("item", block)` for the member of a list that one iteration has;
- `("local", block, name)`: what was born with one instance of a block;
- `("within", name)`: a declared asset inside what its declaration says.

Two names surely meet if they do whatever the holes stand for. Holes are equal if they are the same;
otherwise nothing is known of them. A selector may be of anything that is inside; of two, of which one has
holes, nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Piece = Any  # a text, or a hole: a tuple
Segment = tuple[Any, ...]
Name = tuple[Segment, ...]
Resolve = Callable[[str], Piece]


def parse(template: str, resolve: Resolve) -> Name:
    """Read a template; what `resolve` makes of a hole's expression takes its place."""
    pieces = _pieces(template, resolve)
    path, selector = _divided(pieces)
    segments: list[list[Piece]] = [[]]
    for piece in path:
        if isinstance(piece, tuple):
            segments[-1].append(piece)
            continue
        first, *rest = piece.split("/")
        segments[-1].append(first)
        segments.extend([text] for text in rest)
    found = [_merged(it) for it in segments]
    if len(found) > 1 and found[-1] == ("",):
        found.pop()
    name: Name = tuple(("text", it) for it in found)
    return name if selector is None else (*name, selector)


def holes(template: str) -> list[str]:
    """The expressions in a template."""
    return [it[0] for it in _pieces(template, lambda text: (text,)) if isinstance(it, tuple)]


def _pieces(template: str, resolve: Resolve) -> list[Piece]:
    """Divide a template into texts and holes; literal brackets become marks that no text has."""
    found: list[Piece] = []
    at = 0
    while at < len(template):
        two, one = template[at : at + 2], template[at]
        if two in ("{{", "}}"):
            found.append(one)
            at += 2
        elif two == "[[":
            found.append("\0")
            at += 2
        elif one == "{":
            end = template.index("}", at)
            found.append(resolve(template[at + 1 : end].strip()))
            at = end + 1
        else:
            found.append(one)
            at += 1
    return found


def _divided(pieces: list[Piece]) -> tuple[list[Piece], Segment | None]:
    if "[" not in pieces:
        return pieces, None
    at = pieces.index("[")
    inside = pieces[at + 1 : -1]
    assert pieces[-1] == "]", "a selector ends a name"
    for mark, kind in ((":", "range"), ("/", "part")):
        if mark in inside:
            middle = inside.index(mark)
            return pieces[:at], (kind, _number(inside[:middle]), _number(inside[middle + 1 :]))
    raise AssertionError("a selector is a range or a part")


def _number(pieces: list[Piece]) -> Any:
    merged = _merged(pieces)
    if len(merged) == 1 and isinstance(merged[0], str):
        return int(merged[0])
    return merged


def _merged(pieces: list[Piece]) -> tuple[Piece, ...]:
    """Join texts that follow each other."""
    found: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str):
            text = piece.replace("\0", "[")
            if found and isinstance(found[-1], str):
                found[-1] += text
                continue
            piece = text
        found.append(piece)
    if len(found) > 1:
        found = [it for it in found if it != ""]
    return tuple(found)


def _selector(segment: Segment) -> bool:
    return segment[0] in ("range", "part")


def _open(segment: Segment) -> bool:
    parts = segment[1] if segment[0] == "text" else segment[1:]
    return not all(isinstance(it, (str, int)) for it in parts)


def _meets(a: Segment, b: Segment) -> bool:
    """Whether two parts of one asset surely have something in common."""
    if a == b:
        return True
    if _selector(a) != _selector(b):
        return True
    if not _selector(a) or _open(a) or _open(b):
        return False
    if a[0] != b[0]:
        return True
    if a[0] == "part":
        return bool(a[2] != b[2])
    return bool(a[1] < b[2] and b[1] < a[2])


def meets(a: Name, b: Name) -> bool:
    """Whether two names surely have something in common."""
    return all(_meets(x, y) for x, y in zip(a, b, strict=False))


def contains(a: Name, b: Name) -> bool:
    """Whether all of `b` is surely in `a`."""
    if len(a) > len(b):
        return False
    for x, y in zip(a, b, strict=False):
        if x == y:
            continue
        if not (x[0] == y[0] == "range") or _open(x) or _open(y):
            return False
        if not (x[1] <= y[1] and y[2] <= x[2]):
            return False
    return True


def is_value(name: Name) -> bool:
    return bool(name[0][0] == "value")
