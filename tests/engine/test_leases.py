"""Steps wait for the assets that others use: what they access is granted at once, fairly, and given back."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff

GATES: dict[str, threading.Event] = defaultdict(threading.Event)
BEGUN: dict[str, threading.Event] = defaultdict(threading.Event)
USED: list[tuple[str, str, int]] = []


@ff.task(name="lease.use")
def use(what: str, moment: float = 0.0) -> str:
    USED.append((what, "begins", threading.get_ident()))
    time.sleep(moment)
    USED.append((what, "ends", threading.get_ident()))
    return what


@ff.task(name="lease.gated")
def gated(name: str) -> str:
    BEGUN[name].set()
    assert GATES[name].wait(30)
    return name


@pytest.fixture(autouse=True)
def fresh() -> None:
    GATES.clear()
    BEGUN.clear()
    USED.clear()


def step(name: str, task: str, args: list[Any], **fields: Any) -> dict[str, Any]:
    return {"id": name, "task": task, "args": args, **fields}


def workflow(name: str, *steps: dict[str, Any], inputs: tuple[str, ...] = (), **options: Any) -> Any:
    return ff.load({"name": name, "inputs": [*inputs], "term": {"parallel": [*steps]}}, **options)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


def state(engine: ff.Engine, step: str) -> str:
    found = [lease for lease in engine.leases() if lease.step == step]
    return "none" if not found else "waits" if found[0].waits else "holds"


@pytest.mark.req("P1.8")
def test_of_steps_that_write_one_asset_one_runs_at_a_time_in_all_runs_and_workflows() -> None:
    steps = [step(f"w{n}", "lease.use", [f"w{n}", 0.002], writes="lake/days") for n in range(10)]
    whole = step("whole", "lease.use", ["w-whole", 0.002], writes="lake")
    readers = [step(f"r{n}", "lease.use", [f"r{n}", 0.01], reads="lake/days/{input.day}") for n in range(10)]
    # The check finds that; who runs it nevertheless has the leases.
    writing = workflow("lease_writing", *steps, whole, on_conflict="warn")
    reading = workflow("lease_reading", *readers, inputs=("day",))
    with ff.Engine(workers=6, capacity={"cpu": 6}) as engine:
        with pytest.warns(UserWarning, match="FF0499"):
            first = engine.start(writing)
        runs = [
            first,
            engine.start(reading, 1),
            engine.start(writing),
            engine.start(reading, "2"),
        ]
        for run in runs:
            run.result(60)
        assert engine.leases() == []
    inside: set[str] = set()
    together = 0
    for what, happens, _ in USED:
        if happens == "begins":
            alone = what.startswith("w")
            assert not inside if alone else not any(other.startswith("w") for other in inside)
            inside.add(what)
            together = max(together, len(inside))
        else:
            inside.remove(what)
    assert together > 1, "readers share"


def test_a_step_gets_all_it_accesses_or_waits_and_explain_says_for_whom() -> None:
    holder = workflow("lease_holder", step("hold", "lease.gated", ["hold"], reads="lake/raw"))
    waiter = workflow("lease_waiter", step("wait", "lease.use", ["x"], writes=["lake", "other"]))
    third = workflow("lease_third", step("third", "lease.use", ["y"], reads="other"))
    with ff.Engine(workers=4, capacity={"cpu": 4}) as engine:
        first = engine.start(holder)
        assert BEGUN["hold"].wait(30)
        second = engine.start(waiter)
        until(lambda: state(engine, "wait") == "waits")
        last = engine.start(third)
        until(lambda: state(engine, "third") == "waits")
        [reason] = second.explain()
        assert (reason.step, reason.what) == ("wait", "lease")
        for word in ('"lake"', "writes", first.id, "lease_holder", '"hold"', '"lake/raw"', "reads"):
            assert word in reason.detail
        held, asked, behind = engine.leases()
        assert (held.run, held.token > 0, held.waits) == (first.id, True, False)
        assert [str(access) for access in asked.accesses] == ["lake (writes)", "other (writes)"]
        assert [(it.run, it.asset, it.waits) for it in asked.behind] == [(first.id, "lake/raw", False)]
        assert [(it.run, it.asset, it.waits) for it in behind.behind] == [(second.id, "other", True)]
        GATES["hold"].set()
        assert last.result(30) == "y"
        assert second.result(30) == "x"


@pytest.mark.req("P1.8")
def test_a_cancelled_body_keeps_what_it_uses_until_it_has_really_ended() -> None:
    first = workflow("lease_cancelled", step("a", "lease.gated", ["a"], writes="t"))
    second = workflow("lease_next", step("b", "lease.use", ["b"], writes="t"))
    with ff.Engine(workers=2) as engine:
        run = engine.start(first)
        assert BEGUN["a"].wait(30)
        follows = engine.start(second)
        run.cancel()
        with pytest.raises(ff.RunCancelled):
            run.result(30)
        assert state(engine, "b") == "waits"
        assert USED == []
        GATES["a"].set()
        follows.result(30)
        assert engine.leases() == []


@pytest.mark.req("P1.7")
def test_what_a_body_uses_that_ran_out_of_time_is_reclaimed_and_its_late_result_refused() -> None:
    told = threading.Event()

    @ff.task(name="lease.late")
    def late() -> int:
        BEGUN["late"].set()
        while not ff.current().cancelled():
            time.sleep(0.005)
        told.set()
        assert GATES["late"].wait(30)
        return 1

    first = workflow("lease_late", step("a", "lease.late", [], writes="t", options={"timeout": 0.2}))
    second = workflow("lease_after", step("b", "lease.use", ["b"], writes="t/x"))
    with ff.Engine(workers=2) as engine:
        run = engine.start(first)
        assert BEGUN["late"].wait(30)
        follows = engine.start(second)
        # The body goes on meanwhile.
        assert follows.result(30) == "b"
        assert told.wait(30)
        with pytest.raises(ff.RunFailed):
            run.result(30)
        GATES["late"].set()
        until(lambda: engine.stats().refused == 1)
        assert engine.stats().reclaimed == 1
        assert engine.leases() == []


@pytest.mark.parametrize("command", ["cancel", "pause"])
def test_what_a_run_waits_for_and_has_not_begun_to_use_is_given_back_when_it_stops(command: str) -> None:
    holder = workflow("lease_first", step("a", "lease.gated", ["a"], writes="t"))
    waits = workflow("lease_stops", step("b", "lease.use", ["b"], writes=["t", "u"]))
    third = workflow("lease_free", step("c", "lease.use", ["c"], writes="u"))
    with ff.Engine(workers=2) as engine:
        engine.start(holder)
        assert BEGUN["a"].wait(30)
        second, last = engine.start(waits), engine.start(third)
        until(lambda: state(engine, "c") == "waits")
        second.cancel() if command == "cancel" else second.pause()
        assert last.result(30) == "c"
        assert state(engine, "b") == "none"
        GATES["a"].set()
        if command == "pause":
            second.resume()
            assert second.result(30) == "b"


def test_steps_that_a_failure_cancels_leave_nothing_behind() -> None:
    holder = workflow("lease_other", step("a", "lease.gated", ["a"], writes="t"))
    term = {
        "first": 1,
        "of": [step("slow", "lease.use", ["b"], writes="t"), step("quick", "lease.use", ["c"])],
    }
    races = ff.load({"name": "lease_races", "term": {"sequence": [term, {"signal": "go"}]}})
    with ff.Engine(workers=2) as engine:
        engine.start(holder)
        assert BEGUN["a"].wait(30)
        run = engine.start(races)
        until(lambda: any(it.what == "signal" for it in run.explain()))
        assert [lease.step for lease in engine.leases()] == ["a"]
        GATES["a"].set()
        run.signal("go")
        run.result(30)


@pytest.mark.parametrize("day", [None, 1.5, "", "a//b", "../x", ["x"]])
def test_what_makes_no_name_fails_the_step(day: object) -> None:
    bad = workflow("lease_bad", step("a", "lease.use", ["a"], writes="lake/{input.day}"), inputs=("day",))
    with ff.Engine() as engine, pytest.raises(ff.RunFailed, match="lake/") as caught:
        engine.run(bad, day)
    assert caught.value.code == "BAD_ASSET"
    assert USED == []


def test_iterations_have_local_assets_of_their_own_and_share_the_others() -> None:
    def each(writes: str) -> Any:
        body = {"term": step("s", "lease.gated", [{"$": "item"}], writes=writes), "locals": {"scratch": {}}}
        return ff.load(
            {"name": "lease_each", "inputs": ["items"], "term": {"each": {"$": "input.items"}, "do": body}}
        )

    with ff.Engine(workers=2) as engine:
        run = engine.start(each("scratch/x"), ["l1", "l2"])
        assert all(BEGUN[name].wait(30) for name in ("l1", "l2")), "each has its own"
        assert len({lease.accesses[0].asset for lease in engine.leases()}) == 2
        GATES["l1"].set()
        GATES["l2"].set()
        run.result(30)


@pytest.mark.req("P1.8")
def test_accesses_cost_no_commit_and_no_event(tmp_path: Path) -> None:
    kinds = {}
    for name in ("plain", "leased"):
        fields = {"writes": "t", "reads": "u"} if name == "leased" else {}
        steps = [step(f"s{n}", "lease.use", ["x"], **fields) for n in range(20)]
        chain = ff.load({"name": f"lease_{name}", "term": {"sequence": steps}})
        with ff.Engine(tmp_path / f"{name}.db", workers=1) as engine:
            run = engine.start(chain)
            run.result(30)
            kinds[name] = [event["kind"] for event in run.events()]
            commits = engine.stats().commits
        # One for the start of the run, one for its end, and one a step.
        assert commits <= 20 + 4
    assert kinds["plain"] == kinds["leased"]


def test_names_that_nobody_uses_any_more_leave_nothing_behind() -> None:
    many = ff.load(
        {
            "name": "lease_many",
            "inputs": ["items"],
            "term": {
                "each": {"$": "input.items"},
                "do": {"term": step("s", "lease.use", ["x"], writes="lake/{item}/{item_index}")},
            },
        }
    )
    with ff.Engine(workers=2) as engine:
        engine.run(many, [f"day{n}" for n in range(300)])
        assert engine.leases() == []
