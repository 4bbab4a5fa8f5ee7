"""What `import ferroflow` loads, in a fresh process: little, and nothing heavy."""

import json
import statistics
import subprocess
import sys

import pytest

HEAVY = {
    "asyncio",
    "click",
    "concurrent.futures",
    "http",
    "importlib.metadata",
    "importlib.resources",
    "json",
    "logging",
    "multiprocessing",
    "numpy",
    "rich",
    "sklearn",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
    "urllib.request",
    "yaml",
}
"""What is imported where it is used, by those who use it."""

PACKAGES = {"ferroflow", "msgspec", "typing_extensions"}
"""Packages that are no part of Python; msgspec takes the last where it is installed."""

MOST_MODULES = 125
LONGEST = 0.1
"""Seconds of processor time, which other programs do not prolong."""

MEASURE = """
import json, sys, time
before = set(sys.modules)
begun = time.process_time()
import ferroflow
took = time.process_time() - begun
loaded = sorted(set(sys.modules) - before)
print(json.dumps({"took": took, "loaded": loaded, "standard": sorted(sys.stdlib_module_names)}))
"""


@pytest.fixture(scope="module")
def measured() -> list[dict[str, object]]:
    return [
        json.loads(subprocess.check_output([sys.executable, "-c", MEASURE], timeout=50)) for _ in range(5)
    ]


def test_nothing_heavy_is_imported(measured: list[dict[str, list[str]]]) -> None:
    loaded = {*measured[0]["loaded"]}
    assert not loaded & HEAVY
    packages = {name.split(".")[0] for name in loaded} - {*measured[0]["standard"]}
    assert packages <= PACKAGES
    assert len(loaded) <= MOST_MODULES


def test_the_import_is_quick(measured: list[dict[str, float]]) -> None:
    assert statistics.median(it["took"] for it in measured) <= LONGEST
