"""Whatever is wrong gives a specific error that says where and what to do, and loses nothing."""

import sqlite3
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

import ferroflow as ff
from ferroflow import _core
from ferroflow.define import registry


@ff.task(name="b.one")
def one(n: int = 1) -> int:
    return n


@pytest.mark.req("P1.23", "P7.90", "P7.91", "P7.93", "P8.68", "P8.88")
def test_everything_wrong_with_a_definition_at_once() -> None:
    task = {"task": "b.one"}
    with pytest.raises(ff.DefinitionError) as caught:
        _ = ff.load({
            "name": "w",
            "inputs": {"n": "integer"},
            "term": {"partial": [
                {**task, "id": "reads", "args": [{"$": "steps.missing"}]},
                {**task, "id": "a", "after": ["b"]},
                {**task, "id": "b", "after": ["a"]},
                {"sequence": [{**task, "id": "twin"}, {**task, "id": "twin"}]},
                {**task, "id": "broken", "args": [{"$": "1 +"}]},
                {"loop": task, "while": "true"},
                {**task, "id": "fields", "typo": 1, "options": {"timeout": "5x"}},
                # What refers to something wrong is right.
                {**task, "id": "right", "args": [{"$": "[steps.broken, steps.loop, steps.twin]"}]},
            ]},
        }).program  # fmt: skip
    found = {problem.code: (problem.place, problem.message) for problem in caught.value.problems}
    assert len(found) == len(caught.value.problems) == 8, caught.value
    places = {code: place for code, (place, _) in found.items()}
    assert places == {
        "bad-input": "inputs/n",
        "unknown-reference": "reads",
        "cyclic-dependency": "a",
        "duplicate-step": "twin",
        "bad-expression": "term/partial[4]/args[0]",
        "unbounded-loop": "term/partial[5]/max",
        "unknown-field": "term/partial[6]/typo",
        "bad-duration": "term/partial[6]/options/timeout",
    }
    assert "steps.missing" in found["unknown-reference"][1]
    assert "a -> b -> a" in found["cyclic-dependency"][1]
    for place in places.values():
        assert place in str(caught.value)


@pytest.mark.req("P4.149")
def test_an_unregistered_task() -> None:
    with ff.Engine() as engine, pytest.raises(ff.TaskNotFound, match="nowhere"):
        engine.start(ff.load({"name": "w", "term": {"task": "nowhere"}}))


def test_wrong_inputs_are_all_named() -> None:
    @ff.workflow
    def flow(n: int, s: str) -> Any:
        return one(n)

    with ff.Engine() as engine:
        with pytest.raises(ff.InvalidInput, match=r'input "n" is str.*input "s" is missing'):
            engine.start(flow, n="x")
        with pytest.raises(ff.InvalidInput, match='no input "typo"'):
            engine.start(flow, n=1, s="", typo=2)


def test_an_unserialisable_result_says_where() -> None:
    @ff.task(name="b.lock")
    def lock() -> Any:
        return {"a": [1, object()]}

    @ff.workflow
    def flow() -> Any:
        return lock()

    with (
        ff.Engine() as engine,
        pytest.raises(ff.RunFailed, match=r"result\['a'\]\[1\] is a builtins.object") as it,
    ):
        engine.run(flow)
    assert it.value.code == "UNSERIALISABLE_RESULT"


def test_a_result_too_large() -> None:
    @ff.task(name="b.large")
    def large() -> bytes:
        return bytes(2000)

    @ff.workflow
    def flow() -> Any:
        return large()

    with (
        ff.Engine(max_value=1000) as engine,
        pytest.raises(ff.RunFailed, match="store it in a file") as it,
    ):
        engine.run(flow)
    assert it.value.code == "RESULT_TOO_LARGE"


def test_a_task_that_calls_sys_exit_fails_its_step_only() -> None:
    @ff.task(name="b.leave")
    def leave() -> None:
        sys.exit(3)

    @ff.workflow
    def flow() -> Any:
        return leave()

    @ff.workflow
    def fine() -> Any:
        return one(2)

    with ff.Engine() as engine:
        with pytest.raises(ff.RunFailed, match=r"sys\.exit\(3\)") as it:
            engine.run(flow)
        assert it.value.code == "EXIT"
        assert engine.run(fine) == 2


def test_an_expression_that_fails_says_which_and_why() -> None:
    @ff.workflow
    def flow(data: dict) -> Any:  # type: ignore[type-arg]
        return one(data["missing"])

    with ff.Engine() as engine, pytest.raises(ff.RunFailed, match='no key "missing"') as it:
        engine.run(flow, {"there": 1})
    assert it.value.code == "EXPRESSION_FAILED"


def test_each_over_what_is_no_list() -> None:
    @ff.workflow
    def flow(data: object) -> Any:
        return ff.each(data, one)

    with ff.Engine() as engine, pytest.raises(ff.RunFailed, match="needs a list"):
        engine.run(flow, 5)


def test_foreign_corrupt_and_newer_files(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_bytes(b"hello, I am no database" * 100)
    with pytest.raises(ff.ForeignDatabase, match="not a ferroflow database"):
        ff.Engine(text)
    assert text.read_bytes().startswith(b"hello")

    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    with pytest.raises(ff.ForeignDatabase, match="another program"):
        ff.Engine(other)

    ours = tmp_path / "ours.db"
    with ff.Engine(ours):
        pass
    connection = sqlite3.connect(ours)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ff.NewerDatabase, match="upgrade"):
        ff.Engine(ours)


@pytest.mark.req("P5.94", "P7.25")
def test_a_flipped_bit_is_found_and_named(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    @ff.workflow
    def flow() -> Any:
        return [one(7), ff.signal("never")]

    with ff.Engine(path) as engine:
        run = engine.start(flow).id
        other = engine.start(flow).id
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        "r, b = c.execute('SELECT run, body FROM records ORDER BY run, first').fetchone(); b = bytearray(b);"
        "b[60] ^= 1; c.execute('UPDATE records SET body = ? WHERE run = ? AND first = 1', (bytes(b), r));"
        "c.commit()"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    # The others go on; this one says what is wrong with it, wherever it is asked for.
    with ff.Engine(path) as engine:
        assert list(engine.unresumed) == [run]
        damage = f"record 0 of run {run}.*checksum"
        with pytest.raises(ff.CorruptDatabase, match=damage):
            engine.handle(run).result()
        with pytest.raises(ff.CorruptDatabase, match=damage):
            engine.resume([run])
        engine.handle(other).signal("never", 1)
        assert engine.handle(other).result(5) == [7, 1]


def damage(path: Path, statement: str, *parameters: object) -> None:
    """Change a database behind its engine's back, in a process of its own."""
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        "assert c.execute(sys.argv[2], [bytes.fromhex(it) for it in sys.argv[3:]]).rowcount; c.commit()"
    )
    subprocess.run([sys.executable, "-c", script, str(path), statement, *map(str, parameters)], check=True)


@pytest.mark.req("P6.91")
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM records WHERE run = ?1 AND first = (SELECT min(first) FROM records WHERE run = ?1)",
        "INSERT INTO records SELECT run, first + 1000, body FROM records WHERE run = ?1 "
        "AND first = (SELECT max(first) FROM records WHERE run = ?1)",
    ],
)
def test_a_record_that_is_missing_or_there_twice_is_found(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "runs.db"

    @ff.workflow
    def flow() -> Any:
        return [ff.signal("a"), ff.signal("b")]

    with ff.Engine(path) as engine:
        handle = engine.start(flow)
        handle.signal("a")
    damage(path, statement, handle.id.replace("-", ""))
    with ff.Engine(path) as engine:
        assert list(engine.unresumed) == [handle.id]
        with pytest.raises(ff.CorruptDatabase, match="does not follow the record before it"):
            engine.handle(handle.id).events()


@pytest.mark.req("P7.68", "P5.94")
def test_a_run_without_its_definition_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    @ff.workflow(name="lost")
    def lost() -> Any:
        return ff.signal("go")

    @ff.workflow(name="kept")
    def kept() -> Any:
        return [ff.signal("go"), one(1)]

    with ff.Engine(path) as engine:
        without, with_ = engine.start(lost).id, engine.start(kept).id
    damage(
        path,
        "DELETE FROM definitions WHERE digest = (SELECT digest FROM runs WHERE id = ?1)",
        without.replace("-", ""),
    )
    with ff.Engine(path) as engine:
        assert list(engine.unresumed) == [without]
        with pytest.raises(ff.CorruptDatabase, match=r'definition of workflow "lost"'):
            engine.handle(without).view()
        engine.handle(with_).signal("go")
        assert engine.handle(with_).result(5) == [None, 1]


@pytest.mark.req("P7.162")
def test_errors_are_of_distinct_kinds_and_keep_their_causes() -> None:
    @ff.task(name="b.chained")
    def chained() -> None:
        try:
            registry._tasks["nowhere"]
        except KeyError as error:
            raise RuntimeError("could not look it up") from error

    @ff.workflow
    def flow() -> None:
        return chained()

    with ff.Engine() as engine, pytest.raises(ff.RunFailed, match="could not look it up") as it:
        engine.run(flow)
    for part in ("KeyError: 'nowhere'", "direct cause", "RuntimeError: could not look it up"):
        assert part in it.value.details
        assert part in it.value.__notes__[0]
    kinds = [
        ff.DefinitionError, ff.InvalidInput, ff.TaskNotFound, ff.WorkflowNotFound, ff.RunNotFound,
        ff.RunExists, ff.RunFailed, ff.RunCancelled, ff.RunEnded, ff.EngineBusy, ff.EngineClosed,
        ff.StorageError,
    ]  # fmt: skip
    for kind in kinds:
        assert [other for other in kinds if issubclass(kind, other)] == [kind]
        assert issubclass(kind, ff.FerroflowError)


def test_a_missing_tail_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    @ff.workflow
    def flow() -> Any:
        return one(7)

    with ff.Engine(path) as engine:
        engine.run(flow)
    before = path.read_bytes()
    with ff.Engine(path) as engine:
        engine.run(flow)
    path.write_bytes(before)
    with pytest.raises(ff.MissingTail, match="its end is missing"):
        ff.Engine(path)


def test_a_second_engine_on_the_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with ff.Engine(path), pytest.raises(ff.DatabaseInUse, match="in use by another engine"):
        ff.Engine(path)
    with ff.Engine(path):
        pass


@pytest.mark.req("P4.149", "P7.12")
def test_a_full_disk_halts_the_engine_and_loses_nothing(tmp_path: Path) -> None:
    """The limit on the size of files stands in for a full disk."""
    script = """
import resource, signal, sys
import ferroflow as ff
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
@ff.task(name="b.bytes")
def some(n: int) -> bytes:
    return bytes(n)
@ff.workflow
def flow(n: int):
    return some(n)
engine = ff.Engine(sys.argv[1])
done = []
try:
    for _ in range(1000):
        handle = engine.start(flow, 20_000)
        handle.result()
        print(handle.id, flush=True)
        if len(done) == 5:
            resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
        done.append(handle.id)
except ff.StorageError as error:
    print("halted:", error)
engine.close()
"""
    path = tmp_path / "runs.db"
    ended = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=50
    )
    lines = ended.stdout.splitlines()
    assert lines[-1].startswith("halted:"), ended
    with ff.Engine(path, resume=False) as engine:
        for run in lines[:-1]:
            assert engine.handle(run).result() == bytes(20_000)
        # The list of runs and their events tell the same, also of the run that was cut off.
        for record in engine.list(limit=1000):
            view = engine.handle(record.id).view()
            assert (record.state, record.ended) == (view.state, view.ended)
    found = msgspec.msgpack.decode(_core.Reader(path).verify())
    assert (found["complete"], found["broken"]) == (True, [])


@pytest.mark.req("P7.68")
def test_closed_engine_and_unknown_run() -> None:
    engine = ff.Engine()
    with pytest.raises(ff.RunNotFound):
        engine.handle("00000000-0000-0000-0000-000000000000")
    engine.close()
    engine.close()

    @ff.workflow
    def flow() -> Any:
        return one(1)

    with pytest.raises(ff.EngineClosed):
        engine.start(flow)


def test_blocks_within_blocks_can_not_multiply_a_value_without_bound() -> None:
    term: dict[str, Any] = {"task": "b.one", "id": "x"}
    for depth in range(60):
        block = {"term": term, "result": {"a": {"$": "steps.x"}, "b": {"$": "steps.x"}}}
        term = {"workflow": f"w{depth}", "id": "x", "do": block}
    used = {"task": "b.one", "args": [{"$": "steps.x"}]}
    with ff.Engine(max_value=100_000) as engine:
        handle = engine.start(ff.load({"name": "w", "term": term}))
        with pytest.raises(ff.ValueTooLarge, match="larger max_value"):
            handle.result()
        assert handle.status() == "completed"
        with pytest.raises(ff.RunFailed, match="larger max_value"):
            engine.run(ff.load({"name": "w", "term": [term, used]}))


def test_a_workflow_without_steps_yields_what_it_says() -> None:
    with ff.Engine() as engine:
        assert engine.run(ff.load({"name": "w", "term": [], "result": {"a": 5}})) == {"a": 5}
        assert engine.run(ff.load({"name": "w", "term": []})) is None


@pytest.mark.parametrize("body", [{"sequence": []}, {"sleep": 0}], ids=["nothing", "sleep 0"])
def test_an_endless_loop_that_runs_no_task_holds_nobody_up(body: dict[str, Any]) -> None:
    term = {"loop": body, "while": "true", "unbounded": True}
    with ff.Engine() as engine:
        endless = engine.start(ff.load({"name": "endless", "term": term}))
        for n in range(20):
            assert engine.run(ff.load({"name": "other", "term": compute(n)})) == {"result": n}
        endless.pause()
        endless.resume()
        endless.cancel()
        assert endless.status() == "cancelled"


def test_what_takes_many_turns_comes_to_the_same() -> None:
    """Each of the conditions looks at the whole input, so that they take longer than a turn."""
    choice = {"choice": [{"if": "item < size(input.numbers) / 2", "then": compute(1)}], "else": compute(2)}
    term = {"each": {"$": "input.numbers"}, "do": choice}
    flow = ff.load({"name": "turns", "inputs": ["numbers"], "term": term})
    with ff.Engine() as engine:
        found = engine.run(flow, list(range(600)))
        assert found == [{"result": 1}] * 300 + [{"result": 2}] * 300
        assert engine.run(ff.load({"name": "l", "term": counting(20_000)})) == 20_000


def compute(n: int) -> dict[str, Any]:
    return {"task": "compute", "args": ["sum", [n]]}


def counting(most: int) -> dict[str, Any]:
    body = {"term": {"sequence": []}, "result": {"$": "state + 1"}}
    return {"loop": body, "init": 0, "while": f"state < {most}", "max": most}


@ff.task(name="b.waits")
def waits() -> int:
    time.sleep(0.02)
    return 1


@pytest.mark.parametrize("none", [0, 0.0, "0s", timedelta()])
def test_a_timeout_of_0_is_none_wherever_it_stands(none: Any) -> None:
    with ff.Engine(step_timeout="1ms", run_timeout="1ms") as engine:

        @ff.workflow(timeout=none)
        def limited() -> int:
            return waits.options(timeout=none)()

        @ff.workflow
        def outer() -> int:
            return limited()

        assert engine.run(limited) == 1
        assert engine.run(outer, options=ff.RunOptions(timeout=none)) == 1
    if not isinstance(none, timedelta):
        step = {"task": "b.waits", "options": {"timeout": none}}
        flow = ff.load({"name": "w", "timeout": none, "term": {"timeout": none, "do": step}})
        with ff.Engine() as engine:
            assert engine.run(flow) == 1


def test_a_timeout_that_is_shorter_than_can_be_measured_is_one() -> None:
    with ff.Engine() as engine:
        for shortest in (1e-9, "0.0001us"):
            flow = ff.Workflow.from_term("short", waits.options(timeout=shortest).term())
            with pytest.raises(ff.RunFailed, match="did not end within"):
                engine.run(flow)


@pytest.mark.parametrize(
    "raw", [b"", b"\xc1", b"\x93\x01", b"\x01\x02", b"\xdd\xff\xff\xff\xff", b"\xa1\xff"]
)
def test_bytes_that_are_no_value_are_refused_where_they_come_in(raw: bytes) -> None:
    @ff.task(name="b.raw")
    def unchecked() -> msgspec.Raw:
        return msgspec.Raw(raw)

    with ff.Engine() as engine:
        with pytest.raises(ff.RunFailed, match=r"the result (can't be read|goes on)") as caught:
            engine.run(ff.Workflow.from_term("raw", unchecked.term()))
        assert caught.value.code == "UNSERIALISABLE_RESULT"
        handle = engine.start(ff.load({"name": "s", "term": {"signal": "go"}}))
        with pytest.raises(ValueError, match=r"the value of signal .go."):
            handle.signal("go", msgspec.Raw(raw))
        handle.signal("go", 1)
        assert handle.result(5) == 1


def test_what_is_given_to_a_run_and_can_not_be_recorded_is_named() -> None:
    flow = ff.load({"name": "s", "inputs": ["n"], "term": {"signal": "go"}})
    knot: list[Any] = []
    knot.append(knot)
    with ff.Engine() as engine:
        handle = engine.start(flow, 1)
        for value, why in [
            ({"a": [object()]}, r"\['a'\]\[0\] is a builtins.object"),
            (1 << 64, "more than 64 bits"),
            ("\ud800", "surrogate"),
            (knot, "contains itself"),
        ]:
            with pytest.raises(ff.InvalidInput, match=why):
                engine.start(flow, value)
            with pytest.raises(ff.InvalidInput, match=why):
                handle.signal("go", value)
        with pytest.raises(ff.InvalidInput, match="priority='urgent'"):
            engine.start(flow, 1, options=ff.RunOptions(priority="urgent"))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="nan seconds is not a duration"):
            handle.result(float("nan"))


@pytest.mark.parametrize(
    "settings",
    [
        {"workers": 0},
        {"async_limit": 0},
        {"max_runs": 0},
        {"max_value": -1},
        {"max_value": float("nan")},
        {"capacity": {"cpu": -1}},
        {"capacity": {"cpu": float("nan")}},
        {"capacity": {"memory": float("inf")}},
        {"step_timeout": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"-1|0|nan|inf"):
        ff.Engine(**settings)


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (Mute(), "EXECUTION_FAILED", "Mute: <its text can't be made: RuntimeError>"),
        (OSError("\udcff.txt"), "EXECUTION_FAILED", r"OSError: \udcff.txt"),
        (ValueError("x" * 1_000_000), "EXECUTION_FAILED", "ValueError: xxx"),
        (ff.Fail(5, None), "5", "None"),  # type: ignore[arg-type]
        (ff.Fail("\ud800", "why"), r"\ud800", "why"),
        (StopIteration(), "EXECUTION_FAILED", "StopIteration"),
    ],
    ids=["mute", "surrogate", "long", "no texts", "code", "stop"],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_whatever_a_body_raises_is_recorded_and_ends_the_step(
    error: BaseException, code: str, message: str, asynchronous: bool
) -> None:
    @ff.task(name="b.raises")
    def raises() -> None:
        raise error

    @ff.task(name="b.araises")
    async def araises() -> None:
        raise error

    task = araises if asynchronous else raises
    with ff.Engine() as engine:
        with pytest.raises(ff.RunFailed) as caught:
            engine.start(ff.Workflow.from_term("raises", task.term())).result(5)
        assert (caught.value.code, message in str(caught.value)) == (code, True)
        assert len(str(caught.value)) + len(caught.value.details) < 200_000
        assert engine.stats().running == 0


def test_the_largest_id_is_one_as_any_other(tmp_path: Path) -> None:
    last = ff.RunOptions(id="f" * 32)
    flow = ff.load({"name": "s", "term": {"signal": "go"}})
    for _ in range(2):
        with ff.Engine(tmp_path / "runs.db") as engine:
            if not engine.list():
                engine.start(flow, options=last)
            with pytest.raises(ff.RunExists):
                engine.start(flow, options=last)
            assert engine.handle("f" * 32).status() == "running"
