"""Every code that an error may have is documented, and none that it may not."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_code_is_documented() -> None:
    rust = [path.read_text() for path in (ROOT / "rust").rglob("src/**/*.rs")]
    python = [path.read_text() for path in (ROOT / "python/ferroflow").rglob("*.py")]
    python = [re.sub(r"^ *(>>>|\.\.\.) .*$", "", text, flags=re.M) for text in python]
    # Tests at the end of a Rust file, and examples in docstrings, make up codes of their own.
    sources = "\n".join([*(text.split("#[cfg(test)]")[0] for text in rust), *python])
    problems = {
        *re.findall(r'"((?:bad|unknown|missing|duplicate|cyclic|too|unbounded)-[a-z]+)"', sources),
        "unsatisfiable",
    }
    failures = {
        *re.findall(r'(?:Failure::new|fail|failed|Fail)\(\s*"([A-Z_]+)"', sources),
        *re.findall(r'return "([A-Z_]+)", ', sources),
        *re.findall(r'pub const \w+: &str = "([A-Z_]+)"', sources),
        *re.findall(r'cancelled = "([A-Z_]+)", ', sources),
        *re.findall(r'\("([A-Z_]+)", (?:true|false)\)', sources),
        *re.findall(r'code, \w+ = "([A-Z_]+)", ', sources),
        *re.findall(r'"([A-Z_]+)" if code == ', sources),
    }
    # These are variables of a process's environment.
    failures = {code for code in failures if not code.startswith("FERROFLOW_")}
    assert len(problems) > 10
    assert len(failures) > 10
    text = (ROOT / "docs/errors.md").read_text()
    documented = {
        code for row in re.findall(r"^\| (`.+?) \|", text, re.M) for code in re.findall(r"`(.+?)`", row)
    }
    assert documented == problems | failures
