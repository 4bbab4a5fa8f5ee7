"""What HTTP requests cost without an engine: httpx alone, all at once on one event loop."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx

from http_server import running
from workloads import Measured, options, report, summary


async def measured(url: str, steps: int, repeats: int) -> Measured:
    # As ferroflow has it, but for the number at a time, which there is the engine's.
    limits = httpx.Limits(max_connections=steps, max_keepalive_connections=20)
    async with httpx.AsyncClient(limits=limits, timeout=30) as client:

        async def ask() -> dict[str, Any]:
            answer = await client.get(url)
            return {"status": answer.status_code, "headers": dict(answer.headers), "body": answer.json()}

        await ask()
        times = []
        for _ in range(repeats):
            begun = time.perf_counter()
            found = await asyncio.gather(*(ask() for _ in range(steps)))
            times.append((time.perf_counter() - begun) / steps)
            assert all(one["body"]["ok"] for one in found)
    return summary(steps, times)


def main() -> None:
    args = options(__doc__, 1000)
    with running() as url:
        report("httpx, gathered", asyncio.run(measured(url, args.steps, args.repeats)))


if __name__ == "__main__":
    main()
