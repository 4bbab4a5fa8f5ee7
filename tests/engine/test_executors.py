"""Executors of the user's: who runs a body where, and what becomes of it."""

import concurrent.futures
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from ferroflow.errors import DefinitionError

# The bodies of a pool were told that they no longer count.
STOPPED = threading.Event()


class Pool:
    """Runs bodies in a pool of threads."""

    def __init__(self, slots: int = 2) -> None:
        self.slots = slots
        self.pool = concurrent.futures.ThreadPoolExecutor(16)
        self.most = self.now = 0
        self.lock = threading.Lock()
        self.told: list[ff.Work] = []
        STOPPED.clear()
        self.closed = False

    def submit(self, work: ff.Work) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.pool.submit(work.run).add_done_callback(lambda future: self.ended(work, future))

    def ended(self, work: ff.Work, future: "concurrent.futures.Future[Any]") -> None:
        with self.lock:
            self.now -= 1
        work.settle(future)

    def cancel(self, work: ff.Work) -> None:
        self.told.append(work)
        STOPPED.set()

    def close(self) -> None:
        self.pool.shutdown()
        self.closed = True


@ff.task(name="exec.where", executor="pool")
def where(n: int) -> list[Any]:
    time.sleep(0.02)
    return [n, threading.current_thread().name, ff.current().task]


@ff.task(name="exec.fail", executor="pool", retry=1)
def fail() -> None:
    raise ff.Fail("BROKEN", f"attempt {ff.current().attempt}", retriable=True)


@ff.task(name="exec.until", executor="pool")
def until_told() -> None:
    STOPPED.wait(60)
    ff.current().check()


@ff.workflow
def places() -> Any:
    return ff.each(range_of(12), where)


@ff.task(name="exec.range")
def range_of(n: int) -> list[int]:
    return [*range(n)]


def test_an_executor_runs_as_many_bodies_as_it_has_slots() -> None:
    pool = Pool(slots=3)
    with ff.Engine(executors={"pool": pool}, capacity={"cpu": 64}) as engine:
        found = engine.run(places)
    assert [n for n, _, _ in found] == [*range(12)]
    assert {task for _, _, task in found} == {"exec.where"}
    assert all(name.startswith("ThreadPoolExecutor") for _, name, _ in found)
    assert pool.most == 3
    assert pool.closed


def test_a_failure_there_is_retried_and_recorded_like_any_other() -> None:
    @ff.workflow
    def flow() -> Any:
        return fail()

    with ff.Engine(executors={"pool": Pool()}) as engine, pytest.raises(ff.RunFailed) as caught:
        engine.run(flow)
    assert caught.value.code == "BROKEN"
    assert "attempt 2" in str(caught.value)


def test_an_executor_is_told_of_bodies_that_no_longer_count() -> None:
    @ff.workflow
    def flow() -> Any:
        return until_told()

    pool = Pool()
    with ff.Engine(executors={"pool": pool}) as engine:
        run = engine.start(flow)
        # Its step is taken before the executor has it.
        while pool.now == 0:
            time.sleep(0.01)
        run.cancel("enough")
        with pytest.raises(ff.RunCancelled):
            run.result(timeout=10)
        assert STOPPED.wait(30)
        assert [work.task.name for work in pool.told] == ["exec.until"]


def test_an_executor_that_refuses_a_body_fails_its_step() -> None:
    class Full(Pool):
        def submit(self, work: ff.Work) -> None:
            raise RuntimeError("no room")

    @ff.workflow
    def flow() -> Any:
        return where(1)

    with ff.Engine(executors={"pool": Full()}) as engine, pytest.raises(ff.RunFailed, match="no room"):
        engine.run(flow)


def test_what_is_settled_twice_counts_once() -> None:
    class Twice(Pool):
        def submit(self, work: ff.Work) -> None:
            work.done([1])
            work.done([2])
            work.fail(ValueError("late"))

    @ff.workflow
    def flow() -> Any:
        return where(1)

    with ff.Engine(executors={"pool": Twice()}) as engine:
        assert engine.run(flow) == [1]
        assert engine.stats().refused == 0


def test_an_executor_that_nobody_has_is_named_with_those_that_there_are() -> None:
    @ff.workflow
    def flow() -> Any:
        return where(1)

    with (
        ff.Engine(executors={"other": Pool()}) as engine,
        pytest.raises(DefinitionError, match="'pool', and there are thread, process, other"),
    ):
        engine.start(flow)


def test_slots_have_to_be_a_number_of_bodies() -> None:
    @ff.workflow
    def flow() -> Any:
        return where(1)

    with (
        ff.Engine(executors={"pool": Pool(slots=0)}) as engine,
        pytest.raises(DefinitionError, match="slots=0"),
    ):
        engine.start(flow)


def test_an_installed_package_brings_executors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pip lays it out: a module, and a folder of metadata that names it."""
    (tmp_path / "brought.py").write_text(
        "class Inline:\n"
        "    slots = 1\n"
        "    def submit(self, work):\n"
        "        work.done(['brought', work.run()[0]])\n"
        "    def cancel(self, work): ...\n"
        "    def close(self): ...\n"
    )
    info = tmp_path / "brought-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brought\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ferroflow.executors]\npool = brought:Inline\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    @ff.workflow
    def flow() -> Any:
        return where(4)

    with ff.Engine() as engine:
        assert engine.run(flow) == ["brought", 4]
    sys.modules.pop("brought")


def test_an_asynchronous_task_runs_on_the_event_loop_alone() -> None:
    with pytest.raises(TypeError, match="event loop"):

        @ff.task(name="exec.wrong", executor="process")
        async def wrong() -> None: ...

    with pytest.raises(TypeError, match="executor='process'"):
        ff.task(name="exec.surrounded", environment=ff.Environment())(lambda: None)


def test_unfinished_bodies_are_told_when_the_engine_closes(tmp_path: Path) -> None:
    @ff.workflow
    def flow() -> Any:
        return until_told()

    pool = Pool()
    engine = ff.Engine(tmp_path / "runs.db", executors={"pool": pool})
    engine.start(flow)
    while engine.stats().running == 0:
        time.sleep(0.01)
    assert engine.close(drain=0.05) == 1
    assert pool.told
    assert pool.closed
