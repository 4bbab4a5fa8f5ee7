"""An engine is killed while processes run bodies for it: none of them meets its successor."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.crash import children_work

ROOT = Path(__file__).parents[2]


def marks(folder: Path) -> list[str]:
    """The engines that the living processes of this test belong to, by their environments."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"FOLDER=" + os.fsencode(folder) in variables:
            found += [it.decode() for it in variables if it.startswith(b"FERROFLOW_ENGINE=")] or [""]
    return found


def launchers(engine: int) -> list[int]:
    """The programs that start processes for an engine."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition(" (")[2].rpartition(") ")
        except OSError:
            continue
        if name.startswith("ferroflow") and int(rest.split()[1]) == engine:
            found.append(int(stat.parent.name))
    return found


def soak(tmp_path: Path, kills: int, seed: int) -> None:
    choose = random.Random(seed)
    folder = tmp_path / "work"
    folder.mkdir()
    words = [sys.executable, "-m", children_work.__name__, str(tmp_path / "runs.db"), str(folder), str(kills)]
    for left in reversed(range(kills + 1)):
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        # Whatever lives now was started by this engine: all that came before is gone.
        assert len({*marks(folder)}) <= 1, "an orphan outlived a recovery"
        if left:
            time.sleep(choose.uniform(0.02, 0.35))
            # With its launcher, which would end the others, every other time: only a recovery is left then.
            if left % 2:
                os.kill(process.pid, signal.SIGSTOP)
                for launcher in launchers(process.pid):
                    os.kill(launcher, signal.SIGKILL)
            os.kill(process.pid, signal.SIGKILL)
        told, _ = process.communicate(timeout=120)
    assert told == "done\n"
    log = (folder / "log").read_text().splitlines()
    assert not [line for line in log if line.startswith("overlap")], "two bodies of a step lived at a time"
    assert {line for line in log if line.startswith("end")} == {f"end {step}" for step in range(kills)}
    again = len([line for line in log if line.startswith("start")]) - kills
    print(f"{kills} kills, {again} bodies were begun again, {len(marks(folder))} processes are left")
    assert again > kills / 4, "hardly anything was running when the kills came"
    assert not marks(folder)


@pytest.mark.timeout(180)
def test_no_body_lives_twice_and_no_orphan_survives_a_recovery(tmp_path: Path) -> None:
    soak(tmp_path, kills=40, seed=1)


@pytest.mark.nightly
def test_none_does_in_a_long_soak(tmp_path: Path) -> None:
    soak(tmp_path, kills=200, seed=2)
