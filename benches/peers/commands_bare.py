"""A bare loop of `posix_spawn` and `wait`, two programs at a time: what the system asks alone."""

from __future__ import annotations

import os

from workloads import measure, options, report


def main() -> None:
    args = options(__doc__, 2_000)

    def work() -> None:
        running = 0
        for _ in range(args.steps):
            if running == args.threads:
                os.wait()
                running -= 1
            os.posix_spawn("/bin/true", ["/bin/true"], os.environ)
            running += 1
        for _ in range(running):
            os.wait()

    report("posix_spawn", measure(work, args.steps, args.repeats))


if __name__ == "__main__":
    main()
