"""The power fails: every write that was not synced is dropped; nothing acknowledged is lost."""

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import ferroflow as ff
from ferroflow import _core
from tests.crash import power, power_work

WORK = power_work.__name__


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return power.build(tmp_path_factory.mktemp("shim") / "recorder.so")


@pytest.fixture(scope="module")
def strict(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> power.Recorder:
    """Two processes after each other on one database."""
    recorder = power.Recorder(shim, tmp_path_factory.mktemp("strict") / "disk")
    assert recorder.run(WORK, ["strict", "0", "30"]) == 0
    assert recorder.run(WORK, ["strict", "30", "60"]) == 0
    return recorder


def losses(folder: Path, told: list[str]) -> Iterator[str]:
    """What was acknowledged and is not there; raises what opening or reading a run raises."""
    path = folder / "runs.db"
    if not path.exists():
        yield from told
        return
    wanted: dict[str, set[str]] = {}
    for line in told:
        word, run, *step = line.split(" ")
        wanted.setdefault(run, set()).add(" ".join([word, *step]))
    with ff.Engine(path, resume=False) as engine:
        there = {run.id: run for run in engine.list(limit=10_000)}
        for run, things in wanted.items():
            if run not in there:
                yield from (f"{thing} {run}" for thing in things)
                continue
            view = engine.handle(run).view()
            kinds = [event["kind"] for event in engine.handle(run).events()]
            had = {f"needs {step.path}" for step in view.steps if step.state == "completed"} | {"began"}
            if "SignalReceived" in kinds:
                had.add("signalled")
            if view.state == "completed":
                assert engine.handle(run).result() == power_work.expected(int(view.correlation or 0))
                had.add("ack")
            yield from (f"{thing} {run}" for thing in things - had)
    found = msgspec.msgpack.decode(_core.Reader(path).verify())
    assert (found["complete"], found["broken"]) == (True, [])


def cuts(recorder: power.Recorder, count: int, dice: random.Random) -> list[int]:
    """Instants at which something was just acknowledged, and as many random others."""
    disk = power.Disk(recorder.folder)
    acknowledged, total = [], 0
    for number, record in enumerate(recorder.records(), start=1):
        before = len(disk.told)
        disk.play(record)
        if len(disk.told) > before:
            acknowledged.append(number)
        total = number
    half = count // 2
    return sorted([*dice.sample(acknowledged, half), *dice.sample(range(1, total), count - half)])


def failures(recorder: power.Recorder, count: int, seed: int) -> Iterator[tuple[power.Disk, random.Random]]:
    """The disk at each of many cuts of one recording."""
    dice = random.Random(seed)
    where = cuts(recorder, count, dice)
    disk = power.Disk(recorder.folder)
    for number, record in enumerate(recorder.records(), start=1):
        disk.play(record)
        while where and where[0] == number:
            where.pop(0)
            yield disk, dice


def test_the_recording_is_whole(strict: power.Recorder) -> None:
    """Played to its end it gives the files that are there, byte for byte."""
    disk = power.Disk(strict.folder)
    for record in strict.records():
        disk.play(record)
    there = {
        str(path.relative_to(strict.folder)): path.read_bytes()
        for path in strict.folder.rglob("*")
        if path.is_file()
    }
    assert disk.live() == there
    assert sum(name.startswith("runs.db.blobs/") for name in there) == 60
    assert sum(line.startswith("ack ") for line in disk.told) == 60


@pytest.mark.req("P6.94")
def test_strict_loses_nothing_that_was_acknowledged(strict: power.Recorder, shelf: Path) -> None:
    told = 0
    for number, (disk, _) in enumerate(failures(strict, 150, seed=3)):
        target = shelf / str(number)
        disk.restore(target)
        assert [*losses(target, disk.told)] == []
        told += len(disk.told)
    assert told > 150 * 100


def test_what_the_disk_wrote_behind_does_no_harm(strict: power.Recorder, shelf: Path) -> None:
    """An arbitrary part of the unsynced writes and names survives as well."""
    for number, (disk, dice) in enumerate(failures(strict, 100, seed=4)):
        target = shelf / str(number)
        disk.restore(target, dice)
        assert [*losses(target, disk.told)] == []


def test_runs_go_on_after_a_power_failure(strict: power.Recorder, shelf: Path) -> None:
    resumed = 0
    for number, (disk, dice) in enumerate(failures(strict, 40, seed=5)):
        target = shelf / str(number)
        disk.restore(target, dice if number % 2 else None)
        with ff.Engine(target / "runs.db") as engine:
            resumed += power_work.finish(engine)
            assert {run.state for run in engine.list(limit=1000)} <= {"completed"}
        assert [*losses(target, disk.told)] == []
    assert resumed > 15


@pytest.mark.parametrize("fatal", ["R2", "E9", "W40", "S12", "M3"])
def test_a_power_failure_after_a_kill(shim: Path, tmp_path: Path, shelf: Path, fatal: str) -> None:
    """The process dies between a write and its sync, its successor lives to see the power fail."""
    recorder = power.Recorder(shim, tmp_path / "disk")
    assert recorder.run(WORK, ["strict", "0", "9"], kill=fatal) == -signal.SIGKILL
    assert recorder.run(WORK, ["strict", "9", "12"]) == 0
    for number, (disk, _) in enumerate(failures(recorder, 20, seed=6)):
        target = shelf / f"{fatal}-{number}"
        disk.restore(target)
        assert [*losses(target, disk.told)] == []


def test_relaxed_loses_the_last_commits_and_nothing_else(shim: Path, tmp_path: Path, shelf: Path) -> None:
    recorder = power.Recorder(shim, tmp_path / "disk")
    assert recorder.run(WORK, ["relaxed", "0", "20"]) == 0
    lossy = 0
    for number, (disk, dice) in enumerate(failures(recorder, 40, seed=7)):
        target = shelf / str(number)
        disk.restore(target, dice if number % 2 else None)
        # It opens, and every run that is there is whole.
        lossy += any(losses(target, disk.told))
    assert lossy > 15


def test_the_test_sees_what_is_lost_without_syncs(shim: Path, tmp_path: Path, shelf: Path) -> None:
    recorder = power.Recorder(shim, tmp_path / "disk")
    assert recorder.run(WORK, ["unsynced", "0", "20"]) == 0
    lossy = 0
    for number, (disk, _) in enumerate(failures(recorder, 30, seed=3)):
        target = shelf / str(number)
        disk.restore(target)
        lossy += any(losses(target, disk.told))
    assert lossy > 15
