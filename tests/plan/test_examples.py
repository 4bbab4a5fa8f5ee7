"""The examples in docstrings of the planners are so."""

import doctest
import importlib
import pkgutil

import pytest

import ferroflow.plan

MODULES = [
    "ferroflow.plan",
    *(it.name for it in pkgutil.iter_modules(ferroflow.plan.__path__, "ferroflow.plan.")),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", ferroflow.plan.__all__)
def test_public_names_are_documented(name: str) -> None:
    assert getattr(ferroflow.plan, name).__doc__
