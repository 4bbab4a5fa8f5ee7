"""What of a run is on record, and from when on."""

import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from ferroflow import _core
from ferroflow.engine import records

PATIENCE = 20.0


@ff.task(name="k.give")
def give(value: Any) -> Any:
    return value


@ff.task(name="k.broken")
def broken() -> None:
    raise ff.Fail("NO_LUCK", "it never works")


@ff.workflow(name="k.asking", version="4")
def asking(n: int) -> Any:
    return [give(n), ff.signal("go")]


@ff.workflow(name="k.failing")
def failing() -> None:
    return broken()


def on_disk(path: Path, run: str) -> tuple[list[dict[str, Any]], records.RunView]:
    """What another process would find."""
    reader = _core.Reader(path)
    return records.events(reader.events(run)), records.run_view(reader.inspect(run, True))


@pytest.mark.req("P3.109", "P6.126", "P6.128", "P6.97", "P7.6", "P7.8", "P7.9", "P8.69", "P9.73")
def test_a_run_is_on_disk_with_all_it_was_given_when_its_id_is_returned(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    options = ff.RunOptions(priority="high", timeout="90s", correlation="order 7", version="4")
    with ff.Engine(path) as engine:
        engine.register(asking)
        runs = [engine.start("k.asking", 5, options=options).id for _ in range(3)]
        for run in runs:
            events, view = on_disk(path, run)
            made, begun = events[:2]
            assert (made["kind"], made["workflow"], made["version"]) == ("RunCreated", "k.asking", "4")
            assert (made["input"], made["priority"], made["timeout"]) == ({"n": 5}, 1, 90_000_000)
            assert made["correlation"] == "order 7"
            assert begun["kind"] == "RunStarted"
            assert [event["kind"] for event in events].count("RunStarted") == 1
            assert (view.id, view.workflow, view.version, view.input) == (run, "k.asking", "4", {"n": 5})
    assert [uuid.UUID(run).version for run in runs] == [7, 7, 7]
    assert sorted({*runs}) == runs, "ids sort by time"


@pytest.mark.req("P4.132", "P4.134", "P6.98", "P7.78")
def test_a_result_is_on_disk_before_what_needs_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    seen: list[records.RunView] = []
    told = threading.Event()

    @ff.task(name="k.look")
    def look(_: Any) -> str:
        here = ff.current()
        here.progress(50, "half")
        seen.append(on_disk(path, here.run)[1])
        told.set()
        return "looked"

    @ff.workflow
    def flow() -> Any:
        return look(give({"k": [1]}))

    with ff.Engine(path, node="here") as engine:
        handle = engine.start(flow)
        assert handle.result(PATIENCE) == "looked"
        ended = handle.view(values=True)
    (during,) = seen
    first = during.steps[0]
    assert (first.state, first.result, first.attempts, first.error) == ("completed", {"k": [1]}, 1, None)
    assert first.ran_on == "here"
    assert first.scheduled is not None
    assert first.started is not None
    assert first.ended is not None
    assert first.scheduled <= first.started <= first.ended
    assert (during.state, during.ended) == ("running", None)
    last = ended.steps[1]
    assert (last.state, last.ran_on, last.result, last.percent) == ("completed", "here", "looked", 50)
    assert last.updated is not None
    assert ended.state == "completed"


@pytest.mark.req("P5.106", "P6.134", "P6.96", "P7.69", "P7.70", "P9.75")
def test_how_a_run_ended_is_on_record(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with ff.Engine(path) as engine:
        done, lost = engine.start(asking, 1), engine.start(failing)
        stopped, dropped = engine.start(asking, 2), engine.start(asking, 3)
        late = engine.start(asking, 4, options=ff.RunOptions(timeout="5ms"))
        done.pause("lunch")
        done.resume()
        done.signal("go", {"answer": 42})
        stopped.cancel("no longer wanted")
        dropped.cancel()
        for handle in (done, lost, stopped, dropped, late):
            try:
                handle.result(PATIENCE)
            except (ff.RunFailed, ff.RunCancelled):
                continue
    found = {handle.id: on_disk(path, handle.id) for handle in (done, lost, stopped, dropped, late)}
    for events, view in found.values():
        # What a body used that ran out of time with its run comes later.
        while events[-1]["kind"] == "StepUsed":
            events.pop()
        assert view.ended == events[-1]["at"]
    events, view = found[done.id]
    assert (view.state, view.input, view.result) == ("completed", {"n": 1}, [1, {"answer": 42}])
    assert events[-1]["kind"] == "RunCompleted"
    paused = next(event for event in events if event["kind"] == "RunPaused")
    assert (paused["reason"], paused["at"] >= view.started) == ("lunch", True)
    assert next(e for e in events if e["kind"] == "SignalReceived")["value"] == {"answer": 42}
    events, view = found[lost.id]
    assert (view.state, events[-1]["kind"]) == ("failed", "RunFailed")
    assert view.error is not None
    assert (view.error.code, view.error.message, view.error.step) == (
        "NO_LUCK", "it never works", "k.broken",
    )  # fmt: skip
    events, view = found[stopped.id]
    assert (view.state, view.reason) == ("cancelled", "no longer wanted")
    assert (events[-1]["kind"], events[-1]["reason"]) == ("RunCancelled", "no longer wanted")
    assert found[dropped.id][1].reason == "cancelled by its user"
    _, view = found[late.id]
    assert view.state == "timed_out"
    assert view.error is not None
    assert (view.error.code, view.error.step) == ("TIMEOUT", None)
    assert "within 0.005 s" in view.error.message


@pytest.mark.req("P6.104")
def test_the_state_on_disk_follows_every_command(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with ff.Engine(path) as engine:
        handle = engine.start(asking, 1)

        def states() -> list[str]:
            (row,) = _core.Reader(path).runs(None, [], None, None, None, None, 10)
            return [str(row["state"]), on_disk(path, handle.id)[1].state]

        assert states() == ["running"] * 2
        handle.pause()
        assert states() == ["paused"] * 2
        handle.resume()
        assert states() == ["running"] * 2
        handle.cancel()
        assert states() == ["cancelled"] * 2


@pytest.mark.req("P5.96", "P6.92")
def test_events_are_numbered_on_over_a_recovery_which_stays_on_record(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with ff.Engine(path, node="one") as engine:
        run = engine.start(asking, 1).id
    before, _ = on_disk(path, run)
    heard: list[ff.Event] = []
    with ff.Engine(path, resume=False, node="two") as engine:
        subscription = engine.subscribe(heard.append)
        engine.resume()
        engine.handle(run).signal("go")
        engine.handle(run).result(PATIENCE)
    subscription.drain()
    assert [event.sequence for event in heard] == [*range(len(before) + 1, len(before) + len(heard) + 1)]
    assert (heard[0].kind, heard[0].fields["node"]) == ("RunRecovered", "two")
    with ff.Engine(path) as engine:
        assert engine.handle(run).view().recoveries == 1
        kept = next(it for it in engine.handle(run).events() if it["kind"] == "RunRecovered")
        assert (kept["at"], kept["node"]) == (heard[0].at, "two")


@pytest.mark.req("P4.143")
def test_who_listens_hears_only_of_what_is_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    ahead: list[ff.Event] = []
    ends: list[str] = []

    def compare(event: ff.Event) -> None:
        if len(on_disk(path, event.run)[0]) < event.sequence:
            ahead.append(event)
        ends.extend([event.kind] * event.state.is_terminal)

    with ff.Engine(path, durability="relaxed") as engine:
        subscription = engine.subscribe(compare)
        handles = [engine.start(asking, n) for n in range(10)]
        for handle in handles:
            handle.signal("go")
            handle.result(PATIENCE)
        with pytest.raises(ff.RunFailed):
            engine.run(failing)
    subscription.drain()
    assert subscription.failures == 0
    assert ahead == []
    assert ends == ["RunCompleted"] * 10 + ["RunFailed"]


@pytest.mark.req("P4.142")
def test_a_run_yields_what_it_maps_once_all_its_steps_have_ended() -> None:
    flow = ff.load({
        "name": "w",
        "term": {"parallel": [{"task": "k.give", "id": "a", "args": [7]}, {"signal": "go"}]},
        "result": {"$": "steps.a"},
    })  # fmt: skip
    with ff.Engine() as engine:
        handle = engine.start(flow)
        while handle.steps()[0].state != "completed":
            threading.Event().wait(0.002)
        assert handle.status() == "running"
        handle.signal("go")
        assert handle.result(PATIENCE) == 7
