"""Whether tasks keep to what they declare: files and directories are looked at before and after each body."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, cast

import msgspec

from ferroflow import _core
from ferroflow.engine.logs import log
from ferroflow.engine.middleware import Middleware, RunInfo
from ferroflow.errors import Fail

if TYPE_CHECKING:
    from ferroflow.engine.context import Context
    from ferroflow.engine.records import Failure
    from ferroflow.engine.states import RunState

KEPT = 10_000
"""So many breaches are kept, the newest."""


class Breach(msgspec.Struct, frozen=True, kw_only=True):
    """A task has changed what it only reads, or what it does not declare.

    Parameters
    ----------
    run, step, task
        Which one has.
    attempt
        Which of its attempts.
    asset, path
        What it has changed.
    declared
        `reads`, or "" if its step does not say that it uses the asset.
    at
        When that was seen: microseconds since 1970, UTC.
    """

    run: str
    step: str
    task: str
    attempt: int
    asset: str
    path: str
    declared: str
    at: int

    def __str__(self) -> str:
        what = "only reads" if self.declared else "does not declare"
        return (
            f"task {self.task!r} has changed {self.path!r}, the asset {self.asset!r}, which step "
            f"{self.step!r} of run {self.run} {what}"
        )


class _Guarded(msgspec.Struct, frozen=True):
    asset: str
    path: str
    reads: bool
    changing: bool
    changes: int


class _Audited(msgspec.Struct, frozen=True):
    guarded: list[_Guarded]
    expected: list[tuple[str, str, str]]


def _audited(step: Context) -> _Audited:
    # Middleware is called where the engine is, though the body may run elsewhere.
    packed = cast("_core.Job", step._job).audited()
    return msgspec.msgpack.decode(packed, type=_Audited)


class Audit(Middleware):
    """Takes fingerprints round each body, and notes what should not have changed."""

    def __init__(self) -> None:
        self.breaches: deque[Breach] = deque(maxlen=KEPT)
        self._before: dict[int, list[tuple[_Guarded, bytes | None]]] = {}
        self._known: dict[str, set[str]] = {}
        self._looking = threading.Lock()

    def after_run(self, run: RunInfo, state: RunState) -> None:  # noqa: ARG002
        """Forget what the run's first accesses were."""
        self._known.pop(run.id, None)

    def before_step(self, step: Context) -> None:
        """Look at what the body must not change, and whether what it uses first is as expected."""
        found = _audited(step)
        for asset, path, expected in found.expected:
            with self._looking:
                known = self._known.setdefault(step.run, set())
                if asset in known:
                    continue
                known.add(asset)
            content = _core.fingerprint(path)
            if content is None or content.hex() != expected.lower():
                is_ = "is not there" if content is None else f"has {content.hex()}"
                raise Fail(
                    "FINGERPRINT_MISMATCH",
                    f"the content of asset {asset!r} should have the fingerprint {expected}, "
                    f"and {path!r} {is_}",
                )
        self._before[step.token] = [(it, _core.fingerprint(it.path)) for it in found.guarded]

    def after_step(self, step: Context, failure: Failure | None) -> None:  # noqa: ARG002
        """Look again."""
        before = self._before.pop(step.token, [])
        changed = [it for it, was in before if _core.fingerprint(it.path) != was]
        if not changed:
            return
        now = {it.asset: it for it in _audited(step).guarded}
        for it in changed:
            after = now.get(it.asset)
            quiet = after is not None and not (it.changing or after.changing) and it.changes == after.changes
            # What it reads nobody else may change meanwhile; the rest somebody may, who has the right to.
            if not (it.reads or quiet):
                continue
            breach = Breach(
                run=step.run,
                step=step.step,
                task=step.task,
                attempt=step.attempt,
                asset=it.asset,
                path=it.path,
                declared="reads" if it.reads else "",
                at=time.time_ns() // 1000,
            )
            self.breaches.append(breach)
            log().warning("%s", breach)
