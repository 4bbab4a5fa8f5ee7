"""`ferroflow check` and `ferroflow explain`, as processes of their own."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_cli import cli

RACES = """
import ferroflow as ff

@ff.task(writes="lake/orders")
def clean(): ...

@ff.task(reads="lake/orders")
def report(): ...

@ff.workflow
def races():
    clean()
    report()

@ff.workflow
def fine():
    return report.options(after=[clean()])()

@ff.workflow
def unread():
    return clean()
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "flow.py").write_text(RACES)
    return tmp_path


@pytest.mark.req("P1.9")
def test_check_shows_what_races_and_where(here: Path) -> None:
    said = cli(here, "check", "flow.py:races", code=1)
    assert said.startswith('error[FF0502]: "lake/orders" is read while it is written\n  --> flow.py:4:17\n')
    assert "\x1b" not in said
    assert cli(here, "check", "flow:fine") == "workflow 'fine': no races\n"
    assert "warning[FF1001]" in cli(here, "check", "flow.py:unread")


def test_check_tells_programs_the_same(here: Path) -> None:
    found = json.loads(cli(here, "check", "flow.py:races", "--json", code=1))
    assert (found["workflow"], found["errors"], found["findings"][0]["code"]) == ("races", 1, "FF0502")
    assert found["findings"][0]["places"][1]["called"]["line"] == 13
    assert json.loads(cli(here, "check", "flow.py:fine", "--json"))["findings"] == []


def test_a_definition_in_a_file_is_checked(here: Path) -> None:
    step = {"task": "t", "writes": "lake"}
    (here / "flow.json").write_text(json.dumps({"name": "w", "term": {"parallel": [step, step]}}))
    assert " --> flow.json: step `t`" in cli(here, "check", "flow.json", code=1)


def test_what_can_not_be_loaded_can_not_be_checked(here: Path) -> None:
    assert "there is no file" in cli(here, "check", "nothing.json", code=3)
    assert "name one of these" in cli(here, "check", "flow.py", code=3)


@pytest.mark.req("P1.9")
def test_a_workflow_that_races_is_not_run(here: Path) -> None:
    said = cli(here, "run", "flow.py:races", code=3)
    assert said.startswith("error[FF0502]: ")
    found = json.loads(cli(here, "run", "flow.py:races", "--json", code=3))["error"]
    assert (found["kind"], found["report"]["errors"]) == ("BorrowError", 1)


@pytest.mark.parametrize("code", ["FF0499", "ff0499", "0499", "499"])
def test_explain_prints_the_page_on_a_code(tmp_path: Path, code: str) -> None:
    said = cli(tmp_path, "explain", code)
    assert said.startswith("# FF0499: two steps write one asset\n")
    assert "## Ways out" in said
    assert json.loads(cli(tmp_path, "explain", code, "--json"))["code"] == "FF0499"


def test_explain_lists_what_there_is(tmp_path: Path) -> None:
    assert "FF0382  an asset is used after it was moved\n" in cli(tmp_path, "explain")
    assert json.loads(cli(tmp_path, "explain", "--json"))["FF0499"] == "two steps write one asset"
    for unknown in ("FF9999", "../FF0499", "lake"):
        assert f"there is no page on '{unknown}'; there is one on FF0382, " in cli(
            tmp_path, "explain", unknown, code=2
        )


def on_a_terminal(folder: Path, *args: str) -> str:
    """Run a command whose standard output is a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "90", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    started = subprocess.Popen(
        [sys.executable, "-m", "ferroflow", *args],
        cwd=folder, stdout=theirs, stdin=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    try:
        while chunk := os.read(ours, 65536):
            said += chunk
    except OSError:
        # So ends a terminal that nobody writes to any more.
        pass
    os.close(ours)
    started.wait(timeout=30)
    return said.decode()


def test_terminals_get_colours(here: Path) -> None:
    assert "\x1b[1;31merror[FF0502]\x1b[0m" in on_a_terminal(here, "check", "flow.py:races")
    page = on_a_terminal(here, "explain", "FF0499")
    assert "\x1b[" in page
    assert "```" not in page
