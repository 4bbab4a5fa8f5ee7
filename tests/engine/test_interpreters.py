"""Tasks in processes of another interpreter than the engine's, and interpreters that can't run any."""

import copy
import importlib
import os
import sys
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from ferroflow import _core
from ferroflow.define import registry
from tests.engine import process_tasks as tasks
from tests.engine.test_processes import failing, flow_of

# What the engine's interpreter imports from, so that another one has ferroflow.
_PATH = os.pathsep.join(sys.path)


@pytest.fixture(scope="module")
def engine() -> Iterator[ff.Engine]:
    with ff.Engine(processes=1) as made:
        yield made


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second virtual environment, without packages."""
    folder = tmp_path_factory.mktemp("second")
    venv.create(folder, symlinks=True, with_pip=False)
    return folder


def script(path: Path, text: str, mode: int = 0o755) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def changed(
    monkeypatch: pytest.MonkeyPatch, task: Any, python: Path | str, variables: Mapping[str, str] | None = None
) -> Any:
    """A task that runs under another interpreter."""
    made = copy.copy(task)
    variables = {"PYTHONPATH": _PATH} if variables is None else variables
    made.environment = ff.Environment(python=python, variables=variables)
    monkeypatch.setitem(registry._tasks, task.name, made)
    return made


def fresh(folder: Path) -> dict[str, str]:
    """Variables that no other environment has: its process has imported nothing yet."""
    return {"PYTHONPATH": _PATH, "FRESH": str(folder)}


def test_bodies_run_under_the_interpreter_of_their_environment(
    engine: ff.Engine, second: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine.run(flow_of(tasks.interpreter)) == [sys.prefix, None]
    there = changed(monkeypatch, tasks.interpreter, second / "bin" / "python")
    assert engine.run(flow_of(there)) == [str(second), None]
    wrapper = script(tmp_path / "wrapper", f'#!/bin/sh\nWRAPPED=yes exec {sys.executable} "$@"\n')
    wrapped = changed(monkeypatch, tasks.interpreter, wrapper)
    assert engine.run(flow_of(wrapped)) == [sys.prefix, "yes"]


def test_another_interpreter_finds_the_modules_of_the_program(
    engine: ff.Engine, second: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "program_tasks.py").write_text(
        "import sys, ferroflow as ff\n\n"
        "@ff.task(name='second.where', executor='process')\n"
        "def where() -> list[str]:\n"
        "    return [sys.prefix, __file__]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))
    where = importlib.import_module("program_tasks").where
    monkeypatch.delitem(sys.modules, "program_tasks")
    there = changed(monkeypatch, where, second / "bin" / "python", fresh(tmp_path))
    assert engine.run(flow_of(there)) == [str(second), str(tmp_path / "program_tasks.py")]


def test_a_module_that_another_interpreter_does_not_find_is_named(
    engine: ff.Engine, second: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = changed(monkeypatch, tasks.double, second / "bin" / "python", fresh(tmp_path))
    # As if it had been imported by other means than by its path.
    monkeypatch.setattr(tasks.double.fn, "__module__", "nowhere.to.be.found")
    error = failing(engine, there, 1)
    assert error.code == "NOT_IMPORTABLE"
    assert f"{second}/bin/python finds no module 'nowhere'" in str(error)
    assert "PYTHONPATH" in str(error)


@pytest.mark.parametrize(
    ("name", "text", "mode", "code", "says"),
    [
        ("absent", None, 0, "COMMAND_NOT_FOUND", "does not exist, seen from"),
        ("locked", "#!/bin/sh\n", 0o644, "NOT_EXECUTABLE", "make it executable"),
        ("text", "hello\n", 0o755, "NOT_EXECUTABLE", "a script needs a first line"),
        ("lost", "#!/no/such/shell\n", 0o755, "NOT_EXECUTABLE", "not the interpreter that its first line"),
        ("other", "#!/bin/sh\n", 0o755, "WORKER_NOT_READY", "is no interpreter of Python"),
        ("broken", "#!/bin/sh\necho oh no >&2\nexit 3\n", 0o755, "WORKER_NOT_READY", "exit status 3"),
    ],
)
def test_what_is_no_interpreter_is_refused_with_what_to_do(
    engine: ff.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    text: str | None,
    mode: int,
    code: str,
    says: str,
) -> None:
    path = tmp_path / name
    if text is not None:
        script(path, text, mode)
    error = failing(engine, changed(monkeypatch, tasks.double, path), 1)
    assert error.code == code
    assert says in str(error)
    assert str(path) in str(error)
    if code == "WORKER_NOT_READY":
        assert "the process that was to run the body ended" in str(error)
    else:
        assert "the interpreter of its environment can't be started" in str(error)
    # The thread that waited goes on.
    assert engine.run(flow_of(tasks.interpreter)) == [sys.prefix, None]


def test_an_interpreter_without_ferroflow_says_how_to_install_it(
    engine: ff.Engine, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = second / "bin" / "python"
    error = failing(engine, changed(monkeypatch, tasks.double, python, {"PYTHONPATH": ""}), 1)
    assert error.code == "WORKER_NOT_READY"
    assert f"{python} has no ferroflow; install it: {python} -m pip install ferroflow==" in str(error)


def test_an_interpreter_with_another_version_of_ferroflow_is_refused(
    engine: ff.Engine, second: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ferroflow").mkdir()
    (tmp_path / "ferroflow" / "__init__.py").write_text("__version__ = '0.0.7'\n")
    python = second / "bin" / "python"
    error = failing(engine, changed(monkeypatch, tasks.double, python, {"PYTHONPATH": str(tmp_path)}), 1)
    assert error.code == "WORKER_NOT_READY"
    assert f"has ferroflow 0.0.7, and the engine has {ff.__version__}; install it" in str(error)


def test_a_process_refuses_an_engine_of_another_version(
    engine: ff.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    there = changed(monkeypatch, tasks.double, sys.executable, fresh(tmp_path))
    monkeypatch.setattr(_core, "__version__", "9.9")
    error = failing(engine, there, 1)
    assert error.code == "WORKER_NOT_READY"
    assert f"has ferroflow {ff.__version__}, and the engine has 9.9; install it" in str(error)
    assert f"this is ferroflow {ff.__version__}, and the engine is 9.9" in capfd.readouterr().err


def test_an_interpreter_that_can_not_start_in_its_environment_is_not_tried_again(
    engine: ff.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = changed(monkeypatch, tasks.double, sys.executable, {"PYTHONHOME": "/no/such/folder"})
    retried = broken.options(retry=ff.Retry(5, delay="1ms"))
    run = engine.start(flow_of(retried, 1))
    with pytest.raises(ff.RunFailed) as caught:
        run.result(30)
    assert caught.value.code == "WORKER_NOT_READY"
    assert "can't import ferroflow" in str(caught.value)
    assert run.view().steps[0].attempts == 1
