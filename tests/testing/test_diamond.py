"""The workflow that the package brings for tests, wherever its steps run, and how it ends."""

import threading
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from ferroflow import draw
from ferroflow.testing import diamond, expected
from tests.engine.test_executors import Pool
from tests.engine.test_processes import eventually

_EDGES = [
    ("prepare", "process"),
    ("process", "low"),
    ("process", "high"),
    ("low", "merge"),
    ("high", "merge"),
]


class Pairing(Pool):
    """Begins `low` and `high` only once both are there."""

    def __init__(self) -> None:
        super().__init__(slots=2)
        self.both = threading.Barrier(2)

    def submit(self, work: ff.Work) -> None:
        run = self.paired if "analyse" in work.task.name else self.at_once
        self.pool.submit(run, work).add_done_callback(lambda future: self.ended(work, future))

    def paired(self, work: ff.Work) -> Any:
        self.both.wait(30)
        return work.run()

    def at_once(self, work: ff.Work) -> Any:
        return work.run()

    def ended(self, work: ff.Work, future: Any) -> None:
        work.settle(future)


@pytest.mark.req("P9.97")
@pytest.mark.parametrize("executor", ["thread", "process", "pairing"])
def test_the_package_has_a_workflow_with_a_parallel_diamond(executor: str) -> None:
    flow = diamond(executor)
    with ff.Engine(processes=2, executors={"pairing": Pairing()}) as engine:
        run = engine.start(flow, [5, 1, 4, 2])
        assert run.result(30) == {"low": 3.0, "high": 9.0, "total": 12.0} == expected([5, 1, 4, 2])
        view = run.view(values=True)
        assert engine.run(flow) == {"low": 10.0, "high": 26.0, "total": 36.0}
    ((_, nodes, edges),) = view.blocks
    assert sorted((nodes[a][0], nodes[b][0]) for a, b in edges) == sorted(_EDGES)
    assert view.variables == {"final_result": 12.0}
    at = {step.path: step for step in view.steps}
    for before, after in _EDGES:
        ended, started = at[before].ended, at[after].started
        assert ended is not None
        assert started is not None
        assert ended <= started
    assert draw.dot(view.blocks).count("->") == len(_EDGES)


def test_it_is_one_workflow_wherever_it_runs_and_its_tasks_are_named_so() -> None:
    assert diamond().hash == diamond().hash
    assert diamond("process").program.tasks != diamond().program.tasks
    assert {name.rpartition(".")[2] for name in diamond("pairing").program.tasks} == {"pairing"}


@pytest.mark.parametrize(("step", "skipped"), [("prepare", 4), ("low", 1), ("high", 1), ("merge", 0)])
def test_it_fails_where_it_is_told_to(step: str, skipped: int) -> None:
    with ff.Engine() as engine:
        run = engine.start(diamond(), fail=step)
        with pytest.raises(ff.RunFailed) as caught:
            run.result(30)
        assert (caught.value.step, caught.value.code) == (step, "AS_TOLD")
        states = [it.state for it in run.view().steps]
        assert states.count("failed") == 1
        tolerated = engine.start(diamond(), fail="process")
        assert eventually(lambda: tolerated.status() == "completed")
        assert [it.state for it in tolerated.view().steps][1:] == ["failed"] + ["skipped"] * 3


def test_it_takes_its_time_and_lets_go_when_it_is_cancelled(tmp_path: Path) -> None:
    with ff.Engine(tmp_path / "it.db") as engine:
        run = engine.start(diamond(), seconds=60.0)
        assert eventually(lambda: run.progress().running == ["prepare"])
        run.cancel("enough")
        with pytest.raises(ff.RunCancelled):
            run.result(30)
        assert eventually(lambda: engine.stats().running == 0)


def test_an_engine_that_knows_it_takes_a_run_up_again(tmp_path: Path) -> None:
    path = tmp_path / "it.db"
    with ff.Engine(path) as engine:
        run = engine.start(diamond(), [1, 2], seconds=0.2)
        engine.close(drain=0.1)
    with ff.Engine(path) as engine:
        assert engine.handle(run.id).result(30) == {"low": 1.0, "high": 2.0, "total": 3.0}
