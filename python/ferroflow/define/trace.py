"""Symbolic execution of a workflow's function: what it calls becomes a term."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from ferroflow.errors import DefinitionError

if TYPE_CHECKING:
    from ferroflow.define.units import Duration

Json = dict[str, Any]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# Words that CEL reads as something else.
_WORDS = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)


class Block:
    """A block that is being traced: its steps, and the names it adds."""

    def __init__(self, parent: Block | None, binds: str | None = None, *, closed: bool = False):
        self.parent = parent
        self.binds = binds
        # A sub-workflow sees nothing of what is round it.
        self.closed = closed
        self.terms: list[Json] = []
        self.ids: set[str] = set()
        # The next number to try for a name, so that ten thousand steps of a task stay cheap.
        self.numbers: dict[str, int] = {}
        self.used: set[str] = set()
        self.open = True

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
            at = None if at.closed else at.parent
        return at is other

    def names_in_use(self) -> set[str]:
        """Names that blocks round here bind."""
        names: set[str] = set()
        at: Block | None = self
        while at is not None:
            if at.binds:
                names.add(at.binds)
            at = at.parent
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
        block.open = False
        _block.reset(reset)


class Ref:
    """Stands for a value that is known only when the workflow runs.

    Pass it to tasks; `ref["key"]` and `ref[0]` select from it. Anything that needs the value
    itself raises.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.workflow
    ... def second(rows: list):
    ...     print(rows[1]["id"])
    ...     return rows[1]["id"]
    >>> with ff.Engine() as engine:
    ...     engine.run(second, [{"id": 7}, {"id": 8}])
    <Ref input.rows[1]["id"]>
    8
    """

    __slots__ = ("_block", "_path", "_step")

    def __init__(self, block: Block | None, path: str, step: str | None = None) -> None:
        self._block, self._path, self._step = block, path, step

    def __repr__(self) -> str:
        return f"<Ref {self._path}>"

    def __getitem__(self, key: str | int) -> Ref:
        if isinstance(key, str):
            part = f"[{quoted(key)}]"
        elif type(key) is int:
            part = f"[{key}]"
        else:
            raise TypeError(f"{self!r}[{key!r}]: select with a text or a whole number")
        return Ref(self._block, self._path + part, self._step)

    def _refuse(self, what: str, instead: str) -> NoReturn:
        raise TypeError(
            f"{self!r} has no {what} while the workflow is traced: its value is known only when the "
            f"workflow runs; {instead}"
        )

    def __bool__(self) -> NoReturn:
        self._refuse("truth", "decide with ff.choose, repeat with ff.loop")

    def __iter__(self) -> NoReturn:
        self._refuse("elements", "use ff.each to do something for each of them, or ref[0]")

    def __len__(self) -> NoReturn:
        self._refuse("length", 'use ff.expr("size(x)", x=ref)')

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"{self!r} has no attributes while the workflow is traced: select with ref[{name!r}], "
            "decide with ff.choose, go through a list with ff.each"
        )

    def _compare(self, _other: object) -> NoReturn:
        self._refuse("order", 'compare in an expression: ff.choose([(ff.expr("x > 3", x=ref), ...)])')

    __lt__ = __le__ = __gt__ = __ge__ = _compare

    def _compute(self, _other: object) -> NoReturn:
        self._refuse("arithmetic", 'compute in a task, or with ff.expr("x + 1", x=ref)')

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = _compute


class Expr:
    """A CEL expression, with the Refs it reads; `ff.expr` makes one.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.workflow
    ... def doubled(n: int) -> int:
    ...     return ff.expr("2 * n", n=n)
    >>> with ff.Engine() as engine:
    ...     engine.run(doubled, 21)
    42
    """

    __slots__ = ("refs", "text")

    def __init__(self, text: str, refs: tuple[Ref, ...] = ()) -> None:
        self.text, self.refs = text, refs

    def __repr__(self) -> str:
        return f"<Expr {self.text}>"


def expr(text: str, **names: object) -> Any:
    """Make an expression; names in it stand for Refs or constants.

    Parameters
    ----------
    text
        CEL over `names`, and over `input`, `vars`, `steps` as in a definition.
    **names
        What names in the text stand for.

    Examples
    --------
    >>> import ferroflow as ff
    >>> ff.expr("size(rows) > 3", rows=ff.var("rows"))
    <Expr size(vars.rows) > 3>
    """
    refs = tuple(ref for ref in names.values() if isinstance(ref, Ref))
    for ref in refs:
        check(ref)

    def replace(found: re.Match[str]) -> str:
        word = found[0]
        if word[0] in "\"'" or word not in names or text[: found.start()].rstrip().endswith("."):
            return word
        value = names[word]
        if isinstance(value, Ref):
            return value._path
        return msgspec.json.encode(value).decode()

    pattern = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[A-Za-z_][A-Za-z0-9_]*"
    return Expr(re.sub(pattern, replace, text), refs)


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
    ... def tick(n: int) -> int:
    ...     return n
    >>> ticks = tick.term(1) >> (tick.term(2) & tick.term(3))
    >>> with ff.Engine() as engine:
    ...     engine.run(ff.Workflow.from_term("ticks", ticks))
    {'tick_2': 2, 'tick_3': 3}
    """

    __slots__ = ("_object",)

    def __init__(self, term: Json) -> None:
        self._object = term

    def to_dict(self) -> Json:
        """Return the term as definitions hold it."""
        return self._object

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
    found = term.to_dict()
    return found[kind] if set(found) == {kind} else [found]


def plain(name: str) -> bool:
    """Whether a name can follow a dot in CEL."""
    return _NAME.match(name) is not None and name not in _WORDS


def quoted(text: str) -> str:
    """Return a text as CEL writes it."""
    return msgspec.json.encode(text).decode()


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
    if isinstance(value, Ref):
        check(value)
        return {"$": value._path}
    if isinstance(value, Expr):
        for ref in value.refs:
            check(ref)
        return {"$": value.text}
    if isinstance(value, (list, tuple)):
        return [binding(item) for item in value]
    if isinstance(value, dict):
        if any(isinstance(key, str) and key.startswith("$") for key in value):
            return {"$const": msgspec.to_builtins(value, builtin_types=(bytes,))}
        return {key: binding(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    try:
        return msgspec.to_builtins(value, builtin_types=(bytes,))
    except TypeError:
        raise DefinitionError(
            f"{value!r} can't be part of a definition: it is a {type(value).__qualname__}; pass "
            "numbers, texts, bytes, lists, dicts, dataclasses or Refs"
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
        return body.to_dict()
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
    term: Json = {"partial": inner.terms} if len(inner.terms) != 1 else inner.terms[0]
    # What the only last step yields is what a block yields by itself.
    if whole and others == {result._step}:  # type: ignore[attr-defined]
        return {"term": term}
    return {"term": term, "result": binding(result)}
