"""Control groups of commands: what they are counted by, what ends with them, and where they are."""

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from tests.engine.test_commands import failing, shell
from tests.engine.test_processes import alive, eventually, flow_of

# A process that has left its command, its session and its environment says who it is.
HIDDEN = """setsid env -i /bin/sh -c 'sh -c "echo \\$\\$; exec sleep 60" &' | { read -r pid; echo $pid; }"""


@pytest.fixture
def base() -> Iterator[Path]:
    """A control group that an engine may fill; nothing may be left in it."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    mount = next((Path(words[4]) for words in mounts if "cgroup2" in words[6:]), None)
    made = mount and mount / f"test-{uuid.uuid4().hex}"
    try:
        if made is None:
            raise FileNotFoundError("there is no cgroup v2")
        made.mkdir()
    except OSError as why:
        pytest.skip(f"no control group can be made here: {why}")
    yield made
    made.rmdir()


def groups(path: Path) -> list[Path]:
    return [it for it in path.iterdir() if it.is_dir()]


def test_commands_are_measured_and_ended_with_all_that_they_start(base: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ntime.sleep(60)"
    text = f"python3 -c '{burn}' | {{ read -r line; kill -9 $$; }}"
    with ff.Engine(cgroup=base, capacity={"cpu": 64}) as engine:
        (directory,) = groups(base)
        hidden = int(engine.run(flow_of(shell, HIDDEN)))
        assert not alive(hidden)
        run = engine.start(flow_of(shell, text))
        with pytest.raises(ff.RunFailed) as caught:
            run.result(30)
        # Killed, but not by a limit.
        assert caught.value.code == "KILLED"
        used = run.view().steps[0].used
        assert used is not None
        assert used.cpu is not None
        assert used.cpu >= 290_000, "what was not waited for was not counted"
        assert failing(engine, shell, "exec /no/such/program").code == "COMMAND_NOT_FOUND"
        assert groups(directory) == []
        limited = shell.options(id="it", limits={"cpu": "1s"})
        assert failing(engine, limited, "while :; do :; done").code == "RESOURCE_EXCEEDED"
    assert groups(base) == []


def test_memory_is_limited_with_a_group_as_without(base: Path) -> None:
    with ff.Engine(cgroup=base) as engine:
        small = shell.options(id="it", limits={"memory": "100MB"})
        assert engine.run(flow_of(small, "echo well")) == "well"
        error = failing(engine, small, "python3 -c 'b\"x\" * (300 << 20)'")
        assert (error.code, "limit of memory" in str(error)) == ("RESOURCE_EXCEEDED", True)
        (directory,) = groups(base)
        if "memory" not in (directory / "cgroup.subtree_control").read_text():
            pytest.skip("no control group can be limited here: each process was")
        # What it says is no sign any more.
        assert failing(engine, small, "echo MemoryError >&2; exit 1").code == "EXIT_STATUS"


CRASHING = """
import sys
import ferroflow as ff
from tests.engine.test_control_groups import HIDDEN, flow_of, shell

with ff.Engine(sys.argv[1], cgroup=sys.argv[2]) as engine:
    engine.run(flow_of(shell, f"({HIDDEN}) > {sys.argv[3]}; sleep 60"))
"""


@pytest.mark.parametrize("where", ["database", "base"])
def test_the_next_engine_ends_what_a_crash_has_left(base: Path, tmp_path: Path, where: str) -> None:
    database, told = tmp_path / "runs.db", tmp_path / "pid"
    words = [sys.executable, "-c", CRASHING, str(database), str(base), str(told)]
    process = subprocess.Popen(words, cwd=Path(__file__).parents[2])
    try:
        assert eventually(lambda: told.exists() and told.read_text().endswith("\n"), 40)
        # With its launcher, which would end all.
        process.send_signal(signal.SIGSTOP)
        for launcher in Path(f"/proc/{process.pid}/task").glob("*/children"):
            for pid in launcher.read_text().split():
                os.kill(int(pid), signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    hidden = int(told.read_text())
    assert alive(hidden)
    # It is found by what the one has left beside the database, or by where its groups are.
    path = database if where == "database" else tmp_path / "other.db"
    with ff.Engine(path, cgroup=False if where == "database" else base, resume=False):
        assert not alive(hidden)
        assert len(groups(base)) == (0 if where == "database" else 1)
    assert groups(base) == []


def test_a_fork_does_not_keep_groups_from_being_removed(base: Path) -> None:
    """What a killed engine has left is removed though a fork of it lives."""
    text = f"""
import os, time
import ferroflow as ff
engine = ff.Engine(cgroup={str(base)!r})
if os.fork() == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    fork = int(process.stdout.readline())
    process.kill()
    process.wait()
    try:
        assert len(groups(base)) == 1
        ff.Engine(cgroup=base).close()
        assert groups(base) == []
    finally:
        os.kill(fork, signal.SIGKILL)
        process.stdout.close()


@pytest.mark.parametrize("cgroup", [True, "", "/no/such/directory", "/tmp"])
def test_a_control_group_that_is_none_is_refused(cgroup: Any) -> None:
    with pytest.raises(ValueError, match=r"cgroup=(True: give|.* is no directory of cgroup v2; give)"):
        ff.Engine(cgroup=cgroup)
    with pytest.raises(TypeError):
        ff.Engine(cgroup=7)  # type: ignore[arg-type]


def test_a_control_group_that_holds_processes_is_refused(base: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        (base / "cgroup.procs").write_text(str(process.pid))
        with pytest.raises(ValueError, match=r"holds processes, .* move them into a group below it"):
            ff.Engine(cgroup=base)
    finally:
        process.kill()
        process.wait()
    # Once nobody is in it, it may be used, by any number of engines.
    with ff.Engine(cgroup=base), ff.Engine(cgroup=str(base)) as other:
        assert len(groups(base)) == 2
        assert other.run(flow_of(shell, "echo here")) == "here"


DELEGATED = """
import sys
from pathlib import Path
import ferroflow as ff
from tests.engine.test_control_groups import flow_of, shell

base = Path(sys.argv[1])
(base / "main").mkdir()
(base / "main" / "cgroup.procs").write_text("0")
for cgroup in (None, False):
    with ff.Engine(cgroup=cgroup) as engine:
        where = engine.run(flow_of(shell, "cat /proc/self/cgroup"))
        print(base.name + "/ferroflow-" in where)
"""


def test_a_delegated_group_is_found(base: Path) -> None:
    with contextlib.suppress(OSError):
        os.setxattr(base, "user.delegate", b"1")
    if "user.delegate" not in os.listxattr(base):
        pytest.skip("control groups can bear no marks here")
    try:
        words = [sys.executable, "-c", DELEGATED, str(base)]
        done = subprocess.run(
            words, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=50
        )
        assert done.stdout == "True\nFalse\n", done.stderr
    finally:
        (base / "main").rmdir()
