"""What tasks may give and take: arrays, tables, shared values, pickles."""

import contextlib
import dataclasses
import datetime
import decimal
import enum
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ferroflow as ff
from ferroflow.engine.values import Codec


@pytest.fixture(params=["memory", "sqlite"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ff.Engine]:
    with ff.Engine(None if request.param == "memory" else tmp_path / "runs.db") as made:
        yield made


@ff.task(name="v.same")
def same(value: Any) -> Any:
    return value


@ff.workflow
def through(value: Any) -> Any:
    return same(same(value))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int32).reshape(2, 3),
        np.array(1.5),
        np.zeros((0, 4)),
        np.array([True, False]),
        np.arange(12.0).reshape(3, 4).T[::2],
        np.array(["2026-01-02", "NaT"], dtype="datetime64[s]"),
        np.array([1 + 2j]),
        np.arange(3, dtype=">f4"),
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_arrays_come_back_as_they_were(engine: ff.Engine, array: Any) -> None:
    found: Any = engine.run(through, {"a": [array]})["a"][0]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    if found.size:
        found[...] = found.flat[0]  # each consumer may write to its own


def test_tables_and_frames_come_back_as_they_were(engine: ff.Engine) -> None:
    table = pa.table({"n": [1, 2, None], "s": ["a", "b", "c"]})
    assert engine.run(through, table).equals(table)
    frame = pd.DataFrame(
        {"x": [1.5, 2.5], "when": pd.to_datetime(["2026-01-01", "2026-01-02"])}, index=[7, 9]
    )
    pd.testing.assert_frame_equal(engine.run(through, frame), frame)
    series = pd.Series([1, 2], name="count")
    pd.testing.assert_series_equal(engine.run(through, series), series)


def test_scalars_of_numpy_are_numbers(engine: ff.Engine) -> None:
    assert engine.run(through, [np.float32(0.5), np.int64(3), np.bool_(True)]) == [0.5, 3, True]


def test_arrays_in_dataclasses(engine: ff.Engine) -> None:
    @dataclasses.dataclass
    class Part:
        name: str
        data: Any

    @ff.task(name="v.part")
    def part() -> Any:
        return Part("x", np.arange(3))

    @ff.task(name="v.take")
    def take(part: Any) -> int:
        assert isinstance(part, Part)
        return int(part.data.sum())

    take.fn.__annotations__["part"] = Part

    @ff.workflow
    def flow() -> Any:
        return take(part())

    assert engine.run(flow) == 3


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int


class Item(pydantic.BaseModel):
    name: str
    price: decimal.Decimal = pydantic.Field(gt=0, alias="cost")
    bought: datetime.datetime | None = None


class Order(pydantic.BaseModel):
    items: list[Item]


@ff.task(name="v.order")
def order(items: list[Item]) -> Order:
    assert all(isinstance(item, Item) for item in items)
    return Order(items=items)


@ff.task(name="v.sum")
def total(order: Order, most: Order | None) -> str:
    assert isinstance(order, Order)
    assert most is None
    assert ff.current().inputs.require("items", list[Item]) == order.items
    return str(sum(item.price for item in order.items))


@ff.task(name="v.kinds")
def kinds(
    points: list[Point], named: dict[str, Colour], maybe: Point | None, either: Point | Item, plain: list[int]
) -> list[str]:
    parts = (points[0], named["a"], maybe, either, plain)
    return [type(part).__name__ for part in parts]


def test_what_an_annotation_names_is_made_again(engine: ff.Engine) -> None:
    point = Point(1)

    @ff.workflow
    def flow() -> Any:
        return kinds([point], {"a": Colour.RED}, point, point, [1])

    assert engine.run(flow) == ["Point", "Colour", "Point", "dict", "list"]


def test_pydantic_models_are_values_and_are_validated(engine: ff.Engine) -> None:
    item = Item(
        name="pen", cost=decimal.Decimal("1.50"), bought=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    )

    @ff.workflow
    def shop(items: list[Item]) -> Any:
        return total(order(items), None)

    assert engine.run(shop, [item, item]) == "3.00"
    with pytest.raises(ff.RunFailed, match=r"greater than 0"):
        engine.run(shop, [{"name": "pen", "cost": -1}])

    @ff.workflow
    def fixed() -> Any:
        return order([item])

    assert Order.model_validate(engine.run(fixed)) == Order(items=[item])


def test_what_can_not_be_recorded_says_where_and_what_helps(engine: ff.Engine) -> None:
    for wrong, said in (
        ({"a": [np.array([object()])]}, r"inputs\['value'\]\['a'\]\[0\].*an array of object"),
        ([{1, 2}, lambda: 1], r"inputs\['value'\]\[1\] is a builtins.function"),
    ):
        with pytest.raises(ff.InvalidInput, match=said):
            engine.start(through, wrong)
    handle = engine.start(ff.load({"name": "w", "term": {"signal": "go"}}))
    with pytest.raises(ff.InvalidInput, match="can't be recorded"):
        handle.signal("go", object())


def test_views_and_events_show_values_as_text(engine: ff.Engine) -> None:
    handle = engine.start(through, np.zeros((2, 2)))
    handle.result()
    shown = handle.view(values=True)
    assert shown.input == {"value": "<array of <f8 [2, 2]>"}
    assert any("<array of" in str(event) for event in handle.events())


# ------------------------------------------------------------------------------------ sharing


def test_consumers_have_objects_of_their_own_unless_they_share(engine: ff.Engine) -> None:
    seen: list[Any] = []

    @ff.task(name="v.make")
    def make() -> Any:
        return {"rows": [1, 2, 3]}

    @ff.task(name="v.look")
    def look(value: Any) -> int:
        seen.append(value)
        return len(value["rows"])

    @ff.workflow
    def flow(share: bool) -> Any:
        made = make.options(share=True)()
        other = make()
        chosen = ff.choose(
            [("input.share", lambda: [look(made), look(made)])], lambda: [look(other), look(other)]
        )
        # It can be looked into like any other value.
        return [chosen, made["rows"][1], ff.expr("size(m.rows)", m=made), ff.each(made["rows"], same), made]

    expected = [[3, 3], 2, 3, [1, 2, 3], {"rows": [1, 2, 3]}]
    assert engine.run(flow, share=False) == expected
    assert seen[0] is not seen[1]
    seen.clear()
    assert engine.run(flow, share=True) == expected
    assert seen[0] is seen[1]


def test_a_list_that_is_shared_can_be_gone_through(engine: ff.Engine) -> None:
    @ff.task(name="v.list", share=True)
    def rows() -> list[int]:
        return [1, 2]

    @ff.task(name="v.true", share=True)
    def true() -> bool:
        return True

    @ff.workflow
    def flow() -> Any:
        return [ff.each(rows(), same), ff.choose([(true(), lambda: "yes")], lambda: "no")]

    assert engine.run(flow) == [[1, 2], "yes"]


# ------------------------------------------------------------------------------------- pickles


class Odd:
    def __init__(self, n: int) -> None:
        self.n = n


@ff.task(name="v.odd", pickle=True)
def odd(n: int) -> Any:
    return Odd(n)


@ff.task(name="v.aodd", pickle=True)
async def aodd(n: int) -> Any:
    return Odd(n)


@ff.task(name="v.read")
def read(*odds: Any) -> int:
    return sum(it.n for it in odds)


def test_pickles_are_read_where_a_task_asked_for_them(tmp_path: Path) -> None:
    @ff.workflow
    def flow() -> Any:
        a, b = odd(3), aodd(4)
        first, go = read(a, b), ff.signal("go")
        return [first, go, read.options(after=[go])(a, b)]

    with ff.Engine(tmp_path / "runs.db") as engine:
        handle = engine.start(flow)
        # All but the second reading, which another engine does.
        while sum(step.state == "completed" for step in handle.steps()) < 3:
            time.sleep(0.002)
        run = handle.id
    key = tmp_path / "runs.db.key"
    assert key.stat().st_mode & 0o777 == 0o600
    with ff.Engine(tmp_path / "runs.db") as engine:
        engine.handle(run).signal("go")
        assert engine.handle(run).result(5) == [7, None, 7]


def test_no_other_pickle_is_ever_read(tmp_path: Path) -> None:
    """Not one of another database, not one without a signature, not one under a changed key."""
    ours, theirs = Codec(tmp_path / "a.db"), Codec(tmp_path / "b.db")
    packed = ours.encode({"x": ours.pickled(Odd(3))})
    assert ours.decode(packed)["x"].n == 3
    assert Codec(tmp_path / "a.db").decode(packed)["x"].n == 3
    with pytest.raises(ff.FerroflowError, match="not made by its engines"):
        theirs.decode(packed)
    for forged in (pickle.dumps(Odd(3)), bytes(32) + pickle.dumps(Odd(3)), b""):
        with pytest.raises(ff.FerroflowError, match="not made by its engines"):
            ours.decode(msgspec.msgpack.encode(msgspec.msgpack.Ext(6, forged)))
    (tmp_path / "a.db.key").write_bytes(b"short")
    with pytest.raises(ff.FerroflowError, match=r"a\.db\.key is damaged"):
        Codec(tmp_path / "a.db").decode(packed)


@given(code=st.integers(-128, 127), data=st.binary(max_size=60))
def test_hostile_extensions_end_in_an_error(code: int, data: bytes) -> None:
    packed = msgspec.msgpack.encode(msgspec.msgpack.Ext(code, data))
    with contextlib.suppress(ValueError, TypeError, OSError, ff.FerroflowError, pa.ArrowInvalid):
        Codec().decode(packed)
