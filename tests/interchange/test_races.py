"""What recorded executions do to files, and what the checker says where an order is missing."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferroflow import _core, interchange
from ferroflow.interchange.accesses import named
from ferroflow.interchange.wfformat import Instance
from tests.interchange import made, real
from tests.property import races

Json = dict[str, Any]
Pair = tuple[races.Place, races.Place]

REMOVED = 60
"""Edges of each instance that are removed, one at a time; of the larger ones fewer."""

STEPS = 30_000
"""Steps that are checked of one instance in all, times the edges that are removed."""


def definition(instance: Instance) -> Json:
    return instance.to_workflow(max_disk=None).definition


def told(definition: Json) -> set[Pair]:
    """The races that the checker finds; it finds nothing else that is wrong."""
    found = _core.Program(msgspec.msgpack.encode(definition)).check(1_000_000)
    errors = [it for it in found if it["level"] == "error"]
    assert {it["code"] for it in errors} <= {"FF0499", "FF0502", "FF0505"}
    places = [[(place["step"], place["use"]) for place in it["places"]] for it in errors]
    return {races.pair(first, second) for first, second in places}


class Flat:
    """Steps in one partial, whose accesses have plain names, and what a plain search says of them."""

    def __init__(self, definition: Json) -> None:
        self.definition = definition
        self.steps: list[Json] = definition["term"]["partial"]
        self.ids = [step["id"] for step in self.steps]
        number = {name: at for at, name in enumerate(self.ids)}
        self.edges = [
            (number[before], at) for at, step in enumerate(self.steps) for before in step.get("after", ())
        ]
        self.next: list[set[int]] = [set() for _ in self.steps]
        for a, b in self.edges:
            self.next[a].add(b)
        self.conflicts = self._conflicts()

    def _conflicts(self) -> dict[tuple[int, int], set[Pair]]:
        """The accesses that must not be at the same time, by pairs of steps."""
        inside: dict[str, list[tuple[int, int, bool]]] = defaultdict(list)
        exact: dict[str, list[tuple[int, int, bool]]] = defaultdict(list)
        for at, step in enumerate(self.steps):
            names = [(it, mode) for mode in ("reads", "writes", "takes") for it in step.get(mode, ())]
            for index, (name, mode) in enumerate(names):
                use = at, index, mode != "reads"
                exact[name].append(use)
                parts = name.split("/")
                for count in range(1, len(parts) + 1):
                    inside["/".join(parts[:count])].append(use)
        found: dict[tuple[int, int], set[Pair]] = defaultdict(set)
        for name, uses in exact.items():
            for a, one, alone in uses:
                for b, other, alone_too in inside[name]:
                    if a != b and (alone or alone_too):
                        places = races.pair((self.ids[a], one), (self.ids[b], other))
                        found[min(a, b), max(a, b)].add(places)
        return found

    def without(self, edge: tuple[int, int]) -> Json:
        """The definition without one edge."""
        steps = [*self.steps]
        before, after = edge
        kept = [it for it in steps[after]["after"] if it != self.ids[before]]
        steps[after] = {**steps[after], "after": kept}
        return {**self.definition, "term": {"partial": steps}}

    def before(self, target: int) -> set[int]:
        return {a for a, b in self.edges if b == target}

    def reached(self, start: int, without: tuple[int, int] | None = None) -> set[int]:
        seen, waiting = {start}, [start]
        while waiting:
            at = waiting.pop()
            for following in self.next[at]:
                if following not in seen and (at, following) != without:
                    seen.add(following)
                    waiting.append(following)
        return seen

    def racing(self, without: tuple[int, int] | None = None) -> set[Pair]:
        """The accesses of steps of which none reaches the other."""
        reached = {at: self.reached(at, without) for at in {a for pair in self.conflicts for a in pair}}
        return {
            places
            for (a, b), found in self.conflicts.items()
            if b not in reached[a] and a not in reached[b]
            for places in found
        }

    def lost(self, edge: tuple[int, int]) -> set[Pair]:
        """The accesses that race without one edge and don't with it: only those that its ends order."""
        source, target = edge
        if target in self.reached(source, edge):
            return set()
        after = self.reached(target)
        return {
            places
            for (a, b), found in self.conflicts.items()
            for before, behind in ((a, b), (b, a))
            if behind in after and source in self.reached(before) and behind not in self.reached(before, edge)
            for places in found
        }


def some(flat: Flat, path: Path, count: int) -> list[tuple[int, int]]:
    """Edges chosen at random; the fewer the larger the instance is."""
    least = 10 * count // REMOVED
    count = min(count, len(flat.edges), max(least, STEPS * count // REMOVED // len(flat.steps)))
    return random.Random(path.stem).sample(flat.edges, count)


@real.each
def test_what_was_recorded_has_no_races(path: Path) -> None:
    instance = interchange.read(path)
    flow = definition(instance)
    work = flow["term"]["partial"][1:-1]
    assert [len(step["reads"]) for step in work] == [len(it) for it in instance.index.reads]
    assert [len(step["writes"]) for step in work] == [len(it) for it in instance.index.writes]
    assert told(flow) == set()
    assert Flat(flow).racing() == set()


@pytest.mark.req("P1.9")
@pytest.mark.timeout(300)
@real.each
def test_without_an_edge_the_checker_finds_what_a_search_finds(path: Path) -> None:
    flat = Flat(definition(interchange.read(path)))
    needed = 0
    for edge in some(flat, path, REMOVED):
        wanted = flat.lost(edge)
        assert told(flat.without(edge)) == wanted, (flat.ids[edge[0]], flat.ids[edge[1]])
        needed += bool(wanted)
    # Almost all edges carry a file, or order what removes the files.
    assert needed > 0


@real.each
def test_an_edge_too_many_can_go(path: Path) -> None:
    flat = Flat(definition(interchange.read(path)))
    choose = random.Random(path.stem)
    for _ in range(5):
        source = choose.randrange(len(flat.steps) - 1)
        target = choose.choice(sorted(flat.reached(source) - {source}))
        steps = [*flat.steps]
        if source in flat.before(target):
            continue
        steps[target] = {**steps[target], "after": [*steps[target]["after"], flat.ids[source]]}
        more = Flat({**flat.definition, "term": {"partial": steps}})
        assert (
            more.lost((source, target))
            == told(more.definition)
            == told(more.without((source, target)))
            == set()
        )


@pytest.mark.timeout(300)
@real.each
def test_where_an_edge_is_missing_another_order_mends_it(path: Path) -> None:
    flat = Flat(definition(interchange.read(path)))
    for edge in some(flat, path, REMOVED // 6):
        broken = flat.without(edge)
        object_, orders, limited = _core.Program(msgspec.msgpack.encode(broken)).serialise()
        mended = Flat(msgspec.msgpack.decode(object_))
        assert told(mended.definition) == mended.racing() == set()
        assert bool(orders) == bool(flat.lost(edge))
        assert limited == []


@real.needed
@pytest.mark.parametrize("name", ["helloworld-chain-5-chameleon", "helloworld-forkjoin-10-chameleon"])
def test_the_oracle_says_the_same_of_small_ones(name: str) -> None:
    flat = Flat(definition(interchange.read(real.find(name))))
    assert not races.check(flat.definition).races
    for edge in flat.edges:
        broken = flat.without(edge)
        wanted = flat.lost(edge)
        assert {*races.check(broken).races} == wanted == flat.racing(edge) == told(broken)


def test_tasks_that_change_one_file_side_by_side_race() -> None:
    source = made.instance(
        {"a": ["b"], "b": [], "c": []},
        reads={"a": ["x"], "b": ["x"]},
        writes={"a": ["x"], "c": ["y", "x"]},
        sizes={"x": 1, "y": 1},
    )
    flow = made.read(source).to_workflow()
    # One access says that `a` both reads and writes.
    assert told(flow.definition) == {(("a", 0), ("c", 1)), (("b", 0), ("c", 1))}
    assert flow.definition["locals"] == {"files": {"kind": "directory", "output": True}}
    without = made.read(source).to_workflow(accesses=False).definition
    assert told(without) == set()
    assert not {"reads", "writes", "takes", "locals"} & {*without, *without["term"]["partial"][1]}


def test_files_keep_their_names_where_they_can() -> None:
    assert named("a/b.txt") == "files/a/b.txt"
    assert named("/work/a.txt") == "/files/work/a.txt"
    assert named("a[1].txt") == "files/a[[1].txt"
    assert named("{x}") == "files/{{x}}"
    assert named("https://host/x") == "files/https:/%/host/x"
    assert named("../50%\n") == "files/%2E2E/50%25%0A"
    assert named("x/") == "files/x/%"
    assert len(named("x" * 5000)) < 50


@given(st.lists(st.text(max_size=12) | st.sampled_from([".", "/", "//", "a/", "[", "a" * 2000]), unique=True))
def test_any_file_has_a_name_of_its_own(ids: list[str]) -> None:
    names = [named(it) for it in ids]
    assert len({*names}) == len(ids)
    step = {"task": "t", "reads": names}
    _core.Program(msgspec.msgpack.encode({"name": "w", "term": step}))


@settings(max_examples=50, deadline=None)
@given(made.instances())
def test_whatever_is_read_after_it_is_written_has_no_races(source: Json) -> None:
    assert told(made.read(source).to_workflow(max_disk=None).definition) == set()
