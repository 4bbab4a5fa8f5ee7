"""Measures ferroflow and its peers in one session, each in an environment of its own.

`make bench-peers` installs the environments first. The time per step is what each program
measured inside its own process, without its start; `table.py` compares them.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from cases import CASES, Case

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / "build" / "peers"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_time_per_step(case: Case, benchmark: BenchmarkFixture) -> None:
    python = ENVIRONMENTS / case.environment / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{python} is missing: run `make bench-peers`")
    # Databases go where the checkout is, not to a /tmp that may be memory: syncing has to cost.
    scratch = ENVIRONMENTS / "scratch"
    scratch.mkdir(exist_ok=True)
    surroundings = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}

    def run() -> str:
        done = subprocess.run(
            [python, HERE / case.program[0], *case.program[1:]],
            cwd=scratch,
            env=surroundings,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    benchmark.group = case.work
    result = json.loads(benchmark.pedantic(run, rounds=1).splitlines()[-1])
    assert result["best"] > 0
    benchmark.extra_info.update(result, work=case.work, bar=case.bar)
