"""What surrounds a body that runs in a process of its own: interpreter, packages, variables, directory."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ferroflow.errors import FerroflowError


@dataclass(frozen=True, slots=True)
class Launch:
    """How a process is started.

    Parameters
    ----------
    args
        The program and its arguments.
    variables
        All environment variables that it gets.
    directory
        Where it starts; None for the engine's working directory.

    Examples
    --------
    >>> import ferroflow as ff
    >>> ff.Environment(directory="/tmp", inherit=False).launch(["ls"], {"LANG": "C"})
    Launch(args=['ls'], variables={'LANG': 'C'}, directory='/tmp')
    """

    args: Sequence[str | bytes]
    variables: dict[str, str]
    directory: str | None


@dataclass(frozen=True)
class Environment:
    """The environment of tasks that run in processes of their own, and of commands.

    Everything that starts a process for a step asks `launch` how. A subclass that overrides it can
    put the process elsewhere, into a container, say.

    Parameters
    ----------
    python
        The interpreter of tasks with `executor="process"`. It has to have the same version of ferroflow,
        and the packages that the tasks need: of those of the engine's interpreter it has none.
        Default: the engine's.
    packages
        Requirements as pip takes them. They are installed once, into a folder of their own, and go
        before what the interpreter has.
    variables
        Environment variables.
    directory
        The working directory.
    inherit
        Whether the process also gets the engine's own variables: all, none, or those named.
    pip
        Further arguments for pip, e.g. `["--index-url", ...]`.

    Examples
    --------
    >>> import ferroflow as ff
    >>> plain = ff.Environment(variables={"LANG": "C"}, inherit=["PATH"])
    >>> @ff.command(environment=plain)
    ... def language() -> str:
    ...     return "echo $LANG"
    >>> @ff.workflow
    ... def flow():
    ...     return language()
    >>> with ff.Engine() as engine:
    ...     engine.run(flow)
    'C'
    """

    python: str | os.PathLike[str] | None = None
    packages: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    directory: str | os.PathLike[str] | None = None
    inherit: bool | Sequence[str] = True
    pip: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, value in self.variables.items():
            if not name or "=" in name or "\0" in name + value:
                raise ValueError(f"{name!r} can't be an environment variable of the value {value!r}")

    def interpreter(self) -> str:
        """Return the path of the Python interpreter."""
        return os.fspath(self.python) if self.python is not None else sys.executable

    def launch(self, args: Sequence[str | bytes], variables: Mapping[str, str] | None = None) -> Launch:
        """Return how a process is started in this environment.

        Parameters
        ----------
        args
            The program and its arguments.
        variables
            Further environment variables; they go before all others.
        """
        if self.inherit is True:
            found = dict(os.environ)
        else:
            found = {name: os.environ[name] for name in self.inherit or () if name in os.environ}
        found.update(self.variables)
        if self.packages:
            before = found.get("PYTHONPATH")
            folder = str(self._installed())
            found["PYTHONPATH"] = folder if not before else f"{folder}{os.pathsep}{before}"
        found.update(variables or {})
        directory = None if self.directory is None else os.fspath(self.directory)
        return Launch(args, found, directory)

    def _installed(self) -> Path:
        """Return the folder with the packages, installed when they are first asked for."""
        import hashlib
        import shutil
        import subprocess
        import tempfile

        wanted = [self.interpreter(), *sorted(self.packages), *self.pip]
        digest = hashlib.sha256("\0".join(wanted).encode()).hexdigest()[:32]
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ferroflow" / "packages"
        folder = cache / digest
        if folder.is_dir():
            return folder
        cache.mkdir(parents=True, exist_ok=True)
        # Made beside and renamed when it is whole: who comes meanwhile makes one too, and one of them stays.
        made = Path(tempfile.mkdtemp(prefix=f".{digest}-", dir=cache))
        pip = [self.interpreter(), "-m", "pip", "install", "--quiet", "--no-input", "--target", str(made)]
        wanted = [*pip, *self.pip, *self.packages]
        done = subprocess.run(wanted, capture_output=True, text=True, check=False)  # noqa: S603 - as asked
        if done.returncode:
            shutil.rmtree(made, ignore_errors=True)
            said = (done.stderr or done.stdout).strip()[-2000:]
            raise FerroflowError(f"pip could not install {', '.join(self.packages)}: {said}")
        try:
            made.rename(folder)
        except OSError:
            shutil.rmtree(made, ignore_errors=True)
            if not folder.is_dir():
                raise
        return folder
