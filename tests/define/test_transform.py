"""The system task `transform`: JMESPath over data, which ends whatever the expression is."""

import contextvars
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ferroflow as ff
from ferroflow.define.attempt import attempt
from ferroflow.define.library import query

transform = ff.library.transform

ROWS = {"rows": [{"n": 1, "who": "a"}, {"n": 3, "who": "b"}, {"n": 2, "who": "c"}]}


@pytest.mark.req("P8.65")
@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("rows[?n > `1`].who", ["b", "c"]),
        ("sort_by(rows, &n)[-1]", {"n": 3, "who": "b"}),
        ("{most: max(rows[].n), who: rows[*].who}", {"most": 3, "who": ["a", "b", "c"]}),
        ("join(', ', rows[*].who)", "a, b, c"),
        ("[[rows[0]], rows[1:]][]|length(@)", 3),
        ("to_string(rows[0])", '{"n":1,"who":"a"}'),
        ("rows[0] == {n: `1`, who: 'a'}", True),
        ("missing.too", None),
        ({"total": "sum(rows[*].n)", "first": "rows[0].who"}, {"total": 6, "first": "a"}),
        ({}, {}),
    ],
)  # fmt: skip
def test_what_an_expression_selects(expression: Any, found: Any) -> None:
    assert transform(ROWS, expression) == found


@pytest.mark.req("P8.65")
@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("rows[", r"transform: 'rows\[': .*at character 6"),
        ("", "transform: ''"),
        ("rows[?]", "at character 7"),
        ("rows.#", "at character 6"),
        ("sum(rows)", r"sum\(\), invalid type"),
        ("none_such(@)", r"Unknown function: none_such\(\)"),
        ("length(@, @)", "length"),
        ("sort(rows[*].[n, who][])", "sort"),
        ("'a' < `1`", "TypeError"),
        ({"fine": "rows", "bad one": "sum("}, r"transform\['bad one'\]: 'sum\('"),
        ("a" * 4097, "it has 4097 bytes, more than 4096"),
        ("ä" * 2049, "it has 4098 bytes"),
        ("[" * 33 + "@" + "]" * 33, "more than 32 levels of brackets, at character 33"),
        ("(" * 33 + "a" + ")" * 33, "more than 32 levels"),
        ("a[?" * 33, "more than 32 levels"),
        ("!" * 4000 + "a", "nest"),
        ("a" + "|a" * 2000, "nest"),
        ("a" + "||a" * 1000, "nest"),
        ("*" + ".*" * 2000, "nest"),
        ("[]" * 2000, "nest"),
        ("`" + "[" * 4000 + "]" * 4000 + "`", "more than 4096"),
        ("`" + "[" * 2000 + "]" * 2000 + "`", "nest"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_the_expression_and_the_place(expression: Any, said: str) -> None:
    with pytest.raises(ff.Fail, match=said) as caught:
        transform(ROWS, expression)
    assert (caught.value.code, caught.value.retriable) == ("EXECUTION_FAILED", False)
    assert len(caught.value.message) < 1000


def test_as_deep_as_may_be() -> None:
    assert transform(1, "[" * 32 + "@" + "]" * 32) is not None
    assert transform(1, "@" + "|@" * 98) == 1


@pytest.mark.parametrize("wrong", [None, 1, ["a"], {"a": 1}])
def test_an_expression_is_a_text(wrong: Any) -> None:
    with pytest.raises(ff.Fail, match="expression") as caught:
        transform(ROWS, wrong)
    assert caught.value.code == "INVALID_INPUT"


@pytest.mark.parametrize(
    "expression",
    [
        # Each doubles what there is, in another way.
        "[@, @]" + "|[@, @]" * 90,
        "[@, @]" + "|[@, @][]" * 60,
        "{a: @, b: @}" + "|{a: @, b: @}" * 60,
        "to_string(@)" + "|join('', [@, @])" * 60,
        "[@, @]" + "|[@, @]" * 60 + "|to_string(@)",
        "[@, @]" + "|[@, @]" * 60 + "|contains([@], @)",
        "[@, @]" + "|[@, @]" * 40 + "|[@ == `1`, @]|@[0]",
        "[@, @]" + "|[@, @]" * 40 + "|[[@, @] == [@, @]]",
        f"[{'@,' * 1000}@][]" + f"|[{'@,' * 500}@][]" * 2,
    ],
)
def test_what_would_grow_without_end_ends(expression: str) -> None:
    begun = time.process_time()
    with pytest.raises(ff.Fail, match="takes more than 10,000,000 steps") as caught:
        transform("x" * 100, expression)
    assert caught.value.code == "EXECUTION_FAILED"
    assert time.process_time() - begun < 30


WORDS = [
    "rows",
    "n",
    "sort",
    "map",
    "max_by",
    "join",
    "to_string",
    "'t'",
    "`1`",
    "`[1]`",
    '"q"',
    "-1",
    "0",
    "é",
]
MARKS = [*"@*[](){}.,:|&!<`", "[?", "[]", "||", "&&", "=="]
PIECES = st.sampled_from(WORDS + MARKS)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_whatever_the_expression_it_selects_or_fails(expression: str) -> None:
    try:
        msgspec.msgpack.encode(transform(ROWS, expression), enc_hook=repr)
    except ff.Fail as failure:
        assert failure.code == "EXECUTION_FAILED"  # noqa: PT017


def test_the_steps_of_all_expressions_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "_STEPS", 1_000_000)
    data = [*range(40_000)]
    assert transform(data, "length([?@ > `1`])") == 39_998
    with pytest.raises(ff.Fail, match=r"transform\['\d'\]: .*more than 1,000,000"):
        transform(data, {str(n): "length([?@ > `1`])" for n in range(10)})


def test_a_cancelled_expression_ends() -> None:
    class Stopped:
        def is_stopped(self) -> bool:
            return True

    here = contextvars.copy_context()
    here.run(attempt.set, (Stopped(), b"", None))  # type: ignore[arg-type]
    with pytest.raises(ff.Cancelled):
        here.run(transform, [*range(100_000)], "[?@ > `1`]")


@pytest.mark.req("P8.65", "P8.67")
def test_a_definition_in_json_reshapes() -> None:
    flow = ff.load({
        "name": "w",
        "inputs": {"data": "map"},
        "term": {"task": "transform", "with": {"data": {"$": "input.data"}, "transform": "rows[*].n"}},
    })  # fmt: skip
    with ff.Engine() as engine:
        assert engine.run(flow, ROWS) == [1, 3, 2]
    demand = transform.term(1, "@").to_dict()["options"]["resources"]
    assert demand == {"cpu": 0.5, "memory": 50_000_000, "disk": 5_000_000}
