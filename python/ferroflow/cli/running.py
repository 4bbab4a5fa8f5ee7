"""`run` and `resume`: find the workflow, run it, show how far it is."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from ferroflow.cli.following import follow
from ferroflow.define import Priority, Workflow, load
from ferroflow.engine import Engine, Handle, RunOptions
from ferroflow.errors import DefinitionError, InvalidInput


def value(text: str) -> Any:
    """Return what a person typed: JSON, or else the text itself."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def given(pairs: Iterable[str], inputs: str | None) -> dict[str, Any]:
    """Return the inputs of a run from the command line."""
    found: dict[str, Any] = {}
    if inputs is not None:
        try:
            decoded = msgspec.json.decode(inputs)
        except msgspec.DecodeError as error:
            raise InvalidInput(f"--inputs is not JSON: {error}") from None
        if not isinstance(decoded, dict):
            raise InvalidInput("--inputs has to be a JSON object")
        found |= decoded
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InvalidInput(f"--input {pair!r} has no value: write NAME=VALUE")
        found[name] = value(text)
    return found


def module(name: str) -> Any:
    """Import a module by its name, or a file by its path."""
    if not name.endswith(".py"):
        sys.path.insert(0, str(Path.cwd()))
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise DefinitionError(f"{error}; give FILE.py:NAME, MODULE:NAME or a JSON file") from None
    path = Path(name)
    if not path.exists():
        raise DefinitionError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = made
    spec.loader.exec_module(made)
    return made


def workflow(target: str) -> Workflow[..., Any]:
    """Find the workflow that a target names."""
    if target.endswith((".json", ".yaml", ".yml")):
        if not Path(target).exists():
            raise DefinitionError(f"there is no file {target}")
        return load(target)
    place, _, name = target.rpartition(":")
    if not place:
        place, name = target, ""
    found = module(place)
    workflows = {key: it for key, it in vars(found).items() if isinstance(it, Workflow)}
    if name in workflows:
        return workflows[name]
    if not name and len(workflows) == 1:
        return next(iter(workflows.values()))
    raise DefinitionError(f"{target}: name one of the workflows {sorted(workflows)} as {place}:NAME")


def run(
    target: str,
    inputs: Mapping[str, Any],
    *,
    db: Path,
    workers: int | None,
    priority: Priority,
    timeout: str | None,
    correlation: str | None,
    as_json: bool,
) -> None:
    """Run a workflow to its end and print what it yields."""
    found = workflow(target)
    # Tells of everything that is wrong before a database is made.
    _ = found.program
    with Engine(db, workers=workers, resume=False) as engine:
        options = RunOptions(priority=priority, timeout=timeout, correlation=correlation)
        handle = engine.start(found, options=options, **inputs)
        if not as_json:
            follow(handle)
        _report(handle, as_json=as_json)


def resume(target: str | None, runs: Iterable[str], *, db: Path, workers: int | None, as_json: bool) -> None:
    """Run unfinished runs to their end."""
    if target is not None and not target.endswith((".json", ".yaml", ".yml")):
        module(target.rpartition(":")[0] or target)
    with Engine(db, workers=workers, resume=False) as engine:
        wanted = [*runs]
        going = engine.resume(wanted or None)
        if not going and not as_json:
            click.echo("nothing to resume")
        failed: list[BaseException] = []
        for run in going:
            handle = engine.handle(run)
            if handle.status() == "paused":
                handle.resume()
            if not as_json:
                follow(handle)
            try:
                _report(handle, as_json=as_json)
            except Exception as error:
                failed.append(error)
        if failed:
            raise failed[0]


def _report(handle: Handle[Any], *, as_json: bool) -> None:
    if not as_json:
        result = handle.result()
        click.echo(f"run {handle.id} completed")
        click.echo(msgspec.json.format(msgspec.json.encode(result), indent=2).decode())
        return
    try:
        answer = {"run": handle.id, "state": "completed", "result": handle.result()}
    except Exception as error:
        answer = {"run": handle.id, "state": handle.status(), "error": str(error)}
        click.echo(msgspec.json.encode(answer).decode())
        raise
    click.echo(msgspec.json.encode(answer).decode())
