"""A disk as a power failure may leave it, from what `recorder.c` recorded of a process.

The recording is played up to a cut. A file keeps what was written to it before the last sync that
was over by then had begun; a folder keeps the names that it had before its last sync. What came
later is dropped, or, if the caller asks for it, an arbitrary part of it is kept: a disk writes
behind in any order.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

HEAD = struct.Struct("<cIQI")
NEW, TRUNCATED = 1, 2
TOLD = "told"
"""The file into which a traced program writes, a line each, what it was told or saw."""


@dataclass(slots=True)
class Record:
    """One thing that the traced process did."""

    kind: str
    fd: int
    number: int
    body: bytes


@dataclass(eq=False, slots=True)
class Node:
    """A file, with its bytes, or a folder, with its names; as synced, and what came since."""

    synced: Any
    later: deque[Callable[[Any], None]] = field(default_factory=deque)
    count: int = 0
    """Changes so far, synced or not."""

    def change(self, action: Callable[[Any], None]) -> None:
        self.later.append(action)
        self.count += 1

    def settle(self, count: int) -> None:
        """The first `count` changes are on disk."""
        while self.later and self.count - len(self.later) < count:
            self.later.popleft()(self.synced)

    def content(self, dice: random.Random | None) -> Any:
        """What a power failure leaves; with dice, an arbitrary part of what is unsynced too."""
        if dice is None or not self.later:
            return self.synced
        left = self.synced.copy()
        if isinstance(left, dict):  # file systems keep the order in which names change
            for change in list(self.later)[: dice.randint(0, len(self.later))]:
                change(left)
        else:
            share = dice.choice([0.1, 0.5, 0.9, 1.0])
            for change in self.later:
                if dice.random() < share:
                    change(left)
        return left


def _write(offset: int, body: bytes) -> Callable[[Any], None]:
    def change(content: bytearray) -> None:
        if len(content) < offset:
            content.extend(bytes(offset - len(content)))
        content[offset : offset + len(body)] = body

    return change


def _resize(size: int) -> Callable[[Any], None]:
    def change(content: bytearray) -> None:
        del content[size:]
        content.extend(bytes(size - len(content)))

    return change


def _bind(name: str, node: Node | None) -> Callable[[Any], None]:
    def change(names: dict[str, Node]) -> None:
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node

    return change


class Disk:
    """Plays a recording; knows at every record what is synced."""

    def __init__(self, folder: Path) -> None:
        self.root = PurePosixPath(folder)
        self._live: dict[PurePosixPath, Node] = {self.root: Node({})}
        self._open: dict[int, Node] = {}
        self._syncs: dict[int, tuple[Node, int]] = {}
        self.told: list[str] = []

    def _name(self, path: PurePosixPath, node: Node | None) -> None:
        self._live[path.parent].change(_bind(path.name, node))
        if node is None:
            del self._live[path]
        else:
            self._live[path] = node

    def play(self, record: Record) -> None:
        """Do what the traced process did next."""
        match record.kind:
            case "B":  # a new process
                self._open.clear()
                self._syncs.clear()
            case "O":
                path = PurePosixPath(os.fsdecode(record.body))
                if record.number & NEW:
                    self._name(path, Node(bytearray()))
                elif record.number & TRUNCATED:
                    self._live[path].change(_resize(0))
                self._open[record.fd] = self._live[path]
            case "C":
                del self._open[record.fd]
            case "W":
                node = self._open[record.fd]
                node.change(_write(record.number, record.body))
                if node is self._live.get(self.root / TOLD):
                    self.told.append(record.body.decode().rstrip("\n"))
            case "T":
                self._open[record.fd].change(_resize(record.number))
            case "S":
                node = self._open[record.fd]
                self._syncs[record.number] = node, node.count
            case "E":
                node, count = self._syncs.pop(record.number)
                node.settle(count)
            case "R":
                old, new = (PurePosixPath(os.fsdecode(part)) for part in record.body.split(b"\0"))
                node = self._live[old]
                self._name(old, None)
                self._name(new, node)
            case "U":
                self._name(PurePosixPath(os.fsdecode(record.body)), None)
            case "M":
                self._name(PurePosixPath(os.fsdecode(record.body)), Node({}))

    def restore(self, target: Path, dice: random.Random | None = None) -> None:
        """Lay out what a power failure now would leave, without what only processes share."""
        _lay_out(self._live[self.root], target, dice)

    def live(self) -> dict[str, bytes]:
        """All files as the running system sees them, by path."""
        found = {}
        for path, node in self._live.items():
            if not isinstance(node.synced, dict):
                content = node.synced.copy()
                for change in node.later:
                    change(content)
                found[str(path.relative_to(self.root))] = bytes(content)
        return found


def shared_memory(name: str) -> bool:
    """Whether a file is SQLite's index of its log, which every first opening rebuilds."""
    return name.endswith("-shm")


def _lay_out(folder: Node, target: Path, dice: random.Random | None) -> None:
    target.mkdir()
    for name, node in folder.content(dice).items():
        if shared_memory(name):
            continue
        content = node.content(dice)
        if isinstance(content, dict):
            _lay_out(node, target / name, dice)
        else:
            (target / name).write_bytes(content)


class Recorder:
    """Runs programs under the recorder, all on one folder and into one recording."""

    def __init__(self, shim: Path, folder: Path) -> None:
        self.shim, self.folder = shim, folder
        self.log = folder.with_suffix(".recording")
        folder.mkdir()

    def run(self, module: str, arguments: Sequence[str], kill: str | None = None) -> int:
        """Run a module to its end, or to the record at which it is to be killed."""
        surroundings: Mapping[str, str] = os.environ | {
            "LD_PRELOAD": str(self.shim),
            "POWER_FOLDER": str(self.folder),
            "POWER_LOG": str(self.log),
        }
        if kill is not None:
            surroundings = {**surroundings, "POWER_KILL": kill}
        command = [sys.executable, "-m", module, str(self.folder), *arguments]
        root = Path(__file__).parents[2]
        return subprocess.run(command, cwd=root, env=surroundings, check=False, timeout=50).returncode

    def records(self) -> Iterator[Record]:
        """Everything that was recorded so far."""
        content, at = self.log.read_bytes(), 0
        while at < len(content):
            kind, fd, number, length = HEAD.unpack_from(content, at)
            at += HEAD.size
            yield Record(kind.decode(), fd, number, content[at : at + length])
            at += length


def build(target: Path) -> Path:
    """Compile the recorder."""
    source = Path(__file__).with_name("recorder.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", target, source, "-ldl"], check=True)
    return target
