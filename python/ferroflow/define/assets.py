"""Assets: what steps read, write, take and reduce, and how their names are written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from ferroflow.errors import DefinitionError

if TYPE_CHECKING:
    from ferroflow.define.trace import Block

Kind = Literal["file", "directory", "table", "model", "account"]

MAX_BYTES = 1000
MAX_SEGMENTS = 64

# Stands for a hole while a name is looked at. It is no character, so that no text needs it.
HOLE = "\ufdd0"

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_BRACKETS = re.compile(r"\[\[|\[")
_SELECTOR = re.compile(rf"\s*([0-9{HOLE}]+)\s*([:/])\s*([0-9{HOLE}]+)\s*")


@dataclass(frozen=True, slots=True, repr=False)
class Asset:
    """A thing that steps borrow: a file, a table, a model, an account; made by `asset`.

    Attributes
    ----------
    name
        As templates write it: `{...}` in it are holes that name parameters of a task.
    kind, path, within, output, fingerprint
        As for `asset`; of what is inside another asset only `path` is known.

    Examples
    --------
    >>> import ferroflow as ff
    >>> lake = ff.asset("lake", "directory", path="/data/lake")
    >>> lake / "orders" / "{day}", lake["orders"][0:1000], (lake / "orders").path
    (<asset lake/orders/{day}>, <asset lake/orders[0:1000]>, '/data/lake/orders')
    >>> lake["orders"].partition(4)[1]
    <asset lake/orders[1/4]>
    """

    name: str
    kind: Kind | None = None
    path: str | None = None
    within: str | None = None
    output: bool = False
    fingerprint: str | None = None
    # What this is inside of, if it was selected from another; the block it is local to.
    _root: Asset | None = field(default=None, compare=False)
    _block: Block | None = None

    def __repr__(self) -> str:
        return f"<asset {self.name}>"

    def __truediv__(self, child: str) -> Asset:
        if not isinstance(child, str):
            raise TypeError(f"{self!r} / {child!r}: give the name of what is in it, a text")
        return self._inside(f"/{child}", child)

    def __getitem__(self, key: str | slice) -> Asset:
        if isinstance(key, str):
            return self / key
        bounds: object = key
        if not isinstance(bounds, slice) or bounds.step is not None or bounds.stop is None:
            raise TypeError(f"{self!r}[{key!r}]: select with a name, or with a range such as [0:1000]")
        return self._inside(f"[{_bound(self, bounds.start or 0)}:{_bound(self, bounds.stop)}]", "")

    def partition(self, parts: int) -> list[Asset]:
        """Return the asset in so many parts that have nothing in common.

        Examples
        --------
        >>> import ferroflow as ff
        >>> ff.asset("orders", "table").partition(2)
        [<asset orders[0/2]>, <asset orders[1/2]>]
        """
        if type(parts) is not int or parts < 1:
            raise TypeError(f"{self!r}.partition({parts!r}): give a whole number from 1 on")
        return [self._inside(f"[{part}/{parts}]", "") for part in range(parts)]

    def _inside(self, more: str, child: str) -> Asset:
        name = self.name.rstrip("/") + more
        refuse(name)
        path = self.path
        if path is not None and child:
            path = None if "{" in child else str(os.path.join(path, plain(child)))  # noqa: PTH118 - kept as text
        return Asset(name, path=path, _root=self.root, _block=self._block)

    @property
    def root(self) -> Asset:
        """The asset that was declared, from which this one was selected."""
        return self._root or self

    @property
    def location(self) -> str:
        """What a body gets that is given the asset: its path, or else its name."""
        if [*holes(self.name)]:
            raise DefinitionError(f"{self!r} has holes: it can be declared, and not be given to a step")
        return plain(self.name) if self.path is None else self.path

    def to_dict(self) -> dict[str, Any]:
        """Return what definitions hold of a declared asset."""
        fields: dict[str, Any] = {"kind": self.kind, "path": self.path, "within": self.within}
        fields |= {"output": self.output or None, "fingerprint": self.fingerprint}
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Value:
    """Stands for the value of a parameter in a declaration of accesses; made by `value`."""

    parameter: str


def value(parameter: str) -> Value:
    """Name a parameter whose value is meant: what another step yields is an asset too.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.task
    ... def unsorted() -> list:
    ...     return [2, 1]
    >>> @ff.task(takes=ff.value("rows"))
    ... def sort_in_place(rows: list) -> list:
    ...     rows.sort()
    ...     return rows
    >>> @ff.workflow
    ... def flow():
    ...     return sort_in_place(unsorted())
    >>> flow.definition["term"]["partial"][1]["takes"]
    [{'$': 'steps.unsorted'}]
    """
    if type(parameter) is not str or not parameter.isidentifier():
        raise TypeError(f"ff.value({parameter!r}): give the name of a parameter of the task")
    return Value(parameter)


def asset(
    name: str,
    kind: Kind | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    within: str | Asset | None = None,
    output: bool = False,
    fingerprint: str | None = None,
) -> Asset:
    """Declare an asset, which steps borrow by its name.

    Made at the top of a module, it is of the world, and the workflows that use it know what it is; one with
    `@ff.workflow(assets=[...])` names nothing else, so that a misspelt name is found. Made in the function
    of a workflow, or of a branch, a loop or an each, it is born and dies with that block; each iteration has
    its own.

    Parameters
    ----------
    name
        Segments divided by `/`; it contains what begins with it. Literal `[`, `{` and `}` are written twice.
    kind
        "file", "directory", "table", "model" or "account". A file has nothing inside it but ranges and parts.
    path
        Where it is; what a task gets to which the asset is given.
    within
        Another declared asset that contains it although its name does not say so.
    output
        True: it is meant for others, so that nobody has to read what is written to it.
    fingerprint
        The BLAKE3 hash that a file's content is expected to have, in hexadecimal.

    Examples
    --------
    >>> import ferroflow as ff
    >>> lake = ff.asset("lake", "directory", path="/data/lake")
    >>> @ff.task(reads=lake / "raw/{day}", writes=lake / "clean/{day}")
    ... def clean(day: str) -> None:
    ...     ...
    >>> @ff.workflow
    ... def daily():
    ...     return clean("monday")
    >>> daily.definition["term"]["writes"], daily.definition["assets"]
    (['lake/clean/monday'], {'lake': {'kind': 'directory', 'path': '/data/lake'}})
    """
    from ferroflow.define.trace import tracing

    call = f"ff.asset({name!r})"
    if not isinstance(name, str):
        raise TypeError(f"{call}: a name is a text")
    if [*holes(name)]:
        raise DefinitionError(
            f"{call}: an asset has no parameters to fill holes with; "
            'declare what it is in, and write asset / "{day}"'
        )
    if _selector(refuse(name))[1] is not None:
        raise DefinitionError(
            f"{call}: declare the whole, and select from it with asset[0:1000] or partition(8)"
        )
    if kind is not None and kind not in get_args(Kind):
        raise TypeError(f"{call}: kind={kind!r} is none of {', '.join(get_args(Kind))}")
    if fingerprint is not None and not re.fullmatch("[0-9a-fA-F]{64}", fingerprint):
        raise TypeError(f"{call}: fingerprint={fingerprint!r} is no BLAKE3 hash of 64 hexadecimal digits")
    round_ = within if within is None or isinstance(within, str) else within.name
    where = None if path is None else os.fspath(path)
    made = Asset(_shortened(name), kind, where, round_, output, fingerprint and fingerprint.lower())
    here = tracing()
    if here is None:
        return made
    if within is not None or fingerprint is not None:
        raise DefinitionError(
            f"{call} is local to the block that makes it, so it has neither `within` nor `fingerprint`; "
            "make it outside the workflow"
        )
    return here.local(made)


def holes(name: str) -> Iterator[tuple[int, int, str]]:
    """Go through the holes of a name: where each is, and what stands in it."""
    for found in _BRACES.finditer(name):
        if found[1] is not None:
            yield found.start(), found.end(), found[1].strip()
        elif len(found[0]) == 1:
            raise DefinitionError(
                f"{name!r} has a brace without its other; a brace that is part of a name is written twice"
            )


def refuse(name: str) -> str:
    """Raise what is wrong with a name; return it with a mark for each hole, and braces as they are meant."""
    pieces, at = [], 0
    for start, end, inside in holes(name):
        if not inside:
            raise DefinitionError(f"{name!r} has an empty hole: name a parameter in it")
        pieces += [name[at:start], HOLE]
        at = end
    skeleton = "".join([*pieces, name[at:]]).replace("{{", "{").replace("}}", "}")
    if problem := _wrong(skeleton):
        raise DefinitionError(f"{name!r} {problem}")
    return skeleton


def _wrong(skeleton: str) -> str | None:
    if not skeleton:
        return "is no name of an asset: it is empty"
    if (size := len(skeleton.encode())) > MAX_BYTES:
        return f"is too long a name: {size} bytes, and {MAX_BYTES} are the most"
    path, selector = _selector(skeleton)
    segments = _shortened(path).split("/")
    for at, segment in enumerate(segments):
        if not segment and (at or len(segments) == 1):
            return "has an empty part: write something between its slashes"
        if segment in (".", ".."):
            return f"has a part {segment!r}: write what it stands for"
    if any(ord(it) < 32 or 127 <= ord(it) < 160 for it in skeleton):
        return "has a control character"
    if len(segments) + (selector is not None) > MAX_SEGMENTS:
        return f"has more than {MAX_SEGMENTS} parts"
    if selector is None:
        return None
    if not selector.endswith("]"):
        return "has a bracket in its middle: a range ends a name; a bracket that is part of one is written [["
    found = _SELECTOR.fullmatch(selector[1:-1])
    wrong = "selects {}: write [from:to] with from < to, or [part/parts] with part < parts"
    if found is None:
        shown = selector.replace(HOLE, "{…}")
        return f"{wrong.format(shown)}; a bracket that is part of one is written [["
    if HOLE not in selector and int(found[1]) >= int(found[3]):
        return wrong.format(selector)
    return None


def _selector(skeleton: str) -> tuple[str, str | None]:
    for found in _BRACKETS.finditer(skeleton):
        if found[0] == "[":
            return skeleton[: found.start()], skeleton[found.start() :]
    return skeleton, None


def _shortened(path: str) -> str:
    return path[:-1] if len(path) > 1 and path.endswith("/") else path


def plain(name: str) -> str:
    """Return a name without holes as it is meant: what is doubled in it once."""
    return name.replace("{{", "{").replace("}}", "}").replace("[[", "[")


def escaped(text: str) -> str:
    """Return a text as names hold it."""
    return text.replace("{", "{{").replace("}", "}}").replace("[", "[[")


def _bound(whole: Asset, bound: object) -> str:
    if isinstance(bound, str) and [*holes(bound)]:
        return bound
    if type(bound) is not int or bound < 0:
        raise TypeError(f"{whole!r}[...]: {bound!r} is no bound of a range; give whole numbers from 0 on")
    return str(bound)
