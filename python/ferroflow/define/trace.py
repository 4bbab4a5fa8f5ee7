"""Symbolic execution of a workflow's function: what it calls becomes a term."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from ferroflow.define import models
from ferroflow.define.assets import Asset
from ferroflow.define.paths import plain, quoted
from ferroflow.define.refs import Expr, Ref
from ferroflow.define.sites import Site, Step, caller, unmarked
from ferroflow.errors import DefinitionError

if TYPE_CHECKING:
    from ferroflow.define.units import Duration

Json = dict[str, Any]


class Block:
    """A block that is being traced: its steps, and the names it adds."""

    def __init__(
        self, parent: Block | None, binds: str | None = None, *, workflow: tuple[object, Json] | None = None
    ):
        self.parent = parent
        self.binds = binds
        # The workflow whose body this is, with its definition so far: it sees nothing of what is
        # round it.
        self.workflow = workflow
        # Whether it calls a workflow that is being traced round it, so that it means nothing elsewhere.
        self.leans = False
        # The workflows that are called in it, at any depth.
        self.calls: set[object] = set()
        self.terms: list[Json] = []
        self.ids: set[str] = set()
        # The next number to try for a name, so that ten thousand steps of a task stay cheap.
        self.numbers: dict[str, int] = {}
        self.used: set[str] = set()
        self.root: Block = self if parent is None or workflow else parent.root
        # The assets that are made here, by the names that they have in the definition.
        self.locals: dict[str, Asset] = {}
        # Of the root: those of the world that are used; all local names, with their blocks; and names
        # that are other ones in the definition.
        self.world: dict[str, Json] = {}
        self.homes: dict[str, Block] = {}
        self.renames: dict[tuple[Block, str], str] = {}

    def declare(self, name: str, fields: Json) -> None:
        """Note that an asset of the world is used here."""
        if (known := self.root.world.setdefault(name, fields)) != fields:
            raise DefinitionError(
                f"the asset {name!r} is declared twice, as {known} and as {fields}: "
                "declare it once, and use that"
            )

    def uses(self, assets: Sequence[Asset]) -> None:
        """Note that a step uses assets, some of which may be of the world."""
        for it in assets:
            if it._block is None:
                self.declare(it.name, it.to_dict())

    def local(self, made: Asset) -> Asset:
        """Make an asset local to this block; its name is one that no other block's asset has."""
        root, name, number = self.root, made.name, 2
        name = root.renames.get((self, name), name)
        while root.homes.get(name, self) is not self:
            name, number = f"{made.name}_{number}", number + 1
        made = Asset(made.name, made.kind, made.path, output=made.output, _block=self)
        if self.locals.setdefault(name, made) != made:
            raise DefinitionError(
                f"two assets of one block are called {made.name!r} and are not alike; give one another name"
            )
        root.homes[name] = self
        if name != made.name:
            root.renames[self, made.name] = name
        return Asset(name, made.kind, made.path, output=made.output, _block=self)

    def renamed(self, text: str) -> str:
        """Return a name as the definition has it, where it means an asset of a block round here."""
        at = self
        while True:
            for (block, name), other in self.root.renames.items():
                if block is at and re.match(rf"{re.escape(name)}(?=[/\[]|$)", text):
                    return other + text[len(name) :]
            if at.parent is None or at.workflow:
                return text
            at = at.parent

    def name(self, base: str) -> str:
        """Return an id for a step that none has yet."""
        base = re.sub(r"[/\[\]]", "_", base).lstrip("$") or "step"
        number = self.numbers.get(base, 1)
        found = base if number == 1 else f"{base}_{number}"
        while found in self.ids:
            number += 1
            found = f"{base}_{number}"
        self.numbers[base] = number + 1
        self.ids.add(found)
        return found

    def sees(self, other: Block) -> bool:
        """Whether a Ref made in the other block may be used here."""
        at: Block | None = self
        while at is not None and at is not other:
            at = None if at.workflow else at.parent
        return at is other

    def workflows(self) -> Iterator[Block]:
        """Go through the bodies of workflows that are being traced, innermost first."""
        at: Block | None = self
        while at is not None:
            if at.workflow:
                yield at
            at = at.parent

    def names_in_use(self) -> set[str]:
        """Names that blocks round here bind."""
        names: set[str] = set()
        at: Block | None = self
        while at is not None:
            if at.binds:
                names.add(at.binds)
            at = None if at.workflow else at.parent
        return names


_block: ContextVar[Block | None] = ContextVar("ferroflow_block", default=None)


def tracing() -> Block | None:
    """Return the block that is being traced here, if one is."""
    return _block.get()


@contextmanager
def opened(block: Block) -> Iterator[Block]:
    """Trace into a block."""
    reset = _block.set(block)
    try:
        yield block
    finally:
        _block.reset(reset)


def expr(text: str, **names: object) -> Any:
    """Make an expression; names in it stand for Refs or constants.

    Parameters
    ----------
    text
        CEL over `names`, and over `input`, `vars`, `steps` as in a definition.
    **names
        What names in the text stand for; a name may stand for another expression.

    Examples
    --------
    >>> import ferroflow as ff
    >>> many = ff.expr("size(rows) > 3", rows=ff.var("rows"))
    >>> many
    <Expr size(vars.rows) > 3>
    >>> ff.expr("many || n == 0", many=many, n=ff.var("n"))
    <Expr (size(vars.rows) > 3) || vars.n == 0>
    """
    refs: list[Ref] = []
    for value in names.values():
        if isinstance(value, (Ref, Expr)):
            refs.extend(value.refs if isinstance(value, Expr) else [value])
    for ref in refs:
        check(ref)

    def replace(found: re.Match[str]) -> str:
        word = found[0]
        if word[0] in "\"'" or word not in names or text[: found.start()].rstrip().endswith("."):
            return word
        value = names[word]
        if isinstance(value, Ref):
            return value._path
        if isinstance(value, Expr):
            return f"({value.text})"
        return msgspec.json.encode(value).decode()

    pattern = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[A-Za-z_][A-Za-z0-9_]*"
    return Expr(re.sub(pattern, replace, text), tuple(refs))


def var(name: str) -> Any:
    """Return a variable of the run, set by `task.options(set={...})`.

    Examples
    --------
    >>> import ferroflow as ff
    >>> ff.var("total")
    <Ref vars.total>
    """
    return Ref(None, f"vars.{name}" if plain(name) else f"vars[{quoted(name)}]")


class Term:
    """A term that was built, not traced: `a >> b`, `a & b`, `.timeout()`, `.on_error()`.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.task
    ... def step(n: int) -> int:
    ...     return n
    >>> a, b, c = step.term(1), step.term(2), step.term(3)
    >>> [*(a >> (b & c)).to_dict()], [*(a & b & c).to_dict()], [*a.timeout("1m").to_dict()]
    (['sequence'], ['parallel'], ['timeout', 'do'])
    >>> ff.Workflow.from_term("steps", a >> (b & c), result=0).program.tasks
    ['step']
    """

    __slots__ = ("_object",)

    def __init__(self, term: Json) -> None:
        self._object = term

    def to_dict(self) -> Json:
        """Return the term as definitions hold it."""
        found: Json = unmarked(self._object)
        return found

    def __repr__(self) -> str:
        return f"Term({self._object!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Term) and self._object == other._object

    __hash__ = None  # type: ignore[assignment]

    def __rshift__(self, other: Term) -> Term:
        return Term({"sequence": [*_members(self, "sequence"), *_members(other, "sequence")]})

    def __and__(self, other: Term) -> Term:
        return Term({"parallel": [*_members(self, "parallel"), *_members(other, "parallel")]})

    def timeout(self, duration: Duration) -> Term:
        """Return the term with a limit on its time."""
        from ferroflow.define.units import written

        return Term({"timeout": written(duration), "do": self._object})

    def on_error(self, handler: Term | Callable[..., Any]) -> Term:
        """Return the term with what happens if it fails."""
        return Term({"try": self._object, "catch": block(handler, "error")})


def _members(term: Term, kind: str) -> list[Json]:
    found = term._object
    return found[kind] if set(found) == {kind} else [found]


def check(ref: Ref) -> None:
    """Refuse a Ref whose value can't be had here, and note that it is used."""
    here = tracing()
    if ref._block is None:
        return
    if here is None or not here.sees(ref._block):
        name = f"step {ref._step!r}" if ref._step else ref._path
        raise DefinitionError(
            f"the Ref of {name} was made inside a branch, loop, for-each or other workflow and "
            "can't leave it: return it from there, and use what the construct yields"
        )
    if ref._step:
        ref._block.used.add(ref._step)


def binding(value: object) -> Any:
    """Return a value as definitions hold it: Refs become expressions, at any depth."""
    try:
        return _binding(value)
    except RecursionError:
        raise DefinitionError(
            f"a {type(value).__name__} that is given to a step contains itself, or nests too deeply"
        ) from None


def _binding(value: object) -> Any:
    if isinstance(value, Ref):
        check(value)
        return {"$": value._path}
    if isinstance(value, Expr):
        for ref in value.refs:
            check(ref)
        return {"$": value.text}
    if isinstance(value, (list, tuple)):
        return [_binding(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: _binding(item) for key, item in value.items()}
    found = constant(value)
    # What looks like an expression in it is none.
    return {"$const": found} if isinstance(found, (dict, list)) else found


def constant(value: object) -> Any:
    """Return a value in which there are no Refs, as definitions hold it."""
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    if isinstance(value, Asset):
        return value.location
    try:
        return msgspec.to_builtins(value, builtin_types=(bytes,), enc_hook=models.dumped)
    except TypeError:
        raise DefinitionError(
            f"{value!r} can't be part of a definition: it is a {type(value).__qualname__}; pass "
            "numbers, texts, bytes, lists, dicts, dataclasses, or Refs in lists and in dicts with plain names"
        ) from None


def condition(value: object) -> str:
    """Return the text of a condition."""
    if isinstance(value, str):
        return value
    if isinstance(value, Expr):
        for ref in value.refs:
            check(ref)
        return value.text
    if isinstance(value, Ref):
        check(value)
        return value._path
    if isinstance(value, bool):
        return "true" if value else "false"
    raise TypeError(f"{value!r} is no condition; give a CEL text, ff.expr(...) or a Ref")


def emit(term: Json, base: str) -> Any:
    """Add a step to the block that is traced and return its Ref; outside a trace, the Term."""
    here = tracing()
    if type(term) is not Step:
        term = Step(term)
        term.site = Site(caller())
    if here is None:
        return Term(term)
    step = term.get("id")
    if step is None:
        term["id"] = step = here.name(base)
    elif step in here.ids:
        raise DefinitionError(f"two steps of one block have the id {step!r}; choose another")
    here.ids.add(step)
    here.terms.append(term)
    return Ref(here, f"steps.{step}" if plain(step) else f"steps[{quoted(step)}]", step)


def block(body: object, binds: str | None = None, *symbols: str) -> Any:
    """Return what a body does, as a block.

    `binds` names what the body gets: the item, the state or the error. A function may take it
    or not.
    """
    if isinstance(body, Term):
        if here := tracing():
            for name, fields in world(body._object).items():
                here.declare(name, fields)
        return body._object
    if not callable(body):
        raise TypeError(f"{body!r} is no body; give a task, a workflow, a function or a term")
    inner = Block(tracing(), binds)
    with opened(inner):
        names = [name for name in (binds, *symbols) if name]
        arguments = [Ref(inner, name) for name in names]
        result = body(*arguments[: _arity(body, len(arguments))])
        return finished(inner, result)


def _arity(body: Callable[..., Any], most: int) -> int:
    try:
        parameters = inspect.signature(body).parameters.values()
    except (TypeError, ValueError):
        return most
    positional = [it for it in parameters if it.kind in (it.POSITIONAL_ONLY, it.POSITIONAL_OR_KEYWORD)]
    if any(it.kind is it.VAR_POSITIONAL for it in parameters):
        return most
    needed = sum(it.default is it.empty for it in positional)
    return min(most, max(needed, min(len(positional), 1)))


def finished(inner: Block, result: object) -> Any:
    """Return a traced block as definitions hold it."""
    last = isinstance(result, Ref) and result._block is inner and result._step is not None
    whole = last and re.fullmatch(r"steps(\.[A-Za-z0-9_]+|\[\"[^\"]*\"\])", result._path)  # type: ignore[attr-defined]
    others = {term["id"] for term in inner.terms} - inner.used
    made: Json = {"term": {"partial": inner.terms} if len(inner.terms) != 1 else inner.terms[0]}
    # What the only last step yields is what a block yields by itself.
    if not whole or others != {result._step}:  # type: ignore[attr-defined]
        made["result"] = binding(result)
    if inner.locals:
        made["locals"] = {name: asset.to_dict() for name, asset in inner.locals.items()}
    return made


def world(term: Any) -> dict[str, Json]:
    """Return the assets of the world that the steps of a term use."""
    gathered = Block(None)

    def look(value: Any) -> None:
        if type(value) is Step:
            gathered.uses(value.site.assets)
        if isinstance(value, dict):
            value = value.values()
        elif not isinstance(value, list):
            return
        for item in value:
            look(item)

    look(term)
    return gathered.world
