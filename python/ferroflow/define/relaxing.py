"""Workflows with no more order than they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from ferroflow import _core
from ferroflow.errors import BorrowError

if TYPE_CHECKING:
    from ferroflow.define.workflow import Workflow


PROOF = """\
Of each two steps these are ordered as before:
- one takes a value from the other;
- what they do to assets conflicts (checked once more in the new order);
- of one of them it is not known what it does: it declares no accesses, its names have
  holes, it sets or reads variables, waits, or may fail without failing the run.
All others commute, and runs that complete and differ only in the order of steps that
commute do the same (Mazurkiewicz, Trace Theory, 1987). A run that fails may have done
steps that would not have begun before; bodies of `try` and branches of `first`, which
go on from there, are as they were.
Left out:"""


@dataclass(frozen=True, slots=True)
class Parallelised:
    """What a workflow becomes when the order that nothing needs is left out; `Workflow.parallelise` makes it.

    Attributes
    ----------
    before, workflow
        The workflow as it was, and as it is now.
    dropped
        Steps that came directly after one another, and do so no more, as pairs of paths.
    expected
        Seconds that the longest way through it is expected to take, before and now; see `speed_up` in
        `ferroflow.plan` for what that comes to on given machines.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.task(writes="lake/{name}", expected=10)
    ... def load_table(name: str) -> None:
    ...     ...
    >>> @ff.task(reads=["lake/a", "lake/b"], expected=5)
    ... def join_tables() -> None:
    ...     ...
    >>> steps = load_table.term("a") >> load_table.term("b") >> join_tables.term()
    >>> found = ff.Workflow.from_term("joined", steps).parallelise()
    >>> found
    <parallelised joined: 1 order left out, 25 s -> 15 s>
    >>> found.dropped, found.expected
    ((('load_table', 'load_table_2'),), (25.0, 15.0))
    """

    before: Workflow[..., Any]
    workflow: Workflow[..., Any]
    dropped: tuple[tuple[str, str], ...]
    expected: tuple[float, float]

    def __repr__(self) -> str:
        count = "1 order" if len(self.dropped) == 1 else f"{len(self.dropped)} orders"
        old, new = self.expected
        return f"<parallelised {self.before.name}: {count} left out, {old:g} s -> {new:g} s>"

    @property
    def proof(self) -> str:
        """Why both do the same.

        Examples
        --------
        >>> import ferroflow as ff
        >>> flow = ff.Workflow.from_term("nap", ff.sleep("1s"))
        >>> print(flow.parallelise().proof)
        no order was left out: the workflow is the same
        """
        if not self.dropped:
            return "no order was left out: the workflow is the same"
        pairs = "".join(f"\n- {second} waits for {first}" for first, second in self.dropped)
        return f"{PROOF}{pairs}"

    def _repr_html_(self) -> str:
        from html import escape

        from ferroflow.draw import svg

        picture = svg(self.workflow.program.blocks(), title=repr(self)[1:-1])
        return f"{picture}<pre>{escape(self.proof)}</pre>"


def parallelise(workflow: Workflow[..., Any], version: str | None) -> Parallelised:
    """Leave out the order that nothing needs."""
    found = workflow.check()
    if not found:
        raise BorrowError(found)
    packed, dropped = workflow.program.relax()
    definition: Mapping[str, Any] = msgspec.msgpack.decode(packed)
    number = f"{workflow.version}+parallel" if version is None else version
    changed = type(workflow).from_definition(
        {**definition, "version": number}, on_conflict=workflow.on_conflict
    )
    expected = workflow.program.expected / 1e6, _core.Program(packed).expected / 1e6
    return Parallelised(workflow, changed, tuple(dropped), expected)
