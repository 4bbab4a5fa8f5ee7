"""Arrays and tables as MessagePack: a head, and data that need not be copied to be encoded or decoded."""

from __future__ import annotations

import math
import sys
from typing import Any

import msgspec

from ferroflow import _core
from ferroflow.define import models
from ferroflow.engine import codecs

ARRAY, TABLE, FRAME, SERIES, SHARED, PICKLED, PART, CODED = range(1, 9)


class Apart:
    """An extension, of which the data stand apart; they come last in it.

    Parameters
    ----------
    code
        The extension type.
    lead
        What stands before the data.
    data
        Bytes in one piece.
    """

    def __init__(self, code: int, lead: bytes, data: memoryview) -> None:
        self.code = code
        self.lead = lead
        self.data = data

    @property
    def size(self) -> int:
        """How many bytes the data have."""
        return self.data.nbytes

    def extension(self) -> msgspec.msgpack.Ext:
        """Return it for MessagePack, with a copy of the data."""
        return msgspec.msgpack.Ext(self.code, self.lead + self.data)

    def head(self, at: int | None) -> bytes:
        """Return what stands before the data, with the header of the extension, which begins there.

        Where that is None, the place will be chosen so that the data are aligned.
        """
        lead = self.lead if at is None else self.aligned(at + 6)
        size = len(lead) + self.size
        if size >= 1 << 32:
            raise ValueError(f"{size} bytes in one piece are more than MessagePack can hold")
        return b"\xc9" + size.to_bytes(4) + bytes([self.code]) + lead

    def aligned(self, _at: int, /) -> bytes:
        """Return the lead for a place, so that the data are aligned if that can be."""
        return self.lead


class _Array(Apart):
    """A list of an array's type, its shape, and its bytes as an Arrow tensor message."""

    def __init__(self, kind: str, shape: list[int], prefix: bytes, plain: memoryview) -> None:
        self._kind = kind.encode()
        self._shape = msgspec.msgpack.encode(shape)
        self._prefix = binary(len(prefix) + plain.nbytes) + prefix
        super().__init__(ARRAY, self._written(b"\x93", bytes([0xA0 + len(self._kind)]), self._shape), plain)

    def _written(self, count: bytes, kind: bytes, shape: bytes) -> bytes:
        return b"".join((count, kind, self._kind, shape, self._prefix))

    def aligned(self, at: int, /) -> bytes:
        # MessagePack can write a length in one byte, two, three or five: that makes up to seven more.
        pad = -(at + len(self.lead)) % 8
        size = len(self._kind)
        count = {2: b"\xdc\0\3", 4: b"\xdd\0\0\0\3"}.get(_LONGER[pad][0], b"\x93")
        kind = {
            0: bytes([0xA0 + size]),
            1: bytes([0xD9, size]),
            2: bytes([0xDA, 0, size]),
            4: bytes([0xDB, 0, 0, 0, size]),
        }[_LONGER[pad][1]]
        shape = self._shape
        if pad == 7 and shape[0] < 0xA0:
            shape = bytes([0xDC, 0, shape[0] & 15]) + shape[1:]
        return self._written(count, kind, shape)


# By how many bytes the lengths of the list and of the type's name are longer; 7 takes the shape's too.
_LONGER = [(0, 0), (0, 1), (0, 2), (2, 1), (0, 4), (4, 1), (2, 4), (4, 1)]


def binary(size: int) -> bytes:
    """Return the header of binary data."""
    width = 1 if size < 1 << 8 else 2 if size < 1 << 16 else 4
    return bytes([0xC3 + width - (width == 4)]) + size.to_bytes(width)


def arrow(what: str) -> Any:
    """Return pyarrow; a TypeError says what needs it."""
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError:
        raise TypeError(f"{what} needs pyarrow: pip install 'ferroflow[arrow]'") from None
    return pyarrow


def encoded(value: Any) -> Any:
    """Return what MessagePack has for a value that it lacks; raises TypeError if there is nothing."""
    found = replaced(value)
    return found.extension() if isinstance(found, Apart) else found


def replaced(value: Any) -> Any:
    """Return the same, with the data of arrays and tables apart."""
    # Whoever has a value of a module has imported it.
    numpy, pandas, pyarrow = (sys.modules.get(name) for name in ("numpy", "pandas", "pyarrow"))
    if numpy is not None:
        if isinstance(value, numpy.generic):
            return value.item()
        if isinstance(value, numpy.ndarray):
            return _array(numpy, value)
    if pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series)):
        frame = isinstance(value, pandas.DataFrame)
        table = arrow("a pandas value").Table.from_pandas(value if frame else value.to_frame("value"))
        if frame:
            return Apart(FRAME, b"", _stream(table))
        name = msgspec.msgpack.encode(value.name, enc_hook=encoded)
        stream = _stream(table)
        return Apart(SERIES, b"\x92" + msgspec.msgpack.encode(name) + binary(stream.nbytes), stream)
    if pyarrow is not None:
        if isinstance(value, pyarrow.RecordBatch):
            value = pyarrow.Table.from_batches([value])
        if isinstance(value, pyarrow.Table):
            return Apart(TABLE, b"", _stream(value))
    if not models.is_model(type(value)) and (packed := codecs.encoded(value)) is not None:
        return msgspec.msgpack.Ext(CODED, packed)
    return models.dumped(value)


def _array(numpy: Any, array: Any) -> Apart:
    if array.dtype.kind not in "biufcmM":
        raise TypeError(f"an array of {array.dtype} can't be recorded; use a list, or an Arrow table")
    # Arrow's tensors know numbers only; what the bytes mean stands beside them.
    plain = numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8)
    pyarrow = arrow("a NumPy array")
    # What stands before the data is all that is wanted: longer data find no room.
    room = bytearray(_ROOM)
    sink = pyarrow.FixedSizeBufferWriter(pyarrow.py_buffer(room))
    try:
        pyarrow.ipc.write_tensor(pyarrow.Tensor.from_numpy(plain), sink)
    except OSError:
        if plain.nbytes < _ROOM // 2:
            raise
    prefix = bytes(room[: _body(room)])
    return _Array(array.dtype.str, list(array.shape), prefix, memoryview(plain))


# More than the head of a tensor message has.
_ROOM = 1024


def _body(message: Any) -> int:
    """Return where the data begin in an Arrow tensor message."""
    if bytes(message[:4]) != b"\xff\xff\xff\xff":
        raise msgspec.ValidationError("an array is no Arrow tensor message")
    return 8 + int.from_bytes(message[4:8], "little")


def _stream(table: Any) -> memoryview:
    pyarrow = arrow("a table")
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return memoryview(sink.getvalue()).cast("B")


def put_together(code: int, data: memoryview, part: _core.Bytes | None) -> Any:
    """Return what an extension holds. If it is within a part, its memory may be used: nobody changes it."""
    if code == ARRAY:
        return _array_of(data, part)
    if code == TABLE:
        return _table(data, part)
    if code == FRAME:
        return _table(data, part).to_pandas()
    if code == SERIES:
        packed, stream = msgspec.msgpack.decode(data, type=tuple[bytes, memoryview])
        return _table(stream, part).to_pandas()["value"].rename(msgspec.msgpack.decode(packed))
    if code == CODED:
        return codecs.decoded(data)
    raise msgspec.ValidationError(f"the value has an extension type {code}, which this version does not know")


def _array_of(data: memoryview, part: _core.Bytes | None) -> Any:
    import numpy

    kind, shape, message = msgspec.msgpack.decode(data, type=tuple[str, list[int], memoryview])
    dtype, count = numpy.dtype(kind), math.prod(shape)
    if count == 0:
        return numpy.empty(shape, dtype)
    plain = message[_body(message) :][: count * dtype.itemsize]
    private = None if part is None else part.private(plain)
    array = numpy.frombuffer(plain if private is None else memoryview(private), dtype, count)
    # Each consumer has an array of its own, and may write to it.
    if private is None or not array.flags.aligned:
        array = array.copy()
    return array.reshape(shape)


def _table(stream: memoryview, part: _core.Bytes | None) -> Any:
    pyarrow = arrow("a table")
    buffer = pyarrow.py_buffer(stream)
    if part is None or buffer.address % 8:
        buffer = pyarrow.py_buffer(bytes(stream))
    return pyarrow.ipc.open_stream(buffer).read_all()
