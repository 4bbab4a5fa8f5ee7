"""The command line: one thin command a capability.

Exit codes: 0 done; 1 the run failed, the log is damaged, or something else went wrong; 2 wrong
usage; 3 the workflow or its inputs are not right; 4 the database can't be used; 5 the run was
cancelled or timed out; 130 interrupted with Ctrl-C; 141 nobody reads the output any more.

With `--json` a command prints one JSON value on every path; what went wrong is
`{"error": {"kind": ..., "message": ...}}`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from ferroflow import __version__
from ferroflow._core import parse_duration, parse_size
from ferroflow._core import states as known_states
from ferroflow.cli.ending import Group
from ferroflow.engine.policies import PolicyName

database = click.option(
    "--db",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("ferroflow.db"),
    envvar="FERROFLOW_DB",
    show_default=True,
    show_envvar=True,
    help="The database file.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON value for machines.")
workers = click.option("--workers", type=click.IntRange(1), default=None, help="Threads that run steps.")
wait = click.option(
    "--wait",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Wait so long for an engine to take the command.",
)


def duration(ctx: click.Context, param: click.Parameter, value: str | None) -> str | float | None:
    """Check a length of time: `1h30m`, or seconds."""
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        pass
    try:
        parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    return value


def size(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Check a size: `500MB`, `2GiB`, or bytes."""
    if value is not None:
        try:
            parse_size(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None
    return value


moment = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ferroflow")
def main() -> None:
    """Durable, adaptive workflows.

    A RUN is named by its id, or by as much of its beginning as no other id shares.
    """


@main.command()
@click.option("--crash", is_flag=True, help="Kill the process half-way, then resume.")
@click.option("--db", type=click.Path(path_type=Path, dir_okay=False), help="Keep the database here.")
@click.option("--die-after", type=int, hidden=True, help="Kill the process after so many folds.")
@workers
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
    show_default=True,
)
@click.option(
    "--timeout",
    callback=duration,
    default=None,
    metavar="DURATION",
    help='The run must end within, e.g. "5m".',
)
@click.option("--correlation", default=None, metavar="ID", help="An id of yours to find the run by.")
@click.option(
    "--scale",
    type=click.FloatRange(0),
    default=None,
    metavar="FACTOR",
    help="Of a WfFormat instance: multiply seconds and bytes by this.  [default: 1]",
)
@click.option(
    "--max-disk",
    callback=size,
    default=None,
    metavar="SIZE",
    help="Of a WfFormat instance: what its files may take.  [default: 1GiB]",
)
@workers
@database
@as_json
def run(*, pairs: tuple[str, ...], inputs: str | None, **options: Any) -> None:
    """Run a workflow to its end.

    TARGET is a JSON or YAML definition, FILE.py:NAME, or MODULE:NAME. It may also be a recorded
    execution, a WfFormat 1.5 instance in JSON: it is run with synthetic work, as much as was recorded.
    """
    from ferroflow.cli import running

    running.run(inputs=running.given(pairs, inputs), **options)


@main.command()
@click.argument("target", required=False)
@click.option("--run", "runs", multiple=True, metavar="RUN", help="Only this run; may be repeated.")
@workers
@database
@as_json
def resume(**options: Any) -> None:
    """Take up runs that had not ended, and run them to their end.

    TARGET is the file or module that defines their tasks.
    """
    from ferroflow.cli import running

    running.resume(**options)


@main.command(name="list")
@click.option("--workflow", default=None, metavar="NAME", help="Only runs of this workflow.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(known_states()[0]),
    help="Only runs in this state; may be repeated.",
)
@click.option("--correlation", default=None, metavar="ID", help="Only runs with this correlation id.")
@click.option("--since", type=moment, default=None, help="Created at or after; local time.")
@click.option("--until", type=moment, default=None, help="Created before; local time.")
@click.option("--before", default=None, metavar="RUN", help="Only runs older than this one: the next page.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Runs a page.")
@database
@as_json
def list_(**options: Any) -> None:
    """List runs, newest first."""
    from ferroflow.cli import looking

    looking.list_runs(**options)


@main.command()
@click.argument("run")
@click.argument("step", required=False)
@click.option("--values", is_flag=True, help="Inputs, results and variables too.")
@click.option("--steps", type=click.IntRange(0), default=200, show_default=True, help="Steps to print.")
@click.option("--events", is_flag=True, help="The events too.")
@click.option("--limit", type=click.IntRange(1), default=None, help="Only so many of the last events.")
@click.option("--gantt", type=click.Path(path_type=Path, dir_okay=False), help="Draw when steps ran: an SVG.")
@click.option(
    "--wfformat", type=click.Path(path_type=Path, dir_okay=False), help="Write it as a WfFormat instance."
)
@database
@as_json
def show(**options: Any) -> None:
    """Show a run: its steps, times and errors.

    With STEP, the path of a step, only that one: its attempts, what they took, the whole error.
    """
    from ferroflow.cli import looking

    looking.show(**options)


@main.command()
@database
@as_json
def leases(**options: Any) -> None:
    """Show who holds assets, and who waits for them.

    As the journal has it: what unfinished runs have locked, what their running steps access, and what steps
    that are ready ask for.
    """
    from ferroflow.cli import leasing

    leasing.leases(**options)


@main.command()
@click.argument("run")
@click.option("--reason", default="cancelled from the command line", show_default=True)
@wait
@database
@as_json
def cancel(*, reason: str, **options: Any) -> None:
    """Cancel a run."""
    from ferroflow.cli import commanding

    commanding.post("cancel", reason.encode(), **options)


@main.command()
@click.argument("run")
@click.option("--reason", default="paused from the command line", show_default=True)
@wait
@database
@as_json
def pause(*, reason: str, **options: Any) -> None:
    """Start no more steps of a run until it is continued."""
    from ferroflow.cli import commanding

    commanding.post("pause", reason.encode(), **options)


@main.command(name="continue")
@click.argument("run")
@wait
@database
@as_json
def continue_(**options: Any) -> None:
    """Go on with a paused run."""
    from ferroflow.cli import commanding

    commanding.post("resume", b"", **options)


@main.command()
@click.argument("run")
@click.argument("name")
@click.argument("value", default="null")
@wait
@database
@as_json
def signal(*, name: str, value: str, **options: Any) -> None:
    """Send a named signal to a run; VALUE is JSON or text."""
    import msgspec

    from ferroflow.cli import commanding, running

    commanding.post(f"signal:{name}", msgspec.msgpack.encode(running.value(value)), **options)


@main.command()
@click.argument("target", required=False)
@click.option("--run", default=None, metavar="RUN", help="Colour it by how far this run is.")
@click.option(
    "--format", "form", type=click.Choice(["mermaid", "dot", "svg"]), default="mermaid", show_default=True
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file."
)
@database
def graph(**options: Any) -> None:
    """Draw a workflow as a graph.

    TARGET is as for `run`; with --run it may be left out.
    """
    from ferroflow.cli import picturing

    picturing.graph(**options)


@main.command()
@click.argument("target")
@as_json
def check(**options: Any) -> None:
    """Check what the steps of a workflow do to assets, before it runs.

    TARGET is as for `run`. The exit code is 1 if steps race, or use what another has taken.
    """
    from ferroflow.cli import explaining

    explaining.check(**options)


@main.command()
@click.argument("code", required=False)
@as_json
def explain(**options: Any) -> None:
    """Explain a code such as FF0499: what it means, an example, and ways out.

    Without CODE, list those there are.
    """
    from ferroflow.cli import explaining

    explaining.explain(**options)


nodes_file = click.option(
    "--nodes",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    default=None,
    help="The platform, in YAML or JSON.  [default: the machines that FILE names, or else this one]",
)
recorded_file = click.Path(path_type=Path, dir_okay=False, exists=True)
plan_seconds = click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), default=None, help="How long auto may search."
)


@main.command()
@click.argument("file", type=recorded_file)
@nodes_file
@click.option("--method", default="auto", show_default=True, help="A planner's name; auto tries them all.")
@click.option("--budget", type=click.IntRange(1), default=None, help="How many schedules auto may try.")
@plan_seconds
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--gantt", type=click.Path(path_type=Path, dir_okay=False), help="Draw it: an SVG.")
@click.option("--mermaid", type=click.Path(path_type=Path, dir_okay=False), help="Write it as Mermaid.")
@click.option("--wfformat", type=click.Path(path_type=Path, dir_okay=False), help="Write it as WfFormat.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it as JSON.")
@as_json
def plan(**options: Any) -> None:
    """Plan where and when the tasks of a recorded workflow would run.

    FILE is a WfFormat 1.5 document.
    """
    from ferroflow.cli import planning

    planning.plan(**options)


@main.command()
@click.argument("files", type=recorded_file, nargs=-1, required=True, metavar="FILE...")
@nodes_file
@click.option("--methods", default=None, metavar="NAME,...", help="Planners.  [default: all]")
@plan_seconds
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw the means: an SVG.")
@as_json
def compare(**options: Any) -> None:
    """Compare planners on recorded workflows.

    FILEs are WfFormat 1.5 documents.
    """
    from ferroflow.cli import planning

    planning.compare(**options)


@main.command()
@click.argument("target")
@nodes_file
@click.option(
    "--policy",
    type=click.Choice(get_args(PolicyName)),
    default="upward_rank",
    show_default=True,
    help="How ready steps are ranked.",
)
@click.option("--runs", type=click.IntRange(1), default=100, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The first run's.")
@click.option(
    "--deviation",
    type=click.FloatRange(0),
    default=0.0,
    help="How much the seconds of recorded tasks vary, as a share of them.",
)
@click.option(
    "--duration",
    "durations",
    multiple=True,
    metavar="NAME=SECONDS",
    help="Of a task, or of a step by its id or path; may be repeated.",
)
@click.option(
    "--default", type=click.FloatRange(0), default=None, help="Seconds of all others.  [default: 60]"
)
@click.option(
    "--answer",
    "answers",
    multiple=True,
    metavar="NAME=NUMBER",
    help="Items of an each, rounds of a loop, seconds of a sleep; may be repeated.",
)
@click.option("--failure", type=click.FloatRange(0, 1), default=0.0, help="The share of attempts that fail.")
@click.option("--stragglers", type=click.FloatRange(0, 1), default=0.0, help="The share of slow attempts.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw the makespans: an SVG.")
@click.option("--gantt", type=click.Path(path_type=Path, dir_okay=False), help="Draw the first run: an SVG.")
@click.option(
    "--save", type=click.Path(path_type=Path, dir_okay=False), help="Add the first to this database."
)
@as_json
def simulate(**options: Any) -> None:
    """Simulate runs of a workflow in virtual time.

    TARGET is as for `run`: a definition, FILE.py:NAME, MODULE:NAME, or a recorded execution.
    """
    from ferroflow.cli import simulating

    simulating.run(**options)


@main.command(name="verify-log")
@database
@as_json
def verify_log(**options: Any) -> None:
    """Check every record of every run."""
    from ferroflow.cli import looking

    looking.verify(**options)


@main.command()
def states() -> None:
    """Print the states of runs and steps as Mermaid diagrams."""
    from ferroflow._core import state_diagrams

    click.echo(state_diagrams(), nl=False)
