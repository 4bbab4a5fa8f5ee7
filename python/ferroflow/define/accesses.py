"""Accesses: what a task declares to read, write, take and reduce, and what of it a step has."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ferroflow.define.assets import MAX_BYTES, Asset, Value, escaped, holes, refuse
from ferroflow.define.paths import plain
from ferroflow.define.refs import Expr, Ref
from ferroflow.define.sites import Mark
from ferroflow.define.trace import Block, constant
from ferroflow.errors import DefinitionError

ORDER = ("reads", "writes", "takes", "reduces")
MODES = frozenset(ORDER)

Access = str | Asset | Value
Accesses = Access | Sequence[Access]
Reductions = Mapping[str | Asset, str]

_HOLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)((?:\.[A-Za-z_][A-Za-z0-9_]*|\[\d+\])*)")
_PLAIN = re.compile("[A-Za-z0-9_-]+")
_SELECTION = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]")


class Hole(NamedTuple):
    """A parameter of the task, and what of it: names and positions."""

    parameter: str
    selection: tuple[str | int, ...]
    text: str


class Item(NamedTuple):
    """One access that is declared."""

    mode: str
    name: str
    """The template; of a value the name of its parameter."""
    pieces: tuple[str | Hole, ...]
    asset: Asset | None
    value: str | None
    operation: str | None
    origin: Mark | None
    """Where it is declared."""
    number: int
    """Which one of those of its mode."""
    is_plain: bool = False
    """Whether words make a name of it: it selects nothing."""


class Declared:
    """The accesses that a task declares."""

    __slots__ = ("_fixed", "is_open", "items", "modes", "roots", "task")

    def __init__(self, task: str, modes: tuple[str, ...], items: tuple[Item, ...]) -> None:
        self.task, self.modes, self.items = task, modes, items
        self.roots = tuple({it.asset.root: None for it in items if it.asset is not None})
        self.is_open = any(it.value is not None or len(it.pieces) > 1 for it in items)
        self._fixed: tuple[dict[str, Any], Sequence[int]] | None = None

    def filled(
        self, bound: inspect.BoundArguments, here: Block | None
    ) -> tuple[dict[str, Any], Sequence[int], tuple[Asset, ...]]:
        """Return the fields of a step that is called so, where their accesses are from, and its assets."""
        renamed = here is not None and bool(here.root.renames)
        if self.is_open:
            bound.apply_defaults()
        elif self._fixed is not None and not renamed:
            fields, sources = self._fixed
            return fields, sources, self.roots
        fields = {mode: {} if mode == "reduces" else [] for mode in self.modes}
        sources = []
        given: dict[Asset, None] = {}
        for at, item in enumerate(self.items):
            if item.value is not None:
                made: list[Any] = [{"$": path} for path in _values(bound.arguments[item.value])]
            else:
                made = [self._name(item, bound, here if renamed else None, given)]
            sources += [at] * len(made)
            if item.operation is None:
                fields[item.mode] += made
            elif fields[item.mode].setdefault(made[0], item.operation) != item.operation:
                raise DefinitionError(f'task {self.task!r} reduces "{made[0]}" by two operations at once')
        if not self.is_open and not renamed:
            self._fixed = fields, sources
        return fields, sources, (*self.roots, *given)

    def _name(
        self, item: Item, bound: inspect.BoundArguments, here: Block | None, given: dict[Asset, None]
    ) -> str:
        first, *more = item.pieces
        assert isinstance(first, str)
        if here is not None and item.asset is None:
            first = here.renamed(first)
        if not more:
            return first
        parts, sure = [first], item.is_plain
        for piece in more:
            if isinstance(piece, str):
                parts.append(piece)
                continue
            try:
                value = _selected(bound.arguments[piece.parameter], piece)
                text = _text(value)
            except DefinitionError as error:
                place = f'task {self.task!r} {item.mode} "{item.name}", but {{{piece.text}}}'
                raise DefinitionError(f"{place} {error}") from None
            if type(value) is Asset:
                given[value.root] = None
            sure = sure and _PLAIN.fullmatch(text) is not None
            parts.append(text)
        name = "".join(parts)
        if sure and len(name) <= MAX_BYTES // 4:
            return name
        try:
            refuse(name)
        except DefinitionError as error:
            raise DefinitionError(f'task {self.task!r} {item.mode} "{item.name}": {error}') from None
        return name


def declared(
    task: str,
    fn: Callable[..., Any],
    options: Mapping[str, Any],
    origin: Mark | None,
    before: Declared | None,
) -> Declared | None:
    """Return the accesses among options, with those declared before that they leave as they were."""
    given = [mode for mode in ORDER if mode in options]
    if not given:
        return before
    parameters = [*inspect.signature(fn).parameters]
    items: list[Item] = []
    for mode in ORDER:
        if mode in given:
            for number, (access, operation) in enumerate(_listed(task, mode, options[mode])):
                items.append(_item(task, mode, access, operation, parameters, origin, number))
        elif before is not None:
            items += [it for it in before.items if it.mode == mode]
    modes = tuple(mode for mode in ORDER if mode in given or (before is not None and mode in before.modes))
    return Declared(task, modes, tuple(items))


def _listed(task: str, mode: str, given: object) -> Iterator[tuple[object, str | None]]:
    if mode == "reduces":
        if not isinstance(given, Mapping):
            raise TypeError(
                f'task {task!r}: reduces={given!r}: give the operation of each, {{"totals": "sum"}}'
            )
        for access, operation in given.items():
            if not isinstance(operation, str) or not operation:
                raise TypeError(
                    f"task {task!r}: reduces {access!r}: {operation!r} is no name of an operation"
                )
            if isinstance(access, Value):
                raise TypeError(
                    f"task {task!r} can't reduce {access!r}: what a step yields is made once; "
                    "reduce a named asset"
                )
            yield access, operation
    elif isinstance(given, (str, Asset, Value)):
        yield given, None
    elif isinstance(given, Sequence):
        for access in given:
            yield access, None
    else:
        yield given, None


def _item(
    task: str,
    mode: str,
    access: object,
    operation: str | None,
    parameters: list[str],
    origin: Mark | None,
    number: int,
) -> Item:
    if isinstance(access, Value):
        _known(task, mode, access.parameter, f"ff.value({access.parameter!r})", parameters)
        return Item(mode, access.parameter, (), None, access.parameter, operation, origin, number)
    asset = access if isinstance(access, Asset) else None
    name = asset.name if asset else access
    if not isinstance(name, str):
        raise TypeError(
            f"task {task!r}: {mode}={access!r}: give the name of an asset, ff.asset(...), "
            "ff.value(...), or a list of these"
        )
    try:
        refuse(name)
        pieces = tuple(_pieces(task, mode, name, parameters))
    except DefinitionError as error:
        if str(error).startswith(f"task {task!r}"):
            raise
        raise DefinitionError(f"task {task!r} {mode} {error}") from None
    return Item(mode, name, pieces, asset, None, operation, origin, number, "[" not in name)


def _pieces(task: str, mode: str, name: str, parameters: list[str]) -> Iterator[str | Hole]:
    at = 0
    for start, end, inside in holes(name):
        found = _HOLE.fullmatch(inside)
        if found is None:
            raise DefinitionError(
                f"{name!r} has a hole {{{inside}}}: name a parameter, or what is in one, "
                "as {order.id} or {days[0]}"
            )
        _known(task, mode, found[1], f'"{name}"', parameters)
        selection = tuple(key or int(index) for key, index in _SELECTION.findall(found[2]))
        yield name[at:start]
        yield Hole(found[1], selection, inside)
        at = end
    if at < len(name) or at == 0:
        yield name[at:]


def _known(task: str, mode: str, parameter: str, text: str, parameters: list[str]) -> None:
    if parameter in parameters:
        return
    from difflib import get_close_matches

    close = get_close_matches(parameter, parameters, 1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    has = f"it has {', '.join(parameters)}" if parameters else "it has none"
    raise DefinitionError(
        f"task {task!r} has no parameter {parameter!r}, which {mode}={text} names: {has}{meant}"
    )


def _selected(value: Any, hole: Hole) -> Any:
    for key in hole.selection:
        if isinstance(value, Ref):
            dotted = isinstance(key, str) and plain(key)
            value = Ref(value._block, f"{value._path}.{key}", value._step) if dotted else value[key]
        elif isinstance(value, Expr):
            value = Expr(f"({value.text}){f'.{key}' if isinstance(key, str) else f'[{key}]'}", value.refs)
        else:
            try:
                value = (
                    value[key] if isinstance(key, int) or isinstance(value, Mapping) else getattr(value, key)
                )
            except (LookupError, AttributeError, TypeError):
                raise DefinitionError(f"selects {key!r}, which is not in {value!r}") from None
    return value


def _text(value: object) -> str:
    """Return what stands in a name for an argument."""
    if isinstance(value, Ref):
        # In a path, braces can only be in texts.
        path = value._path.replace("{", r"\u007b").replace("}", r"\u007d")
        return f"{{{path}}}"
    if isinstance(value, Expr):
        if "{" in value.text or "}" in value.text:
            raise DefinitionError(f"is the expression {value.text}, and a hole holds none with braces")
        return f"{{{value.text}}}"
    if isinstance(value, Asset):
        return value.name
    found = value if type(value) is str or type(value) is int else constant(value)
    if isinstance(found, bool) or not isinstance(found, (str, int)):
        raise DefinitionError(
            f"is {value!r}, a {type(value).__name__}: only a text or a whole number makes a name"
        )
    if found == "":
        raise DefinitionError("is an empty text")
    return escaped(str(found))


def _values(value: object) -> Iterator[str]:
    """Go through the values that an argument stands for; what is computed from them belongs to nobody."""
    if isinstance(value, Ref):
        yield value._path
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _values(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _values(item)
