"""The HTTP client that all requests of an event loop share, so that connections are used again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from weakref import WeakKeyDictionary

import httpcore
import httpx

from ferroflow import _core

_HEADERS = {"User-Agent": f"ferroflow/{_core.__version__}", "Accept-Encoding": "gzip, deflate"}

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, AsyncGenerator[None]]] = (
    WeakKeyDictionary()
)


async def shared() -> httpx.AsyncClient:
    """Return the client of the running loop, which closes it when it shuts down."""
    loop = asyncio.get_running_loop()
    found = _clients.get(loop)
    if found is None:
        client = httpx.AsyncClient(
            headers=_HEADERS,
            # One run's cookies are no business of another's.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=None,  # noqa: S113 - the whole exchange has one
            # How many requests there are at a time is the engine's to say. The pool looks at all
            # pairs of idle connections for every request, so that keeping many is no gain.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )
        found = _clients[loop] = client, _until_shutdown(loop, client)
        await anext(found[1])
    return found[0]


async def send(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """Send a request and return its answer, the body unread; whoever gives up leaves nothing open."""
    if request.url.scheme == "http":
        return await client.send(request, stream=True, follow_redirects=False)
    opened: list[httpcore.AsyncNetworkStream] = []

    async def watch(event: str, told: dict[str, Any]) -> None:
        if event.endswith("connect_tcp.complete"):
            opened.append(told["return_value"])

    request.extensions = {**request.extensions, "trace": watch}
    try:
        return await client.send(request, stream=True, follow_redirects=False)
    except BaseException:
        # httpcore forgets a connection whose handshake is cancelled.
        for stream in opened:
            await stream.aclose()
        raise


async def _until_shutdown(loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient) -> AsyncGenerator[None]:
    # A loop that shuts down closes the asynchronous generators that were begun in it.
    try:
        yield
    finally:
        _clients.pop(loop, None)
        await client.aclose()
