"""A real process is killed at random instants; nothing that it was told is lost or done again."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

import ferroflow as ff
from ferroflow import _core
from ferroflow.engine import records
from tests.crash import kill_work

ROOT = Path(__file__).parents[2]


def needed(path: str) -> str | None:
    """The step that has to be completed before the step of a path may start."""
    if path == "last":
        return "sleep"
    if found := re.fullmatch(r"(each\[\d\]/)c\.work", path):
        return f"{found[1]}c.awork"
    if found := re.fullmatch(r"loop\[(\d)\]/c\.work", path):
        return f"loop[{int(found[1]) - 1}]/c.work" if found[1] != "0" else "c.work"
    return None


@dataclass
class Log:
    """What the database holds of a run."""

    view: records.RunView
    events: list[dict[str, Any]]
    completed: set[int] = field(init=False)
    """Numbers of the steps with a recorded result."""
    started: set[int] = field(init=False)
    """Tokens of the attempts whose start is recorded."""
    slept: dict[str, int] = field(init=False)
    """Until when each sleep lasts."""

    def __post_init__(self) -> None:
        kinds = ("StepCompleted", "TimerFired", "SignalTaken")
        steps = [event["step"] for event in self.events if event["kind"] in kinds]
        assert not [step for step, times in Counter(steps).items() if times > 1], "completed twice"
        self.completed = {*steps}
        self.started = {event["token"] for event in self.events if event["kind"] == "StepStarted"}
        until = {event["step"]: event["until"] for event in self.events if event["kind"] == "Slept"}
        self.slept = {self.view.steps[step].path: at for step, at in until.items()}
        for event in self.events:
            if event["kind"] == "Slept":
                assert event["until"] - event["at"] == kill_work.NAP_MICROS
            if event["kind"] == "TimerFired":
                assert event["at"] >= until[event["step"]], "a sleep ended early"
        taken = [event["signal"] for event in self.events if event["kind"] == "SignalTaken"]
        assert len(taken) == len({*taken}), "a signal was consumed twice"

    def signals(self) -> int:
        return sum(event["kind"] == "SignalReceived" for event in self.events)


class Soak:
    """One database, and all that the processes on it were told before they were killed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.generation = 0
        self.acknowledged: set[str] = set()
        self.began: set[str] = set()
        self.done: set[tuple[str, int]] = set()
        """Steps of unfinished runs that are completed in the log, as of the last kill."""
        self.cut_off: set[tuple[str, int]] = set()
        """Steps that may have been running when the last kill came."""
        self.ended: set[str] = set()
        """Runs that have ended, as of the last kill."""
        self.tokens: set[int] = set()
        self.bodies_begun = self.in_flight = self.checked = 0

    def start(self, mode: str) -> subprocess.Popen[str]:
        self.generation += 1
        self.bodies = self.path.with_suffix(f".bodies-{self.generation}")
        return subprocess.Popen(
            [sys.executable, "-m", kill_work.__name__, str(self.path), str(self.bodies), mode],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def kill(self, after: float) -> None:
        process = self.start("go on")
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        time.sleep(after)
        os.kill(process.pid, signal.SIGKILL)
        told, _ = process.communicate()
        self.check(told)

    def check(self, told: str) -> None:
        """Compare what the process was told with the database as the kill left it."""
        reader = _core.Reader(self.path)
        logs: dict[str, Log] = {}

        def log(run: str) -> Log:
            if run not in logs:
                view = records.run_view(reader.inspect(run, False))
                logs[run] = Log(view, records.events(reader.events(run)))
            return logs[run]

        for line in told.splitlines():
            match line.split(" "):
                case ["began", run]:
                    self.began.add(run)
                    log(run)
                case ["signalled", run, number]:
                    assert log(run).signals() > int(number), "a signal is lost"
                case ["ack", run]:
                    assert log(run).view.state == "completed", "an acknowledged run is lost"
                    self.acknowledged.add(run)
                case _:
                    pytest.fail(line)

        begun, ended = self.read_bodies(log)
        unfinished = [str(row["id"]) for row in reader.runs(None, ["running"], None, None, None, None, 1000)]
        running = any(
            step.state == "running" and step.task is not None
            for run in unfinished
            for step in log(run).view.steps
        )
        lost = any(step not in log(run).completed for run, step in ended)
        # A body was cut off, or one had ended whose commit was under way, or the log says that one ran.
        self.in_flight += bool(begun - ended) or lost or running
        self.ended |= {run for run, it in logs.items() if it.view.state == "completed"}
        self.cut_off = {
            (run, number)
            for run in unfinished
            for number, step in enumerate(log(run).view.steps)
            if step.task is not None and step.state in ("running", "ready")
        }
        self.done = {(run, step) for run in unfinished for step in log(run).completed}

    def read_bodies(self, log: Any) -> tuple[set[tuple[str, int]], set[tuple[str, int]]]:
        """Check the bodies that began; return them, and those that came to their end."""
        found: dict[str, set[tuple[str, int]]] = defaultdict(set)
        for line in self.bodies.read_text().splitlines():
            word, key, token, at = line.split(" ")
            run, step = key.split("/")
            assert (run, int(step)) not in found[word], "a step ran twice without a crash between"
            found[word].add((run, int(step)))
            if word == "end":
                continue
            self.bodies_begun += 1
            assert run not in self.ended, "a step of an ended run ran again"
            assert (run, int(step)) not in self.done, "a completed step ran again"
            assert int(token) not in self.tokens, "a fencing token was given twice"
            self.tokens.add(int(token))
            if (run, int(step)) in self.cut_off:
                # Or one that kills its process would be tried for ever.
                assert int(token) in log(run).started, "a second try is not counted"
            steps = log(run).view.steps
            assert int(step) < len(steps), "a step ran although what opened it is not in the log"
            path = steps[int(step)].path
            if (before := needed(path)) is None:
                continue
            self.checked += 1
            states = {it.path: it.state for it in steps}
            assert states[before] == "completed", f"{path} began, and {before} is not in the log"
            if before in log(run).slept:
                assert int(at) >= log(run).slept[before], "a sleep ended early"
        return found["start"], found["end"]


def soak(path: Path, kills: int, seed: int) -> str:
    dice = random.Random(seed)
    it = Soak(path)
    for _ in range(kills):
        it.kill(dice.uniform(0.0, 0.12))
    acknowledged = len(it.acknowledged)
    process = it.start("finish")
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    it.check(told.removeprefix("up\n"))
    reader = _core.Reader(path)
    with ff.Engine(path, resume=False) as engine:
        runs = engine.list(limit=1_000_000)
        assert {run.state for run in runs} == {"completed"}
        assert it.began | it.acknowledged <= {run.id for run in runs}
        for run in runs:
            assert engine.handle(run.id).result() == kill_work.EXPECTED
            log = Log(engine.handle(run.id).view(), engine.handle(run.id).events())
            assert len(log.completed) == len(
                [step for step in log.view.steps if step.kind not in ("each", "loop")]
            )
            assert log.signals() == len(kill_work.SIGNALS)
    found = msgspec.msgpack.decode(reader.verify())
    assert (found["complete"], found["broken"]) == (True, [])
    assert it.in_flight >= 0.8 * kills
    assert it.checked > 10 * kills
    return (
        f"\n{kills} kills, {it.in_flight} with a step or commit in flight"
        f"\n{len(runs)} runs, {acknowledged} of them acknowledged before a kill"
        f"\n{it.bodies_begun} bodies began, {it.checked} of them after a step that had to be on disk"
    )


@pytest.mark.req("P4.173", "P5.97", "P7.49", "P8.86", "P6.148", "P6.94")
@pytest.mark.timeout(240)
def test_sixty_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = soak(tmp_path / "runs.db", 60, 20)
    with capsys.disabled():
        print(said)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_a_thousand_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = soak(tmp_path / "runs.db", 1000, 1)
    with capsys.disabled():
        print(said)
