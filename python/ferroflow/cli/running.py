"""`run` and `resume`: find the workflow, run it to its end, and say how it ended."""

from __future__ import annotations

import importlib
import importlib.util
import shlex
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import msgspec

from ferroflow import _core
from ferroflow.cli import instances
from ferroflow.cli.ending import Interrupted, described, encoded, say
from ferroflow.cli.finding import find
from ferroflow.cli.following import follow
from ferroflow.define import Priority, Workflow, load
from ferroflow.engine import Engine, Handle, RunOptions, records
from ferroflow.errors import DefinitionError, FerroflowError, InvalidInput

DEFINITIONS = (".json", ".yaml", ".yml")


def value(text: str) -> Any:
    """Return what a person typed: JSON, or else the text itself."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        if text.lstrip().startswith(("{", "[", '"')):
            raise InvalidInput(f"{text} looks like JSON and is not: {error}") from None
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


def module(name: str) -> ModuleType:
    """Import a module by its name, or a file by its path, with its folder to import from."""
    path = Path(name)
    is_file = name.endswith(".py")
    if is_file and not path.exists():
        raise DefinitionError(f"there is no file {path}")
    folder = str(path.parent.resolve() if is_file else Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return _imported(path) if is_file else importlib.import_module(name)
    except ModuleNotFoundError as error:
        if is_file or error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _broken(name, error) from error
        text = f"there is no module {name!r} here; give FILE.py:NAME, MODULE:NAME, or a JSON or YAML file"
        raise DefinitionError(text) from None
    except FerroflowError:
        raise
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error


def _imported(path: Path) -> ModuleType:
    # A file must not take the place of a module that something else has imported.
    name = path.stem if path.stem not in sys.modules else f"ferroflow_target_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise DefinitionError(f"{path} can't be imported")
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


def _broken(name: str, error: BaseException) -> DefinitionError:
    import traceback

    made = DefinitionError(f"{name} can't be imported: {type(error).__name__}: {error}")
    # The first frames are ours and the importer's.
    own = [it for it in traceback.extract_tb(error.__traceback__) if "importlib" not in it.filename][2:]
    if own:
        made.add_note("".join(traceback.format_list(own)).rstrip())
    return made


def workflow(target: str) -> Workflow[..., Any]:
    """Find the workflow that a target names."""
    if target.endswith(DEFINITIONS):
        if not Path(target).exists():
            raise DefinitionError(f"there is no file {target}")
        instance = instances.found(target)
        return load(target) if instance is None else instance.to_workflow(max_disk=None)
    place, _, name = target.rpartition(":")
    if not place:
        place, name = target, ""
    found = module(place)
    workflows = {key: it for key, it in vars(found).items() if isinstance(it, Workflow)}
    if name in workflows:
        return workflows[name]
    if not workflows:
        raise DefinitionError(f"{place} has no workflow: make a function one with @ff.workflow")
    if not name and len(workflows) == 1:
        return next(iter(workflows.values()))
    names = ", ".join(f"{place}:{known}" for known in sorted(workflows))
    problem = f"{place} has no workflow {name!r}" if name else f"{place} has several workflows"
    raise DefinitionError(f"{problem}; name one of these: {names}")


def run(
    target: str,
    inputs: Mapping[str, Any],
    *,
    db: Path,
    workers: int | None,
    priority: Priority,
    timeout: str | float | None,
    correlation: str | None,
    scale: float | None,
    max_disk: str | None,
    as_json: bool,
) -> None:
    """Run a workflow to its end and print what it yields."""
    instance = instances.found(target)
    if instance is not None:
        found = instances.workflow(instance, scale, max_disk)
    elif scale is not None or max_disk is not None:
        raise click.UsageError(f"--scale and --max-disk are for WfFormat instances, and {target} is none")
    else:
        found = workflow(target)
    # Tells of everything that is wrong before a database is made.
    _ = found.program
    with Engine(db, workers=workers, resume=False) as engine:
        options = RunOptions(priority=priority, timeout=timeout, correlation=correlation)
        handle = engine.start(found, options=options, **inputs)
        with _resumable(handle, target, db):
            if not as_json:
                follow(handle, "started")
            answer, error = _ended(handle)
        compared = None if instance is None else instances.compared(handle, instance, scale)
    _sweep([answer])
    if compared is not None:
        answer |= msgspec.to_builtins(compared)
    _report([answer], error, as_json=as_json, whole=answer)
    if compared is not None and not as_json:
        instances.tell(compared)


def resume(
    target: str | None,
    runs: Iterable[str],
    *,
    db: Path,
    workers: int | None,
    as_json: bool,
) -> None:
    """Run unfinished runs to their end."""
    reader = _core.Reader(db)
    wanted = [find(reader, run, db).id for run in runs]
    if target is not None and not target.endswith(DEFINITIONS):
        module(target.rpartition(":")[0] or target)
    answers, first = [], None
    with Engine(db, workers=workers, resume=False) as engine:
        left = [row.id for row in engine.list(state=("created", "running", "paused"), limit=1 << 30)]
        going = engine.resume(wanted or None)
        for run in wanted or going:
            handle = engine.handle(run)
            if handle.status() == "paused":
                handle.resume()
            with _resumable(handle, target, db):
                if not as_json:
                    follow(handle, "goes on")
                answer, error = _ended(handle)
            answers.append(answer)
            first = first or error
    _sweep(answers)
    if not wanted and (unknown := len(left) - len(going)) and not as_json:
        stay = (
            "1 unfinished run stays as it is"
            if unknown == 1
            else f"{unknown} unfinished runs stay as they are"
        )
        click.echo(f"{stay}: name the file or module that defines the tasks", err=True)
    if not answers and not as_json:
        click.echo("nothing to resume")
    _report(answers, first, as_json=as_json, whole=answers)


@contextmanager
def _resumable(handle: Handle[Any], target: str | None, db: Path) -> Iterator[None]:
    """On Ctrl-C say that nothing is lost, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        # The engine now waits for the bodies that are running; a second Ctrl-C does not.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        click.echo("waiting for the steps that are running; Ctrl-C again leaves at once", err=True)
        words = ["ferroflow", "resume", target, "--db", str(db), "--run", handle.id]
        command = shlex.join(word for word in words if word is not None)
        raise Interrupted(f"run {handle.id} is on record; go on with: {command}", run=handle.id) from None


def _ended(handle: Handle[Any]) -> tuple[dict[str, Any], FerroflowError | None]:
    """Wait for the end of a run; return what there is to say of it, and its error."""
    try:
        return {"run": handle.id, "state": "completed", "result": handle.result()}, None
    except FerroflowError as error:
        if (state := handle.status()) not in records.TERMINAL:
            raise
        return {"run": handle.id, "state": state, "error": described(error)}, error


def _sweep(answers: Iterable[Mapping[str, Any]]) -> None:
    """Remove what runs of instances leave when they do not come to their last step."""
    for answer in answers:
        if answer["state"] != "completed":
            instances.sweep(answer["run"])


def _report(
    answers: list[dict[str, Any]], error: FerroflowError | None, *, as_json: bool, whole: object
) -> None:
    """Print how runs ended; exit as the first error says."""
    if as_json:
        from ferroflow.cli.ending import code_of

        say(whole)
        if error is not None:
            raise click.exceptions.Exit(code_of(error))
        return
    for answer in answers:
        if "result" in answer:
            click.echo(f"run {answer['run']} completed", err=True)
            click.echo(msgspec.json.format(encoded(answer["result"]), indent=2).decode())
        elif error is None or answer["run"] != getattr(error, "run", None):
            click.echo(f"run {answer['run']} {answer['state']}: {answer['error']['message']}", err=True)
    if error is not None:
        raise error
