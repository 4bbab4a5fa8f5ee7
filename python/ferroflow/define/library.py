"""System tasks: what definitions in JSON can use without a function of the user's."""

from __future__ import annotations

from typing import Any

from ferroflow.define.task import task
from ferroflow.errors import Fail

Result = dict[str, Any]


@task
def condition(value: Any) -> Result:
    """Yield whether a value holds: {"result": bool}."""
    return {"result": bool(value)}


@task(pure=True)
def compute(operation: str, values: list[Any]) -> Result:
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


@task(pure=True)
def data_process(
    operation: str,
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
