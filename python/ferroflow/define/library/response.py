"""What comes back of an HTTP request: read up to a bound, unpacked and parsed."""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

import httpx
import msgspec

# Both have the header that tells zlib which of them it is.
_PACKED = {"gzip", "x-gzip", "deflate"}
_EITHER = 32 + zlib.MAX_WBITS

# Codecs of Python's that are no character sets, or take quadratic time.
_NO_CHARSETS = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}

# Digits of a number that may be too large to be recorded.
_LONG = re.compile(rb"\d{19}")


class TooLarge(Exception):
    """There is more than may be read."""


class Damaged(Exception):
    """The body is not packed as its headers say."""


class _Unpacked:
    """Unpacks gzip or deflate, never more than there is room for."""

    def __init__(self) -> None:
        self._stream: zlib._Decompress | None = None

    def feed(self, data: bytes, room: int) -> bytes:
        """Return what data stands for, of which one byte more than there is room for is enough."""
        found = b""
        while data and len(found) <= room:
            if self._stream is None or self._stream.eof:
                self._stream = zlib.decompressobj(_EITHER)
            try:
                found += self._stream.decompress(data, room + 1 - len(found))
            except zlib.error as error:
                raise Damaged(f"the body can't be unpacked: {error}") from None
            data = self._stream.unused_data
        return found

    def end(self) -> None:
        """Refuse a body that lacks its end."""
        if self._stream is not None and not self._stream.eof:
            raise Damaged("the body ends before what it is packed in does")


async def read(response: httpx.Response, most: int) -> bytearray:
    """Return the body, unpacked; raises `TooLarge` as soon as there is more than `most` of it."""
    packed = response.headers.get("content-encoding", "").strip().lower() in _PACKED
    declared = response.headers.get("content-length", "")
    if not packed and response.request.method != "HEAD" and declared.isdecimal() and int(declared) > most:
        raise TooLarge
    unpacked = _Unpacked() if packed else None
    body = bytearray()
    async with aclosing(cast(AsyncGenerator[bytes], response.aiter_raw())) as chunks:
        async for chunk in chunks:
            room = most - len(body)
            body += unpacked.feed(chunk, room) if unpacked else chunk
            if len(body) > most:
                raise TooLarge
    if unpacked:
        unpacked.end()
    return body


def headers(response: httpx.Response) -> dict[str, str]:
    """Return the headers by their names in lower case; those given several times are joined."""
    found: dict[str, str] = {}
    for raw_name, raw in response.headers.raw:
        name = raw_name.decode("latin-1").lower()
        try:
            value = raw.decode()
        except UnicodeDecodeError:
            value = raw.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def parsed(response: httpx.Response, body: bytearray) -> Any:
    """Return JSON if the body is that, else text if it is that, else bytes."""
    plain = body.removeprefix(codecs.BOM_UTF8)
    try:
        return _json(plain)
    except ValueError:
        pass
    charset = response.charset_encoding
    try:
        if charset is None or codecs.lookup(charset).name in ("utf-8", *_NO_CHARSETS):
            return plain.decode()
        text = body.decode(charset)
    except (LookupError, ValueError):
        return bytes(body)
    try:
        return _json(text)
    except ValueError:
        return text


def _json(text: bytearray | str) -> Any:
    """Return the value of a JSON text that can be recorded; raises ValueError for others."""
    try:
        found = msgspec.json.decode(text)
        if _LONG.search(text if isinstance(text, bytearray) else text.encode()):
            msgspec.msgpack.encode(found)
    except (RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from None
    return found
