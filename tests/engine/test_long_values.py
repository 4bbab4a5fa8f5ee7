"""Values that are long: they are copied as little as can be, and nobody sees what another writes."""

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import ferroflow as ff
from ferroflow import _core
from ferroflow.engine import values
from ferroflow.engine.values import Codec
from tests.engine.long import MIB, PLACE, files, is_mapped, long, old_decode, old_encode, same


def order(array: Any, how: str) -> Any:
    match how:
        case "fortran":
            return np.asfortranarray(array)
        case "turned":
            return array.T
        case "gaps" if array.ndim:
            return array[::2]
    return array


arrays = st.builds(
    order,
    hnp.arrays(
        st.one_of(
            hnp.boolean_dtypes(),
            hnp.integer_dtypes(endianness="?"),
            hnp.floating_dtypes(endianness="?"),
            hnp.complex_number_dtypes(),
            hnp.datetime64_dtypes(),
            hnp.timedelta64_dtypes(),
        ),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6),
    ),
    st.sampled_from(["as it is", "fortran", "turned", "gaps"]),
)
tables = st.lists(st.integers(-9, 9), max_size=50).map(
    lambda rows: pa.table({"n": rows, "f": [0.5] * len(rows)})
)
trees = st.recursive(
    st.one_of(
        arrays,
        tables,
        tables.map(lambda table: table.to_pandas()),
        st.lists(st.floats(-1, 1), max_size=50).map(lambda rows: pd.Series(rows, name="s", dtype=float)),
        st.binary(max_size=300),
        st.none() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=40),
    ),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=20), inner, max_size=5),
    max_leaves=12,
)


@given(value=trees, least=st.sampled_from([1, 50, 200]))
def test_what_stands_apart_comes_back_as_it_did(value: Any, least: int) -> None:
    """Whatever is taken for long, the recorded bytes mean what they have always meant."""
    codec = Codec()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "_LONG", least)
        packed = codec.pack(value)
        plain = bytes(memoryview(packed))
        expected = old_decode(old_encode(value))
        assert same(old_decode(plain), expected)
        assert same(codec.decode(plain), expected)
        assert same(codec.decode(old_encode(value)), expected)
        if isinstance(packed, _core.Bytes):
            assert same(codec.decode_with(PLACE, [packed]), expected)
    assert codec.encode(value) == old_encode(value)


@pytest.mark.parametrize(
    "array",
    [
        long(),
        long().reshape(2, -1, 4),
        np.asfortranarray(long().reshape(1024, -1)),
        long(4 * MIB)[::2],
        np.arange(MIB, dtype=">f4"),
        np.arange(MIB).astype("datetime64[s]"),
        np.ones(MIB, bool),
        np.ones(MIB // 8, complex),
        np.ones((MIB,) + 20 * (1,), np.int8),
    ],
    ids=lambda array: f"{array.dtype}-{array.ndim}",
)
def test_a_long_array_is_mapped_not_copied(array: Any) -> None:
    codec = Codec()
    # Where the second one lies depends on what stands before it.
    for before in range(9):
        value = {"x" * before: [array, array], "n": before}
        packed = codec.pack(value)
        assert isinstance(packed, _core.Bytes)
        found = codec.decode_with(PLACE, [packed])
        assert same(found, old_decode(old_encode(value)))
        assert same(old_decode(bytes(memoryview(packed))), found)
        first, second = found["x" * before]
        assert first.ctypes.data % 64 == 0
        assert is_mapped(first)
        assert is_mapped(second) or array.ndim > 15
        assert first.flags.aligned
        assert second.flags.aligned
        # What one writes is seen by nobody else, nor by who decodes it next.
        first[...] = 0
        assert same(codec.decode_with(PLACE, [packed]), old_decode(old_encode(value)))
        assert second.any()


def test_what_is_too_short_for_a_file_is_copied() -> None:
    codec = Codec()
    packed = codec.pack(long(MIB // 2))
    assert isinstance(packed, _core.Bytes)
    first, other = (codec.decode_with(PLACE, [packed]) for _ in range(2))
    first[...] = 0
    assert same(other, long(MIB // 2))
    assert not is_mapped(other)
    assert files() == 0
    # Once it is passed on, it is in a file all the same.
    assert _core.Bytes.open(packed.fileno(), packed.offset, len(packed)).private(memoryview(b"")) is None
    assert files() == 1


def test_long_tables_and_texts_and_bytes() -> None:
    codec = Codec()
    table = pa.table({"n": long(), "s": ["x"] * (MIB // 4)})
    for value in (
        table,
        [1, table],
        table.to_pandas(),
        {"a": long(), "s": pd.Series(long(), name="a")},
        bytes(2 * MIB),
        bytearray(2 * MIB),
        "x" * 2 * MIB,
        [bytes(MIB), long()],
    ):
        packed = codec.pack(value)
        expected = codec.decode(codec.encode(value))
        assert same(old_decode(bytes(memoryview(packed))), expected)
        if isinstance(packed, _core.Bytes):
            assert same(codec.decode_with(PLACE, [packed]), expected)


def test_what_changes_after_it_was_returned_was_recorded_before() -> None:
    array = long()
    packed = Codec().pack(array)
    array[...] = 0
    assert same(Codec().decode_with(PLACE, [packed]), long())  # type: ignore[list-item]
    with pytest.raises(TypeError, match="read-only"):
        memoryview(packed)[0] = 1


# ------------------------------------------------------------------------------ through an engine


@ff.task(name="l.same")
def passed(value: Any) -> Any:
    return value


@ff.task(name="l.asame")
async def apassed(value: Any) -> Any:
    return value


@ff.task(name="l.spoil")
def spoil(value: Any) -> int:
    array = value["a"] if isinstance(value, dict) else value
    total = int(array.sum())
    array[...] = 0
    return total


@pytest.fixture(params=["memory", "relaxed", "strict"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ff.Engine]:
    path = None if request.param == "memory" else tmp_path / "runs.db"
    with ff.Engine(path, durability=request.param) as made:
        yield made


def test_nobody_sees_what_another_writes(engine: ff.Engine) -> None:
    @ff.workflow
    def flow(value: Any) -> Any:
        one = passed(value)
        spoilt = [spoil(one), spoil(value), spoil(one["a"])]
        item = ff.each([one, one], spoil)
        again = passed.options(after=[*spoilt, item])(one)
        return {"totals": spoilt, "items": item, "again": apassed(again), "one": one, "value": value}

    value = {"a": long(), "n": [1, 2]}
    total = int(long().sum())
    found: Any = engine.run(flow, value)
    expected = {"totals": 3 * [total], "items": 2 * [total], "again": value, "one": value, "value": value}
    assert same(found, expected)
    for array in (found["again"]["a"], found["one"]["a"]):
        array[...] = 0
    assert same(found["value"]["a"], long())


def test_long_values_go_wherever_short_ones_go(engine: ff.Engine) -> None:
    """Loops, items, sub-workflows, signals, variables, expressions, what a body asks for."""

    @ff.task(name="l.look")
    def look(value: Any) -> list[int]:
        here = ff.current()
        around = [here.parameters["value"], here.inputs["value"], *here.upstream.values()]
        return [int(it.sum()) for it in (value, *around)]

    @ff.workflow
    def inner(value: Any) -> Any:
        return passed(value)

    @ff.workflow
    def flow(value: Any, yes: bool = True) -> Any:
        sent = ff.signal("go")
        first = passed(value)
        return {
            "items": ff.each([first, sent, value], passed),
            "inner": inner(first),
            "second": sent[1],
            "chosen": ff.choose([("input.yes", lambda: apassed(first))], lambda: first),
            "look": look(first),
        }

    value, other = long(), long(seed=1)
    handle = engine.start(flow, value)
    handle.signal("go", [other, 1, 2])
    found: Any = handle.result(60)
    total = int(value.sum())
    assert same(found, {
        "items": [value, [other, 1, 2], value],
        "inner": value,
        "second": 1,
        "chosen": value,
        "look": 4 * [total],
    })  # fmt: skip
    view = handle.view(values=True)
    assert view.input == {"value": f"<array of <i8 {[len(value)]}>", "yes": True}


@ff.task(name="l.shared", share=True)
def shared() -> Any:
    return {"a": long(), "n": [4]}


class Odd:
    def __init__(self) -> None:
        self.data = long()


@ff.task(name="l.odd", pickle=True)
def odd() -> Any:
    return Odd()


def test_what_is_shared_or_pickled_may_be_long(engine: ff.Engine) -> None:
    seen: list[Any] = []

    @ff.task(name="l.see")
    def see(value: Any) -> int:
        seen.append(value)
        return int((value.data if isinstance(value, Odd) else value["a"]).sum())

    @ff.workflow
    def flow() -> Any:
        one, other = shared(), odd()
        return [see(one), see(one), see(other), one["n"][0]]

    assert engine.run(flow) == 3 * [int(long().sum())] + [4]
    assert sum(one is other for one in seen for other in seen) == 5


def test_recorded_values_are_read_by_later_engines_and_as_they_always_were(tmp_path: Path) -> None:
    @ff.workflow
    def flow(value: Any) -> Any:
        return passed.options(after=[ff.signal("go")])(passed(value))

    path = tmp_path / "runs.db"
    value = {"n": 1, "a": [long(), long(MIB // 4, seed=1)]}
    with ff.Engine(path) as engine:
        handle = engine.start(flow, value)
        while handle.progress().ended < 1:
            time.sleep(0.01)
    blobs = [file.read_bytes() for file in (tmp_path / "runs.db.blobs").rglob("*") if file.is_file()]
    assert sorted(len(old_decode(blob)) for blob in blobs) == [1, 2]
    assert all(same(old_decode(blob).get("value", old_decode(blob)), value) for blob in blobs)
    # What was recorded before long values stood apart is read in the same way.
    with ff.Engine(path) as engine, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Codec, "pack", lambda _, value: old_encode(value))
        engine.handle(handle.id).signal("go")
        assert same(engine.handle(handle.id).result(60), value)
        assert same(engine.run(same_again, value), value)


@ff.workflow
def same_again(value: Any) -> Any:
    return passed(passed(value))


def test_the_limit_counts_all_bytes() -> None:
    @ff.task(name="l.make")
    def make() -> Any:
        return long(4 * MIB)

    @ff.workflow
    def too_long() -> Any:
        return make()

    @ff.workflow
    def doubled(value: Any) -> Any:
        return passed([value, value])

    with ff.Engine(max_value="3MiB") as engine:
        assert same(engine.run(same_again, long()), long())
        with pytest.raises(ff.RunFailed, match=r"more than the 3145728 bytes that are allowed"):
            engine.run(doubled, long())
        with pytest.raises(ff.RunFailed, match=r"the result has 4194\d\d\d bytes and 3145728 are allowed"):
            engine.run(too_long)


def test_the_place_of_a_part_is_nobody_elses() -> None:
    @ff.task(name="l.forge")
    def forge() -> Any:
        return [msgspec.msgpack.Ext(7, bytes(4)), long()]

    @ff.workflow
    def flow() -> Any:
        return forge()

    @ff.task(name="l.forge_short")
    def forge_short(place: bytes) -> Any:
        return msgspec.Raw(place)

    @ff.workflow
    def beside(place: bytes, value: Any) -> Any:
        return passed([forge_short(place), value])

    with ff.Engine() as engine:
        with pytest.raises(ff.RunFailed, match=r"extension type 7 is the engine's own"):
            engine.run(flow)
        for forged in (PLACE, b"\xd6\x07\0\0\0\1", b"\xd4\x07\0"):
            with pytest.raises(ff.RunFailed, match=r"extension type 7"):
                engine.run(beside, forged, long())


def test_few_files_are_open_and_none_in_the_end() -> None:
    @ff.task(name="l.some")
    def some(n: int) -> Any:
        return long(MIB, seed=n)

    @ff.workflow
    def flow(items: list[int]) -> Any:
        made = ff.each(items, some)
        return ff.each(made, spoil)

    gc.collect()
    before = files()
    most = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, files())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with ff.Engine(max_value="1GiB") as engine:
        found: Any = engine.run(flow, [*range(300)])
        done.set()
        watcher.join()
        assert found == [int(long(MIB, seed=n).sum()) for n in range(300)]
        # And a few that are about to be closed, or have just been made.
        assert 200 < most <= before + 256 + 8
    del engine
    gc.collect()
    assert files() <= before


CHILD = """
import os, sys
from ferroflow import _core
from ferroflow.engine.values import Codec
fd, offset, length = map(int, sys.argv[1:])
part = _core.Bytes.open(fd, offset, length)
array = Codec().decode_with(b"\\xd6\\x07\\0\\0\\0\\0", [part])
print(int(array.sum()))
array[...] = 0
try:
    os.pwrite(fd, b"x", 0)
except OSError as error:
    print("refused")
"""


def test_another_process_is_given_the_descriptor() -> None:
    for array in (long(), long(MIB // 2)):
        packed = Codec().pack(array)
        assert isinstance(packed, _core.Bytes)
        arguments = [str(it) for it in (packed.fileno(), packed.offset, len(packed))]
        child = subprocess.run(
            [sys.executable, "-c", CHILD, *arguments],
            pass_fds=[packed.fileno()],
            capture_output=True,
            text=True,
            check=False,
        )
        assert child.stdout.split() == [str(array.sum()), "refused"], child.stderr
        assert same(Codec().decode_with(PLACE, [packed]), array)


def test_only_sealed_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(bytes(10))
    with (tmp_path / "plain").open("rb") as plain, pytest.raises(OSError, match="Invalid argument"):
        _core.Bytes.open(plain.fileno(), 0, 10)
    unsealed = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    try:
        with pytest.raises(OSError, match="not sealed"):
            _core.Bytes.open(unsealed, 0, 0)
    finally:
        os.close(unsealed)
    with pytest.raises(ValueError, match="no descriptor"):
        _core.Bytes.open(-1, 0, 0)


MUCH = """
import pathlib, sys, tempfile, time
import numpy as np
import ferroflow as ff

def peak():
    return int(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

@ff.task
def add(array):
    array[0] += 1
    return array

@ff.workflow
def flow(array):
    return add(array)

with tempfile.TemporaryDirectory() as folder:
    memory = sys.argv[1] == "memory"
    path = None if memory else pathlib.Path(folder) / "runs.db"
    with ff.Engine(path, durability=sys.argv[1], max_value="200MB") as engine:
        engine.run(flow, np.zeros(1 << 18))
        array = np.ones(12_500_000)
        copied = min(timed for _ in range(3) for begun in [time.perf_counter()] for _ in [array.copy()]
                     for timed in [time.perf_counter() - begun])
        before = peak()
        begun = time.perf_counter()
        found = engine.run(flow, array)
        took = time.perf_counter() - begun
        assert found[0] == 2 and found[1:].all()
        # Pages of files of memory count there only where they were looked at.
        files = {}
        for file in pathlib.Path("/proc/self/fd").iterdir():
            if file.is_symlink() and "memfd" in str(file.readlink()):
                files[file.stat().st_ino] = file.stat().st_blocks * 512
        kept = sum(files.values()) / (1 << 20)
        more = peak() - before
        print(f"{took / copied:.1f} copies' time, {more:.0f} MB more at most, {kept:.0f} MB in files")
        print(more + kept)
"""


@pytest.mark.parametrize("durability", ["memory", "relaxed"])
def test_what_100_mb_through_a_step_and_back_need(durability: str) -> None:
    """The input and the result, each once, and a page that was written to; not ten copies."""
    done = subprocess.run(
        [sys.executable, "-c", MUCH, durability], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told, more = done.stdout.splitlines()
    print(durability, told)
    assert float(more) < 400
