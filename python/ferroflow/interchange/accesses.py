"""What the tasks of an instance do to its files, said with names of assets."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ferroflow.interchange.index import Index
    from ferroflow.interchange.wfformat import File

FILES = "files"
"""The asset in which all files lie whose ids begin with no separator; the others lie in `/files`."""

LONGEST, DEEPEST = 900, 60
"""Bytes and segments of an id that an asset takes over."""


class Accesses:
    """What each task of an instance does to files; these belong to one run, and go with it.

    Ids are names as they are where that can be. A `/` in an id means that one lies in the other.
    """

    def __init__(self, files: Iterable[File], index: Index) -> None:
        self._index = index
        self._names = [named(file.id) for file in files]
        roots = {name.partition("files/")[0] + FILES for name in self._names}
        self.roots = sorted(roots)

    def of(self, task: int) -> dict[str, Any]:
        """Return the fields that a step of a definition has for a task."""
        writes = {*self._index.writes[task]}
        reads = [self._names[file] for file in self._index.reads[task] if file not in writes]
        return {"reads": reads, "writes": [self._names[file] for file in self._index.writes[task]]}

    def locals(self) -> dict[str, Any]:
        """Return the declaration of the assets in which all files lie."""
        return {root: {"kind": "directory", "output": True} for root in self.roots}


def named(file: str) -> str:
    """Return the name of the asset that a file is, by its id; different ids have different names."""
    root, path = ("/files/", file[1:]) if file.startswith("/") else ("files/", file)
    parts = [_part(part) for part in path.split("/")]
    name = root + "/".join(parts)
    if len(name.encode(errors="replace")) > LONGEST or len(parts) > DEEPEST:
        digest = hashlib.blake2b(file.encode(errors="surrogatepass"), digest_size=16).hexdigest()
        return f"{root}%{digest}"
    return name


def _part(text: str) -> str:
    """Return a part of a name, in which what a template reads as something else is written differently."""
    if text in ("", ".", ".."):
        return "%" + text.replace(".", "2E")
    quoted = "".join(_quoted(it) if it == "%" or not it.isprintable() else it for it in text)
    for bracket in "[{}":
        quoted = quoted.replace(bracket, bracket * 2)
    return quoted


def _quoted(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode(errors="surrogatepass"))
