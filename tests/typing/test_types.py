"""What type checkers make of definitions: `make lint` checks this file, and nothing runs it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, assert_type

import ferroflow as ff


@dataclass
class Row:
    name: str
    values: list[float]


@ff.task
def bare(path: str, limit: int = 3) -> list[Row]:
    raise NotImplementedError


@ff.task()
def called(row: Row) -> float:
    raise NotImplementedError


@ff.task(name="types.named", retry=ff.Retry(2), timeout="1m", cpu=0.5)
def named(row: Row) -> float:
    raise NotImplementedError


@ff.task
async def bare_async(url: str) -> bytes:
    raise NotImplementedError


@ff.task(name="types.async", retry=1)
async def named_async(url: str) -> bytes:
    raise NotImplementedError


def decorated_tasks_keep_their_signatures() -> None:
    assert_type(bare.fn, Callable[..., Any])
    assert_type(bare("x"), list[Row])
    assert_type(bare("x", limit=1), list[Row])
    assert_type(called(Row("a", [])), float)
    assert_type(named(Row("a", [])), float)
    bare(1)  # type: ignore[arg-type]
    bare("x", lines=1)  # type: ignore[call-arg]
    called("x")  # type: ignore[arg-type]
    named()  # type: ignore[call-arg]
    ff.task(retries=3)  # type: ignore[call-overload]


def options_keep_the_signature() -> None:
    once = bare.options(id="once", timeout=3, after=["other"])
    bare.options(heartbeat="5s", limits={"memory": "1GB", "cpu": 30}, grace=1)
    bare.options(limits={"gpu": 1})  # type: ignore[typeddict-unknown-key]
    assert_type(once("x"), list[Row])
    once(1)  # type: ignore[arg-type]
    assert_type(bare_async.options(retry=3)("x"), bytes)
    bare.options(retries=3)  # type: ignore[call-arg]


@ff.workflow
def flow(path: str, limit: int = 2) -> float:
    rows = assert_type(bare(path, limit), list[Row])
    # A Ref selects as the value it stands for would.
    assert_type(rows[0], Row)
    assert_type(bare_async(path), bytes)
    assert_type(named_async("x"), bytes)
    bare_async(3)  # type: ignore[arg-type]
    return called(rows[0])


@ff.workflow(name="types.outer", version="2", timeout="1h", max_depth=3)
def outer(path: str) -> list[float]:
    inner = assert_type(flow(path), float)
    flow(path, limit="x")  # type: ignore[arg-type]
    return [inner]


def runs_are_typed_by_their_workflow(engine: ff.Engine) -> None:
    assert_type(engine.start(flow, "x", limit=3), ff.Handle[float])
    assert_type(engine.start(outer, path="x", options=ff.RunOptions(priority="high")), ff.Handle[list[float]])
    assert_type(engine.start(flow, "x").result(), float)
    assert_type(engine.run(flow, "x"), float)
    assert_type(engine.run(outer, "x"), list[float])
    # What was built or loaded says nothing of its result.
    assert_type(engine.run(ff.load("flow.json")), Any)
    assert_type(engine.run(ff.Workflow.from_term("w", bare.term("x"))), Any)


async def runs_are_typed_where_they_are_awaited(engine: ff.Engine) -> None:
    assert_type(await engine.astart(flow, "x"), ff.Handle[float])
    assert_type(await (await engine.astart(flow, "x")).aresult(), float)
    assert_type(await engine.arun(flow, "x"), float)


def workflows_keep_their_signatures() -> None:
    assert_type(flow("x"), float)
    assert_type(outer.equivalent(flow), bool)
    outer()  # type: ignore[call-arg]
