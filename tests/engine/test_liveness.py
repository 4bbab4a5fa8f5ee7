"""Nobody waits for ever: runs within tasks, engines that nobody closes, closing that is interrupted."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff


@ff.task(name="v.double")
def double(n: int) -> int:
    return 2 * n


@ff.task(name="v.adouble")
async def adouble(n: int) -> int:
    return 2 * n


@ff.workflow
def twice(n: int) -> int:
    return double(double(n))


@ff.workflow
def atwice(n: int) -> int:
    return adouble(adouble(n))


@ff.workflow
def waiting() -> Any:
    return ff.signal("go")


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_tasks_wait_for_runs_although_all_workers_do(tmp_path: Path) -> None:
    with ff.Engine(tmp_path / "runs.db", workers=2) as engine:

        @ff.task(name="v.nest")
        def nest(depth: int) -> int:
            return engine.run(nested, depth - 1) + 1 if depth else engine.run(twice, 1)

        @ff.workflow
        def nested(depth: int) -> int:
            return nest(depth)

        handles = [engine.start(nested, 5) for _ in range(4)]
        assert [handle.result(20) for handle in handles] == [9] * 4
        # Those that stood in have gone, so that no more bodies run at a time than before.
        left = [it for it in threading.enumerate() if it.name == "ferroflow-stand-in" or "worker" in it.name]
        for thread in left[2:]:
            thread.join(0.2)
        assert sum(thread.is_alive() for thread in left) == engine.workers


def test_tasks_of_two_engines_wait_for_each_other(tmp_path: Path) -> None:
    with ff.Engine(tmp_path / "one.db", workers=1) as one, ff.Engine(tmp_path / "two.db", workers=1) as two:

        @ff.task(name="v.bounce")
        def bounce(depth: int) -> int:
            other = two if depth % 2 else one
            return other.run(bounced, depth - 1) + 1 if depth else 0

        @ff.workflow
        def bounced(depth: int) -> int:
            return bounce(depth)

        assert one.start(bounced, 6).result(20) == 6


@pytest.mark.parametrize("limit", [1, 3])
def test_asynchronous_tasks_wait_for_runs_although_all_places_are_taken(limit: int) -> None:
    with ff.Engine(async_limit=limit) as engine:

        @ff.task(name="v.anest")
        async def anest(depth: int) -> int:
            return await engine.arun(anested, depth - 1) + 1 if depth else await engine.arun(atwice, 1)

        @ff.workflow
        def anested(depth: int) -> int:
            return anest(depth)

        handles = [engine.start(anested, 3) for _ in range(4)]
        assert [handle.result(20) for handle in handles] == [7] * 4


def test_who_listens_to_a_closed_engine_is_told_that_it_is_over() -> None:
    engine = ff.Engine()
    handle = engine.start(waiting)
    engine.close()
    engine.subscribe(print).drain()
    with pytest.raises(ff.EngineClosed):
        asyncio.run(handle.aresult(5))


def test_a_task_that_waits_for_its_own_run_is_told() -> None:
    with ff.Engine() as engine:

        @ff.task(name="v.own")
        def own() -> object:
            return engine.handle(ff.current().run).result()

        @ff.task(name="v.aown")
        async def aown() -> object:
            return await engine.handle(ff.current().run).aresult()

        for task in (own, aown):
            flow = ff.Workflow.from_term("own", task.term())
            with pytest.raises(ff.RunFailed, match="its own run"):
                engine.start(flow).result(5)


@pytest.mark.usefixtures("switching")
def test_asynchronous_runs_begun_at_once_share_one_event_loop() -> None:
    for _ in range(10):
        with ff.Engine(workers=2) as engine:
            ready = threading.Barrier(8)

            def begin(engine: ff.Engine = engine, ready: threading.Barrier = ready) -> None:
                ready.wait(5)
                engine.run(atwice, 1)

            threads = [threading.Thread(target=begin) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
            assert sum(it.name == "ferroflow-feeder" for it in threading.enumerate()) == 1


@pytest.mark.usefixtures("switching")
@pytest.mark.parametrize("_round", range(15))
def test_starting_while_the_engine_closes_is_refused_or_kept(tmp_path: Path, _round: int) -> None:
    engine = ff.Engine(tmp_path / "runs.db")
    started: list[str] = []
    refused: list[Exception] = []
    going = threading.Event()

    def begin() -> None:
        try:
            while True:
                started.append(engine.start(twice, 1).id)
                going.set()
        except Exception as error:
            refused.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert going.wait(5)
    engine.close()
    for thread in threads:
        thread.join(10)
    assert {type(error) for error in refused} == {ff.EngineClosed}, refused
    with ff.Engine(tmp_path / "runs.db") as again:
        assert {again.handle(run).result(10) for run in started} == {4}


def test_an_engine_that_nobody_holds_any_more_is_closed(tmp_path: Path) -> None:
    held = [ff.Engine(tmp_path / "runs.db")]
    run = held[0].start(waiting).id
    held[0].run(atwice, 1)
    with pytest.warns(ResourceWarning, match="never closed"):
        held.clear()
    with ff.Engine(tmp_path / "runs.db") as again:
        again.handle(run).signal("go", 1)
        assert again.handle(run).result(10) == 1


def test_an_engine_that_can_not_resume_lets_go_of_the_database(tmp_path: Path) -> None:
    with ff.Engine(tmp_path / "runs.db") as engine:
        engine.start(waiting)

    def choose(record: ff.RunRecord) -> bool:
        raise RuntimeError(record.workflow)

    with pytest.raises(RuntimeError, match="waiting") as caught:
        ff.Engine(tmp_path / "runs.db", resume=choose)
    with ff.Engine(tmp_path / "runs.db") as engine:
        assert engine.stats().active == 1
    del caught


def test_closing_that_was_interrupted_can_be_done_again(tmp_path: Path) -> None:
    release, entered = threading.Event(), threading.Event()

    @ff.task(name="v.hold")
    def hold() -> str:
        entered.set()
        release.wait(20)
        return "held"

    engine = ff.Engine(tmp_path / "runs.db")
    run = engine.start(ff.workflow(name="holding")(lambda: hold())).id
    assert entered.wait(5)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        engine.close()
    release.set()
    assert engine.close() == 0
    with ff.Engine(tmp_path / "runs.db") as again:
        assert again.handle(run).result(5) == "held"


KEEP = """
import resource, sys
import ferroflow as ff

@ff.task(name="v.long")
def long(n: int) -> str:
    return str(n) + "x" * (1 << 20)

term = {"task": "v.long", "args": [{"$": "input.n"}]}
flow = ff.load({"name": "long", "inputs": ["n"], "term": term})
with ff.Engine(sys.argv[1], durability="relaxed") as engine:
    handles = [engine.start(flow, 0)]
    handles[0].result()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for n in range(1, 200):
        handles.append(engine.start(flow, n))
        handles[-1].result()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    assert [int(handle.result()[:3].rstrip("x")) for handle in handles] == list(range(200))
"""


def test_results_of_ended_runs_take_bounded_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KEEP, str(tmp_path / "runs.db")]
    grown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert int(grown) < 140, f"{grown} MiB more for 200 results of 1 MiB"
