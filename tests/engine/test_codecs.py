"""Codecs that installed packages bring for types of their own."""

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from ferroflow.engine import codecs
from ferroflow.engine.values import Codec, shown

MODULE = """
from fractions import Fraction

class Fractions:
    name, type = "fraction", Fraction
    def encode(self, value):
        return str(value).encode()
    def decode(self, data):
        return Fraction(data.decode())
"""


def installed(folder: Path, *points: str) -> None:
    """Lay a package out as pip does."""
    (folder / "fractional.py").write_text(MODULE)
    info = folder / "fractional-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fractional\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ferroflow.codecs]\n" + "\n".join(points) + "\n")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    installed(tmp_path, "fraction = fractional:Fractions")
    codecs.known.cache_clear()
    yield tmp_path
    codecs.known.cache_clear()
    sys.modules.pop("fractional", None)


@ff.task(name="codec.third")
def third(n: int) -> Any:
    return {"of": [Fraction(n, 3)]}


@ff.task(name="codec.twice")
def twice(value: Any) -> Any:
    return 2 * value["of"][0]


@ff.workflow
def flow(n: int) -> Any:
    return twice(third(n))


def test_values_of_the_package_s_type_are_recorded_and_come_back(package: Path, tmp_path: Path) -> None:
    with ff.Engine(tmp_path / "runs.db") as engine:
        assert engine.run(flow, 1) == Fraction(2, 3)


def test_without_the_package_such_a_value_is_refused_and_not_read(package: Path) -> None:
    codec = Codec()
    packed = codec.encode(Fraction(1, 3))
    assert codec.decode(packed) == Fraction(1, 3)
    assert "extension 8" in shown(packed)
    installed(package)
    codecs.known.cache_clear()
    with pytest.raises(ff.FerroflowError, match="the codec 'fraction', which no installed package"):
        codec.decode(packed)
    with ff.Engine() as engine, pytest.raises(ff.RunFailed) as caught:
        engine.run(flow, 1)
    assert caught.value.code == "UNSERIALISABLE_RESULT"


def test_two_codecs_of_a_name_are_an_error(package: Path) -> None:
    installed(package, "fraction = fractional:Fractions", "other = fractional:Fractions")
    codecs.known.cache_clear()
    with pytest.raises(ff.FerroflowError, match="two installed packages"):
        Codec().encode(Fraction(1, 3))
