"""A real process is killed at random instants; nothing that was reported done is lost."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

import ferroflow as ff
from ferroflow import _core
from ferroflow.engine import records

WORKLOAD = Path(__file__).with_name("workload.py")


def start(path: Path, mode: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WORKLOAD), str(path), mode], stdout=subprocess.PIPE, text=True
    )


def in_flight(path: Path) -> bool:
    """Whether some run was cut off with a step running, or with a commit not made."""
    reader = _core.Reader(path)
    for row in reader.runs(None, ["running"], None, None, None, None, 1000):
        states = {step.state for step in records.run_view(reader.inspect(str(row["id"]), False)).steps}
        if states & {"running", "ready", "leased"}:
            return True
    return False


def soak(path: Path, kills: int, seed: int) -> None:
    dice = random.Random(seed)
    acknowledged: set[str] = set()
    hits = 0
    for _ in range(kills):
        process = start(path, "go on")
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        time.sleep(dice.uniform(0.0, 0.12))
        os.kill(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        for line in rest.splitlines():
            word, _, run = line.partition(" ")
            assert word == "ack", line
            acknowledged.add(run)
        hits += in_flight(path)
    process = start(path, "finish")
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert "wrong" not in out
    with ff.Engine(path, resume=False) as engine:
        runs = engine.list(limit=100_000)
        assert {it.state for it in runs} == {"completed"}
        assert acknowledged <= {it.id for it in runs}
        for ended in runs:
            kinds = Counter(
                event["step"]
                for event in engine.handle(ended.id).events()
                if event["kind"] == "StepCompleted"
            )
            assert set(kinds.values()) == {1}
    reader = _core.Reader(path)
    found = msgspec.msgpack.decode(reader.verify())
    assert found["complete"], found
    assert not found["broken"], found
    print(f"{kills} kills, {hits} with a step or commit in flight")
    print(f"{len(runs)} runs, {len(acknowledged)} of them acknowledged before a kill")
    assert hits >= 0.8 * kills


@pytest.mark.req("P4.173", "P5.97", "P7.49", "P8.86", "P6.148")
@pytest.mark.timeout(240)
def test_sixty_kills(tmp_path: Path) -> None:
    soak(tmp_path / "runs.db", 60, 20)


@pytest.mark.nightly
def test_a_thousand_kills(tmp_path: Path) -> None:
    soak(tmp_path / "runs.db", 1000, 1)
