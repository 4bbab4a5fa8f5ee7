"""What an engine does that can't end what an earlier one has left: it starts nothing beside that."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from tests.crash import children_left, powerless
from tests.crash.test_orphans import ROOT, launchers
from tests.engine.test_processes import alive, eventually


def opened_without_power(path: Path) -> Any:
    """What comes of opening an engine that may send no signals."""
    words = [sys.executable, "-m", powerless.__name__, str(path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=50)
    found = json.loads(done.stdout)
    if found is None:
        pytest.skip("this system has no filters of system calls")
    return found


@pytest.fixture
def left() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A process of an earlier engine, and the mark of that."""
    mark = uuid.uuid4().hex
    process = subprocess.Popen(["/bin/sleep", "1000"], env={"FERROFLOW_ENGINE": mark})
    with process:
        yield mark, process
        process.kill()


def test_a_database_is_not_opened_beside_processes_that_can_not_be_ended(
    tmp_path: Path, left: tuple[str, "subprocess.Popen[bytes]"]
) -> None:
    mark, process = left
    path, named = tmp_path / "it.db", tmp_path / "it.db.processes"
    named.write_text(mark)
    kind, message = opened_without_power(path)["error"]
    assert kind == "StorageError"
    assert f"end those that have FERROFLOW_ENGINE={mark} in their environment" in message
    assert process.poll() is None
    # Whoever comes next looks for them again, and may be allowed to end them.
    assert named.read_text() == mark
    with ff.Engine(path):
        assert process.wait(20) == -signal.SIGKILL
        assert not named.exists()


def test_a_run_is_not_taken_up_beside_its_process_that_can_not_be_ended_and_others_are(
    tmp_path: Path,
) -> None:
    path = tmp_path / "it.db"
    words = [sys.executable, "-m", children_left.__name__, str(path)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        pid = int(engine.stdout.readline())
        engine.send_signal(signal.SIGSTOP)
        for launcher in launchers(engine.pid):
            os.kill(launcher, signal.SIGKILL)
        engine.kill()
    assert alive(pid)
    found = opened_without_power(path)
    ((run, (kind, message)),) = found["unresumed"].items()
    assert kind == "FerroflowError"
    assert f"processes of the group {pid}, in which an earlier engine ran a step of run {run}" in message
    assert "engine.resume()" in message
    assert (set(found["states"].values()), found["active"]) == ({"running"}, 1)
    assert alive(pid)
    with ff.Engine(path) as again:
        assert not again.unresumed
        assert not alive(pid)
        assert eventually(lambda: again.stats().running == 1)
        again.handle(run).cancel("enough")
