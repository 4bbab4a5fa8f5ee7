"""Bare `ThreadPoolExecutor.submit` and `result` of as many no-ops: no graph, no record.

What the standard library asks for the hand-over alone. Each layer of 100 is submitted together
and awaited before the next, which respects the dependencies of the layered graph.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from workloads import LAYER, measure, nothing, options, report


def main() -> None:
    args = options(__doc__, 100_000)
    with ThreadPoolExecutor(args.threads) as pool:

        def work() -> None:
            for first in range(0, args.steps, LAYER):
                size = min(LAYER, args.steps - first)
                for future in [pool.submit(nothing) for _ in range(size)]:
                    future.result()

        report("ThreadPoolExecutor", measure(work, args.steps, args.repeats))


if __name__ == "__main__":
    main()
