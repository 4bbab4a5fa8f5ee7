"""The blocks of a definition: their steps, what these are called and need, and which are before which."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any

from tests.property import names

Json = dict[str, Any]

KINDS = (
    *("task", "sequence", "parallel", "partial", "choice", "loop", "each", "workflow", "timeout", "try"),
    *("sleep", "signal", "first"),
)


# ------------------------------------------------------------------------------------ expressions

PATH = re.compile(r"""([A-Za-z_]\w*)((?:\s*\.\s*[A-Za-z_]\w*|\s*\[\s*(?:"[^"]*"|'[^']*'|\d+)\s*\])*)""")
PART = re.compile(r"""\.\s*(\w+)|\[\s*(?:"([^"]*)"|'([^']*)'|(\d+))\s*\]""")
WORDS = {"true", "false", "null", "in"}

Parts = tuple[str | int, ...]


def _parts(text: str) -> Parts:
    return tuple(
        int(number) if number else word or double or single
        for word, double, single, number in PART.findall(text)
    )


def path_of(text: str) -> tuple[str, Parts] | None:
    """The root and the parts of an expression that is a plain path."""
    found = PATH.fullmatch(text.strip())
    return None if found is None or found[1] in WORDS else (found[1], _parts(found[2]))


def paths_in(text: str) -> list[tuple[str, Parts]]:
    """All paths that an expression reads."""
    found, at = [], 0
    while at < len(text):
        if text[at] in "\"'":
            at = text.index(text[at], at + 1) + 1
        elif (match := PATH.match(text, at)) and (at == 0 or not re.match(r"[\w.]", text[at - 1])):
            called = text[match.end() :].lstrip().startswith("(")
            parts = _parts(match[2])
            if match[1] not in WORDS and not (called and not parts):
                # `steps.a.rows.size()` reads `steps.a.rows`.
                found.append((match[1], parts[:-1] if called else parts))
            at = match.end()
        else:
            at += 1
    return found


def expressions(binding: Any) -> Iterator[str]:
    """All expressions in a binding."""
    if isinstance(binding, list):
        for it in binding:
            yield from expressions(it)
    elif isinstance(binding, dict):
        if [*binding] == ["$"]:
            yield binding["$"]
        elif [*binding] != ["$const"]:
            for it in binding.values():
                yield from expressions(it)


def declared(step: Json) -> list[tuple[str, Any, str]]:
    """The accesses of a task: mode, name, operation."""
    found = []
    for mode in ("reads", "writes", "takes"):
        given = step.get(mode, [])
        found += [(mode, name, "") for name in (given if isinstance(given, list) else [given])]
    return found + [("reduces", name, operation) for name, operation in step.get("reduces", {}).items()]


def _holes(name: Any) -> list[str]:
    """The expressions in a name."""
    return [name["$"]] if isinstance(name, dict) else names.holes(name)


# ----------------------------------------------------------------------------------------- blocks


def kind_of(term: Any) -> str:
    return "sequence" if isinstance(term, list) else next(it for it in KINDS if it in term)


def as_block(block: Any) -> Json:
    return block if isinstance(block, dict) and "term" in block else {"term": block}


def _inner(term: Json) -> list[Any]:
    """The blocks of a step that see the names round it."""
    kind = kind_of(term)
    if kind == "choice":
        return [it["then"] for it in term["choice"]] + ([term["else"]] if "else" in term else [])
    if kind == "loop":
        return [term["loop"]]
    if kind in ("each", "timeout"):
        return [term["do"]]
    if kind == "try":
        return [term["try"], term["catch"]]
    return [*term["of"]] if kind == "first" else []


def own(term: Json, *, accesses: bool = True) -> list[str]:
    """The expressions that a step itself evaluates, with or without those in its accesses."""
    kind = kind_of(term)
    found = [*expressions(term.get("args", [])), *expressions(term.get("with", {}))]
    found += [*term.get("set", {}).values(), *expressions(term.get("init"))]
    if accesses:
        found += [hole for _, name, _ in declared(term) for hole in _holes(name)]
    if kind == "choice":
        found += [branch["if"] for branch in term["choice"]]
    if kind == "loop":
        found.append(term["while"])
    if kind in ("each", "sleep"):
        found += expressions(term[kind])
    return found


def _wanted(term: Any) -> set[str]:
    """The ids of steps outside a term that it refers to."""
    if isinstance(term, list) or kind_of(term) in ("sequence", "parallel", "partial"):
        members = term if isinstance(term, list) else term[kind_of(term)]
        return set().union(*map(_wanted, members))
    found = steps_of(own(term))
    for block in map(as_block, _inner(term)):
        inside = _wanted(block["term"]) | steps_of(expressions(block.get("result")))
        found |= inside - {*Layout(block["term"]).ids}
    return found


def begins(term: Any, name: str) -> bool:
    """Whether a body begins the workflow of a name once more."""
    if isinstance(term, list) or kind_of(term) in ("sequence", "parallel", "partial"):
        return any(begins(it, name) for it in (term if isinstance(term, list) else term[kind_of(term)]))
    if kind_of(term) == "workflow" and term["workflow"] == name:
        return "max_depth" in term
    inner = [*_inner(term), *([term["do"]] if kind_of(term) == "workflow" and "do" in term else [])]
    return any(begins(as_block(it)["term"], name) for it in inner)


def steps_of(texts: Iterable[str]) -> set[str]:
    return {str(parts[0]) for text in texts for root, parts in paths_in(text) if root == "steps" and parts}


class Layout:
    """The steps of a block, what they are called, and which are before which."""

    def __init__(self, term: Any) -> None:
        self.steps: list[Json] = []
        self._collect(term)
        self.ids = self._names()
        self._at = 0
        self.before: set[tuple[int, int]] = set()
        self._lay(term)

    def _collect(self, term: Any) -> None:
        kind = kind_of(term)
        if kind in ("sequence", "parallel", "partial"):
            for member in term if isinstance(term, list) else term[kind]:
                self._collect(member)
        else:
            self.steps.append(term)

    def _names(self) -> list[str]:
        taken = {step["id"] for step in self.steps if "id" in step}
        found = []
        for step in self.steps:
            kind = kind_of(step)
            base = step[kind] if kind in ("task", "workflow", "signal") else kind
            base = re.sub(r"[/\[\]]", "_", base).lstrip("$") or "step"
            name = step.get("id") or next(
                it
                for it in itertools.chain([base], (f"{base}_{n}" for n in itertools.count(2)))
                if it not in taken
            )
            taken.add(name)
            found.append(name)
        return found

    def _lay(self, term: Any) -> list[int]:
        kind = kind_of(term)
        if kind not in ("sequence", "parallel", "partial"):
            self._at += 1
            return [self._at - 1]
        members = term if isinstance(term, list) else term[kind]
        laid = [self._lay(member) for member in members]
        order: set[tuple[int, int]] = set()
        if kind == "sequence":
            order = {*itertools.combinations(range(len(laid)), 2)}
        if kind == "partial":
            owner = {self.ids[step]: at for at, steps in enumerate(laid) for step in steps}
            order = {(owner[name], at) for at, it in enumerate(members) for name in it.get("after", ())}
        for a, b in closed(order):
            self.before |= {*itertools.product(laid[a], laid[b])}
        return [step for steps in laid for step in steps]

    def order(self) -> set[tuple[int, int]]:
        """Which steps are before which, by the terms and by what they need."""
        number = {name: at for at, name in enumerate(self.ids)}
        needs = {
            (number[it], at) for at, step in enumerate(self.steps) for it in _wanted(step) if it in number
        }
        return closed(self.before | needs)


def closed(order: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """An order with all that follows from it."""
    found = {*order}
    while more := {(a, d) for a, b in found for c, d in found if b == c} - found:
        found |= more
    assert all(a != b for a, b in found), "steps wait for each other"
    return found
