"""Tasks in processes of their own: what they see, how they end, and what they may use."""

import contextlib
import copy
import os
import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ferroflow as ff
from ferroflow.define import registry
from tests.engine import process_tasks as tasks


@pytest.fixture(scope="module")
def engine() -> Iterator[ff.Engine]:
    with ff.Engine(processes=2, capacity={"cpu": 64}) as made:
        yield made


def flow_of(task: Any, *args: Any, **kwargs: Any) -> ff.Workflow[[], Any]:
    @ff.workflow
    def flow() -> Any:
        return task.options(id="it")(*args, **kwargs)

    return flow


def failing(engine: ff.Engine, task: Any, *args: Any) -> ff.RunFailed:
    with pytest.raises(ff.RunFailed) as caught:
        engine.run(flow_of(task, *args))
    return caught.value


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def eventually(holds: Callable[[], bool], seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def test_a_body_runs_in_another_process_and_in_a_group_of_its_own(engine: ff.Engine) -> None:
    pid, group = engine.run(flow_of(tasks.where))
    assert pid not in (os.getpid(), os.getppid())
    assert group == pid != os.getpgid(0)


def test_a_body_sees_what_it_would_see_in_a_thread(engine: ff.Engine) -> None:
    @ff.workflow
    def flow(size: int) -> Any:
        first = tasks.double.options(id="first")(size)
        return tasks.around.options(id="it")(first)

    assert engine.run(flow, 4) == {
        "task": "proc.around",
        "step": "it",
        "attempt": 1,
        "inputs": {"size": 4},
        "upstream": {"first": 8},
        "parameters": {"n": 8, "extra": 7},
    }


def test_long_values_go_there_and_back(engine: ff.Engine) -> None:
    values: list[Any] = [
        "x" * 300_000,
        [b"y" * 200_000, {"z": "w" * 70_000}],
        np.arange(500_000, dtype=np.float64),
        {"a": np.ones((700, 700)), "b": [np.zeros(200_000, dtype=np.int16), "text"]},
    ]

    @ff.workflow
    def flow(value: Any) -> Any:
        return tasks.give(value)

    for value in values:
        np.testing.assert_equal(engine.run(flow, value), value)


def test_what_a_body_raises_is_recorded_with_its_traceback(engine: ff.Engine) -> None:
    error = failing(engine, tasks.broken)
    assert (error.code, error.step) == ("BROKEN", "it")
    assert "in broken" in error.details


@pytest.mark.parametrize(
    ("task", "args", "says"),
    [
        (tasks.leave, (7,), "ended with exit status 7, without a result"),
        (tasks.segfault, (), "was killed by SIGSEGV, a segmentation fault"),
        (tasks.hangs_up, (), "closed descriptor 3"),
        (tasks.killed, (), "was killed by SIGKILL: by somebody, or by the system for want of memory"),
    ],
)
def test_a_body_that_ends_its_process_fails_alone(engine: ff.Engine, task: Any, args: Any, says: str) -> None:
    error = failing(engine, task, *args)
    assert error.code == "WORKER_DIED"
    assert says in str(error)
    # The process is replaced.
    assert engine.run(flow_of(tasks.double, 4)) == 8


def test_a_process_that_died_between_two_bodies_is_replaced_before_the_next() -> None:
    with ff.Engine(processes=1) as engine:
        pid, _ = engine.run(flow_of(tasks.where))
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: not alive(pid))
        time.sleep(0.2)
        assert engine.run(flow_of(tasks.where))[0] != pid


def test_a_step_that_kills_its_process_again_and_again_is_quarantined(
    engine: ff.Engine, tmp_path: Path
) -> None:
    error = failing(engine, tasks.poison, str(tmp_path / "log"))
    assert error.code == "QUARANTINED"
    assert (tmp_path / "log").read_text() == "died\n" * 3


def test_a_task_that_another_process_can_not_import_says_so(engine: ff.Engine) -> None:
    error = failing(engine, tasks.local())
    assert error.code == "NOT_IMPORTABLE"
    assert "top of a module" in str(error)


def test_a_result_that_can_not_be_recorded_is_named(engine: ff.Engine) -> None:
    error = failing(engine, tasks.unrecordable)
    assert error.code == "UNSERIALISABLE_RESULT"
    assert "result['it'] is a builtins.object" in str(error)


def test_a_cancelled_body_is_told_and_its_process_goes_on(engine: ff.Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run = engine.start(flow_of(tasks.sleeping, str(log)))
    assert eventually(log.exists)
    run.cancel("enough")
    assert eventually(lambda: engine.stats().running == 0, 5)
    assert log.read_text() == "told"
    assert engine.run(flow_of(tasks.double, 4)) == 8


def test_a_deaf_body_is_killed_after_its_grace(engine: ff.Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run = engine.start(flow_of(tasks.sleeping, str(log), deaf=True))
    assert eventually(lambda: log.exists() and bool(log.read_text()))
    pid, begun = int(log.read_text()), time.monotonic()
    run.cancel("enough")
    assert eventually(lambda: not alive(pid))
    assert 0.25 < time.monotonic() - begun < 10
    assert engine.run(flow_of(tasks.double, 4)) == 8


def test_a_retry_waits_until_the_process_before_it_has_ended(engine: ff.Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    late = tasks.sleeping.options(id="it", timeout="600ms", retry=ff.Retry(1, delay="1ms"))
    run = engine.start(flow_of(late, str(log), deaf=True))
    # While the process of the first attempt lives, the second waits, and the run says for what.
    held = "the process of the attempt before is still being ended"
    assert eventually(lambda: any(reason.detail == held for reason in run.explain()))
    with pytest.raises(ff.RunFailed, match=r"0\.6 s"):
        run.result(30)
    events = [event for event in run.events() if event["kind"] in ("StepRetrying", "StepStarted", "StepUsed")]
    begun = [event["at"] for event in events if event["kind"] == "StepStarted"]
    over = [event["at"] for event in events if event["kind"] == "StepUsed"]
    assert len(begun) == 2
    assert over[0] <= begun[1], "the second body began while the first was there"


@pytest.mark.req("P8.57")
def test_results_are_those_of_completed_steps_alone(engine: ff.Engine) -> None:
    @ff.workflow(on_error="continue")
    def flow() -> Any:
        return [tasks.double.options(id="a")(4), tasks.broken.options(id="b", critical=False)()]

    run = engine.start(flow)
    run.result(30)
    found = {step.path: (step.state, step.result) for step in run.view(values=True).steps if step.task}
    assert found == {"a": (ff.StepState.COMPLETED, 8), "b": (ff.StepState.FAILED, None)}


def test_what_a_body_leaves_behind_ends_with_its_process() -> None:
    with ff.Engine(processes=1) as engine:
        pid = engine.run(flow_of(tasks.leftover))
        assert alive(pid)
    assert eventually(lambda: not alive(pid))


def test_progress_and_signs_of_life_come_from_there(engine: ff.Engine) -> None:
    run = engine.start(flow_of(tasks.telling))
    assert run.result(30) == "told"
    step = run.view().steps[0]
    assert (step.percent, step.message) == (100, "loaded")


def test_what_a_body_takes_is_measured_and_recorded(engine: ff.Engine) -> None:
    engine.run(flow_of(tasks.double, 1))
    large = engine.start(flow_of(tasks.burn, 0.3, 80))
    large.result(30)
    used = large.view().steps[0].used
    assert used is not None
    assert used.cpu is not None
    assert used.memory is not None
    assert 0.3e6 <= used.cpu <= 0.6e6
    assert used.wall >= 0.3e6
    assert used.memory >= 80 << 20
    # The next body of the process is measured by itself.
    for _ in range(2):
        small = engine.start(flow_of(tasks.burn, 0.0, 1))
        small.result(30)
        found = small.view().steps[0].used
        assert found is not None
        assert found.memory is not None
        assert found.memory < 80 << 20


def test_a_body_that_wants_too_much_memory_fails_and_harms_nobody(engine: ff.Engine) -> None:
    assert engine.run(flow_of(tasks.hog, 50)) == 50 << 20
    error = failing(engine, tasks.hog, 300)
    assert error.code == "RESOURCE_EXCEEDED"
    assert "memory" in str(error)
    # The limit was that of the step.
    engine.run(flow_of(tasks.burn, 0.0, 200))


@pytest.mark.parametrize("native", [False, True])
def test_a_body_that_uses_too_much_processor_time_is_ended(engine: ff.Engine, native: bool) -> None:
    error = failing(engine, tasks.spin, native)
    assert error.code == "RESOURCE_EXCEEDED"
    assert "processor time" in str(error)


def test_an_environment_is_that_of_its_tasks_alone(engine: ff.Engine) -> None:
    found, pid = engine.run(flow_of(tasks.variable, "MINE"))
    assert found == "yes"
    assert "MINE" not in os.environ
    assert pid != engine.run(flow_of(tasks.where))[0]


def wheel(folder: Path) -> None:
    """Make a package as pip installs them, of one module."""
    info = "tiny_package-1.0.dist-info"
    files = {
        "tiny_package.py": "VALUE = 42\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny-package\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / "tiny_package-1.0-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def test_an_environment_brings_packages_and_a_directory(
    engine: ff.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wheel(tmp_path)
    changed = copy.copy(tasks.packaged)
    changed.environment = ff.Environment(
        packages=["tiny-package"], pip=["--no-index", "--find-links", str(tmp_path)], directory=tmp_path
    )
    monkeypatch.setitem(registry._tasks, "proc.packaged", changed)
    for _ in range(2):
        assert engine.run(flow_of(changed)) == [42, str(tmp_path)]
    assert len([*(tmp_path / "cache/ferroflow/packages").iterdir()]) == 1


def test_packages_that_can_not_be_installed_fail_the_step(
    engine: ff.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    changed = copy.copy(tasks.packaged)
    changed.environment = ff.Environment(packages=["no-such-package"], pip=["--no-index"])
    monkeypatch.setitem(registry._tasks, "proc.packaged", changed)
    assert "pip could not install no-such-package" in str(failing(engine, changed))
    assert not [*(tmp_path / "cache/ferroflow/packages").iterdir()]


def test_processes_and_descriptors_are_gone_with_the_engine() -> None:
    def descriptors() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    with ff.Engine(processes=2) as engine:
        engine.run(flow_of(tasks.where))
    before = descriptors()
    pids = []
    for _ in range(3):
        with ff.Engine(processes=2) as engine:
            pids += [engine.run(flow_of(tasks.where))[0] for _ in range(4)]
    assert eventually(lambda: descriptors() <= before)
    assert not any(map(alive, pids))
