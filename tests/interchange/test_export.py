"""A run that has ended is written as a WfFormat instance."""

import itertools
import json
import os
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

import ferroflow as ff
from ferroflow import interchange

TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 1}
TASK_ID = {"type": "string", "pattern": "^[0-9a-zA-Z_.-]+$"}
NUMBER = {"type": "number"}


def objects(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required.split()}


SCHEMA = objects(
    "name schemaVersion workflow",
    name=TEXT,
    description=TEXT,
    createdAt=TEXT,
    schemaVersion={"const": "1.5"},
    runtimeSystem=objects("name version", name=TEXT, version=TEXT, url=TEXT),
    author=objects("name email", name=TEXT, email=TEXT),
    workflow=objects(
        "specification",
        specification=objects(
            "tasks",
            tasks={
                "type": "array",
                "minItems": 1,
                "items": objects(
                    "name id parents children",
                    name=TEXT,
                    id=TASK_ID,
                    parents={"type": "array", "items": TASK_ID},
                    children={"type": "array", "items": TASK_ID},
                ),
            },
        ),
        execution=objects(
            "makespanInSeconds executedAt tasks",
            makespanInSeconds=NUMBER,
            executedAt=TEXT,
            tasks={
                "type": "array",
                "minItems": 1,
                "items": objects(
                    "id runtimeInSeconds",
                    id=TASK_ID,
                    runtimeInSeconds=NUMBER,
                    avgCPU=NUMBER,
                    memoryInBytes=NUMBER,
                    readBytes=NUMBER,
                    writtenBytes=NUMBER,
                ),
            },
            machines={
                "type": "array",
                "minItems": 1,
                "items": objects(
                    "nodeName",
                    nodeName=TEXT,
                    system={"enum": ["linux", "macos", "windows"]},
                    architecture=TEXT,
                    release=TEXT,
                    memoryInBytes=COUNT,
                    cpu=objects("", coreCount=COUNT, speedInMHz=COUNT, vendor=TEXT),
                ),
            },
        ),
    ),
)
"""What the schema of WfFormat 1.5 asks for of the parts that are written."""


@ff.task(name="export.step")
def step(*_: Any) -> Any:
    return 1


@ff.task(name="export.three")
def three() -> list[int]:
    return [1, 2, 3]


@ff.task(name="export.bad")
def bad() -> Any:
    raise ValueError("as told")


def named(name: str) -> Any:
    return step.options(id=name)


def written(function: Callable[[], Any], *, fails: bool = False) -> interchange.Instance:
    flow: Any = ff.workflow(name="made")(function)
    with ff.Engine(node="elsewhere") as engine:
        handle = engine.start(flow)
        if fails:
            with pytest.raises(ff.RunFailed):
                handle.result(20)
        else:
            handle.result(20)
        instance = interchange.to_wfformat(handle.view())
    jsonschema.validate(json.loads(instance.to_json()), SCHEMA)
    assert interchange.read(instance.to_json()) == instance
    return instance


def parents(instance: interchange.Instance) -> dict[str, list[str]]:
    return {task.id: sorted(task.parents) for task in instance.tasks}


def test_a_run_is_written_with_what_its_tasks_took() -> None:
    def flow() -> Any:
        one = named("one")()
        return named("last")([named("two")(one), named("three")(one)])

    instance = written(flow)
    assert parents(instance) == {"one": [], "two": ["one"], "three": ["one"], "last": ["three", "two"]}
    assert {task.name for task in instance.tasks} == {"export.step"}
    assert instance.workflow.execution is not None
    assert 0 < (instance.makespan or 0) < 20
    assert instance.workflow.execution.executed_at.endswith("+00:00")
    assert [machine.node_name for machine in instance.machines] == ["elsewhere"]
    for task in instance.executions.values():
        assert task.runtime_in_seconds >= 0
        assert task.machines == ["elsewhere"]


def test_this_machine_is_described() -> None:
    with ff.Engine() as engine:
        handle = engine.start(ff.Workflow.from_term("w", step.term()))
        handle.result(20)
        (machine,) = interchange.to_wfformat(handle.view()).machines
    assert machine.node_name == os.uname().nodename
    assert machine.cpu is not None
    assert machine.cpu.core_count == os.cpu_count()
    assert (machine.memory_in_bytes or 0) > 1 << 20


def test_composites_are_left_out_and_their_order_stays() -> None:
    def flow() -> Any:
        found = ff.each(three(), lambda item: named("b")(named("a")(item)))
        turned = ff.loop(lambda state: named("turn")(state), init=found, while_="state_iteration < 2", max=3)
        chosen = ff.choose([(ff.expr("true"), lambda: named("yes")(turned))], lambda: named("no")())
        caught = ff.on_error(lambda: bad(), lambda error: named("mend")(error))
        return named("end")([chosen, caught])

    assert parents(written(flow)) == {
        "export.three": [],
        "each_0.a": ["export.three"],
        "each_0.b": ["each_0.a"],
        "each_1.a": ["export.three"],
        "each_1.b": ["each_1.a"],
        "each_2.a": ["export.three"],
        "each_2.b": ["each_2.a"],
        "loop_0.turn": ["each_0.b", "each_1.b", "each_2.b"],
        "loop_1.turn": ["loop_0.turn"],
        "choice.yes": ["loop_1.turn"],
        "try.export.bad": [],
        "try.catch.mend": ["try.export.bad"],
        "end": ["choice.yes", "try.catch.mend"],
    }


def test_a_workflow_in_itself_is_in_order() -> None:
    @ff.workflow(name="made.deep", max_depth=5)
    def down(n: int) -> Any:
        less: Any = ff.library.compute.options(id="less")("sum", [n, -1])
        return ff.choose([(ff.expr("n > 0", n=n), lambda: down(less["result"]))], lambda: named("last")())

    with ff.Engine() as engine:
        handle = engine.start(down, 2)
        handle.result(20)
        instance = interchange.to_wfformat(handle.view())
    found = [*parents(instance).items()]
    assert len(found) == 4
    assert found[0][1] == []
    for (before, _), (_, after) in itertools.pairwise(found):
        assert after == [before]


@pytest.mark.req("P7.98")
def test_composites_nest_as_deeply_as_they_may() -> None:
    @ff.workflow(name="made.deepest", max_depth=200)
    def down(n: int) -> Any:
        less: Any = ff.library.compute.options(id="less")("sum", [n, -1])

        def further() -> Any:
            return ff.timeout("1m", lambda: ff.on_error(lambda: down(less["result"]), lambda: 0))

        return ff.choose([(ff.expr("n > 0", n=n), further)])

    with ff.Engine() as engine:
        handle = engine.start(down, 190)
        handle.result(50)
        instance = interchange.to_wfformat(handle.view())
    assert len(instance.tasks) == 191
    assert len(instance.columns.sources) == 190


def test_timers_are_tasks_and_what_never_began_is_not() -> None:
    def flow() -> Any:
        named("after")(ff.sleep(0.05))
        return named("never")(bad())

    instance = written(flow, fails=True)
    assert "never" not in parents(instance)
    assert [task.name for task in instance.tasks if task.id == "sleep"] == ["sleep"]
    assert "which ended failed" in (instance.description or "")


def test_many_ends_of_a_composite_meet_in_a_task() -> None:
    @ff.workflow(name="made.many")
    def flow(items: list[int]) -> Any:
        first = ff.each(items, step)
        return ff.each(ff.expr("first", first=first), step)

    with ff.Engine() as engine:
        handle = engine.start(flow, [*range(200)])
        handle.result(20)
        instance = interchange.to_wfformat(handle.view())
    assert len(instance.tasks) == 402
    assert len(instance.columns.sources) == 600
    assert instance.executions["each"].runtime_in_seconds == 0


def test_a_run_that_goes_on_or_did_nothing_is_refused() -> None:
    with ff.Engine() as engine:
        handle = engine.start(ff.Workflow.from_term("w", ff.Term({"signal": "go"})))
        with pytest.raises(ff.InvalidInput, match="is running"):
            interchange.to_wfformat(handle.view())
        handle.cancel()
        nothing = engine.start(ff.Workflow.from_term("w", ff.Term({"sequence": []})))
        nothing.result(20)
        with pytest.raises(ff.InvalidInput, match="has begun no step"):
            interchange.to_wfformat(nothing.view())
