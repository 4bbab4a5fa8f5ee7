"""What every test gets: the record of which requirement rows passing tests show."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROW = re.compile(r"P[1-9]\.\d{1,3}")
"""How a requirement row is written: its part, a dot, its number."""

_ROWS = pytest.StashKey[dict[str, list[str]]]()
_OUTCOMES = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--requirements-json",
        metavar="FILE",
        default=None,
        help="write which requirement rows each test names, and how the test ended",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_ROWS] = {}
    config.stash[_OUTCOMES] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Read the `req` markers; one that names no row, or a misspelt one, stops the run."""
    for item in items:
        rows: list[str] = []
        for marker in item.iter_markers("req"):
            wrong = [row for row in marker.args if not ROW.fullmatch(str(row))]
            if wrong or not marker.args or marker.kwargs:
                raise pytest.UsageError(
                    f'{item.nodeid}: req takes rows such as "P5.114", not {wrong or "nothing"}'
                )
            rows.extend(marker.args)
        if rows:
            config.stash[_ROWS][item.nodeid] = sorted(set(rows))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Keep the worst outcome of set-up, call and tear-down: a test that fails last has failed."""
    report: pytest.TestReport = yield
    outcomes = item.config.stash[_OUTCOMES]
    before = outcomes.get(item.nodeid, "passed")
    if before == "passed":
        expected_failure = hasattr(report, "wasxfail")
        outcomes[item.nodeid] = "xfailed" if expected_failure else report.outcome
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    target = session.config.getoption("--requirements-json")
    if target is None or session.config.getoption("--collect-only"):
        return
    outcomes = session.config.stash[_OUTCOMES]
    tests = [
        {"test": nodeid, "rows": rows, "outcome": outcomes.get(nodeid, "not run")}
        for nodeid, rows in sorted(session.config.stash[_ROWS].items())
    ]
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"tests": tests}, indent=1) + "\n", encoding="utf-8")
