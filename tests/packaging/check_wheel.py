"""Installs the release wheel into an empty environment and uses it there as a newcomer does.

A program and no test module: it needs the wheel that `make wheel` builds, and must not see the
checkout that the test suite runs in.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

from tests.packaging import readme

ROOT = Path(__file__).parents[2]
FIRST_WORKFLOW = Path(__file__).with_name("first_workflow.py")
NEEDED = (
    "ferroflow/py.typed",
    "ferroflow/_core.pyi",
    "ferroflow/define/explanations/FF0499.md",
    "licenses/LICENSE",
)
EXTENSION = "ferroflow/_core.abi3.so"
LARGEST = 40 * 1024 * 1024
MOST_PACKAGES = 7
"""Those that are required, and those that they require: rich alone takes three."""
EVERY_PACKAGE = """
import importlib, pkgutil, ferroflow
for module in pkgutil.walk_packages(ferroflow.__path__, "ferroflow."):
    if module.ispkg:
        importlib.import_module(module.name)
"""
"""None needs an extra before it is used."""
LONGEST_IMPORT = 100
"""Milliseconds of processor time, which other programs do not prolong."""


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


class Environment:
    """A virtual environment with nothing in it but the wheel and what that requires."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder
        self.binaries = folder / "env" / "bin"
        self.program = folder / "program.py"
        self.program.write_text(readme.programs()[0], encoding="utf-8")
        # Away from the checkout and its variables.
        self.surroundings = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_"))
        }
        venv.create(folder / "env", with_pip=True)
        self.run("python", "-m", "pip", "install", "--quiet", wheel)

    def run(self, command: str, *arguments: str | Path, code: int = 0) -> str:
        """Run a command of the environment; return what it says."""
        done = subprocess.run(
            [self.binaries / command, *arguments],
            cwd=self.folder, env=self.surroundings, check=False, timeout=600, capture_output=True, text=True,
        )  # fmt: skip
        said = done.stdout + done.stderr
        if done.returncode != code:
            raise SystemExit(f"{command} {' '.join(map(str, arguments))}: exit {done.returncode}\n{said}")
        return said.strip()

    def first(self, way: str, code: int = 0) -> str:
        """Run the README's program in some way."""
        return self.run("python", "-I", "-W", "error", FIRST_WORKFLOW, self.program, way, code=code)


def check_use(wheel: Path) -> list[str]:
    """Use the wheel as somebody does who has just installed it; say what is wrong."""
    problems = []
    with tempfile.TemporaryDirectory(prefix="ferroflow-wheel-") as folder:
        environment = Environment(Path(folder), wheel)
        installed = json.loads(environment.run("python", "-m", "pip", "list", "--format=json"))
        required = {package["name"] for package in installed} - {"ferroflow", "pip", "setuptools"}
        if len(required) > MOST_PACKAGES:
            problems.append(f"requires {len(required)} packages: {sorted(required)}")
        environment.run("python", "-I", "-W", "error", "-c", EVERY_PACKAGE)
        problems += [
            f"runs the README's program {way} and says {said!r}, not 'Lisbon'"
            for way in ("in memory", "on a file")
            if (said := environment.first(way)) != "Lisbon"
        ]
        for left in Path(folder).glob("runs.db*"):
            left.unlink()
        environment.first("killed", code=-signal.SIGKILL)
        if (said := environment.first("resumed")) != "Lisbon":
            problems.append(f"resumes the README's program after a kill and says {said!r}, not 'Lisbon'")
        sample = ROOT / "examples" / "sample.json"
        said = environment.run("ferroflow", "run", sample, "-i", 'data={"a": "b"}', "--json")
        if '"total":10' not in said.replace(" ", ""):
            problems.append(f"runs {sample.name} and says {said!r}")
        environment.first("absent")
        if "pip install 'ferroflow[ml]'" not in (said := environment.run("ferroflow", "demo", code=1)):
            problems.append(f"does not say what the demonstration needs: {said!r}")
        taken = statistics.median(float(environment.first("imports")) for _ in range(7))
        if taken > LONGEST_IMPORT:
            problems.append(f"takes {taken:.0f} ms of processor time to import, more than {LONGEST_IMPORT}")
        print(f"{wheel.name}: {len(required)} required packages, imported in {taken:.0f} ms")
    return problems


def main() -> int:
    """Check one wheel; the exit code is 1 if it would not serve a user."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    wheel = parser.parse_args().wheel.resolve()
    problems = check_contents(wheel) or check_use(wheel)
    for problem in problems:
        print(f"{wheel.name} {problem}", file=sys.stderr)
    if problems:
        return 1
    print(f"{wheel.name}: {wheel.stat().st_size >> 10} KiB, installs and runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
