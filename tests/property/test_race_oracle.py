"""The oracle of races says what was worked out by hand, and what all traces of starts and ends show."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, reject, settings

from tests.property import accesses, race_cases, races, traces
from tests.property.race_cases import Case, Json
from tests.property.unfold import unfold


def spelled(place: races.Place) -> str:
    path, index = place
    return path if index < 0 else f"{path}{index}"


@pytest.mark.parametrize("case", race_cases.CASES, ids=lambda case: case.name)
def test_the_oracle_says_what_was_worked_out_by_hand(case: Case) -> None:
    found = races.check(case.definition)
    told = {(code, *sorted(map(spelled, places))) for places, code in found.races.items()}
    assert told == {(code, *sorted(places)) for code, *places in map(str.split, case.races)}
    if not told:
        assert {(spelled(a), spelled(b)) for a, b in found.moves} == {tuple(it.split()) for it in case.moves}


@pytest.mark.parametrize("case", [it for it in race_cases.CASES if it.few], ids=lambda case: case.name)
def test_all_traces_show_the_same(case: Case) -> None:
    found, shown = races.check(case.definition), traces.check(unfold(case.definition))
    assert found.races == shown.races
    if not shown.races:
        assert found.moves == shown.moves


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(accesses.definitions(steps=3))
def test_all_traces_of_small_definitions_show_the_same(definition: Json) -> None:
    process = unfold(definition)
    try:
        found, shown = races.check(definition), traces.check(process)
    except races.TooMany:
        reject()
    assert found.races == shown.races
    if not shown.races:
        assert found.moves == shown.moves
