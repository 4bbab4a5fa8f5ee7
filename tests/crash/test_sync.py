"""Every write that was not synced is dropped; no acknowledged completion is lost."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ferroflow as ff

SHIM = Path(__file__).with_name("synced.c")

SCRIPT = """
import sys
import ferroflow as ff
@ff.task(name="s.one")
def one(n: int) -> int:
    return n
@ff.workflow
def chain(n: int):
    return one(one(n))
with ff.Engine(sys.argv[1], durability=sys.argv[2]) as engine:
    print("up", flush=True)
    while True:
        handle = engine.start(chain, 5)
        handle.result()
        print("ack", handle.id, flush=True)
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shim") / "synced.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(out), str(SHIM), "-ldl"], check=True)
    return out


def lost(folder: Path, shim: Path, durability: str, dice: random.Random) -> tuple[int, int]:
    """Cut the power once: return how many runs were acknowledged, and how many of them are gone."""
    folder.mkdir()
    path = folder / "runs.db"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path), durability],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "LD_PRELOAD": str(shim)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    time.sleep(dice.uniform(0.05, 0.3))
    os.kill(process.pid, signal.SIGKILL)
    out, _ = process.communicate()
    acknowledged = [line.split()[1] for line in out.splitlines() if line.startswith("ack ")]
    for name in ("runs.db", "runs.db-wal"):
        kept = folder / f"{name}.synced"
        if kept.exists():
            shutil.copy(kept, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    for name in ("runs.db-shm", "runs.db.head"):
        (folder / name).unlink(missing_ok=True)
    with ff.Engine(path, resume=False) as engine:
        there = {run.id for run in engine.list(state="completed", limit=100_000)}
    return len(acknowledged), len(set(acknowledged) - there)


def test_strict_loses_nothing_that_was_acknowledged(tmp_path: Path, shim: Path) -> None:
    dice = random.Random(3)
    total = 0
    for round_ in range(8):
        acknowledged, gone = lost(tmp_path / str(round_), shim, "strict", dice)
        total += acknowledged
        assert gone == 0, f"{gone} of {acknowledged} acknowledged runs are lost"
    assert total > 20


def test_the_test_sees_what_is_lost_without_syncs(tmp_path: Path, shim: Path) -> None:
    acknowledged, gone = lost(tmp_path / "off", shim, "unsynced", random.Random(3))
    assert acknowledged > 0
    assert gone > 0
