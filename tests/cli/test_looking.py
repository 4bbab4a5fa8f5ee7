"""Commands that look at a database, called in this process."""

import json
import xml.etree.ElementTree as ET
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

import ferroflow as ff
from ferroflow.cli import main, stepping
from ferroflow.cli.tree import tree
from ferroflow.engine import records


@ff.task(name="look.work")
def work(n: int) -> int:
    if n == 13:
        raise ff.Fail("UNLUCKY", "thirteen\nis too much")
    return n + 1


@ff.task(name="look.flaky", retry=ff.Retry(1, delay=0.001))
def flaky() -> int:
    if ff.current().attempt == 1:
        raise ff.Fail("NOT_YET", "try again", retriable=True)
    return 1


@ff.workflow(name="look_many")
def many(items: list[int]) -> Any:
    return ff.each(items, lambda item: work(work(item)))


@ff.workflow(name="look_safe")
def safe() -> Any:
    return ff.on_error(lambda: work(13), lambda error: flaky())


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("look") / "runs.db"
    with ff.Engine(path) as engine:
        for number in range(5):
            options = ff.RunOptions(correlation=f"order-{number % 2}")
            engine.run(many, [1, 2, 3], options=options)
        engine.run(safe)
        with pytest.raises(ff.RunFailed):
            engine.run(many, [1, 13])
    return path


def call(database: Path, *args: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, [*args, "--db", str(database)])
    assert done.exit_code == code, done.output
    return done


def answer(database: Path, *args: str, code: int = 0) -> Any:
    return json.loads(call(database, *args, "--json", code=code).stdout)


@pytest.mark.req("P9.78")
def test_lists_are_filtered_and_paged_with_a_total(database: Path) -> None:
    whole = answer(database, "list")
    assert (whole["total"], whole["pages"], whole["next"], len(whole["runs"])) == (7, 1, None, 7)
    assert [it["workflow"] for it in answer(database, "list", "--workflow", "look_safe")["runs"]] == [
        "look_safe"
    ]
    assert answer(database, "list", "--state", "failed")["total"] == 1
    assert answer(database, "list", "--state", "failed", "--state", "completed")["total"] == 7
    assert answer(database, "list", "--correlation", "order-1")["total"] == 2
    seen: list[str] = []
    before: list[str] = []
    while True:
        page = answer(database, "list", "--limit", "3", *before)
        assert (page["total"], page["pages"]) == (7, 3)
        seen += [it["id"] for it in page["runs"]]
        if page["next"] is None:
            break
        before = ["--before", page["next"]]
    assert seen == [it["id"] for it in whole["runs"]]
    oldest, newest = (records.moment(whole["runs"][at]["created"]) for at in (-1, 0))
    form = "%Y-%m-%dT%H:%M:%S%z"
    after = (newest + timedelta(seconds=1)).strftime(form)
    assert answer(database, "list", "--since", after)["total"] == 0
    assert answer(database, "list", "--until", after)["total"] == 7
    local = oldest.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    assert answer(database, "list", "--since", local)["total"] == 7
    assert answer(database, "list", "--until", local)["total"] == 0
    text = call(database, "list", "--limit", "2").output
    assert f"2 of 7 runs, 4 pages; older ones: --before {whole['runs'][1]['id']}" in text


def test_a_run_may_be_named_by_the_beginning_of_its_id(database: Path) -> None:
    runs = [it["id"] for it in answer(database, "list")["runs"]]
    length = next(at for at in range(1, 37) if len({run[:at] for run in runs}) == len(runs))
    for run in runs:
        assert answer(database, "show", run[:length])["id"] == run
        assert answer(database, "show", run.replace("-", "").upper())["id"] == run
    several = answer(database, "show", runs[0][:2], code=1)["error"]
    assert "several runs begin with" in several["message"]
    assert runs[0] in several["message"]
    for unknown in ("ffffffff", "nonsense", "", "0" * 40):
        error = answer(database, "show", unknown, code=1)["error"]
        assert error["kind"] == "RunNotFound", unknown


@pytest.mark.req("P9.77", "P8.98")
def test_a_run_is_shown_with_its_steps_as_a_tree(database: Path) -> None:
    run = answer(database, "list", "--state", "failed")["runs"][0]["id"]
    lines = call(database, "show", run).stdout.splitlines()
    assert f"run          {run}" in lines
    assert "error        UNLUCKY: thirteen" in lines
    assert "             is too much" in lines
    assert "in step      each[1]/look.work" in lines
    head = next(at for at, line in enumerate(lines) if line.startswith("step "))
    steps = [line.split()[:2] for line in lines[head + 1 :]]
    assert steps[0][0] == "each"
    assert ["[0]", "look.work"] in steps
    assert any(
        line.startswith("  [1] look.work ") and "UNLUCKY: thirteen is too much" in line for line in lines
    )
    few = call(database, "show", run, "--steps", "2").stdout
    assert "… and 3 more steps: --steps 5" in few

    done = answer(database, "list", "--correlation", "order-0")["runs"][0]["id"]
    view = answer(database, "show", done, "--values")
    assert (view["input"], view["result"], view["variables"]) == ({"items": [1, 2, 3]}, [3, 4, 5], {})
    assert view["correlation"] == "order-0"
    assert all(step["started"] <= step["ended"] for step in view["steps"])
    assert "correlation  order-0" in call(database, "show", done).stdout
    assert "result       [3,4,5]" in call(database, "show", done, "--values").stdout
    assert answer(database, "show", done)["result"] is None


@pytest.mark.req("P9.83")
def test_events_are_shown_up_to_a_limit(database: Path) -> None:
    run = answer(database, "list", "--workflow", "look_safe")["runs"][0]["id"]
    whole = answer(database, "show", run, "--events")["events"]
    assert whole[0]["kind"] == "RunCreated"
    assert whole[-1]["kind"] == "RunCompleted"
    assert answer(database, "show", run, "--events", "--limit", "3")["events"] == whole[-3:]
    text = call(database, "show", run, "--events", "--limit", "3").stdout
    assert f"… {len(whole) - 3} earlier events" in text
    assert "RunCompleted" in text
    assert "RunCreated" not in text
    unknown = answer(database, "show", "00000000-0000-0000-0000-000000000000", "--events", code=1)
    assert unknown["error"]["kind"] == "RunNotFound"


def test_the_tree_puts_handlers_and_copies_below_their_composites(database: Path) -> None:
    run = answer(database, "list", "--workflow", "look_safe")["runs"][0]["id"]
    view = records.run_view(ff._core.Reader(database).inspect(run, False))
    assert [(depth, name, step.state) for depth, name, step in tree(view.steps)] == [
        (0, "try", "completed"),
        (1, "look.work", "failed"),
        (1, "catch: look.flaky", "completed"),
    ]


def test_a_gantt_chart_has_a_bar_for_each_attempt(database: Path, tmp_path: Path) -> None:
    run = answer(database, "list", "--workflow", "look_safe")["runs"][0]["id"]
    target = tmp_path / "run.svg"
    call(database, "show", run, "--gantt", str(target))
    titles = [
        it.text or "" for it in ET.fromstring(target.read_text()).iter("{http://www.w3.org/2000/svg}title")
    ]
    bars = [title.partition(":")[0] + title.rpartition(",")[2] for title in titles[1:]]
    assert bars == ["look.work failed", "look.flaky failed", "look.flaky, try 2 completed"]


def test_attempts_that_were_cut_off_are_cancelled() -> None:
    step = {
        "path": "a", "block": 0, "node": 0, "kind": "task", "task": "t", "state": "running", "attempts": 2,
        "scheduled": 1, "started": 50, "ended": None, "ran_on": None, "error": None, "percent": None,
        "message": None, "updated": None, "used": None, "result": None,
    }  # fmt: skip
    used: dict[str, Any] = {"wall": 5, "queued": 1, "cpu": 4, "memory": 1 << 30, "read": 0, "written": None}
    run = {
        "id": "r", "workflow": "w", "version": "1", "state": "running", "degraded": False, "priority": 2,
        "correlation": None, "created": 0, "started": 0, "ended": None, "error": None, "reason": None,
        "recoveries": 1, "steps": [step], "blocks": [], "input": None, "result": None, "variables": None,
    }  # fmt: skip
    view = msgspec.convert(run, records.RunView)
    log: list[dict[str, Any]] = [
        {"at": 10, "kind": "StepStarted", "step": 0, "attempt": 1, "token": 7},
        {"at": 20, "kind": "StepProgress", "step": 0},
        {"at": 40, "kind": "RunRecovered"},
        {"at": 50, "kind": "StepStarted", "step": 0, "attempt": 2, "token": 9},
        {"at": 60, "kind": "StepUsed", "step": 0, "token": 7, "used": used},
        {"at": 60, "kind": "StepUsed", "step": 0, "token": 3, "used": used},
    ]
    found = records.attempts(view, log)
    assert [(it.number, it.started, it.ended, it.state) for it in found] == [
        (1, 10, 20, "cancelled"),
        (2, 50, None, "running"),
    ]
    # The body of the first went on for a while.
    assert [it.used for it in found] == [records.Used(**used), None]
    log.append({"at": 70, "kind": "StepCompleted", "step": 0, "token": 9, "used": {**used, "wall": 8}})
    last = records.attempts(view, log)[1]
    assert (last.state, last.used) == ("completed", records.Used(**{**used, "wall": 8}))


@pytest.mark.req("P8.98")
def test_one_step_is_shown_with_its_attempts_and_its_whole_error(database: Path) -> None:
    run = answer(database, "list", "--workflow", "look_safe")["runs"][0]["id"]
    path = "try/catch/look.flaky"
    step = answer(database, "show", run, path, "--events", "--values")
    assert (step["path"], step["state"], step["result"]) == (path, "completed", 1)
    assert step["used"]["wall"] > 0
    assert [(it["number"], it["state"]) for it in step["tries"]] == [(1, "failed"), (2, "completed")]
    kinds = [event["kind"] for event in step["events"]]
    assert kinds == ["StepStarted", "StepRetrying", "TimerFired", "StepStarted", "StepCompleted"]
    assert "events" not in answer(database, "show", run, path)
    assert len(answer(database, "show", run, path, "--events", "--limit", "2")["events"]) == 2

    lines = call(database, "show", run, path, "--values", "--events").stdout.splitlines()
    assert lines[0] == f"step         {path}"
    assert {"what         look.flaky", "state        completed", "result       1"} <= {*lines}
    assert [line.split()[:2] for line in lines if line.startswith(("1 ", "2 "))] == [
        ["1", "failed"],
        ["2", "completed"],
    ]
    assert lines[-1].split()[3] == "StepCompleted"

    lines = call(database, "show", run, "try/look.work").stdout.splitlines()
    at = lines.index("error        UNLUCKY: thirteen")
    assert lines[at + 1] == "             is too much"
    refused = call(database, "show", run, "look.work", code=2).output
    assert "has no step 'look.work'; it has try, try/look.work" in " ".join(refused.split())


def test_what_an_attempt_took_is_told_as_people_read_it() -> None:
    some = records.Used(wall=600_000, queued=100_000, cpu=520_000, memory=83_400_000, read=0, written=12_345)
    said = "cpu 0.520 s, memory 83 MB, read 0 B, written 12 kB; waited 0.100 s, ran 0.600 s"
    assert stepping.used(some) == said
    little = records.Used(wall=1_000, queued=0, cpu=None, memory=None, read=None, written=None)
    assert stepping.used(little) == "waited 0.000 s, ran 0.001 s"
    amounts = (999, 1_234, 999_499, 999_999, 5_000_000_000, 3 * 10**16)
    assert [stepping.size(amount) for amount in amounts] == [
        "999 B", "1.2 kB", "999 kB", "1.0 MB", "5.0 GB", "30000 TB",
    ]  # fmt: skip
