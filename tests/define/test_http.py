"""The system tasks `http` and `http_request`, against a server on loopback that also misbehaves."""

import asyncio
import gzip
import socket
import sys
import time
import tracemalloc
import zlib
from typing import Any

import msgspec
import pytest

import ferroflow as ff
from tests.web_server import Server, cut, drip, endless, never, response


def ask(url: str, method: str = "GET", **parameters: Any) -> dict[str, Any]:
    return asyncio.run(ff.library.http.fn(url, method, **parameters))


def failure(url: Any, method: Any = "GET", **parameters: Any) -> ff.Fail:
    with pytest.raises(ff.Fail) as caught:
        ask(url, method, **parameters)
    return caught.value


@pytest.mark.req("P8.62")
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "head"])
def test_six_methods_with_headers_and_a_body(server: Server, method: str) -> None:
    body = {"name": "Ada", "numbers": [1, 2.5, None]}
    found = ask(
        f"{server.url}/echo?a=1", method, headers={"X-Mine": " some "}, body=body, params={"b": "c d"}
    )
    assert found["status"] == 200
    (asked,) = server.requests
    assert (asked.method, asked.target) == (method.upper(), "/echo?a=1&b=c+d")
    assert asked.headers["x-mine"] == "some"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["user-agent"] == f"ferroflow/{ff.__version__}"
    assert msgspec.json.decode(asked.body) == body
    if method == "head":
        assert found["body"] == ""
    else:
        assert found["body"]["method"] == method
        assert found["headers"]["content-type"] == "application/json"


@pytest.mark.req("P9.111")
def test_http_request_yields_status_and_body(server: Server) -> None:
    found = asyncio.run(ff.library.http_request.fn(f"{server.url}/echo", "POST", body=1))
    assert found.keys() == {"status", "body"}
    assert (found["status"], found["body"]["body"]) == (200, "1")


@pytest.mark.parametrize(
    ("body", "headers", "sent", "kind"),
    [
        (None, None, "", None),
        ("text", None, '"text"', "application/json"),
        (False, None, "false", "application/json"),
        ("a: b", {"content-type": "application/yaml"}, "a: b", "application/yaml"),
        ({"a": 1}, {"Content-Type": "application/ld+json; v=1"}, '{"a":1}', "application/ld+json; v=1"),
        (b"raw", None, "raw", "application/octet-stream"),
        (b"raw", {"Content-Type": "image/x"}, "raw", "image/x"),
    ],
)  # fmt: skip
def test_what_a_body_is_sent_as(server: Server, body: Any, headers: Any, sent: str, kind: Any) -> None:
    found = ask(f"{server.url}/echo", "POST", body=body, headers=headers)["body"]
    assert (found["body"], found["headers"].get("content-type")) == (sent, kind)


def test_parameters_of_the_query(server: Server) -> None:
    params = {"list": [1, "ä&"], "yes": True, "none": None, "n": 1.5}
    ask(f"{server.url}/echo#part", params=params)
    assert server.requests[0].target == "/echo?list=1&list=ä&&yes=true&none=&n=1.5"


@pytest.mark.req("P8.62")
@pytest.mark.parametrize(
    ("written", "body"),
    [
        (response(b'{"a": [1]}'), {"a": [1]}),
        (response(b"12"), 12),
        (response(b"\xef\xbb\xbf[1]"), [1]),
        (response(b"just text"), "just text"),
        (response("ä".encode()), "ä"),
        (response("ä".encode("latin-1"), content_type="text/plain; charset=latin-1"), "ä"),
        (response('{"ä": 1}'.encode("utf-16"), content_type="text/plain; charset=utf-16"), {"ä": 1}),
        (response(b"xn--4ca", content_type="text/plain; charset=punycode"), "xn--4ca"),
        (response(b"plain", content_type="text/plain; charset=none-such"), b"plain"),
        (response(b"\x89PNG\xff\x00"), b"\x89PNG\xff\x00"),
        (response(b""), ""),
        (response(b"", "204 No Content"), ""),
        (response(b"[%d, %d]" % (2**63, 10**18)), [2**63, 10**18]),
        # What can't be recorded as numbers, or nests too deep, stays text.
        (response(b"[%d]" % 2**70), f"[{2**70}]"),
        (response(b"[" * 5000 + b"]" * 5000), "[" * 5000 + "]" * 5000),
        (response(gzip.compress(b'{"packed": true}'), content_encoding="gzip"), {"packed": True}),
        (response(gzip.compress(b"[1,") + gzip.compress(b"2]"), content_encoding="x-gzip"), [1, 2]),
        (response(zlib.compress(b"text"), content_encoding="deflate"), "text"),
        (response(b"\xff\x00", content_encoding="br"), b"\xff\x00"),
        (cut(b"HTTP/1.0 200 OK\r\n\r\nuntil it closes"), "until it closes"),
        (response(b"no", "404 Not Found"), "no"),
    ],
)  # fmt: skip
def test_what_a_body_comes_back_as(server: Server, written: Any, body: Any) -> None:
    server.answers["/"] = written
    found = ask(server.url)["body"]
    assert found == body
    assert type(found) is type(body)


def test_headers_come_back_by_name(server: Server) -> None:
    server.answers["/"] = (
        b"HTTP/1.1 299 Odd\r\nX-A: one\r\nSet-Cookie: a=1\r\nx-a: two\r\n"
        b"X-Utf: \xc3\xa4\r\nX-Latin: \xe4\r\nContent-Length: 0\r\n\r\n"
    )
    found = ask(server.url)
    assert found["status"] == 299
    assert found["headers"] == {
        "x-a": "one, two", "set-cookie": "a=1", "x-utf": "ä", "x-latin": "ä", "content-length": "0",
    }  # fmt: skip


def test_redirects_are_followed_unless_told_otherwise(server: Server) -> None:
    server.answers |= {
        "/a": response(b"x" * 200_000, "302 Found", location="/b"),
        "/b": response(b"", "307 Temporary Redirect", location="/echo"),
        "/loop": response(b"", "302 Found", location="/loop"),
        "/away": response(b"", "302 Found", location="ftp://127.0.0.1/"),
    }
    assert ask(f"{server.url}/a")["body"]["target"] == "/echo"
    found = ask(f"{server.url}/a", follow_redirects=False)
    assert (found["status"], found["headers"]["location"]) == (302, "/b")
    for path, said in (("/loop", "more than 10 redirects"), ("/away", "redirects to what is no http")):
        error = failure(server.url + path)
        assert (error.code, error.retriable) == ("EXECUTION_FAILED", False)
        assert said in error.message


def test_what_is_secret_is_kept_to_the_host(server: Server) -> None:
    with Server() as other:
        server.answers["/"] = response(b"", "302 Found", location=f"{other.url}/echo")
        headers = {"Authorization": "Bearer s3cret"}
        assert "authorization" not in ask(server.url, headers=headers)["body"]["headers"]
        assert server.requests[0].headers["authorization"] == "Bearer s3cret"
        here = other.url.replace("//", "//me:p%40ss@")
        assert ask(f"{here}/echo")["body"]["headers"]["authorization"] == "Basic bWU6cEBzcw=="
        other.answers["/"] = response(b"", "200 OK", set_cookie="a=1; Path=/")

        async def twice() -> Any:
            await ff.library.http.fn(other.url)
            return await ff.library.http.fn(f"{other.url}/echo")

        assert "cookie" not in asyncio.run(twice())["body"]["headers"]


@pytest.mark.parametrize(
    ("status", "retriable"),
    [("304 Not Modified", False), ("404 Not Found", False), ("408 Request Timeout", True),
     ("429 Too Many Requests", True), ("500 Oh", True), ("503 Service Unavailable", True)],
)  # fmt: skip
def test_a_status_may_be_a_failure(server: Server, status: str, retriable: bool) -> None:
    server.answers["/"] = response(b"", status)
    assert ask(server.url)["status"] == int(status[:3])
    error = failure(server.url, fail_on_status=True)
    assert (error.code, error.retriable) == ("HTTP_STATUS", retriable)
    assert status in error.message


@pytest.mark.req("P8.63", "P8.64")
@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"method": "TRACE"}, "method is 'TRACE', not one of GET"),
        ({"method": 3}, "method is 3"),
        ({"url": None}, "url has to be a text"),
        ({"url": "127.0.0.1/x"}, "has to begin with http:// or https://"),
        ({"url": "ftp://127.0.0.1/"}, "has to begin with http"),
        ({"url": "file:///etc/passwd"}, "has to begin with http"),
        ({"url": "http:///x"}, "names no host"),
        ({"url": "http://h:99999/"}, "the port is 99999"),
        ({"url": "http://h:0/"}, "the port is 0"),
        ({"url": "http://h:port/"}, "Invalid port"),
        ({"url": "http://h\r\nX: y/"}, "non-printable"),
        ({"url": "http://h/\ud800"}, "half a character"),
        ({"url": "http://" + "a" * 64 + ".org"}, "more than 63 characters"),
        ({"url": "http://a..org"}, "is empty"),
        ({"url": "http://h/" + "a" * 70_000}, "url has 70009 characters, more than 65536"),
        ({"params": {"a": "a" * 70_000}}, "too long"),
        ({"params": [1]}, "params has to be an object"),
        ({"params": {"a": {}}}, "params['a'] is a dict"),
        ({"params": {"a": "\ud800"}}, "half a character"),
        ({"headers": ["a"]}, "headers has to be an object"),
        ({"headers": {"a b": "x"}}, "'a b' can't be the name of a header"),
        ({"headers": {"": "x"}}, "can't be the name of a header"),
        ({"headers": {"A": "s3cret\r\nX: y"}}, "line break"),
        ({"headers": {"A": 3}}, "headers['A'] is a int"),
        ({"headers": {"A": "x", "a": "y"}}, "'a' is given twice"),
        ({"headers": {"Content-Length": "3"}}, "follows from the body"),
        ({"headers": {"A": "\ud800"}}, "half a character"),
        ({"body": object()}, "can't be sent as JSON"),
        ({"body": {"a": 1}, "headers": {"Content-Type": "text/plain"}}, "Content-Type says text/plain"),
        ({"timeout_ms": 0}, "timeout_ms has to be a whole number from 1 on"),
        ({"timeout_ms": 1.5}, "timeout_ms"),
        ({"timeout_ms": True}, "timeout_ms"),
        ({"follow_redirects": "no"}, "follow_redirects is 'no'; give true or false"),
        ({"fail_on_status": 1}, "fail_on_status is 1"),
        ({"max_body": "much"}, "max_body"),
        ({"max_body": -1}, "max_body"),
        ({"max_body": None}, "max_body is None"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_before_anything_is_sent(
    server: Server, parameters: dict[str, Any], said: str
) -> None:
    error = failure(**{"url": server.url, **parameters})
    assert (error.code, error.retriable) == ("INVALID_INPUT", False)
    assert said in error.message
    assert "s3cret" not in error.message
    assert not server.requests


@pytest.mark.req("P8.63")
@pytest.mark.parametrize("misbehaving", [never, drip])
def test_a_timeout_covers_everything(server: Server, misbehaving: Any) -> None:
    server.answers["/"] = misbehaving
    begun = time.monotonic()
    error = failure(server.url, timeout_ms=200)
    assert time.monotonic() - begun < 5
    assert (error.code, error.retriable) == ("TIMEOUT", True)
    assert "no whole answer within 200 ms" in error.message
    assert server.idle()


def test_a_timeout_covers_all_redirects_together(server: Server) -> None:
    async def slow(request: Any, reader: Any, writer: Any) -> None:
        await asyncio.sleep(0.15)
        writer.write(response(b"", "302 Found", location="/"))

    server.answers["/"] = slow
    assert failure(server.url, timeout_ms=400).code == "TIMEOUT"


def refusing() -> str:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{bound.getsockname()[1]}"


BROKEN: list[tuple[Any, str]] = [
    (cut(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), "RemoteProtocolError"),
    (cut(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "RemoteProtocolError"),
    (cut(b"\x00garbage\r\n\r\n"), "RemoteProtocolError"),
    (cut(b""), "disconnected"),
    (cut(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000), "RemoteProtocolError"),
    (response(b"not gzip", content_encoding="gzip"), "can't be unpacked"),
    (response(gzip.compress(b"whole")[:-9], content_encoding="gzip"), "ends before"),
]


@pytest.mark.parametrize(("written", "said"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_answer_may_be_tried_again(server: Server, written: Any, said: str) -> None:
    server.answers["/"] = written
    error = failure(server.url)
    assert (error.code, error.retriable) == ("EXECUTION_FAILED", True)
    assert said in error.message
    assert server.url in error.message
    assert server.idle()


def test_nobody_answers_and_nothing_secret_is_told(server: Server) -> None:
    nowhere = refusing()
    for url, said in (
        (nowhere, "Connect call failed"),
        ("http://no-such-host.invalid", "ConnectError"),
        (server.url.replace("http", "https"), "SSL"),
    ):
        secret = url.replace("//", "//me:s3cret@") + "/path?token=s3cret"
        error = failure(secret, headers={"X-Key": "s3cret"})
        assert (error.code, error.retriable) == ("EXECUTION_FAILED", True)
        assert said in error.message
        assert f"GET {url}: " in error.message
        assert "s3cret" not in error.message
        assert error.__suppress_context__
    server.answers["/"] = response(b"", "302 Found", location=nowhere)
    assert f"GET {server.url}, which redirects to {nowhere}: Connect" in failure(server.url).message


def test_httpx_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    error = failure("http://127.0.0.1:1")
    assert (error.code, error.retriable) == ("EXECUTION_FAILED", False)
    assert "pip install 'ferroflow[http]'" in error.message


def test_a_body_is_read_up_to_a_bound(server: Server) -> None:
    whole = response(b"x" * 1000)
    packed = response(gzip.compress(b"x" * 1000), content_encoding="gzip")
    server.answers |= {
        "/whole": whole,
        "/packed": packed,
        "/endless": endless,
        "/declared": response(content_length="1000000000000"),
    }
    for path in ("/whole", "/packed"):
        assert ask(server.url + path, max_body=1000)["body"] == "x" * 1000
        assert ask(server.url + path, max_body="1KB")["status"] == 200
    for path in ("/whole", "/packed", "/endless", "/declared"):
        error = failure(server.url + path, max_body=999)
        assert (error.code, error.retriable) == ("RESPONSE_TOO_LARGE", False)
        assert "999" in error.message
    assert ask(f"{server.url}/declared", "HEAD")["headers"]["content-length"] == "1000000000000"
    assert server.idle()


def test_a_bomb_is_not_unpacked(server: Server) -> None:
    server.answers["/"] = response(gzip.compress(bytes(64 << 20)), content_encoding="gzip")
    assert ask(server.url, max_body=1, timeout_ms=30_000, method="HEAD")["status"] == 200  # imports httpx
    tracemalloc.start()
    try:
        assert failure(server.url, max_body="1MB").code == "RESPONSE_TOO_LARGE"
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.req("P8.63")
def test_an_unfinished_handshake_is_hung_up_on(server: Server) -> None:
    server.silent = True
    secure = server.url.replace("http", "https")

    async def cancelled() -> None:
        asked = asyncio.ensure_future(ff.library.http.fn(secure))
        while not server.open:
            await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.wait([asked])
        assert asked.cancelled()
        assert await asyncio.to_thread(server.idle)

    async def late() -> None:
        with pytest.raises(ff.Fail, match="within 100 ms"):
            await ff.library.http.fn(secure, timeout_ms=100)
        assert await asyncio.to_thread(server.idle)

    asyncio.run(cancelled())
    asyncio.run(late())
    assert server.connections == 2
