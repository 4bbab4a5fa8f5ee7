"""What the test of orphans runs and kills: commands and pool tasks that would notice each other.

Each body holds a lock of its step, and so do the processes that it starts: in its group, out of it, and
without its environment. A body that finds the lock taken writes `overlap` into the log, beside
`start STEP` and `end STEP`. Prints `up` when the database is open, and `done` when the run has ended.
"""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ferroflow as ff

# The lock's descriptor is 9; whoever is started here inherits it.
BODY = """
cd "$FOLDER"; exec 9>lock-$STEP
flock -n 9 || echo overlap $STEP >> log
echo start $STEP >> log
sleep 30 &
setsid sleep 30 &
env -i sleep 30 &
sleep 0.$((RANDOM % 9))
echo end $STEP >> log
"""


@ff.command(name="orphans.body", grace="100ms")
def body(step: int, folder: str) -> ff.Command:
    return ff.Command(["bash", "-c", BODY], variables={"FOLDER": folder, "STEP": str(step)})


@ff.task(name="orphans.pooled", executor="process")
def pooled(step: int, folder: str) -> None:
    os.environ["FOLDER"] = folder
    log = Path(folder) / "log"
    with (Path(folder) / f"lock-{step}").open("w") as lock, log.open("a", buffering=1) as told:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            told.write(f"overlap {step}\n")
        told.write(f"start {step}\n")
        os.set_inheritable(lock.fileno(), True)
        child = subprocess.Popen(["sleep", "30"], close_fds=False)
        time.sleep(step % 5 / 10)
        child.kill()
        child.wait()
        told.write(f"end {step}\n")


@ff.workflow(name="orphans.flow")
def flow(folder: str, steps: list[int], pooled_steps: list[int]) -> Any:
    return [
        ff.each(steps, lambda step: body(step, folder)),
        ff.each(pooled_steps, lambda step: pooled(step, folder)),
    ]


def main(path: str, folder: str, count: str) -> None:
    with ff.Engine(path, processes=3, capacity={"cpu": 64}) as engine:
        os.write(1, b"up\n")
        runs = engine.list()
        steps = range(int(count))
        inputs = [step for step in steps if step % 3], [step for step in steps if not step % 3]
        run = engine.handle(runs[0].id) if runs else engine.start(flow, folder, *inputs)
        run.result()
        os.write(1, b"done\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
