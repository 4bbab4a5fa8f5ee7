"""Values as bytes: MessagePack, with Arrow IPC for arrays and tables, and pickles where a task asks.

What MessagePack lacks goes into its extension types: 1 a NumPy array, 2 an Arrow table, 3 a pandas
DataFrame, 4 a pandas Series, 5 a value that its consumers share, 6 a pickle with its signature.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ferroflow.define import models
from ferroflow.errors import FerroflowError

ARRAY, TABLE, FRAME, SERIES, SHARED, PICKLED = range(1, 7)

# Bytes of shared values that are kept decoded, by their encoded size.
_KEPT = 256 << 20


class Codec:
    """Encodes and decodes the values of an engine.

    Parameters
    ----------
    database
        Beside it, in `FILE.key`, is the key that signs pickles; without one there is a key for the
        life of the process.
    """

    def __init__(self, database: Path | None = None) -> None:
        self._database = database
        self._secret: bytes | None = None
        self._lock = threading.Lock()
        self._shared: OrderedDict[bytes, Any] = OrderedDict()
        self._size = 0
        self.encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder(enc_hook=_encoded).encode
        self.decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(ext_hook=self._decoded).decode

    def _decoded(self, code: int, data: memoryview) -> Any:
        match code:
            case 5:
                return self._share(bytes(data))
            case 6:
                return self._unpickled(bytes(data))
        return _decoded(code, data)

    def _share(self, data: bytes) -> Any:
        """Decode a value once for all its consumers, as long as it is at hand."""
        with self._lock:
            if data in self._shared:
                self._shared.move_to_end(data)
                return self._shared[data]
        value = self.decode(data)
        with self._lock:
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
        with self._lock:
            if self._secret is None:
                self._secret = secrets.token_bytes(32) if self._database is None else _key(self._database)
        return hmac.digest(self._secret, data, hashlib.sha256)


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


def _arrow(what: str) -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError:
        raise TypeError(f"{what} needs pyarrow: pip install 'ferroflow[arrow]'") from None
    return pyarrow


def _encoded(value: Any) -> Any:
    """Return what MessagePack has for a value that it lacks; raises TypeError if there is nothing."""
    # Whoever has a value of a module has imported it.
    numpy, pandas, pyarrow = (sys.modules.get(name) for name in ("numpy", "pandas", "pyarrow"))
    if numpy is not None:
        if isinstance(value, numpy.generic):
            return value.item()
        if isinstance(value, numpy.ndarray):
            return _array(numpy, value)
    if pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series)):
        frame = isinstance(value, pandas.DataFrame)
        table = _arrow("a pandas value").Table.from_pandas(value if frame else value.to_frame("value"))
        if frame:
            return msgspec.msgpack.Ext(FRAME, _stream(table))
        name = msgspec.msgpack.encode(value.name, enc_hook=_encoded)
        return msgspec.msgpack.Ext(SERIES, msgspec.msgpack.encode([name, _stream(table)]))
    if pyarrow is not None:
        if isinstance(value, pyarrow.RecordBatch):
            value = pyarrow.Table.from_batches([value])
        if isinstance(value, pyarrow.Table):
            return msgspec.msgpack.Ext(TABLE, _stream(value))
    return models.dumped(value)


def _array(numpy: Any, array: Any) -> msgspec.msgpack.Ext:
    if array.dtype.kind not in "biufcmM":
        raise TypeError(f"an array of {array.dtype} can't be recorded; use a list, or an Arrow table")
    # Arrow's tensors know numbers only; what the bytes mean stands beside them.
    plain = numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8)
    pyarrow = _arrow("a NumPy array")
    sink = pyarrow.BufferOutputStream()
    pyarrow.ipc.write_tensor(pyarrow.Tensor.from_numpy(plain), sink)
    head = [array.dtype.str, list(array.shape), sink.getvalue().to_pybytes()]
    return msgspec.msgpack.Ext(ARRAY, msgspec.msgpack.encode(head))


def _stream(table: Any) -> bytes:
    pyarrow = _arrow("a table")
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _decoded(code: int, data: memoryview) -> Any:
    if code == ARRAY:
        import numpy

        dtype, shape, tensor = msgspec.msgpack.decode(data, type=tuple[str, list[int], bytes])
        pyarrow = _arrow("a NumPy array")
        plain = pyarrow.ipc.read_tensor(pyarrow.BufferReader(tensor)).to_numpy()
        # A copy: each consumer has an array of its own, and may write to it.
        return plain.view(numpy.dtype(dtype)).reshape(shape).copy()
    if code in (TABLE, FRAME, SERIES):
        name, stream = None, bytes(data)
        if code == SERIES:
            packed, stream = msgspec.msgpack.decode(data, type=tuple[bytes, bytes])
            name = msgspec.msgpack.decode(packed)
        table = _arrow("a table").ipc.open_stream(stream).read_all()
        if code == TABLE:
            return table
        frame = table.to_pandas()
        return frame if code == FRAME else frame["value"].rename(name)
    raise msgspec.ValidationError(f"the value has an extension type {code}, which this version does not know")


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
