"""Commands: what they are given, what becomes of what they write, and how they end."""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from tests.engine.test_processes import alive, eventually, flow_of


@pytest.fixture(scope="module")
def engine() -> Iterator[ff.Engine]:
    with ff.Engine(processes=2, capacity={"cpu": 64}) as made:
        yield made


@ff.command(name="cmd.shell")
def shell(text: str) -> str:
    return text


@ff.command(name="cmd.args")
def args(words: list[Any]) -> list[Any]:
    return words


@ff.command(name="cmd.line")
def line(fields: dict[str, Any]) -> ff.Command:
    if "stdin_file" in fields:
        fields["stdin"] = Path(fields.pop("stdin_file"))
    return ff.Command(**fields)


def failing(engine: ff.Engine, task: Any, *args: Any) -> ff.RunFailed:
    with pytest.raises(ff.RunFailed) as caught:
        engine.run(flow_of(task, *args))
    return caught.value


def test_arguments_are_passed_on_as_they_are(engine: ff.Engine) -> None:
    words = ["printf", "%s|", "a b", "$HOME", "'", 7, 1.5]
    assert engine.run(flow_of(args, words)) == "a b|$HOME|'|7|1.5|"
    assert engine.run(flow_of(shell, "echo $((1 + 2)) | tr 3 4")) == "4"


def test_a_command_runs_the_same_outside_a_workflow() -> None:
    assert shell("echo here") == "here"
    with pytest.raises(ff.Fail, match="ended with exit status 3"):
        shell("exit 3")


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("text", "a\nb"),
        ("lines", ["a", "b"]),
        ("bytes", b"a\nb\n"),
        ("all", {"code": 0, "stdout": "a\nb\n", "stderr": "c\n"}),
    ],
)
def test_output_is_taken_as_the_command_says(engine: ff.Engine, output: Any, expected: Any) -> None:
    fields = {"args": "echo a; echo b; echo c >&2", "output": output}
    assert engine.run(flow_of(line, fields)) == expected


def test_json_is_decoded(engine: ff.Engine) -> None:
    fields = {"args": ["echo", '{"a": [1, 2]}'], "output": "json"}
    assert engine.run(flow_of(line, fields)) == {"a": [1, 2]}
    error = failing(engine, line, {"args": ["echo", "{"], "output": "json"})
    assert error.code == "UNDECODABLE_OUTPUT"


def test_input_comes_from_values_and_files_and_output_goes_to_files(
    engine: ff.Engine, tmp_path: Path
) -> None:
    assert engine.run(flow_of(line, {"args": ["cat"], "stdin": "text"})) == "text"
    assert engine.run(flow_of(line, {"args": ["wc", "-c"], "stdin": b"x" * 300_000})) == "300000"
    assert engine.run(flow_of(line, {"args": ["cat"]})) == ""
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text("3\n1\n2\n")
    fields = {"args": ["sort"], "stdin_file": str(source), "stdout": str(target)}
    assert engine.run(flow_of(line, fields)) == str(target)
    assert target.read_text() == "1\n2\n3\n"


def test_a_file_appears_only_if_the_command_succeeds(engine: ff.Engine, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text("before")
    error = failing(engine, line, {"args": "echo half; exit 4", "stdout": str(target)})
    assert error.code == "EXIT_STATUS"
    assert target.read_text() == "before"
    assert [*tmp_path.iterdir()] == [target]


def test_directory_and_variables_are_those_of_the_command(engine: ff.Engine, tmp_path: Path) -> None:
    fields = {"args": "pwd; echo $MINE", "directory": str(tmp_path), "variables": {"MINE": "yes"}}
    assert engine.run(flow_of(line, fields)) == f"{tmp_path}\nyes"


def test_exit_statuses_and_signals_are_outcomes(engine: ff.Engine) -> None:
    error = failing(engine, shell, "echo why >&2; exit 3")
    assert (error.code, "ended with exit status 3: why" in str(error)) == ("EXIT_STATUS", True)
    assert "standard error, the end of it:\nwhy" in error.details
    error = failing(engine, shell, "kill -SEGV $$")
    assert error.code == "KILLED"
    assert "SIGSEGV" in str(error)
    fields = {"args": "exit 3", "ok": [0, 3], "output": "all"}
    assert engine.run(flow_of(line, fields))["code"] == 3


def test_statuses_after_which_no_retry_helps_end_the_step(engine: ff.Engine, tmp_path: Path) -> None:
    @ff.command(name="cmd.permanent", permanent=[2], retry=ff.Retry(2, delay="1ms"))
    def permanent(status: int) -> str:
        return f"echo >> {tmp_path}/{status}; exit {status}"

    for status, tries in ((2, 1), (3, 3)):
        assert failing(engine, permanent, status).code == "EXIT_STATUS"
        assert len((tmp_path / str(status)).read_text()) == tries


def test_what_can_not_be_started_is_said_precisely(engine: ff.Engine, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    for words, code, says in (
        (["no-such-program-here"], "COMMAND_NOT_FOUND", "was not found in PATH"),
        ([str(tmp_path / "absent")], "COMMAND_NOT_FOUND", "does not exist"),
        ([str(plain)], "NOT_EXECUTABLE", "chmod"),
        (["echo", "x" * 300_000], "ARGUMENTS_TOO_LONG", "too long"),
        (["echo", "a\0b"], "INVALID_INPUT", "zero byte"),
        ([], "INVALID_INPUT", "name of a program"),
        (["echo", None], "INVALID_INPUT", "argument 1"),
    ):
        error = failing(engine, args, words)
        assert (error.code, says in str(error)) == (code, True), str(error)
    error = failing(engine, shell, "no-such-program-here")
    assert error.code == "COMMAND_NOT_FOUND"
    error = failing(engine, line, {"args": ["pwd"], "directory": str(tmp_path / "absent")})
    assert error.code == "NO_DIRECTORY"
    error = failing(engine, line, {"args": ["cat"], "stdin_file": str(tmp_path / "absent")})
    assert error.code == "NO_INPUT_FILE"


def test_too_much_output_ends_the_command_and_takes_no_memory(engine: ff.Engine) -> None:
    begun = time.monotonic()
    error = failing(engine, line, {"args": ["head", "-c", "1G", "/dev/zero"], "max_output": "1MB"})
    assert error.code == "OUTPUT_TOO_LARGE"
    assert "1000000 bytes" in str(error)
    assert time.monotonic() - begun < 20
    # Of what is said on standard error the end is kept, however much it is.
    fields = {"args": "head -c 50M /dev/zero | tr '\\0' x >&2; echo last >&2; exit 1"}
    error = failing(engine, line, fields)
    assert error.code == "EXIT_STATUS"
    assert len(error.details) < 100_000
    assert "last" in error.details


def test_output_that_is_no_text_is_an_error_unless_it_is_taken_as_bytes(engine: ff.Engine) -> None:
    error = failing(engine, shell, "printf 'a\\377'")
    assert error.code == "UNDECODABLE_OUTPUT"
    assert "byte 1" in str(error)
    assert engine.run(flow_of(line, {"args": "printf 'a\\377'", "output": "bytes"})) == b"a\xff"


def test_a_cancelled_command_ends_with_its_whole_group(engine: ff.Engine, tmp_path: Path) -> None:
    text = f"sleep 60 & echo $! > {tmp_path}/one; (sleep 60 & echo $! > {tmp_path}/two; wait); wait"
    run = engine.start(flow_of(shell, text))
    files = [tmp_path / "one", tmp_path / "two"]
    assert eventually(lambda: all(it.exists() and it.read_text().strip() for it in files))
    run.cancel("enough")
    pids = [int(it.read_text()) for it in files]
    assert eventually(lambda: not any(map(alive, pids)), 10)


@pytest.mark.req("P7.116")
def test_a_command_that_ignores_the_signal_is_killed_after_its_grace(
    engine: ff.Engine, tmp_path: Path
) -> None:
    deaf = shell.options(id="it", grace="300ms", timeout="300ms")
    run = engine.start(flow_of(deaf, f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done"))
    with pytest.raises(ff.RunFailed) as caught:
        run.result(30)
    assert caught.value.code == "TIMEOUT"
    pid = int((tmp_path / "pid").read_text())
    assert eventually(lambda: not alive(pid), 10)


def test_a_command_that_daemonises_leaves_nobody_behind(engine: ff.Engine, tmp_path: Path) -> None:
    text = f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60' >/dev/null 2>&1 &\nsleep 0.3"
    engine.run(flow_of(shell, text))
    pid = int((tmp_path / "pid").read_text())
    assert eventually(lambda: not alive(pid), 10)


def test_a_command_tells_how_far_it_is(engine: ff.Engine) -> None:
    text = "echo '40 loading' >&$FERROFLOW_FD; echo '100 loaded' >&$FERROFLOW_FD; echo done"
    run = engine.start(flow_of(shell, text))
    assert run.result(30) == "done"
    step = run.view().steps[0]
    assert (step.percent, step.message) == (100, "loaded")


def test_a_command_without_signs_of_life_times_out_and_one_with_them_does_not(engine: ff.Engine) -> None:
    watched = shell.options(id="it", heartbeat="600ms", grace="100ms")
    beating = "for i in 1 2 3 4 5 6; do echo >&$FERROFLOW_FD; sleep 0.2; done; echo lived"
    assert engine.run(flow_of(watched, beating)) == "lived"
    error = failing(engine, watched, "sleep 60")
    assert error.code == "HEARTBEAT_TIMEOUT"


def test_what_a_command_takes_is_measured_and_limited(engine: ff.Engine) -> None:
    burn = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
    run = engine.start(flow_of(shell, burn))
    run.result(60)
    used = run.view().steps[0].used
    assert used is not None
    assert used.cpu
    assert used.cpu > 10_000
    assert used.memory
    assert used.memory < 20 << 20, "the engine's own memory was measured"
    limited = shell.options(id="it", limits={"cpu": "1s"})
    error = failing(engine, limited, "while :; do :; done")
    assert (error.code, "processor time" in str(error)) == ("RESOURCE_EXCEEDED", True)
    small = args.options(id="it", limits={"memory": "100MB"})
    error = failing(engine, small, ["python3", "-c", "bytearray(300 << 20)"])
    assert (error.code, "memory" in str(error)) == ("RESOURCE_EXCEEDED", True)


def test_definitions_in_json_start_programs(engine: ff.Engine) -> None:
    flow = ff.load({
        "name": "w",
        "inputs": {"n": "int"},
        "term": {"task": "command", "id": "it", "with": {
            "args": ["expr", {"$": "input.n"}, "+", "1"], "output": "json",
        }},
    })  # fmt: skip
    assert engine.run(flow, 4) == 5
    assert engine.run(flow_of(ff.library.command, shell="echo a; exit 3", ok=[3])) == {
        "code": 3, "stdout": "a\n", "stderr": "",
    }  # fmt: skip
    for parameters in ({}, {"args": ["ls"], "shell": "ls"}, {"shell": "ls", "stdin": "", "stdin_file": "a"}):
        with pytest.raises(ff.RunFailed, match="not both"):
            engine.run(flow_of(ff.library.command, **parameters))


def test_lines_are_streamed_to_a_logger(engine: ff.Engine, caplog: pytest.LogCaptureFixture) -> None:
    @ff.command(name="cmd.streamed", stream=True)
    def streamed() -> str:
        return "printf 'on'; echo two >&2; sleep 0.1; printf 'e\\n\\303'; sleep 0.1; printf '\\244 last'"

    with caplog.at_level(logging.INFO, "ferroflow.output"):
        engine.run(flow_of(streamed))
    said = {record.getMessage() for record in caplog.records if record.name == "ferroflow.output"}
    assert said == {"cmd.streamed: one", "cmd.streamed: two", "cmd.streamed: ä last"}


def test_ctrl_c_at_the_terminal_is_for_the_engine(engine: ff.Engine) -> None:
    group = int(engine.run(flow_of(shell, "ps -o pgid= -p $$")))
    assert group != os.getpgid(0)
    assert engine.run(flow_of(shell, "ps -o sid= -p $$")).strip() != str(os.getsid(0))


def test_a_killed_launcher_fails_what_runs_and_is_replaced(engine: ff.Engine) -> None:
    run = engine.start(flow_of(shell, "echo $PPID > /dev/null; sleep 60"))
    launcher = int(engine.run(flow_of(shell, "echo $PPID")))
    with contextlib.suppress(ProcessLookupError):
        os.kill(launcher, signal.SIGKILL)
    with pytest.raises(ff.RunFailed) as caught:
        run.result(30)
    assert caught.value.code == "LAUNCHER_DIED"
    assert engine.run(flow_of(shell, "echo again")) == "again"


def test_nothing_leaks_over_many_commands(engine: ff.Engine) -> None:
    def descriptors() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    engine.run(flow_of(shell, "true"))
    before = descriptors()
    for number in range(60):
        with contextlib.suppress(ff.RunFailed):
            engine.run(flow_of(args, [["true"], ["false"], ["no-such-program"]][number % 3]))
    assert eventually(lambda: descriptors() <= before + 2)
