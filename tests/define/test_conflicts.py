"""What happens to a workflow whose steps race: it does not run, or only as the user says."""

import warnings
from typing import Any

import pytest

import ferroflow as ff


@ff.task(name="conflicts.clean", writes="lake/orders")
def clean() -> int:
    return 1


@ff.task(name="conflicts.report", reads="lake/{what}")
def report(what: str) -> int:
    return 2


def racing() -> Any:
    return [clean(), report("orders")]


@pytest.mark.req("P1.9")
def test_a_workflow_that_races_does_not_start() -> None:
    flow = ff.workflow(name="races")(racing)
    with ff.Engine() as engine:
        for refused in (engine.run, engine.start, engine.register):
            with pytest.raises(ff.BorrowError) as caught:
                refused(flow)
            assert [it.code for it in caught.value.report.errors] == ["FF0502"]
            assert str(caught.value).startswith("workflow 'races' can't run as it is\n\nerror[FF0502]: ")
            assert 'writes="lake/orders"' in str(caught.value)
        assert not [*engine.list()]


def test_what_does_not_race_runs() -> None:
    @ff.workflow
    def flow() -> Any:
        cleaned = clean()
        return [cleaned, report.options(after=[cleaned])("orders"), report("raw")]

    with ff.Engine() as engine:
        assert engine.run(flow) == [1, 2, 2]
        engine.register(flow)
        assert engine.run("flow") == [1, 2, 2]


def test_a_warning_is_given_once_and_where_it_is_run() -> None:
    flow = ff.workflow(name="warned", on_conflict="warn")(racing)
    with ff.Engine() as engine:
        with pytest.warns(UserWarning, match="error.FF0502") as caught:
            assert engine.run(flow) == [1, 2]
        assert caught[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert engine.run(flow) == [1, 2]
            # It was registered as it is.
            engine.register(flow)
            assert engine.run("warned") == [1, 2]


def test_the_setting_is_no_part_of_the_definition() -> None:
    flows = [ff.workflow(name="same", on_conflict=it)(racing) for it in ("error", "warn", "serialise")]
    assert len({it.hash for it in flows}) == 1
    definition = flows[0].definition
    assert ff.load(definition, on_conflict="warn").on_conflict == "warn"
    assert ff.load(definition).on_conflict == "error"
    term = clean.term() & report.term("orders")
    assert ff.Workflow.from_term("t", term, on_conflict="warn", result=1).on_conflict == "warn"
    with pytest.raises(ff.DefinitionError, match="on_conflict='fix': give one of error, serialise, warn"):
        ff.load(definition, on_conflict="fix")  # type: ignore[arg-type]


@pytest.mark.req("P1.9")
def test_a_serialised_workflow_runs_if_that_mends_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ferroflow.accesses")
    seen: list[str] = []

    @ff.task(name="conflicts.seen", writes="seen")
    def see(what: str) -> str:
        seen.append(what)
        return what

    @ff.workflow(on_conflict="serialise")
    def flow() -> Any:
        return [see("a"), ff.each(["b", "c"], see), see.options(id="last")("d")]

    assert not flow.check()
    with ff.Engine() as engine:
        assert engine.run(flow) == ["a", ["b", "c"], "d"]
        engine.register(flow)
        assert engine.run("flow") == ["a", ["b", "c"], "d"]
    assert sorted(seen) == ["a", "a", "b", "b", "c", "c", "d", "d"]
    said = [record.getMessage() for record in caplog.records]
    assert "workflow 'flow': one iteration of each at a time, because they use an asset" in said
    assert len(said) == 3


def test_what_no_order_mends_is_refused_all_the_same() -> None:
    @ff.workflow(on_conflict="serialise")
    def flow() -> Any:
        return ff.race(clean, lambda: report("orders"))

    with ff.Engine() as engine, pytest.raises(ff.BorrowError, match="branches of `first`"):
        engine.run(flow)


def test_a_report_shows_what_a_workflow_yields(tmp_path: Any) -> None:
    @ff.task(name="conflicts.eat", takes=ff.value("rows"))
    def eat(rows: object) -> None: ...

    @ff.workflow
    def flow() -> Any:
        rows = clean()
        eat(rows)
        return rows

    text = str(flow.check())
    assert "error[FF0" in text
    assert "        return rows\n" in text
    assert "^^^^" in text
