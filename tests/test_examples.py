"""Every example in the documentation of a public name runs."""

import doctest
import importlib
import logging
import pkgutil

import pytest

import ferroflow
from ferroflow.define import registry

MODULES = [
    name for _, name, _ in pkgutil.walk_packages(ferroflow.__path__, "ferroflow.") if "__main__" not in name
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Examples of different modules may use the same names for their tasks.
    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))
    # One of them asks for a log on the console.
    log = logging.getLogger("ferroflow")
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "level", log.level)
    monkeypatch.setattr(log, "_cache", {})
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in finder.find(module, globs={}):
        # The functions of an example belong to it, as those of a script to the script.
        example.globs["__name__"] = f"example.{example.name}"
        runner.run(example)
    assert runner.failures == 0
