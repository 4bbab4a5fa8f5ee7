"""The command line: one thin command a capability."""

import click

from ferroflow import __version__


@click.group()
@click.version_option(__version__, prog_name="ferroflow")
def main() -> None:
    """Durable, adaptive workflows."""


@main.command()
def states() -> None:
    """Print the states of runs and steps as Mermaid diagrams."""
    from ferroflow._core import state_diagrams

    click.echo(state_diagrams(), nl=False)
