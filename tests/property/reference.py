"""What a definition means, said as plainly as possible: no threads, no graph, no log."""

from __future__ import annotations

import json
import re
from collections import ChainMap
from collections.abc import Iterable, Mapping
from typing import Any

import ferroflow as ff
from tests.property import strategies

Json = dict[str, Any]


class Failed(Exception):
    """A term fails; which code it has depends on which of its steps fails first."""

    def __init__(self, codes: Iterable[str]) -> None:
        self.codes = frozenset(codes)


class Never(Exception):
    """A term does not end."""


class Fields:
    """A mapping whose keys are read as attributes, as CEL reads them."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def __getattr__(self, name: str) -> Any:
        return self._fields[name]


class Scope:
    """The names that expressions see in a block."""

    def __init__(self, names: Json, steps: ChainMap[str, Any]) -> None:
        self.names, self.steps = names, steps

    def inside(self, **names: Any) -> Scope:
        return Scope({**self.names, **names}, self.steps.new_child())

    def evaluate(self, text: str) -> Any:
        names = {"true": True, "false": False, "steps": Fields(self.steps), **self.names}
        return eval(text, {"__builtins__": {}}, names)  # what is drawn is Python as well as CEL

    def bind(self, binding: Any) -> Any:
        if isinstance(binding, list):
            return [self.bind(it) for it in binding]
        if isinstance(binding, dict):
            if [*binding] == ["$"]:
                return self.evaluate(binding["$"])
            return {key: self.bind(it) for key, it in binding.items()}
        return binding


def run(definition: Json, inputs: Json) -> Any:
    """What the definition yields; raises `Failed`."""
    body = {key: definition[key] for key in ("term", "result") if key in definition}
    return block(body, Scope({"input": Fields(inputs)}, ChainMap()))


def block(body: Any, scope: Scope) -> Any:
    """What a block yields; the scope is its own."""
    whole = body if isinstance(body, dict) and "term" in body else {"term": body}
    sinks = term(whole["term"], scope)
    if "result" in whole:
        return scope.bind(whole["result"])
    if len(sinks) == 1:
        return scope.steps[sinks[0]]
    return {sink: scope.steps[sink] for sink in sinks} or None


def term(found: Any, scope: Scope) -> list[str]:
    """Do a term; return the ids of the steps that nothing in it follows."""
    if isinstance(found, list):
        found = {"sequence": found}
    if "sequence" in found:
        sinks: list[str] = []
        for member in found["sequence"]:
            sinks = term(member, scope) or sinks
        return sinks
    if "parallel" in found:
        ends, codes = [], set[str]()
        for member in found["parallel"]:
            try:
                ends += term(member, scope)
            except Failed as failed:
                codes |= failed.codes
        if codes:
            raise Failed(codes)
        return ends
    if "partial" in found:
        return partial(found["partial"], scope)
    scope.steps[found["id"]] = step(found, scope)
    return [found["id"]]


def partial(members: list[Json], scope: Scope) -> list[str]:
    ids = {member["id"] for member in members}
    needs = {
        member["id"]: ids & ({*member.get("after", ())} | {*re.findall(r"steps\.(\w+)", json.dumps(member))})
        for member in members
    }
    failed, codes = set[str](), set[str]()
    for member in members:  # each names only members before it
        if needs[member["id"]] & failed:
            failed.add(member["id"])
            continue
        try:
            term(member, scope)
        except Failed as error:
            failed.add(member["id"])
            codes |= error.codes
    if codes:
        raise Failed(codes)
    followed = set[str]().union(*needs.values())
    return [member["id"] for member in members if member["id"] not in followed]


def all_of(blocks: Iterable[tuple[Any, Scope]]) -> list[Any]:
    """What each block yields; fails if one of them does."""
    values, codes = [], set[str]()
    for body, scope in blocks:
        try:
            values.append(block(body, scope))
        except Failed as failed:
            codes |= failed.codes
    if codes:
        raise Failed(codes)
    return values


def step(found: Json, scope: Scope) -> Any:
    if "task" in found:
        return task(found, scope)
    if "sleep" in found:
        return None
    if "signal" in found:
        raise Never
    if "timeout" in found:
        return block(found["do"], scope.inside())
    if "workflow" in found:
        return block(found["do"], Scope({"input": Fields(scope.bind(found["with"]))}, ChainMap()))
    if "choice" in found:
        for branch in found["choice"]:
            if scope.evaluate(branch["if"]):
                return block(branch["then"], scope.inside())
        return block(found["else"], scope.inside()) if "else" in found else None
    if "loop" in found:
        state, name = scope.bind(found["init"]), found["as"]
        for iteration in range(found["max"] + 1):
            inner = scope.inside(**{name: state, f"{name}_iteration": iteration})
            if not inner.evaluate(found["while"]):
                return state
            if iteration == found["max"]:
                raise Failed(["LOOP_BOUND"])
            state = block(found["loop"], inner)
    if "each" in found:
        name = found["as"]
        return all_of(
            (found["do"], scope.inside(**{name: item, f"{name}_index": index}))
            for index, item in enumerate(scope.bind(found["each"]))
        )
    if "try" in found:
        try:
            return block(found["try"], scope.inside())
        except Failed as failed:
            error = Fields({"code": min(failed.codes)})
            return block(found["catch"], scope.inside(error=error))
    return first(found, scope)


def first(found: Json, scope: Scope) -> Any:
    values, codes = [], set[str]()
    for body in found["of"]:
        try:
            values.append(block(body, scope.inside()))
        except Failed as failed:
            codes |= failed.codes
        except Never:
            pass
    if len(values) < found["first"]:
        raise Failed(codes)
    assert len(values) == found["first"], "which of them are first would be open"
    return values[0] if found["first"] == 1 else values


def task(found: Json, scope: Scope) -> Any:
    args, kwargs = scope.bind(found.get("args", [])), scope.bind(found.get("with", {}))
    match found["task"]:
        case "prop.spread":
            return strategies.spread(*args)
        case "prop.flaky":
            for attempt in range(1, found["options"]["retry"]["max_retries"] + 2):
                try:
                    return strategies.flaky(attempt, **kwargs)
                except ff.Fail as failed:
                    code = failed.code
            raise Failed([code])
    return strategies.scramble(*args)
