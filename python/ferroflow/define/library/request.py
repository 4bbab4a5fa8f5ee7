"""What an HTTP request may be: everything that is wrong with one is told before anything is sent."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec

from ferroflow.define.units import size
from ferroflow.errors import Fail

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD")

_LONGEST = 65_536

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_QUOTED = re.compile(r"(['\"]).*\1")

# How long a message is, and where it ends, follows from the body.
_FRAMING = {b"content-length", b"transfer-encoding"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is fit to be sent; `str` of it holds no secret."""

    method: str
    url: httpx.URL
    headers: dict[bytes, bytes]
    content: bytes | None

    def __str__(self) -> str:
        return f"{self.method} {origin(self.url)}"


def origin(url: httpx.URL) -> str:
    """Return what of a URL may be told: user, password, path and query may be secret."""
    return f"{url.scheme}://{url.netloc.decode()}"


def checked(method: Any, url: Any, params: Any, headers: Any, body: Any) -> Request:
    """Return the request of parameters; `Fail` says which of them is wrong, and how."""
    verb = method.upper() if isinstance(method, str) else method
    if verb not in METHODS:
        raise _invalid(f"method is {_shown(method)}, not one of {', '.join(METHODS)}")
    where = _address(url, params)
    lines = _headers(headers)
    if where.userinfo:
        pair = f"{where.username}:{where.password}".encode()
        lines.setdefault(b"authorization", b"Basic " + base64.b64encode(pair))
        where = where.copy_with(userinfo=b"")
    return Request(verb, where, lines, _content(body, lines))


def milliseconds(timeout_ms: Any) -> int:
    """Return a timeout that is one."""
    if type(timeout_ms) is not int or timeout_ms < 1:
        raise _invalid(f"timeout_ms has to be a whole number from 1 on, not {_shown(timeout_ms)}")
    return timeout_ms


def most(max_body: Any) -> int:
    """Return a bound on the body in bytes."""
    if type(max_body) not in (int, str):
        raise _invalid(f'max_body is {_shown(max_body)}; give bytes, or a text such as "1MB"')
    try:
        return size(max_body)
    except ValueError as error:
        raise _invalid(f"max_body: {error}") from None


def flags(**given: Any) -> list[bool]:
    """Return flags that are true or false."""
    for name, value in given.items():
        if not isinstance(value, bool):
            raise _invalid(f"{name} is {_shown(value)}; give true or false")
    return [*given.values()]


def _invalid(message: str) -> Fail:
    return Fail("INVALID_INPUT", message)


def _shown(value: Any) -> str:
    """Return a short value as it is, and of others what they are."""
    text = repr(value) if value is None or isinstance(value, (bool, int, float, str)) else ""
    return text if 0 < len(text) <= 50 else f"a {type(value).__name__}"


def _address(url: Any, params: Any) -> httpx.URL:
    if not isinstance(url, str):
        raise _invalid(f"url has to be a text, and it is a {type(url).__name__}")
    if len(url) > _LONGEST:
        raise _invalid(f"url has {len(url)} characters, more than {_LONGEST}")
    try:
        found = httpx.URL(url)
        if params is not None:
            query = _query(params).encode()
            found = found.copy_with(query=b"&".join(part for part in (found.query, query) if part))
    except httpx.InvalidURL as error:
        # What is wrong, without the part that is: it may be a password.
        raise _invalid(f"url: {_QUOTED.sub('…', str(error))}") from None
    except UnicodeEncodeError:
        raise _invalid("url has half a character: a surrogate without the other") from None
    if found.scheme not in ("http", "https"):
        raise _invalid("url has to begin with http:// or https://")
    name = found.raw_host.decode()
    if not name:
        raise _invalid("url names no host")
    if not all(0 < len(label) <= 63 for label in name.removesuffix(".").split(".")) or len(name) > 254:
        raise _invalid(
            "url: a part of the host's name is empty or has more than 63 characters, or all of 253"
        )
    if found.port is not None and not 1 <= found.port <= 65_535:
        raise _invalid(f"url: the port is {found.port}, and ports are 1 to 65535")
    return found


def _query(params: Any) -> str:
    if not isinstance(params, Mapping):
        raise _invalid(f"params has to be an object, and it is a {type(params).__name__}")
    pairs = []
    for name, given in params.items():
        for value in given if isinstance(given, list) else [given]:
            match value:
                case bool():
                    text = str(value).lower()
                case str() | int() | float():
                    text = str(value)
                case None:
                    text = ""
                case _:
                    raise _invalid(f"params[{name!r}] is a {type(value).__name__}; give texts or numbers")
            pairs.append((name, text))
    return urlencode(pairs)


def _headers(headers: Any) -> dict[bytes, bytes]:
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise _invalid(f"headers has to be an object, and it is a {type(headers).__name__}")
    found: dict[bytes, bytes] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _invalid(f"headers: {_shown(name)} can't be the name of a header")
        lower = name.lower().encode()
        if lower in found:
            raise _invalid(f"headers: {name!r} is given twice")
        if lower in _FRAMING:
            raise _invalid(f"headers: {name!r} follows from the body and can't be given")
        # Values are not shown: they may be secret.
        if not isinstance(value, str):
            raise _invalid(f"headers[{name!r}] is a {type(value).__name__}; give a text")
        if _CONTROL.search(value):
            raise _invalid(f"headers[{name!r}] has a line break or another control character")
        try:
            found[lower] = value.strip().encode()
        except UnicodeEncodeError:
            raise _invalid(f"headers[{name!r}] has half a character") from None
    return found


def _content(body: Any, headers: dict[bytes, bytes]) -> bytes | None:
    """Return a body as it is sent; its type goes to the headers that have none."""
    if body is None:
        return None
    if isinstance(body, (bytes, bytearray, memoryview)):
        headers.setdefault(b"content-type", b"application/octet-stream")
        return bytes(body)
    kind = headers.setdefault(b"content-type", b"application/json").split(b";")[0].strip().lower()
    try:
        if kind == b"application/json" or kind.endswith(b"+json"):
            return msgspec.json.encode(body)
        if isinstance(body, str):
            return body.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _invalid(f"body can't be sent as JSON: {error}") from None
    raise _invalid(
        f"body is a {type(body).__name__}, and Content-Type says {kind.decode()}; give a text or bytes"
    )
