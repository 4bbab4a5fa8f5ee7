"""Definitions in files: JSON and YAML."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ferroflow.define.workflow import OnConflict, Workflow
from ferroflow.errors import DefinitionError


def load(
    source: str | os.PathLike[str] | Mapping[str, Any], *, on_conflict: OnConflict = "error"
) -> Workflow[..., Any]:
    """Load a workflow from a JSON or YAML file, or from a definition object.

    `on_conflict` says what happens if its accesses race; see `workflow`.

    Examples
    --------
    >>> import ferroflow as ff
    >>> ff.load({"name": "one", "term": {"task": "compute", "with": {"operation": "sum", "values": [1, 2]}}})
    <workflow one 1>
    """
    if isinstance(source, Mapping):
        return Workflow.from_definition(source, on_conflict=on_conflict)
    path = Path(source)
    text = path.read_bytes()
    try:
        found = _yaml(text) if path.suffix in (".yaml", ".yml") else msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise DefinitionError(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise DefinitionError(f"{path} holds a {type(found).__name__}, and a definition is an object")
    return Workflow.from_definition(found, on_conflict=on_conflict, source=str(path))


def _yaml(text: bytes) -> Any:
    try:
        import yaml
    except ImportError:
        raise DefinitionError("YAML needs PyYAML: pip install 'ferroflow[yaml]'") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DefinitionError(f"this is not YAML: {error}") from None


def schema() -> dict[str, Any]:
    """Return the JSON Schema of definitions.

    Examples
    --------
    >>> import ferroflow as ff
    >>> ff.schema()["title"]
    'ferroflow definition'
    """
    from importlib import resources

    text = resources.files("ferroflow.define").joinpath("definition.schema.json").read_bytes()
    found: dict[str, Any] = msgspec.json.decode(text)
    return found
