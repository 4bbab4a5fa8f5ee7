"""The named combinators, traced in a workflow and built as terms, and the examples of all names."""

from typing import Any

import pytest

import ferroflow as ff
from ferroflow import define


@ff.task(name="c.double")
def double(n: int) -> int:
    return 2 * n


@ff.task(name="c.total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


attempts: list[int] = []


@ff.task(name="c.flaky")
def flaky(n: int) -> int:
    attempts.append(n)
    if len(attempts) < 3:
        raise ValueError("not yet")
    return n


def never() -> Any:
    return ff.signal("never")


def outcome(build: Any, form: str) -> Any:
    """Run what a combinator makes, inside a trace or outside one."""
    if form == "traced":
        flow = ff.workflow(name="flow")(build)
    else:
        term = build()
        assert isinstance(term, ff.Term)
        flow = ff.Workflow.from_term("flow", term)
    with ff.Engine() as engine:
        return engine.run(flow)


forms = pytest.mark.parametrize("form", ["traced", "built"])


@forms
def test_race_yields_what_the_first_yields(form: str) -> None:
    assert outcome(lambda: ff.race(never, lambda: double(4)), form) == 8
    assert outcome(lambda: ff.race(double.term(5), ff.Term({"signal": "never"})), form) == 10


@forms
def test_quorum_yields_as_many_as_asked_in_the_order_of_the_bodies(form: str) -> None:
    assert outcome(lambda: ff.quorum(2, lambda: double(1), never, lambda: double(3)), form) == [2, 6]


@forms
def test_a_quorum_that_can_no_longer_be_had_fails(form: str) -> None:
    def broken() -> Any:
        return ff.on_error(lambda: ff.expr("1 / 0"), lambda error: double(error["missing"]))

    with pytest.raises(ff.RunFailed):
        outcome(lambda: ff.quorum(2, broken, never), form)


@forms
def test_map_reduce(form: str) -> None:
    assert outcome(lambda: ff.map_reduce([1, 2, 3], double, total), form) == 12
    assert outcome(lambda: ff.map_reduce([], double, total), form) == 0
    whole = outcome(
        lambda: ff.map_reduce([1, 2], double, lambda all_: {"sum": total(all_), "all": all_}), form
    )
    assert whole == {"sum": 6, "all": [2, 4]}


def test_map_reduces_that_were_built_go_together() -> None:
    both = ff.map_reduce([1, 2], double, total) & ff.map_reduce([3], double, total)
    with ff.Engine() as engine:
        assert engine.run(ff.Workflow.from_term("both", both)) == {"first": 6, "first_2": 6}


@forms
def test_retry_with_replaces_the_policy_of_the_task(form: str) -> None:
    attempts.clear()
    assert outcome(lambda: ff.retry_with(ff.Retry(2, delay=0), flaky, 7), form) == 7
    assert attempts == [7, 7, 7]
    attempts.clear()
    with pytest.raises(ff.RunFailed, match="not yet"):
        outcome(lambda: ff.retry_with(0, flaky, 7), form)
    assert attempts == [7]


@pytest.mark.parametrize("name", sorted({*define.__all__} - {"Priority", "library"}))
def test_every_public_name_has_an_example(name: str) -> None:
    assert ">>> " in (getattr(define, name).__doc__ or "")
