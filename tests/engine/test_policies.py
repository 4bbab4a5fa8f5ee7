"""In which order ready steps start, under each policy."""

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from tests.engine.held import (
    PATIENCE,
    Busy,
    api_call,
    emptied,
    gates,
    note,
    noted,
    one_worker,
    order,
    steps,
)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield from emptied()


@pytest.mark.req("P6.139", "P7.24", "P8.13")
def test_first_in_first_out_within_a_class_and_urgent_classes_first() -> None:
    with one_worker("fifo") as engine:
        busy = Busy(engine)
        for name, priority in [("a", "low"), ("b", "normal"), ("c", "critical"), ("d", "normal")]:
            busy.start(noted, name, priority=priority)
        assert busy.order() == ["c", "b", "d", "a"]


@pytest.mark.req("P3.85")
def test_waiting_is_worth_priority_classes() -> None:
    # What became ready a moment earlier has aged by more than the difference of the classes.
    with one_worker(ff.policy("priority", ageing=0)) as engine:
        busy = Busy(engine)
        for name, priority in [("a", "background"), ("b", "critical")]:
            busy.start(noted, name, priority=priority)
        assert busy.order() == ["a", "b"]
    order.clear()
    gates.clear()
    with one_worker("priority") as engine:
        busy = Busy(engine)
        for name, priority in [("a", "background"), ("b", "critical")]:
            busy.start(noted, name, priority=priority)
        assert busy.order() == ["b", "a"]


@pytest.mark.req("P1.24")
def test_the_longest_way_to_the_end_goes_first_by_default() -> None:
    @ff.workflow
    def flow() -> Any:
        short = note.options(id="short", expected="1s")("short")
        first = note.options(id="long", expected="2s")("long")
        then = note.options(id="then", after=[first], expected="3s")("then")
        alone = note.options(id="alone", expected="4s")("alone")
        return [short, then, alone]

    with ff.Engine(workers=1) as engine:
        assert engine.stats().policy == "upward_rank"
        busy = Busy(engine)
        busy.start(flow)
        assert busy.order() == ["long", "alone", "then", "short"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("shortest_first", ["b", "c", "a"]), ("longest_first", ["a", "c", "b"])],
)
def test_by_expected_time(policy: Any, expected: list[str]) -> None:
    @ff.workflow
    def flow() -> Any:
        # An `api_call` takes three seconds if nobody says anything else, most tasks a minute.
        return [note.options(id="a")("a"), note.options(id="b", expected=1)("b"), api_call("c")]

    with one_worker(policy) as engine:
        busy = Busy(engine)
        busy.start(flow)
        assert busy.order() == expected


@pytest.mark.req("P6.140", "P7.26")
def test_shares_get_turns_by_their_weights() -> None:
    with one_worker(ff.policy("fair_share", weights={"big": 3})) as engine:
        busy = Busy(engine)
        for number in range(6):
            busy.start(noted, f"small {number}", tenant="small")
        for number in range(6):
            busy.start(noted, f"big {number}", tenant="big", weight=0.5)
        first = [name.split()[0] for name in busy.order()[:8]]
        assert first.count("big") == 6, "three to one, however much earlier the others came"


@pytest.mark.req("P6.140", "P7.26")
@pytest.mark.parametrize("by", ["tag", "priority", "workflow"])
def test_shares_are_of_what_the_policy_says(by: Any) -> None:
    @ff.workflow
    def other(name: str) -> str:
        return note(name)

    with one_worker(ff.policy("fair_share", by=by)) as engine:
        busy = Busy(engine)
        for number in range(3):
            busy.start(noted, f"a{number}", tags=["a"], priority="background")
        for number in range(3):
            busy.start(other, f"b{number}", tags=["b"], priority="critical")
        names = "".join(name[0] for name in busy.order())
    # Where shares have had the same, the urgent step goes first; and each class gets something.
    assert names == {"tag": "bababa", "workflow": "bababa", "priority": "abbbaa"}[by]


@ff.task(name="pol.numbered")
def numbered(name: str, number: int) -> None:
    order.append(f"{name}{number}")


@ff.workflow
def three(name: str) -> Any:
    return [numbered(name, 0), numbered(name, 1), numbered(name, 2)]


@pytest.mark.req("P3.85")
def test_runs_take_turns() -> None:
    with one_worker("round_robin") as engine:
        busy = Busy(engine)
        for run in "abc":
            busy.start(three, run)
        assert busy.order() == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


@pytest.mark.req("P6.141", "P7.27", "P3.85", "P8.10")
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        # What leaves least: all that is free, then more and more of it; a tenth of the memory last.
        ("best_fit", ["whole", "half", "tenth", "none"]),
        ("min_cpu", ["tenth", "none", "half", "whole"]),
        ("min_memory", ["whole", "half", "none", "tenth"]),
    ],
)
def test_by_what_steps_demand(policy: Any, expected: list[str]) -> None:
    flow = steps(whole={"cpu": 4}, half={"cpu": 2}, tenth={"memory": "1MB"}, none={})
    with one_worker(policy, capacity={"cpu": 4, "memory": "10MB"}) as engine:
        busy = Busy(engine)
        busy.start(flow)
        assert busy.order() == expected


@pytest.mark.req("P6.142", "P7.28", "P3.85")
def test_by_deadline() -> None:
    with one_worker("deadline") as engine:
        busy = Busy(engine)
        busy.start(noted, "none")
        busy.start(noted, "hour", timeout="1h")
        busy.start(noted, "minutes", deadline="5m")
        busy.start(noted, "instant", deadline=datetime.now(UTC) + timedelta(minutes=1))
        # Of two with the same deadline, the one that is predicted to need more of the time.
        busy.start(steps(slack={"expected": "1m"}), deadline="30m")
        busy.start(steps(tight={"expected": "20m"}), deadline="30m")
        assert busy.order() == ["instant", "minutes", "tight", "slack", "hour", "none"]
    with ff.Engine() as engine, pytest.raises(ff.InvalidInput, match="time zone"):
        engine.start(noted, "x", options=ff.RunOptions(deadline=datetime(2030, 1, 1)))  # noqa: DTZ001


@pytest.mark.req("P3.85", "P8.9")
@pytest.mark.parametrize("policy", ["data_locality", "upward_rank"])
def test_who_has_made_what_a_step_needs_takes_it(policy: Any) -> None:
    """One worker is busy; the other goes on with what follows on its step, or with what ranks first."""
    threads: dict[str, int] = {}

    @ff.task(name="pol.made")
    def made(name: str) -> str:
        threads[name] = threading.get_ident()
        gates[f"{name} begins"].set()
        assert gates[name].wait(PATIENCE)
        return name

    @ff.task(name="pol.needs")
    def needs(before: str) -> str:
        order.append("follows")
        threads["follows"] = threading.get_ident()
        return before

    @ff.workflow
    def flow() -> Any:
        follows = needs.options(expected="1s")(made.options(expected="3m")("a"))
        return [follows, made.options(expected="3m")("b"), note.options(expected="2m")("waits")]

    with ff.Engine(workers=2, policy=policy) as engine:
        run = engine.start(flow)
        assert gates["a begins"].wait(PATIENCE)
        assert gates["b begins"].wait(PATIENCE)
        gates["a"].set()
        while len(order) < 2:
            threading.Event().wait(0.01)
        gates["b"].set()
        run.result(PATIENCE)
    assert threads["a"] != threads["b"]
    assert threads["follows"] == threads["a"]
    assert order == (["follows", "waits"] if policy == "data_locality" else ["waits", "follows"])


def test_a_plan_is_followed_and_what_is_in_none_comes_last() -> None:
    flow = steps(a={}, b={}, c={"priority": "critical"}, d={})
    with one_worker("plan") as engine:
        busy = Busy(engine)
        busy.start(flow, plan=["d", "b", "a"])
        assert busy.order() == ["d", "b", "a", "c"]
        with pytest.raises(ff.InvalidInput, match='"x"'):
            engine.start(flow, options=ff.RunOptions(plan=["a", "x"]))


@pytest.mark.req("P7.124")
def test_the_plan_of_another_worker_is_taken_by_who_has_nothing_to_do() -> None:
    """Everything is planned for worker 1, and there is only worker 0."""
    flow = steps(a={}, b={}, c={})
    with one_worker("plan") as engine:
        busy = Busy(engine)
        handle = busy.start(flow, plan=[("c", 1), ("a", 0), ("b", 1)])
        assert busy.order() == ["a", "c", "b"], "its own part first"
        planned = [event for event in handle.events() if event["kind"] == "RunPlanned"]
        assert [node[2] for node in planned[0]["nodes"]] == [0.0, 1.0, 2.0]


def test_the_policy_can_be_changed_while_steps_wait() -> None:
    flow = steps(a={"expected": 3}, b={"expected": 1}, c={"expected": 2})
    with one_worker("fifo") as engine:
        busy = Busy(engine)
        busy.start(flow)
        engine.set_policy("longest_first")
        asyncio.run(engine.aset_policy("shortest_first"))
        assert engine.stats().policy == "shortest_first"
        assert busy.order() == ["b", "c", "a"]


class Backwards(ff.Policy):
    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def rank(self, steps: ff.ReadySteps) -> Sequence[float]:
        self.seen.append(steps.path)
        return [-ord(path[0]) for path in steps.path]


@pytest.mark.req("P7.124")
def test_a_policy_of_the_users_ranks_and_its_ranks_are_on_record(tmp_path: Path) -> None:
    policy = Backwards()
    flow = steps(a={}, b={"priority": "critical"}, c={})
    with one_worker(policy, path=tmp_path / "runs.db") as engine:
        busy = Busy(engine)
        handle = busy.start(flow)
        busy.start(flow)
        assert busy.order() == ["c", "c", "b", "b", "a", "a"]
        ranked = [event["ranks"] for event in handle.events() if event["kind"] == "StepsRanked"]
        assert ranked == [[[0, -97.0], [1, -98.0], [2, -99.0]]]
        assert engine.stats().unranked == 0
        calls = len(policy.seen)
        # To look at a run is to replay it, and asks nobody.
        assert [step.state for step in handle.steps()] == ["completed"] * 3
        assert len(policy.seen) == calls


@pytest.mark.req("P6.138", "P7.23")
def test_a_policy_is_shown_no_more_than_a_batch() -> None:
    policy = Backwards()
    with one_worker(policy, max_batch_size=2) as engine:
        engine.run(steps(a={}, b={}, c={}, d={}, e={}))
    assert max(len(batch) for batch in policy.seen) == 2
    assert sorted(path for batch in policy.seen for path in batch) == ["a", "b", "c", "d", "e"]


@pytest.mark.req("P6.136", "P7.20")
@pytest.mark.parametrize("broken", ["raises", "few", "nan", "exits"])
def test_a_policy_that_fails_is_logged_and_does_without(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(ff.Policy):
        calls = 0

        def rank(self, steps: ff.ReadySteps) -> Sequence[float]:
            self.calls += 1
            if broken == "raises":
                raise ValueError("as told")
            if broken == "exits":
                raise SystemExit
            return [] if broken == "few" else [float("nan")] * len(steps)

    policy = Broken()
    with caplog.at_level(logging.ERROR, "ferroflow"), one_worker(policy) as engine:
        busy = Busy(engine)
        for _ in range(2):
            busy.start(steps(a={"expected": 1}, b={"expected": 2}))
        # By upward rank, as far as one batch goes.
        assert sorted(busy.order()) == ["a", "a", "b", "b"]
        assert order.index("b") < order.index("a")
        assert engine.stats().unranked == 5
        # It is asked again the next time.
        before = policy.calls
        engine.run(noted, "later")
        assert policy.calls == before + 1
    assert "the policy Broken" in caplog.text


@pytest.mark.req("P6.136", "P7.20")
def test_nobody_waits_for_a_policy_that_hangs() -> None:
    class Hangs(ff.Policy):
        def rank(self, steps: ff.ReadySteps) -> Sequence[float]:
            gates["let it go"].wait(PATIENCE)
            return [0.0] * len(steps)

    with one_worker(Hangs()) as engine:
        handle = engine.start(noted, "a")
        (reason,) = handle.explain()
        assert (reason.what, reason.detail) == ("queued", "the policy has not ranked it yet")
        handle.result(PATIENCE)
        other = engine.start(noted, "b")
        engine.set_policy("fifo")
        other.result(PATIENCE)
        gates["let it go"].set()
        engine.run(noted, "c")
    assert order == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ff.policy("best"), "there is no policy 'best'"),  # type: ignore[arg-type]
        (lambda: ff.policy("fifo", by="tenant"), "has no shares"),
        (lambda: ff.policy("fifo", ageing=1), "has no `ageing`"),
        (lambda: ff.policy("fair_share", by="name"), "give one of tenant"),  # type: ignore[arg-type]
        (lambda: ff.policy("upward_rank", ageing=0.5), "whole number"),
        (lambda: ff.Engine(policy=ff.policy("fair_share", weights={"a": 0})), "is no weight"),
        (lambda: ff.Engine(max_running_runs=0), "at least one"),
        (lambda: ff.Engine(max_batch_size=0), "at least one"),
    ],
)
def test_what_can_not_be_meant_is_refused(make: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()
    with pytest.raises(TypeError, match="give a name"):
        ff.Engine(policy=7)  # type: ignore[arg-type]
