"""Laws of the algebra of workflows: which there are, and whether one holds for given terms."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal, cast

import msgspec

from ferroflow import _core
from ferroflow.define.paths import quoted
from ferroflow.define.refs import Expr, Ref
from ferroflow.define.task import Task
from ferroflow.define.trace import Term, condition
from ferroflow.define.workflow import Workflow
from ferroflow.errors import DefinitionError, Problem

Json = dict[str, Any]

_WHY = {
    "always": "it holds for all terms",
    "conditions": "all that it needs is promised",
    "traces": "not all that it needs is promised, but all traces of both sides come to the same",
    "false": "something that it needs is not so",
    "unpromised": "something that it needs is promised by nobody, so that it can't be concluded",
}


@dataclass(frozen=True, slots=True)
class AlgebraLaw:
    """A law of the algebra: two terms over letters that mean the same where its needs are met.

    Parameters
    ----------
    name
        As `verify_law` takes it.
    equation
        `a;b` is sequence, `a∥b` parallel, `a + b` a choice, `()` the empty term.
    letters
        How many terms it is about.
    needs
        What has to be so; nothing for a law that always holds.

    Examples
    --------
    >>> import ferroflow as ff
    >>> print(ff.algebra_laws()["parallelisation"])
    parallelisation: a;b = a∥b, if no value flows from b to a, and a commutes with b
    """

    name: str
    equation: str
    letters: int
    needs: tuple[str, ...]

    def __str__(self) -> str:
        needs = ", and ".join(self.needs)
        return f"{self.name}: {self.equation}, {f'if {needs}' if needs else 'always'}"


@cache
def _laws() -> Mapping[str, AlgebraLaw]:
    found = (AlgebraLaw(name, text, letters, tuple(needs)) for name, text, letters, needs in _core.laws())
    return {law.name: law for law in found}


def algebra_laws() -> dict[str, AlgebraLaw]:
    """Return all laws of the algebra by name, those that always hold first.

    Examples
    --------
    >>> import ferroflow as ff
    >>> for law in ff.algebra_laws().values():
    ...     print(law.equation)
    (a;b);c = a;(b;c)
    (a∥b)∥c = a∥(b∥c)
    a∥b = b∥a
    ();a;() = a
    a∥() = a
    a + a = a
    (a + b);c = a;c + b;c
    a;(b∥c) = (a;b)∥(a;c)
    (a∥b);c = (a;c)∥(b;c)
    a;(b + c) = a;b + a;c
    a∥(b + c) = a∥b + a∥c
    a∥a = a
    a;a = a
    a;b = b;a
    a;b = a∥b
    (a∥b);(c∥d) = (a;c)∥(b;d)
    """
    return dict(_laws())


@dataclass(frozen=True, slots=True)
class LawPoint:
    """How one or two steps stand to something that a law needs.

    Parameters
    ----------
    steps
        Their ids; `a.load` is the step `load` of the term for `a`, where others have one of that id.
    state
        "kept", "missing" (nobody promises it) or "broken" (it is shown to be false).
    by
        What keeps or breaks it: `pure`, `idempotent`, `commutes_with`, `accesses`, `values`, `variables`, or
        `kind`, the kind of step that it is; nothing where it is missing.
    says
        The same in words.

    Examples
    --------
    >>> import ferroflow as ff
    >>> proof = ff.verify_law("sequence-idempotence", ff.Term({"sleep": 1}))
    >>> proof.conditions[0].points[0].says
    '`sleep` only waits'
    """

    steps: tuple[str, ...]
    state: Literal["kept", "missing", "broken"]
    by: str
    says: str


@dataclass(frozen=True, slots=True)
class LawCondition:
    """Something that a law needs, and how it stands for the terms that were given.

    Parameters
    ----------
    needs
        In words.
    state
        "kept", "missing" (nobody promises it) or "broken" (it is shown to be false).
    points
        Why, by steps; what is wrong comes first. There are at most twenty.
    more
        How many more there are.

    Examples
    --------
    >>> import ferroflow as ff
    >>> proof = ff.verify_law("sequence-idempotence", ff.Term({"sleep": 1}))
    >>> proof.conditions[0].needs, proof.conditions[0].state
    ('a is idempotent', 'kept')
    """

    needs: str
    state: Literal["kept", "missing", "broken"]
    points: tuple[LawPoint, ...]
    more: int


@dataclass(frozen=True, slots=True)
class CounterExample:
    """A trace that one side of a law has and the other has not.

    Parameters
    ----------
    side
        Whose trace it is.
    events
        What happens: ("start", id), ("end", id), or ("decide", "true" or "false") where the law's condition
        is looked at.
    matters
        The steps that matter: without all others it is still no trace of the other side.
    whole
        Whether the other steps are in it. They are left out of traces of more than sixty events.
    stuck
        Why the other side can't run at all, if that is so.

    Examples
    --------
    >>> import ferroflow as ff
    >>> print(ff.verify_law("sequence-idempotence", ff.Term({"task": "tick"})).counter_example)
    +tick -tick +tick -tick
    """

    side: Literal["left", "right"]
    events: tuple[tuple[Literal["start", "end", "decide"], str], ...]
    matters: tuple[str, ...]
    whole: bool
    stuck: str | None

    def __str__(self) -> str:
        marks = {"start": "+", "end": "-", "decide": "?"}
        return " ".join(f"{marks[event]}{what}" for event, what in self.events)


@dataclass(frozen=True, slots=True, repr=False)
class LawProof:
    """Whether a law holds for the terms that were given: proven, or refuted by a trace. True if it holds.

    Parameters
    ----------
    law
        The law.
    terms
        The terms for its letters, as definitions hold them.
    verdict
        "proven" or "refuted".
    because
        Of what is proven: "always", "conditions" (all that it needs is promised) or "traces" (it is not,
        but all traces of both sides come to the same). Of what is refuted: "false" (something that it needs
        is shown not to be so) or "unpromised" (nobody promises something that it needs, and nothing shows
        that it is false: it can't be concluded).
    conditions
        What the law needs, and by what promise of which steps that is so.
    counter_example
        A trace of one side only. A law that is refuted has one, unless terms of more than ten events
        differ by none of the steps that do not keep to a condition.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.task(idempotent=True)
    ... def fetch_once() -> int:
    ...     return 1
    >>> proof = ff.verify_law("parallel-idempotence", fetch_once.term())
    >>> print(proof)
    parallel-idempotence: a∥a = a
    a = fetch_once
    refuted: something that it needs is promised by nobody, so that it can't be concluded
      kept: a is idempotent
        `fetch_once` is idempotent
      missing: a commutes with itself
        `fetch_once` does not say what it reads and writes
    only the left side can do this:
      +fetch_once +fetch_once -fetch_once -fetch_once
    """

    law: AlgebraLaw
    terms: tuple[Json, ...]
    verdict: Literal["proven", "refuted"]
    because: Literal["always", "conditions", "traces", "false", "unpromised"]
    conditions: tuple[LawCondition, ...]
    counter_example: CounterExample | None

    def __bool__(self) -> bool:
        return self.verdict == "proven"

    def __repr__(self) -> str:
        return f"<{self.law.name}: {self.verdict} ({self.because})>"

    def to_dict(self) -> Json:
        """Return it as plain data, for JSON.

        Examples
        --------
        >>> import ferroflow as ff
        >>> found = ff.verify_law("parallel-identity", ff.Term({"sleep": 1})).to_dict()
        >>> found["law"]["name"], found["verdict"], found["because"]
        ('parallel-identity', 'proven', 'always')
        """
        found: Json = asdict(self)
        return found

    def _lines(self) -> Iterator[str]:
        yield f"{self.law.name}: {self.law.equation}"
        yield self._letters()
        yield f"{self.verdict}: {_WHY[self.because]}"
        for it in self.conditions:
            yield f"  {it.state}: {it.needs}"
            yield from (f"    {point.says}" for point in it.points)
            if it.more:
                yield f"    … and {it.more} more"
        yield from (line for line in self._told() if line)

    def _told(self) -> Iterator[str]:
        if (trace := self.counter_example) is None:
            return
        others = "" if trace.whole else ", whatever the steps that are left out do"
        yield f"only the {trace.side} side can do this{others}:"
        yield f"  {trace}"
        if trace.stuck:
            other = "right" if trace.side == "left" else "left"
            yield f"the {other} side can't run: {trace.stuck}"

    def _letters(self) -> str:
        named = (f"{letter} = {_called(term)}" for letter, term in zip("abcd", self.terms, strict=False))
        return ", ".join(named)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        from ferroflow.draw import page

        rows = [
            (it.needs, it.state, point.says, point.by) for it in self.conditions for point in it.points
        ] + [(it.needs, it.state, "", "") for it in self.conditions if not it.points]
        verdict = f"{self.verdict}, {_WHY[self.because]}"
        title = f"{self.law.name}: {self.law.equation}, where {self._letters()}: {verdict}"
        more = sum(it.more for it in self.conditions)
        below = page.table(("needed", "state", "why", "by"), rows, more) if rows else ""
        trace = (
            page.table(("counter-example",), [(line,) for line in self._told()])
            if self.counter_example
            else ""
        )
        return page.block(title, "", below + trace)


def verify_law(
    law: str | AlgebraLaw,
    *terms: Term | Task[..., Any] | Workflow[..., Any] | Mapping[str, Any],
    when: str | bool | Expr | Ref = "input.condition",
) -> LawProof:
    """Verify that a law of the algebra holds for terms, by what their steps promise.

    Parameters
    ----------
    law
        Its name; see `algebra_laws`.
    *terms
        One for each letter: terms, tasks (a step of it with any arguments), workflows, or terms as
        definitions hold them. In them `steps.ID` means a step of the same term, or else of another, or
        else something that was there before.
    when
        The condition by which the law's choices are decided: `b + c` is `b` if it holds, else `c`.

    Returns
    -------
    A proof, which is true if the law holds for all runs in which no step fails, whatever the steps do
    that keeps their promises.

    Examples
    --------
    >>> import ferroflow as ff
    >>> load, clean, merge = (ff.Term({"task": name}) for name in ("load", "clean", "merge"))
    >>> proof = ff.verify_law("distributivity", load, clean, merge)
    >>> bool(proof), print(proof.counter_example)
    +load -load +clean -clean +load -load +merge -merge
    (False, None)
    >>> pure = ff.Term({"task": "load", "options": {"pure": True}})
    >>> ff.verify_law("distributivity", pure, clean, merge)
    <distributivity: proven (conditions)>
    """
    name = law.name if isinstance(law, AlgebraLaw) else law
    if (found := _laws().get(name)) is None:
        raise ValueError(f"there is no law {name!r}; there are {', '.join(_laws())}")
    given = tuple(_term(term) for term in terms)
    packed = msgspec.msgpack.encode({"name": "law", "term": {"first": 1, "of": list(given)}})
    try:
        because, holds, conditions, trace = _core.verify_law(name, packed, condition(when))
    except ValueError as error:
        problems = [Problem(*it) for it in error.args[0]] if isinstance(error.args[0], list) else []
        why = "" if problems else f" {error}"
        raise DefinitionError(f"{found.equation} can't be verified for these terms:{why}", problems) from None
    return LawProof(
        law=found,
        terms=given,
        verdict="proven" if holds else "refuted",
        because=cast(Any, because),
        conditions=tuple(
            LawCondition(needs, cast(Any, state), tuple(map(_point, points)), more)
            for needs, state, points, more in conditions
        ),
        counter_example=None if trace is None else _counter(*trace),
    )


def _point(it: tuple[list[str], str, str, str]) -> LawPoint:
    steps, state, by, says = it
    return LawPoint(tuple(steps), cast(Any, state), by, says)


def _counter(
    side: str, events: list[tuple[str, str]], matters: list[str], whole: bool, stuck: str | None
) -> CounterExample:
    return CounterExample(cast(Any, side), tuple(cast(Any, events)), tuple(matters), whole, stuck)


def _term(given: object) -> Json:
    """Return what is given for a letter as a term."""
    if isinstance(given, Term):
        return given.to_dict()
    if isinstance(given, Task):
        parameters = inspect.signature(given.fn).parameters.values()
        names = [it.name for it in parameters if it.kind in (it.POSITIONAL_ONLY, it.POSITIONAL_OR_KEYWORD)]
        by_name = [it.name for it in parameters if it.kind is it.KEYWORD_ONLY]
        step = given.term(
            *(_any(given.name, name) for name in names), **{name: _any(given.name, name) for name in by_name}
        )
        return step.to_dict()
    if isinstance(given, Workflow):
        body = {
            part: value for part, value in given.definition.items() if part in ("term", "result", "locals")
        }
        inputs = {name: {"$": _any(given.name, name).text} for name in given.inputs}
        return {"workflow": given.name, "with": inputs, "do": body}
    if isinstance(given, Mapping):
        return dict(given)
    raise TypeError(f"{given!r} is no term; give a term, a task or a workflow")


def _any(name: str, parameter: str) -> Expr:
    """Return an input of which nothing is known, as an argument."""
    return Expr(f"input[{quoted(f'{name}.{parameter}')}]", ())


def _called(term: Json) -> str:
    """Return what a term is called: its id, its task, or its kind."""
    if "id" in term:
        return str(term["id"])
    kind = next(iter(term), "()")
    within = term.get(kind)
    if kind in ("sequence", "parallel", "partial") and isinstance(within, list):
        mark = {"sequence": ";", "parallel": "∥", "partial": ", "}[kind]
        parts = [_called(it) if isinstance(it, dict) else "…" for it in within[:4]]
        return f"({mark.join(parts)}{mark + '…' if len(within) > len(parts) else ''})"
    return str(within) if kind in ("task", "signal", "workflow") else kind
