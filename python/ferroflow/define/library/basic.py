"""System tasks that wait, decide and compute."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ferroflow import _core
from ferroflow.define.attempt import attempt
from ferroflow.define.task import task
from ferroflow.define.units import micros
from ferroflow.errors import Fail

Result = dict[str, Any]

# How often `delay` reports how far it is, in seconds.
_REPORT = 0.2


@task(cpu=0.1, memory="5MB", resources={"disk": "1MB"})
async def delay(
    delay_ms: Annotated[int, Meta(ge=0)] | None = None,
    delay: Annotated[float, Meta(ge=0)] | str | None = None,
) -> Result:
    """Wait: {"delayed_ms": number, "completed_at": text}. It holds its place meanwhile.

    `delay_ms` goes before `delay`, which is seconds or a text such as "1m30s". For long pauses
    `ff.sleep` is better: it holds nothing, and what has passed counts after a restart.
    """
    import asyncio

    if delay_ms is not None:
        if type(delay_ms) is not int or delay_ms < 0:
            raise Fail("INVALID_INPUT", f"delay_ms has to be a whole number from 0 on, not {delay_ms!r}")
        total = delay_ms / 1000
    elif delay is not None:
        try:
            total = micros(delay) / 1e6
        except (TypeError, ValueError) as error:
            raise Fail("INVALID_INPUT", f"delay: {error}") from None
    else:
        raise Fail("INVALID_INPUT", "give delay_ms or delay")
    here, loop = attempt.get(), asyncio.get_running_loop()
    begun = loop.time()
    while (passed := loop.time() - begun) < total:
        if here and passed:
            here[0].progress(100 * passed / total, "")
        await asyncio.sleep(min(_REPORT, total - passed))
    return {"delayed_ms": round(total * 1000), "completed_at": datetime.now(UTC).isoformat()}


@task(cpu=0.2, memory="20MB", resources={"disk": "5MB"})
def condition(condition: str, data: Any) -> Result:
    """Evaluate a CEL expression over data: {"result": bool}.

    The expression sees `data`, and the fields of data that is an object by their names.
    """
    names = {**data, "data": data} if isinstance(data, dict) else {"data": data}
    try:
        found = msgspec.msgpack.decode(_core.evaluate(condition, msgspec.msgpack.encode(names)))
    except ValueError as error:
        raise Fail("EXECUTION_FAILED", str(error)) from None
    if not isinstance(found, bool):
        raise Fail("EXECUTION_FAILED", f"{condition!r} yields a {type(found).__name__}, not true or false")
    return {"result": found}


@task(pure=True, cpu=0.2, memory="20MB", resources={"disk": "5MB"})
def compute(
    operation: Annotated[str, Meta(extra_json_schema={"enum": ["sum", "avg", "max", "min"]})],
    values: Annotated[list[Any], Meta(extra_json_schema={"items": {"type": "number"}})],
) -> Result:
    """Compute `sum`, `avg`, `max` or `min` of numbers: {"result": number}.

    The average of nothing is 0.0 and its sum 0; it has no largest and no smallest.
    """
    if not isinstance(values, list):
        raise Fail("INVALID_INPUT", f"values has to be a list, and it is a {type(values).__name__}")
    for at, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Fail("INVALID_INPUT", f"values[{at}] is a {type(value).__name__}, not a number")
    match operation:
        case "sum":
            return {"result": sum(values)}
        case "avg":
            return {"result": sum(values) / len(values) if values else 0.0}
        case "max" | "min":
            if not values:
                raise Fail("INVALID_INPUT", f"the {operation} of no values does not exist")
            return {"result": max(values) if operation == "max" else min(values)}
    raise Fail("UNSUPPORTED_OPERATION", f"{operation!r} is not one of sum, avg, max, min")


@task(pure=True, cpu=0.2, memory="20MB", resources={"disk": "5MB"})
def data_process(
    operation: Annotated[str, Meta(extra_json_schema={"enum": ["transform", "filter", "merge"]})],
    data: Any = None,
    merge_with: Any = None,
    condition_field: str | None = None,
    condition_value: Any = None,
) -> Result:
    """Transform, filter or merge data: {"result": ...}.

    `transform` puts all texts into upper case; `filter` keeps the objects of a list whose
    `condition_field` is `condition_value`; `merge` adds the fields of `merge_with`.
    """
    match operation:
        case "transform":
            return {"result": _upper(data)}
        case "filter":
            if not isinstance(data, list):
                raise Fail("INVALID_DATA", f"data has to be a list, and it is a {type(data).__name__}")
            kept = [
                item
                for item in data
                if isinstance(item, dict)
                and condition_field in item
                and item[condition_field] == condition_value
            ]
            return {"result": kept}
        case "merge":
            if not isinstance(data, dict):
                raise Fail("INVALID_DATA", f"data has to be an object, and it is a {type(data).__name__}")
            if not isinstance(merge_with, dict):
                found = type(merge_with).__name__
                raise Fail("INVALID_MERGE_WITH", f"merge_with has to be an object, and it is a {found}")
            return {"result": {**data, **merge_with}}
    raise Fail("UNSUPPORTED_OPERATION", f"{operation!r} is not one of transform, filter, merge")


def _upper(data: Any) -> Any:
    if isinstance(data, str):
        return data.upper()
    if isinstance(data, list):
        return [_upper(item) for item in data]
    if isinstance(data, dict):
        return {key: _upper(item) for key, item in data.items()}
    return data
