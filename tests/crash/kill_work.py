"""What the kill test runs and kills: fan-out, a loop, a timer and two signals in each run.

Prints what it is told, once it is told: `up` when the database is open, `began RUN`,
`signalled RUN NUMBER` and `ack RUN`. The bodies write into the file of the second argument:

    start RUN/STEP TOKEN MICROS    a body begins, at a time since 1970
    end RUN/STEP TOKEN MICROS      it is about to return
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ferroflow as ff

NAP_MICROS = 20_000
SIGNALS = ["one", "two"]

_bodies: int = -1


@contextmanager
def noted() -> Iterator[None]:
    attempt = ff.current()

    def note(word: str) -> None:
        os.write(_bodies, f"{word} {attempt.key} {attempt.token} {time.time_ns() // 1000}\n".encode())

    note("start")
    yield
    note("end")


@ff.task(name="c.work")
def work(n: int) -> int:
    with noted():
        time.sleep(0.002)
        return n + 1


@ff.task(name="c.awork")
async def awork(n: int) -> int:
    with noted():
        return n + 1


@ff.workflow(name="c.mixed")
def mixed(width: int) -> Any:
    first = work(0)
    fan = ff.each(list(range(8)), lambda item: work(awork(item)))
    rounds = ff.loop(work, init=first, while_="state < 6", max=10)
    nap = ff.sleep(NAP_MICROS / 1e6)
    last = work.options(id="last", after=[nap])(width)
    return [fan, rounds, last, ff.signal("go"), ff.signal("go")]


EXPECTED = [[2, 3, 4, 5, 6, 7, 8, 9], 6, 8, *SIGNALS]


def drive(handle: ff.Handle[Any]) -> None:
    """Send the signals that a run has not had, and wait for its end."""
    had = sum(event["kind"] == "SignalReceived" for event in handle.events())
    for number, value in enumerate(SIGNALS[had:], start=had):
        handle.signal("go", value)
        print(f"signalled {handle.id} {number}\n", end="", flush=True)
    result = handle.result(60)
    assert result == EXPECTED, result
    print(f"ack {handle.id}\n", end="", flush=True)


def client(engine: ff.Engine) -> None:
    while True:
        handle = engine.start(mixed, 7)
        print(f"began {handle.id}\n", end="", flush=True)
        drive(handle)


def main(path: str, bodies: str, *, finish: bool) -> None:
    global _bodies
    _bodies = os.open(bodies, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    with ff.Engine(path) as engine:
        waiting = [engine.handle(run.id) for run in engine.list(state="running", limit=10_000)]
        print("up\n", end="", flush=True)
        clients = [threading.Thread(target=drive, args=(handle,)) for handle in waiting]
        if not finish:
            clients += [threading.Thread(target=client, args=(engine,)) for _ in range(3)]
        for it in clients:
            it.start()
        for it in clients:
            it.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], finish=sys.argv[3] == "finish")
