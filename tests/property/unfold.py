"""A definition with its choices, iterations and nested blocks written out, as the oracle of races needs it.

What is left is a process: steps' accesses with their names as far as they are known (`Act`), members
under an order (`Par`), alternatives (`Alt`), bodies that may fail anywhere (`Try`) and branches of which some
complete (`First`). Every instance of a block has a key of its own, so that equal holes are equal values.

What the format leaves open is read like this:

- A name's hole and a value that is accessed order steps as bindings do: who needs a result waits for it.
- A condition, the items of an each, the inputs of a workflow and the first state of a loop are read at a moment
  before the body (a loop's condition before each iteration and after the last). A result of a block that
  has to be evaluated is read after the steps that it names, beside the others; one that only hands on
  whole results, when the block ends. These reads are those of the step that owns the block.
- In an expression that is no plain path each path is read by itself.
- An input of a sub-workflow that is bound to a path is that path, for holes and for values; bound to a
  text or a whole number, it is that text. Bound to anything else its holes are equal in one instance.
- Items, states and the inputs of the whole workflow are values that can be taken, each one by itself: an
  item is no part of the list.
- A recursion at the bound of this oracle does nothing.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.property import names

Json = dict[str, Any]
Key = tuple[Any, ...]

TIMES = 2
"""How often a loop goes round, an each begins and a workflow begins itself, at most."""

KINDS = ("task", "sequence", "parallel", "partial", "choice", "loop", "each", "workflow", "timeout", "try", "sleep",
         "signal", "first")  # fmt: skip


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


def _as_block(block: Any) -> Json:
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


def own(term: Json, *, declared_values: bool = True) -> list[str]:
    """The expressions that a step itself evaluates; values that it says it accesses are none, if so asked."""
    kind = kind_of(term)
    found = [*expressions(term.get("args", [])), *expressions(term.get("with", {}))]
    found += [*term.get("set", {}).values(), *expressions(term.get("init"))]
    accessed = [name for _, name, _ in declared(term) if declared_values or isinstance(name, str)]
    found += [hole for name in accessed for hole in _holes(name)]
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
    found = _steps(own(term))
    for block in map(_as_block, _inner(term)):
        inside = _wanted(block["term"]) | _steps(expressions(block.get("result")))
        found |= inside - {*Layout(block["term"]).ids}
    return found


def _steps(texts: Iterable[str]) -> set[str]:
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


# ---------------------------------------------------------------------------------------- scopes


@dataclass(frozen=True)
class Call:
    """A workflow that has begun: what it is called, its body, its inputs and whence they come."""

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
        if isinstance(given, dict) and [*given] == ["$"] and (path := path_of(given["$"])):
            return call.caller.lookup(path[0], path[1] + parts)
        if isinstance(given, (str, int)) and not isinstance(given, bool) and not parts:
            return "constant", str(given), ()
        return "other", own, parts

    def hole(self, text: str) -> names.Piece:
        """What stands for a hole in a name."""
        if path := path_of(text):
            kind, key, parts = self.lookup(*path)
            return key if kind == "constant" else ("hole", key, parts)
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
        return (("value", key), *(("field", part) for part in rest))

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
    body = {key: definition[key] for key in ("term", "result", "locals") if key in definition}
    call = Call(definition["name"], "", body)
    return _block(body, Scope((), within), Frame(("",), call=call), "", "")


def _act(path: str, uses: Iterable[Use]) -> Process:
    found = tuple(dict.fromkeys(uses))
    return Act(path, found) if found else NOTHING


def _block(block: Any, scope: Scope, frame: Frame, prefix: str, owner: str) -> Process:
    block = _as_block(block)
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
        wanted = range(last)
        if not all(map(_handed_on, texts)):
            wanted = [at for at in wanted if layout.ids[at] in _steps(texts)]
        order = closed(order | {(at, last) for at in wanted})
        # What a block yields is read by the step that owns it.
        members.append(_act(owner, inside.reads(texts)))
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
        return _block(
            block, self.scope, Frame((*self.key, *key), **frame), f"{self.path}/{prefix}", self.path
        )

    def _reading(self, *bindings: Any) -> Process:
        return _act(self.path, self.scope.reads(text for it in bindings for text in expressions(it)))

    def _task(self) -> Process:
        uses = self.scope.reads(own(self.step, declared_values=False))
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
        bodies = [self._inside(self.step["do"], at, item=self.step.get("as", "item")) for at in range(TIMES)]
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
            call = Call(name, f"{self.path}/", _as_block(self.step["do"]), given, self.scope)
            return seq(begin, self._inside(call.body, call=call))
        at, call = self.scope.calls(name)
        if call.depth >= min(TIMES, self.step["max_depth"]):
            return begin
        again = replace(call, inputs=given, caller=self.scope, depth=call.depth + 1)
        outside = Scope(self.scope.frames[:at], self.scope.within)
        begun = _block(
            call.body, outside, Frame(self.key, call=again), call.path, call.path.removesuffix("/")
        )
        return seq(begin, begun)

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
