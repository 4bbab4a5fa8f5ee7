"""Workflows lose the order that nothing needs, and do the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import ferroflow as ff
from ferroflow.plan import Node, speed_up

SEEN: list[str] = []


@ff.task(name="relax.write", writes="lake/{name}", expected=10)
def write(name: str) -> str:
    SEEN.append(name)
    return name


@ff.task(name="relax.read", reads="lake", expected=10)
def read() -> list[str]:
    return sorted(SEEN)


@ff.task(name="relax.unknown", expected=10)
def unknown() -> None: ...


@ff.task(name="relax.take", takes=ff.value("text"), expected=10)
def take(text: str) -> str:
    return text.upper()


def flow(name: str, *terms: ff.Term) -> ff.Workflow[..., Any]:
    return ff.Workflow.from_term(name, ff.Term({"sequence": [term.to_dict() for term in terms]}))


@pytest.mark.req("P1.5")
def test_only_order_that_conflicts_stays() -> None:
    before = flow("etl", write.term("a"), write.term("b"), write.term("c"), read.term())
    found = before.parallelise()
    members = found.workflow.definition["term"]["partial"]
    assert [it.get("after", []) for it in members[:3]] == [[], [], []]
    assert sorted(members[3]["after"]) == ["relax.write", "relax.write_2", "relax.write_3"]
    assert found.expected == (40.0, 20.0)
    assert found.workflow.version == "1+parallel"
    assert before.parallelise(version="2").workflow.version == "2"
    assert "relax.write_2 waits for relax.write" in found.proof
    assert found.workflow.check()
    assert "Mazurkiewicz" in found._repr_html_()


def test_both_yield_the_same() -> None:
    before = flow("same", write.term("a"), write.term("b"), read.term())
    with ff.Engine() as engine:
        SEEN.clear()
        first = engine.run(before)
        SEEN.clear()
        assert engine.run(before.parallelise().workflow) == first == ["a", "b"]


def test_steps_of_which_nothing_is_known_stay_where_they_are() -> None:
    found = flow("round", write.term("a"), unknown.term(), write.term("b")).parallelise()
    assert not found.dropped
    assert found.workflow.equivalent(
        ff.Workflow.from_definition({**found.before.definition, "version": "1+parallel"})
    )
    # Also if they are far away: what is dropped between them is not what orders them.
    far = flow("far", unknown.term(), write.term("a"), write.term("b"), unknown.term()).parallelise()
    after = {it["id"]: it.get("after", []) for it in far.workflow.definition["term"]["partial"]}
    assert after["relax.write_2"] == ["relax.unknown"]
    assert sorted(after["relax.unknown_2"]) == ["relax.write", "relax.write_2"]


def test_names_with_holes_may_be_any() -> None:
    step = {"task": "t", "id": "a", "reads": "lake/{input.n}"}
    other = {"task": "t", "id": "b", "writes": "lake/x"}
    before = ff.load({"name": "w", "inputs": ["n"], "term": [step, other]})
    assert not before.parallelise().dropped


def test_what_goes_on_after_a_failure_is_left_alone() -> None:
    body = write.term("a") >> write.term("b")
    assert not flow("tried", body.on_error(read.term())).parallelise().dropped
    raced = ff.first(1, body, unknown.term())
    assert not flow("raced", raced).parallelise().dropped


def test_order_inside_other_steps_is_left_out_too() -> None:
    body = write.term("a") >> write.term("b")
    found = flow("inner", ff.each([1], body), read.term()).parallelise()
    assert found.dropped == (("each/relax.write", "each/relax.write_2"),)


def test_values_order_their_steps() -> None:
    @ff.workflow
    def moving() -> str:
        made = write("a")
        return take(made)

    assert not moving.parallelise().dropped


def test_a_workflow_that_races_is_refused() -> None:
    with pytest.raises(ff.BorrowError):
        ff.Workflow.from_term("races", write.term("a") & read.term()).parallelise()


def test_simulation_shows_what_it_brings() -> None:
    steps: list[Callable[..., ff.Term]] = [write.term] * 4
    before = flow("four", *(term(name) for term, name in zip(steps, "abcd", strict=True)))
    found = speed_up(before.parallelise(), [Node("m", cores=4)], durations={"relax.write": 3}, seeds=3)
    assert found.factor == pytest.approx(4)
    assert "speed-up 4.00" in repr(found)
    assert "<p>speed-up" in found._repr_html_()
