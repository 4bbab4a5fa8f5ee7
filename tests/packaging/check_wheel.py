"""Installs the release wheel into an empty environment and runs a first workflow there.

A program and no test module: it needs the wheel that `make wheel` builds, and must not see the
checkout that the test suite runs in.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

FIRST_WORKFLOW = Path(__file__).with_name("first_workflow.py")
NEEDED = ("ferroflow/py.typed", "ferroflow/_core.pyi", "licenses/LICENSE")
EXTENSION = "ferroflow/_core.abi3.so"
LARGEST = 40 * 1024 * 1024


def check_contents(wheel: Path) -> list[str]:
    """What the archive lacks, or has too much of."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    problems = [f"has no {need}" for need in NEEDED if not any(n.endswith(need) for n in names)]
    if EXTENSION not in names:
        problems.append(f"has no {EXTENSION}: the extension is not built for the stable ABI")
    if "-cp311-abi3-" not in wheel.name:
        problems.append("is not tagged cp311-abi3, so it will not install on later Pythons")
    problems += [f"contains {name}" for name in names if "/tests/" in name or name.endswith(".pyc")]
    if wheel.stat().st_size > LARGEST:
        problems.append(f"is {wheel.stat().st_size >> 20} MiB, more than {LARGEST >> 20}")
    return problems


def run_in_empty_environment(wheel: Path) -> None:
    """Install the wheel alone and run the workflow, away from the checkout and its variables."""
    surroundings = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_"))}
    with tempfile.TemporaryDirectory(prefix="ferroflow-wheel-") as folder:
        venv.create(Path(folder) / "env", with_pip=True)
        binaries = Path(folder) / "env" / "bin"

        def run(*command: str | Path) -> None:
            subprocess.run(command, cwd=folder, env=surroundings, check=True, timeout=600)

        run(binaries / "python", "-m", "pip", "install", "--quiet", wheel)
        run(binaries / "python", "-I", "-W", "error", FIRST_WORKFLOW)
        run(binaries / "ferroflow", "--help")


def main() -> int:
    """Check one wheel; the exit code is 1 if it would not serve a user."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    wheel = parser.parse_args().wheel.resolve()
    problems = check_contents(wheel)
    for problem in problems:
        print(f"{wheel.name} {problem}", file=sys.stderr)
    if problems:
        return 1
    run_in_empty_environment(wheel)
    print(f"{wheel.name}: {wheel.stat().st_size >> 10} KiB, installs and runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
