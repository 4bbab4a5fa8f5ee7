"""Lists requirement rows by the tests that show them, and compares them with the documentation.

`make requirements` runs it after both suites. Python tests come from the file that
`tests/conftest.py` writes; Rust tests from their `/// Req: P5.114` comments and cargo's own log.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

ROW = re.compile(r"P[1-9]\.\d{1,3}")
COMMENT = re.compile(r"^\s*///\s*Req:\s*(?P<rows>.+)$")
FUNCTION = re.compile(r"^\s*(?:pub\s+)?(?:async\s+)?fn\s+(?P<name>\w+)")
CARRIED_ON = re.compile(r"^\s*(?://|#\[|#!\[|$|[\w(,)\"= ]*\)\]$)")
RUNNING = re.compile(r"^\s*(?:Running (?:unittests )?\S+|Doc-tests) \(?(?P<program>[^)\s]+)\)?")
RESULT = re.compile(r"^test (?P<name>\S+)(?: - should panic)? \.\.\. (?P<outcome>ok|FAILED|ignored)")
DOCUMENTED = re.compile(r"^\s*(?:[-*|]\s*)?[`*]*(?P<row>P[1-9]\.\d{1,3})\b")


@dataclass(frozen=True, order=True)
class Shown:
    """A test that names rows, and how it ended."""

    test: str
    rows: tuple[str, ...]
    outcome: str


@dataclass(frozen=True)
class Comment:
    """A `/// Req:` comment: where it stands, and the test that it belongs to."""

    program: str
    modules: list[str]
    function: str
    place: str
    rows: tuple[str, ...]


def row_key(row: str) -> tuple[int, int]:
    """Sort `P5.9` before `P5.114`."""
    part, number = row[1:].split(".")
    return int(part), int(number)


def python_tests(report: Path) -> list[Shown]:
    """Read what the pytest run recorded."""
    tests = json.loads(report.read_text(encoding="utf-8"))["tests"]
    return [Shown(entry["test"], tuple(entry["rows"]), entry["outcome"]) for entry in tests]


def crate_of(source: Path) -> tuple[str, list[str]]:
    """The crate of a Rust file, and the module path it has there.

    A file under `tests/` is a test program of its own, named after the file.
    """
    crate = next(folder for folder in source.parents if (folder / "Cargo.toml").is_file())
    inside = source.relative_to(crate).with_suffix("").parts
    modules = [part for part in inside[1:] if part not in {"lib", "mod", "main"}]
    if inside[0] == "tests":
        return modules[0], modules[1:]
    name = re.search(r'^name\s*=\s*"([^"]+)"', (crate / "Cargo.toml").read_text("utf-8"), re.M)
    if name is None:
        raise SystemExit(f"{crate}/Cargo.toml has no package name")
    return name.group(1).replace("-", "_"), modules


def rust_comments(root: Path) -> tuple[list[Comment], list[str]]:
    """Every `/// Req:` comment, and those that are wrong."""
    found, wrong = [], []
    for source in sorted(root.rglob("*.rs")):
        if "target" in source.parts:
            continue
        pending: list[str] = []
        for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), start=1):
            place = f"{source}:{number}"
            if comment := COMMENT.match(line):
                rows = ROW.findall(comment["rows"])
                if not rows:
                    wrong.append(f"{place}: no row such as P5.114 after Req:")
                pending += rows
            elif pending and (function := FUNCTION.match(line)):
                program, modules = crate_of(source)
                found.append(Comment(program, modules, function["name"], place, tuple(pending)))
                pending = []
            elif pending and not CARRIED_ON.match(line):
                wrong.append(f"{place}: a Req: comment has to stand right above its test")
                pending = []
    return found, wrong


def cargo_outcomes(log: Path) -> dict[tuple[str, str], list[tuple[list[str], str]]]:
    """How each test in cargo's log ended, by program and function name."""
    outcomes: dict[tuple[str, str], list[tuple[list[str], str]]] = defaultdict(list)
    program = ""
    for line in log.read_text(encoding="utf-8").splitlines():
        if running := RUNNING.match(line):
            # target/debug/deps/ferroflow_define-0123456789abcdef
            program = re.sub(r"-[0-9a-f]{16}$", "", Path(running["program"]).name)
        elif result := RESULT.match(line):
            *modules, name = result["name"].split("::")
            outcome = "passed" if result["outcome"] == "ok" else result["outcome"].lower()
            outcomes[program, name].append((modules, outcome))
    return outcomes


def rust_tests(root: Path, log: Path) -> tuple[list[Shown], list[str]]:
    """Join the comments in the sources with the outcomes in cargo's log."""
    comments, wrong = rust_comments(root)
    outcomes = cargo_outcomes(log)
    shown = []
    for comment in comments:
        ended = [
            outcome
            for path, outcome in outcomes.get((comment.program, comment.function), [])
            if path[: len(comment.modules)] == comment.modules
        ]
        # Two test modules of one file may hold a function of the same name; all have to pass.
        outcome = next((o for o in ended if o != "passed"), "passed") if ended else "not run"
        shown.append(Shown(f"{comment.place} {comment.function}", comment.rows, outcome))
    return shown, wrong


def documented_rows(document: Path) -> set[str]:
    """The rows that a list item, a table row or a line of the document starts with."""
    lines = document.read_text(encoding="utf-8").splitlines()
    return {match["row"] for line in lines if (match := DOCUMENTED.match(line))}


def report(tests: list[Shown], documented: set[str]) -> list[str]:
    """Print rows by passing tests; return what doesn't fit together."""
    passing: dict[str, list[str]] = defaultdict(list)
    named: set[str] = set()
    for shown in sorted(tests):
        named.update(shown.rows)
        if shown.outcome == "passed":
            for row in shown.rows:
                passing[row].append(shown.test)
    for row in sorted(passing, key=row_key):
        print(row)
        for test in passing[row]:
            print(f"    {test}")
    print(f"{len(passing)} rows shown by passing tests, {len(documented)} documented")
    return [
        *(
            f"{row}: no passing test shows it" + (", only tests that did not pass" * (row in named))
            for row in sorted(documented - set(passing), key=row_key)
        ),
        *(
            f"{row}: shown by {passing[row][0]}, but not documented"
            for row in sorted(set(passing) - documented, key=row_key)
        ),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run the report; the exit code is 1 where tests and documentation differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, required=True, help="the documented rows")
    parser.add_argument("--rust", type=Path, default=Path("rust"), help="where Rust sources are")
    parser.add_argument("--cargo-log", type=Path, required=True, help="what cargo test printed")
    parser.add_argument("--pytest-json", type=Path, required=True, help="what pytest recorded")
    options = parser.parse_args(arguments)
    for path in (options.rows, options.cargo_log, options.pytest_json):
        if not path.is_file():
            print(f"{path} is missing", file=sys.stderr)
            return 1
    rust, wrong = rust_tests(options.rust, options.cargo_log)
    tests = rust + python_tests(options.pytest_json)
    wrong += report(tests, documented_rows(options.rows))
    for problem in wrong:
        print(problem, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
