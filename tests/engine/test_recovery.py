"""Opening a database resumes what was running, and nothing finished runs again."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from ferroflow import _core

calls: list[str] = []


@ff.task(name="r.note")
def note(name: str) -> str:
    calls.append(name)
    return name


@ff.task(name="r.linger")
def linger(seconds: float) -> str:
    calls.append("linger")
    time.sleep(seconds)
    return "lingered"


@ff.workflow
def chain() -> Any:
    first = note("first")
    answer = ff.signal("answer")
    return [first, answer, note.options(after=[first])("second")]


@pytest.mark.req("P7.47", "P8.79", "P8.86")
def test_a_drained_engine_leaves_runs_for_the_next(tmp_path: Path) -> None:
    calls.clear()
    with ff.Engine(tmp_path / "runs.db") as engine:
        run = engine.start(chain).id
        time.sleep(0.1)
    assert calls == ["first", "second"]
    with ff.Engine(tmp_path / "runs.db") as engine:
        handle = engine.handle(run)
        assert handle.status() == "running"
        handle.signal("answer", 42)
        assert handle.result(5) == ["first", 42, "second"]
        assert handle.view().recoveries == 1
    assert calls == ["first", "second"]
    with ff.Engine(tmp_path / "runs.db") as engine:
        assert engine.handle(run).result() == ["first", 42, "second"]


@pytest.mark.req("P5.99", "P5.106", "P8.109")
def test_a_paused_run_stays_paused(tmp_path: Path) -> None:
    with ff.Engine(tmp_path / "runs.db") as engine:
        handle = engine.start(chain)
        handle.pause("lunch")
    with ff.Engine(tmp_path / "runs.db") as engine:
        handle = engine.handle(handle.id)
        assert handle.status() == "paused"
        assert handle.view().reason == "lunch"
        handle.signal("answer", 1)
        handle.resume()
        assert handle.result(5) == ["first", 1, "second"]


def test_a_sleep_outlives_the_engine(tmp_path: Path) -> None:
    @ff.workflow
    def nap() -> Any:
        return ff.sleep("300ms")

    with ff.Engine(tmp_path / "runs.db") as engine:
        handle = engine.start(nap)
        begun = time.monotonic()
    with ff.Engine(tmp_path / "runs.db") as engine:
        assert engine.handle(handle.id).result(5)["delayed_ms"] == 300
    assert time.monotonic() - begun < 2


def test_runs_with_unknown_tasks_wait_for_them(tmp_path: Path) -> None:
    from ferroflow.define import registry

    @ff.task(name="r.later")
    def later() -> int:
        return 1

    @ff.workflow
    def flow() -> Any:
        return [ff.signal("go"), later()]

    with ff.Engine(tmp_path / "runs.db") as engine:
        run = engine.start(flow).id
        time.sleep(0.05)
    known = registry._tasks.pop("r.later")
    with ff.Engine(tmp_path / "runs.db") as engine:
        assert engine.handle(run).status() == "running"
        with pytest.raises(ff.TaskNotFound, match=r"r\.later"):
            engine.resume([run])
        registry._tasks["r.later"] = known
        assert engine.resume() == [run]
        engine.handle(run).signal("go")
        assert engine.handle(run).result(5) == [None, 1]


@pytest.mark.req("P4.138", "P6.102")
def test_a_retry_that_came_due_while_nobody_ran_is_made_at_the_next_start(tmp_path: Path) -> None:
    tries = []

    @ff.task(name="r.flaky", retry=ff.Retry(3, delay="150ms", backoff="fixed"))
    def flaky() -> int:
        tries.append(ff.current().attempt)
        if len(tries) < 2:
            raise OSError("not yet")
        return len(tries)

    @ff.workflow
    def flow() -> int:
        return flaky()

    with ff.Engine(tmp_path / "runs.db") as engine:
        handle = engine.start(flow)
        until = time.monotonic() + 5
        while handle.steps()[0].state != "waiting" and time.monotonic() < until:
            time.sleep(0.005)
        (waiting,) = handle.explain()
        assert waiting.what == "retry"
    time.sleep(0.2)
    begun = time.monotonic()
    with ff.Engine(tmp_path / "runs.db") as engine:
        assert engine.handle(handle.id).result(5) == 2
    assert time.monotonic() - begun < 0.15, "the delay had passed"
    assert tries == [1, 2]


def test_commands_left_for_a_run_wait_for_it_and_those_of_no_use_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with ff.Engine(path) as engine:
        waits, ended = engine.start(chain).id, engine.start(chain)
        ended.cancel()
    for run in (waits, ended.id, "00000000-0000-0000-0000-000000000000"):
        _core.post(path, run, "signal:answer", b"\x07")

    def left(engine: ff.Engine) -> int:
        return int(engine.sql("SELECT count(*) AS n FROM inbox")[0]["n"])

    with ff.Engine(path, resume=False) as engine:
        until = time.monotonic() + 5
        while left(engine) > 1 and time.monotonic() < until:
            time.sleep(0.01)
        assert left(engine) == 1
        engine.resume()
        assert engine.handle(waits).result(5) == ["first", 7, "second"]
        assert left(engine) == 0


def test_a_step_that_kills_its_process_is_counted_each_time(tmp_path: Path) -> None:
    """Its start is on disk before its body runs, once it may have been running before."""
    script = """
import os, sys
import ferroflow as ff
@ff.task
def deadly(log: str) -> int:
    attempt = ff.current().attempt
    with open(log, "a") as file:
        file.write(f"{attempt}\\n")
    if attempt < 4:
        os._exit(9)
    return attempt
@ff.workflow
def flow(log: str) -> int:
    return deadly(log)
with ff.Engine(sys.argv[1]) as engine:
    runs = engine.list()
    handle = engine.handle(runs[0].id) if runs else engine.start(flow, sys.argv[2])
    print(handle.result(20))
"""
    log = tmp_path / "log"
    command = [sys.executable, "-c", script, str(tmp_path / "runs.db"), str(log)]
    codes = [subprocess.run(command, timeout=50, stdout=subprocess.DEVNULL).returncode for _ in range(5)]
    # The first start need not have reached the disk before the body ran; every later one has.
    attempts = [int(line) for line in log.read_text().split()]
    assert codes == [9] * (len(attempts) - 1) + [0] * (6 - len(attempts))
    assert attempts in ([1, 2, 3, 4], [1, 1, 2, 3, 4])


@ff.task(name="r.long_text")
def long_text() -> str:
    return "x" * 100_000


@ff.task(name="r.length")
def length(text: str) -> int:
    return len(text)


@ff.workflow
def measured() -> Any:
    return length.options(after=[ff.signal("go")])(long_text())


def test_a_relative_path_means_the_same_file_wherever_the_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(here)
    with ff.Engine("runs.db") as engine:
        monkeypatch.chdir(elsewhere)
        handle = engine.start(measured)
        while not any(step.state == "completed" for step in handle.steps()):
            time.sleep(0.01)
        assert engine.sql("SELECT count(*) AS n FROM blobs") == [{"n": 1}]
    assert not [*elsewhere.iterdir()]
    with ff.Engine(here / "runs.db") as engine:
        assert not engine.unresumed
        engine.handle(handle.id).signal("go")
        assert engine.handle(handle.id).result(10) == 100_000


def test_a_run_that_this_engine_has_not_taken_up_is_said_to_be_that(tmp_path: Path) -> None:
    with ff.Engine(tmp_path / "runs.db") as engine:
        run = engine.start(chain).id
    with ff.Engine(tmp_path / "runs.db", resume=False) as engine:
        handle = engine.handle(run)
        for use in (handle.result, handle.cancel, lambda: handle.signal("answer")):
            with pytest.raises(ff.FerroflowError, match=r"not taken it up.*engine\.resume\(\)"):
                use()
        engine.resume()
        handle.signal("answer", 1)
        assert handle.result(10) == ["first", 1, "second"]


@pytest.mark.parametrize("which", ["first > 0", "first > 1"], ids=["all", "the end"])
@pytest.mark.parametrize("ended", [True, False])
def test_a_run_whose_records_are_missing_is_reported_and_never_hangs(
    tmp_path: Path, which: str, ended: bool
) -> None:
    with ff.Engine(tmp_path / "runs.db") as engine:
        handle = engine.start(chain)
        if ended:
            handle.signal("answer", 1)
            handle.result(10)
    _edit(tmp_path / "runs.db", f"DELETE FROM records WHERE {which}")
    with ff.Engine(tmp_path / "runs.db") as engine:
        if ended or which == "first > 0":
            with pytest.raises(ff.CorruptDatabase, match="missing"):
                engine.handle(handle.id).result(10)
        assert set(engine.unresumed) == (set() if ended or which != "first > 0" else {handle.id})


def _edit(path: Path, sql: str) -> None:
    """Change a database from another process: a second SQLite in this one would drop its locks."""
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()"
    subprocess.run([sys.executable, "-c", code, path, sql], check=True)


def test_a_link_to_a_database_is_the_same_database(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "runs.db")
    with ff.Engine(tmp_path / "runs.db"), pytest.raises(ff.DatabaseInUse):
        ff.Engine(tmp_path / "link.db")
    with ff.Engine(tmp_path / "link.db") as engine:
        handle = engine.start(measured)
        handle.signal("go")
        assert handle.result(10) == 100_000
    with ff.Engine(tmp_path / "runs.db") as engine:
        steps = engine.handle(handle.id).view(values=True).steps
        assert sorted(len(str(step.result)) for step in steps if step.task) == [6, 100_000]
