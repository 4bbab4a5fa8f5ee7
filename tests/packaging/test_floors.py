"""The crates depend on each other downwards only, and the kernel stays pure."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

FLOORS: dict[str, set[str]] = {
    "ferroflow-define": set(),
    "ferroflow-engine": {"ferroflow-define"},
    "ferroflow-journal": {"ferroflow-define", "ferroflow-engine"},
    "ferroflow-launcher": set(),
    "ferroflow-live": {
        "ferroflow-define",
        "ferroflow-engine",
        "ferroflow-journal",
        "ferroflow-launcher",
    },
    "ferroflow-plan": {"ferroflow-define", "ferroflow-engine"},
    "ferroflow-bindings": {
        "ferroflow-define",
        "ferroflow-engine",
        "ferroflow-journal",
        "ferroflow-launcher",
        "ferroflow-live",
        "ferroflow-plan",
    },
}
"""What each crate may depend on, of ours."""

PURE = {"ferroflow-define", "ferroflow-engine", "ferroflow-plan"}

IMPURE = {
    "async-std",
    "crossbeam-channel",
    "fastrand",
    "getrandom",
    "libsqlite3-sys",
    "mio",
    "pyo3",
    "rand",
    "reqwest",
    "rusqlite",
    "smol",
    "tempfile",
    "tokio",
    "tokio-postgres",
}
"""Crates for disks, networks, threads, randomness and Python, which the kernel does without."""


@pytest.fixture(scope="module")
def packages() -> dict[str, dict[str, Any]]:
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("cargo is not installed")
    metadata = subprocess.run(
        [cargo, "metadata", "--no-deps", "--format-version", "1"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return {package["name"]: package for package in json.loads(metadata.stdout)["packages"]}


def test_every_crate_has_its_floor(packages: dict[str, dict[str, Any]]) -> None:
    assert set(packages) == set(FLOORS)


@pytest.mark.parametrize("crate", sorted(FLOORS))
def test_a_crate_depends_on_the_floors_below_it(packages: dict[str, dict[str, Any]], crate: str) -> None:
    ours = {
        dependency["name"] for dependency in packages[crate]["dependencies"] if dependency["name"] in FLOORS
    }
    assert ours <= FLOORS[crate]


@pytest.mark.parametrize("crate", sorted(PURE))
def test_the_kernel_reaches_nothing_outside(packages: dict[str, dict[str, Any]], crate: str) -> None:
    needed = {
        dependency["name"] for dependency in packages[crate]["dependencies"] if dependency["kind"] is None
    }
    assert not needed & IMPURE


@pytest.mark.parametrize("crate", sorted(PURE))
def test_the_kernel_forbids_unsafe_code(packages: dict[str, dict[str, Any]], crate: str) -> None:
    source = Path(packages[crate]["manifest_path"]).parent / "src" / "lib.rs"
    assert "#![forbid(unsafe_code)]" in source.read_text(encoding="utf-8")
