"""One copy of the array into fresh memory: what moving 100 MB takes at least."""

from __future__ import annotations

import numpy as np

from workloads import measure, options, report


def main() -> None:
    args = options(__doc__, 1)
    array = np.arange(100_000_000 // 8, dtype=np.float64)

    def work() -> None:
        array.copy()

    report("array.copy()", measure(work, 1, args.repeats))


if __name__ == "__main__":
    main()
