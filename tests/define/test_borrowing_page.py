"""The programs of `docs/borrowing.md` print what stands below them."""

import contextlib
import io
import linecache
import re
from pathlib import Path

import pytest

from ferroflow.define import registry
from ferroflow.define.explaining import titles

PAGE = Path(__file__).parents[2] / "docs" / "borrowing.md"
PROGRAMS = re.findall(
    r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S
)


def printed(program: str, number: int) -> str:
    """Run a program as the file `daily.py`."""
    file = "daily.py"
    linecache.cache[file] = (len(program), None, program.splitlines(True), file)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(program, file, "exec"), {"__name__": f"borrowing_{number}"})
    del linecache.cache[file]
    return said.getvalue()


@pytest.mark.req("P1.9", "P1.10")
@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_a_program_prints_what_stands_below_it(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_tasks", {})
    program, below = PROGRAMS[number]
    assert printed(program, number) == below


def test_every_program_has_its_output() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(PROGRAMS) == text.count("```python") > 5


def test_every_code_is_listed_by_its_title() -> None:
    rows = re.findall(r"^\| `(FF\d+)` \| (?:warning: )?(.+) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    assert dict(rows) == titles()
