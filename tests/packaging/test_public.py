"""The public names: complete, documented with examples; and what the documentation shows is so."""

from __future__ import annotations

import builtins
import contextlib
import io
import re
import types
from importlib import metadata
from pathlib import Path

import msgspec
import pytest

import ferroflow
from ferroflow import errors
from ferroflow.define import registry
from tests.packaging import readme

NAMES = [name for name in ferroflow.__all__ if name != "__version__"]


def is_data(found: object) -> bool:
    """Whether a name is a record that only holds what its fields say."""
    return isinstance(found, type) and issubclass(found, (msgspec.Struct, errors.Problem))


def test_the_list_of_public_names_is_sorted_and_complete() -> None:
    assert ferroflow.__all__ == sorted(ferroflow.__all__)
    there = {
        name
        for name, found in vars(ferroflow).items()
        if not name.startswith("_") and not isinstance(found, types.ModuleType)
    }
    assert there == {*NAMES} - {"library"}
    raised = {
        name
        for name, found in vars(errors).items()
        if isinstance(found, type) and found.__module__ == errors.__name__
    }
    assert raised <= {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_documented_with_an_example(name: str) -> None:
    found = getattr(ferroflow, name)
    assert found.__doc__
    if isinstance(found, types.ModuleType) or is_data(found):
        return
    if isinstance(found, type) and issubclass(found, BaseException):
        return
    documents = [found.__doc__, *(vars(found).values() if isinstance(found, type) else ())]
    texts = [text if isinstance(text, str) else getattr(text, "__doc__", None) or "" for text in documents]
    assert any(">>>" in text for text in texts), f"the docstring of {name} has no example"


@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(getattr(ferroflow, name), type)])
def test_public_methods_are_documented(name: str) -> None:
    found = getattr(ferroflow, name)
    for attribute, value in vars(found).items():
        if not attribute.startswith("_") and (callable(value) or isinstance(value, property | classmethod)):
            assert getattr(value, "__doc__", None), f"{name}.{attribute} has no docstring"


def test_the_tree_of_errors_is_the_one_that_is_documented() -> None:
    assert errors.__doc__ is not None
    documented: dict[str, type | None] = {}
    above: list[type] = [Exception]
    for line in errors.__doc__.split("::")[1].splitlines():
        if not (found := re.match(r"    ([│├└─ ]*)(\w+)(?: \((\w+)\))?", line)):
            continue
        depth = len(found[1]) // 4
        documented[found[2]] = getattr(builtins, found[3]) if found[3] else above[depth]
        above[depth + 1 :] = [getattr(errors, found[2])]
    real = {
        name: found.__base__
        for name, found in vars(errors).items()
        if isinstance(found, type)
        and issubclass(found, BaseException)
        and found.__module__ == errors.__name__
    }
    assert documented == real


@pytest.mark.parametrize("number", range(len(readme.programs())))
def test_the_programs_in_the_readme_run(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))
    monkeypatch.chdir(tmp_path)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(readme.programs()[number], {"__name__": f"readme_{number}"})
    assert said.getvalue()


def test_the_executor_of_the_documentation_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))
    page = (Path(__file__).parents[2] / "docs" / "executors.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    body = re.search(r"^class .*?(?=^\S)", program, re.M | re.S)
    assert body is not None
    assert body[0].count("\n") <= 30
    exec(program, {"__name__": "executors_page"})


def test_at_most_six_dependencies_are_required() -> None:
    required = [need for need in metadata.requires("ferroflow") or () if "extra ==" not in need]
    assert 0 < len(required) <= 6
