"""What runs when: side by side, one after another, and once."""

import threading
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff

PATIENCE = 20.0

calls: Counter[str] = Counter()
gates: defaultdict[str, threading.Event] = defaultdict(threading.Event)
meeting = threading.Barrier(3)


@pytest.fixture(autouse=True)
def fresh() -> Any:
    calls.clear()
    gates.clear()
    meeting.reset()
    yield
    for gate in gates.values():
        gate.set()


@ff.task(name="o.hold")
def hold(name: str) -> str:
    """Say that it has begun, and wait to be let go."""
    calls[name] += 1
    gates[f"{name} begins"].set()
    assert gates[name].wait(PATIENCE)
    return name


@ff.task(name="o.note")
def note(name: str) -> str:
    calls[name] += 1
    gates[name].set()
    return name


@ff.task(name="o.opened")
def opened(length: int) -> list[int]:
    assert gates["all are sent"].wait(PATIENCE)
    return [*range(length)]


@ff.task(name="o.meet")
def meet(number: int) -> int:
    meeting.wait(PATIENCE)
    return number


@ff.workflow
def held(name: str) -> str:
    return hold(name)


@ff.workflow
def noted(name: str) -> str:
    return note(name)


@pytest.mark.req("P7.72", "P8.84", "P7.58")
def test_independent_steps_run_side_by_side_and_what_needs_them_afterwards() -> None:
    seen: list[Any] = []

    @ff.task(name="o.after")
    def after(numbers: list[int]) -> int:
        seen.append(numbers)
        return sum(numbers)

    @ff.workflow
    def flow() -> Any:
        return after([meet(1), meet(2), meet(3)])

    with ff.Engine(workers=3, capacity={"cpu": 3}) as engine:
        assert engine.start(flow).result(PATIENCE) == 6
    assert seen == [[1, 2, 3]]


@pytest.mark.req("P8.84", "P7.58")
def test_all_runs_together_have_no_more_bodies_than_there_are_workers() -> None:
    with ff.Engine(workers=2, capacity={"cpu": 8}) as engine:
        runs = [engine.start(held, name) for name in "abc"]
        assert gates["a begins"].wait(PATIENCE)
        assert gates["b begins"].wait(PATIENCE)
        assert not gates["c begins"].wait(0.1)
        stats = engine.stats()
        assert (stats.active, stats.running, stats.ready) == (3, 2, 1)
        for name in "abc":
            gates[name].set()
        assert [run.result(PATIENCE) for run in runs] == ["a", "b", "c"]


@pytest.mark.req("P7.73", "P8.85")
def test_a_slow_step_does_not_hold_back_what_does_not_need_it() -> None:
    @ff.workflow
    def flow() -> Any:
        quick = note("quick")
        return [hold("slow"), quick, note.options(after=[quick])("behind it")]

    with ff.Engine(workers=2) as engine:
        handle = engine.start(flow)
        assert gates["slow begins"].wait(PATIENCE)
        assert gates["behind it"].wait(PATIENCE)
        gates["slow"].set()
        assert handle.result(PATIENCE) == ["slow", "quick", "behind it"]


@pytest.mark.req("P6.131", "P7.14", "P8.58")
def test_what_waits_for_a_worker_is_cancelled_at_once_and_never_runs() -> None:
    with ff.Engine(workers=1) as engine:
        busy = engine.start(held, "busy")
        assert gates["busy begins"].wait(PATIENCE)
        queued = engine.start(noted, "queued")
        queued.cancel("not needed")
        with pytest.raises(ff.RunCancelled, match="not needed"):
            queued.result(PATIENCE)
        assert [(step.state, step.attempts) for step in queued.steps()] == [("cancelled", 0)]
        with pytest.raises(ff.RunEnded):
            queued.cancel()
        gates["busy"].set()
        busy.result(PATIENCE)
        # The worker is free now, and what comes later has come by the same queue.
        assert engine.start(noted, "later").result(PATIENCE) == "later"
    assert calls["queued"] == 0


@pytest.mark.req("P4.127", "P6.150", "P7.33")
def test_what_is_offered_again_after_a_pause_still_runs_once() -> None:
    @ff.workflow
    def flow() -> Any:
        return [hold("first"), note("a"), note("b")]

    with ff.Engine(workers=1) as engine:
        handle = engine.start(flow)
        assert gates["first begins"].wait(PATIENCE)
        for _ in range(3):
            handle.pause()
            handle.resume()
        gates["first"].set()
        assert handle.result(PATIENCE) == ["first", "a", "b"]
        kinds = Counter(event["kind"] for event in handle.events())
    assert calls == {"first": 1, "a": 1, "b": 1}
    assert (kinds["RunStarted"], kinds["StepStarted"], kinds["StepCompleted"]) == (1, 3, 3)


@pytest.mark.req("P6.93", "P8.74")
def test_what_comes_at_the_same_time_is_taken_one_after_another_and_nothing_is_lost(tmp_path: Path) -> None:
    senders, each = 4, 25

    @ff.workflow
    def flow() -> Any:
        told = ff.each(opened(senders * each), lambda _: ff.signal("go"), limit=1)
        return [ff.each([*range(300)], lambda n: note(n)), told]

    with ff.Engine(tmp_path / "runs.db", workers=4, durability="relaxed") as engine:
        handle = engine.start(flow)

        def send(sender: int) -> None:
            for number in range(each):
                handle.signal("go", [sender, number])

        threads = [threading.Thread(target=send, args=(sender,)) for sender in range(senders)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gates["all are sent"].set()
        results, told = handle.result(PATIENCE)
        events = handle.events()
    assert results == [*range(300)]
    for sender in range(senders):
        assert [number for who, number in told if who == sender] == [*range(each)]
    steps = [event["step"] for event in events if event["kind"] == "StepCompleted"]
    assert len(steps) == len({*steps}) == 301


@pytest.mark.req("P7.79")
def test_results_of_steps_that_had_ended_are_kept_when_another_fails() -> None:
    @ff.task(name="o.broken")
    def broken() -> None:
        raise ff.Fail("NO", "as told")

    @ff.workflow
    def flow() -> Any:
        return [note("kept"), broken.options(after=[ff.signal("go")])()]

    with ff.Engine() as engine:
        handle = engine.start(flow)
        ended = threading.Event()
        with engine.subscribe(lambda event: ended.set(), kinds=["StepCompleted"], run=handle.id):
            if not any(step.state == "completed" for step in handle.steps()):
                assert ended.wait(PATIENCE)
        handle.signal("go")
        with pytest.raises(ff.RunFailed, match="as told"):
            handle.result(PATIENCE)
        kept = next(step for step in handle.view(values=True).steps if step.path == "o.note")
    assert (kept.state, kept.result) == ("completed", "kept")


@pytest.mark.req("P8.19")
@pytest.mark.parametrize("strategy", ["none", "handler", "tolerated"])
def test_a_step_that_can_not_be_started_fails_like_any_other(strategy: str) -> None:
    unbound = {"task": "o.note", "id": "unbound", "args": [{"$": "input.data.missing"}]}
    terms: dict[str, Any] = {
        "none": unbound,
        "handler": {"try": unbound, "catch": {"task": "o.note", "args": [{"$": "error.code"}]}},
        "tolerated": {"parallel": [{**unbound, "options": {"critical": False}}, {"sleep": 0}]},
    }
    flow = ff.load({"name": "w", "inputs": ["data"], "term": terms[strategy]})
    with ff.Engine() as engine:
        handle = engine.start(flow, {})
        if strategy == "none":
            with pytest.raises(ff.RunFailed, match="missing") as it:
                handle.result(PATIENCE)
            assert (it.value.code, it.value.step) == ("EXPRESSION_FAILED", "unbound")
        else:
            result = handle.result(PATIENCE)
            assert result == "EXPRESSION_FAILED" or strategy == "tolerated"
            assert handle.view().degraded == (strategy == "tolerated")
        assert next(step for step in handle.steps() if "unbound" in step.path).state == "failed"
