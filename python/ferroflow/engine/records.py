"""Runs and steps as plain records, read from the journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

TERMINAL = frozenset({"completed", "failed", "cancelled", "timed_out", "compensated", "compensation_failed"})


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A run in the list of runs. Times are microseconds since 1970, UTC."""

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
    error: str | None

    @property
    def seconds(self) -> float | None:
        """How long the run took; None if it has not ended."""
        if self.started is None or self.ended is None:
            return None
        return (self.ended - self.started) / 1e6


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a run. `started` is when its last attempt began."""

    path: str
    kind: str
    task: str | None
    state: str
    attempts: int
    started: int | None
    ended: int | None
    error: str | None
    percent: float | None

    @property
    def seconds(self) -> float | None:
        """How long the last attempt took; None if it has not ended."""
        if self.started is None or self.ended is None:
            return None
        return (self.ended - self.started) / 1e6


class RunView(RunRecord, frozen=True, kw_only=True):
    """A run with all its steps."""

    reason: str | None
    recoveries: int
    steps: list[StepView]


def run_view(packed: bytes) -> RunView:
    """Decode what the core says of a run."""
    return msgspec.msgpack.decode(packed, type=RunView)


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
            out[name] = msgspec.msgpack.decode(field["Inline"])
        elif isinstance(field, dict) and "Blob" in field:
            out[name] = {"blob": bytes(field["Blob"]["hash"]).hex(), "bytes": field["Blob"]["len"]}
        elif name == "digest":
            out[name] = bytes(field).hex()
        else:
            out[name] = field
    return out


def moment(micros: int) -> datetime:
    """Return the instant that a record's number means."""
    return datetime.fromtimestamp(micros / 1e6, UTC)
