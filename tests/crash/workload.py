"""What the crash test runs and kills: fan-out, a loop, a timer and a signal in each run.

Prints `ack RUN` once a result was reported, and `up` when the database is open.
"""

import contextlib
import sys
import time
from typing import Any

import ferroflow as ff


@ff.task(name="c.work")
def work(n: int) -> int:
    time.sleep(0.002)
    return n + 1


@ff.task(name="c.awork")
async def awork(n: int) -> int:
    return n + 1


@ff.workflow
def mixed(width: int) -> Any:
    first = work(0)
    fan = ff.each(list(range(8)), lambda item: work(awork(item)))
    rounds = ff.loop(work, init=first, while_="state < 6", max=10)
    nap = ff.sleep("20ms")
    answer = ff.signal("go")
    return [fan, rounds, work.options(after=[nap, answer])(width)]


EXPECTED = [[2, 3, 4, 5, 6, 7, 8, 9], 6, 8]


def main(path: str, *, finish: bool) -> None:
    engine = ff.Engine(path)
    print("up", flush=True)
    waiting = [engine.handle(run.id) for run in engine.list(state="running", limit=10_000)]
    for handle in waiting:
        # Whether the one before the crash arrived is not known: a second is left over at worst.
        with contextlib.suppress(ff.RunEnded):
            handle.signal("go")
    if not finish:
        for _ in range(3):
            waiting.append(engine.start(mixed, 7))
            waiting[-1].signal("go")
    while True:
        for handle in waiting:
            if handle.result(60) != EXPECTED:
                print("wrong", handle.id, handle.result(), flush=True)
            print("ack", handle.id, flush=True)
        if finish:
            break
        waiting = [engine.start(mixed, 7) for _ in range(3)]
        for handle in waiting:
            handle.signal("go")
    engine.close()
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], finish=sys.argv[2] == "finish")
