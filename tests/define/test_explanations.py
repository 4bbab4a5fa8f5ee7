"""The pages of `ferroflow explain`: each example says what its page says that it does."""

import linecache
import re
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from ferroflow.define import registry
from ferroflow.define.explaining import page, titles
from ferroflow.define.findings import Report

ROOT = Path(__file__).parents[2]
FILE = "daily.py"


def example(code: str, text: str, monkeypatch: pytest.MonkeyPatch) -> Report:
    """Check the last workflow of the program on a page."""
    found = re.search(r"^```python\n(.*?)^```$", text, re.M | re.S)
    assert found is not None
    monkeypatch.setattr(registry, "_tasks", {})
    monkeypatch.setitem(linecache.cache, FILE, (len(found[1]), None, found[1].splitlines(True), FILE))
    space: dict[str, Any] = {"__name__": f"explained.{code}"}
    exec(compile(found[1], FILE, "exec"), space)
    return [it for it in space.values() if isinstance(it, ff.Workflow)][-1].check()


@pytest.mark.req("P1.9")
@pytest.mark.parametrize("code", titles())
def test_the_example_of_a_page_says_what_the_page_says(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page(code)
    assert text is not None
    report = example(code, text, monkeypatch)
    assert [it.code for it in report] == [code]
    assert report[0].level == ("warning" if code.startswith("FF1") else "error")
    said = re.search(r"^```text\n(.*?)^```$", text, re.M | re.S)
    assert said is not None
    assert str(report[0]) == said[1].rstrip("\n")


@pytest.mark.parametrize("code", titles())
def test_a_page_says_what_it_is_about_and_ways_out(code: str) -> None:
    text = page(code) or ""
    assert re.match(rf"# {code}: [a-z]", text)
    assert "\n## Ways out\n\n- **" in text
    assert max(map(len, text.splitlines())) <= 120


def test_there_is_a_page_on_every_code_and_no_other() -> None:
    rust = (path.read_text() for path in (ROOT / "rust/define/src/access").rglob("*.rs"))
    codes = {code for text in rust for code in re.findall(r'"(FF\d{4})"', text.split("#[cfg(test)]")[0])}
    assert {*titles()} == codes
    assert page("FF0000") is page("../FF0499") is None
