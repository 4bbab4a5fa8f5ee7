"""The JSON Schema of a task's parameters, from its signature and annotations."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

import msgspec

from ferroflow.define import models

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(function: Callable[..., Any], title: str) -> Schema:
    """Return what arguments by name have to be like for a function."""
    given = inspect.signature(function).parameters.values()
    named = [it for it in given if it.kind not in (it.VAR_POSITIONAL, it.VAR_KEYWORD)]
    more = next((it for it in given if it.kind is it.VAR_KEYWORD), None)
    hints = {it.name: _hint(function, it) for it in given}
    described, definitions = _described(hints)
    properties = {it.name: described.get(it.name, {}) for it in named}
    for it in named:
        if it.default is not it.empty and (default := _plain(it.default)) is not None:
            properties[it.name] = {**properties[it.name], "default": default[0]}
    found: Schema = {"$schema": DIALECT, "title": title}
    if text := inspect.cleandoc(function.__doc__ or "").split("\n\n")[0]:
        found["description"] = text.replace("\n", " ")
    found |= {"type": "object", "properties": properties}
    if required := [it.name for it in named if it.default is it.empty]:
        found["required"] = required
    found["additionalProperties"] = described.get(more.name, {}) if more else False
    if definitions:
        found["$defs"] = definitions
    return found


def _hint(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return the type that an annotation names; any, if it names none that is known here."""
    if parameter.annotation is parameter.empty:
        return Any
    # One at a time: an annotation that can't be resolved leaves the others as they are.
    alone = types.SimpleNamespace(__annotations__={"it": parameter.annotation})
    names = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        found = typing.get_type_hints(alone, globalns=names, include_extras=True)["it"]
    except Exception:
        return Any
    return Any if found is object else found


def _described(hints: dict[str, Any]) -> tuple[dict[str, Schema], dict[str, Schema]]:
    """Return the schemas of the types that have one, and the definitions those refer to."""
    definitions: dict[str, Schema] = {}

    def other(kind: type) -> Schema:
        # What msgspec does not know: anything may stand for it, but models describe themselves.
        if not models.is_model(kind):
            return {"description": f"{kind.__qualname__}, of Python's types"}
        found: Schema = kind.model_json_schema()  # type: ignore[attr-defined]
        definitions.update(found.pop("$defs", {}))
        return found

    def components(hints: list[Any]) -> tuple[tuple[Schema, ...], dict[str, Schema]]:
        return msgspec.json.schema_components(hints, schema_hook=other, ref_template="#/$defs/{name}")

    fit = {}
    for name, hint in hints.items():
        try:
            components([hint])
        except (TypeError, ValueError, NotImplementedError):
            continue
        fit[name] = hint
    found, ours = components([*fit.values()])
    return dict(zip(fit, found, strict=True)), definitions | ours


def _plain(default: object) -> tuple[Any] | None:
    """Return a default as JSON has it, if it has it."""
    try:
        return (msgspec.json.decode(msgspec.json.encode(default)),)
    except (TypeError, ValueError, RecursionError):
        return None
