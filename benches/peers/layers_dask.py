"""The layered graph on `dask.threaded.get`: no durability, the peer for graphs in memory."""

from __future__ import annotations

from dask.threaded import get

from workloads import layered, measure, nothing, options, report


def main() -> None:
    args = options(__doc__, 100_000)
    graph = {number: (nothing, *needed) for number, needed in enumerate(layered(args.steps))}
    last = list(range(max(0, args.steps - 100), args.steps))

    def work() -> None:
        get(graph, last, num_workers=args.threads)

    report("dask.threaded", measure(work, args.steps, args.repeats))


if __name__ == "__main__":
    main()
