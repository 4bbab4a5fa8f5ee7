"""DBOS Transact on SQLite: steps in a chain, and one-step runs started together.

DBOS runs the layered graph's steps one after the other too: it has no graph, and its steps are
recorded in the order the workflow function calls them.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

from dbos import DBOS

from workloads import measure, report


@DBOS.step()
def step() -> None:
    """The no-op body."""


@DBOS.workflow()
def chain(length: int) -> None:
    """As many steps, one after the other."""
    for _ in range(length):
        step()


@DBOS.workflow()
def one_step() -> None:
    """The smallest durable run."""
    step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=["chain", "runs"], required=True)
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder:
        DBOS(
            config={
                "name": "bench",
                "system_database_url": f"sqlite:///{folder}/dbos.db",
                "run_admin_server": False,
                "log_level": "ERROR",
            }
        )
        DBOS.launch()

        def run_chain() -> None:
            chain(args.steps)

        def run_many() -> None:
            for handle in [DBOS.start_workflow(one_step) for _ in range(args.steps)]:
                handle.get_result()

        work = run_chain if args.work == "chain" else run_many
        result = measure(work, args.steps, args.repeats)
        DBOS.destroy()
    report(f"dbos {args.work}", result)


if __name__ == "__main__":
    main()
