"""Durations and sizes as people give them."""

from __future__ import annotations

from datetime import timedelta

from ferroflow import _core

Duration = float | str | timedelta


def micros(duration: Duration) -> int:
    """Return microseconds of seconds, a timedelta, or a text such as "1h30m"."""
    if isinstance(duration, str):
        return _core.parse_duration(duration)
    if isinstance(duration, timedelta):
        found = round(duration / timedelta(microseconds=1))
    else:
        if not 0 <= duration < 3.2e11:
            raise ValueError(f"{duration} seconds is not a duration; give a number from 0 on")
        found = max(round(duration * 1_000_000), int(duration > 0))
    if found < 0:
        raise ValueError(f"{duration} is not a duration: it is negative")
    return found


def size(amount: int | str) -> int:
    """Return bytes of a number or a text such as "2GiB"."""
    if isinstance(amount, str):
        return _core.parse_size(amount)
    if not 0 <= amount <= 9e15:
        raise ValueError(f"{amount} is no size; give bytes, or a text such as '2GiB'")
    return int(amount)


def written(duration: Duration) -> str:
    """Return a duration as definitions hold it."""
    return f"{micros(duration)}us"
