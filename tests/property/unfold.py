"""A definition with its choices, iterations and nested blocks written out, as the oracle of races needs it.

What is left is a process: steps' accesses with their names as far as they are known (`Act`), members
under an order (`Par`), alternatives (`Alt`), bodies that may fail anywhere (`Try`) and branches of which some
complete (`First`). Every instance of a block has a key of its own, so that equal holes are equal values.

What the format leaves open is read like this:

- A name's hole and a value that is accessed order steps as bindings do: who needs a result waits for it.
- A condition, the items of an each, the inputs of a workflow and the first state of a loop are read at a
  moment before the body (a loop's condition before each iteration and after the last). A result of a
  block that has to be evaluated is read after the steps that it names, beside the others; one that only
  hands on whole results, when the block ends. These reads are at the path of the block: that of the
  step that owns it, and which of its branches it is.
- In an expression that is no plain path each path is read by itself. A hole reads nothing: a name is a text.
- An input of a sub-workflow that is bound to a path or an expression is that, for holes and for values;
  bound to a text or a whole number, it is that text. Bound to anything else its holes are equal in one
  instance. So are those of a workflow that begins itself, whose inputs are not followed.
- An item is a part of the list that the each goes through, where that is a value; states, and inputs
  that are not followed, are values by themselves.
- A sub-workflow sees local assets of its own only, as it sees its own steps only.
- A recursion at the bound of this oracle does nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.property import names
from tests.property.layout import (
    Json,
    Layout,
    Parts,
    as_block,
    begins,
    closed,
    declared,
    expressions,
    kind_of,
    own,
    path_of,
    paths_in,
    steps_of,
)

Key = tuple[Any, ...]

TIMES = 2
"""How often a loop goes round, an each begins and a workflow begins itself, at most."""


@dataclass(frozen=True)
class Use:
    """What one step does to one asset; `index` counts what it declares, and is -1 for other reads."""

    index: int
    mode: str
    name: names.Name
    operation: str = ""


@dataclass(frozen=True)
class Act:
    """A step of the definition, or a moment at which it reads."""

    path: str
    uses: tuple[Use, ...]


@dataclass(frozen=True)
class Par:
    """Members, and which of them are before which: all pairs."""

    members: tuple[Process, ...]
    before: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True)
class Alt:
    options: tuple[Process, ...]


@dataclass(frozen=True)
class Try:
    body: Process
    handler: Process


@dataclass(frozen=True)
class First:
    count: int
    branches: tuple[Process, ...]


Process = Act | Par | Alt | Try | First

NOTHING = Par(())


def seq(*members: Process) -> Process:
    return par(members, itertools.combinations(range(len(members)), 2))


def par(members: Iterable[Process], before: Iterable[tuple[int, int]] = ()) -> Process:
    """Put members together; those that access nothing are left out, as `before` has all pairs."""
    every = [*members]
    kept = [at for at, it in enumerate(every) if it != NOTHING]
    number = {at: new for new, at in enumerate(kept)}
    pairs = frozenset((number[a], number[b]) for a, b in before if a in number and b in number)
    return every[kept[0]] if len(kept) == 1 else Par(tuple(every[at] for at in kept), pairs)


def alt(options: Iterable[Process]) -> Process:
    once = tuple(dict.fromkeys(options))
    return once[0] if len(once) == 1 else Alt(once)


# ---------------------------------------------------------------------------------------- scopes


@dataclass(frozen=True)
class Call:
    """A workflow that has begun: what it is called, its body, its inputs and whence they come.

    Without a caller, nothing is known of its inputs.
    """

    name: str
    path: str
    body: Json
    inputs: Mapping[str, Any] = field(default_factory=dict)
    caller: Scope | None = None
    depth: int = 0


@dataclass(frozen=True)
class Frame:
    """An instance of a block: the names that those inside it see."""

    key: Key
    ids: frozenset[str] = frozenset()
    item: str = ""
    items: names.Name | None = None
    state: str = ""
    call: Call | None = None
    error: bool = False
    born: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scope:
    """Frames from the outermost to the innermost; declared assets that lie in others."""

    frames: tuple[Frame, ...]
    within: Mapping[names.Name, names.Name]

    def inside(self, frame: Frame) -> Scope:
        return Scope((*self.frames, frame), self.within)

    def calls(self, name: str) -> tuple[int, Call]:
        """The nearest workflow of a name that has begun, and its place."""
        for at, frame in reversed([*enumerate(self.frames)]):
            if frame.call is not None and frame.call.name == name:
                return at, frame.call
        raise AssertionError(f"nothing is called {name}")

    def lookup(self, root: str, parts: Parts) -> tuple[str, Any, Parts]:
        """What a path means: a constant, or the key of a value and the parts of it."""
        for frame in reversed(self.frames):
            if root == "steps" and parts and parts[0] in frame.ids:
                return "value", ("step", frame.key, parts[0]), parts[1:]
            for name, kind in ((frame.item, "index"), (frame.state, "iteration")):
                if name and root == name:
                    return "value", ("held", frame.key), parts
                if name and root == f"{name}_{kind}":
                    return "other", (kind, frame.key), parts
            if frame.error and root == "error":
                return "other", ("error", frame.key), parts
            if frame.call is not None:
                if root == "input" and parts:
                    return self._input(frame, frame.call, str(parts[0]), parts[1:])
                break
        return "other", (root,), parts

    def _input(self, frame: Frame, call: Call, name: str, parts: Parts) -> tuple[str, Any, Parts]:
        own = ("input", frame.key, name)
        if call.caller is None:
            return "value", own, parts
        given = call.inputs[name]
        if isinstance(given, dict) and [*given] == ["$"]:
            if path := path_of(given["$"]):
                return call.caller.lookup(path[0], path[1] + parts)
            return "other", own if parts else call.caller.hole(given["$"]), parts
        if isinstance(given, (str, int)) and not isinstance(given, bool) and not parts:
            return "constant", str(given), ()
        return "other", own, parts

    def hole(self, text: str) -> names.Piece:
        """What stands for a hole in a name."""
        if path := path_of(text):
            kind, key, parts = self.lookup(*path)
            return key if kind == "constant" or key[0] == "hole" else ("hole", key, parts)
        return ("hole", text, tuple(self.lookup(*it) for it in paths_in(text)))

    def name(self, given: Any) -> names.Name | None:
        """The name of an asset; None for a value that is none."""
        if isinstance(given, dict):
            path = path_of(given["$"])
            assert path is not None, "a value is accessed by a plain path"
            return self.value(*path)
        found = names.parse(given, self.hole)
        for frame in reversed(self.frames):
            for born in frame.born:
                prefix = names.parse(born, str)
                if found[: len(prefix)] == prefix:
                    return (("local", frame.key, born), *found[len(prefix) :])
            if frame.call is not None:
                break
        return self._placed(found)

    def _placed(self, found: names.Name) -> names.Name:
        """A name with that in front in which its asset lies, where its declaration says so."""
        inside = [it for it in self.within if found[: len(it)] == it]
        if not inside:
            return found
        longest = max(inside, key=len)
        return (*self._placed(self.within[longest]), ("within", longest), *found[len(longest) :])

    def value(self, root: str, parts: Parts) -> names.Name | None:
        kind, key, rest = self.lookup(root, parts)
        if kind != "value":
            return None
        fields = (("field", part) for part in rest)
        for frame in self.frames:
            if key == ("held", frame.key) and frame.items is not None:
                return (*frame.items, ("item", frame.key), *fields)
        return (("value", key), *fields)

    def reads(self, texts: Iterable[str]) -> list[Use]:
        """What expressions read by themselves."""
        found = [self.value(*path) for text in texts for path in paths_in(text)]
        return [Use(-1, "reads", name) for name in dict.fromkeys(found) if name is not None]


# -------------------------------------------------------------------------------------- unfolding


def unfold(definition: Json) -> Process:
    """All that a definition may do."""
    within = {
        names.parse(name, str): names.parse(asset["within"], str)
        for name, asset in definition.get("assets", {}).items()
        if "within" in asset
    }
    body: Json = {key: definition[key] for key in ("term", "result", "locals") if key in definition}
    call = Call(definition["name"], "", body)
    return _block(body, Scope((), within), Frame(("",), call=call), "")


def _act(path: str, uses: Iterable[Use]) -> Process:
    found = tuple(dict.fromkeys(uses))
    return Act(path, found) if found else NOTHING


def _block(block: Any, scope: Scope, frame: Frame, prefix: str) -> Process:
    block = as_block(block)
    layout = Layout(block["term"])
    born = tuple(block.get("locals", ()))
    inside = scope.inside(replace(frame, ids=frozenset(layout.ids), born=born))
    members = [
        Unfolding(step, name, inside, prefix).process()
        for step, name in zip(layout.steps, layout.ids, strict=True)
    ]
    order = layout.order()
    if "result" in block:
        texts = [*expressions(block["result"])]
        last = len(members)
        whole = all(map(_handed_on, texts))
        order = closed(
            order | {(at, last) for at in range(last) if whole or layout.ids[at] in steps_of(texts)}
        )
        members.append(_act(prefix.removesuffix("/"), inside.reads(texts)))
    return par(members, order)


def _handed_on(text: str) -> bool:
    """Whether an expression is a whole result, which nothing has to be evaluated for."""
    path = path_of(text)
    return path is not None and path[0] != "vars" and len(path[1]) == (path[0] in ("steps", "input"))


@dataclass
class Unfolding:
    """A step that is unfolded."""

    step: Json
    id: str
    scope: Scope
    prefix: str

    def __post_init__(self) -> None:
        self.path = f"{self.prefix}{self.id}"
        self.key = (*self.scope.frames[-1].key, self.id)

    def process(self) -> Process:
        found: Process = getattr(self, f"_{kind_of(self.step)}")()
        return found

    def _inside(self, block: Any, *key: Any, prefix: str = "", **frame: Any) -> Process:
        return _block(block, self.scope, Frame((*self.key, *key), **frame), f"{self.path}/{prefix}")

    def _reading(self, *bindings: Any) -> Process:
        return _act(self.path, self.scope.reads(text for it in bindings for text in expressions(it)))

    def _task(self) -> Process:
        uses = self.scope.reads(own(self.step, accesses=False))
        for index, (mode, given, operation) in enumerate(declared(self.step)):
            if name := self.scope.name(given):
                uses.append(Use(index, mode, name, operation))
        return _act(self.path, uses)

    def _choice(self) -> Process:
        branches = [
            self._inside(it["then"], at, prefix=f"{at}/") for at, it in enumerate(self.step["choice"])
        ]
        otherwise = (
            self._inside(self.step["else"], "else", prefix="else/") if "else" in self.step else NOTHING
        )
        return seq(_act(self.path, self.scope.reads(own(self.step))), alt([*branches, otherwise]))

    def _loop(self) -> Process:
        name = self.step.get("as", "state")

        def condition(turn: int) -> Process:
            seen = self.scope.inside(Frame((*self.key, turn), state=name))
            return _act(self.path, seen.reads([self.step["while"]]))

        times = TIMES if self.step.get("max") is None else min(TIMES, self.step["max"])
        turns = [
            it
            for turn in range(times)
            for it in (self._inside(self.step["loop"], turn, state=name), condition(turn + 1))
        ]
        begin = seq(self._reading(self.step.get("init")), condition(0))
        return alt(seq(begin, *turns[: 2 * count]) for count in range(times + 1))

    def _each(self) -> Process:
        items = self.step["each"]
        path = path_of(items["$"]) if isinstance(items, dict) and [*items] == ["$"] else None
        name, within = self.step.get("as", "item"), self.scope.value(*path) if path else None
        bodies = [self._inside(self.step["do"], at, item=name, items=within) for at in range(TIMES)]
        counts = range(TIMES + 1)
        constant = items["$const"] if isinstance(items, dict) and [*items] == ["$const"] else items
        if isinstance(constant, list) and not [*expressions(constant)]:
            counts = range(min(TIMES, len(constant)), min(TIMES, len(constant)) + 1)
        together: Callable[..., Process] = seq if self.step.get("limit") == 1 else lambda *them: par(them)
        return seq(self._reading(items), alt(together(*bodies[:count]) for count in counts))

    def _workflow(self) -> Process:
        name, given = self.step["workflow"], self.step.get("with", {})
        begin = self._reading(given)
        if "do" in self.step:
            body = as_block(self.step["do"])
            caller = None if begins(body["term"], name) else self.scope
            call = Call(name, f"{self.path}/", body, given, caller)
            return seq(begin, self._inside(body, call=call))
        at, call = self.scope.calls(name)
        if call.depth >= min(TIMES, self.step["max_depth"]):
            return begin
        again = replace(call, depth=call.depth + 1)
        outside = Scope(self.scope.frames[:at], self.scope.within)
        return seq(begin, _block(call.body, outside, Frame(self.key, call=again), call.path))

    def _timeout(self) -> Process:
        return self._inside(self.step["do"])

    def _try(self) -> Process:
        body, handler = (
            self._inside(self.step["try"], "try"),
            self._inside(self.step["catch"], "catch", prefix="catch/", error=True),
        )
        return alt([NOTHING, handler]) if body == NOTHING else Try(body, handler)

    def _first(self) -> Process:
        branches = [self._inside(it, at, prefix=f"{at}/") for at, it in enumerate(self.step["of"])]
        if all(it == NOTHING for it in branches):
            return NOTHING
        # What accesses nothing takes its time as well.
        return First(
            self.step["first"], tuple(Act(self.path, ()) if it == NOTHING else it for it in branches)
        )

    def _sleep(self) -> Process:
        return self._reading(self.step["sleep"])

    def _signal(self) -> Process:
        return NOTHING
