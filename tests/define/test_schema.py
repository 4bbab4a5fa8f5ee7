"""The JSON Schema of a task's parameters, of any task and of all system tasks."""

import dataclasses
import enum
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import jsonschema
import msgspec
import pydantic
import pytest

import ferroflow as ff

LIBRARY = [getattr(ff.library, name) for name in ff.library.__all__]

VALID: dict[str, list[dict[str, Any]]] = {
    "compute": [{"operation": "sum", "values": []}, {"operation": "max", "values": [1, 2.5]}],
    "condition": [{"condition": "true", "data": None}],
    "data_process": [
        {"operation": "transform"},
        {"operation": "filter", "data": [{"a": 1}], "condition_field": "a", "condition_value": 1},
        {"operation": "merge", "data": {}, "merge_with": {}},
    ],
    "delay": [{"delay_ms": 0}, {"delay": "1m"}, {"delay": 1.5}],
    "http": [
        {"url": "http://a"},
        {"url": "HTTPS://a/b", "method": "gEt", "headers": {"A": "b"}, "body": [1], "params": {"a": [1]}},
        {"url": "http://a", "max_body": "1MB", "timeout_ms": 1, "fail_on_status": True},
    ],
    "transform": [{"data": None, "transform": "a"}, {"data": 1, "transform": {"a": "b"}}],
}
VALID["command"] = [
    {"args": ["ls", 1, 1.5]},
    {
        "shell": "ls",
        "stdin": "text",
        "variables": {"A": "b"},
        "output": "json",
        "ok": [0, 1],
        "max_output": "1MB",
    },
]
VALID["http_request"] = VALID["http"]

INVALID: dict[str, list[dict[str, Any]]] = {
    "compute": [
        {"operation": "sum"},
        {"operation": "median", "values": []},
        {"operation": "sum", "values": ["1"]},
    ],
    "condition": [{"data": 1}, {"condition": "true"}, {"condition": True, "data": 1}],
    "data_process": [{}, {"operation": "sort"}, {"operation": "filter", "condition_field": 1}],
    "delay": [{"delay_ms": -1}, {"delay_ms": 1.5}, {"delay_ms": "1"}, {"delay": -1}, {"seconds": 1}],
    "http": [
        {},
        {"url": "ftp://a"},
        {"url": "http://a", "method": "TRACE"},
        {"url": "http://a", "method": "GETS"},
        {"url": "http://a", "headers": {"A": 1}},
        {"url": "http://a", "params": [1]},
        {"url": "http://a", "timeout_ms": 0},
        {"url": "http://a", "max_body": -1},
        {"url": "http://a", "follow_redirects": "yes"},
        {"url": "http://a", "retries": 3},
    ],
    "transform": [
        {"data": 1},
        {"transform": "a"},
        {"data": 1, "transform": 1},
        {"data": 1, "transform": {"a": 1}},
    ],
}
INVALID["command"] = [
    {"args": "ls"},
    {"args": [None]},
    {"shell": 1},
    {"shell": "ls", "variables": {"A": 1}},
    {"shell": "ls", "output": "xml"},
    {"shell": "ls", "stdout_file": ""},
    {"shell": "ls", "ok": 0},
    {"shell": "ls", "mode": 1},
]
INVALID["http_request"] = INVALID["http"]


@pytest.mark.req("P8.67", "P9.110")
@pytest.mark.parametrize("task", LIBRARY, ids=lambda task: task.name)
def test_a_system_task_declares_what_it_takes(task: ff.Task[..., Any]) -> None:
    demand = task._options["resources"]
    assert 0 < task._options["cpu"] <= 0.5
    assert task._options["memory"]
    assert demand["disk"]
    schema = task.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert (schema["title"], schema["type"]) == (task.name, "object")
    assert schema["description"]
    validator = jsonschema.Draft202012Validator(schema)
    for parameters in VALID[task.name]:
        validator.validate(parameters)
    for parameters in INVALID[task.name]:
        assert not validator.is_valid(parameters), parameters


@pytest.mark.req("P9.110")
@pytest.mark.parametrize("name", sorted(ff.library.__all__))
def test_a_definition_uses_a_system_task_by_its_name(name: str) -> None:
    term = {"choice": [{"if": "false", "then": {"task": name, "with": VALID[name][0]}}]}
    with ff.Engine() as engine:
        assert engine.run(ff.load({"name": "w", "term": term})) is None


class Colour(enum.Enum):
    RED = "red"


class Model(pydantic.BaseModel):
    n: int
    more: "list[Model]" = []


@dataclasses.dataclass
class Point:
    x: int
    colour: Colour = Colour.RED


class Odd:
    pass


@ff.task(name="s.many")
def many(  # type: ignore[no-untyped-def]
    point: Point,
    points: Sequence[Point],
    model: Model,
    when: datetime,
    odd: Odd,
    odds: list[Odd],
    unknown: "NotThere",  # type: ignore[name-defined]  # noqa: F821
    bare,
    either: Literal["a", "b"] | None = None,
    bounded: Annotated[int, msgspec.Meta(gt=3)] = 5,
    default: Any = Odd(),  # noqa: B008
    *args: int,
    last: bool = False,
    **kwargs: float,
) -> Any:
    """Take much.

    And more.
    """


def test_any_task_has_a_schema() -> None:
    schema = many.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["description"] == "Take much."
    assert schema["required"] == [
        "point", "points", "model", "when", "odd", "odds", "unknown", "bare",
    ]  # fmt: skip
    assert [*schema["properties"]] == [*schema["required"], "either", "bounded", "default", "last"]
    assert schema["properties"]["unknown"] == schema["properties"]["bare"] == {}
    assert "type" not in schema["properties"]["odd"]
    assert "default" not in schema["properties"]["default"]
    assert schema["properties"]["bounded"]["default"] == 5
    validator = jsonschema.Draft202012Validator(schema)
    right = {
        "point": {"x": 1, "colour": "red"}, "points": [{"x": 1}], "model": {"n": 1, "more": [{"n": 2}]},
        "when": "2026-01-01T00:00:00Z", "odd": object, "odds": [1], "unknown": 1, "bare": None,
    }  # fmt: skip
    validator.validate(right)
    validator.validate({**right, "either": "a", "bounded": 4, "last": True, "more": 1.5})
    for wrong in (
        {"point": {"x": "1"}}, {"points": [{"x": 1, "colour": "blue"}]}, {"model": {"n": 1, "more": [{}]}},
        {"when": 1}, {"odds": 1}, {"either": "c"}, {"bounded": 3}, {"last": 1}, {"more": "1"},
    ):  # fmt: skip
        assert not validator.is_valid({**right, **wrong}), wrong


def test_a_task_without_parameters_takes_none() -> None:
    @ff.task(name="s.none")
    def none() -> None:
        pass

    schema = none.schema()
    assert jsonschema.Draft202012Validator(schema).is_valid({})
    assert not jsonschema.Draft202012Validator(schema).is_valid({"a": 1})
    assert "required" not in schema
    assert "description" not in schema


def test_types_of_one_name_stay_apart() -> None:
    @dataclasses.dataclass
    class Point:
        y: str

    outer = many.fn.__annotations__["point"]

    def both(one, other):  # type: ignore[no-untyped-def]
        return one, other

    both.__annotations__.update(one=outer, other=Point)
    schema = ff.task(name="s.both")(both).schema()
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate({"one": {"x": 1}, "other": {"y": "1"}})
    assert not validator.is_valid({"one": {"y": "1"}, "other": {"y": "1"}})
