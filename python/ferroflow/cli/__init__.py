"""The command line: one thin command a capability.

Exit codes: 0 done, 1 the run failed or the log is damaged, 2 wrong usage, 3 the workflow or its
inputs are not right, 4 the database can't be used, 5 the run was cancelled or timed out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ferroflow import __version__

database = click.option(
    "--db",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("ferroflow.db"),
    envvar="FERROFLOW_DB",
    show_default=True,
    show_envvar=True,
    help="The database file.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="JSON for machines.")


class Group(click.Group):
    """Turns errors into messages and exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        from ferroflow import errors

        codes: Sequence[tuple[type[BaseException], int]] = (
            (errors.RunTimedOut, 5),
            (errors.RunCancelled, 5),
            (errors.RunFailed, 1),
            (errors.DefinitionError, 3),
            (errors.InvalidInput, 3),
            (errors.TaskNotFound, 3),
            (errors.StorageError, 4),
            (errors.FerroflowError, 1),
        )
        try:
            return super().invoke(ctx)
        except errors.FerroflowError as error:
            click.echo(f"error: {error}", err=True)
            for note in getattr(error, "__notes__", ()):
                click.echo(note, err=True)
            sys.exit(next(code for kind, code in codes if isinstance(error, kind)))


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ferroflow")
def main() -> None:
    """Durable, adaptive workflows."""


@main.command()
@click.option("--crash", is_flag=True, help="Kill the process half-way, then resume.")
@click.option("--db", type=click.Path(path_type=Path, dir_okay=False), help="Keep the database here.")
@click.option("--die-after", type=int, hidden=True, help="Kill the process after so many folds.")
@click.option("--workers", type=click.IntRange(1), default=None, help="Threads that run steps.")
def demo(*, crash: bool, db: Path | None, die_after: int | None, workers: int | None) -> None:
    """Select a model for handwritten digits, with every fold a durable step."""
    from ferroflow.cli import digits

    digits.run(crash=crash, db=db, die_after=die_after, workers=workers)


@main.command()
@click.argument("target")
@click.option(
    "-i",
    "--input",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="An input; the value is JSON or text.",
)
@click.option("--inputs", default=None, metavar="JSON", help="All inputs as one object.")
@click.option(
    "--priority",
    type=click.Choice(["critical", "high", "normal", "low", "background"]),
    default="normal",
)
@click.option("--timeout", default=None, metavar="DURATION", help='The run must end within, e.g. "5m".')
@click.option("--correlation", default=None, help="An id to find the run by.")
@click.option("--workers", type=click.IntRange(1), default=None, help="Threads that run steps.")
@database
@as_json
def run(
    *,
    target: str,
    pairs: tuple[str, ...],
    inputs: str | None,
    priority: Any,
    timeout: str | None,
    correlation: str | None,
    workers: int | None,
    db: Path,
    as_json: bool,
) -> None:
    """Run a workflow to its end.

    TARGET is a JSON or YAML definition, FILE.py:NAME, or MODULE:NAME.
    """
    from ferroflow.cli import running

    running.run(
        target,
        running.given(pairs, inputs),
        db=db,
        workers=workers,
        priority=priority,
        timeout=timeout,
        correlation=correlation,
        as_json=as_json,
    )


@main.command()
@click.argument("target", required=False)
@click.option("--run", "runs", multiple=True, metavar="RUN", help="Only these runs.")
@click.option("--workers", type=click.IntRange(1), default=None, help="Threads that run steps.")
@database
@as_json
def resume(
    *, target: str | None, runs: tuple[str, ...], workers: int | None, db: Path, as_json: bool
) -> None:
    """Take up runs that had not ended, and run them to their end.

    TARGET is the file or module that defines their tasks.
    """
    from ferroflow.cli import running

    running.resume(target, runs, db=db, workers=workers, as_json=as_json)


@main.command(name="list")
@click.option("--workflow", default=None, help="Only runs of this workflow.")
@click.option("--state", "states", multiple=True, help="Only runs in these states.")
@click.option("--correlation", default=None, help="Only runs with this correlation id.")
@click.option("--since", type=click.DateTime(), default=None, help="Created at or after (UTC).")
@click.option("--until", type=click.DateTime(), default=None, help="Created before (UTC).")
@click.option("--before", default=None, metavar="RUN", help="Only runs older than this one: the next page.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@database
@as_json
def list_(**options: Any) -> None:
    """List runs, newest first."""
    from ferroflow.cli import looking

    looking.list_runs(**options)


@main.command()
@click.argument("run")
@click.option("--events", is_flag=True, help="The events too.")
@database
@as_json
def show(**options: Any) -> None:
    """Show a run: its steps, times and errors."""
    from ferroflow.cli import looking

    looking.show(**options)


@main.command()
@click.argument("run")
@click.option("--reason", default="cancelled from the command line", show_default=True)
@database
def cancel(*, run: str, reason: str, db: Path) -> None:
    """Cancel a run."""
    from ferroflow.cli import looking

    looking.post(db, run, "cancel", reason.encode())


@main.command()
@click.argument("run")
@click.option("--reason", default="paused from the command line", show_default=True)
@database
def pause(*, run: str, reason: str, db: Path) -> None:
    """Start no more steps of a run until it is continued."""
    from ferroflow.cli import looking

    looking.post(db, run, "pause", reason.encode())


@main.command(name="continue")
@click.argument("run")
@database
def continue_(*, run: str, db: Path) -> None:
    """Go on with a paused run."""
    from ferroflow.cli import looking

    looking.post(db, run, "resume", b"")


@main.command()
@click.argument("run")
@click.argument("name")
@click.argument("value", default="null")
@database
def signal(*, run: str, name: str, value: str, db: Path) -> None:
    """Send a named signal to a run; VALUE is JSON or text."""
    import msgspec

    from ferroflow.cli import looking, running

    packed = msgspec.msgpack.encode(running.value(value))
    looking.post(db, run, f"signal:{name}", packed)


@main.command()
@click.argument("target")
@click.option("--format", "form", type=click.Choice(["mermaid", "dot"]), default="mermaid", show_default=True)
def graph(*, target: str, form: str) -> None:
    """Print a workflow as a graph."""
    from ferroflow import draw
    from ferroflow.cli import running

    blocks = running.workflow(target).program.blocks()
    click.echo(draw.mermaid(blocks) if form == "mermaid" else draw.dot(blocks), nl=False)


@main.command(name="verify-log")
@database
@as_json
def verify_log(*, db: Path, as_json: bool) -> None:
    """Check every record of every run."""
    from ferroflow.cli import looking

    looking.verify(db, as_json=as_json)


@main.command()
def states() -> None:
    """Print the states of runs and steps as Mermaid diagrams."""
    from ferroflow._core import state_diagrams

    click.echo(state_diagrams(), nl=False)
