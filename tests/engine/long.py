"""Long values for tests, and the format of values as it was first written and read."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa

from ferroflow import _core
from ferroflow.engine.arrays import ARRAY, FRAME, SERIES, TABLE

MIB = 1 << 20
PLACE = b"\xd6\x07\0\0\0\0"


def long(size: int = 2 * MIB, seed: int = 0) -> Any:
    """An array of so many bytes."""
    return np.random.default_rng(seed).integers(0, 1 << 60, size // 8)


def is_mapped(array: Any) -> bool:
    """Whether an array's memory is a private mapping, and no copy."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return isinstance(getattr(array.base, "obj", array.base), _core.Private)


def files() -> int:
    """How many files of memory this process has open."""
    found = 0
    for file in Path("/proc/self/fd").iterdir():
        try:
            found += "memfd:ferroflow" in str(file.readlink())
        except OSError:  # the one that listed them
            continue
    return found


# ------------------------------------------------ the format, as it was first written and read


def old_encoded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        plain = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        sink = pa.BufferOutputStream()
        pa.ipc.write_tensor(pa.Tensor.from_numpy(plain), sink)
        head = [value.dtype.str, list(value.shape), sink.getvalue().to_pybytes()]
        return msgspec.msgpack.Ext(ARRAY, msgspec.msgpack.encode(head))
    if isinstance(value, pa.Table):
        return msgspec.msgpack.Ext(TABLE, old_stream(value))
    if isinstance(value, pd.DataFrame):
        return msgspec.msgpack.Ext(FRAME, old_stream(pa.Table.from_pandas(value)))
    assert isinstance(value, pd.Series)
    stream = old_stream(pa.Table.from_pandas(value.to_frame("value")))
    packed = [msgspec.msgpack.encode(value.name), stream]
    return msgspec.msgpack.Ext(SERIES, msgspec.msgpack.encode(packed))


def old_stream(table: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def old_decoded(code: int, data: memoryview) -> Any:
    if code == ARRAY:
        dtype, shape, tensor = msgspec.msgpack.decode(data, type=tuple[str, list[int], bytes])
        plain = pa.ipc.read_tensor(pa.BufferReader(tensor)).to_numpy()
        return plain.view(np.dtype(dtype)).reshape(shape).copy()
    name, stream = None, bytes(data)
    if code == SERIES:
        packed, stream = msgspec.msgpack.decode(data, type=tuple[bytes, bytes])
        name = msgspec.msgpack.decode(packed)
    table = pa.ipc.open_stream(stream).read_all()
    if code == TABLE:
        return table
    frame = table.to_pandas()
    return frame if code == FRAME else frame["value"].rename(name)


def old_encode(value: Any) -> bytes:
    return msgspec.msgpack.encode(value, enc_hook=old_encoded)


def old_decode(packed: bytes) -> Any:
    return msgspec.msgpack.decode(packed, ext_hook=old_decoded)


def same(one: Any, other: Any) -> bool:
    """Whether values are equal, to the type of each array."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    if isinstance(one, dict):
        return [*one] == [*other] and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (pa.Table, pd.DataFrame, pd.Series)):
        return bool(one.equals(other)) and getattr(one, "name", None) == getattr(other, "name", None)
    return bool(one == other)
