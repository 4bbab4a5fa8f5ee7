"""The life of an engine: opening, limits, closing, registering, forks, queries."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from ferroflow import _core


@ff.task(name="l.double")
def double(n: int) -> int:
    return 2 * n


release = threading.Event()
entered = threading.Event()


@ff.task(name="l.hold")
def hold() -> str:
    entered.set()
    release.wait(20)
    ff.current().check()
    return "held"


@ff.workflow
def twice(n: int) -> int:
    return double(double(n))


@ff.workflow
def holding() -> str:
    return hold()


@ff.workflow
def waiting() -> Any:
    return ff.signal("go")


@pytest.fixture(autouse=True)
def fresh() -> Any:
    release.clear()
    entered.clear()
    yield
    release.set()


# ------------------------------------------------------------------------ opening and closing


@pytest.mark.req("P6.124", "P7.1", "P8.1", "P7.48")
def test_a_database_has_one_engine_at_a_time(tmp_path: Path) -> None:
    with ff.Engine(tmp_path / "runs.db") as engine:
        handle = engine.start(waiting)
        with pytest.raises(ff.DatabaseInUse):
            ff.Engine(tmp_path / "runs.db")
        # The refused one has not taken up the run of the other.
        handle.signal("go", 1)
        assert handle.result(5) == 1
        assert handle.view().recoveries == 0


@pytest.mark.req("P6.125", "P7.3", "P7.5", "P8.2", "P8.97")
def test_closing_again_is_no_error_and_opening_again_goes_on(tmp_path: Path) -> None:
    engine = ff.Engine(tmp_path / "runs.db")
    run = engine.start(waiting).id
    assert engine.close() == 1
    assert engine.close() == 0
    with ff.Engine(tmp_path / "runs.db") as again:
        again.handle(run).signal("go", "on")
        assert again.handle(run).result(5) == "on"


@pytest.mark.req("P7.4", "P7.61")
def test_closing_waits_for_bodies(tmp_path: Path) -> None:
    engine = ff.Engine(tmp_path / "runs.db")
    handle = engine.start(holding)
    assert entered.wait(5)
    threading.Timer(0.1, release.set).start()
    assert engine.close() == 0
    with ff.Engine(tmp_path / "runs.db") as again:
        assert again.handle(handle.id).result(5) == "held"
        assert again.handle(handle.id).steps()[0].attempts == 1


@pytest.mark.req("P4.173", "P5.95", "P7.4", "P8.97")
def test_bodies_that_do_not_end_are_told_to_stop_and_run_again_later(tmp_path: Path) -> None:
    begun, abegun, stopped = threading.Event(), threading.Event(), threading.Event()
    go_on = threading.Event()

    @ff.task(name="l.stubborn")
    def stubborn() -> str:
        begun.set()
        try:
            while not go_on.wait(0.005):
                ff.current().check()
        except ff.Cancelled:
            stopped.set()
            raise
        return "done"

    @ff.task(name="l.astubborn")
    async def astubborn() -> str:
        abegun.set()
        while not go_on.is_set():
            await asyncio.sleep(0.005)
        return "done"

    @ff.workflow
    def flow() -> Any:
        return [stubborn(), astubborn()]

    engine = ff.Engine(tmp_path / "runs.db")
    handle = engine.start(flow)
    assert begun.wait(5)
    assert abegun.wait(5)
    assert engine.close(drain="50ms") == 1
    assert stopped.is_set()
    go_on.set()
    with ff.Engine(tmp_path / "runs.db") as again:
        assert again.handle(handle.id).result(5) == ["done", "done"]
        assert [step.attempts for step in again.handle(handle.id).steps() if step.task] == [2, 2]


@pytest.mark.req("P6.127", "P7.7")
def test_a_closed_engine_takes_nothing() -> None:
    engine = ff.Engine()
    handle = engine.start(waiting)
    engine.close()
    for refused in (lambda: engine.start(waiting), handle.cancel, lambda: handle.signal("go")):
        with pytest.raises(ff.EngineClosed):
            refused()
    assert issubclass(ff.EngineClosed, ff.FerroflowError)


def test_a_process_ends_although_a_body_never_does(tmp_path: Path) -> None:
    script = """
import sys, time
import ferroflow as ff
@ff.task
def forever() -> None:
    print("in", flush=True)
    time.sleep(3)
@ff.workflow
def flow():
    return forever()
engine = ff.Engine(sys.argv[1])
engine.start(flow)
time.sleep(0.3)
print("left", engine.close(drain=0.05), flush=True)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "runs.db")],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert ended.stdout.split() == ["in", "left", "1"]
    assert ended.returncode == 0, ended


@pytest.mark.req("P9.109")
def test_an_engine_for_trying_things_out(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("ferroflow")
    before = logger.level
    try:
        with ff.Engine.dev() as engine:
            assert engine.path is None
            assert engine.workers == 10
            assert logger.handlers
            assert engine.run(twice, 3) == 12
        said = [record.getMessage() for record in caplog.records]
        assert [text.split()[-1] for text in said] == ["created", "running", "completed"]
    finally:
        logger.setLevel(before)
        logger.handlers.clear()


# ------------------------------------------------------------------------------------- limits


@pytest.mark.req("P7.12", "P7.59")
def test_an_engine_takes_so_many_runs_and_no_more() -> None:
    with ff.Engine(max_runs=2) as engine:
        first, _ = engine.start(waiting), engine.start(waiting)
        with pytest.raises(ff.EngineBusy, match="2 unfinished runs"):
            engine.start(waiting)
        first.signal("go")
        first.result(5)
        engine.start(waiting)


@pytest.mark.req("P8.82", "P8.90", "P9.121", "P6.130")
def test_timeouts_of_the_engine_hold_where_nothing_else_is_said(tmp_path: Path) -> None:
    @ff.task(name="l.slow")
    def slow() -> None:
        while True:
            ff.current().check()
            time.sleep(0.002)

    @ff.workflow
    def flow() -> Any:
        return slow()

    @ff.workflow(timeout="1h")
    def limited() -> Any:
        return ff.signal("go")

    with ff.Engine(tmp_path / "runs.db", step_timeout="20ms") as engine:
        with pytest.raises(ff.RunFailed, match=r"within 0\.02 s") as it:
            engine.run(flow)
        assert it.value.code == "TIMEOUT"
    with ff.Engine(run_timeout=0.02) as engine:
        with pytest.raises(ff.RunTimedOut):
            engine.run(waiting)
        # The request's own goes first, 0 means none; then the definition's.
        own = engine.start(waiting, options=ff.RunOptions(timeout=0))
        theirs = engine.start(limited)
        with pytest.raises(ff.RunTimedOut, match=r"within 0\.03 s"):
            engine.run(limited, options=ff.RunOptions(timeout=0.03))
        time.sleep(0.06)
        assert own.status() == theirs.status() == "running"


@pytest.mark.req("P7.11")
def test_a_run_may_have_an_id_of_the_callers_once(tmp_path: Path) -> None:
    options = ff.RunOptions(id=str(uuid.uuid4()))
    with ff.Engine(tmp_path / "runs.db") as engine:
        handle = engine.start(twice, 3, options=options)
        assert handle.id == options.id
        with pytest.raises(ff.RunExists, match=str(options.id)):
            engine.start(twice, 4, options=options)
        assert handle.result() == 12
    with ff.Engine(tmp_path / "runs.db") as engine, pytest.raises(ff.RunExists):
        engine.start(twice, 3, options=options)


# -------------------------------------------------------------------------------- registering


@pytest.mark.req("P9.67", "P9.69", "P9.72", "P9.74", "P8.81", "P9.104", "P7.114")
def test_workflows_are_registered_and_started_by_name(tmp_path: Path) -> None:
    @ff.workflow(name="report", version="1")
    def one(n: int) -> int:
        return double(n)

    @ff.workflow(name="report", version="2")
    def two(n: int) -> int:
        return double(double(n))

    @ff.workflow(name="report", version="2")
    def other(n: int) -> int:
        return double(n)

    @ff.workflow
    def empty() -> None: ...

    with ff.Engine(tmp_path / "runs.db") as engine:
        made = engine.register(one)
        assert (made.name, made.version, made.hash) == ("report", "1", one.hash)
        assert time.time() - made.registered / 1e6 < 10
        assert engine.register(one) == made
        engine.register(two)
        with pytest.raises(ff.DefinitionError, match="another version"):
            engine.register(other)
        with pytest.raises(ff.DefinitionError, match="no steps"):
            engine.register(empty)
        with pytest.raises(ff.TaskNotFound, match="nowhere"):
            engine.register(ff.load({"name": "w", "term": {"task": "nowhere"}}))
        with pytest.raises(ff.WorkflowNotFound, match="unknown"):
            engine.start("unknown")
    with ff.Engine(tmp_path / "runs.db") as engine:
        assert [it.version for it in engine.workflows()] == ["2", "1"]
        assert engine.run("report", 5) == 20
        assert engine.run("report", 5, options=ff.RunOptions(version="1")) == 10
        with pytest.raises(ff.WorkflowNotFound, match='"3"'):
            engine.start("report", 5, options=ff.RunOptions(version="3"))


@pytest.mark.req("P8.83")
def test_a_run_keeps_the_definition_it_began_with(tmp_path: Path) -> None:
    def flow(factor: int) -> ff.Workflow[..., Any]:
        @ff.workflow(name="changing")
        def made() -> Any:
            return double.options(after=[ff.signal("go")])(factor)

        return made

    with ff.Engine(tmp_path / "runs.db") as engine:
        runs = [engine.start(flow(factor)).id for factor in (2, 3)]
    with ff.Engine(tmp_path / "runs.db") as engine:
        handles = [*map(engine.handle, runs), engine.start(flow(4))]
        for handle in handles:
            handle.signal("go")
        results = [handle.result(5) for handle in handles]
    assert results == [4, 6, 8]


@pytest.mark.req("P8.46")
def test_names_with_a_part_after_a_colon_find_their_task() -> None:
    with ff.Engine() as engine:
        assert engine.run(ff.load({"name": "w", "term": {"task": "l.double:x", "args": [4]}})) == 8


# ---------------------------------------------------------------------------------- recovery


@pytest.mark.req("P5.92", "P6.150", "P7.33", "P7.47", "P8.77")
def test_which_runs_are_resumed_is_the_callers_choice(tmp_path: Path) -> None:
    with ff.Engine(tmp_path / "runs.db") as engine:
        a = engine.start(waiting, options=ff.RunOptions(correlation="a", priority="high")).id
        b = engine.start(waiting, options=ff.RunOptions(correlation="b")).id
    with ff.Engine(tmp_path / "runs.db", resume=lambda run: run.correlation == "a") as engine:
        engine.handle(a).signal("go")
        engine.handle(a).result(5)
        assert {run.id for run in engine.list(state=["created", "running", "paused"])} == {b}
        assert engine.resume() == [b]
        assert engine.resume() == []
        assert engine.handle(a).view().priority == 1


def test_a_run_whose_task_is_not_there_is_named(tmp_path: Path) -> None:
    from ferroflow.define import registry

    @ff.task(name="l.gone")
    def gone() -> int:
        return 1

    @ff.workflow
    def flow() -> Any:
        return [ff.signal("go"), gone()]

    with ff.Engine(tmp_path / "runs.db") as engine:
        run = engine.start(flow).id
    known = registry._tasks.pop("l.gone")
    try:
        with ff.Engine(tmp_path / "runs.db") as engine:
            assert isinstance(engine.unresumed[run], ff.TaskNotFound)
            registry._tasks["l.gone"] = known
            assert engine.resume() == [run]
            assert engine.unresumed == {}
    finally:
        registry._tasks["l.gone"] = known


# -------------------------------------------------------------------------------------- forks


def test_a_fork_can_not_use_the_engine_and_does_it_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    script = f"""
import os, sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
import ferroflow as ff
from test_life import twice, waiting
def say(text):
    os.write(1, f"{{text}}\\n".encode())  # a line at once, as two processes write
engine = ff.Engine({str(path)!r})
engine.start(waiting)
child = os.fork()
if child == 0:
    try:
        engine.start(twice, 1)
    except ff.FerroflowError as error:
        say("refused" if "fork" in str(error) else error)
    del engine
    time.sleep(60)
say(f"child {{child}}")
say(engine.run(twice, 3))
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = {process.stdout.readline().strip() for _ in range(3)}
    child = int(next(line for line in lines if line.startswith("child")).split()[1])
    try:
        assert {"refused", "12"} < lines
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        # The child lives on and holds nothing that an engine needs.
        with ff.Engine(path) as engine:
            assert sorted(run.state for run in engine.list()) == ["completed", "running"]
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()


# ------------------------------------------------------------------------------------ looking


def test_sql_reads_and_nothing_else(tmp_path: Path) -> None:
    with ff.Engine(tmp_path / "runs.db") as engine:
        engine.run(twice, 3, options=ff.RunOptions(correlation="x"))
        query = "SELECT workflow, state, ?2 AS extra FROM runs WHERE correlation = ?1"
        assert engine.sql(query, "x", 2.5) == [{"workflow": "twice", "state": "completed", "extra": 2.5}]
        assert engine.sql("SELECT x'00ff' AS b, NULL AS n") == [{"b": b"\x00\xff", "n": None}]
        for bad in ("DELETE FROM runs", "PRAGMA query_only = 0", "SELECT * FROM nowhere", ""):
            with pytest.raises(ff.QueryRefused):
                engine.sql(bad)
        with pytest.raises(ff.QueryRefused, match="interrupted"):
            engine.sql(
                "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT sum(x) FROM n",
                timeout="20ms",
            )
        assert engine.run(twice, 3) == 12
    with ff.Engine() as engine, pytest.raises(ff.QueryRefused, match="memory"):
        engine.sql("SELECT 1")


@pytest.mark.req("P6.147", "P7.32", "P7.57", "P8.71", "P8.96", "P6.146", "P7.30", "P7.31")
def test_what_is_active_is_counted_and_let_go_of_when_it_ends(tmp_path: Path) -> None:
    with ff.Engine(tmp_path / "runs.db", node="here") as engine:
        handle = engine.start(holding)
        assert entered.wait(5)
        stats = engine.stats()
        assert (stats.active, stats.running) == (1, 1)
        (active,) = engine.list(state="running")
        assert active.id == handle.id
        assert active.started is not None
        assert next(it for it in handle.events() if it["kind"] == "RunStarted")["node"] == "here"
        release.set()
        handle.result(5)
        stats = engine.stats()
        assert (stats.active, stats.running, stats.ready) == (0, 0, 0)
        assert stats.runs["running"] == stats.runs["completed"] == 1
        assert engine.list(state="running") == []
        (record,) = engine.list()
        assert record.started is not None
        assert record.ended is not None
        assert record.seconds == (record.ended - record.started) / 1e6 > 0


@pytest.mark.req("P8.17")
def test_a_run_that_makes_no_progress_says_what_it_waits_for(tmp_path: Path) -> None:
    @ff.task(name="l.wide", resources={"gpu": 1})
    def wide() -> None:
        hold.fn()

    @ff.workflow
    def flow() -> Any:
        return [ff.sleep("1h"), ff.signal("go"), wide(), wide()]

    with ff.Engine(tmp_path / "runs.db", capacity={"gpu": 1}, workers=3) as engine:
        handle = engine.start(flow)
        assert entered.wait(5)
        reasons = {(reason.what, reason.step): reason for reason in handle.explain()}
        assert set(reasons) == {
            ("sleep", "sleep"), ("signal", "go"), ("running", "l.wide"), ("queued", "l.wide_2"),
        }  # fmt: skip
        assert reasons["queued", "l.wide_2"].detail == "not enough gpu is free"
        until = reasons["sleep", "sleep"].until
        assert until is not None
        assert 3500 < until / 1e6 - time.time() < 3601
        handle.pause("lunch")
        assert handle.explain()[0].detail == "lunch"
        release.set()
        handle.cancel()
        assert handle.explain() == []


def test_states_are_those_of_the_kernel() -> None:
    runs, steps = _core.states()
    assert [*ff.RunState] == runs
    assert [*ff.StepState] == steps
    assert {state for state in ff.RunState if state.is_terminal} == {
        "completed", "failed", "cancelled", "timed_out", "compensated", "compensation_failed",
    }  # fmt: skip
