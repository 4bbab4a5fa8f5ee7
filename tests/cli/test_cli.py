"""The command line, as a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff

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

@ff.task
def keyed() -> dict:
    return {None: {True: [1, 2]}}

@ff.workflow
def odd():
    return keyed()
"""


def cli(cwd: Path, *args: str, code: int = 0) -> str:
    environment = {**os.environ, "COLUMNS": "200"}
    ended = subprocess.run(
        [sys.executable, "-m", "ferroflow", *args],
        cwd=cwd, capture_output=True, text=True, timeout=50, env=environment,
    )  # fmt: skip
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout if code == 0 else ended.stdout + ended.stderr


def answer(cwd: Path, *args: str, code: int = 0) -> Any:
    """Return what a command says with --json, which is one value and nothing else."""
    ended = subprocess.run(
        [sys.executable, "-m", "ferroflow", *args, "--json"],
        cwd=cwd, capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert ended.returncode == code, ended.stdout + ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODULE)
    return tmp_path


@pytest.mark.req("P9.122")
def test_the_sample_workflow_runs_from_json(folder: Path) -> None:
    ended = answer(folder, "run", str(SAMPLE), "--input", 'data={"name": "ada"}')
    assert ended["state"] == "completed"
    assert ended["result"] == {"name": "ADA", "total": 10, "average": 2.5}
    shown = answer(folder, "show", ended["run"], "--events")
    assert {
        step["path"]: step["state"] for step in shown["steps"] if step["kind"] == "task"
    } == dict.fromkeys(["prepare", "total", "average", "merge"], "completed")
    assert any(event.get("name") == "final_result" for event in shown["events"])


def test_run_list_show_verify(folder: Path) -> None:
    assert json.loads(cli(folder, "run", "mine.py:twice", "-i", "n=3")) == 12
    assert "as told" in cli(folder, "run", "mine:fails", code=1)
    listing = cli(folder, "list")
    assert "twice 1" in listing
    assert "failed" in listing
    assert "2 runs" in listing
    runs = answer(folder, "list", "--state", "failed")["runs"]
    assert [run["workflow"] for run in runs] == ["fails"]
    assert "ValueError: as told" in cli(folder, "show", runs[0]["id"])
    assert "valid" in cli(folder, "verify-log")
    found = answer(folder, "verify-log")
    assert (found["valid"], found["broken"], found["runs"]) == (True, [], 2)


def test_a_failed_run_is_one_json_value(folder: Path) -> None:
    failed = answer(folder, "run", "mine.py:fails", code=1)
    assert failed["state"] == "failed"
    error = failed["error"]
    assert (error["kind"], error["code"], error["step"]) == ("RunFailed", "EXECUTION_FAILED", "bad")
    assert "as told" in error["message"]
    assert "Traceback" in error["details"]


def test_keys_that_json_does_not_have_are_shown_as_text(folder: Path) -> None:
    ended = answer(folder, "run", "mine.py:odd")
    assert ended["result"] == {"None": {"True": [1, 2]}}
    assert answer(folder, "show", ended["run"], "--values", "--events")["result"] == ended["result"]


def test_a_waiting_run_is_resumed_signalled_and_cancelled(folder: Path) -> None:
    script = (
        "import ferroflow as ff, mine; e = ff.Engine('ferroflow.db');"
        "print(e.start(mine.waits).id); e.start(mine.waits); e.close()"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()
    told = cli(folder, "signal", run, "go", '{"answer": 42}', "--wait", "0")
    assert "no engine has taken it" in told
    assert f"ferroflow resume TARGET --db ferroflow.db --run {run}" in told
    other = next(it["id"] for it in answer(folder, "list")["runs"] if it["id"] != run)
    left = answer(folder, "cancel", other, "--reason", "enough", "--wait", "0")
    assert left == {"run": other, "command": "cancel", "taken": False, "state": "running"}
    assert "42" in cli(folder, "resume", "mine.py", "--run", run)
    ended = answer(folder, "resume", "mine.py", code=5)
    assert [(it["run"], it["state"]) for it in ended] == [(other, "cancelled")]
    assert "enough" in ended[0]["error"]["message"]
    assert "takes no commands" in cli(folder, "cancel", run, code=1)
    assert "nothing to resume" in cli(folder, "resume", "mine.py")


def test_runs_of_unknown_tasks_are_left_and_told(folder: Path) -> None:
    script = (
        "import ferroflow as ff, mine; e = ff.Engine('ferroflow.db', workers=1);"
        "h = e.start(mine.held); h.pause(); e.close()"
    )
    (folder / "mine.py").write_text(
        MODULE + "\n@ff.workflow\ndef held():\n    return double(ff.signal('go'))\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)
    told = subprocess.run(
        [sys.executable, "-m", "ferroflow", "resume"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert "1 unfinished run stays as it is: name the file or module" in told.stderr
    run = answer(folder, "list")["runs"][0]["id"]
    assert answer(folder, "resume", "--run", run, code=3)["error"]["kind"] == "TaskNotFound"


def test_commands_say_what_an_engine_made_of_them(folder: Path) -> None:
    path = folder / "ferroflow.db"
    with ff.Engine(path) as engine:
        handle = engine.start(waiting)
        run = handle.id
        assert f"run {run} is paused" in cli(folder, "pause", run, "--wait", "30")
        assert answer(folder, "continue", run, "--wait", "30") == {
            "run": run, "command": "continue", "taken": True, "state": "running",
        }  # fmt: skip
        assert "got the signal 'go'" in cli(folder, "signal", run, "go", "now", "--wait", "30")
        assert handle.result(30) == "now"
        in_use = answer(folder, "run", "mine.py:twice", "-i", "n=1", code=4)["error"]
        assert in_use["kind"] == "DatabaseInUse"
        assert "another engine" in in_use["message"]


@ff.workflow
def waiting() -> Any:
    return ff.signal("go")


def test_a_command_waits_until_its_run_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with ff.Engine(path) as engine:
        old = engine.start(waiting).id
    with ff.Engine(path, resume=False) as engine:
        new = engine.start(waiting)
        # Commands are taken in order: once the second has come, the first has been looked at.
        ff._core.post(path, old, "signal:go", b"\x01")
        ff._core.post(path, new.id, "signal:go", b"\x02")
        assert new.result(30) == 2
        assert engine.resume() == [old]
        assert engine.handle(old).result(30) == 1


def test_what_is_wrong_with_a_target_or_its_inputs_is_said(folder: Path) -> None:
    (folder / "empty.py").write_text("x = 1\n")
    (folder / "broken.py").write_text("x = 1 / 0\n")
    (folder / "beside.py").write_text("from mine import *\nimport nowhere\n")
    (folder / "json.py").write_text("from mine import twice\n")
    (folder / "list.json").write_text("[1]")
    for target, said in {
        "mine.py": "mine.py:fails, mine.py:odd, mine.py:twice, mine.py:waits",
        "mine:nope": "no workflow 'nope'",
        "empty.py": "has no workflow",
        "absent.py": "there is no file absent.py",
        "absent:x": "there is no module 'absent' here",
        "broken.py": "can't be imported: ZeroDivisionError",
        "beside.py": "No module named 'nowhere'",
        "list.json": "a definition is an object",
    }.items():
        error = answer(folder, "run", target, code=3)["error"]
        assert (error["kind"], said in error["message"]) == ("DefinitionError", True), error
    for given, said in {
        ("-i", "m=1"): 'there is no input "m"',
        ("-i", "n=x"): 'input "n" is str, and it has to be int',
        ("-i", 'n={"a":'): "looks like JSON and is not",
        ("-i", "n"): "write NAME=VALUE",
        ("--inputs", "[1]"): "has to be a JSON object",
        ("--inputs", "{"): "is not JSON",
    }.items():
        error = answer(folder, "run", "mine:twice", *given, code=3)["error"]
        assert (error["kind"], said in error["message"]) == ("InvalidInput", True), error
    # A file may be called like a module that is in use.
    assert answer(folder, "run", "json.py", "-i", "n=1")["result"] == 4


def test_usage_errors_are_json_too(folder: Path) -> None:
    assert "--help" in cli(folder, "nonsense", code=2)
    for wrong in (["--nonsense"], ["list", "--limit", "0"], ["run"], ["run", "a", "--timeout", "3x"]):
        assert answer(folder, *wrong, code=2)["error"]["message"]
    unknown = answer(folder, "list", "--state", "asleep", code=2)["error"]["message"]
    assert "'asleep' is not one of 'created', 'running'" in unknown


def test_exit_codes(folder: Path) -> None:
    (folder / "bad.json").write_text('{"name": "w", "term": {"task": "a", "args": [{"$": "1 +"}]}}')
    problems = answer(folder, "run", "bad.json", code=3)["error"]["problems"]
    assert problems[0]["code"] == "bad-expression"
    assert "missing" in cli(folder, "run", "mine:twice", code=3)
    (folder / "text.db").write_text("x" * 5000)
    assert "not a ferroflow database" in cli(folder, "list", "--db", "text.db", code=4)
    assert answer(folder, "list", "--db", "absent.db", code=4)["error"]["kind"] == "StorageError"
    assert "no database" in cli(folder, "resume", "--db", "absent.db", code=4)
    assert not (folder / "absent.db").exists()
    assert answer(folder, "run", "mine:waits", "--timeout", "0.1", code=5)["state"] == "timed_out"
    assert "No such file" in cli(folder, "graph", "mine:waits", "-o", "no/such.svg", code=1)


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_leaves_a_run_that_can_be_resumed(folder: Path, as_json: bool) -> None:
    command = [sys.executable, "-m", "ferroflow", "run", "mine.py:waits", *["--json"] * as_json]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (folder / "ferroflow.db").exists() or not (runs := answer(folder, "list")["runs"]):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    run = runs[0]["id"]
    again = f"ferroflow resume mine.py:waits --db ferroflow.db --run {run}"
    if as_json:
        error = json.loads(out)["error"]
        assert (error["kind"], error["run"]) == ("Interrupted", run)
        assert again in error["message"]
    else:
        assert again in err
    cli(folder, "signal", run, "go", "7", "--wait", "0")
    assert json.loads(cli(folder, *again.split()[1:])) == 7


def test_a_reader_that_leaves_is_no_error(folder: Path) -> None:
    with ff.Engine(folder / "ferroflow.db") as engine:
        for _ in range(3):
            engine.start(waiting).cancel()
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "ferroflow", "list"], cwd=folder, stdout=write, stderr=subprocess.PIPE
    )
    os.close(read)
    os.close(write)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (141, b"")


@pytest.mark.req("P9.9")
def test_graphs(folder: Path) -> None:
    assert "prepare (data_process)" in cli(folder, "graph", str(SAMPLE))
    assert "n0_0 -> n0_1" in cli(folder, "graph", str(SAMPLE), "--format", "dot")
    run = answer(folder, "run", "mine.py:fails", code=1)["run"]
    picture = cli(folder, "graph", "--run", run, "--format", "svg")
    assert picture.startswith("<svg")
    assert ">failed</text>" in picture
    assert "class n0_0 failed" in cli(folder, "graph", "mine.py:fails", "--run", run)
    assert "leave TARGET out" in cli(folder, "graph", "mine.py:twice", "--run", run, code=3)
    cli(folder, "graph", "mine.py:twice", "--format", "svg", "-o", "twice.svg")
    assert "double" in (folder / "twice.svg").read_text()


def test_the_demo_survives_its_crash(folder: Path) -> None:
    out = cli(folder, "demo", "--crash")
    assert "finished folds that ran again: 0." in out
    assert "The winner, " in out
    before, after = re.findall(r"4\. (\d+) folds were finished before the crash, (\d+) ran after it", out)[0]
    assert int(before) + int(after) == 60
    assert 10 < int(before) <= 40
