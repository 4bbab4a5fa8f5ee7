"""What a task's body learns of its step, and how it says what became of it."""

import asyncio
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff


@pytest.fixture(params=["memory", "sqlite"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ff.Engine]:
    with ff.Engine(None if request.param == "memory" else tmp_path / "runs.db") as made:
        yield made


@ff.task(name="x.give")
def give(value: Any) -> Any:
    return value


@pytest.mark.req("P4.131", "P7.81", "P7.82", "P7.83", "P7.84", "P8.49", "P5.113")
def test_a_body_sees_inputs_variables_parameters_and_what_it_depends_on(engine: ff.Engine) -> None:
    @ff.task(name="x.look")
    def look(n: int, *, extra: int = 7) -> Any:
        here = ff.current()
        return {
            "ids": [here.task, here.step, here.attempt, here.key.startswith(here.run)],
            "inputs": dict(here.inputs),
            "variables": dict(here.variables),
            "parameters": dict(here.parameters),
            "upstream": dict(here.upstream),
            "remaining": here.remaining(),
        }

    @ff.workflow
    def inner(size: int) -> Any:
        return look.options(id="inside")(size)

    @ff.workflow
    def flow(size: int, name: str) -> Any:
        first = give.options(id="first", set={"seen": "result", "size": "'mine'"})({"k": 5})
        give.options(id="other")(9)
        return [look.options(id="top")(first["k"]), inner.__call__(4)]

    top, inside = engine.run(flow, 3, name="x")
    assert top["ids"] == ["x.look", "top", 1, True]
    assert top["inputs"] == {"size": 3, "name": "x"}
    # Variables are apart from inputs and results, whatever they are called.
    assert top["variables"] == {"seen": {"k": 5}, "size": "mine"}
    assert top["parameters"] == {"n": 5, "extra": 7}
    assert top["upstream"] == {"first": {"k": 5}}
    assert top["remaining"] is None
    assert inside["ids"][1] == "inner/inside"
    assert inside["inputs"] == {"size": 4}
    assert inside["upstream"] == {}


@pytest.mark.req("P8.50")
def test_typed_access_tells_what_is_missing_from_what_is_of_another_type(engine: ff.Engine) -> None:
    @ff.task(name="x.typed")
    def typed(n: int, how: str) -> Any:
        inputs = ff.current().inputs
        match how:
            case "missing":
                return inputs.require("nowhere", int)
            case "wrong":
                return inputs.require("text", int)
            case "wrong optional":
                return inputs.optional("text", int, 1)
        absent = inputs.optional("nothing", int, 5), inputs.optional("nowhere", str, "d")
        return [inputs.require("n", int), *absent]

    @ff.workflow
    def flow(n: int, text: str, nothing: object, how: str) -> Any:
        return typed(n, how)

    def run(how: str) -> Any:
        return engine.run(flow, n=3, text="x", nothing=None, how=how)

    assert run("right") == [3, 5, "d"]
    for how, said in (
        ("missing", "there is no input 'nowhere'"),
        ("wrong", "'text' is not of type int"),
        ("wrong optional", "'text' is not of type int"),
    ):
        with pytest.raises(ff.RunFailed, match=said) as it:
            run(how)
        assert it.value.code == "INVALID_INPUT"
    assert issubclass(ff.MissingValue, ff.InvalidInput)
    assert issubclass(ff.WrongType, ff.InvalidInput)


@pytest.mark.req("P8.51")
def test_a_body_can_ask_how_much_time_it_has(engine: ff.Engine) -> None:
    @ff.task(name="x.hurry", timeout="1h")
    def hurry() -> Any:
        return ff.current().remaining()

    @ff.workflow
    def flow() -> Any:
        return hurry()

    assert 3590 < engine.run(flow) <= 3600


def test_a_body_that_shows_signs_of_life_is_left_alone_and_one_that_does_not_is_tried_again(
    engine: ff.Engine,
) -> None:
    again, told = threading.Event(), threading.Event()

    @ff.task(name="x.alive", heartbeat="2s")
    def alive(how: str) -> str:
        # It takes longer than its heartbeat.
        until = time.monotonic() + 3
        while time.monotonic() < until:
            if how == "heartbeat":
                ff.current().heartbeat()
            else:
                ff.current().progress(50)
            time.sleep(0.02)
        return how

    @ff.task(name="x.hangs", heartbeat="100ms", retry=ff.Retry(50, delay=0))
    def hangs() -> str:
        if ff.current().attempt == 1:
            again.wait(30)
            try:
                ff.current().heartbeat()
            except ff.Cancelled:
                told.set()
            return "too late"
        again.set()
        return "again"

    @ff.workflow
    def flow() -> Any:
        return [alive("heartbeat"), alive("progress"), hangs()]

    handle = engine.start(flow)
    assert handle.result(30) == ["heartbeat", "progress", "again"]
    assert told.wait(30)
    steps = handle.steps()
    assert (steps[0].attempts, steps[1].attempts) == (1, 1)
    of = [[event for event in handle.events() if event.get("step") == number] for number in range(3)]
    beats = [event["at"] for event in of[0] if event["kind"] == "StepBeat"]
    assert len(beats) >= 2
    assert all(after - before >= 500_000 for before, after in pairwise(beats)), "at most four a period"
    assert steps[0].updated == beats[-1]
    assert "StepBeat" not in {event["kind"] for event in of[1]}
    first = next(event for event in of[2] if event["kind"] == "StepRetrying")
    assert first["error"]["code"] == "HEARTBEAT_TIMEOUT"
    assert first["error"]["message"] == "the attempt showed no sign of life for 0.1 s"
    assert first["used"] is None


def test_a_body_without_a_heartbeat_may_beat_too_and_nothing_is_recorded(engine: ff.Engine) -> None:
    @ff.task(name="x.beats")
    async def beats() -> int:
        for _ in range(5):
            ff.current().heartbeat()
        return 5

    @ff.workflow
    def flow() -> Any:
        return beats()

    handle = engine.start(flow)
    assert handle.result(30) == 5
    assert "StepBeat" not in {event["kind"] for event in handle.events()}


def test_the_last_attempt_without_a_sign_of_life_times_the_step_out(engine: ff.Engine) -> None:
    @ff.task(name="x.silent", heartbeat="20ms")
    def silent() -> None:
        while not ff.current().cancelled():
            time.sleep(0.002)

    @ff.workflow
    def flow() -> Any:
        return silent()

    handle = engine.start(flow)
    with pytest.raises(ff.RunFailed) as it:
        handle.result(30)
    assert it.value.code == "HEARTBEAT_TIMEOUT"
    (step,) = handle.steps()
    assert step.state == "timed_out"


@pytest.mark.req("P8.51", "P8.53", "P8.54")
def test_a_timeout_is_seen_by_polling_and_what_comes_late_is_refused(engine: ff.Engine) -> None:
    seen, over = threading.Event(), threading.Event()

    @ff.task(name="x.poll", timeout="20ms")
    def poll() -> str:
        while not ff.current().cancelled():
            time.sleep(0.002)
        seen.set()
        return "too late"

    @ff.workflow
    def flow() -> Any:
        return ff.on_error(poll, lambda error: [error["code"], ff.signal("go")])

    handle = engine.start(flow)
    assert seen.wait(5)
    handle.signal("go", 1)
    assert handle.result(5) == ["TIMEOUT", 1]
    until = time.monotonic() + 5
    while engine.stats().refused < 1 and time.monotonic() < until:
        over.wait(0.005)
    assert engine.stats().refused == 1
    (step,) = [step for step in handle.steps() if step.task]
    assert step.state == "timed_out"


@pytest.mark.req("P8.52", "P8.24", "P8.89")
def test_progress_is_seen_while_the_body_runs(engine: ff.Engine) -> None:
    told, go_on = threading.Event(), threading.Event()

    @ff.task(name="x.half")
    def half() -> str:
        ff.current().progress(50, "half of it")
        told.set()
        go_on.wait(10)
        return "all"

    @ff.workflow
    def flow() -> Any:
        return half()

    handle = engine.start(flow)
    assert told.wait(5)
    until = time.monotonic() + 5
    while not any(step.percent == 50 for step in handle.steps()) and time.monotonic() < until:
        time.sleep(0.005)
    assert [step.percent for step in handle.steps()] == [50]
    go_on.set()
    assert handle.result(5) == "all"
    (report,) = [event for event in handle.events() if event["kind"] == "StepProgress"]
    assert (report["percent"], report["message"]) == (50, "half of it")


@pytest.mark.req("P8.55", "P8.56", "P8.75", "P7.60")
def test_what_a_body_raises_decides_the_state_of_its_step(engine: ff.Engine) -> None:
    @ff.task(name="x.raise")
    def raising(what: str) -> None:
        match what:
            case "cancelled":
                raise ff.Cancelled("gave up")
            case "timed_out":
                raise ff.Fail("TIMEOUT", "the other side is slow")
            case "failed":
                raise RuntimeError("broken")
            case "refused":
                raise ff.Fail("CARD_REFUSED", "no money")

    @ff.workflow(on_error="continue")
    def flow() -> Any:
        return [raising(what) for what in ("cancelled", "timed_out", "failed", "refused")]

    handle = engine.start(flow)
    with pytest.raises(ff.RunFailed):
        handle.result()
    steps = [step for step in handle.steps() if step.task]
    assert [step.state for step in steps] == ["cancelled", "timed_out", "failed", "failed"]
    failures = {event["error"]["code"]: event["error"] for event in handle.events() if "error" in event}
    assert failures["EXECUTION_FAILED"]["message"] == "RuntimeError: broken"
    assert 'raise RuntimeError("broken")' in failures["EXECUTION_FAILED"]["details"]
    assert failures["CARD_REFUSED"]["message"] == "no money"
    # The workers go on after all that.
    assert engine.run(ff.Workflow.from_term("fine", give.term(1))) == 1


@pytest.mark.req("P8.60", "P8.49")
def test_an_asynchronous_body_sees_the_same(engine: ff.Engine) -> None:
    @ff.task(name="x.alook", resources={"slots": 1})
    async def alook(n: int) -> Any:
        await asyncio.sleep(0)
        return [ff.current().parameters.require("n", int), dict(ff.current().inputs)]

    @ff.workflow
    def flow(n: int) -> Any:
        return ff.each([1, 2], alook)

    with ff.Engine(capacity={"slots": 1}) as small:
        assert small.run(flow, 9) == [[1, {"n": 9}], [2, {"n": 9}]]
    with pytest.raises(ff.DefinitionError, match="slots"):
        engine.run(flow, 9)


def test_concurrent_steps_have_contexts_of_their_own(engine: ff.Engine) -> None:
    @ff.task(name="x.path")
    def path(n: int) -> str:
        time.sleep(0.001)
        return ff.current().step

    @ff.task(name="x.apath")
    async def apath(n: int) -> str:
        await asyncio.sleep(0.001)
        return ff.current().step

    @ff.workflow
    def flow() -> Any:
        return [ff.each(list(range(20)), path), ff.each(list(range(20)), apath)]

    ours, theirs = engine.run(flow)
    assert ours == [f"each[{n}]/x.path" for n in range(20)]
    assert theirs == [f"each_2[{n}]/x.apath" for n in range(20)]


def test_there_is_no_context_outside_a_task() -> None:
    with pytest.raises(LookupError, match="no task is running here"):
        ff.current()
