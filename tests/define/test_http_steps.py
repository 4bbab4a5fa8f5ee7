"""Steps that send HTTP requests: progress, retries, timeouts, cancelling, and what they leave behind."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from tests.web_server import Server, cut, drip, never, response

PLENTY: dict[str, float | str] = {"cpu": 1000, "memory": "1TB", "disk": "1TB"}


def asking(**parameters: Any) -> ff.Workflow[..., Any]:
    return ff.Workflow.from_term("asks", ff.library.http.term(**parameters))


@pytest.mark.req("P8.62")
def test_a_definition_in_json_sends_a_request(server: Server) -> None:
    flow = ff.load({
        "name": "w",
        "inputs": {"n": "int"},
        "term": {"task": "http", "id": "asked", "with": {
            "url": f"{server.url}/echo", "method": "post", "body": {"n": {"$": "input.n + 1"}},
        }},
        "result": {"$": "steps.asked.body.body"},
    })  # fmt: skip
    with ff.Engine() as engine:
        assert engine.run(flow, 4) == '{"n":5}'


@pytest.mark.req("P8.62")
def test_progress_after_headers(server: Server) -> None:
    server.answers["/"] = drip
    with ff.Engine() as engine:
        handle = engine.start(asking(url=server.url))
        until = time.monotonic() + 10
        while handle.steps()[0].percent != 50 and time.monotonic() < until:
            time.sleep(0.01)
        assert handle.steps()[0].percent == 50
        handle.cancel("seen")


def test_a_status_that_passes_is_tried_again(server: Server) -> None:
    async def flaky(request: Any, reader: Any, writer: Any) -> None:
        ready = len(server.requests) > 2
        writer.write(response(b"ready", "200 OK" if ready else "503 Busy"))

    server.answers["/"] = flaky
    term = ff.library.http.options(retry=ff.Retry(3, delay=0.01)).term(server.url, fail_on_status=True)
    with ff.Engine() as engine:
        assert engine.run(ff.Workflow.from_term("w", term))["body"] == "ready"
        server.answers["/"] = response(b"", "404 Not Found")
        with pytest.raises(ff.RunFailed, match="404 Not Found") as caught:
            engine.run(ff.Workflow.from_term("w", term))
    assert caught.value.code == "HTTP_STATUS"
    assert len(server.requests) == 4


@pytest.mark.req("P8.63")
def test_a_timeout_is_the_steps(server: Server) -> None:
    server.answers["/"] = never
    with ff.Engine() as engine:
        handle = engine.start(asking(url=server.url, timeout_ms=50))
        with pytest.raises(ff.RunFailed, match="within 50 ms") as caught:
            handle.result(10)
        assert caught.value.code == "TIMEOUT"
        assert handle.steps()[0].state == "timed_out"


@pytest.mark.req("P8.63")
@pytest.mark.parametrize("misbehaving", [never, drip])
def test_a_cancelled_request_ends_at_once_and_leaves_nothing(server: Server, misbehaving: Any) -> None:
    server.answers["/"] = misbehaving
    with ff.Engine() as engine:
        handle = engine.start(asking(url=server.url))
        until = time.monotonic() + 10
        while not server.requests and time.monotonic() < until:
            time.sleep(0.005)
        begun = time.monotonic()
        handle.cancel("enough")
        with pytest.raises(ff.RunCancelled):
            handle.result(10)
        assert server.idle()
        assert time.monotonic() - begun < 0.5
        until = time.monotonic() + 10
        while engine._executors.loop._running and time.monotonic() < until:
            time.sleep(0.005)
        assert not engine._executors.loop._running
        # The client is whole: the next request is answered.
        assert engine.run(asking(url=f"{server.url}/echo"))["status"] == 200


def test_a_connection_is_used_again_and_closed_with_the_engine(server: Server) -> None:
    with ff.Engine() as engine:
        for _ in range(5):
            engine.run(asking(url=f"{server.url}/echo"))
        assert (server.connections, server.open) == (1, 1)
    assert server.idle()


def descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def test_many_requests_leave_no_descriptors(server: Server) -> None:
    server.answers |= {
        "/cut": cut(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
        "/large": response(b"x" * 2000),
        "/never": never,
    }
    paths = ["/echo", "/cut", "/large", "/never"]

    @ff.workflow(on_error="continue")
    def flow(urls: list[str]) -> Any:
        quiet = ff.library.http.options(critical=False)
        return ff.each(urls, lambda url: quiet(url, timeout_ms=300, max_body=1000))

    with ff.Engine(capacity=PLENTY, async_limit=20) as engine:
        engine.run(asking(url=f"{server.url}/echo"))
        before = descriptors()
        engine.run(flow, [server.url + paths[n % 4] for n in range(200)])
        until = time.monotonic() + 10
        while (server.open > 20 or descriptors() > before + 40) and time.monotonic() < until:
            time.sleep(0.01)
        # At most those connections that are kept, each with both its ends in this process.
        assert server.open <= 20
        assert descriptors() <= before + 40
    assert server.idle()
    until = time.monotonic() + 10
    while descriptors() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert descriptors() <= before


def test_hundreds_of_requests_at_a_time(server: Server) -> None:
    async def gathered(request: Any, reader: Any, writer: Any) -> None:
        # Nobody is answered before all have asked.
        while len(server.requests) < 300:
            await asyncio.sleep(0.01)
        writer.write(response(b"1"))

    server.answers["/"] = gathered

    @ff.workflow
    def flow(urls: list[str]) -> Any:
        return ff.each(urls, ff.library.http)

    with ff.Engine(capacity=PLENTY) as engine:
        found = engine.run(flow, [server.url] * 300)
    assert [one["body"] for one in found] == [1] * 300


@pytest.mark.req("P8.62", "P8.65")
def test_the_example_asks_and_reshapes(server: Server) -> None:
    server.answers |= {
        "/oslo": response(b'{"city": "Oslo", "hours": [{"t": 12}, {"t": 19}, {"t": 21}]}'),
        "/lisbon": response(b'{"city": "Lisbon", "hours": [{"t": 25}, {"t": 30}]}'),
    }
    example = ff.load(Path(__file__).parents[2] / "examples" / "readings.json")
    with ff.Engine() as engine:
        found = engine.run(example, [f"{server.url}/oslo", f"{server.url}/lisbon"])
    assert found == {"cities": ["Oslo", "Lisbon"], "warm": [21, 25, 30], "warmest": 30}
