"""Three ways to write a workflow, and what a Ref refuses."""

import asyncio
import dataclasses
import functools
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import ferroflow as ff


@ff.task(name="d.load")
def load(path: str) -> list[int]:
    return [1, 2]


@ff.task(name="d.clean")
def clean(rows: list[int], strict: bool = True) -> list[int]:
    return rows


def test_a_task_called_outside_a_workflow_simply_runs() -> None:
    assert load("x") == [1, 2]
    assert load.fn("x") == [1, 2]


@pytest.mark.req("P1.3")
def test_tracing_operators_and_json_give_the_same_hash() -> None:
    @ff.workflow(name="same")
    def traced(path: str) -> Any:
        return clean(load(path), strict=False)

    rows = {"$": 'steps["d.load"]'}
    written = ff.load({
        "name": "same", "inputs": {"path": "str"},
        "term": [
            {"task": "d.load", "args": [{"$": "input.path"}]},
            {"task": "d.clean", "args": [rows], "with": {"strict": False}},
        ],
    })  # fmt: skip
    built = ff.Workflow.from_term(
        "same",
        load.term(ff.expr("input.path")) >> clean.term(ff.expr('steps["d.load"]'), strict=False),
        inputs={"path": "str"},
    )
    assert traced.hash == written.hash == built.hash


@pytest.mark.req("P1.2")
def test_operators_build_terms() -> None:
    a, b, c = load.term("a"), load.term("b"), load.term("c")
    assert (a >> b >> c).to_dict() == {"sequence": [a.to_dict(), b.to_dict(), c.to_dict()]}
    assert (a & b & c).to_dict() == {"parallel": [a.to_dict(), b.to_dict(), c.to_dict()]}
    assert (a >> (b & c)).to_dict() == {"sequence": [a.to_dict(), (b & c).to_dict()]}
    assert a.timeout("1s").to_dict() == {"timeout": "1000000us", "do": a.to_dict()}
    assert "catch" in a.on_error(b).to_dict()


def test_a_ref_can_not_leave_its_construct() -> None:
    @ff.workflow
    def flow(items: list) -> Any:  # type: ignore[type-arg]
        kept: list[Any] = []

        def body(item: Any) -> Any:
            kept.append(load(item))
            return kept[0]

        ff.each(items, body)
        return clean(kept[0])

    with pytest.raises(ff.DefinitionError, match="can't leave it"):
        _ = flow.definition


def test_a_definition_does_not_depend_on_where_it_was_first_traced() -> None:
    def inner() -> ff.Workflow[[list[str]], Any]:
        @ff.workflow(name="inner")
        def inner(paths: list[str]) -> Any:
            return ff.each(paths, load)

        return inner

    within, alone = inner(), inner()

    @ff.workflow
    def outer(folders: list[list[str]]) -> Any:
        return ff.each(folders, within)

    _ = outer.definition
    assert within.definition == alone.definition


def test_a_workflow_is_not_called_like_a_function() -> None:
    @ff.workflow
    def flow() -> Any:
        return load("x")

    with pytest.raises(ff.FerroflowError, match=r"engine\.run"):
        flow()


@pytest.mark.req("P8.45")
def test_two_tasks_of_one_name_are_refused() -> None:
    with pytest.raises(ff.DefinitionError, match="two tasks are called"):

        @ff.task(name="d.load")
        def other() -> None: ...


def test_wrong_arguments_and_options_are_found_while_tracing() -> None:
    @ff.workflow
    def flow() -> Any:
        return load(1, 2)  # type: ignore[call-arg, arg-type]

    with pytest.raises(TypeError, match=r"d\.load"):
        _ = flow.definition
    with pytest.raises(TypeError, match="unknown options"):
        load.options(retires=3)  # type: ignore[call-arg]


@pytest.mark.req("P8.68")
def test_options_are_written_in_standard_units() -> None:
    step = (
        load.options(timeout="1m", memory="2GiB", cpu=0.5, retry=ff.Retry(2, delay=0.5)).term("x").to_dict()
    )
    assert step["options"]["timeout"] == "60000000us"
    assert step["options"]["resources"] == {"cpu": 0.5, "memory": 2 << 30}
    assert step["options"]["retry"]["delay"] == "500000us"
    for given, found in ((timedelta(seconds=3), "3000000us"), (2.5, "2500000us"), (0, "0us"), (1e-9, "1us")):
        assert load.options(timeout=given).term("x").to_dict()["options"]["timeout"] == found
    for most in (0, 1, 9 * 10**15):
        assert load.options(memory=most).term("x").to_dict()["options"]["resources"]["memory"] == most
    for wrong in (-1, 9 * 10**15 + 1):
        with pytest.raises(ValueError, match="is no size"):
            load.options(memory=wrong).term("x")
    for late in (-1, 3.2e11, timedelta(seconds=-1)):
        with pytest.raises(ValueError, match="is not a duration"):
            load.options(timeout=late).term("x")


def test_signs_of_life_and_limits_are_checked_where_they_are_given() -> None:
    given = load.options(heartbeat="30s", limits={"memory": "1GB", "cpu": "30s"}, grace=0.5)
    found = given.term("x").to_dict()["options"]
    assert found == {
        "heartbeat": "30000000us",
        "limits": {"memory": 10**9, "cpu": "30000000us"},
        "grace": "500000us",
    }
    definition = {"name": "w", "term": given.term("x").to_dict()}
    validator = jsonschema.Draft202012Validator(ff.schema())
    validator.validate(definition)
    assert ff.load(definition).normal_form["term"]["options"] == found
    for wrong in ({"heartbeat": [1]}, {"limits": {"gpu": 1}}, {"limits": 5}, {"grace": "5x"}):
        assert not validator.is_valid({"name": "w", "term": {"task": "a", "options": wrong}}), wrong
    # What is None is not said.
    nothing = load.options(heartbeat=None, limits={"memory": None, "cpu": None}, grace=None)  # type: ignore[arg-type,typeddict-item]
    assert "options" not in nothing.term("x").to_dict()
    assert "options" not in load.options(limits=None).term("x").to_dict()  # type: ignore[arg-type]
    for options, error, said in (
        ({"heartbeat": -1}, ValueError, "not a duration"),
        ({"heartbeat": "30"}, ValueError, "without a unit"),
        ({"grace": "soon"}, ValueError, "does not start with a number"),
        ({"limits": {"memory": -1}}, ValueError, "is no size"),
        ({"limits": {"memory": "1 XB"}}, ValueError, "unknown unit"),
        ({"limits": {"cpu": -1}}, ValueError, "not a duration"),
        ({"limits": {"gpu": 1}}, TypeError, "give a dict of memory and cpu"),
        ({"limits": "1GB"}, TypeError, "give a dict of memory and cpu"),
    ):
        with pytest.raises(error, match=said):
            load.options(**options)


def test_definitions_obey_the_schema() -> None:
    @ff.workflow
    def flow(items: list, n: int = 2) -> Any:  # type: ignore[type-arg]
        first = ff.each(items, lambda item: load(item), limit=3)
        ff.choose([("input.n > 1", lambda: ff.sleep(1))], lambda: ff.signal("go"))
        ff.loop(lambda s: clean(s), init=first, while_="false", max=3)
        ff.on_error(lambda: ff.timeout(5, lambda: load("x")), lambda e: e["code"])
        return ff.first(1, lambda: load("a"), lambda: load("b"))

    schema = ff.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(flow.definition)
    sample = Path(__file__).parents[2] / "examples" / "sample.json"
    validator.validate(json.loads(sample.read_text()))
    assert not validator.is_valid({"name": "w", "term": {"task": "a", "typo": 1}})
    assert not validator.is_valid({"name": "w", "term": {"loop": {"task": "a"}, "while": "true"}})
    _ = flow.program


def test_yaml(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("name: w\nterm:\n  - task: d.load\n    args: [x]\n")
    assert ff.load(path).definition["term"][0]["task"] == "d.load"
    path.write_text("name: [")
    with pytest.raises(ff.DefinitionError, match="not YAML"):
        ff.load(path)


@pytest.mark.req("P9.112", "P9.113", "P9.114", "P9.115", "P9.116", "P9.117")
def test_system_tasks() -> None:
    compute, process = ff.library.compute, ff.library.data_process
    assert compute("avg", []) == {"result": 0.0}
    assert compute("sum", [1, 2.5]) == {"result": 3.5}
    assert compute("max", [1, 2]) == {"result": 2}
    for operation, values, code in (
        ("min", [], "INVALID_INPUT"),
        ("sum", [True], "INVALID_INPUT"),
        ("median", [1], "UNSUPPORTED_OPERATION"),
    ):
        with pytest.raises(ff.Fail) as caught:
            compute(operation, values)
        assert caught.value.code == code
    assert process("transform", {"a": ["x", 1]}) == {"result": {"a": ["X", 1]}}
    rows = [{"k": 1}, {"k": 2}]
    kept = process("filter", rows, condition_field="k", condition_value=2)
    assert kept == {"result": [{"k": 2}]}
    assert process("merge", {"a": 1, "b": 1}, merge_with={"b": 2}) == {"result": {"a": 1, "b": 2}}
    wrong: list[tuple[str, Any, Any, str]] = [
        ("filter", {"k": 1}, None, "INVALID_DATA"),
        ("merge", [1], {"b": 2}, "INVALID_DATA"),
        ("merge", {"a": 1}, None, "INVALID_MERGE_WITH"),
        ("sort", [2, 1], None, "UNSUPPORTED_OPERATION"),
    ]
    for operation, data, other, code in wrong:
        with pytest.raises(ff.Fail) as caught:
            process(operation, data, merge_with=other, condition_field="k")
        assert caught.value.code == code


@pytest.mark.req("P8.66")
def test_condition_evaluates_an_expression_over_data() -> None:
    condition = ff.library.condition
    assert condition("n > 2 && data.n < 5", {"n": 3}) == {"result": True}
    assert condition("size(data) == 0", [1]) == {"result": False}
    for expression, said in (("n +", "n \\+"), ("n + 1", "yields a int"), ("missing", "missing")):
        with pytest.raises(ff.Fail, match=said) as caught:
            condition(expression, {"n": 3})
        assert caught.value.code == "EXECUTION_FAILED"


@pytest.mark.req("P8.61", "P8.67")
def test_delay_waits_reports_and_can_be_cancelled() -> None:
    delay = ff.library.delay
    assert asyncio.run(delay.fn(delay_ms=5, delay="1h"))["delayed_ms"] == 5
    assert asyncio.run(delay.fn(delay="20ms"))["delayed_ms"] == 20
    for wrong in ({"delay_ms": "5"}, {"delay_ms": -1}, {"delay": "5 lightyears"}, {}):
        with pytest.raises(ff.Fail) as caught:
            asyncio.run(delay.fn(**wrong))
        assert caught.value.code == "INVALID_INPUT"
    with ff.Engine() as engine:
        handle = engine.start(ff.Workflow.from_term("w", delay.term(delay="1h")))
        until = time.monotonic() + 10
        while not any(step.percent for step in handle.steps()) and time.monotonic() < until:
            time.sleep(0.01)
        assert 0 < (handle.steps()[0].percent or 0) < 1
        begun = time.monotonic()
        handle.cancel("enough")
        with pytest.raises(ff.RunCancelled):
            handle.result(5)
    assert time.monotonic() - begun < 0.5
    demand = delay.term(delay_ms=1).to_dict()["options"]["resources"]
    assert demand == {"cpu": 0.1, "memory": 5_000_000, "disk": 1_000_000}
    demand = ff.library.condition.term("true", 1).to_dict()["options"]["resources"]
    assert demand == {"cpu": 0.2, "memory": 20_000_000, "disk": 5_000_000}


@ff.task(name="d.given")
def given(*values: Any, **named: Any) -> list[Any]:
    return [*values, named]


@dataclasses.dataclass
class Holder:
    held: Any


CODE = {"$": "1 + 1"}


@pytest.mark.parametrize(
    "value",
    [CODE, {"$const": 1}, {"$x": 1}, [CODE], {"a": CODE}, {1: CODE}, {1: {2: 3}}, {"$x": CODE, "y": 1}],
)
def test_constants_come_as_they_are_whatever_they_look_like(value: Any) -> None:
    @ff.workflow
    def constants(by_default: Any = value) -> Any:
        return given(value, Holder(value), by_default, named=value)

    @ff.workflow
    def outer() -> Any:
        return constants()

    with ff.Engine() as engine:
        wanted = [value, {"held": value}, value, {"named": value}]
        assert engine.run(constants) == engine.run(outer) == wanted
        assert engine.run(constants, CODE)[2] == CODE


@pytest.mark.parametrize("wrap", [lambda ref: {1: ref}, lambda ref: {"$x": ref}, Holder, lambda ref: {ref}])
def test_a_ref_that_would_be_lost_is_refused(wrap: Any) -> None:
    flow = ff.workflow(name="lost")(lambda: given(wrap(load("x"))))
    with pytest.raises(ff.DefinitionError, match=r"Ref .*can't be part of a definition"):
        _ = flow.program


@pytest.mark.parametrize("part", [1 << 64, "\ud800", object(), {load: 1}])
def test_what_no_definition_can_hold_is_refused(part: Any) -> None:
    with pytest.raises(ff.DefinitionError, match=r"definition|recorded"):
        _ = ff.workflow(name="held")(lambda: given(part)).program


def test_odd_tasks_and_values_are_refused_with_what_to_do() -> None:
    part = functools.partial(clean.fn, strict=False)
    with pytest.raises(TypeError, match=r"give it one with @ff\.task\(name="):
        ff.task(part)
    named = ff.task(name="d.part")(part)

    @ff.workflow
    def flow() -> Any:
        return named([1])

    with ff.Engine() as engine:
        assert engine.run(flow) == [1]
    with pytest.raises(TypeError, match="commutes_with='ab': give a list"):
        load.options(commutes_with="ab")
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    with pytest.raises(ff.DefinitionError, match="contains itself"):
        clean.term(cyclic)
