"""Locks that runs hold across their steps: on record, fair, never for ever."""

import json
import subprocess
import sys
import textwrap
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import ferroflow as ff
from ferroflow.cli import main

from .test_leases import BEGUN, GATES, fresh, gated, state, step, until, use, workflow  # noqa: F401

TOKENS: dict[str, list[int]] = defaultdict(list)


@ff.task(name="lock.hold")
def hold(name: str, mode: Any = "writes", timeout: float | None = None, expires: float | None = None) -> int:
    token = ff.current().hold(name, mode, timeout=timeout, expires=expires)
    TOKENS[name].append(token)
    return token


@ff.task(name="lock.ahold")
async def ahold(name: str, timeout: float | None = None) -> int:
    return await ff.current().ahold(name, timeout=timeout)


@ff.task(name="lock.release")
def release(name: str) -> None:
    ff.current().release(name)


def sequence(name: str, *terms: Any) -> Any:
    return ff.load({"name": name, "term": {"sequence": [*terms]}})


def locking(name: str, asset: str, *rest: Any) -> Any:
    return sequence(name, step("hold", "lock.hold", [asset]), {"signal": "go"}, *rest)


def held(engine: ff.Engine) -> list[str]:
    return [lease.accesses[0].asset for lease in engine.leases() if lease.lock and not lease.waits]


def test_a_lock_is_the_runs_across_its_steps_whose_own_accesses_go_on() -> None:
    own = step("own", "lease.use", ["own"], writes="lake/raw")
    first = locking(
        "lock_across",
        "lake",
        own,
        {"signal": "more"},
        step("release", "lock.release", ["lake"]),
        {"signal": "end"},
    )
    second = workflow("lock_outside", step("b", "lease.use", ["b"], reads="lake/x"))
    with ff.Engine(workers=2) as engine:
        run = engine.start(first)
        until(lambda: held(engine) == ["lake"])
        other = engine.start(second)
        until(lambda: state(engine, "b") == "waits")
        [reason] = other.explain()
        assert run.id in reason.detail
        run.signal("go")
        until(lambda: any(it.detail == "more" for it in run.explain()))
        assert state(engine, "b") == "waits"
        run.signal("more")
        assert other.result(30) == "b"
        assert held(engine) == []
        run.signal("end")
        run.result(30)
        kinds = [event["kind"] for event in run.events()]
        assert [kind for kind in kinds if kind.startswith("Lock")] == ["LockTaken", "LockReleased"]


@pytest.mark.parametrize("end", ["cancel", "complete"])
def test_a_run_that_ends_gives_its_locks_back(end: str) -> None:
    with ff.Engine(workers=2) as engine:
        run = engine.start(locking("lock_ends", "t"))
        until(lambda: held(engine) == ["t"])
        other = engine.start(sequence("lock_other", step("hold", "lock.hold", ["t/x"])))
        until(lambda: state(engine, "hold") != "none" and len(engine.leases()) == 2)
        run.cancel() if end == "cancel" else run.signal("go")
        tokens = TOKENS["t"][-1], other.result(30)
        assert tokens[1] > tokens[0]
        assert engine.leases() == []


@pytest.mark.req("P1.7")
def test_a_lock_that_expires_is_reclaimed_and_its_holder_told() -> None:
    taking = step("hold", "lock.hold", ["t"], **{"with": {"expires": 0.2}})
    first = sequence("lock_expires", taking, {"signal": "go"}, step("release", "lock.release", ["t"]))
    with ff.Engine(workers=2) as engine:
        run = engine.start(first)
        # The other run gets it, though the first never gives it back.
        other = engine.run(sequence("lock_gets", step("hold", "lock.hold", ["t"])))
        run.signal("go")
        with pytest.raises(ff.RunFailed, match="expired") as caught:
            run.result(30)
        assert caught.value.code == "LEASE_LOST"
        released = [event for event in run.events() if "expired" in str(event)]
        assert other > TOKENS["t"][-2]
        assert released
        assert engine.leases() == []


@pytest.mark.parametrize("task", ["lock.hold", "lock.ahold"])
def test_who_waits_in_vain_is_told_who_has_it(task: str) -> None:
    with ff.Engine(workers=2) as engine:
        run = engine.start(locking("lock_has", "t"))
        until(lambda: held(engine) == ["t"])
        for wait in (0, 0.05):
            hopeless = step("hold", task, ["t"], **{"with": {"timeout": wait}})
            with pytest.raises(ff.RunFailed, match=run.id) as caught:
                engine.run(sequence("lock_hopeless", hopeless))
            assert caught.value.code == "LEASE_TIMEOUT"
        assert len(engine.leases()) == 1
        run.signal("go")
        run.result(30)


@pytest.mark.req("P1.8")
def test_runs_that_wait_for_each_others_locks_lose_one_and_the_other_goes_on() -> None:
    def crossing(name: str, first: str, second: str) -> Any:
        return sequence(
            name, step("first", "lock.hold", [first]), {"signal": "go"}, step("second", "lock.hold", [second])
        )

    with ff.Engine(workers=1) as engine:
        urgent = engine.start(crossing("lock_urgent", "x", "y"), options=ff.RunOptions(priority="high"))
        other = engine.start(crossing("lock_other", "y", "x"))
        until(lambda: sorted(held(engine)) == ["x", "y"])
        urgent.signal("go")
        until(lambda: any(lease.waits for lease in engine.leases()))
        other.signal("go")
        # The less urgent one gives up, whichever closes the circle.
        with pytest.raises(ff.RunFailed) as caught:
            other.result(30)
        assert caught.value.code == "DEADLOCK"
        for word in (urgent.id, other.id, '"x"', '"y"'):
            assert word in str(caught.value)
        assert urgent.result(30) > 0
        assert engine.leases() == []


def test_a_step_that_waits_in_a_circle_fails_too_and_may_be_caught() -> None:
    caught = {
        "try": step("s", "lease.use", ["s"], writes="y"),
        "catch": step("instead", "lease.use", ["instead"]),
    }
    with ff.Engine(workers=2) as engine:
        urgent = engine.start(
            sequence(
                "lock_a",
                step("first", "lock.hold", ["y"]),
                {"signal": "go"},
                step("second", "lock.hold", ["x"]),
            ),
            options=ff.RunOptions(priority="high"),
        )
        other = engine.start(sequence("lock_b", step("first", "lock.hold", ["x"]), {"signal": "go"}, caught))
        until(lambda: sorted(held(engine)) == ["x", "y"])
        other.signal("go")
        until(lambda: state(engine, "try/s") == "waits")
        urgent.signal("go")
        assert other.result(30) == "instead"
        assert urgent.result(30) > 0


def test_a_body_that_waits_for_a_lock_hears_when_its_run_is_cancelled() -> None:
    with ff.Engine(workers=1) as engine:
        run = engine.start(locking("lock_keeps", "t"))
        until(lambda: held(engine) == ["t"])
        waiters = [
            engine.start(sequence(f"lock_waits_{task}", step("hold", f"lock.{task}", ["t"])))
            for task in ("hold", "ahold")
        ]
        until(lambda: len(engine.leases()) == 3)
        for waiter in waiters:
            waiter.cancel()
            with pytest.raises(ff.RunCancelled):
                waiter.result(30)
        until(lambda: len(engine.leases()) == 1 and engine.stats().running == 0)
        run.signal("go")
        run.result(30)


def test_readers_share_a_lock_and_a_run_that_has_it_keeps_it() -> None:
    reads = step("hold", "lock.hold", ["t", "reads"])
    twice = sequence(
        "lock_twice", reads, step("again", "lock.hold", ["t", "reads"]), step("more", "lock.hold", ["t"])
    )
    with ff.Engine(workers=2) as engine:
        run = engine.start(sequence("lock_reads", reads, {"signal": "go"}))
        until(lambda: held(engine) == ["t"])
        other = engine.start(twice)
        until(lambda: any(lease.waits for lease in engine.leases()))
        assert len(held(engine)) == 2
        assert TOKENS["t"][-1] == TOKENS["t"][-2], "the run has it already"
        run.signal("go")
        assert other.result(30) > TOKENS["t"][-2]


@pytest.mark.parametrize(("name", "mode"), [("", "writes"), ("a//b", "writes"), ("t", "takes")])
def test_what_can_not_be_locked_is_refused(name: str, mode: str) -> None:
    with ff.Engine() as engine, pytest.raises(ff.RunFailed, match="ValueError"):
        engine.run(sequence("lock_wrong", step("hold", "lock.hold", [name, mode])))


@pytest.mark.req("P1.8")
def test_a_crash_keeps_locks_and_the_recovered_steps_ask_anew(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    program = f"""
        import os, sys, time
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        import ferroflow as ff
        from tests.engine.test_locks import *
        engine = ff.Engine({str(path)!r}, workers=2)
        engine.start(locking("lock_crash", "lake/raw"))
        until(lambda: held(engine) == ["lake/raw"])
        engine.start(workflow("lock_after", step("b", "lease.use", ["b"], writes="lake")))
        engine.start(workflow("lock_runs", step("g", "lease.gated", ["g"], reads="other")))
        assert BEGUN["g"].wait(30)
        until(lambda: len(engine.leases()) == 3)
        engine.sql("select 1")
        time.sleep(0.2)
        os._exit(9)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], timeout=60, capture_output=True, text=True
    )
    assert done.returncode == 9, done.stderr
    # Another process sees it in the journal.
    shown = CliRunner().invoke(main, ["leases", "--db", str(path)])
    assert "lake/raw (writes)" in shown.output, shown.output
    assert "2 held, 1 waiting" in shown.output
    found = json.loads(CliRunner().invoke(main, ["leases", "--json", "--db", str(path)]).output)["leases"]
    assert [(it["step"], it["lock"], it["waits"]) for it in found] == [
        ("hold", True, False),
        ("g", False, False),
        ("b", False, True),
    ]
    assert [it["asset"] for it in found[2]["behind"]] == ["lake/raw"]
    with ff.Engine(path, workers=2) as engine:
        until(lambda: state(engine, "b") == "waits" and BEGUN["g"].is_set())
        lock = engine.leases()[0]
        assert (lock.accesses[0].asset, lock.token) == ("lake/raw", found[0]["token"])
        GATES["g"].set()
        runs = {record.workflow: engine.handle(record.id) for record in engine.list()}
        runs["lock_crash"].signal("go")
        assert runs["lock_after"].result(30) == "b"
        assert runs["lock_runs"].result(30) == "g"
        assert engine.leases() == []


def test_a_step_that_has_not_begun_gives_way_to_a_body_that_asks_for_a_lock() -> None:
    @ff.task(name="lock.late")
    def late() -> int:
        BEGUN["late"].set()
        assert GATES["late"].wait(30)
        return ff.current().hold("t", timeout=20)

    # The step waits for the processor that the body has.
    queued = workflow("lock_queued", step("b", "lease.use", ["b"], writes="t"))
    with ff.Engine(workers=2, capacity={"cpu": 1}) as engine:
        run = engine.start(sequence("lock_gives", step("a", "lock.late", [])))
        assert BEGUN["late"].wait(30)
        other = engine.start(queued, options=ff.RunOptions(priority="critical"))
        until(lambda: state(engine, "b") == "holds")
        GATES["late"].set()
        assert run.result(30) > 0
        assert other.result(30) == "b"
        assert engine.leases() == []
