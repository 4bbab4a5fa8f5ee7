"""How far a run is, on a terminal and elsewhere."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import ferroflow as ff
from ferroflow.cli.following import Left

MODULE = """
import time
import ferroflow as ff

@ff.task
def nap(n: int) -> int:
    time.sleep(0.15)
    return n

@ff.workflow
def naps():
    return ff.each([1, 2, 3, 4, 5, 6, 7, 8], nap)
"""


def test_the_time_left_goes_by_what_was_done_since_the_first_look() -> None:
    now = [100.0]
    left = Left(lambda: now[0])

    def far(ended: int, total: int) -> ff.Progress:
        return ff.Progress(ended=ended, total=total, running=[])

    assert left.seconds(far(10, 40)) is None
    assert left.said(far(10, 40)) == ""
    now[0] += 4
    assert left.seconds(far(20, 40)) == 8.0
    assert left.said(far(20, 40)) == "0:08 left"
    now[0] += 4
    assert left.said(far(11, 1011)) == "2:13:20 left"


def test_a_terminal_shows_a_bar_the_running_steps_and_the_time_left(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODULE)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "ferroflow", "run", "mine.py:naps", "--workers", "2"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while True:
        try:
            read = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not read:
            break
        seen += read
    os.close(ours)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    text = seen.decode()
    assert "running: each[" in text
    assert "/9" in text
    assert "left" in text
    assert "━" in text
    assert "completed" in text
    assert json.loads(out) == [1, 2, 3, 4, 5, 6, 7, 8]
