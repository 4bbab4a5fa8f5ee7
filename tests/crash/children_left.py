"""An engine that is killed while its command runs, which outlives even the launcher and hides whose it is.

Prints the number of the command's process, and then waits.
"""

import signal
import sys
import time
from typing import Any

import ferroflow as ff

# Nobody ends it when its parent dies, and nothing says whose it is but the journal.
LEFT = """
import ctypes, os
ctypes.CDLL(None).prctl(1, 0)
os.execve("/bin/sleep", ["sleep", "1000"], {})
"""


@ff.command(name="left.command")
def command() -> list[str]:
    return [sys.executable, "-c", LEFT]


@ff.workflow(name="left.flow")
def flow() -> Any:
    return command()


@ff.workflow(name="left.waiting")
def waiting() -> Any:
    return ff.signal("go")


def main(path: str) -> None:
    with ff.Engine(path) as engine:
        engine.start(waiting)
        run = engine.start(flow)
        while not (spawned := [it for it in run.events() if it["kind"] == "StepSpawned"]):
            time.sleep(0.01)
        pid = spawned[0]["process"]["pid"]
        # By then it is what it is to be.
        while open(f"/proc/{pid}/comm").read() != "sleep\n":  # noqa: PTH123, SIM115
            time.sleep(0.01)
        print(pid, flush=True)
        signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
