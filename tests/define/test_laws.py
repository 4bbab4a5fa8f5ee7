"""Laws of the algebra: what Python gives and gets, and that what is shown of them is so."""

from __future__ import annotations

import doctest
import json
import re
from pathlib import Path

import pytest

import ferroflow as ff
from ferroflow.define import registry

PAGE = Path(__file__).parents[2] / "docs" / "laws.md"


def term(name: str, **options: object) -> ff.Term:
    return ff.Term({"task": name, "id": name, "options": options})


def test_the_page_about_laws_is_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))
    blocks = re.findall(r"^```pycon\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    shown = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, PAGE.name, str(PAGE), 0)
    found = doctest.DocTestRunner().run(shown)
    assert found.attempted > 5
    assert found.failed == 0


def test_the_page_lists_all_laws() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| `(.*?)` \| (.*?) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    laws = ff.algebra_laws().values()
    assert rows == [(law.name, law.equation, ", ".join(law.needs) or "always") for law in laws]


@pytest.mark.req("P1.4")
def test_distributivity_runs_its_first_step_twice() -> None:
    b, c = term("b"), term("c")
    plain = ff.verify_law("distributivity", term("a"), b, c)
    assert not plain
    assert plain.verdict == "refuted"
    assert plain.because == "unpromised"
    assert str(plain.counter_example) == "+a -a +b -b +a -a +c -c"
    assert plain.counter_example is not None
    assert plain.counter_example.side == "right"
    assert ff.verify_law("distributivity", term("a", pure=True), b, c)
    promised = term("a", idempotent=True, commutes_with=["a", "b", "c"])
    proof = ff.verify_law("distributivity", promised, b, c)
    assert proof.because == "conditions"
    assert {point.by for it in proof.conditions for point in it.points} == {"idempotent", "commutes_with"}
    # Idempotent alone is not enough.
    assert not ff.verify_law("distributivity", term("a", idempotent=True), b, c)


@pytest.mark.req("P1.4")
def test_parallel_idempotence_needs_a_promise() -> None:
    assert not ff.verify_law("parallel-idempotence", term("a"))
    assert not ff.verify_law("parallel-idempotence", term("a", idempotent=True))
    assert ff.verify_law("parallel-idempotence", term("a", idempotent=True, commutes_with=["a"]))


@pytest.mark.req("P1.4", "P1.1")
def test_a_choice_has_an_other_branch() -> None:
    proof = ff.verify_law("choice-distributivity", *map(term, "abc"), when="steps.a.ok")
    assert str(proof.counter_example) == "+a -a ?true +b -b"
    # Branches in the other order mean something else.
    found = [
        ff.Workflow.from_term("w", ff.choose([("input.x", one)], other), inputs=["x"], result=0)
        for one, other in [(term("b"), term("c")), (term("c"), term("b"))]
    ]
    assert not found[0].equivalent(found[1])


@pytest.mark.req("P1.3")
def test_sequences_nested_to_the_right_have_the_same_normal_form() -> None:
    def flow(term: object) -> ff.Workflow[..., object]:
        return ff.Workflow.from_definition({"name": "w", "term": term, "result": None})

    a, b, c, d = ({"task": name} for name in "abcd")
    nested = [[a, [b, [c, d]]], [[[a, b], c], d], [[a, b], [c, d]], [a, b, c, d], [a, [[b], c], [], d]]
    assert len({flow(it).hash for it in nested}) == 1
    assert ff.verify_law("sequence-associativity", *map(term, "abc")).because == "always"


@pytest.mark.req("P1.5")
def test_a_law_is_offered_for_rewriting_only_where_it_is_proven() -> None:
    writes, reads = (
        {"task": name, "id": name, mode: ["x"]} for name, mode in [("a", "writes"), ("b", "reads")]
    )
    assert not ff.verify_law("parallelisation", writes, reads)
    assert not ff.verify_law("parallelisation", writes, term("b"))
    assert ff.verify_law("parallelisation", writes, {**reads, "reads": ["y"]})


def test_tasks_and_workflows_stand_for_any_use_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))

    @ff.task(pure=True)
    def double(n: int, *, times: int) -> int:
        return n * times

    @ff.workflow
    def both(n: int) -> int:
        return double(double(n, times=2), times=3)

    for given in (double, both, double.term(1, times=2), both.definition["term"]):
        proof = ff.verify_law("parallel-idempotence", given)
        assert proof.because == "conditions"
        assert "pure" in {it.by for it in proof.conditions[0].points}
    with pytest.raises(TypeError, match="is no term"):
        ff.verify_law("parallel-idempotence", 5)  # type: ignore[arg-type]


def test_a_proof_is_plain_data_too() -> None:
    proof = ff.verify_law("commutation", term("a"), ff.Term({"task": "b<", "args": [{"$": "steps.a"}]}))
    found = json.loads(json.dumps(proof.to_dict()))
    assert found["verdict"] == "refuted"
    assert found["because"] == "false"
    assert found["counter_example"]["events"] == [
        ["start", "a"],
        ["end", "a"],
        ["start", "b<"],
        ["end", "b<"],
    ]
    assert found["counter_example"]["stuck"] == "`b<` would wait for itself"
    assert found["conditions"][0]["points"][0]["by"] == "values"
    page = proof._repr_html_()
    assert "b&lt;" in page
    assert "`b<`" not in page
    assert "can't run" in page.replace("&#x27;", "'")
    assert repr(proof) == "<commutation: refuted (false)>"
    always = ff.verify_law("parallel-commutativity", term("a"), term("b"))
    assert always
    assert "counter-example" not in always._repr_html_()


def test_what_can_not_be_verified_is_said() -> None:
    with pytest.raises(ValueError, match="there is no law 'gravity'"):
        ff.verify_law("gravity", term("a"))
    law = ff.algebra_laws()["commutation"]
    with pytest.raises(ff.DefinitionError, match="is about 2 terms, and 1 are given"):
        ff.verify_law(law, term("a"))
    with pytest.raises(ff.DefinitionError, match="unknown-field"):
        ff.verify_law(law, term("a"), {"task": "b", "typo": 1})
    with pytest.raises(ff.DefinitionError, match="is not CEL"):
        ff.verify_law("choice-idempotence", term("a"), when="1 +")
    circle = [ff.Term({"task": x, "args": [{"$": f"steps.{y}"}]}) for x, y in ("ab", "ba")]
    with pytest.raises(ff.DefinitionError, match="would wait for itself"):
        ff.verify_law(law, *circle)
