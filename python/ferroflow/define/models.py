"""Pydantic's models, if it is installed: recorded as maps, and made again from them."""

from __future__ import annotations

import sys
import typing
from typing import Any


def is_model(kind: type) -> bool:
    """Whether a type is one of pydantic's models."""
    # Whoever has a model has imported pydantic.
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)


def dumped(value: Any) -> Any:
    """Return a model as a map that `model_validate` takes; raises TypeError for what is no model."""
    if not is_model(type(value)):
        raise TypeError(f"{type(value).__qualname__} can't be recorded")
    return value.model_dump(by_alias=True, round_trip=True)


def made(kind: Any, value: Any) -> Any:
    """Return a decoded value as an annotation names it: a model, or what already is of the type.

    For msgspec, which asks for the types that it does not know; raises TypeError or ValueError.
    """
    kind = typing.get_origin(kind) or kind
    if isinstance(value, kind):
        return value
    if is_model(kind):
        return kind.model_validate(value)
    raise TypeError(f"expected {kind.__qualname__}, got {type(value).__qualname__}")
