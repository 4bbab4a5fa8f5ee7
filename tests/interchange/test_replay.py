"""An instance runs as a workflow of synthetic work, as much as was recorded."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ferroflow as ff
from ferroflow import interchange
from ferroflow.interchange import replay, synthetic
from tests.interchange import made, real

Json = dict[str, Any]


def ran(instance: interchange.Instance, within: float = 50, **options: Any) -> tuple[ff.RunView, Any]:
    with ff.Engine() as engine:
        handle = engine.start(instance.to_workflow(**options))
        result = handle.result(within)
        assert not synthetic.directory(handle.id).exists()
        return handle.view(values=True), result


def work(view: ff.RunView) -> dict[str, ff.StepView]:
    return {step.path: step for step in view.steps if step.task == synthetic.WORK}


def used(step: ff.StepView) -> ff.Used:
    assert step.used is not None
    return step.used


def test_the_order_of_the_tasks_is_that_of_the_instance() -> None:
    source = made.diamond()
    for task in source["workflow"]["execution"]["tasks"]:
        task["runtimeInSeconds"] = 0.01
    view, result = ran(made.read(source))
    assert result == {"files": 3, "bytes": 1230}
    steps = work(view)
    assert [*steps] == ["a", "b", "c", "d"]
    times = {name: (step.started or 0, step.ended or 0) for name, step in steps.items()}
    for before, after in ("ab", "ac", "bd", "cd"):
        assert times[before][1] <= times[after][0]


def test_files_are_read_and_written_as_large_as_they_were() -> None:
    sizes = {"in": 3_000_001, "x": 1_500_000, "y": 0, "unused": 1 << 40}
    source = made.instance(
        {"a": ["b"], "b": []},
        took={"a": {}, "b": {}},
        reads={"a": ["in"], "b": ["x", "in", "y"]},
        writes={"a": ["x", "y"]},
        sizes=sizes,
    )
    view, result = ran(made.read(source))
    assert result == {"files": 3, "bytes": 4_500_001}
    assert {name: step.result for name, step in work(view).items()} == {
        "a": {"read": 3_000_001, "written": 1_500_000},
        "b": {"read": 4_500_001, "written": 0},
    }
    view, result = ran(made.read(source), scale=0.1)
    assert result == {"files": 3, "bytes": 450_000}


def test_a_file_that_is_changed_in_place_or_has_several_writers_is_there_from_the_beginning() -> None:
    source = made.instance(
        {"a": [], "b": [], "c": ["d"], "d": []},
        reads={"a": ["x"], "b": ["y"], "d": ["z"]},
        writes={"a": ["x"], "c": ["y", "z"], "d": ["y"]},
        sizes={"x": 5, "y": 6, "z": 7},
    )
    # Both `c` and `d` write `y`, and `b` reads it: recorded is what came of it, not why.
    with pytest.raises(ff.BorrowError):
        ran(made.read(source))
    view, result = ran(made.read(source), on_conflict="serialise")
    assert result == {"files": 3, "bytes": 18}
    (prepared,) = (step for step in view.steps if step.task == synthetic.PREPARE)
    assert prepared.state == "completed"


def test_memory_is_touched_and_scaled() -> None:
    source = made.instance(
        {"a": ["b"], "b": []}, took={"a": {"memoryInBytes": 3 << 30}, "b": {"memoryInBytes": 0}}
    )
    # One process, so that what it had before is known.
    with ff.Engine(processes=1) as engine:
        handle = engine.start(made.read(source).to_workflow(scale=1 / 16))
        handle.result(50)
        steps = work(handle.view())
    assert (used(steps["a"]).memory or 0) >= (3 << 30) // 16


def loaded(seconds: float, cpu: float, **options: Any) -> synthetic.Load:
    """What a task of so many seconds and per cent is told to do."""
    source = made.instance({"a": []}, took={"a": {"runtimeInSeconds": seconds, "avgCPU": cpu}})
    term = made.read(source).to_workflow(**options).definition["term"]["partial"][1]
    load: Json = term["with"]["load"]
    return synthetic.Load(**load)


@pytest.mark.parametrize(
    ("cpu", "processors", "threads", "busy"),
    [
        (0, 4, 1, 0), (40, 4, 1, 0.8), (100, 4, 1, 2), (104, 4, 1, 2), (150, 4, 2, 3), (182.5, 4, 2, 3.65),
        (350, 4, 4, 7), (350, 2, 2, 4), (350, 1, 1, 2),
    ],
)  # fmt: skip
def test_more_than_one_processor_takes_several_threads(
    cpu: float, processors: int, threads: int, busy: float
) -> None:
    load = loaded(2, cpu, processors=processors)
    assert (load.seconds, load.threads) == (2, threads)
    assert load.busy == pytest.approx(busy)


def test_a_step_holds_the_processors_and_the_memory_that_it_uses() -> None:
    took: dict[str, Json] = {
        "a": {"avgCPU": 182.5, "memoryInBytes": 1000},
        "b": {"avgCPU": 5},
        "c": {"avgCPU": 0},
    }
    source = made.instance({"a": [], "b": [], "c": []}, took=took)
    steps = made.read(source).to_workflow(scale=0.5, processors=8).definition["term"]["partial"][1:4]
    held = [step["options"]["resources"] for step in steps]
    assert held == [{"cpu": 1.825, "memory": 500}, {"cpu": 0.05}, {}]


def test_the_time_and_the_share_of_processors_are_as_recorded() -> None:
    took = {
        "busy": {"runtimeInSeconds": 0.6, "avgCPU": 100},
        "half": {"runtimeInSeconds": 0.6, "avgCPU": 50},
        "idle": {"runtimeInSeconds": 0.6, "avgCPU": 0},
    }
    source = made.instance({"busy": ["half"], "half": ["idle"], "idle": []}, took=took)
    view, _ = ran(made.read(source))
    steps = {name: used(step) for name, step in work(view).items()}
    for it in steps.values():
        # Elsewhere on the machine others compute, so that it may take longer.
        assert 0.4e6 < it.wall < 6e6
    assert steps["busy"].cpu == pytest.approx(0.6e6, rel=0.5)
    assert steps["half"].cpu == pytest.approx(0.3e6, rel=0.5)
    assert (steps["idle"].cpu or 0) < 0.1e6


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two threads need two processors")
def test_two_threads_compute_at_a_time() -> None:
    source = made.instance({"a": []}, took={"a": {"runtimeInSeconds": 0.5, "avgCPU": 200}})
    view, _ = ran(made.read(source))
    # Both have computed, be it at one time or not: that is up to who else is on the machine.
    assert used(work(view)["a"]).cpu == pytest.approx(1e6, rel=0.5)


@pytest.mark.parametrize("scale", [-1, float("nan"), float("inf"), 1e7])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(ff.InvalidInput, match="a number from 0"):
        made.read(made.diamond()).to_workflow(scale=scale)


def test_more_files_than_may_be_are_refused_before_anything_starts() -> None:
    instance = made.read(made.diamond())
    with pytest.raises(
        ff.InvalidInput, match=r"take 1\.201 KiB at scale 1, and may take 1000 bytes"
    ) as caught:
        instance.to_workflow(max_disk=1000)
    scale = float(str(caught.value).rpartition(" ")[2])
    for options in ({"max_disk": 1000, "scale": scale}, {"max_disk": 1230}):
        assert len(instance.to_workflow(**options).program.tasks) == 3
    with pytest.raises(ff.InvalidInput, match=r"scale down to 0$"):
        instance.to_workflow(max_disk=0)
    source = made.diamond()
    source["workflow"]["specification"]["files"][0]["sizeInBytes"] = 1 << 31
    with pytest.raises(ff.InvalidInput, match="2 GiB at scale 1, and may take 1 GiB"):
        made.read(source).to_workflow()
    assert len(made.read(source).to_workflow(max_disk=None).program.tasks) == 3


def test_a_disk_that_is_too_full_is_said() -> None:
    source = made.diamond()
    source["workflow"]["specification"]["files"][0]["sizeInBytes"] = 1 << 58
    with ff.Engine() as engine:
        handle = engine.start(made.read(source).to_workflow(max_disk=None))
        with pytest.raises(ff.RunFailed, match=r"has \d+ left") as caught:
            handle.result(50)
        assert caught.value.code == "DISK_FULL"
        assert not synthetic.directory(handle.id).exists()


def test_files_that_are_gone_are_said() -> None:
    load, place = synthetic.Load(reads=[1]), synthetic.Place("/nowhere", 1e9)
    with pytest.raises(ff.Fail, match="/nowhere/1 is gone"):
        synthetic.work(load, place)
    assert synthetic.clear(place) == synthetic.Left(0, 0)


@given(made.instances())
@settings(deadline=None)
def test_every_instance_is_a_workflow_with_the_same_order(source: Json) -> None:
    instance = interchange.read(source)
    workflow = instance.to_workflow(max_disk=None)
    (_, nodes, edges) = workflow.program.blocks()[0]
    names = [name for name, _, task in nodes if task == synthetic.WORK]
    assert len(names) == len({*names}) == len(instance.tasks)
    inner = [(at - 1, to - 1) for at, to in edges if at > 0 and to <= len(names)]
    columns = instance.columns
    assert sorted(inner) == [*zip(columns.sources, columns.targets, strict=True)]
    # All begin after the first step, and the last has waited for all.
    assert {to for _, to in edges} == {*range(1, len(nodes))}
    assert {at for at, _ in edges} == {*range(len(nodes) - 1)}


@given(st.lists(st.text(max_size=3) | st.just("x" * 300)))
def test_steps_have_ids_that_may_be(names: list[str]) -> None:
    found = replay.ids(names)
    assert len({*found}) == len(names)
    terms = [ff.library.condition.options(id=name).term("data", 1) for name in found]
    for term in terms:
        assert ff.Workflow.from_term("w", term).program.tasks == ["condition"]


def test_a_comparison_says_what_was_and_what_is() -> None:
    source = made.instance(
        {"a": ["b"], "b": []}, took={it: {"runtimeInSeconds": 2, "avgCPU": 0} for it in "ab"}, makespan=60
    )
    instance = made.read(source)
    view, _ = ran(instance, scale=0.05)
    found = interchange.compared(view, instance, 0.05)
    assert (found.recorded, found.scaled, found.tasks) == (60, 3, 2)
    assert found.work == pytest.approx(0.2)
    assert found.makespan is not None
    assert 0.19 < found.makespan < (view.seconds or 0)
    never = made.read(made.instance({"a": []}))
    found = interchange.compared(ran(never)[0], never)
    assert (found.recorded, found.scaled) == (None, None)


SOME = (
    "helloworld-chain-5-chameleon",
    "helloworld-forkjoin-10-chameleon",
    "blast-chameleon-small-002",
    "fetchngs-dirt02-001",
    "1000genome-chameleon-2ch-100k-001",
    "epigenomics-chameleon-hep-1seq-100k-001",
    "montage-chameleon-2mass-005d-001",
)


def runs_and_reads_back(path: Path, scale: float, within: float) -> None:
    instance = interchange.read(path)
    view, result = ran(instance, within, scale=scale)
    assert len(work(view)) == len(instance.tasks)
    assert {step.state for step in work(view).values()} == {"completed"}
    sizes = [round(file.size_in_bytes * scale) for file in instance.files]
    assert result == {"files": len(sizes), "bytes": sum(sizes)}
    again = interchange.to_wfformat(view)
    assert interchange.read(again.to_json()) == again
    for name in ("sources", "targets"):
        assert getattr(again.columns, name) == getattr(instance.columns, name)


@real.needed
@pytest.mark.parametrize("name", SOME)
def test_recorded_executions_run(name: str) -> None:
    runs_and_reads_back(real.find(name), 0.0005, within=50)


@pytest.mark.nightly
@real.each
def test_all_recorded_executions_run(path: Path) -> None:
    runs_and_reads_back(path, 0.001, within=3600)
