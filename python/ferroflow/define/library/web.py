"""System tasks that speak HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from ferroflow.define.attempt import attempt
from ferroflow.define.task import task
from ferroflow.errors import Fail

if TYPE_CHECKING:
    import httpx

    from ferroflow.define.library.request import Request

_METHODS = "|".join(
    "".join(f"[{letter}{letter.lower()}]" for letter in method)
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD")
)

Url = Annotated[str, Meta(pattern="^[Hh][Tt][Tt][Pp][Ss]?://", max_length=65_536)]
Method = Annotated[str, Meta(pattern=f"^({_METHODS})$")]
Headers = dict[str, str]
Parameters = dict[str, Any]
Milliseconds = Annotated[int, Meta(ge=1)]
Size = Annotated[int, Meta(ge=0)] | str

_REDIRECTS = 10

# Of a body that nobody reads: more than that is not worth the connection.
_UNREAD = 65_536

# Answers that may be another one the next time, besides those from 500 on.
_PASSING = {408, 429}


@task(cpu=0.5, memory="50MB", resources={"disk": "10MB"})
async def http(
    url: Url,
    method: Method = "GET",
    headers: Headers | None = None,
    body: Any = None,
    params: Parameters | None = None,
    timeout_ms: Milliseconds = 30_000,
    follow_redirects: bool = True,
    fail_on_status: bool = False,
    max_body: Size = 16 << 20,
) -> dict[str, Any]:
    """Send an HTTP request: {"status": number, "headers": object, "body": ...}.

    A body is sent as JSON, also a text. Bytes are sent as they are, and so is a text if the header
    Content-Type names something other than JSON. None is no body.

    The body that comes back is JSON if it parses, else text, else bytes; more than `max_body` of it,
    unpacked, fails with `RESPONSE_TOO_LARGE`. An answer other than 2xx is a success like any other,
    unless `fail_on_status`: then it is `HTTP_STATUS`, and tried again after 408, 429 and 5xx.
    `timeout_ms` is for all of it, redirects and the last byte included; then it is `TIMEOUT`.
    """
    status, found, content = await _exchange(
        url, method, headers, body, params, timeout_ms, follow_redirects, fail_on_status, max_body
    )
    return {"status": status, "headers": found, "body": content}


@task(cpu=0.5, memory="50MB", resources={"disk": "10MB"})
async def http_request(
    url: Url,
    method: Method = "GET",
    headers: Headers | None = None,
    body: Any = None,
    params: Parameters | None = None,
    timeout_ms: Milliseconds = 30_000,
    follow_redirects: bool = True,
    fail_on_status: bool = False,
    max_body: Size = 16 << 20,
) -> dict[str, Any]:
    """Send an HTTP request, as `http` does: {"status": number, "body": ...}."""
    status, _, content = await _exchange(
        url, method, headers, body, params, timeout_ms, follow_redirects, fail_on_status, max_body
    )
    return {"status": status, "body": content}


async def _exchange(
    url: str,
    method: str,
    headers: Headers | None,
    body: Any,
    params: Parameters | None,
    timeout_ms: int,
    follow_redirects: bool,
    fail_on_status: bool,
    max_body: int | str,
) -> tuple[int, dict[str, str], Any]:
    import asyncio

    try:
        import httpx
    except ImportError:
        raise Fail("EXECUTION_FAILED", "HTTP needs httpx: pip install 'ferroflow[http]'") from None
    from ferroflow.define.library import request, response

    asked = request.checked(method, url, params, headers, body)
    limit, most = request.milliseconds(timeout_ms), request.most(max_body)
    follow, fail = request.flags(follow_redirects=follow_redirects, fail_on_status=fail_on_status)
    try:
        async with asyncio.timeout(limit / 1000):
            answer = await _answer(asked, follow)
            try:
                _report(50)
                if fail and not answer.is_success:
                    raise _refused(asked, answer)
                content = await response.read(answer, most)
            finally:
                await answer.aclose()
    except response.TooLarge:
        message = f"{asked}: the body has more than {most} bytes, which is max_body"
        raise Fail("RESPONSE_TOO_LARGE", message) from None
    except response.Damaged as error:
        raise Fail("EXECUTION_FAILED", f"{asked}: {error}", retriable=True) from None
    except (TimeoutError, httpx.TimeoutException):
        raise Fail("TIMEOUT", f"{asked}: no whole answer within {limit} ms", retriable=True) from None
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        message = f"{asked}: it redirects to what is no http:// or https:// URL"
        raise Fail("EXECUTION_FAILED", message) from None
    except httpx.RequestError as error:
        where = request.origin(error.request.url)
        asked_of = asked if where == request.origin(asked.url) else f"{asked}, which redirects to {where}"
        raise Fail("EXECUTION_FAILED", f"{asked_of}: {_reason(error)}", retriable=True) from None
    found = answer.status_code, response.headers(answer), response.parsed(answer, content)
    _report(100)
    return found


async def _answer(asked: Request, follow_redirects: bool) -> httpx.Response:
    """Return the answer, its body unread, after redirects."""
    from ferroflow.define.library import client, response

    here = await client.shared()
    request = here.build_request(asked.method, asked.url, headers=asked.headers, content=asked.content)
    for _ in range(_REDIRECTS + 1):
        answer = await client.send(here, request)
        if not follow_redirects or answer.next_request is None:
            return answer
        request = answer.next_request
        try:
            await response.read(answer, _UNREAD)
        except (response.TooLarge, response.Damaged):
            pass
        finally:
            await answer.aclose()
    raise Fail("EXECUTION_FAILED", f"{asked}: more than {_REDIRECTS} redirects")


def _refused(asked: Request, answer: httpx.Response) -> Fail:
    status = answer.status_code
    said = f"{status} {answer.reason_phrase}".rstrip()
    return Fail("HTTP_STATUS", f"{asked}: {said}", retriable=status in _PASSING or status >= 500)


def _reason(error: BaseException) -> str:
    """Say what went wrong: what began it, and not what that was turned into on its way."""
    kind = type(error).__name__
    while cause := error.__cause__ or error.__context__:
        error = cause
    return f"{kind}: {error}" if str(error) else kind


def _report(percent: float) -> None:
    if here := attempt.get():
        here[0].progress(percent, "")
