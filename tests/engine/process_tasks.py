"""Tasks that run in processes of their own: another process imports them from here."""

import contextlib
import ctypes
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ferroflow as ff


@ff.task(name="proc.double", executor="process")
def double(n: int) -> int:
    return 2 * n


@ff.task(name="proc.give", executor="process")
def give(value: Any) -> Any:
    return value


@ff.task(name="proc.where", executor="process")
def where() -> list[int]:
    return [os.getpid(), os.getpgid(0)]


@ff.task(name="proc.around", executor="process")
def around(n: int, *, extra: int = 7) -> dict[str, Any]:
    here = ff.current()
    return {
        "task": here.task,
        "step": here.step,
        "attempt": here.attempt,
        "inputs": dict(here.inputs),
        "upstream": dict(here.upstream),
        "parameters": dict(here.parameters),
    }


@ff.task(name="proc.broken", executor="process")
def broken() -> None:
    raise ff.Fail("BROKEN", "as told")


@ff.task(name="proc.hangs_up", executor="process")
def hangs_up() -> None:
    os.close(3)
    time.sleep(60)


@ff.task(name="proc.unrecordable", executor="process")
def unrecordable() -> Any:
    return {"it": object()}


@ff.task(name="proc.leave", executor="process")
def leave(code: int) -> None:
    os._exit(code)


@ff.task(name="proc.segfault", executor="process")
def segfault() -> None:
    ctypes.string_at(0)


@ff.task(name="proc.killed", executor="process")
def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@ff.task(name="proc.poison", executor="process", retry=ff.Retry(9, delay="1ms"))
def poison(log: str) -> None:
    with Path(log).open("a") as file:
        file.write("died\n")
    os._exit(3)


@ff.task(name="proc.sleeping", executor="process", grace="300ms")
def sleeping(log: str, deaf: bool = False) -> None:
    begun = time.monotonic()
    Path(log).write_text(str(os.getpid()))
    while time.monotonic() < begun + 60:
        try:
            time.sleep(60)
        except ff.Cancelled:
            if not deaf:
                Path(log).write_text("told")
                raise


@ff.task(name="proc.stubborn", executor="process", grace="200ms")
def stubborn(log: str) -> None:
    burn.fn(0.2, 80)
    Path(log).touch()
    while True:
        with contextlib.suppress(ff.Cancelled):
            time.sleep(60)


@ff.task(name="proc.burn_and_die", executor="process")
def burn_and_die() -> None:
    burn.fn(0.2, 80)
    os.kill(os.getpid(), signal.SIGKILL)


@ff.task(name="proc.leftover", executor="process")
def leftover() -> int:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid


@ff.task(name="proc.telling", executor="process", heartbeat="5s")
def telling() -> str:
    ff.current().progress(40, "loading")
    ff.current().heartbeat()
    ff.current().progress(100, "loaded")
    return "told"


@ff.task(name="proc.burn", executor="process")
def burn(seconds: float, megabytes: int) -> None:
    block = bytearray(megabytes << 20)
    for at in range(0, len(block), 4096):
        block[at] = 1
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


@ff.task(name="proc.hog", executor="process", limits={"memory": "100MB"})
def hog(megabytes: int) -> int:
    return len(bytearray(megabytes << 20))


@ff.task(name="proc.spin", executor="process", limits={"cpu": "1s"})
def spin(native: bool) -> None:
    if native:
        sum(range(10**12))
    while True:
        pass


@ff.task(name="proc.variable", executor="process", environment=ff.Environment(variables={"MINE": "yes"}))
def variable(name: str) -> list[Any]:
    return [os.environ.get(name), os.getpid()]


@ff.task(name="proc.packaged", executor="process")
def packaged() -> list[Any]:
    tiny = importlib.import_module("tiny_package")
    return [tiny.VALUE, str(Path.cwd())]


def local() -> Any:
    """Return a task that no other process can import."""

    @ff.task(name="proc.local", executor="process")
    def inside() -> None: ...

    return inside


@ff.task(name="proc.interpreter", executor="process")
def interpreter() -> list[str | None]:
    return [sys.prefix, os.environ.get("WRAPPED")]
