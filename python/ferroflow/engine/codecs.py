"""Values of types that only an installed package knows how to record."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from ferroflow.errors import FerroflowError

GROUP = "ferroflow.codecs"
"""The entry points by which packages bring codecs."""


class ValueCodec(Protocol):
    """Records values of one type, and of those derived from it.

    An installed package brings codecs by the entry points `ferroflow.codecs`, each a callable without
    arguments that makes one. They are asked for what cannot be recorded otherwise.

    Attributes
    ----------
    name : str
        Stands beside every value that is recorded: it must not change.
    type : type
        Of the values.

    Examples
    --------
    >>> from fractions import Fraction
    >>> class Fractions:
    ...     name, type = "fraction", Fraction
    ...     def encode(self, value):
    ...         return f"{value}".encode()
    ...     def decode(self, data):
    ...         return Fraction(data.decode())
    >>> codec = Fractions()
    >>> codec.decode(codec.encode(Fraction(1, 3)))
    Fraction(1, 3)
    """

    name: str
    type: type

    def encode(self, value: Any) -> bytes:
        """Return a value as bytes."""
        ...

    def decode(self, data: bytes) -> Any:
        """Return the value again; the bytes may be anybody's."""
        ...


@functools.cache
def known() -> Mapping[str, ValueCodec]:
    """Return the codecs that are installed, by name."""
    from importlib.metadata import entry_points

    found: dict[str, ValueCodec] = {}
    for point in entry_points(group=GROUP):
        codec: ValueCodec = point.load()()
        if codec.name in found:
            raise FerroflowError(f"two installed packages bring a codec {codec.name!r}: remove one of them")
        found[codec.name] = codec
    return found


def encoded(value: Any) -> bytes | None:
    """Return the name of a value's codec and what that makes of it; None if there is no codec."""
    for codec in known().values():
        if isinstance(value, codec.type):
            return msgspec.msgpack.encode((codec.name, codec.encode(value)))
    return None


def decoded(data: memoryview) -> Any:
    """Return the value."""
    name, packed = msgspec.msgpack.decode(data, type=tuple[str, bytes])
    codec = known().get(name)
    if codec is None:
        raise FerroflowError(
            f"a value was recorded by the codec {name!r}, which no installed package brings: install the one "
            "that did"
        )
    return codec.decode(packed)
