"""`ferroflow run FILE.json` runs a recorded execution, and `show --wfformat` writes one."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ferroflow import interchange
from ferroflow.interchange import synthetic
from tests.interchange import made, real

SAMPLE = real.ROOT / "examples" / "sample.json"
EXAMPLE = real.ROOT / "examples" / "recorded.json"


def cli(cwd: Path, *args: str, code: int = 0) -> tuple[str, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "ferroflow", *args],
        cwd=cwd, capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout, ended.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "it.json"
    path.write_text(json.dumps(made.diamond()))
    return path


def test_an_instance_is_run_and_compared(file: Path) -> None:
    out, told = cli(file.parent, "run", "it.json", "--scale", "0.01")
    assert json.loads(out[: out.index("}") + 1]) == {"files": 3, "bytes": 12}
    assert "4 tasks with 0.037 s of work" in out
    assert "recorded 10.000 s, which is 0.100 s at scale 0.01" in out
    assert "completed" in told
    out, _ = cli(file.parent, "run", "it.json", "--scale", "0.01", "--json")
    answer = json.loads(out)
    assert answer["state"] == "completed"
    assert answer["makespan"] > 0.03
    assert (answer["recorded"], answer["scaled"], answer["tasks"]) == (10, 0.1, 4)
    assert not synthetic.directory(answer["run"]).exists()


def test_a_run_is_written_as_an_instance(file: Path) -> None:
    run = json.loads(cli(file.parent, "run", "it.json", "--scale", "0.01", "--json")[0])["run"]
    _, told = cli(file.parent, "show", run, "--wfformat", "again.json")
    assert "wrote again.json" in told
    again = interchange.read(file.parent / "again.json")
    assert [task.id for task in again.tasks] == ["a", "b", "c", "d"]
    assert again.columns.sources == interchange.read(file).columns.sources


def test_what_is_too_much_or_wrong_is_refused_before_there_is_a_database(file: Path) -> None:
    out, _ = cli(file.parent, "run", "it.json", "--max-disk", "1KB", "--json", code=3)
    assert json.loads(out)["error"]["kind"] == "InvalidInput"
    assert "scale down to 0.8" in json.loads(out)["error"]["message"]
    broken = made.instance({"a": ["b"], "b": ["a"]})
    file.write_text(json.dumps(broken))
    out, _ = cli(file.parent, "run", "it.json", "--json", code=3)
    (problem,) = json.loads(out)["error"]["problems"]
    assert problem["code"] == "cyclic-dependency"
    for text, code in (
        ('{"schemaVersion": "1.3"}', "wrong-version"),
        ('{"schemaVersion": NaN}', "not-a-number"),
    ):
        file.write_text(text)
        _, told = cli(file.parent, "run", "it.json", code=3)
        assert f"[{code}]" in told
    assert [*file.parent.iterdir()] == [file]


def test_the_options_are_for_instances_and_inputs_are_not(file: Path) -> None:
    _, told = cli(file.parent, "run", str(SAMPLE), "--scale", "0.1", code=2)
    assert "for WfFormat instances" in told
    cli(file.parent, "run", "it.json", "--max-disk", "much", code=2)
    cli(file.parent, "run", "it.json", "--scale", "-1", code=2)
    _, told = cli(file.parent, "run", "it.json", "--scale", "0", "-i", "n=1", code=3)
    assert "no input" in told


def test_an_instance_can_be_drawn(file: Path) -> None:
    assert "wfformat.work" in cli(file.parent, "graph", "it.json")[0]


def test_the_example_runs(tmp_path: Path) -> None:
    out, _ = cli(tmp_path, "run", str(EXAMPLE), "--scale", "0.01", "--json")
    assert json.loads(out)["state"] == "completed"


def begun(folder: Path, seconds: float) -> tuple[subprocess.Popen[bytes], str]:
    """Start a run whose second task takes so long; return when the first has written its file."""
    source: Any = made.instance(
        {"a": ["b"], "b": []},
        took={"a": {"runtimeInSeconds": 0}, "b": {"runtimeInSeconds": seconds, "avgCPU": 0}},
        writes={"a": ["x"]},
        reads={"b": ["x"]},
        sizes={"x": 10},
    )
    (folder / "long.json").write_text(json.dumps(source))
    (folder / "tmp").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "ferroflow", "run", "long.json"],
        cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 30
    while time.monotonic() < until:
        for file in (folder / "tmp").glob("ferroflow-wfformat-*/0"):
            return process, file.parent.name.removeprefix("ferroflow-wfformat-")
        time.sleep(0.02)
    process.kill()
    process.wait()
    raise AssertionError("it has not begun")


def test_a_run_that_is_cancelled_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    process, run = begun(tmp_path, 60)
    cli(tmp_path, "cancel", run)
    assert process.wait(30) == 5
    assert [*(tmp_path / "tmp").glob("ferroflow-*")] == []


def test_a_run_whose_engine_was_killed_goes_on_with_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    process, run = begun(tmp_path, 2)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert (tmp_path / "tmp" / f"ferroflow-wfformat-{run}" / "0").stat().st_size == 10
    out, _ = cli(tmp_path, "resume", "--json")
    (answer,) = json.loads(out)
    assert (answer["run"], answer["state"]) == (run, "completed")
    assert answer["result"] == {"files": 1, "bytes": 10}
    assert [*(tmp_path / "tmp").glob("ferroflow-*")] == []
