"""The requirement report joins tests, comments and documentation, and notices what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "requirements_report.py"

SOURCE = """
#[cfg(test)]
mod tests {
    /// Req: P5.114, P5.9
    #[test]
    fn shows_two_rows() {}

    /// Says more before it.
    /// Req: P1.1
    #[test]
    #[should_panic(expected = "no")]
    fn fails() {}
}
"""
LOG = """\
     Running unittests src/lib.rs (target/debug/deps/ferroflow_engine-0123456789abcdef)

running 2 tests
test state::tests::shows_two_rows ... ok
test state::tests::fails - should panic ... FAILED
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    crate = tmp_path / "rust" / "engine"
    (crate / "src" / "state").mkdir(parents=True)
    (crate / "Cargo.toml").write_text('[package]\nname = "ferroflow-engine"\n')
    (crate / "src" / "state" / "mod.rs").write_text(SOURCE)
    (tmp_path / "cargo.log").write_text(LOG)
    tests = [
        {"test": "tests/test_a.py::test_a", "rows": ["P7.3"], "outcome": "passed"},
        {"test": "tests/test_a.py::test_b", "rows": ["P7.4"], "outcome": "skipped"},
    ]
    (tmp_path / "pytest.json").write_text(json.dumps({"tests": tests}))
    return tmp_path


def run(project: Path, *rows: str) -> subprocess.CompletedProcess[str]:
    (project / "rows.md").write_text("# Rows\n\n" + "".join(f"- `{row}` Works.\n" for row in rows))
    return subprocess.run(
        [
            sys.executable,
            str(SCRIPT),
            *("--rows", "rows.md", "--cargo-log", "cargo.log", "--pytest-json", "pytest.json"),
        ],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )


def test_rows_that_are_shown_and_documented_pass(project: Path) -> None:
    done = run(project, "P5.9", "P5.114", "P7.3")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("P")]
    assert rows == ["P5.9", "P5.114", "P7.3"]
    assert "tests/test_a.py::test_a" in done.stdout


@pytest.mark.parametrize("row", ["P1.1", "P7.4", "P9.9"])
def test_a_documented_row_needs_a_test_that_passed(project: Path, row: str) -> None:
    done = run(project, "P5.9", "P5.114", "P7.3", row)
    assert done.returncode == 1
    assert f"{row}: no passing test shows it" in done.stderr


def test_a_row_that_is_shown_has_to_be_documented(project: Path) -> None:
    done = run(project, "P5.9", "P7.3")
    assert done.returncode == 1
    assert "P5.114: shown by" in done.stderr


def test_a_comment_that_stands_above_no_test_is_reported(project: Path) -> None:
    source = project / "rust" / "engine" / "src" / "lib.rs"
    source.write_text("/// Req: P2.2\nstruct NotATest;\n")
    done = run(project, "P5.9", "P5.114", "P7.3")
    assert done.returncode == 1
    assert "right above its test" in done.stderr
