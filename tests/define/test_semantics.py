"""What definitions mean when they run: order, results, bindings, variables."""

import subprocess
import sys
from typing import Any

import pytest

import ferroflow as ff


@ff.task(name="s.step")
def step(value: Any = None, *others: Any) -> Any:
    return value


@ff.task(name="s.fail")
def fail() -> Any:
    raise ff.Fail("BROKEN", "as told")


def run(term: Any, result: Any = ..., inputs: dict[str, Any] | None = None) -> Any:
    definition = {"name": "s", "inputs": dict.fromkeys(inputs or {}, "any"), "term": term}
    if result is not ...:
        definition["result"] = result
    with ff.Engine() as engine:
        return engine.run(ff.load(definition), **(inputs or {}))


def a(value: Any, **fields: Any) -> dict[str, Any]:
    return {"task": "s.step", "args": [value], **fields}


def read(expression: str) -> dict[str, str]:
    return {"$": expression}


@pytest.mark.req("P1.1")
@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (a(1), 1),
        ([a(1, id="x"), a(read("steps.x + 1"))], 2),
        ({"parallel": [a(1, id="x"), a(2, id="y")]}, {"x": 1, "y": 2}),
        ({"choice": [{"if": "1 > 2", "then": a("then")}], "else": a("else")}, "else"),
        ({"choice": [{"if": "1 < 2", "then": a("then")}], "else": a("else")}, "then"),
        ({"loop": a(read("state * 2")), "init": 1, "while": "state < 20", "max": 9}, 32),
        ({"timeout": "1m", "do": a(1)}, 1),
        ({"try": {"timeout": "10ms", "do": {"signal": "never"}}, "catch": a(read("error.code"))}, "TIMEOUT"),
        ({"try": {"task": "s.fail"}, "catch": a(read("error"))}, None),
    ],
)
def test_each_kind_of_term_runs(term: Any, expected: Any) -> None:
    found = run(term)
    if expected is None:
        assert found["code"] == "BROKEN"
        assert found["message"] == "as told"
        assert found["step"] == "try/s.fail"
    else:
        assert found == expected


@pytest.mark.req("P7.85")
def test_the_result_is_mapped_from_steps() -> None:
    rows = a({"rows": [{"n": 1}, {"n": 2}]}, id="load")
    mapping = {"last": read("steps.load.rows[-1].n"), "more": [read("steps.load.rows[0]"), "constant"]}
    assert run([rows, a(0)], mapping) == {"last": 2, "more": [{"n": 1}, "constant"]}


@pytest.mark.req("P7.87")
def test_without_a_mapping_the_final_steps_yield_the_result() -> None:
    assert run([a(1), a(2), a(3)]) == 3
    assert run([a(1), {"parallel": [a(2, id="x"), a(3, id="y")]}]) == {"x": 2, "y": 3}
    assert run([{"parallel": [a(2), a(3)]}, a(4)]) == 4
    # A step is final if nothing waits for it, or reads it.
    assert run({"partial": [a(5, id="x"), a(read("steps.x"), id="y"), a(6, id="z")]}) == {"y": 5, "z": 6}


@pytest.mark.req("P7.92")
def test_an_empty_workflow_completes() -> None:
    assert run([]) is None
    assert run({"parallel": [[], {"partial": []}]}) is None


@pytest.mark.req("P7.89")
def test_a_run_begins_with_the_steps_that_wait_for_nothing() -> None:
    done: list[str] = []

    @ff.task(name="s.note")
    def note(name: str) -> None:
        done.append(name)

    def member(name: str, *after: str) -> dict[str, Any]:
        return {"task": "s.note", "id": name, "args": [name], "after": [*after]}

    run({"partial": [member("last", "one", "two"), member("one"), member("two")]})
    assert (sorted(done[:2]), done[2:]) == (["one", "two"], ["last"])


@pytest.mark.req("P4.131", "P9.119")
def test_a_task_gets_inputs_variables_results_and_constants() -> None:
    @ff.task(name="s.show")
    def show(*args: Any, **kwargs: Any) -> Any:
        return [args, kwargs]

    term = [
        a([7, 8], id="load", set={"seen": "result[1]"}),
        {
            "task": "s.show",
            "args": [read("input.n"), read("vars.seen"), read("steps.load")],
            "with": {"constant": 3, "nested": {"deep": [read("steps.load[0] + input.n")]}},
        },
    ]
    expected = [[1, 8, [7, 8]], {"constant": 3, "nested": {"deep": [8]}}]
    assert run(term, inputs={"n": 1}) == expected


@pytest.mark.req("P9.118")
def test_a_post_action_sets_a_variable_from_a_path_into_the_result() -> None:
    load = a({"rows": [{"n": 5}]}, id="load", set={"first": "result.rows[0].n", "all": "result"})
    assert run([load, a([read("vars.first"), read("vars.all.rows")])]) == [5, [{"n": 5}]]


@pytest.mark.req("P9.120")
def test_a_task_declares_how_it_is_run() -> None:
    @ff.task(
        name="s.declared",
        timeout="90s",
        retry=ff.Retry(4, delay="200ms", backoff="exponential", factor=3, cap="5s"),
        critical=False,
        on_upstream_failure="run",
        cpu=0.5,
        memory="1GiB",
        resources={"licence": 1},
    )
    async def declared() -> int:
        return 1

    assert declared.is_async
    flow = ff.Workflow.from_term("s", declared.options(set={"seen": "result"}).term())
    assert flow.normal_form["term"] == {
        "task": "s.declared",
        "id": "s.declared",
        "set": {"seen": "result"},
        "options": {
            "retry": {
                "max_retries": 4, "backoff": "exponential", "delay": "200000us", "factor": 3,
                "cap": "5000000us", "jitter": 0,
            },
            "timeout": "90000000us",
            "critical": False,
            "on_upstream_failure": "run",
            "resources": {"cpu": 0.5, "memory": 1 << 30, "licence": 1},
        },
    }  # fmt: skip


@pytest.mark.req("P9.70", "P9.71")
@pytest.mark.parametrize(
    ("term", "code", "names"),
    [
        ({"partial": [a(1, id="x", after=["x"])]}, "cyclic-dependency", ["x"]),
        (a(read("steps.x"), id="x"), "cyclic-dependency", ["x -> x"]),
        ([a(read("steps.y"), id="x"), a(1, id="y")], "cyclic-dependency", ["x -> y -> x"]),
        ({"partial": [a(1, id="x", after=["lost"])]}, "unknown-reference", ["lost", "partial[0]"]),
        (a(read("steps.lost"), id="x"), "unknown-reference", ["lost", "at x"]),
    ],
)
def test_dependencies_are_checked_before_a_run(term: Any, code: str, names: list[str]) -> None:
    with ff.Engine() as engine:
        with pytest.raises(ff.DefinitionError) as caught:
            engine.start(ff.load({"name": "s", "term": term}))
        assert not engine.list()
    [problem] = caught.value.problems
    assert problem.code == code
    assert all(name in str(problem) for name in names), problem


@pytest.mark.req("P1.3")
def test_the_hash_is_the_same_in_every_process() -> None:
    definition = {"name": "s", "term": {"parallel": [a({"x": 1, "y": [2, 3]}), a(2), [a(3), a(4)]]}}
    script = f"import ferroflow as ff; print(ff.load({definition!r}).hash)"
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {ff.load(definition).hash}
