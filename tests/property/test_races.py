"""The checker finds in random definitions what an oracle finds that looks at every execution."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, reject, settings

from ferroflow import _core
from tests.property import accesses, race_cases, races
from tests.property.race_cases import Case, Json

BOUNDED = settings(
    max_examples=1_000,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
SOAK = settings(BOUNDED, max_examples=50_000, derandomize=False)

RACES = {"FF0499", "FF0502", "FF0503", "FF0505"}
MOVED = "FF0382"


def checked(definition: Json) -> list[Json]:
    return _core.Program(msgspec.msgpack.encode(definition)).check()


def place(told: Json) -> races.Place:
    # A result that has to be evaluated is a step of its own, which the definition does not have.
    return told["step"].removesuffix("$result").removesuffix("/"), told["use"]


def places(finding: Json) -> tuple[races.Place, races.Place]:
    first, *rest = map(place, finding["places"])
    return first, rest[0] if rest else first


def agree(definition: Json, found: races.Findings) -> None:
    told = [it for it in checked(definition) if it["level"] == "error"]
    assert {it["code"] for it in told} <= RACES | {MOVED}, told
    racing = [it for it in told if it["code"] in RACES]
    assert bool(racing) == bool(found.races), (racing, found.races)
    for it in racing:
        assert found.races.get(races.pair(*places(it))) == it["code"], (it, found.races)
    if not found.races:
        moved = [it for it in told if it["code"] == MOVED]
        assert bool(moved) == bool(found.moves), (moved, found.moves)
        for it in moved:
            # The use is told first, as it is what is wrong.
            assert places(it)[::-1] in found.moves, (it, found.moves)


def compare(definition: Json) -> None:
    try:
        found = races.check(definition)
    except races.TooMany:
        reject()
    agree(definition, found)


@pytest.mark.parametrize("case", race_cases.CASES, ids=lambda case: case.name)
def test_the_checker_says_what_was_worked_out_by_hand(case: Case) -> None:
    agree(case.definition, races.check(case.definition))


@pytest.mark.req("P1.9", "P1.10")
@pytest.mark.timeout(600)
@BOUNDED
@given(accesses.definitions())
def test_the_checker_agrees_with_the_oracle(definition: Json) -> None:
    compare(definition)


def serialised(definition: Json) -> Json:
    changed: Json = msgspec.msgpack.decode(_core.Program(msgspec.msgpack.encode(definition)).serialise()[0])
    return changed


def relaxed(definition: Json) -> Json:
    changed: Json = msgspec.msgpack.decode(_core.Program(msgspec.msgpack.encode(definition)).relax()[0])
    return changed


def branches(place: races.Place) -> list[str]:
    """The branches of a `first` in which a step is."""
    parts = place[0].split("/")
    return ["/".join(parts[: at + 2]) for at, it in enumerate(parts) if it.startswith("f")]


def change(definition: Json) -> None:
    """What is put in order has no races left, but those of branches and of results that are evaluated, which
    nothing can tell to wait; what is relaxed has no others.
    """
    yields = '"result"' in msgspec.json.encode(definition).decode()
    try:
        before, after = races.check(definition).races, races.check(serialised(definition)).races
        less = races.check(relaxed(definition)).races
    except races.TooMany:
        reject()
    for one, other in after:
        assert (one, other) in before
        if yields and -1 in (one[1], other[1]):
            continue
        assert any(a != b for a, b in zip(branches(one), branches(other), strict=False)), (one, other)
    assert {*less} <= {*before}


@pytest.mark.timeout(600)
@settings(BOUNDED, max_examples=400)
@given(accesses.definitions(steps=6))
def test_order_that_is_added_or_left_out_leaves_no_other_race(definition: Json) -> None:
    change(definition)


@pytest.mark.nightly
@pytest.mark.timeout(14_400)
@SOAK
@given(accesses.definitions(steps=9))
def test_the_checker_agrees_with_the_oracle_on_many(definition: Json) -> None:
    compare(definition)


@pytest.mark.nightly
@pytest.mark.timeout(14_400)
@settings(SOAK, max_examples=SOAK.max_examples // 5)
@given(accesses.definitions(steps=8))
def test_order_that_is_added_or_left_out_of_many_leaves_no_other_race(definition: Json) -> None:
    change(definition)
