"""The system task that starts programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ferroflow.define.command import Command
from ferroflow.define.command import command as decorated
from ferroflow.errors import Fail

_Name = Annotated[str, msgspec.Meta(min_length=1)]


@decorated(output="all", cpu=0.5, memory="50MB", resources={"disk": "10MB"})
def command(
    args: Sequence[str | float] | None = None,
    shell: str | None = None,
    stdin: str | bytes | None = None,
    stdin_file: _Name | None = None,
    stdout_file: _Name | None = None,
    stderr_file: _Name | None = None,
    directory: str | None = None,
    variables: Mapping[str, str] | None = None,
    output: Literal["text", "lines", "json", "bytes", "all"] | None = None,
    ok: Sequence[int] | None = None,
    max_output: int | str | None = None,
) -> Command:
    """Start a program: {"code", "stdout", "stderr"}, or what `output` says.

    Give `args`, the program and its arguments, or `shell`, a text for `/bin/sh`. `stdin` is what it reads,
    or `stdin_file` where that is; standard output and standard error may go into files.
    """
    if (args is None) == (shell is None):
        raise Fail("INVALID_INPUT", "give args, a list, or shell, a text; and not both")
    if stdin is not None and stdin_file is not None:
        raise Fail("INVALID_INPUT", "give stdin or stdin_file, and not both")
    return Command(
        [*args] if args is not None else shell or "",
        stdin=stdin if stdin_file is None else Path(stdin_file),
        stdout=stdout_file,
        stderr=stderr_file,
        variables=variables,
        directory=directory,
        output=output,
        ok=ok,
        max_output=max_output,
    )
