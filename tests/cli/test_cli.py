"""The command line, as a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[2] / "examples" / "sample.json"

MODULE = """
import ferroflow as ff

@ff.task
def double(n: int) -> int:
    return 2 * n

@ff.task
def bad() -> None:
    raise ValueError("as told")

@ff.workflow
def twice(n: int):
    return double(double(n))

@ff.workflow
def fails():
    return bad()

@ff.workflow
def waits():
    return ff.signal("go")
"""


def cli(cwd: Path, *args: str, code: int = 0) -> str:
    environment = {**os.environ, "COLUMNS": "200"}
    ended = subprocess.run(
        [sys.executable, "-m", "ferroflow.cli", *args],
        cwd=cwd, capture_output=True, text=True, timeout=50, env=environment,
    )  # fmt: skip
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout if code == 0 else ended.stdout + ended.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODULE)
    return tmp_path


@pytest.mark.req("P9.122")
def test_the_sample_workflow_runs_from_json(folder: Path) -> None:
    answer = json.loads(cli(folder, "run", str(SAMPLE), "--json", "--input", 'data={"name": "ada"}'))
    assert answer["state"] == "completed"
    assert answer["result"] == {"name": "ADA", "total": 10, "average": 2.5}
    shown = json.loads(cli(folder, "show", answer["run"], "--events", "--json"))
    assert {
        step["path"]: step["state"] for step in shown["steps"] if step["kind"] == "task"
    } == dict.fromkeys(["prepare", "total", "average", "merge"], "completed")
    assert any(event.get("name") == "final_result" for event in shown["events"])


def test_run_list_show_verify(folder: Path) -> None:
    assert "12" in cli(folder, "run", "mine.py:twice", "-i", "n=3")
    assert "as told" in cli(folder, "run", "mine:fails", code=1)
    listing = cli(folder, "list")
    assert "twice 1" in listing
    assert "failed" in listing
    runs = json.loads(cli(folder, "list", "--state", "failed", "--json"))
    assert [run["workflow"] for run in runs] == ["fails"]
    assert "ValueError: as told" in cli(folder, "show", runs[0]["id"])
    assert "valid" in cli(folder, "verify-log")


def test_a_waiting_run_is_resumed_signalled_and_cancelled(folder: Path) -> None:
    script = (
        "import ferroflow as ff, mine; e = ff.Engine('ferroflow.db');"
        "print(e.start(mine.waits).id); e.start(mine.waits); e.close()"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()
    cli(folder, "signal", run, "go", '{"answer": 42}')
    other = next(it["id"] for it in json.loads(cli(folder, "list", "--json")) if it["id"] != run)
    cli(folder, "cancel", other, "--reason", "enough")
    assert "42" in cli(folder, "resume", "mine.py", "--run", run)
    assert "enough" in cli(folder, "resume", "mine.py", "--run", other, code=5)
    assert "takes no commands" in cli(folder, "cancel", run, code=1)


@pytest.mark.req("P9.9")
def test_graphs(folder: Path) -> None:
    assert "prepare (data_process)" in cli(folder, "graph", str(SAMPLE))
    assert "n0_0 -> n0_1" in cli(folder, "graph", str(SAMPLE), "--format", "dot")


def test_exit_codes(folder: Path) -> None:
    assert "--help" in cli(folder, "nonsense", code=2)
    (folder / "bad.json").write_text('{"name": "w", "term": {"task": "a", "args": [{"$": "1 +"}]}}')
    assert "bad-expression" in cli(folder, "run", "bad.json", code=3)
    assert "missing" in cli(folder, "run", "mine:twice", code=3)
    (folder / "text.db").write_text("x" * 5000)
    assert "not a ferroflow database" in cli(folder, "list", "--db", "text.db", code=4)
    assert "no database" in cli(folder, "list", "--db", "absent.db", code=4)


def test_the_demo_survives_its_crash(folder: Path) -> None:
    out = cli(folder, "demo", "--crash")
    assert "finished ones that ran again: 0" in out
    assert "winner" in out
