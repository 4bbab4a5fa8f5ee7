"""WfFormat instances are read as they are, and refused with everything that is wrong with them."""

import copy
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferroflow import interchange
from ferroflow.errors import DefinitionError, InvalidInstance, PlanError, Problem
from ferroflow.plan import Node, plan
from tests.interchange import made, real

Json = dict[str, Any]


def problems(source: Any) -> list[Problem]:
    with pytest.raises(InvalidInstance) as caught:
        interchange.read(source)
    assert isinstance(caught.value, DefinitionError)
    for problem in caught.value.problems:
        assert problem.code in str(caught.value)
        assert problem.place in str(caught.value)
    return caught.value.problems


def only(source: Any) -> Problem:
    found = problems(source)
    assert len(found) == 1, found
    return found[0]


def without_empty(value: Any) -> Any:
    """What is written has no empty lists where the format does not want them."""
    if isinstance(value, dict):
        return {key: without_empty(it) for key, it in value.items() if it not in ([], None)}
    return [without_empty(it) for it in value] if isinstance(value, list) else value


def test_an_instance_has_its_tasks_files_and_what_was_recorded() -> None:
    instance = made.read(made.diamond())
    assert [task.id for task in instance.tasks] == ["a", "b", "c", "d"]
    assert instance.executions["b"].machines == ["n1", "n2"]
    assert instance.makespan == 10
    assert [file.size_in_bytes for file in instance.files] == [1000, 200, 30]
    assert repr(instance) == "<instance made, 4 tasks>"


@pytest.mark.req("P7.134", "P7.151")
def test_a_graph_is_made_of_an_instance() -> None:
    graph = made.read(made.diamond()).columns.graph()
    assert graph.names == ("a", "b", "c", "d")
    assert graph.named(graph.successors("a")) == ["b", "c", "d"]
    assert graph.named(graph.predecessors("d")) == ["a", "b", "c"]
    found = graph.critical_path()
    assert graph.named(found.path) == ["a", "b", "d"]
    assert found.length == 3.75


@pytest.mark.req("P7.134", "P7.135")
def test_columns_are_plain_arrays() -> None:
    columns = made.read(made.diamond()).columns
    assert columns.names == ["a", "b", "c", "d"]
    assert [*columns.runtimes] == [1.5, 2, 0, 0.25]
    # A little more than one processor is one, as measured; what is not recorded is busy.
    assert [*columns.cores] == [1, 4, 1, 1]
    assert [*columns.cpu] == [50, 182.5, 100, 104]
    assert [*columns.memory] == [3_000_000, 0, 0, 0]
    edges = [*zip(columns.sources, columns.targets, columns.bytes, strict=True)]
    # `d` reads `x` of `a` although it does not name `a`.
    assert edges == [(0, 1, 200), (0, 2, 200), (0, 3, 200), (1, 3, 30), (2, 3, 0)]
    arrays = ("runtimes", "cores", "cpu", "memory", "sources", "targets", "bytes")
    assert [memoryview(getattr(columns, name)).format for name in arrays] == [*"dIdqIIq"]


def test_two_processors_are_needed_where_more_than_one_was_used() -> None:
    took: dict[str, Json] = {"a": {"avgCPU": 182.5}, "b": {"avgCPU": 109.9}, "c": {"avgCPU": 0}}
    columns = made.read(made.instance({"a": [], "b": [], "c": []}, took=took)).columns
    assert [*columns.cores] == [2, 1, 1]


def test_an_edge_counts_if_one_of_its_ends_names_it() -> None:
    source = made.instance({"a": ["b"], "b": ["c"], "c": []})
    tasks = source["workflow"]["specification"]["tasks"]
    tasks[0]["children"], tasks[2]["parents"] = [], []
    columns = made.read(source).columns
    assert [*zip(columns.sources, columns.targets, strict=True)] == [(0, 1), (1, 2)]


def test_a_file_with_several_writers_orders_nothing() -> None:
    source = made.instance(
        {"a": ["c"], "b": [], "c": []},
        reads={"a": ["x"], "b": ["x"], "c": ["x"]},
        writes={"a": ["x"], "b": ["x"]},
        sizes={"x": 9},
    )
    columns = made.read(source).columns
    assert [*zip(columns.sources, columns.targets, columns.bytes, strict=True)] == [(0, 2, 9)]


def test_more_processors_than_a_machine_has_were_not_used() -> None:
    source = made.diamond()
    ran = source["workflow"]["execution"]["tasks"]
    ran[1] = {"id": "b", "runtimeInSeconds": 1, "avgCPU": 5000}
    ran[2] |= {"avgCPU": 5000, "coreCount": 64}
    cores = dict(zip("abcd", made.read(source).columns.cores, strict=True))
    assert (cores["b"], cores["c"]) == (8, 64)


def test_an_instance_need_not_have_been_executed() -> None:
    instance = made.read(made.instance({"a": []}))
    assert instance.makespan is None
    assert [*instance.columns.runtimes] == [0]
    assert instance.machines == []
    with pytest.raises(PlanError, match="at least one"):
        plan(instance.columns, instance.platform(), "heft")


@pytest.mark.req("P7.147")
def test_machines_are_a_platform() -> None:
    platform = made.read(made.diamond()).platform(bandwidth="1MiB", latency="2ms")
    assert (platform.bandwidth, platform.latency) == (1 << 20, 0.002)
    assert platform.nodes == (
        Node("n1", cores=8, memory=1 << 34),
        Node("n2", labels={"system": "linux", "vendor": "V"}),
    )


def set_in(place: str, value: Any) -> Callable[[Json], None]:
    """Return what puts a value at a place such as `workflow.specification.tasks.0.id`."""

    def change(source: Json) -> None:
        *path, last = [int(it) if it.isdigit() else it for it in place.split(".")]
        at: Any = source
        for key in path:
            at = at[key]
        at[last] = value

    return change


TASK, RAN = "workflow.specification.tasks", "workflow.execution.tasks"


@pytest.mark.parametrize(
    ("change", "code", "place"),
    [
        (set_in("schemaVersion", "1.4"), "wrong-version", "$.schemaVersion"),
        (set_in("schemaVersion", None), "wrong-version", "$.schemaVersion"),
        (set_in("name", ""), "no-name", "$.name"),
        (set_in("name", 3), "wrong-shape", "$.name"),
        (set_in("workflow", {}), "wrong-shape", "$.workflow"),
        (set_in(TASK, {}), "wrong-shape", f"$.{TASK}"),
        (set_in(f"{TASK}.1.parents", ["a", "z"]), "unknown-task", f"$.{TASK}[1].parents[1]"),
        (set_in(f"{TASK}.3.children", ["z"]), "unknown-task", f"$.{TASK}[3].children[0]"),
        (set_in(f"{TASK}.2.inputFiles", ["z"]), "unknown-file", f"$.{TASK}[2].inputFiles[0]"),
        (set_in(f"{TASK}.2.outputFiles", ["z"]), "unknown-file", f"$.{TASK}[2].outputFiles[0]"),
        (set_in(f"{TASK}.3.id", ""), "no-id", f"$.{TASK}[3].id"),
        (set_in("workflow.specification.files.1.id", "in"), "duplicate-file", "files[1].id"),
        (set_in("workflow.specification.files.1.sizeInBytes", -1), "negative", "files[1].sizeInBytes"),
        (
            set_in("workflow.specification.files.1.sizeInBytes", 1 << 70),
            "out-of-range",
            "files[1].sizeInBytes",
        ),
        (set_in("workflow.specification.files.1.sizeInBytes", 1.5), "wrong-shape", "sizeInBytes"),
        (set_in(f"{RAN}.1.id", "a"), "duplicate-execution", f"$.{RAN}[1].id"),
        (set_in(f"{RAN}.1.id", "z"), "unknown-task", f"$.{RAN}[1].id"),
        (set_in(f"{RAN}.1.runtimeInSeconds", -0.5), "negative", f"$.{RAN}[1].runtimeInSeconds"),
        (set_in(f"{RAN}.1.runtimeInSeconds", float("nan")), "not-a-number", f"$.{RAN}[1].runtimeInSeconds"),
        (set_in(f"{RAN}.1.runtimeInSeconds", float("inf")), "not-a-number", f"$.{RAN}[1].runtimeInSeconds"),
        (set_in(f"{RAN}.1.runtimeInSeconds", 1e300), "out-of-range", f"$.{RAN}[1].runtimeInSeconds"),
        (set_in(f"{RAN}.1.runtimeInSeconds", "1"), "wrong-shape", f"$.{RAN}[1].runtimeInSeconds"),
        (set_in(f"{RAN}.1.avgCPU", -1.0), "negative", f"$.{RAN}[1].avgCPU"),
        (set_in(f"{RAN}.1.memoryInBytes", -1), "negative", f"$.{RAN}[1].memoryInBytes"),
        (set_in(f"{RAN}.1.coreCount", 0), "out-of-range", f"$.{RAN}[1].coreCount"),
        (set_in(f"{RAN}.1.machines", ["n3"]), "unknown-machine", f"$.{RAN}[1].machines[0]"),
        (set_in("workflow.execution.makespanInSeconds", -1), "negative", "makespanInSeconds"),
        (set_in("workflow.execution.machines.1.nodeName", "n1"), "duplicate-machine", "machines[1].nodeName"),
        (
            set_in("workflow.execution.machines.0.cpu.coreCount", 0),
            "out-of-range",
            "machines[0].cpu.coreCount",
        ),
        (set_in("description", "\ud800"), "not-json", "$"),
    ],
)
@pytest.mark.req("P4.148")
def test_what_is_wrong_is_said_with_its_place(change: Callable[[Json], None], code: str, place: str) -> None:
    source = made.diamond()
    change(source)
    # What follows from it, such as names of what is not there any more, comes after it.
    found = problems(source)[0]
    assert found.code == code
    assert found.place.endswith(place)
    assert found.message
    assert found.help


def test_a_task_of_an_id_that_another_has_is_refused() -> None:
    source = made.instance({"a": []})
    source["workflow"]["specification"]["tasks"] *= 2
    found = only(source)
    assert (found.code, found.place) == ("duplicate-task", "$.workflow.specification.tasks[1].id")
    assert "'a'" in found.message


def test_an_instance_without_tasks_is_refused() -> None:
    source = made.instance({})
    assert only(source).code == "no-tasks"


@pytest.mark.req("P7.136", "P4.148")
@pytest.mark.parametrize(
    ("edges", "path"),
    [
        ({"a": ["a"]}, "a → a"),
        ({"s": ["b"], "b": ["c"], "c": ["a", "t"], "a": ["b"], "t": []}, "b → c → a → b"),
        ({"x": ["y"], "y": ["x"], "p": ["q"], "q": ["p"]}, "x → y → x"),
    ],
)
def test_a_cycle_is_shown(edges: dict[str, list[str]], path: str) -> None:
    found = only(made.instance(edges))
    assert found.code == "cyclic-dependency"
    assert found.message == f"tasks wait for each other: {path}"


@pytest.mark.req("P7.136")
def test_a_cycle_through_a_file_is_one() -> None:
    source = made.instance({"a": ["b"], "b": []}, reads={"a": ["x"]}, writes={"b": ["x"]}, sizes={"x": 1})
    assert only(source).code == "cyclic-dependency"


@pytest.mark.req("P7.98")
def test_a_chain_or_a_cycle_of_thirty_thousand_tasks_is_no_trouble() -> None:
    count = 30_000
    edges = {str(at): [str(at + 1)] for at in range(count - 1)} | {str(count - 1): []}
    assert len(made.read(made.instance(edges)).columns.sources) == count - 1
    edges[str(count - 1)] = ["0"]
    message = only(made.instance(edges)).message
    assert "→ 5 → (29988 more) → 29994 →" in message
    assert len(message) < 200


def test_all_problems_are_told_at_once_but_not_thousands() -> None:
    source = made.instance({"a": ["x", "y"], "b": ["x"]}, took={"q": {}, "a": {"runtimeInSeconds": -1}})
    found = [problem.code for problem in problems(source)]
    assert found == ["unknown-task", "unknown-task", "unknown-task", "unknown-task", "negative"]
    with pytest.raises(InvalidInstance, match="the first 100 of 5000 problems") as caught:
        interchange.read(made.instance({"a": [f"x{at}" for at in range(5000)]}))
    assert len(caught.value.problems) == 100


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_none_is_shown_in_its_line(word: str) -> None:
    text = json.dumps(made.diamond(), indent=1).replace(
        '"runtimeInSeconds": 1.5', f'"runtimeInSeconds": {word}'
    )
    found = only(text.encode())
    assert found.code == "not-a-number"
    line = int(found.place.split(",")[0].removeprefix("line "))
    assert word in text.splitlines()[line - 1]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"[" * 100_000, b'{"a": 1} x', b'{"a": "\xff"}']
)
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    assert only(text).code in ("not-json", "wrong-shape")


def test_an_unknown_field_may_nest_as_deeply_as_it_likes() -> None:
    text = json.dumps(made.diamond())[:-1] + ', "more": ' + "[" * 100_000 + "]" * 100_000 + "}"
    assert only(text.encode()).code == "not-json"


def test_a_file_is_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "it.json"
    path.write_text(json.dumps(made.diamond()))
    instance = interchange.read(path)
    interchange.write(instance, tmp_path / "again.json")
    assert interchange.read(str(tmp_path / "again.json")) == instance
    path.write_text("{}")
    with pytest.raises(InvalidInstance, match=r"it\.json"):
        interchange.read(path)
    with pytest.raises(FileNotFoundError):
        interchange.read(tmp_path / "none.json")


@given(made.instances())
@settings(deadline=None)
def test_what_is_written_is_read_as_it_was(source: Json) -> None:
    instance = interchange.read(source)
    written = instance.to_json()
    assert interchange.read(written) == instance
    kept = without_empty({key: value for key, value in source.items() if key != "unknown"})
    assert without_empty(json.loads(written)) == kept
    columns = instance.columns
    order = {name: at for at, name in enumerate(columns.names)}
    named = {(order[task.id], order[it]) for task in instance.tasks for it in task.children}
    assert named <= {*zip(columns.sources, columns.targets, strict=True)}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("a"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place inside an object: what holds it, and under which key."""
    for key in [*value] if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


@given(made.instances(), st.data())
@settings(deadline=None)
def test_a_broken_instance_is_refused_with_the_specific_error_or_right(
    source: Json, data: st.DataObject
) -> None:
    source = copy.deepcopy(source)
    for _ in range(data.draw(st.integers(1, 3))):
        holder, key = data.draw(st.sampled_from([*places(source)]), label="place")
        if data.draw(st.booleans()):
            del holder[key]
        else:
            holder[key] = data.draw(ANYTHING)
        if not source:
            break
    for form in (source, json.dumps(source).encode()):
        try:
            instance = interchange.read(form)
        except InvalidInstance:
            continue
        else:
            assert interchange.read(instance.to_json()) == instance
            assert len(instance.columns.runtimes) == len(instance.tasks)


@given(st.binary(max_size=60))
def test_bytes_are_refused_with_the_specific_error(text: bytes) -> None:
    assert problems(text)
    assert interchange.is_wfformat(text) is False or b"schemaVersion" in text or b"workflow" in text


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (json.dumps(made.diamond()).encode(), True),
        (b'{"schemaVersion": "0.1"}', True),
        (b'{"name": "x", "workflow": {}}', True),
        (b'{"schemaVersion": NaN}', True),
        (b'{"name": "x", "term": {"workflow": "y"}}', False),
        (b'{"term": {"sleep": "1s"}}', False),
        (b"[]", False),
        (b"name: x", False),
    ],
)
def test_an_instance_is_told_from_a_definition(text: bytes, is_one: bool) -> None:
    assert interchange.is_wfformat(text) is is_one


@real.each
def test_recorded_executions_are_read_and_written_without_loss(path: Path) -> None:
    instance = interchange.read(path)
    written = instance.to_json()
    assert interchange.read(written) == instance
    assert without_empty(json.loads(written)) == without_empty(json.loads(path.read_bytes()))
    columns = instance.columns
    edges = {
        (columns.names[at], columns.names[to])
        for at, to in zip(columns.sources, columns.targets, strict=True)
    }
    # They name all edges at both ends, and no file adds one.
    assert edges == {(parent, task.id) for task in instance.tasks for parent in task.parents}
    assert min(columns.cores) >= 1
    assert len(instance.platform().nodes) >= 1
    assert len(instance.executions) == len(instance.tasks)
    assert instance.to_workflow(scale=0.001).program.tasks == [
        "wfformat.clear",
        "wfformat.prepare",
        "wfformat.work",
    ]


@real.needed
def test_there_are_as_many_recorded_executions_as_are_known() -> None:
    assert len(real.FILES) == 53
    assert sys.getsizeof(interchange.read(real.find("montage-chameleon-2mass-05d-001")).columns.names) > 0
