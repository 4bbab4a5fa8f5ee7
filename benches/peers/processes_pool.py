"""Bare `ProcessPoolExecutor.submit` and `result` of as many no-ops: no graph, no record."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from workloads import measure, nothing, options, report


def main() -> None:
    args = options(__doc__, 10_000)
    with ProcessPoolExecutor(args.threads, mp_context=multiprocessing.get_context("spawn")) as pool:

        def work() -> None:
            for future in [pool.submit(nothing, number) for number in range(args.steps)]:
                future.result()

        work()
        report("ProcessPoolExecutor", measure(work, args.steps, args.repeats))


if __name__ == "__main__":
    main()
