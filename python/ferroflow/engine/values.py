"""Values as bytes: MessagePack, with Arrow IPC for arrays and tables, and pickles where a task asks.

What MessagePack lacks goes into its extension types: 1 a NumPy array, 2 an Arrow table, 3 a pandas
DataFrame, 4 a pandas Series, 5 a value that its consumers share, 6 a pickle with its signature. 7 is the
place of a part that stands elsewhere, and is never recorded. 8 is a value with the codec that made it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from ferroflow import _core
from ferroflow.engine import arrays
from ferroflow.engine.arrays import ARRAY, FRAME, PART, PICKLED, SERIES, SHARED, TABLE, Apart
from ferroflow.errors import FerroflowError

# What has so many bytes is written once: into the memory that its value is kept in.
_LONG = 64 << 10

# What begins the place of a part; its number follows.
_PLACE = b"\xd6\x07"

# Bytes of shared values that are kept decoded, by their encoded size.
_KEPT = 256 << 20


class Codec:
    """Encodes and decodes the values of an engine.

    Parameters
    ----------
    database
        Beside it, in `FILE.key`, is the key that signs pickles; without one there is a key for the
        life of the process.
    key
        The key itself, where another process has told it.
    """

    def __init__(self, database: Path | None = None, key: bytes | None = None) -> None:
        self._database = database
        self._secret = key
        self._lock = threading.Lock()
        self._shared: OrderedDict[bytes, Any] = OrderedDict()
        self._size = 0
        self.encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder(enc_hook=arrays.encoded).encode
        # Like `encode`, but raises `Long` where a long part is not to be copied.
        self.encode_short: Callable[[Any], bytes] = msgspec.msgpack.Encoder(enc_hook=_short).encode
        self.decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(ext_hook=self._decoded).decode

    def pack(self, value: Any) -> bytes | _core.Bytes:
        """Encode a value. An array or table that is long is copied once, to where the value stays."""
        if type(value) is bytes and len(value) >= _LONG:
            return _core.Bytes(_PLACE + bytes(4), [(lambda _: arrays.binary(len(value)), memoryview(value))])
        try:
            return self.encode_short(value)
        except Long as first:
            return self.encode_apart(value, first)

    def encode_apart(self, value: Any, first: Long) -> _core.Bytes:
        """Encode a value with long parts, of which the first has been found."""
        known = {id(first.value): first.apart}
        parts: list[tuple[Callable[[int | None], bytes], memoryview]] = []

        def encoded(value: Any) -> Any:
            found = known.pop(id(value), None) or arrays.replaced(value)
            if not isinstance(found, Apart):
                return found
            if found.size < _LONG:
                return found.extension()
            parts.append((found.head, found.data))
            return msgspec.msgpack.Ext(PART, (len(parts) - 1).to_bytes(4))

        return _core.Bytes(msgspec.msgpack.Encoder(enc_hook=encoded).encode(value), parts)

    def decoder(self, parts: Sequence[_core.Bytes] | None) -> Callable[[bytes], Any]:
        """Return what decodes a value whose long parts, if there are any, stand beside it."""
        return self.decode if parts is None else partial(self.decode_with, parts=parts)

    def decode_with(self, packed: bytes, parts: Sequence[_core.Bytes]) -> Any:
        """Decode a value whose long parts stand beside it.

        Arrays in a part that is in a file of memory are not copied: their memory is a private mapping,
        of which pages are copied once they are written to. A mapping keeps all of the file there.
        """
        following = enumerate(parts)

        def decoded(code: int, data: memoryview) -> Any:
            if code != PART:
                return self._decoded(code, data)
            number, part = next(following, (None, None))
            if part is None or int.from_bytes(data) != number:
                raise msgspec.ValidationError("the value has an extension type 7, which is the engine's own")
            within = partial(self._decoded, part=part)
            return msgspec.msgpack.Decoder(ext_hook=within).decode(part)

        return msgspec.msgpack.Decoder(ext_hook=decoded).decode(packed)

    def _decoded(self, code: int, data: memoryview, part: _core.Bytes | None = None) -> Any:
        match code:
            case 5:
                return self._share(bytes(data))
            case 6:
                return self._unpickled(bytes(data))
        return arrays.put_together(code, data, part)

    def _share(self, data: bytes) -> Any:
        """Decode a value once for all its consumers, as long as it is at hand."""
        with self._lock:
            if data in self._shared:
                self._shared.move_to_end(data)
                return self._shared[data]
        value = self.decode(data)
        with self._lock:
            if data in self._shared:  # another one was at it too, and was faster
                return self._shared[data]
            self._shared[data] = value
            self._size += len(data)
            while self._size > _KEPT and self._shared:
                self._size -= len(self._shared.popitem(last=False)[0])
        return value

    # Unpickling runs whatever a pickle says. So only what this database's engines have pickled is
    # unpickled, which its signature shows: a changed database can't make anybody run anything.

    def pickled(self, value: Any) -> msgspec.msgpack.Ext:
        """Return a value as a signed pickle."""
        import pickle

        data = pickle.dumps(value, protocol=5)
        return msgspec.msgpack.Ext(PICKLED, self._signature(data) + data)

    def _unpickled(self, signed: bytes) -> Any:
        import pickle

        signature, data = signed[:32], signed[32:]
        if not hmac.compare_digest(signature, self._signature(data)):
            raise FerroflowError(
                "a pickle in the database was not made by its engines, or its .key file was changed: it is "
                "not read"
            )
        return pickle.loads(data)  # noqa: S301 - its signature was checked

    def _signature(self, data: bytes) -> bytes:
        return hmac.digest(self.key(), data, hashlib.sha256)

    def key(self) -> bytes:
        """Return the key that signs pickles, made if there is none yet."""
        with self._lock:
            if self._secret is None:
                self._secret = secrets.token_bytes(32) if self._database is None else _key(self._database)
            return self._secret


def _key(database: Path) -> bytes:
    """Return the key beside a database, made when it is first needed."""
    path = database.with_name(database.name + ".key")
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) != 32:
            raise FerroflowError(
                f"{path} is damaged: without it the pickles in {database} can't be read"
            ) from None
        return key
    key = secrets.token_bytes(32)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(descriptor)
    return key


class Long(Exception):
    """A value has a long part, which is not to be copied into an encoding."""

    def __init__(self, value: Any, apart: Apart) -> None:
        super().__init__()
        self.value = value
        self.apart = apart


def _short(value: Any) -> Any:
    found = arrays.replaced(value)
    if not isinstance(found, Apart):
        return found
    if found.size >= _LONG:
        raise Long(value, found)
    return found.extension()


def shown(packed: bytes) -> Any:
    """Decode a value for people to look at: what needs more than MessagePack becomes a short text."""
    return msgspec.msgpack.decode(packed, ext_hook=_shown)


def _shown(code: int, data: memoryview) -> Any:
    if code == SHARED:
        return shown(bytes(data))
    if code == ARRAY:
        dtype, shape, _ = msgspec.msgpack.decode(data, type=tuple[str, list[int], bytes])
        return f"<array of {dtype} {shape}>"
    names = {TABLE: "Arrow table", FRAME: "DataFrame", SERIES: "Series", PICKLED: "pickle"}
    return f"<{names.get(code, f'extension {code}')} of {len(data)} bytes>"
