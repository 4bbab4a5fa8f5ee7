"""Workflows of many steps that each write one asset and read two, as packed definitions.

They are written as bytes, since a million steps as objects of Python's would take gigabytes.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable

import msgspec

SEED = 7
WIDTH = 1_000
"""Steps of a layer."""

pack = msgspec.msgpack.Encoder().encode


def name(asset: int) -> str:
    """What an asset is called: a thousand are side by side."""
    return f"lake/{asset // 1_000}/a{asset}"


def _list(items: list[bytes]) -> bytes:
    return b"\xdd" + struct.pack(">I", len(items)) + b"".join(items)


def _definition(term: bytes) -> bytes:
    return b"\x83" + pack("name") + pack("accesses") + pack("result") + pack(0) + pack("term") + term


def _step(number: int, write: int, reads: Iterable[int], after: Iterable[int] = ()) -> bytes:
    step = {"task": "t", "id": f"s{number}", "writes": name(write), "reads": [name(it) for it in reads]}
    if ids := [f"s{it}" for it in after]:
        step["after"] = ids
    return pack(step)


def files(steps: int, assets: int) -> bytes:
    """Steps that write and read at random, in the order that this needs and no other."""
    draw = random.Random(SEED).randrange
    writer: dict[int, int] = {}
    readers: dict[int, list[int]] = {}
    made = []
    for number in range(steps):
        write = draw(assets)
        reads = {draw(assets), draw(assets)} - {write}
        after = {writer[it] for it in (*reads, write) if it in writer} | {*readers.pop(write, ())}
        writer[write] = number
        for it in reads:
            readers.setdefault(it, []).append(number)
        made.append(_step(number, write, sorted(reads), sorted(after - {number})))
    return _definition(b"\x81" + pack("partial") + _list(made))


def layers(steps: int, assets: int) -> bytes:
    """Layers of steps, one after another: each writes what the last layer may have read, or nobody."""
    draw = random.Random(SEED).randrange
    half = assets // 2
    made = []
    for layer in range(steps // WIDTH):
        mine, other = (0, half) if layer % 2 else (half, 0)
        writes = random.Random(layer).sample(range(half), WIDTH)
        members = [
            _step(layer * WIDTH + at, mine + write, {other + draw(half), other + draw(half)})
            for at, write in enumerate(writes)
        ]
        made.append(b"\x81" + pack("parallel") + _list(members))
    return _definition(b"\x81" + pack("sequence") + _list(made))


SHAPES: dict[str, Callable[[int, int], bytes]] = {"files": files, "layers": layers}
