"""`check` and `explain`: what is found about the accesses of a workflow, and what it means."""

from __future__ import annotations

import re
import sys

import click

from ferroflow.cli.ending import say

WIDEST = 100


def check(target: str, *, as_json: bool) -> None:
    """Print what is found about a workflow; exit with 1 if it may not run."""
    from ferroflow.cli import running

    report = running.workflow(target).check()
    if as_json:
        say(report.to_dict())
    else:
        click.echo(report.render())
    if not report:
        raise click.exceptions.Exit(1)


def explain(code: str | None, *, as_json: bool) -> None:
    """Print the page on a code; without one, what there are pages on."""
    from ferroflow.define import explaining

    if code is None:
        titles = explaining.titles()
        if as_json:
            say(titles)
        else:
            for known, title in titles.items():
                click.echo(f"{click.style(known, bold=True)}  {title}")
        return
    digits = re.fullmatch(r"(?:FF)?(\d{1,4})", code.strip().upper())
    name = f"FF{digits[1]:0>4}" if digits else code
    page = explaining.page(name)
    if page is None:
        raise click.UsageError(
            f"there is no page on {code!r}; there is one on {', '.join(explaining.titles())}"
        )
    if as_json:
        say({"code": name, "page": page})
    elif sys.stdout.isatty():
        _show(page)
    else:
        click.echo(page, nl=False)


def _show(page: str) -> None:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.markdown import Heading, Markdown
    from rich.text import Text

    class Left(Heading):
        """A heading where one begins to read."""

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            self.text.justify = "left"
            yield from () if self.tag == "h1" else (Text(),)
            yield self.text

    class Page(Markdown):
        elements = Markdown.elements | {"heading_open": Left}

    console = Console()
    console.print(Page(page, code_theme="ansi_dark"), width=min(console.width, WIDEST))
