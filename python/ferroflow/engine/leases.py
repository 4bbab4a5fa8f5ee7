"""Who holds assets, and who waits for them."""

from __future__ import annotations

import msgspec


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


def read(packed: bytes) -> list[Lease]:
    """Return leases as the core lists them."""
    return msgspec.msgpack.decode(packed, type=list[Lease])
