"""Steps that wait behind a busy worker, so that the order in which they start is their policy's."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import ferroflow as ff

PATIENCE = 20.0

order: list[str] = []
gates: defaultdict[str, threading.Event] = defaultdict(threading.Event)


def emptied() -> Iterator[None]:
    """Begin with nothing; in the end let everything go that is held."""
    order.clear()
    gates.clear()
    yield
    for gate in gates.values():
        gate.set()


@ff.task(name="pol.hold")
def hold(name: str) -> str:
    gates[f"{name} begins"].set()
    assert gates[name].wait(PATIENCE)
    return name


@ff.task(name="pol.note")
def note(name: str) -> str:
    order.append(name)
    return name


@ff.task(name="api_call")
def api_call(name: str) -> str:
    order.append(name)
    return name


@ff.workflow
def held(name: str) -> str:
    return hold(name)


@ff.workflow
def noted(name: str) -> str:
    return note(name)


class Busy:
    """One worker, held by a step while others become ready behind it."""

    def __init__(self, engine: ff.Engine) -> None:
        self.engine = engine
        self.runs: list[ff.Handle[Any]] = []
        self.first = engine.start(held, "first", options=ff.RunOptions(priority="critical"))
        assert gates["first begins"].wait(PATIENCE)

    def start(self, flow: Any, *args: Any, **options: Any) -> ff.Handle[Any]:
        handle: ff.Handle[Any] = self.engine.start(flow, *args, options=ff.RunOptions(**options))
        self.runs.append(handle)
        return handle

    def order(self) -> list[str]:
        gates["first"].set()
        for run in [self.first, *self.runs]:
            run.result(PATIENCE)
        return order


def one_worker(policy: Any, **settings: Any) -> ff.Engine:
    return ff.Engine(workers=1, policy=policy, **settings)


def steps(**options: dict[str, Any]) -> ff.Workflow[..., Any]:
    """A workflow of steps side by side, each with options of its own."""

    @ff.workflow
    def flow() -> Any:
        return [note.options(id=name, **own)(name) for name, own in options.items()]

    return flow


@ff.workflow
def asking() -> Any:
    return ff.signal("go")
