"""What a user does first with an installed wheel: the README's program, in several ways.

Run by `check_wheel.py` in a folder of its own: `first_workflow.py PROGRAM WAY`, where PROGRAM holds
the README's program.
"""

import os
import resource
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

FETCHED = Path("fetched")


def imports() -> None:
    """Import the package; say how much processor time that took, in milliseconds."""
    begun = resource.getrusage(resource.RUSAGE_SELF)
    import ferroflow
    from ferroflow import _core

    ended = resource.getrusage(resource.RUSAGE_SELF)
    assert "site-packages" in ferroflow.__file__, ferroflow.__file__
    assert "site-packages" in str(_core.__file__), _core.__file__
    assert ferroflow.__version__ == version("ferroflow")
    assert _core.build_profile == "release", _core.build_profile
    print((ended.ru_utime - begun.ru_utime + ended.ru_stime - begun.ru_stime) * 1e3)


def absent() -> None:
    """An extra that is not installed says what to install."""
    import ferroflow as ff

    Path("some.yaml").write_text("name: some\n")
    said = "nothing"
    try:
        ff.load("some.yaml")
    except ff.DefinitionError as error:
        said = str(error)
    assert "pip install 'ferroflow[yaml]'" in said, said


def crashing(program: str, *, dies: bool) -> None:
    """The README's program is killed in its last step; run again, it goes on from there."""
    definitions, main = program.split("\nwith ff.Engine", 1)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(definitions, names)
    fetch, warmest = names["fetch"].fn, names["warmest"].fn

    def noted(city: str) -> Any:
        with FETCHED.open("a") as file:
            file.write(f"{city}\n")
        return fetch(city)

    def fatal(readings: list[Any]) -> Any:
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return warmest(readings)

    names["fetch"].fn, names["warmest"].fn = noted, fatal
    if dies:
        exec("with ff.Engine" + main, names)
    with names["ff"].Engine("runs.db") as engine:
        (run,) = engine.list()
        print(engine.handle(run.id).result())
    cities = sorted(FETCHED.read_text().split())
    assert cities == ["Lisbon", "Oslo"], f"a finished step ran again: {cities}"


if __name__ == "__main__":
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    match sys.argv[2]:
        case "imports":
            imports()
        case "absent":
            absent()
        case "on a file":
            exec(text, {"__name__": "__main__"})
        case "in memory":
            assert 'ff.Engine("runs.db")' in text
            exec(text.replace('ff.Engine("runs.db")', "ff.Engine()"), {"__name__": "__main__"})
            assert not Path("runs.db").exists()
        case "killed":
            crashing(text, dies=True)
        case "resumed":
            crashing(text, dies=False)
