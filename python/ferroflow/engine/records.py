"""Runs and steps as plain records, read from the journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from ferroflow.engine.values import shown

TABLE = 100
"""Steps that a notebook shows of a run."""

TERMINAL = frozenset({"completed", "failed", "cancelled", "timed_out", "compensated", "compensation_failed"})


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why something failed, in words for people and a code for programs.

    Parameters
    ----------
    code
        E.g. `EXECUTION_FAILED`, `TIMEOUT`, or what the task gave to `Fail`.
    message
        One line.
    details
        The traceback of the task; may be empty.
    """

    code: str
    message: str
    details: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class RunFailure(Failure, frozen=True, kw_only=True):
    """Why a run failed, and the path of the step that failed first."""

    step: str | None


class _Run(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run at a glance. Times are microseconds since 1970, UTC."""

    id: str
    workflow: str
    version: str
    state: str
    degraded: bool
    priority: int
    correlation: str | None
    created: int
    started: int | None
    ended: int | None

    @property
    def seconds(self) -> float | None:
        """How long the run took; None if it has not ended."""
        return _seconds(self.started, self.ended)


class RunRecord(_Run, frozen=True, kw_only=True):
    """A run in the list of runs. Times are microseconds since 1970, UTC."""

    error: str | None


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt actually took. What could not be measured is None.

    Parameters
    ----------
    wall
        Microseconds from the start of the body to its end.
    queued
        Microseconds from when the step was ready to the start of the body.
    cpu
        Microseconds of processors' time.
    memory
        Bytes of memory at the peak.
    read, written
        Bytes read and written.
    """

    wall: int
    queued: int
    cpu: int | None
    memory: int | None
    read: int | None
    written: int | None


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a run. Times are microseconds since 1970, UTC.

    Parameters
    ----------
    path
        Its id, after those of the composites round it: `each[3]/train`.
    block, node
        Where it is in the blocks of the run's definition.
    kind, task
        `task` and the task's name, or the kind of composite and None.
    state
        `pending`, `ready`, `running`, `waiting`, `completed`, ...
    attempts
        How many attempts were begun.
    scheduled
        When it last became ready.
    started, ended
        Of its last attempt. A composite starts when it begins and ends when its blocks have.
    ran_on
        The `node` of the engine that began its last attempt, if it is a task.
    error
        Of the last attempt, if that failed.
    percent, message, updated
        What the last attempt told of its progress, and when it last told anything or showed that it lives.
    used
        What the last attempt took that has told it.
    result
        What it yielded, if the view was made with values.
    """

    path: str
    block: int
    node: int
    kind: str
    task: str | None
    state: str
    attempts: int
    scheduled: int | None
    started: int | None
    ended: int | None
    ran_on: str | None
    error: Failure | None
    percent: float | None
    message: str | None
    updated: int | None
    used: Used | None
    result: Any

    @property
    def seconds(self) -> float | None:
        """How long it took, or its last attempt; None if that has not ended."""
        return _seconds(self.started, self.ended)


Block = tuple[tuple[int, int] | None, list[tuple[str, str, str | None]], list[tuple[int, int]]]


class RunView(_Run, frozen=True, kw_only=True):
    """A run with all its steps.

    Parameters
    ----------
    error
        Why it failed, and in which step.
    reason
        Why it was cancelled or paused.
    recoveries
        How often an engine took it up again.
    steps
        In the order in which they came to be; events call them by their place here.
    blocks
        The graphs of the definition, as `ferroflow.draw` takes them.
    input, result, variables
        None unless the view was made with values; the result also until the run has completed.
    """

    error: RunFailure | None
    reason: str | None
    recoveries: int
    steps: list[StepView]
    blocks: list[Block]
    input: Any
    result: Any
    variables: Any

    def states(self) -> dict[tuple[int, int], str]:
        """Return the most telling state of each node, by block and node, for pictures."""
        from ferroflow import draw

        return draw.telling(((step.block, step.node), step.state) for step in self.steps)

    def svg(self) -> str:
        """Return a picture of the workflow, coloured by how far its steps are."""
        from ferroflow import draw

        return draw.svg(self.blocks, self.states(), f"{self.workflow} {self.version}")

    def _repr_html_(self) -> str:
        from ferroflow.draw import page

        shown = [step for step in self.steps if step.kind != "join"]
        rows = [
            (
                step.path,
                step.task or step.kind,
                step.state,
                "" if step.seconds is None else f"{step.seconds:.3f} s",
                str(step.attempts or ""),
                "" if step.error is None else str(step.error),
            )
            for step in shown[:TABLE]
        ]
        steps = page.table(("step", "what", "state", "took", "tries", "error"), rows, len(shown) - len(rows))
        took = "" if self.seconds is None else f" in {self.seconds:.3f} s"
        title = f"run {self.id} of {self.workflow} {self.version}: {self.state}{took}"
        return page.block(title, self.svg(), steps)


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is.

    Parameters
    ----------
    ended, total
        Steps that have ended, and steps so far: loops and for-each add theirs as they begin.
    running
        Paths of some of the steps that are running.
    """

    ended: int
    total: int
    running: list[str]


def _seconds(started: int | None, ended: int | None) -> float | None:
    return None if started is None or ended is None else (ended - started) / 1e6


def run_view(packed: bytes) -> RunView:
    """Decode what the core says of a run."""
    view = msgspec.msgpack.decode(packed, type=RunView)
    for record, names in (
        (view, ("input", "result", "variables")),
        *((it, ("result",)) for it in view.steps),
    ):
        for name in names:
            # Values come as they were recorded: MessagePack inside the message.
            if (value := getattr(record, name)) is not None:
                msgspec.structs.force_setattr(record, name, shown(value))
    return view


def run_records(rows: Iterable[Mapping[str, object]]) -> list[RunRecord]:
    """Turn the core's rows into records."""
    return [msgspec.convert(row, RunRecord) for row in rows]


def events(packed: bytes) -> list[dict[str, Any]]:
    """Decode the events of a run."""
    return flat(msgspec.msgpack.decode(packed), 1)


def flat(events: Iterable[Any], first: int) -> list[dict[str, Any]]:
    """Return one flat object an event: `sequence`, `at`, `kind`, and the fields of the kind."""
    found = []
    for number, event in enumerate(events, start=first):
        what = event["what"]
        kind, fields = (what, {}) if isinstance(what, str) else next(iter(what.items()))
        found.append({"sequence": number, "at": event["at"], "kind": kind, **_readable(fields)})
    return found


def _readable(fields: dict[str, Any]) -> dict[str, Any]:
    """Decode the values inside an event, as far as they are kept in it."""
    out = {}
    for name, field in fields.items():
        if isinstance(field, dict) and "Inline" in field:
            out[name] = shown(field["Inline"])
        elif isinstance(field, dict) and "Blob" in field:
            out[name] = {"blob": bytes(field["Blob"]["hash"]).hex(), "bytes": field["Blob"]["len"]}
        elif name == "digest":
            out[name] = bytes(field).hex()
        else:
            out[name] = field
    return out


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try of a task's step.

    Parameters
    ----------
    path, task
        The step and its task.
    number
        Which attempt of the step it was, counted from 1.
    started, ended
        Microseconds since 1970, UTC; `ended` is None while it is under way.
    state
        `completed`, `failed`, `timed_out` or `running`; `cancelled` if its step was, or if its engine
        ended.
    used
        What it took, if that was told, be it after the attempt had been superseded.
    """

    path: str
    task: str
    number: int
    started: int
    ended: int | None
    state: str
    used: Used | None = None

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it is under way."""
        return _seconds(self.started, self.ended)


_OUTCOMES = {
    "StepCompleted": "completed",
    "StepFailed": "failed",
    "StepRetrying": "failed",
    "StepTimedOut": "timed_out",
}


def attempts(view: RunView, log: Iterable[Mapping[str, Any]]) -> list[Attempt]:
    """Return every attempt of a run in the order in which they began.

    Parameters
    ----------
    view, log
        The run and its events, of which the view has all.
    """
    made: list[Attempt] = []
    going: dict[int, int] = {}
    by_token: dict[int, int] = {}
    last = 0

    def end(step: int, at: int | None, state: str) -> None:
        number = going.pop(step)
        made[number] = msgspec.structs.replace(made[number], ended=at, state=state)

    for event in log:
        kind = event["kind"]
        if kind == "StepStarted":
            step = view.steps[event["step"]]
            going[event["step"]] = by_token[event["token"]] = len(made)
            made.append(
                Attempt(
                    path=step.path,
                    task=step.task or "",
                    number=event["attempt"],
                    started=event["at"],
                    ended=None,
                    state="running",
                )
            )
        elif kind in _OUTCOMES and event["step"] in going:
            end(event["step"], event["at"], _OUTCOMES[kind])
        elif kind == "RunRecovered":
            # An engine ended; what it did last was before that.
            for step in [*going]:
                end(step, last, "cancelled")
        if event.get("used") is not None and event["token"] in by_token:
            number = by_token[event["token"]]
            used = msgspec.convert(event["used"], Used)
            made[number] = msgspec.structs.replace(made[number], used=used)
        last = event["at"]
    for step in [*going]:
        # What was cancelled went with its block or its run, and no event of its own says so.
        found = view.steps[step]
        end(step, found.ended, found.state)
    return made


def moment(micros: int) -> datetime:
    """Return the instant that a record's number means."""
    return datetime.fromtimestamp(micros / 1e6, UTC)


def instant(when: datetime | int | None) -> int | None:
    """Return microseconds since 1970, UTC; a datetime without a zone is in local time."""
    if not isinstance(when, datetime):
        return when
    return (when.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What a lease lets its holder do.

    Parameters
    ----------
    asset
        The asset's name.
    mode
        `reads`, `writes`, `takes` or `reduces`.
    operation
        Of a reduction.
    """

    asset: str
    mode: str
    operation: str | None

    def __str__(self) -> str:
        mode = self.mode if self.operation is None else f"{self.mode} by {self.operation}"
        return f"{self.asset} ({mode})"


class Behind(msgspec.Struct, frozen=True, kw_only=True):
    """What is in the way of somebody who waits.

    Parameters
    ----------
    run, workflow, step
        Who has it, or comes first.
    asset, mode
        What they have, and in which mode.
    since
        Since when: microseconds since 1970, UTC.
    waits
        Whether they wait, too, and come first.
    """

    run: str
    workflow: str
    step: str
    asset: str
    mode: str
    since: int
    waits: bool


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A lease of assets, or what waits for one.

    Parameters
    ----------
    run, workflow, step
        Whose it is; the step of a lock is the one that has asked for it.
    lock
        Whether the run holds it across its steps, by `ff.current().hold`.
    waits
        Whether it is waited for.
    accesses
        All assets of the lease; it is granted for all of them at once.
    since
        When it was granted, or asked for: microseconds since 1970, UTC.
    deadline
        When it is reclaimed, if it has not been given back.
    token
        The fencing token: larger than that of every lease granted before. 0 where there is none.
    behind
        What is in its way, if it waits.
    """

    run: str
    workflow: str
    step: str
    lock: bool
    waits: bool
    accesses: list[Access]
    since: int
    deadline: int | None
    token: int
    behind: list[Behind]


def leases(packed: bytes) -> list[Lease]:
    """Return leases as the core lists them."""
    return msgspec.msgpack.decode(packed, type=list[Lease])
